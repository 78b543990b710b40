"""One raw transcript line -> the text that is trained and scored on, or the reason why the line is rejected.

RULES is the whole story, from top to bottom: what each rule looks for, what becomes of it, why, and an example.
`clean_transcript` does nothing but apply that table.

What goes never runs two words together: between two letters or digits it leaves a space. Quotes and square brackets
alone leave nothing, because a Korean particle follows them directly (`"밥"을`).
A dual `(A)/(B)` with a slip of the typist is repaired where both sides are certain; a round bracket that is left after
that is never guessed at: the line is rejected.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

SIDES = ("A", "B", "auto")
ORDERS = ("spelling-first", "pronunciation-first")
SPEAKERS = ("A", "B", "C", "D")
MIXED_TURNS = ("select", "reject")

LATIN = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ"
# Every jamo is written as one of these 51 compatibility jamo. U+318D is none of them: people type it as a middle dot.
LETTERS = "가-힣ㄱ-ㅣ" + LATIN
WORD = LETTERS + "0-9"
MARKS = ".,?!"
# Signs that are spoken, or belong to the spelling, where the marker and symbol rules let them stand.
SIGNS = "%&':/+*-"
# A cleaned text holds nothing else. Kana, Han characters and other scripts are symbols here: the model cannot write
# them, and how they were spoken is unknown.
ALLOWED_CHARACTERS = f"[{WORD} {MARKS}{SIGNS}]"

REASONS = ("masked", "empty", "other speaker", "mixed turns", "bracket")


class Rejected(ValueError):
    """A line that no training text can be made of; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Choices:
    """What the user chose. Raises ValueError, naming the accepted values, for one that is unknown."""

    side: str
    order: str
    speaker: str
    mixed_turns: str
    repair: bool

    def __post_init__(self) -> None:
        accepted_values = {
            "side": SIDES,
            "order": ORDERS,
            "speaker": SPEAKERS,
            "mixed_turns": MIXED_TURNS,
        }
        for name, accepted in accepted_values.items():
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} must be one of {accepted}, not {getattr(self, name)!r}")


_choices = lru_cache(Choices)

Rewrite = Callable[[re.Pattern[str], str, Choices], str]


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    replacement: what each match becomes (`re.sub` syntax), or a function of pattern, text and choices that returns the
        new text or raises Rejected.
    needs: the rule is skipped where the text holds none of these. Only for speed: the pattern cannot match then.
    example_after: `<REJECT:reason>` where the line is rejected.
    """

    name: str
    pattern: re.Pattern[str]
    replacement: str | Rewrite
    why: str
    example_before: str
    example_after: str
    needs: tuple[str, ...] = ("",)

    def apply(self, text: str, choices: Choices) -> str:
        """The text after this rule alone. Raises Rejected."""
        if not isinstance(self.replacement, str):
            return self.replacement(self.pattern, text, choices)
        # Looked for first: sub() unfolds a template such as `\\1` on each call, which takes six times as long.
        return self.pattern.sub(self.replacement, text) if self.pattern.search(text) else text


def _jamo_without_position() -> dict[int, int]:
    """Half-width and conjoining jamo -> the compatibility jamo of the same name, for the 51 modern ones."""
    jamo = {}
    for code in (*range(0x1100, 0x1200), *range(0xFFA1, 0xFFDD)):
        kind_and_name = unicodedata.name(chr(code), "").partition("HANGUL ")[2]
        try:
            same = ord(unicodedata.lookup("HANGUL LETTER " + kind_and_name.partition(" ")[2]))
        except KeyError:
            continue
        if 0x3131 <= same <= 0x3163:
            jamo[code] = same
    return jamo


def _plain_characters() -> dict[int, int | str | None]:
    """Character -> what it is written as; None: it goes."""
    plain: dict[int, int | str | None] = {}
    for code in (*range(0x20000), *range(0xE0000, 0xE0200)):
        category = unicodedata.category(chr(code))
        if category in ("Cc", "Cf", "Cs", "Mn", "Me") or unicodedata.combining(chr(code)):
            plain[code] = None
        elif category in ("Zs", "Zl", "Zp"):
            plain[code] = " "
    for code in _ACCENTS:
        del plain[code]
    # Full-width and small forms, Roman numerals, squared units (㎞), as far as they stand for ASCII.
    for code in (
        *range(0xFF01, 0xFF5F),
        *range(0xFE50, 0xFE6C),
        *range(0x2160, 0x2180),
        *range(0x3371, 0x33E0),
    ):
        ascii_form = unicodedata.normalize("NFKC", chr(code))
        if ascii_form.isascii():
            plain[code] = ascii_form
    plain |= str.maketrans(dict.fromkeys("\t\n\v\f\r\x85", " "))
    plain |= str.maketrans("。｡、､‐‑−’´ʼ【】〔〕〖〗", "..,,---'''[][][]")
    plain |= str.maketrans({"…": "...", "⋯": "...", "‥": ".."})
    return plain | str.maketrans("", "", '"“”„‟«»「」『』〈〉《》〝〞〟＂`｀')


_ACCENTS = range(0x0300, 0x0370)
_PLAIN_CHARACTERS = _plain_characters()
# NFC puts jamo and accents together; these it leaves over.
_LEFT_BY_NFC = _jamo_without_position() | dict.fromkeys(_ACCENTS)
_FIFTH_ACCENT_AND_ON = re.compile("[\u0300-\u036f](?<=[\u0300-\u036f]{5})[\u0300-\u036f]*")


def _character_forms(unusual: re.Pattern[str], text: str, _: Choices) -> str:
    # Most lines hold nothing unusual, and looking is ten times as fast as translating.
    if not unusual.search(text):
        return text
    text = text.translate(_PLAIN_CHARACTERS)
    # NFC takes time quadratic in a run of accents: 40,000 pairs of them took 3.7 s, a line of 1 MB half an hour.
    text = unicodedata.normalize("NFC", _FIFTH_ACCENT_AND_ON.sub("", text))
    return text.translate(_LEFT_BY_NFC) if unusual.search(text) else text


def _single_quotes(pairs: re.Pattern[str], text: str, _: Choices) -> str:
    return pairs.sub(r"\1", text.replace("''", ""))


def _ellipses(dots: re.Pattern[str], text: str, _: Choices) -> str:
    return dots.sub(lambda match: " " if match[1] is None else ".", text)


def _without_noise_events(dual_or_event: re.Pattern[str], text: str, _: Choices) -> str:
    return dual_or_event.sub(lambda match: match[1] or " ", text)


def _rejection(reason: str) -> Rewrite:
    def reject_if_found(pattern: re.Pattern[str], text: str, _: Choices) -> str:
        if pattern.search(text):
            raise Rejected(reason)
        return text

    return reject_if_found


def _not_understood(hole: re.Pattern[str], text: str, _: Choices) -> str:
    if not hole.search(text):
        return text
    rest = _TAG.sub(" ", _SPEAKER_MARK.sub(" ", hole.sub(" ", text)))
    raise Rejected("masked" if _WORD_START.search(rest) else "empty")


_SPEAKER_OF_NUMBER = dict(zip("1234", SPEAKERS, strict=True))


def _speaker_of(mark: str) -> str | None:
    """`A`, `화자1` and `화자 1` are speaker A; None for a speaker beyond D."""
    number = mark.removeprefix("화자").strip()
    return mark if number == mark else _SPEAKER_OF_NUMBER.get(number)


def _turns(mark: re.Pattern[str], text: str) -> list[tuple[str | None, str, str]]:
    """(speaker, mark, words) of each turn. Text before the first mark is speaker A's."""
    before, *marks_and_words = mark.split(text)
    marks, words = marks_and_words[::2], marks_and_words[1::2]
    return [
        ("A", "", before),
        *zip(map(_speaker_of, marks), (f"{name}:" for name in marks), words, strict=True),
    ]


def _own_turns(mark: re.Pattern[str], text: str, choices: Choices) -> str:
    turns = [turn for turn in _turns(mark, text) if turn[2].strip()]
    own = [turn for turn in turns if turn[0] == choices.speaker]
    if not own or len(own) == len(turns):
        return text
    if choices.mixed_turns == "reject":
        raise Rejected("mixed turns")
    return " ".join(written + words for _, written, words in own)


def _without_speaker_marks(mark: re.Pattern[str], text: str, choices: Choices) -> str:
    turns = _turns(mark, text)
    if len(turns) == 1:  # no mark: nobody else speaks, so the line is whoever's was asked for
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
        # A tag such as `b/` is no Latin word.
        needs_reading = _DIGIT_OR_LATIN.search(_TAG.sub(" ", match[spelling]))
        return match[pronunciation if needs_reading else spelling]

    return dual.sub(readable_side, text)


def _repaired_sides(broken_dual: re.Pattern[str], text: str, choices: Choices) -> str:
    return _chosen_sides(broken_dual, text, choices) if choices.repair else text


def _gone(removed: re.Pattern[str], text: str, _: Choices) -> str:
    # At the start there is nothing before; a space left there goes with the others.
    def space_between_words(match: re.Match[str]) -> str:
        separates = _WORD_END.match(text, match.start() - 1) and _WORD_START.match(
            text, match.end()
        )
        return " " if separates else ""

    return removed.sub(space_between_words, text)


def _single_spaces(run: re.Pattern[str], text: str, _: Choices) -> str:
    text = text.strip(" ")
    return run.sub(" ", text) if "  " in text else text


def _without_colons(marks: re.Pattern[str], text: str, _: Choices) -> str:
    return marks.sub(lambda match: match[0].replace(":", " "), text)


def _cut_start(start: re.Pattern[str], text: str, _: Choices) -> str:
    match = start.match(text)
    return text[match.end() :] if match else text


def _reject_empty(end: re.Pattern[str], text: str, _: Choices) -> str:
    if end.match(text):
        raise Rejected("empty")
    return text


_WORD_START = re.compile(f"[{WORD}]")
_WORD_END = re.compile(f"[{WORD}%]")
_DIGIT_OR_LATIN = re.compile(f"[0-9{LATIN}]")
# un/ sn/ b/ l/ o/ n/ u/, not behind a Latin letter. The class comes first here and below, with the lookbehind after it:
# sre scans for a leading class several times as fast.
_TAG = re.compile(f"[blnosu](?<![{LATIN}].)(?:(?<!s)|(?<=[su])n)/")
_TAG_NAME = "[blnou]|[su]n"
_MASKED_NAME = re.compile(r"&(?:[^\W\d_][\w-]*\d|[a-z][a-z-]+)&")
_SPEAKER = "[A-D]|화자 *[0-9]+"
_SPEAKER_MARK = re.compile(f"(?<![^ ])({_SPEAKER}) ?:")
# The parts of a dual. A side holds a letter or a digit. What a typist does to its brackets: one is typed twice, or the other way
# round. An opening one that is typed `)` must stand where a word starts, a closing one that is typed `(` where one ends:
# anywhere else they are what they look like.
_A, _B = (rf"(?P<{side}>(?=[^()]*?[{WORD}])[^()]+)" for side in "ab")
_OPENED = r"[()](?:(?<=\()\(?|(?<=\))(?<![^ ].)(?! ))"
_AT_SLASH = "[()][()]?"
_CLOSED = r"(?:\)\)?|(?<! )\()"
_DUAL = re.compile(rf"\({_A}\)/\({_B}\)")
# `/(noise)`, but not the `/(B)` of `(A)/(에이)/(B)/(비)`, whose slash is a filler marker, nor the Latin side of a dual.
_NOISE = rf"/\([{LATIN}][{LATIN} _-]*\)(?!/\((?![{LATIN} _-]+\)))"
_ANY_SLASH = rf"(?:{_AT_SLASH}(?:[ /?:!+]*{_AT_SLASH}|/)|/{_AT_SLASH})"
_DUAL_OR_NOISE = re.compile(rf"({_OPENED}[^()]+{_ANY_SLASH}[^()]+{_CLOSED})|{_NOISE}")
# One character of no use: `%` stays behind a letter or digit, `& - ' :` between two.
_SYMBOL = f"[^{WORD} {MARKS}/+*](?<![{WORD}]%)(?<![{WORD}][&':-](?=[{WORD}]))"

RULES: tuple[Rule, ...] = (
    Rule(
        name="tag behind a bracket",
        pattern=re.compile(
            rf'([()\]}}"”（）］])(?:(?:{_TAG_NAME})/|/(?=[ .,?!]|\Z)(?![ .,?!]*\())'
        ),
        replacement=r"\1 ",
        needs=("/",),
        why="What stands behind a bracket or quote is glued to no word. Before the dual, whose side may end in a Latin letter.",
        example_before="(SBS)/(에스비에스)n/ 틀어",
        example_after="SBS 틀어",
    ),
    Rule(
        name="character forms",
        pattern=re.compile("[^ !#-_a-~가-힣ㄱ-ㅣ]"),
        replacement=_character_forms,
        why="One way to write each character: decomposed Hangul is six unknown tokens for two syllables. "
        "Quotes and what has no width are not spoken.",
        example_before="\ufeff“전기\u200b차” ７대！",
        example_after="전기차 7대!",
    ),
    Rule(
        name="intent",
        pattern=re.compile(r"\| *\[[^\[\]|]*\] *\Z"),
        replacement="",
        needs=("|",),
        why="방송 콘텐츠 대화체 labels each utterance. First, so that the text ends before the label.",
        example_before="창문 좀 닫아 줘.. | [요청]",
        example_after="창문 좀 닫아 줘.",
    ),
    Rule(
        name="single quotes",
        pattern=re.compile(
            rf"(?:‘|(?<![{WORD}])')([^'‘]*(?:(?<=[A-Za-z])'(?=[A-Za-z])[^'‘]*)*)(?:(?<![A-Za-z])'|'(?![A-Za-z]))"
        ),
        replacement=_single_quotes,
        needs=("'", "‘"),
        why="A pair is a quote, also where a particle follows it; an apostrophe inside a Latin word stays.",
        example_before="'귤'은 달고 'It's me'는 길다",
        example_after="귤은 달고 It's me는 길다",
    ),
    Rule(
        name="ellipsis",
        pattern=re.compile(r"\.\.+( *\Z)?"),
        replacement=_ellipses,
        needs=("..",),
        why="A pause is no punctuation that can be heard; at the end of the text it closes the sentence.",
        example_before="글쎄... 모르겠는데..",
        example_after="글쎄 모르겠는데.",
    ),
    Rule(
        name="event",
        pattern=re.compile(r"\((?:NO|SN):[^()]*\)"),
        replacement=" ",
        needs=("(",),
        why="A noise is not spoken, nor is its description.",
        example_before="(NO:) 잠깐만 (SN:기침) 미안",
        example_after="잠깐만 미안",
    ),
    Rule(
        name="filler event",
        pattern=re.compile(r"\(FP:([^()]*)\)"),
        replacement=r" \1 ",
        needs=("(FP:",),
        why="A filler is spoken, so its word stays.",
        example_before="(FP:음) 글쎄",
        example_after="음 글쎄",
    ),
    Rule(
        name="noise event",
        pattern=_DUAL_OR_NOISE,
        replacement=_without_noise_events,
        needs=("/(",),
        why="A noise named in Latin letters. A dual is stepped over: its second side may be Latin too.",
        example_before="잠깐만 /(cough) (유에스비)/(USB) 어디 있지",
        example_after="잠깐만 유에스비 어디 있지",
    ),
    Rule(
        name="voice event",
        pattern=re.compile(f"@(?:웃음|목청|박수|노래)(?!(?!(?:{_TAG_NAME})/)[{WORD}])"),
        replacement=" ",
        needs=("@",),
        why="Four words behind @ describe a sound; every other one hides a name.",
        example_before="진짜 웃겨 @웃음",
        example_after="진짜 웃겨",
    ),
    Rule(
        name="masked digits",
        pattern=re.compile("#"),
        replacement=_rejection("masked"),
        needs=("#",),
        why="The audio has words that the text hides.",
        example_before="번호는 ### 이야",
        example_after="<REJECT:masked>",
    ),
    Rule(
        name="masked word",
        pattern=re.compile(r"@\w"),
        replacement=_rejection("masked"),
        needs=("@",),
        why="The audio has a name that the text hides.",
        example_before="어제 @상호1 갔어",
        example_after="<REJECT:masked>",
    ),
    Rule(
        name="masked name",
        pattern=_MASKED_NAME,
        replacement=_rejection("masked"),
        needs=("&",),
        why="The same in the notation of free talk; capitals without a number (`R&D&I`) are a name that is spoken so.",
        example_before="&name1& 언니 왔어",
        example_after="<REJECT:masked>",
    ),
    Rule(
        name="not understood",
        pattern=re.compile(r"\(\( *\)\)"),
        replacement=_not_understood,
        needs=("((",),
        why="Words that nobody understood are missing; where they are all there was, the clip has no text.",
        example_before="그래서 (()) 갔지",
        example_after="<REJECT:masked>",
    ),
    Rule(
        name="mixed turns",
        pattern=_SPEAKER_MARK,
        replacement=_own_turns,
        needs=(":",),
        why="One speaker is trained on; another one's words go. The audio may hold both, so --mixed-turns can reject the line.",
        example_before="A: 몇 시야? B: 3:30 지났어.",
        example_after="몇 시야?",
    ),
    Rule(
        name="speaker mark",
        pattern=_SPEAKER_MARK,
        replacement=_without_speaker_marks,
        needs=(":",),
        why="Who speaks is not spoken. Text before the first mark is speaker A's.",
        example_before="화자 1: 몇 시야?",
        example_after="몇 시야?",
    ),
    # Duals: (spelling)/(pronunciation) of one stretch of speech. One of them is the text, what touches it stays so.
    Rule(
        name="dual in double brackets",
        pattern=re.compile(rf"(?P<outer>\()?\({_A}\)/\({_B}\)(?(outer)\)?|\))"),
        replacement=_repaired_sides,
        needs=("((", "))"),
        why="The second bracket belongs to the dual. Before the proper dual, which would leave it over.",
        example_before="((2월)/(이 월)) 아니면 (3월)/(삼 월))",
        example_after="2월 아니면 3월",
    ),
    Rule(
        name="dual",
        pattern=_DUAL,
        replacement=_chosen_sides,
        needs=(")/(",),
        why="As the transcription guidelines write it. The only shape that counts in the foreign corpus.",
        example_before="(2월)/(이 월)부터",
        example_after="2월부터",
    ),
    Rule(
        name="dual with a wrong bracket",
        pattern=re.compile(rf"{_OPENED}{_A}{_AT_SLASH}/{_AT_SLASH}{_B}{_CLOSED}"),
        replacement=_repaired_sides,
        needs=("(",),
        why="A bracket typed twice or the other way round: the slash still parts two whole sides.",
        example_before="(2월))/(이 월), )KBS)/(케이 비 에스(",
        example_after="2월, KBS",
    ),
    Rule(
        name="dual without a bracket",
        pattern=re.compile(
            rf"{_OPENED}{_A}(?:(?<! )/{_AT_SLASH}|{_AT_SLASH}/(?=[{WORD}])){_B}{_CLOSED}"
        ),
        replacement=_repaired_sides,
        needs=("(",),
        why="The slash tells where a side ends that is not closed, or begins that is not opened.",
        example_before="(2월/(이 월) 아니면 (3월)/삼 월)",
        example_after="2월 아니면 3월",
    ),
    Rule(
        name="dual with a spaced slash",
        pattern=re.compile(rf"{_OPENED}{_A}{_AT_SLASH}(?: +/ *|/ +){_AT_SLASH}{_B}{_CLOSED}"),
        replacement=_repaired_sides,
        needs=("(",),
        why="Spaces around the slash are slips, those inside a side are text.",
        example_before="(2월) / (이 월)",
        example_after="2월",
    ),
    Rule(
        name="dual with a mistyped slash",
        pattern=re.compile(rf"{_OPENED}{_A}{_AT_SLASH}(?:/?[?:!+]/?|//){_AT_SLASH}{_B}{_CLOSED}"),
        replacement=_repaired_sides,
        needs=("(",),
        why="`? : ! +` lie beside the slash, or under the same finger.",
        example_before="(2월)?(이 월)에 (3월)/+(삼 월)에",
        example_after="2월에 3월에",
    ),
    Rule(
        name="dual without a slash",
        pattern=re.compile(rf"{_OPENED}{_A}\)\)?\(\(?{_B}{_CLOSED}"),
        replacement=_repaired_sides,
        needs=("(",),
        why="Two sides that touch back to back.",
        example_before="(2월)(이 월)부터",
        example_after="2월부터",
    ),
    Rule(
        name="dual in one bracket",
        pattern=re.compile(
            rf"\((?!(?:{_TAG_NAME})/)(?=[^()]*(?:[0-9{LATIN}]| /|/(?! )))"
            rf"(?P<a>(?=[^()/]*?[{WORD}])(?:[^()/]|(?<=[0-9])/(?=[0-9]))+)"
            rf"/(?:(?<![0-9]/)(?<![0-9] /)|(?! ?[0-9]))(?P<b>(?=[^()/]*?[{WORD}])[^()/]+)\)"
        ),
        replacement=_repaired_sides,
        needs=("(",),
        why="A slash parts two sides. Between two digits it is a sign (`3/4`), in `(어/ 그래)` it marks a filler.",
        example_before="(두 달/2달)쯤",
        example_after="두 달쯤",
    ),
    Rule(
        name="square brackets",
        pattern=re.compile(r"[\[\]{}]"),
        replacement="",
        needs=("[", "]", "{", "}"),
        why="Their words were spoken.",
        example_before="[영 이]에 {전화}해",
        example_after="영 이에 전화해",
    ),
    Rule(
        name="bracket left",
        pattern=re.compile("[()]"),
        replacement=_rejection("bracket"),
        needs=("(", ")"),
        why="Where a side ends, or what the bracket means, would be a guess.",
        example_before="(2월)/(이 월부터",
        example_after="<REJECT:bracket>",
    ),
    Rule(
        name="tag",
        pattern=_TAG,
        replacement=" ",
        needs=("/",),
        why="Breath, laughter, noise. No \\b: Hangul is a word character to it, and `하지만n/` would keep its n.",
        example_before="하지만n/ 우리 pub/ 가자 l/",
        example_after="하지만 우리 pub 가자",
    ),
    Rule(
        name="marker",
        pattern=re.compile("[/+*](?:[/+*]+|(?<![0-9].)|(?![0-9]))"),
        replacement=_gone,
        needs=("/", "+", "*"),
        why="Filler, repeat and unclear markers are no text. A single one between two digits is a sign and stays.",
        example_before="음/ 나는+나는 그게*, 10대/20대 때 4/5 지점",
        example_after="음 나는 나는 그게, 10대 20대 때 4/5 지점",
    ),
    Rule(
        name="symbol",
        pattern=re.compile(f"{_SYMBOL}(?:{_SYMBOL})*"),
        replacement=_gone,
        why="Not spoken. `%` behind a word and `& - ' :` inside one are spoken, or belong to its spelling.",
        example_before="R&D 50%~60% 올라~ ♪ -끝-",
        example_after="R&D 50% 60% 올라 끝",
    ),
    Rule(
        name="spaces",
        pattern=re.compile("  +"),
        replacement=_single_spaces,
        why="What went leaves its spaces.",
        example_before=" 자  가자 ",
        example_after="자 가자",
    ),
    Rule(
        name="space before a mark",
        pattern=re.compile(f" ([{MARKS}])"),
        replacement=r"\1",
        needs=(" .", " ,", " ?", " !"),
        why="A mark closes up to its word.",
        example_before="안 갈래 l/ .",
        example_after="안 갈래.",
    ),
    Rule(
        name="repeated marks",
        pattern=re.compile(f"([{MARKS}])[{MARKS}]+"),
        replacement=r"\1",
        why="Nobody hears how many there are: the first of a run stays.",
        example_before="뭐라고?!! 응",
        example_after="뭐라고? 응",
    ),
    Rule(
        name="marks at the start",
        pattern=re.compile(f"[ {MARKS}]+"),
        replacement=_cut_start,
        why="A mark before the first word closes nothing.",
        example_before=", 그래서",
        example_after="그래서",
    ),
    # The next two see what only the removals above laid bare. Without them a second cleaning would find more to do.
    Rule(
        name="masked name laid bare",
        pattern=_MASKED_NAME,
        replacement=_rejection("masked"),
        needs=("&",),
        why="A mask with a bracket inside is still a mask.",
        example_before="A&[b2]&C",
        example_after="<REJECT:masked>",
    ),
    Rule(
        name="speaker mark laid bare",
        pattern=re.compile(f"(?<![^ ])(?:(?:{_SPEAKER}):)+"),
        replacement=_without_colons,
        needs=(":",),
        why="It was no mark in the raw line, so nobody's turn ends here; its colon would make it one.",
        example_before="비타민~C:감귤",
        example_after="비타민 C 감귤",
    ),
    Rule(
        name="empty",
        pattern=re.compile(r"\Z"),
        replacement=_reject_empty,
        why="Nothing but tags and marks: the clip has no words.",
        example_before="l/ ...",
        example_after="<REJECT:empty>",
    ),
)


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
    """The text of one raw line, by RULES in their order.

    side: "A" spelling, "B" pronunciation, "auto" pronunciation where the spelling holds a digit or a Latin letter.
    order: which of the two a dual of this corpus names first.
    speaker: whose turns are kept where the line has speaker marks.
    mixed_turns: "select" keeps that speaker's turns of a line that has another's too, "reject" rejects the line.
    repair: whether duals with wrong brackets or slashes are repaired; a corpus whose guidelines know no dual has none.
    changes: gets (rule, text before, text after) for each rule that changed the line; the text after is
        `<REJECT:reason>` where the rule rejected it.
    The result holds only ALLOWED_CHARACTERS, and cleaning it again changes nothing.
    Raises Rejected, with its reason, where no text can be made; ValueError for an unknown choice.
    """
    choices = _choices(side, order, speaker, mixed_turns, repair)
    text = raw
    for rule in RULES:
        # Spelled out: with any() and a generator it cleaned 68,000 lines a second, so 112,000.
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


TAG_RULES = ("event", "filler event", "noise event", "voice event", "tag", "marker")


def without_tags(text: str) -> str:
    """A text without what a transcriber notes beside the words: rules of RULES that take out tags, events and markers alone.

    Symbols, brackets and other speakers' turns stay: they are text. No text is rejected.
    """
    choices = _choices("A", "spelling-first", "A", "select", False)
    for rule in RULES:
        if rule.name in TAG_RULES:
            text = rule.apply(text, choices)
    return " ".join(text.split())
