"""What becomes of a match where a template such as `\\1` cannot say it: functions of RULES.

Each takes the pattern of its rule and the text, and returns the new text. None rejects a line, and
none depends on a choice of the user, which is the third argument.
"""

import re
import unicodedata

from korean_asr import transcript_patterns as patterns


def character_forms(unusual: re.Pattern[str], text: str, _: object) -> str:
    # Most lines hold nothing unusual, and searching is ten times as fast as translating.
    if not unusual.search(text):
        return text
    text = text.translate(patterns.plain_characters())
    # NFC takes time quadratic in a run of accents: 40,000 pairs took 3.7 s, 1 MB half an hour.
    text = unicodedata.normalize("NFC", patterns.FIFTH_ACCENT_AND_ON.sub("", text))
    return text.translate(patterns.LEFT_BY_NFC) if unusual.search(text) else text


def single_quotes(quoted: re.Pattern[str], text: str, _: object) -> str:
    return quoted.sub(r"\1", text.replace("''", ""))


def ellipses(dots: re.Pattern[str], text: str, _: object) -> str:
    return dots.sub(lambda match: " " if match[1] is None else ".", text)


def without_noise_events(dual_or_noise: re.Pattern[str], text: str, _: object) -> str:
    return dual_or_noise.sub(lambda match: match[1] or " ", text)


def removed(pattern: re.Pattern[str], text: str, _: object) -> str:
    def space_between_words(match: re.Match[str]) -> str:
        # match() takes -1 for 0; a space that this leaves at the start is removed with the others.
        before = patterns.WORD_END.match(text, match.start() - 1)
        return " " if before and patterns.WORD_START.match(text, match.end()) else ""

    return pattern.sub(space_between_words, text)


def single_spaces(run: re.Pattern[str], text: str, _: object) -> str:
    text = text.strip(" ")
    return run.sub(" ", text) if "  " in text else text


def spaces_behind_marks(marks_and_spaces: re.Pattern[str], text: str, _: object) -> str:
    def space_behind(match: re.Match[str]) -> str:
        run, before, behind = match[0], match.start() - 1, match.end()
        if not patterns.SPACE_BEFORE_MARK.search(run):
            return run
        marks = run.replace(" ", "")
        if run.endswith(" "):
            return f"{marks} "
        parts_words = patterns.WORD_END.match(text, before) and patterns.WORD_START.match(
            text, behind
        )
        # `3 .5` is one number with a space too many.
        one_number = parts_words and len(run) == 2 and f"{text[before]}{text[behind]}".isdecimal()
        return f"{marks} " if parts_words and not one_number else marks

    return marks_and_spaces.sub(space_behind, text)


def without_colons(marks: re.Pattern[str], text: str, _: object) -> str:
    return marks.sub(lambda match: match[0].replace(":", " "), text)


_SPEAKER_OF_NUMBER = dict(zip("1234", "ABCD", strict=True))


def _speaker_of(mark: str) -> str | None:
    """Return the speaker of a mark (`A`, `화자1` and `화자 1` are A); None for one beyond D."""
    number = mark.removeprefix("화자").strip()
    return mark if number == mark else _SPEAKER_OF_NUMBER.get(number)


def turns(mark: re.Pattern[str], text: str) -> list[tuple[str | None, str, str]]:
    """Return (speaker, mark, words) of each turn. Text before the first mark is speaker A's."""
    before, *marks_and_words = mark.split(text)
    marks, words = marks_and_words[::2], marks_and_words[1::2]
    speakers = map(_speaker_of, marks)
    return [("A", "", before), *zip(speakers, (f"{name}:" for name in marks), words, strict=True)]
