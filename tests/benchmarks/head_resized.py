"""Measure what keeping the trained rows of the head is worth, on the bundled demo.

    python tests/benchmarks/head_resized.py [--json FILE]

Two models are trained by the demo's recipe: one with a re-initialised head, as in v1 and v2, and
one with a resized head, for a quarter of the updates. The result is the number of updates after
which the second has the final validation CER of the first.
"""

import dataclasses
from pathlib import Path
from typing import Any

from measuring import DEMO, Row, benchmark, demo_split

# Updates between two measurements of the validation CER.
EVERY = {"reinitialise": 48, "resize": 12}


def measured(arguments, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    from korean_asr.model import expanded_base_model
    from korean_asr.recipe import batch_plan
    from korean_asr.training.loop import prepared_job, train
    from recipes import RECIPES

    split, demo = demo_split(folder), dataclasses.replace(RECIPES["demo"], final_model="last")
    curves = {}
    for head, share in (("reinitialise", 1), ("resize", 4)):
        recipe = dataclasses.replace(
            demo, head=head, epochs=demo.epochs / share, eval_steps=EVERY[head], save_steps=10_000
        )
        recogniser, _ = expanded_base_model(str(DEMO / "base_model"), recipe)
        job = prepared_job(
            recogniser, split.train, split.validation, recipe, batch_plan(recipe, 1), "float32"
        )
        run = train(job, folder / head, lambda log: None)
        curves[head] = [
            (row["step"], row["eval_cer"]) for row in run.progress.log if "eval_cer" in row
        ]
    n_updates, wanted = curves["reinitialise"][-1]
    reached = next((step for step, cer in curves["resize"] if cer <= wanted), None)
    needed = (
        f"{'at most ' * (reached == EVERY['resize'])}{reached} updates"
        if reached
        else f"not in {curves['resize'][-1][0]} updates"
    )
    row = Row(
        f"head, resized: one that starts anew, until its final validation CER of {wanted:.3f}",
        needed,
        f"{n_updates} updates",
        [n_updates / reached if reached else 0.0],
        4.0,
    )
    # Six points of each curve.
    shown = {head: curve[-1 :: -(len(curve) // 6)][::-1] for head, curve in curves.items()}
    return [row], {
        f"validation CER, head {name}": ", ".join(
            f"{cer:.3f} after {step}" for step, cer in shown[head]
        )
        + " updates"
        for head, name in (("reinitialise", "anew"), ("resize", "resized"))
    }


if __name__ == "__main__":
    benchmark(measured, __doc__)
