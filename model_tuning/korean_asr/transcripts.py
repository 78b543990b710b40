"""One raw transcript line -> the text that is trained and scored on, or the reason to reject it.

RULES is the whole story, from top to bottom: what each rule looks for, what it makes of it, a
sentence for users, and an example. `clean_transcript` does nothing but apply that table. The
expressions are in transcript_patterns.py.

What is removed never joins two words: between two letters or digits it leaves a space. Quotes and
square brackets alone leave nothing, because a Korean particle follows them directly (`"밥"을`).
What was spoken is never lost in silence: a line with a hidden name, or with a letter or sign that
was read aloud and cannot be written, is rejected.
A dual `(A)/(B)` with a typing slip is repaired where both sides are certain. Any round bracket that
is left after that rejects the line, because its meaning would be a guess.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from korean_asr import transcript_patterns as patterns
from korean_asr import transcript_rewrites as rewrites

SIDES = ("A", "B", "auto")
ORDERS = ("spelling-first", "pronunciation-first")
SPEAKERS = ("A", "B", "C", "D")
MIXED_TURNS = ("select", "reject")
CHOICES = {"side": SIDES, "order": ORDERS, "speaker": SPEAKERS, "mixed_turns": MIXED_TURNS}
REASONS = ("masked", "empty", "other speaker", "mixed turns", "bracket", "unwritable")


class Rejected(ValueError):
    """A line that gives no text for training; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Choices:
    """The user's choices. Raises ValueError for an unknown one; it names the accepted values."""

    side: str
    order: str
    speaker: str
    mixed_turns: str
    repair: bool

    def __post_init__(self) -> None:
        for name, accepted in CHOICES.items():
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} must be one of {accepted}, not {getattr(self, name)!r}")


_choices = lru_cache(Choices)

Rewrite = Callable[[re.Pattern[str], str, Choices], str]


@dataclass(frozen=True)
class Rule:
    """One row of RULES.

    replacement: what each match becomes (`re.sub` syntax), or a function of pattern, text and
        choices that returns the new text or raises Rejected.
    sentence: what the rule does, for users, "English · 한국어".
    example_after: `<REJECT:reason>` where the line is rejected.
    needs: the rule is skipped where the text holds none of these strings. This only saves time: the
        pattern cannot match then.
    """

    name: str
    pattern: re.Pattern[str]
    replacement: str | Rewrite
    sentence: str
    example_before: str
    example_after: str
    needs: tuple[str, ...] = ("",)

    def apply(self, text: str, choices: Choices) -> str:
        """Return the text after this rule alone. Raises Rejected."""
        if not isinstance(self.replacement, str):
            return self.replacement(self.pattern, text, choices)
        # Search first: sub() unfolds a template such as `\\1` on each call, six times as slow.
        return self.pattern.sub(self.replacement, text) if self.pattern.search(text) else text


def _reject_if_found(reason: str) -> Rewrite:
    def reject_if_found(pattern: re.Pattern[str], text: str, _: Choices) -> str:
        if pattern.search(text):
            raise Rejected(reason)
        return text

    return reject_if_found


def _reject_unwritable(unwritable: re.Pattern[str], text: str, _: Choices) -> str:
    # This search is five times as fast.
    if patterns.NOT_ORDINARY.search(text) and unwritable.search(text):
        raise Rejected("unwritable")
    return text


def _reject_not_understood(gap: re.Pattern[str], text: str, _: Choices) -> str:
    if not gap.search(text):
        return text
    rest = patterns.TAG.sub(" ", patterns.SPEAKER_MARK.sub(" ", gap.sub(" ", text)))
    raise Rejected("masked" if patterns.WORD_START.search(rest) else "empty")


def _own_turns(mark: re.Pattern[str], text: str, choices: Choices) -> str:
    turns = [turn for turn in rewrites.turns(mark, text) if turn[2].strip()]
    own = [turn for turn in turns if turn[0] == choices.speaker]
    if not own or len(own) == len(turns):
        return text
    if choices.mixed_turns == "reject":
        raise Rejected("mixed turns")
    return " ".join(written + words for _, written, words in own)


def _without_speaker_marks(mark: re.Pattern[str], text: str, choices: Choices) -> str:
    turns = rewrites.turns(mark, text)
    # A line without marks is kept, whichever speaker was chosen.
    if len(turns) == 1:
        return text
    speakers = {speaker for speaker, _, words in turns if words.strip()}
    if speakers and choices.speaker not in speakers:
        raise Rejected("other speaker")
    return " ".join(words for _, _, words in turns)


def _chosen_sides(dual: re.Pattern[str], text: str, choices: Choices) -> str:
    spelling, pronunciation = ("a", "b") if choices.order == "spelling-first" else ("b", "a")
    if choices.side != "auto":
        chosen = spelling if choices.side == "A" else pronunciation
        return dual.sub(lambda match: match[chosen], text)

    def readable_side(match: re.Match[str]) -> str:
        # A tag such as `b/` is not a Latin word.
        written = patterns.TAG.sub(" ", match[spelling])
        needs_reading = patterns.DIGIT_OR_LATIN.search(written) or patterns.UNWRITABLE.search(
            written
        )
        return match[pronunciation if needs_reading else spelling]

    return dual.sub(readable_side, text)


def _repaired_sides(broken_dual: re.Pattern[str], text: str, choices: Choices) -> str:
    return _chosen_sides(broken_dual, text, choices) if choices.repair else text


# --- The rules ---

# fmt: off
RULES: tuple[Rule, ...] = (
    # Before the dual, whose second side may end in a Latin letter.
    Rule("tag behind a bracket", patterns.TAG_BEHIND_BRACKET, r"\1 ",
         "A tag behind a bracket or quote is removed. · 닫는 괄호나 따옴표 뒤의 태그를 지웁니다.",
         "(SBS)/(에스비에스)n/ 틀어", "SBS 틀어", needs=("/",)),
    # Decomposed Hangul would be six unknown tokens for two syllables.
    Rule("character forms", patterns.UNUSUAL_CHARACTER, rewrites.character_forms,
         "Each character is written in one form; quotes and invisible characters are removed."
         " · 글자를 한 가지 형태로 통일하고, 따옴표와 보이지 않는 문자를 지웁니다.",
         "\ufeff“전기\u200b차” ７대！", "전기차 7대!"),
    # Before full-width stars become markers.
    Rule("masked signs", patterns.MASKED_SIGNS, _reject_if_found("masked"),
         "The line is rejected: signs such as `○○` or `***` hide a name that can be heard."
         " · 음성에서는 들리는 이름을 `○○`나 `***`로 가린 줄이므로 제외합니다.",
         "○○ 은행 앞", "<REJECT:masked>"),
    Rule("full-width star", patterns.STAR_OF_FULL_WIDTH, "*",
         "A full-width star becomes a plain one. · 전각 별표를 반각으로 바꿉니다.",
         "6＊8 단", "6*8 단", needs=("＊",)),
    # Before the ellipsis, so that the text ends in front of the label. 방송 콘텐츠 대화체 has it.
    Rule("intent", patterns.INTENT, "",
         "A label of intent at the end, such as `| [요청]`, is removed."
         " · 끝에 붙은 의도 라벨(`| [요청]` 등)을 지웁니다.",
         "창문 좀 닫아 줘.. | [요청]", "창문 좀 닫아 줘.", needs=("|",)),
    Rule("single quotes", patterns.QUOTED, rewrites.single_quotes,
         "Single quotes are removed; an apostrophe inside an English word stays."
         " · 작은따옴표를 지웁니다. 영어 단어 안의 아포스트로피는 남깁니다.",
         "'귤'은 달고 'It's me'는 길다", "귤은 달고 It's me는 길다", needs=("'", "‘")),
    # A pause is not a mark that can be heard.
    Rule("ellipsis", patterns.ELLIPSIS, rewrites.ellipses,
         "Two or more dots become a full stop at the end and a space elsewhere."
         " · 말줄임표를 문장 끝에서는 마침표로, 그 밖에서는 공백으로 바꿉니다.",
         "글쎄... 모르겠는데..", "글쎄 모르겠는데.", needs=("..",)),
    Rule("event", patterns.EVENT, " ",
         "A noise, such as `(SN:기침)`, is removed. · 소리 표기(`(SN:기침)` 등)를 지웁니다.",
         "(NO:) 잠깐만 (SN:기침) 미안", "잠깐만 미안", needs=("(",)),
    Rule("filler event", patterns.FILLER_EVENT, r" \1 ",
         "A filler such as `(FP:음)` keeps its word, which was spoken."
         " · 간투사 표기(`(FP:음)` 등)에서 실제로 말한 단어는 남깁니다.",
         "(FP:음) 글쎄", "음 글쎄", needs=("(FP:",)),
    Rule("noise event", patterns.DUAL_OR_NOISE, rewrites.without_noise_events,
         "A noise named in Latin letters, such as `/(cough)`, is removed."
         " · 로마자로 적은 소리 표기(`/(cough)` 등)를 지웁니다.",
         "잠깐만 /(cough) (유에스비)/(USB) 어디 있지", "잠깐만 유에스비 어디 있지", needs=("/(",)),
    Rule("event in brackets", patterns.EVENT_IN_BRACKETS, " ",
         "A noise in lower-case letters, such as `{laughing}` or `<noise>`, is removed."
         " · 소문자로 적은 소리 표기(`{laughing}`, `<noise>` 등)를 지웁니다.",
         "아니 {clearing} 그 <door slam> 말이야", "아니 그 말이야", needs=("{", "<")),
    # These four words alone describe a sound: any other word behind @ hides a name.
    Rule("voice event", patterns.VOICE_EVENT, " ",
         "`@웃음`, `@목청`, `@박수` and `@노래` describe a sound and are removed."
         " · 소리를 나타내는 `@웃음`, `@목청`, `@박수`, `@노래`를 지웁니다.",
         "진짜 웃겨 @웃음", "진짜 웃겨", needs=("@",)),
    Rule("masked digits", patterns.MASKED_DIGITS, _reject_if_found("masked"),
         "The line is rejected: `#` hides what can be heard in the audio."
         " · 음성에서는 들리는 말을 `#`로 가린 줄이므로 제외합니다.",
         "번호는 ### 이야", "<REJECT:masked>", needs=("#",)),
    Rule("masked word", patterns.MASKED_WORD, _reject_if_found("masked"),
         "The line is rejected: `@` hides a name that can be heard in the audio."
         " · 음성에서는 들리는 이름을 `@`로 가린 줄이므로 제외합니다.",
         "어제 @상호1 갔어", "<REJECT:masked>", needs=("@",)),
    # The notation of free talk.
    Rule("masked name", patterns.MASKED_NAME, _reject_if_found("masked"),
         "The line is rejected: `&name1&` hides a name that can be heard in the audio."
         " · 음성에서는 들리는 이름을 `&name1&`처럼 가린 줄이므로 제외합니다.",
         "&name1& 언니 왔어", "<REJECT:masked>", needs=("&",)),
    # If nothing else was said, the reason is `empty` instead.
    Rule("not understood", patterns.NOT_UNDERSTOOD, _reject_not_understood,
         "The line is rejected: `(())` stands for words that could not be understood."
         " · 알아듣지 못한 말(`(())`)이 있는 줄이므로 제외합니다.",
         "그래서 (()) 갔지", "<REJECT:masked>", needs=("((",)),
    # Before the speaker marks go, which show where a turn starts.
    Rule("event between stars", patterns.EVENT_BETWEEN_STARS, r"\1",
         "One word between stars at the start of a turn, such as `*침묵*`, is removed."
         " · 발화 첫머리의 `*침묵*` 같은 표기를 지웁니다.",
         "*기침* 저는 괜찮아요*", "저는 괜찮아요", needs=("*",)),
    # The audio may hold both speakers, so --mixed-turns can reject the line.
    Rule("mixed turns", patterns.SPEAKER_MARK, _own_turns,
         "Only the chosen speaker's turns are kept (`--speaker`, `--mixed-turns`)."
         " · 선택한 화자의 발화만 남깁니다(`--speaker`, `--mixed-turns`).",
         "A: 몇 시야? B: 3:30 지났어.", "몇 시야?", needs=(":",)),
    Rule("speaker mark", patterns.SPEAKER_MARK, _without_speaker_marks,
         "Speaker marks such as `화자 1:` are removed; a line of other speakers alone is rejected."
         " · 화자 표시(`화자 1:` 등)를 지우고, 다른 화자의 말뿐인 줄은 제외합니다.",
         "화자 1: 몇 시야?", "몇 시야?", needs=(":",)),
    # Duals: (spelling)/(pronunciation) of the same words. Text that touches a dual stays attached.
    # This one comes before the proper dual, which would leave one bracket over.
    Rule("dual in double brackets", patterns.DUAL_IN_DOUBLE_BRACKETS, _repaired_sides,
         "One side of `((spelling)/(pronunciation))` is kept."
         " · `((철자)/(발음))`처럼 괄호가 겹친 이중 전사에서 한쪽만 남깁니다.",
         "((2월)/(이 월)) 아니면 (3월)/(삼 월))", "2월 아니면 3월", needs=("((", "))")),
    # The shape of the guidelines, and the only one that counts in the foreign corpus.
    Rule("dual", patterns.DUAL, _chosen_sides,
         "One side of `(spelling)/(pronunciation)` is kept (`--side`, `--order`)."
         " · `(철자)/(발음)` 이중 전사에서 한쪽만 남깁니다(`--side`, `--order`).",
         "(2월)/(이 월)부터", "2월부터", needs=(")/(",)),
    # The slash still parts two whole sides.
    Rule("dual with a wrong bracket", patterns.DUAL_WITH_WRONG_BRACKET, _repaired_sides,
         "A dual with a bracket typed twice or the wrong way round is repaired; one side is kept."
         " · 괄호를 겹치거나 뒤집어 적은 이중 전사를 바로잡아 한쪽만 남깁니다.",
         "(2월))/(이 월), )KBS)/(케이 비 에스(", "2월, KBS", needs=("(",)),
    # The slash shows where a side that is not closed ends, or one that is not opened begins.
    Rule("dual without a bracket", patterns.DUAL_WITHOUT_BRACKET, _repaired_sides,
         "A dual with a bracket missing is repaired; one side is kept."
         " · 괄호가 빠진 이중 전사를 바로잡아 한쪽만 남깁니다.",
         "(2월/(이 월) 아니면 (3월)/삼 월)", "2월 아니면 3월", needs=("(",)),
    # Spaces around the slash are slips, those inside a side are text.
    Rule("dual with a spaced slash", patterns.DUAL_WITH_SPACED_SLASH, _repaired_sides,
         "A dual with spaces around its slash is repaired; one side is kept."
         " · 빗금 앞뒤를 띄어 쓴 이중 전사를 바로잡아 한쪽만 남깁니다.",
         "(2월) / (이 월)", "2월", needs=("(",)),
    Rule("dual with a mistyped slash", patterns.DUAL_WITH_MISTYPED_SLASH, _repaired_sides,
         "A dual with another sign typed for its slash is repaired; one side is kept."
         " · 빗금 자리에 다른 기호를 적은 이중 전사를 바로잡아 한쪽만 남깁니다.",
         "(2월)?(이 월)에 (3월)/+(삼 월)에", "2월에 3월에", needs=("(",)),
    Rule("dual without a slash", patterns.DUAL_WITHOUT_SLASH, _repaired_sides,
         "A dual without a slash keeps one side. · 빗금이 빠진 이중 전사에서 한쪽만 남깁니다.",
         "(2월)(이 월)부터", "2월부터", needs=("(",)),
    # A slash between two digits is a sign (`3/4`), in `(어/ 그래)` it marks a filler.
    Rule("dual in one bracket", patterns.DUAL_IN_ONE_BRACKET, _repaired_sides,
         "One side of `(spelling/pronunciation)` in a single bracket is kept."
         " · 한 괄호 안에 적은 이중 전사(`(두 달/2달)` 등)에서 한쪽만 남깁니다.",
         "(두 달/2달)쯤", "두 달쯤", needs=("(",)),
    Rule("square brackets", patterns.SQUARE_BRACKET, "",
         "Square and curly brackets are removed; their words stay."
         " · 대괄호와 중괄호를 지우고 안의 말은 남깁니다.",
         "[영 이]에 {전화}해", "영 이에 전화해", needs=("[", "]", "{", "}")),
    Rule("bracket left", patterns.ROUND_BRACKET, _reject_if_found("bracket"),
         "The line is rejected: the meaning of a round bracket in it is uncertain."
         " · 뜻을 확실히 알 수 없는 소괄호가 있는 줄이므로 제외합니다.",
         "(2월)/(이 월부터", "<REJECT:bracket>", needs=("(", ")")),
    Rule("tag", patterns.TAG, " ",
         "Tags of breath, laughter and noise, such as `b/` and `n/`, are removed."
         " · 숨소리, 웃음, 잡음 태그(`b/`, `n/` 등)를 지웁니다.",
         "하지만n/ 우리 pub/ 가자 l/", "하지만 우리 pub 가자", needs=("/",)),
    Rule("marker", patterns.MARKER, rewrites.removed,
         "Markers of fillers (`/`), repeats (`+`) and unclear words (`*`) go; their words stay."
         " · 간투사(`/`), 반복(`+`), 불분명한 발음(`*`) 표시를 지우고 말은 남깁니다.",
         "음/ 나는+나는 그게*, 10대/20대 때 4/5 지점", "음 나는 나는 그게, 10대 20대 때 4/5 지점",
         needs=("/", "+", "*")),
    # The chosen side of a dual is judged. `○`, circled numbers and emoji are symbols.
    Rule("unwritable", patterns.UNWRITABLE, _reject_unwritable,
         "The line is rejected: a letter of another script, or a currency or unit sign beside a"
         " number, was spoken and cannot be written."
         " · 표기할 수 없는 외국 문자나 숫자 옆의 화폐·단위 기호를 읽은 줄이므로 제외합니다.",
         "日本 여행에 $300", "<REJECT:unwritable>"),
    Rule("title", patterns.TITLE, r"<\1",
         "An angle bracket between a title and its particle leaves no space."
         " · 제목 뒤의 꺾쇠표를 지우고 조사를 붙여 씁니다.",
         "<봄날>을 들어", "봄날을 들어", needs=(">",)),
    Rule("spaced percent", patterns.SPACED_PERCENT, "%",
         "`%` moves up to its number. · 숫자와 떨어진 `%`를 붙여 씁니다.",
         "20 % 싸게", "20% 싸게", needs=(" %",)),
    # `%` behind a word and `& - ' :` inside one are spoken or belong to its spelling.
    Rule("symbol", patterns.SYMBOLS, rewrites.removed,
         "Symbols that are not spoken are removed. · 소리 내어 읽지 않는 기호를 지웁니다.",
         "R&D 50%~60% 올라~ ♪ -끝-", "R&D 50% 60% 올라 끝"),
    Rule("spaces", patterns.SPACES, rewrites.single_spaces,
         "Spaces at both ends are removed, and several in a row become one."
         " · 양 끝의 공백을 지우고 이어진 공백을 하나로 줄입니다.",
         " 자  가자 ", "자 가자"),
    Rule("space before a mark", patterns.MARKS_AND_SPACES, rewrites.spaces_behind_marks,
         "A space before a punctuation mark moves behind it."
         " · 문장 부호 앞의 공백을 뒤로 옮깁니다.",
         "응 ,안 갈래 l/ .", "응, 안 갈래.", needs=(" .", " ,", " ?", " !")),
    # Their number cannot be heard.
    Rule("repeated marks", patterns.REPEATED_MARKS, r"\1",
         "Of several marks in a row the first stays. · 이어진 문장 부호는 첫 번째만 남깁니다.",
         "뭐라고?!! 응", "뭐라고? 응"),
    Rule("marks at the start", patterns.MARKS_AT_START, "",
         "Marks before the first word are removed. · 첫 단어 앞의 문장 부호를 지웁니다.",
         ", 그래서", "그래서"),
    # The removals above may uncover matches for the next two, which a second cleaning would find.
    Rule("masked name laid bare", patterns.MASKED_NAME, _reject_if_found("masked"),
         "The line is rejected: it hides a name with a bracket inside, such as `&[name1]&`."
         " · `&[name1]&`처럼 괄호를 섞어 이름을 가린 줄이므로 제외합니다.",
         "A&[b2]&C", "<REJECT:masked>", needs=("&",)),
    # In the raw line this was no speaker mark. With its colon it would look like one now.
    Rule("speaker mark laid bare", patterns.SPEAKER_MARKS_LEFT, rewrites.without_colons,
         "A colon that looks like a speaker's, but is not, becomes a space."
         " · 화자 표시처럼 보이지만 아닌 쌍점을 공백으로 바꿉니다.",
         "비타민~C:감귤", "비타민 C 감귤", needs=(":",)),
    Rule("empty", patterns.NOTHING, _reject_if_found("empty"),
         "The line is rejected: it holds tags and marks alone."
         " · 태그와 문장 부호뿐이고 말이 없는 줄이므로 제외합니다.",
         "l/ ...", "<REJECT:empty>"),
)
# fmt: on

# No other rule can change a line without UNCOMMON characters, as most lines are.
_OF_COMMON_LINES = (
    *("masked signs", "ellipsis", "event between stars", "tag", "marker", "spaces"),
    *("space before a mark", "repeated marks", "marks at the start", "empty"),
)
RULES_OF_COMMON_LINES = tuple(rule for rule in RULES if rule.name in _OF_COMMON_LINES)


def clean_transcript(
    raw: str,
    *,
    side: str = "A",
    order: str = "spelling-first",
    speaker: str = "A",
    mixed_turns: str = "select",
    repair: bool = True,
    changes: list[tuple[str, str, str]] | None = None,
) -> str:
    """Return the text of one raw line, by RULES in their order.

    side: "A" spelling, "B" pronunciation, "auto" pronunciation where the spelling holds a digit or
        a Latin letter.
    order: which of the two a dual of this corpus names first.
    speaker: whose turns are kept where the line has speaker marks.
    mixed_turns: what to do if another speaker's turn is in the line too: "select" keeps the chosen
        speaker's turns, "reject" rejects the line.
    repair: whether duals with wrong brackets or slashes are repaired.
    changes: gets (rule, text before, text after) for each rule that changed the line; the text
        after is `<REJECT:reason>` where the rule rejected it.
    The result holds only ALLOWED_CHARACTERS, and cleaning it again changes nothing.
    Raises Rejected, with its reason, where no text can be made; ValueError for an unknown choice.
    """
    choices = _choices(side, order, speaker, mixed_turns, repair)
    text = raw
    for rule in RULES if patterns.UNCOMMON.search(raw) else RULES_OF_COMMON_LINES:
        # A loop, not any() with a generator: 112,000 lines a second instead of 68,000.
        for sign in rule.needs:
            if sign in text:
                break
        else:
            continue
        try:
            changed = rule.apply(text, choices)
        except Rejected as rejection:
            if changes is not None:
                changes.append((rule.name, text, f"<REJECT:{rejection.reason}>"))
            raise
        if changes is not None and changed != text:
            changes.append((rule.name, text, changed))
        text = changed
    return text


TAG_RULES = (
    *("event", "filler event", "noise event", "event in brackets", "voice event"),
    *("event between stars", "tag", "marker"),
)


def without_tags(text: str) -> str:
    """Remove a transcriber's tags, events and markers, by TAG_RULES alone.

    Symbols, brackets and other speakers' turns stay: they are text. No text is rejected.
    """
    choices = _choices("A", "spelling-first", "A", "select", False)
    for rule in RULES:
        if rule.name in TAG_RULES:
            text = rule.apply(text, choices)
    return " ".join(text.split())


def n_digits_and_latin(text: str) -> int:
    """How many characters of a text are read out in another way than they are written."""
    return len(patterns.DIGIT_OR_LATIN.findall(text))
