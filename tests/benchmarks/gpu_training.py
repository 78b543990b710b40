"""Measure memory and speed of training on this GPU, at the size of the real base model.

    python tests/benchmarks/gpu_training.py [--base-model FOLDER]

Unless a folder is given, the model has random weights and the shape of
kresnik/wav2vec2-large-xlsr-korean (317 M parameters, 1,205 labels). For each precision it prints
the loss beside that of float32, seconds of audio per second over 20 updates of v3, and the peak of
memory for batches of clips of 20 s, the longest that v3 trains on, with the largest batch that fits
into 24 GB (RTX 3090).
"""

import argparse
import dataclasses
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from measuring import REAL, corpus_durations, random_base, spoken

from korean_asr.manifest import Utterance
from korean_asr.model import expanded_base_model
from korean_asr.recipe import batch_plan
from korean_asr.training.batches import Collator, Job, TrainingClips
from korean_asr.training.loop import clip_losses, prepared_job, train, try_longest_batch
from recipes import RECIPES

PRECISIONS = ("float32", "fp16", "bf16")
GB_OF_3090 = 24.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--base-model", help="a folder; if not given, random weights of the real shape"
    )
    arguments = parser.parse_args()
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        print(f"{card.name}, {card.total_memory / 1e9:.1f} GB, torch {torch.__version__}")
    elif not arguments.base_model:
        sys.exit(
            "no GPU here: nothing was measured. "
            "(--base-model data/demo/base_model tries the script itself.)"
        )
    with tempfile.TemporaryDirectory() as folder:
        base = arguments.base_model or random_base(Path(folder) / "base", REAL)
        clips = spoken(Path(folder) / "clips", corpus_durations(64))
        compare_losses(base, clips[:8])
        for precision in PRECISIONS:
            measure_speed(base, clips, precision, Path(folder))
        longest = spoken(Path(folder) / "longest", [20.0] * 16)
        for precision in PRECISIONS:
            for checkpointing in (False, True):
                measure_memory(base, longest, precision, checkpointing)


def job(base: str, clips: list[Utterance], precision: str, **values) -> Job:
    recipe = dataclasses.replace(
        RECIPES["v3"],
        gpus=1,
        precision=precision,
        final_model="last",
        workers=4,
        eval_steps=20,
        save_steps=20,
        **values,
    )
    recogniser, _ = expanded_base_model(base, recipe)
    return prepared_job(recogniser, clips, clips[:4], recipe, batch_plan(recipe, 1), precision)


def compare_losses(base: str, clips: list[Utterance]) -> None:
    found = {}
    for precision in PRECISIONS:
        wanted = job(base, clips, precision)
        model = wanted.recogniser.model.eval()
        inputs = TrainingClips(clips, wanted.recogniser)
        batch = Collator(wanted.recogniser.feature_extractor)(
            [inputs[i] for i in range(len(clips))]
        )
        with torch.inference_mode():
            batch = {name: values.to(model.device) for name, values in batch.items()}
            found[precision] = (
                clip_losses(model, batch, model.config.pad_token_id, precision).mean().item()
            )
    print("loss of one batch: " + ", ".join(f"{name} {loss:.4f}" for name, loss in found.items()))


def measure_speed(base: str, clips: list[Utterance], precision: str, folder: Path) -> None:
    wanted = job(base, clips, precision, accumulation=8, epochs=20.0)
    run = train(wanted, folder / precision, lambda log: None)
    shutil.rmtree(folder / precision)
    progress = run.progress
    rows = [row for row in progress.log if "loss" in row]
    print(
        f"{precision}: {progress.update} updates of 64 clips, "
        f"{progress.audio_seconds / progress.training_seconds:.0f} s of audio/s, "
        f"padding {1 - progress.audio_seconds / progress.padded_seconds:.1%}, "
        f"loss {rows[0]['loss']:.2f} -> {rows[-1]['loss']:.2f}, "
        f"{progress.n_skipped} updates skipped, {progress.n_nonfinite} with a NaN or infinite loss"
    )


def measure_memory(base: str, clips: list[Utterance], precision: str, checkpointing: bool) -> None:
    name = f"{precision}{', gradient checkpointing' if checkpointing else ''}"
    peaks = []
    for batch in (2, 4, 8, 16):
        wanted = job(
            base,
            clips[:batch],
            precision,
            batch_per_gpu=batch,
            accumulation=1,
            gradient_checkpointing=checkpointing,
        )
        try:
            line = try_longest_batch(dataclasses.replace(wanted))
        except torch.OutOfMemoryError:
            peaks.append((batch, float("inf")))
            break
        if not torch.cuda.is_available():
            print(f"{name}, {batch}: {line}")
            return
        _, trained = wanted.recogniser.n_parameters()
        peaks.append((batch, (torch.cuda.max_memory_allocated() + 8 * trained) / 1e9))
        del wanted
        torch.cuda.empty_cache()
    fitting = max((batch for batch, peak in peaks if peak < GB_OF_3090 - 1), default=0)
    print(
        f"{name}: "
        + ", ".join(f"{b} clips {peak:.1f} GB" for b, peak in peaks)
        + f"; in 24 GB: {fitting} clips of 20 s"
    )


if __name__ == "__main__":
    main()
