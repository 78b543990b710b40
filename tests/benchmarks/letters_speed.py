"""Measure what the times and scores of letters cost; at most a tenth of decoding is asked for.

    python tests/benchmarks/letters_speed.py [--full] [--rounds 3] [--threads 2] [--json FILE]

Two models: random weights of the size of wav2vec2-base (95 M parameters) on clips of 1 to 12 s, and
the demo's (2 M parameters) on its native speech. Each decodes its clips without letters and with
them. What letters take is timed where it happens, in seconds of a core: it is less than the noise
between two runs. The benchmark fails unless both ways write the same text.
"""

import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from measuring import (
    BASE,
    DEMO,
    Row,
    benchmark,
    corpus_durations,
    in_turn,
    per_second,
    random_base,
    ratios,
    spoken,
)

from korean_asr.manifest import Utterance

N_CLIPS, N_CLIPS_FULL, N_WARM = 16, 64, 3
SHARE = 10  # of decoding's time, one part for letters
# Each process keeps a model of its own here.
kept: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Measured:
    """core_seconds: of the whole process. letters_s: of these, what only letters need."""

    seconds: float
    core_seconds: float
    letters_s: float
    texts: list[str]


def timed(base: str, clips: list[Utterance], with_letters: bool, number: int) -> Measured:
    """Decode all clips. Round -1 loads the model and decodes a few clips."""
    from korean_asr.decoding import decoded
    from korean_asr.model import load_recogniser

    if number < 0:
        kept["recogniser"], kept["spent"] = load_recogniser(base), []
        _time_the_steps(kept["spent"])
        clips = clips[:N_WARM]
    kept["spent"].clear()
    started, worked = time.perf_counter(), time.process_time()
    made = decoded(kept["recogniser"], clips, with_letters=with_letters)
    seconds, core_seconds = time.perf_counter() - started, time.process_time() - worked
    texts = [hypothesis.text for hypothesis in made.hypotheses]
    return Measured(seconds, core_seconds, sum(kept["spent"]), texts)


def _time_the_steps(spent: list[float]) -> None:
    """Make each step that only letters need add its seconds of a core to the list."""
    from korean_asr import decoding, inference, letters

    steps = (
        (letters.Alphabet, "reference"),
        (inference.Passes, "_evidence"),
        (decoding, "_with_letters"),
    )
    for owner, name in steps:
        setattr(owner, name, _adding_time(getattr(owner, name), spent))


def _adding_time(step: Callable, spent: list[float]) -> Callable:
    @functools.wraps(step)
    def timed_step(*arguments: Any) -> Any:
        started = time.thread_time()
        result = step(*arguments)
        spent.append(time.thread_time() - started)
        return result

    return timed_step


def native_speech() -> list[Utterance]:
    """The demo's native clips. Any text will do: the time depends on its length."""
    text = "오늘은 날씨가 좋아서 밖에 나가고 싶다"
    paths = sorted((DEMO / "korean").rglob("*.flac"))
    return [Utterance(path.stem, str(path), soundfile.info(path).duration, text) for path in paths]


def measured(arguments, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    durations = corpus_durations(N_CLIPS_FULL if arguments.full else N_CLIPS)
    corpora = {
        "95 M parameters": (
            random_base(folder / "base", BASE),
            spoken(folder / "clips", durations),
        ),
        "the demo's model": (str(DEMO / "base_model"), native_speech()),
    }
    rows, facts = [], {}
    for name, (base, clips) in corpora.items():
        ways = {with_letters: (timed, base, clips, with_letters) for with_letters in (False, True)}
        found = in_turn(ways, arguments.rounds, arguments.threads)
        if found[False][0].texts != found[True][0].texts:
            sys.exit(f"{name}: letters change the text")
        rows += _rows(name, clips, found)
        audio = sum(clip.duration for clip in clips)
        facts[f"letters, {name}"] = f"{len(clips)} clips, {audio:.0f} s"
    return rows, facts


def _rows(name: str, clips: list[Utterance], found: dict[bool, list[Measured]]) -> list[Row]:
    own = [800 * made.letters_s / len(clips) for made in found[True]]
    decoding = [800 * made.core_seconds / len(clips) for made in found[False]]
    tenths = [seconds / SHARE for seconds in decoding]
    audio = sum(clip.duration for clip in clips)
    speed = {way: [audio / made.seconds for made in found[way]] for way in found}
    return [
        Row(
            f"letters of 800 clips, {name}: a tenth of decoding them",
            per_second(own, "s of a core"),
            per_second(tenths, "s of a core"),
            ratios(tenths, own),
            1,
        ),
        Row(
            f"decoding with letters, {name}: without",
            per_second(speed[True]),
            per_second(speed[False]),
            ratios(speed[True], speed[False]),
        ),
    ]


if __name__ == "__main__":
    benchmark(measured, __doc__)
