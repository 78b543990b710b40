"""The lines that listen.py prints."""

from korean_asr.errors import printable
from korean_asr.listening.heard import Heard
from korean_asr.listening.sentence import LetterPair, letter_pairs
from korean_asr.messages import table
from korean_asr.vocabulary import Outside

# Where a letter has no time, or no score.
UNKNOWN_VALUE = "–"
NO_LETTER = "∅"


def clock(seconds: float) -> str:
    """A time as people read it: `0:02.10`, and `1:00:02.10` after an hour."""
    # In whole hundredths, or 59.999 would be 60.00.
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6_000)
    hours, minutes = divmod(minutes, 60)
    before = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{before}:{rest // 100:02}.{rest % 100:02}"


def heard_lines(heard: Heard) -> list[str]:
    """Format a recording that was decoded: name, duration, confidence, then a line a cue."""
    title = f"{heard.name}  {heard.seconds:.1f} s"
    confidence, cues = heard.hypothesis.confidence, heard.cues
    if not cues:
        return [printable(title), "  (nothing heard) · 들린 말이 없습니다."]
    rows = [
        (f"{clock(cue.start)}–{clock(cue.end)}", printable(cue.text), f"{cue.confidence:.2f}")
        for cue in cues
    ]
    # The texts are not padded to the longest: a line of a terminal would not hold it.
    width = max(len(times) for times, *_ in rows)
    lines = [printable(f"{title}  confidence {confidence:.2f}")]
    lines += [f"  {times:<{width}}  {text}  {certain}" for times, text, certain in rows]
    if heard.hypothesis.is_silent:
        lines.append(
            "  every sample is equal: nobody speaks here, and the text is invented. "
            "· 무음 파일이므로 이 결과는 믿을 수 없습니다."
        )
    return lines


def comparison_lines(heard: Heard, outside: Outside) -> list[str]:
    """Format what was heard instead of a sentence, a line a letter.

    outside: the letters of the sentence that the model cannot write.
    """
    rows = [
        ("  sentence · 문장", printable(heard.sentence)),
        ("  heard · 인식 결과", printable(heard.hypothesis.text) or NO_LETTER),
    ]
    lines = table(rows, "<<")
    pairs = letter_pairs(heard.hypothesis.letters)
    unwritable = [letter for letter, _ in outside.most_frequent()]
    if note := unscored_note(pairs, unwritable):
        lines.append(printable(f"  {note}"))
    differing = [pair for pair in pairs if not pair.is_heard]
    if not differing:
        return [*lines, "  every letter was heard · 모든 글자가 문장대로 들렸습니다."]
    rows = [("time", "meant", "heard", "score"), ("시각", "문장", "들린 글자", "점수")]
    return lines + table(rows + [pair_cells(pair) for pair in differing], "><<>", "  ")


def unscored_note(pairs: list[LetterPair], unwritable: list[str]) -> str | None:
    """Say why letters of a sentence have no score; None where all could have one.

    unwritable: the letters of the sentence that the model cannot write.
    """
    if unwritable:
        return (
            f"the model cannot write {' '.join(unwritable)}, so these letters have no score. "
            "· 이 모델의 어휘에 없는 글자입니다."
        )
    if pairs and all(pair.start is None for pair in pairs if pair.meant):
        return (
            "the sentence does not fit into the recording, so its letters have no score. "
            "· 문장이 녹음보다 길어 점수가 없습니다."
        )
    return None


def pair_cells(pair: LetterPair) -> tuple[str, str, str, str]:
    """Time, letter that was meant, letter that was heard, and score, as a table shows them."""
    return (
        UNKNOWN_VALUE if pair.start is None else clock(pair.start),
        pair.meant or NO_LETTER,
        pair.heard or NO_LETTER,
        UNKNOWN_VALUE if pair.score is None else f"{pair.score:.2f}",
    )
