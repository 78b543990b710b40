"""A sentence that was read aloud, and what was heard instead, letter by letter."""

from dataclasses import dataclass

from korean_asr.alignment import aligned
from korean_asr.letters import Letters
from korean_asr.listening.cues import is_mark
from korean_asr.transcripts import Rejected, clean_transcript

# A sentence of a user, for each reason why no label would be made of it.
WHY_REJECTED = {
    "empty": "it holds no letter",
    "bracket": "it holds a round bracket",
    "masked": "signs such as `***` stand for a part of it",
    "other speaker": "it is another speaker's turn",
    "unwritable": "it holds a letter or sign that is read aloud in another way than it is written",
}


class UnusableSentence(ValueError):
    """A sentence of which no label would be made; the message names it and the reason."""


def cleaned_sentence(sentence: str) -> str:
    """Clean a sentence as script 1 cleans labels. Raises UnusableSentence that says why not."""
    try:
        return clean_transcript(sentence)
    except Rejected as rejection:
        raise UnusableSentence(
            f"{sentence!r}: {WHY_REJECTED[rejection.reason]}. Write what was read aloud, in "
            "Hangul. · 소리 내어 읽은 문장을 한글로 입력하세요."
        ) from None


@dataclass(frozen=True, slots=True)
class LetterPair:
    """A letter of the sentence, and the letter that was heard in its place.

    meant: None for a letter that was heard beyond the sentence. heard: None for one that was not.
    start: seconds. score: the listener's score of `meant`.
    start and score are None where the letter could not be aligned to the recording.
    """

    meant: str | None
    heard: str | None
    start: float | None
    score: float | None

    @property
    def is_heard(self) -> bool:
        """Whether the letter was heard, and no other letter was likelier there."""
        return self.meant == self.heard and (self.score is None or self.score >= 0)


def letter_pairs(letters: Letters) -> list[LetterPair]:
    """Align what was heard to the sentence, at the least edit distance; every letter, in order.

    letters: of a hypothesis, `reference` being the sentence. Marks are not heard, so they are left
    out, as spaces are.
    """
    meant = [letter for letter in letters["reference"] if not is_mark(letter[0])]
    heard = [letter for letter in letters["hypothesis"] if not is_mark(letter[0])]
    texts = ["".join(letter[0] for letter in side) for side in (meant, heard)]
    pairs = []
    for i, j in aligned(*texts):
        if i is None:
            pairs.append(LetterPair(None, heard[j][0], heard[j][1], None))
            continue
        character, start, _, score = meant[i]
        pairs.append(LetterPair(character, None if j is None else heard[j][0], start, score))
    return pairs
