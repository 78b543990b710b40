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


def without_colons(marks: re.Pattern[str], text: str, _: object) -> str:
    return marks.sub(lambda match: match[0].replace(":", " "), text)
