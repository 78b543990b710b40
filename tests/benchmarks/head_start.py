"""How new rows of the head should start, and what keeping the trained rows is worth.

    python tests/benchmarks/head_start.py            (about 15 minutes on two cores)

On the bundled demo, whose base model writes no punctuation. First table: ways to start the four new rows, at v3's learning
rate over as many updates as v3's first epoch has (100), and at the demo's own. Second: the resized head against one that is
initialised anew, as updates until the same validation CER.
"""

import dataclasses
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "model_tuning"))

from korean_asr import proofs  # noqa: E402
from korean_asr.checkpoints import Progress  # noqa: E402
from korean_asr.decoding import decoded  # noqa: E402
from korean_asr.manifest import read_manifest  # noqa: E402
from korean_asr.model import expanded_base_model  # noqa: E402
from korean_asr.recipes import RECIPES, batch_plan  # noqa: E402
from korean_asr.splits import split_utterances  # noqa: E402
from korean_asr.training import (  # noqa: E402
    Job,
    Updater,
    new_optimizer,
    train,
    updates_with_clips,
    validation_rates,
)

BASE = str(REPOSITORY / "data" / "demo" / "base_model")
V3_FIRST_EPOCH, V3_UPDATES = 100, 1_000  # 6,400 clips, 64 an update, 10 epochs
MARKS = ".,?!"


def mean(raised: float) -> Callable:
    """The mean of the trained rows and biases, its bias raised."""
    return lambda weight, bias, blank: (weight.mean(0), bias.mean() + raised)


def of_blank(lowered: float) -> Callable:
    """The row of [PAD], the blank, its bias lowered: so far behind the blank in every frame, whatever is said."""
    return lambda weight, bias, blank: (weight[blank], bias[blank] - lowered)


# Name -> (weight (hidden,), bias) of each new row, from the trained rows and biases, and the id of the blank.
STARTS = {
    "mean row, mean bias": mean(0.0),
    "mean row, mean bias + 8": mean(8.0),
    "zero row, least bias - 5": lambda weight, bias, blank: (torch.zeros_like(weight[0]), bias.min() - 5),
    "row of [UNK]": lambda weight, bias, blank: (weight[blank - 1], bias[blank - 1]),
    "row of [PAD], bias - 2": of_blank(2.0),
    "row of [PAD], bias - 4": of_blank(4.0),
    "row of [PAD], bias - 6": of_blank(6.0),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        split = demo_split(Path(folder))
        recipe = dataclasses.replace(RECIPES["demo"], final_model="last")
        n_marks = sum(clip.text.count(mark) for clip in split.validation for mark in MARKS)
        print(f"after {V3_FIRST_EPOCH} updates: mean loss of the last 10, validation CER, marks written of {n_marks}")
        print(f"{'new rows start as':<28}{'step 0':>9}{'':>8}{'learning rate 1e-4':>30}{'5e-4':>30}")
        print(f"{'':<28}{'frames':>9}{'lead':>8}" + f"{'loss':>8}{'loss':>7}{'CER':>8}{'marks':>7}" * 2)
        for name, start in STARTS.items():
            compare_start(name, start, split, recipe, Path(folder))
        compare_heads(split, recipe, Path(folder))


def demo_split(folder: Path):
    """The demo's split, by script 1 itself."""
    script = REPOSITORY / "model_tuning" / "1. script_preprocessing.py"
    corpus = REPOSITORY / "data" / "demo" / "korean"
    subprocess.run([sys.executable, script, "--korean", corpus, "--output", folder], check=True, capture_output=True)
    return split_utterances(read_manifest(folder / "korean.jsonl"), RECIPES["demo"])


def compare_start(name: str, start: Callable, split, recipe, folder: Path) -> None:
    cells = []
    for rate in (1e-4, 5e-4):
        v3_like = dataclasses.replace(recipe, learning_rate=rate, epochs=V3_UPDATES / 24)  # 24 updates of 8 clips
        recogniser, _ = expanded_base_model(BASE, v3_like)
        with torch.no_grad():
            head, blank = recogniser.model.lm_head, recogniser.tokenizer.pad_token_id
            weight, bias = start(head.weight[: blank + 1].clone(), head.bias[: blank + 1].clone(), blank)
            head.weight[blank + 1 :], head.bias[blank + 1 :] = weight, bias
        if not cells:
            proof = proofs.step_0(BASE, recogniser, "measured", proofs.sample(split.validation))
            cells.append(f"{proof.n_frames_of_new_tokens:>9,}{proof.smallest_lead:>8.1f}")
        job = Job(recogniser, split.train, split.validation, v3_like, batch_plan(v3_like, 1), "float32")
        model, progress = recogniser.model, Progress()
        updater = Updater(job, model, new_optimizer(model, v3_like), torch.amp.GradScaler("cpu", enabled=False))
        losses = [
            updater.make(update, progress)["loss"]
            for update in itertools.islice(updates_with_clips(job, 0), V3_FIRST_EPOCH)
        ]
        texts = [hypothesis.text for hypothesis in decoded(recogniser, split.validation).hypotheses]
        marks = sum(text.count(mark) for text in texts for mark in MARKS)
        cer = validation_rates(recogniser, split.validation)["cer"]
        cells.append(f"{losses[0]:>8.2f}{sum(losses[-10:]) / 10:>7.2f}{cer:>8.4f}{marks:>7}")
    print(f"| {name:<26}{''.join(cells)}", flush=True)


def compare_heads(split, recipe, folder: Path) -> None:
    """Updates until the validation CER that the resized head has after its first epoch."""
    curves = {}
    for head in ("resize", "reinitialise"):
        values = dataclasses.replace(recipe, head=head, eval_steps=12, save_steps=288)
        recogniser, _ = expanded_base_model(BASE, values)
        run = train(Job(recogniser, split.train, split.validation, values, batch_plan(values, 1), "float32"),
                    folder / head, folder / "log.jsonl", None)  # fmt: skip
        curves[head] = [(row["step"], row["eval_cer"]) for row in run.progress.log if "eval_cer" in row]
        print(f"\n{head}: " + "  ".join(f"{step}: {cer:.3f}" for step, cer in curves[head]))
    lowest = min(cer for _, cer in curves["reinitialise"])
    print(f"\nupdates until a validation CER of at most (the lowest of the head that starts anew is {lowest:.3f})")
    for target in (0.9, 0.7, 0.5, 0.2, 0.15):
        resized, anew = (
            next((step for step, cer in curves[head] if cer <= target), None) for head in ("resize", "reinitialise")
        )
        print(f"  {target}: resized {resized}, anew {anew or 'not in 288'}")


if __name__ == "__main__":
    main()
