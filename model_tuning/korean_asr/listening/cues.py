"""The text of a recording in cues, as subtitles have them: a sentence or a part of one each."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from korean_asr.letters import Letter
from korean_asr.metrics import Hypothesis
from korean_asr.vocabulary import UNKNOWN

SENTENCE_MARKS = ".?!"
# Seconds of silence between two letters that end a cue.
PAUSE_S = 0.7
# A longer cue is cut at a space. Subtitles stand for 7 s at most.
LONGEST_S = 6.0


@dataclass(frozen=True, slots=True)
class Cue:
    """A part of what was heard.

    start, end: seconds from the start of the recording, of its first and its last letter.
    confidence: 0 to 1, the mean posterior of its letters.
    """

    start: float
    end: float
    text: str
    confidence: float


def is_mark(character: str) -> bool:
    """Whether a character is punctuation, which is not heard. The unknown sign `⁇` is a letter."""
    return unicodedata.category(character).startswith("P") and character != UNKNOWN


def cues_of(hypothesis: Hypothesis) -> list[Cue]:
    """Cut the text of a recording into cues, in order; empty where nothing was heard.

    hypothesis: decoded with its letters. A cue ends at a sentence mark, at a pause of PAUSE_S, and
    at the space nearest to the middle of what is longer than LONGEST_S.
    """
    letters, spaced = hypothesis.letters["hypothesis"], spaces_before(hypothesis.text)
    parts = [
        part
        for sentence in _sentences(letters, spaced)
        for part in _short_parts(sentence, letters, spaced)
    ]
    return [_cue(part, letters, spaced) for part in parts]


def spaces_before(text: str) -> list[bool]:
    """Whether a space stands before each letter of a normalised text."""
    pairs = zip(f" {text}", text, strict=False)
    return [before == " " for before, letter in pairs if letter != " "]


def _sentences(letters: list[Letter], spaced: list[bool]) -> Iterator[range]:
    """Yield the indices of the letters between sentence marks and pauses."""
    first, heard_until = 0, None
    for index, (character, start, end, _) in enumerate(letters):
        after_mark = index > 0 and letters[index - 1][0] in SENTENCE_MARKS
        # Not within `?!`, `."` and `3.5`.
        is_new = after_mark and (spaced[index] or character.isalpha())
        if not is_mark(character):
            # A model may write a mark amid the pause behind its sentence, which is one pause still.
            # Differences of two decimals are whole hundredths but for the last bits.
            is_new |= heard_until is not None and round(start - heard_until, 2) >= PAUSE_S
            heard_until = end
        if is_new:
            yield range(first, index)
            first = index
    if letters:
        yield range(first, len(letters))


def _short_parts(part: range, letters: list[Letter], spaced: list[bool]) -> Iterator[range]:
    """Yield a part, or the halves of a longer one; a single word stays whole."""
    start, end = letters[part[0]][1], letters[part[-1]][2]
    spaces = [index for index in part[1:] if spaced[index]]
    if end - start <= LONGEST_S or not spaces:
        yield part
        return
    middle = min(spaces, key=lambda i: abs(letters[i - 1][2] + letters[i][1] - start - end))
    yield from _short_parts(range(part[0], middle), letters, spaced)
    yield from _short_parts(range(middle, part[-1] + 1), letters, spaced)


def _cue(part: range, letters: list[Letter], spaced: list[bool]) -> Cue:
    text = "".join(f" {letters[i][0]}" if spaced[i] else letters[i][0] for i in part).strip()
    posteriors = [letters[i][3] for i in part]
    return Cue(letters[part[0]][1], letters[part[-1]][2], text, round(fmean(posteriors), 3))
