"""Compare the decoding speed of this project, transformers' pipeline and a plain loop.

    python tests/benchmarks/decoding_speed.py [--full] [--rounds 3] [--threads 2] [--json FILE]

The model has random weights and the size of wav2vec2-base (95 M parameters), on the CPU; gpu.py
compares the same ways on a GPU. Clips of 1 to 12 s, 4.4 s on average, come unsorted, as a test set
does. Reading audio is included. All ways use autocast for half precision. The benchmark fails
unless our float32 text equals that of the plain loop.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import (
    BASE,
    Row,
    benchmark,
    corpus_durations,
    in_turn,
    matrix_rate,
    of_matrix_rate,
    operations,
    peak_memory_mb,
    per_second,
    random_base,
    ratios,
    spoken,
)

from korean_asr.audio import read_waveform
from korean_asr.manifest import Utterance

PIPELINE_BATCH, N_WARM = 8, 3
# Each process keeps a model of its own here.
kept: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Measured:
    seconds: float
    texts: list[str]
    memory_mb: float


def timed(
    way: Callable, base: str, clips: list[Utterance], precision: str, number: int
) -> Measured:
    """Decode all clips by one way. Round -1 loads the model and decodes a few clips."""
    from korean_asr.model import load_recogniser

    if number < 0:
        kept["recogniser"] = load_recogniser(base)
        clips = clips[:N_WARM]
    started = time.perf_counter()
    texts = way(kept["recogniser"], clips, precision)
    seconds = time.perf_counter() - started
    return Measured(seconds, texts, peak_memory_mb(kept["recogniser"].model.device.type))


def ours(recogniser, clips: list[Utterance], precision: str) -> list[str]:
    from korean_asr.decoding import decoded

    return [
        hypothesis.text for hypothesis in decoded(recogniser, clips, precision=precision).hypotheses
    ]


def plain_loop(recogniser, clips: list[Utterance], precision: str) -> list[str]:
    """Decode one clip at a time, without a mask."""
    import torch

    from korean_asr.decoding import greedy_text
    from korean_asr.hardware import in_precision
    from korean_asr.vocabulary import token_texts

    texts, device, blank_id = (
        token_texts(recogniser.tokenizer),
        recogniser.model.device,
        recogniser.tokenizer.pad_token_id,
    )
    written = []
    for clip in clips:
        waveform = read_waveform(clip.audio_filepath)
        inputs = recogniser.feature_extractor(waveform, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode(), in_precision(device, precision):
            ids = recogniser.model(inputs["input_values"].to(device)).logits[0].argmax(-1)
        written.append(greedy_text(ids, blank_id, texts))
    return written


def by_pipeline(recogniser, clips: list[Utterance], precision: str) -> list[str]:
    import transformers

    from korean_asr.hardware import in_precision

    device = recogniser.model.device
    recognise = transformers.pipeline(
        "automatic-speech-recognition",
        model=recogniser.model,
        tokenizer=recogniser.tokenizer,
        feature_extractor=recogniser.feature_extractor,
        device=device,
    )
    arrays = (
        {"raw": read_waveform(clip.audio_filepath), "sampling_rate": 16_000} for clip in clips
    )
    with in_precision(device, precision):
        return [result["text"] for result in recognise(arrays, batch_size=PIPELINE_BATCH)]


def measured(arguments, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    import torch

    from korean_asr.hardware import has_bf16

    base = random_base(folder / "base", BASE)
    durations = corpus_durations(64 if arguments.full else 2 * PIPELINE_BATCH)
    clips, audio = spoken(folder / "clips", durations), sum(durations)
    precisions = ["float32", *(["bf16"] if has_bf16(torch.device("cpu")) else [])]
    ways = {}
    for precision in precisions:
        for name, way in (("pipeline", by_pipeline), ("loop", plain_loop), ("ours", ours)):
            ways[name, precision] = (timed, way, base, clips, precision)
        ways["matrix", precision] = (matrix_rate, "cpu", precision)
    found = in_turn(ways, arguments.rounds, arguments.threads)

    different = sum(
        a != b
        for a, b in zip(
            found["ours", "float32"][0].texts, found["loop", "float32"][0].texts, strict=True
        )
    )
    if different:
        sys.exit(
            "our float32 text differs from that of the plain loop in "
            f"{different} of {len(clips)} clips"
        )
    speed = {
        way: [audio / m.seconds for m in rounds]
        for way, rounds in found.items()
        if way[0] != "matrix"
    }

    def best_of(name: str) -> str:
        return max(
            precisions, key=lambda precision: sorted(speed[name, precision])[arguments.rounds // 2]
        )

    best = best_of("ours")

    def row(what: str, precision: str, peer: tuple[str, str], target: float | None) -> Row:
        mine, theirs = speed["ours", precision], speed[peer]
        return Row(
            f"decoding, {what}", per_second(mine), per_second(theirs), ratios(mine, theirs), target
        )

    rows = [
        row(f"{precision}: pipeline", precision, ("pipeline", precision), 2.0)
        for precision in precisions
    ]
    rows.append(
        row(f"ours {best}: pipeline as it comes, float32", best, ("pipeline", "float32"), None)
    )
    rows.append(
        row(
            f"each side's best: {best}, pipeline {best_of('pipeline')}",
            best,
            ("pipeline", best_of("pipeline")),
            None,
        )
    )
    rows += [row(f"{p}: one clip at a time", p, ("loop", p), None) for p in precisions]
    rows.append(row(f"ours {best}: one at a time, float32", best, ("loop", "float32"), None))
    rows.append(
        row(
            f"each side's best: {best}, one at a time {best_of('loop')}",
            best,
            ("loop", best_of("loop")),
            None,
        )
    )
    per_audio_second = operations(base, durations) / audio
    for precision in precisions:
        reached = [rate * per_audio_second for rate in speed["ours", precision]]
        rates = found["matrix", precision]
        rows.append(of_matrix_rate(f"decoding, {precision}", reached, rates, 0.8, per_audio_second))
    memory = {
        name: max(m.memory_mb for (who, _), rounds in found.items() if who == name for m in rounds)
        for name in ("ours", "pipeline")
    }
    rows.append(
        Row(
            "decoding: peak memory of the process",
            f"{memory['ours']:,.0f} MB",
            f"{memory['pipeline']:,.0f} MB",
            [memory["pipeline"] / memory["ours"]],
        )
    )
    n_characters = sum(map(len, found["ours", "float32"][0].texts))
    equal = (
        f"{len(clips) - different} of {len(clips)} equal to the plain loop's in float32, "
        f"{n_characters:,} characters"
    )
    return rows, {"decoded": f"{len(clips)} clips, {audio:.0f} s", "texts": equal}


if __name__ == "__main__":
    benchmark(measured, __doc__)
