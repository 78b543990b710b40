"""Compare ways to start the new rows of the head.

    python tests/benchmarks/head_start.py            (about 15 minutes on two cores)

The base model of the bundled demo writes no punctuation, so four rows are new. Each way is trained
for as many updates as v3's first epoch has (100), at v3's learning rate and at the demo's own.
head_resized.py measures what keeping the trained rows is worth.
"""

import argparse
import dataclasses
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import DEMO, demo_split

from korean_asr.decoding import decoded, error_rates
from korean_asr.model import expanded_base_model
from korean_asr.recipe import batch_plan
from korean_asr.training import clip_checks, model_checks
from korean_asr.training.batches import Job, updates_with_clips
from korean_asr.training.loop import Updater, new_optimizer
from korean_asr.training.progress import Progress, TrainingBar
from recipes import RECIPES

BASE = str(DEMO / "base_model")
# v3 has 6,400 clips, 64 in an update, and 10 epochs.
V3_FIRST_EPOCH, V3_UPDATES = 100, 1_000
MARKS = ".,?!"


def mean(raised: float) -> Callable:
    """The mean of the trained rows, and the mean bias plus `raised`."""
    return lambda weight, bias, blank: (weight.mean(0), bias.mean() + raised)


def of_blank(lowered: float) -> Callable:
    """The row of the blank, [PAD], and its bias less `lowered`: as far behind it in every frame."""
    return lambda weight, bias, blank: (weight[blank], bias[blank] - lowered)


# Name -> function of the trained rows, the trained biases and the id of the blank, which returns
# the weight (hidden,) and the bias of each new row.
STARTS = {
    "mean row, mean bias": mean(0.0),
    "mean row, mean bias + 8": mean(8.0),
    "zero row, least bias - 5": lambda weight, bias, blank: (
        torch.zeros_like(weight[0]),
        bias.min() - 5,
    ),
    "row of [UNK]": lambda weight, bias, blank: (weight[blank - 1], bias[blank - 1]),
    "row of [PAD], bias - 2": of_blank(2.0),
    "row of [PAD], bias - 4": of_blank(4.0),
    "row of [PAD], bias - 6": of_blank(6.0),
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        split = demo_split(Path(folder))
        recipe = dataclasses.replace(RECIPES["demo"], final_model="last")
        n_marks = sum(clip.text.count(mark) for clip in split.validation for mark in MARKS)
        print(
            f"after {V3_FIRST_EPOCH} updates: mean loss of the last 10, validation CER, "
            f"marks written of {n_marks}"
        )
        print(
            f"{'new rows start as':<28}{'step 0':>9}{'':>8}{'learning rate 1e-4':>30}{'5e-4':>30}"
        )
        print(
            f"{'':<28}{'frames':>9}{'lead':>8}"
            + f"{'loss':>8}{'loss':>7}{'CER':>8}{'marks':>7}" * 2
        )
        for name, start in STARTS.items():
            compare_start(name, start, split, recipe)


def compare_start(name: str, start: Callable, split, recipe) -> None:
    cells = []
    for rate in (1e-4, 5e-4):
        # An epoch of the demo has 24 updates of 8 clips.
        v3_like = dataclasses.replace(recipe, learning_rate=rate, epochs=V3_UPDATES / 24)
        recogniser, _ = expanded_base_model(BASE, v3_like)
        with torch.no_grad():
            head, blank = recogniser.model.lm_head, recogniser.tokenizer.pad_token_id
            weight, bias = start(
                head.weight[: blank + 1].clone(), head.bias[: blank + 1].clone(), blank
            )
            head.weight[blank + 1 :], head.bias[blank + 1 :] = weight, bias
        if not cells:
            sample = clip_checks.sample_waveforms(split.validation)
            proof = model_checks.step_0(BASE, recogniser, "measured", sample)
            cells.append(f"{proof.n_frames_of_new_tokens:>9,}{proof.smallest_lead:>8.1f}")
        job = Job(
            recogniser, split.train, split.validation, v3_like, batch_plan(v3_like, 1), "float32"
        )
        model, progress = recogniser.model, Progress()
        optimizer = new_optimizer(model, rate, v3_like.weight_decay)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        # Evaluations at every update: the log then has a row for each.
        bar = TrainingBar(progress, V3_FIRST_EPOCH, 24, 1, is_first=False)
        updater = Updater(job, model, optimizer, scaler, progress, bar)
        for update in itertools.islice(updates_with_clips(job, 0, 0), V3_FIRST_EPOCH):
            updater.make(update)
        updater.count()
        losses = [row["loss"] for row in progress.log]
        texts = [hypothesis.text for hypothesis in decoded(recogniser, split.validation).hypotheses]
        marks = sum(text.count(mark) for text in texts for mark in MARKS)
        cer = error_rates(recogniser, split.validation)["cer"]
        cells.append(f"{losses[0]:>8.2f}{sum(losses[-10:]) / 10:>7.2f}{cer:>8.4f}{marks:>7}")
    print(f"| {name:<26}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
