"""What each change to v3's way brings on the demo: the trainings behind the recipe `listener`.

    python tests/benchmarks/listener.py --folder demo_output/listener --seeds 42,43,44

Each way is trained by script 2 for each seed, or made anew from v3's checkpoints where nothing is
retrained. All are scored on the validation clips of natives and of learners. With --test, the ways
that it names are scored on the test clips too, and only there is a choice confirmed. Finished
trainings are kept in the folder, so that the same command continues after a stop.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from measuring import DEMO, run_script

SCRIPT = "model_tuning/2. model2_experiment_2.py"
# Two speakers' worth of learners' clips choose; all ways leave the same learners for the test.
LEARNERS = {"learner_validation": 28}
TRAINED = {
    "v3's way": {},
    "speeds 0.9, 1, 1.1": {"speeds": "0.9,1.0,1.1"},
    "masked features": {"mask_feature_prob": 0.01},
    "gains": {"gains": "-6,6"},
    "head's rate x 10": {"head_learning_rate": 2e-3},
    "half the rate, head's x 10": {"learning_rate": 1e-4, "head_learning_rate": 2e-3},
    "learners trained on": {"learner_train": 28},
    "speeds, learners trained on": {"speeds": "0.9,1.0,1.1", "learner_train": 28},
}
# Made from the checkpoints of a way that was trained.
REMADE = {
    "mean of the best": ("v3's way", {"final_model": "average"}),
    "blended": ("v3's way", {"base_share": "choose"}),
    "mean, blended": ("v3's way", {"final_model": "average", "base_share": "choose"}),
    "speeds, mean of the best": ("speeds 0.9, 1, 1.1", {"final_model": "average"}),
    "speeds, blended": ("speeds 0.9, 1, 1.1", {"base_share": "choose"}),
    "speeds, mean, blended": (
        "speeds 0.9, 1, 1.1",
        {"final_model": "average", "base_share": "choose"},
    ),
    "learners, blended": ("learners trained on", {"base_share": "choose"}),
    "speeds, learners, blended": ("speeds, learners trained on", {"base_share": "choose"}),
}
SCORES = ("cer", "cer_no_punctuation", "cer_no_space")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--folder", type=Path, default=Path("demo_output/listener"))
    parser.add_argument("--seeds", type=lambda text: text.split(","), default=["42", "43", "44"])
    parser.add_argument("--test", nargs="*", default=[], help="ways to score on the test clips")
    options = parser.parse_args()
    data = options.folder / "processed"
    if not (data / "preprocessing.json").exists():
        corpora = ("--korean", DEMO / "korean", "--foreign", DEMO / "foreign")
        run_script(1, *corpora, "--output", data)
    made: dict[str, list[Path]] = {}
    for seed in options.seeds:
        for name in (*TRAINED, *REMADE):
            made.setdefault(name, []).append(model_of(name, seed, options.folder))
            scored(made[name][-1], "validation")
            print(f"seed {seed}: {name}", flush=True)
    print(table("validation", made))
    if options.test:
        print(table("test", {name: made[name] for name in ("v3's way", *options.test)}))


def model_of(name: str, seed: str, folder: Path) -> Path:
    """The model folder of a way and a seed, trained or made anew if it is not there."""
    here = folder / f"{slug(name)}_{seed}"
    if (here / "validation.json").exists():
        return here / "model"
    values = TRAINED.get(name, {})
    if name in REMADE:
        of, values = REMADE[name]
        source = folder / f"{slug(of)}_{seed}"
        values = {**TRAINED[of], **values}
        if not here.exists():
            # Not the source's scores, which are kept beside its model.
            scores = shutil.ignore_patterns("validation.json", "test.json")
            shutil.copytree(source, here.with_suffix(".part"), ignore=scores, dirs_exist_ok=True)
            here.with_suffix(".part").rename(here)
    command = [sys.executable, SCRIPT, "--recipe", "demo", "--data", folder / "processed"]
    command += ["--base-model", DEMO / "base_model", "--seed", seed]
    command += ["--output", here / "model", "--checkpoints", here / "checkpoints"]
    for key, value in {**LEARNERS, **values}.items():
        command += [f"--{key.replace('_', '-')}", value]
    here.mkdir(parents=True, exist_ok=True)
    with (here / "log").open("a") as log:
        subprocess.run([*map(str, command)], check=True, stdout=log, stderr=log)
    return here / "model"


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def scored(model: Path, split: str) -> dict[str, float]:
    """The rates of natives and of learners on a split: `ko cer`, `fo cer` and so on; kept."""
    kept = model.parent / f"{split}.json"
    if not kept.exists():
        from korean_asr.decoding import error_rates
        from korean_asr.manifest import read_manifest
        from korean_asr.model import load_recogniser

        clips = model / "split"
        rates = {}
        for source in (str(model), str(DEMO / "base_model")):
            recogniser = load_recogniser(source)
            of = "base " if source != str(model) else ""
            for corpus, file in (("ko", split), ("fo", f"foreign_{split}")):
                found = error_rates(recogniser, read_manifest(clips / f"{file}.jsonl"))
                rates |= {f"{of}{corpus} {key}": found[key] for key in SCORES}
        kept.write_text(json.dumps(rates, indent=1))
    return json.loads(kept.read_text())


def table(split: str, made: dict[str, list[Path]]) -> str:
    """Means over the seeds, and each seed's; in Markdown."""
    head = "| way | natives' CER | without punctuation and spaces | learners' fair CER | sum |"
    rows = [f"on {split}", head, "|---|---|---|---|---|"]
    first = [scored(model, split) for model in next(iter(made.values()))]
    rows.append(
        _row("base", [{k[5:]: one[k] for k in one if k.startswith("base ")} for one in first])
    )
    for name, models in made.items():
        rows.append(_row(name, [scored(model, split) for model in models]))
    return "\n".join(rows)


def _row(name: str, rates: list[dict[str, float]]) -> str:
    cells = []
    for keys in (
        ("ko cer",),
        ("ko cer_no_space",),
        ("fo cer_no_punctuation",),
        ("ko cer", "fo cer_no_punctuation"),
    ):
        values = [sum(one[key] for key in keys) for one in rates]
        each = ", ".join(f"{value:.3f}" for value in values)
        cells.append(f"{statistics.mean(values):.4f} ({each})")
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
