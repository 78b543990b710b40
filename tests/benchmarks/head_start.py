"""How new rows of the head should start, and what keeping the trained rows is worth.

    python tests/benchmarks/head_start.py            (about 15 minutes on two cores)

On the bundled demo, whose base model writes no punctuation. First table: ways to start the four new rows, at v3's learning
rate over as many updates as v3's first epoch has (100), and at the demo's own. Second: the resized head against one that is
initialised anew, as updates until the same validation CER.
"""

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "model_tuning"))

from korean_asr import proofs  # noqa: E402
from korean_asr.decoding import decoded  # noqa: E402
from korean_asr.manifest import read_manifest  # noqa: E402
from korean_asr.model import expanded_base_model  # noqa: E402
from korean_asr.recipes import RECIPES, batch_plan  # noqa: E402
from korean_asr.splits import split_utterances  # noqa: E402
from korean_asr.training import Job, train  # noqa: E402

BASE = str(REPOSITORY / "data" / "demo" / "base_model")
V3_FIRST_EPOCH = 100  # updates: 6,400 clips, 64 an update
MARKS = ".,?!"


def mean(weight: torch.Tensor, bias: torch.Tensor, unknown: int, blank: int) -> tuple[torch.Tensor, torch.Tensor]:
    return weight.mean(0), bias.mean()


def lowered(below: float) -> Callable:
    return lambda weight, bias, unknown, blank: (weight.mean(0), bias.mean() - below)


# Name -> (weight (hidden,), bias) of each new row, from the trained rows, biases, and the ids of [UNK] and [PAD].
STARTS = {
    "mean row, mean bias (chosen)": mean,
    "mean row, mean bias - 5": lowered(5.0),
    "mean row, mean bias - 20": lowered(20.0),
    "zero row, least bias - 5": lambda weight, bias, unknown, blank: (torch.zeros_like(weight[0]), bias.min() - 5),
    "zero row, zero bias": lambda weight, bias, unknown, blank: (torch.zeros_like(weight[0]), torch.tensor(0.0)),
    "row of [UNK]": lambda weight, bias, unknown, blank: (weight[unknown], bias[unknown]),
    "row of [PAD], bias - 2": lambda weight, bias, unknown, blank: (weight[blank], bias[blank] - 2),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        split = demo_split(Path(folder))
        recipe = dataclasses.replace(RECIPES["demo"], final_model="last")
        print(f"{'new rows start as':<31}{'step 0':>9}{'':>3}{'lr 1e-4, 100 updates':>24}{'lr 5e-4, 100 updates':>24}")
        print(f"{'':<31}{'frames':>9}{'lead':>8}" + f"{'CER':>11}{'marks':>8}" * 2)
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
        first_epoch = dataclasses.replace(
            recipe, learning_rate=rate, epochs=V3_FIRST_EPOCH / 24, eval_steps=V3_FIRST_EPOCH, save_steps=V3_FIRST_EPOCH
        )
        recogniser, _ = expanded_base_model(BASE, first_epoch)
        with torch.no_grad():
            head, n_old = recogniser.model.lm_head, recogniser.model.config.vocab_size - len(MARKS)
            ids = recogniser.tokenizer.unk_token_id, recogniser.tokenizer.pad_token_id
            weight, bias = start(head.weight[: ids[1] + 1].clone(), head.bias[: ids[1] + 1].clone(), *ids)
            head.weight[n_old:], head.bias[n_old:] = weight, bias
        if not cells:
            proof = proofs.step_0(BASE, recogniser, "measured", proofs.sample(split.validation))
            cells.append(f"{proof.n_frames_of_new_tokens:>9,}{proof.smallest_lead:>8.1f}")
        run = train(Job(recogniser, split.train, split.validation, first_epoch, batch_plan(first_epoch, 1), "float32"),
                    folder / f"{name}{rate}", folder / "log.jsonl", None)  # fmt: skip
        marks = sum(text.text.count(mark) for text in decoded(recogniser, split.validation) for mark in MARKS)
        cells += [f"{run.validation['cer']:>11.4f}{marks:>8}"]
    print(f"{name:<31}{''.join(cells)}", flush=True)


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
    print("\nupdates until a validation CER of at most")
    for _, target in curves["resize"][:4] + curves["resize"][-1:]:
        resized, anew = (
            next((s for s, cer in curves[head] if cer <= target), None) for head in ("resize", "reinitialise")
        )
        ratio = f"{resized / anew:.2f}" if anew else f"below {resized / curves['reinitialise'][-1][0]:.2f}"
        never = f"not in {curves['reinitialise'][-1][0]}"
        print(f"  {target:.4f}: resized {resized}, initialised anew {anew or never}; ratio {ratio}")


if __name__ == "__main__":
    main()
