"""What was heard in a recording, as the page shows it."""

from korean_asr.letters import Letter
from korean_asr.listening.cues import is_mark, spaces_before
from korean_asr.listening.heard import Heard
from korean_asr.listening.report import NO_LETTER, clock, pair_cells, unscored_note
from korean_asr.listening.sentence import LetterPair, letter_pairs
from korean_asr.pages.heard import ShownLetter, ShownRecording
from korean_asr.pages.html import capital

# Below each of these a letter is shaded, one step darker: listener's scores as on the page of
# script 3, and posteriors.
SCORE_STEPS = (2.0, 0.0, -2.0)
POSTERIOR_STEPS = (0.9, 0.7, 0.5)
MEANT = "the sentence, darker where another letter was likelier · 문장, 다른 글자로 들릴수록 진함"
HEARD = "heard, darker where less sure · 들린 말, 확실하지 않을수록 진함"


def shown_recording(heard: Heard, audio: str | None, unwritable: list[str]) -> ShownRecording:
    """Make the lines of a recording that was decoded.

    audio: its data: URI. unwritable: letters of the sentence that the model cannot write.
    """
    letters = heard.hypothesis.letters
    pairs = letter_pairs(letters) if heard.sentence is not None else []
    lines = []
    if heard.sentence is not None:
        lines.append((MEANT, _meant(letters["reference"], heard.sentence, pairs)))
    lines.append((HEARD, _heard(letters["hypothesis"], heard.hypothesis.text, pairs)))
    differing = [pair for pair in pairs if not pair.is_heard]
    return ShownRecording(
        audio,
        lines,
        _notes(heard, pairs, differing, unwritable),
        [pair_cells(pair) for pair in differing],
    )


def _meant(letters: list[Letter], text: str, pairs: list[LetterPair]) -> list[ShownLetter]:
    """The letters of the sentence, and what became of each."""
    outcomes = iter([pair for pair in pairs if pair.meant is not None])
    made = []
    for (character, start, end, score), space in zip(letters, spaces_before(text), strict=True):
        pair = None if is_mark(character) else next(outcomes)
        kind, title = "", ""
        if pair and pair.heard != pair.meant:
            kind = "mark" if pair.heard else "del"
            title = f"heard {pair.heard or NO_LETTER}"
        if score is not None:
            title = f"{title}, score {score:.2f}".removeprefix(", ")
        made.append(
            ShownLetter(character, space, start, end, _shade(score, SCORE_STEPS), kind, title)
        )
    return made


def _heard(letters: list[Letter], text: str, pairs: list[LetterPair]) -> list[ShownLetter]:
    """The letters that were heard; with pairs, those marked that are not the sentence's."""
    outcomes = iter([pair for pair in pairs if pair.heard is not None])
    made = []
    for (character, start, end, posterior), space in zip(letters, spaces_before(text), strict=True):
        pair = next(outcomes) if pairs and not is_mark(character) else None
        kind = ""
        if pair and pair.heard != pair.meant:
            kind = "mark" if pair.meant else "ins"
        title = f"{clock(start)}, confidence {posterior:.2f}"
        shade = _shade(posterior, POSTERIOR_STEPS)
        made.append(ShownLetter(character, space, start, end, shade, kind, title))
    return made


def _shade(value: float | None, steps: tuple[float, ...]) -> int:
    """How many of the steps a value lies below; 0 for none."""
    return 0 if value is None else sum(value < step for step in steps)


def _notes(
    heard: Heard, pairs: list[LetterPair], differing: list[LetterPair], unwritable: list[str]
) -> list[str]:
    confidence = heard.hypothesis.confidence
    length = f"{heard.seconds:.1f} s"
    if confidence is None:
        notes = [f"{length}, nothing heard · 들린 말이 없습니다."]
    else:
        notes = [
            f"{length}, confidence {confidence:.2f}. Click a letter to hear it. "
            "· 글자를 누르면 그 소리가 들립니다."
        ]
    if heard.hypothesis.is_silent:
        notes.append(
            "Every sample is equal: nobody speaks here, and any text is invented. "
            "· 무음이므로 이 결과는 믿을 수 없습니다."
        )
    if note := unscored_note(pairs, unwritable):
        notes.append(capital(note))
    if pairs and not differing:
        notes.append("Every letter was heard. · 모든 글자가 문장대로 들렸습니다.")
    return notes
