"""Run scripts 1 and 3 on damaged inputs, and check what every input is promised.

    python tests/fuzz/fuzz.py --minutes 60 [--seed 17] [--kind audio]
    python tests/fuzz/fuzz.py --replay fuzz_found/NAME

Each case is a folder of audio, labels, a manifest or results with some damage (mutations.py). The
promises (promises.py): exit status 0, 1 or 2, with one line where it is not 0; an end within the
time limit; at most 500 MB of memory; strict JSON; the same verdict of scripts 1 and 3 on each
file. Seed and number decide a case, so that every run with a seed makes the same ones. Each kind
of failure is printed once, and its smallest inputs are kept with the command that runs them again.
Exit status 1 if anything failed.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

# Before numpy and torch: a forked process has no other threads.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
from inputs import KINDS, SECONDS, Part, made_case, valid_parts, written  # noqa: E402
from promises import Failure, Limits, Runner  # noqa: E402

# Promises whose failures end by themselves, so that smaller inputs can be looked for more often.
QUICK = ("traceback", "one line", "strict JSON", "agreement")
REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    arguments = parsed_arguments()
    sys.path.insert(0, str(arguments.project / "model_tuning"))
    limits = Limits(arguments.seconds_each, arguments.megabytes)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        speech = _speech(arguments.project)
        runner = Runner(arguments.project, _model(arguments.project, Path(work)), limits)
        fuzz = Fuzz(runner, speech, Path(work), arguments.found)
        fuzz.warm_up()
        if arguments.replay:
            return fuzz.replayed(arguments.replay)
        return fuzz.run(arguments)


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--minutes", type=float, default=1.0, help="how long new cases are made")
    add("--cases", type=int, help="make so many cases instead, however long it takes")
    add("--seed", type=int, default=17, help="another seed makes other cases")
    add("--kind", choices=KINDS, action="append", help="only this kind; may be repeated")
    add("--seconds-each", type=float, default=20.0, help="the time limit of a case")
    add("--megabytes", type=int, default=500, help="the memory limit of a case")
    add("--found", type=Path, default=Path("fuzz_found"), help="folder for inputs that fail")
    add("--replay", type=Path, metavar="FOLDER", help="run the inputs of a failure again")
    add("--project", type=Path, default=REPOSITORY, help="the checkout whose scripts are run")
    arguments = parser.parse_args()
    arguments.project = arguments.project.resolve()
    return arguments


class Fuzz:
    """Makes cases, runs them, and keeps the smallest inputs of each kind of failure."""

    def __init__(self, runner: Runner, speech: np.ndarray, work: Path, found: Path) -> None:
        self._runner, self._speech, self._work, self._found = runner, speech, work, found
        self._smallest: dict[str, int] = {}
        self._failures: Counter[str] = Counter()

    def warm_up(self) -> None:
        """Load what the scripts import, in this process, from which all cases are forked."""
        inputs, outputs = self._empty_folders()
        written(valid_parts(self._speech), inputs)
        if failures := self._runner.load("audio", inputs, outputs):
            raise RuntimeError(f"inputs without damage fail: {failures}")

    def run(self, arguments: argparse.Namespace) -> int:
        """Make and run cases; print what was run and what failed. Returns the exit status."""
        end = time.monotonic() + 60 * arguments.minutes
        kinds, counts, started = arguments.kind or list(KINDS), Counter(), time.monotonic()
        print(f"seed {arguments.seed}", flush=True)
        number = 0
        # Ctrl-C ends a run early, with its summary.
        with suppress(KeyboardInterrupt):
            while number < arguments.cases if arguments.cases else time.monotonic() < end:
                kind = kinds[number % len(kinds)]
                rng = random.Random(f"{arguments.seed}/{kind}/{number}")
                self._tried(kind, made_case(kind, rng, self._speech), f"{arguments.seed}-{number}")
                counts[kind] += 1
                number += 1
        cases = ", ".join(f"{kind} {n:,}" for kind, n in counts.items())
        minutes = (time.monotonic() - started) / 60
        print(f"seed {arguments.seed}: {number:,} cases in {minutes:.1f} minutes ({cases})")
        print(f"{len(self._failures)} kinds of failure")
        for kind, n_cases in self._failures.most_common():
            print(f"  {n_cases:5,}  {kind}")
        return 1 if self._failures else 0

    def _tried(self, kind: str, parts: list[Part], name: str) -> None:
        for failure in self._failures_of(kind, parts):
            key = f"{failure.promise} · {failure.kind}"
            self._failures[key] += 1
            # Each try of a hang takes its whole time limit.
            if self._failures[key] == 1 or self._failures[key] < 4 and failure.promise in QUICK:
                self._keep(kind, self._smaller(kind, parts, failure), failure, key, name)

    def _failures_of(self, kind: str, parts: list[Part]) -> list[Failure]:
        inputs, outputs = self._empty_folders()
        written(parts, inputs)
        return self._runner.failures(kind, inputs, outputs)

    def _empty_folders(self) -> tuple[Path, Path]:
        """The folders of the inputs and the outputs of a case."""
        folders = self._work / "inputs", self._work / "outputs"
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        return folders

    def _smaller(self, kind: str, parts: list[Part], failure: Failure) -> list[Part]:
        """Leave out parts, halves first, as long as the same promise is broken."""
        size = len(parts) // 2
        while size:
            for start in range(0, len(parts), size):
                fewer = parts[:start] + parts[start + size :]
                found = self._failures_of(kind, fewer) if fewer else []
                if any(other.kind == failure.kind for other in found):
                    parts = fewer
                    break
            else:
                size //= 2
        return parts

    def _keep(self, kind: str, parts: list[Part], failure: Failure, key: str, name: str) -> None:
        n_bytes = sum(len(content) for part in parts for content in part.values()
                      if isinstance(content, bytes))  # fmt: skip
        folder = self._found / "".join(c if c.isalnum() else "_" for c in key)[:100]
        if n_bytes >= self._smallest.get(key, n_bytes + 1):
            return
        self._smallest[key] = n_bytes
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        written(parts, folder / "inputs")
        facts = {"kind": kind, "case": name, "promise": failure.promise, "failure": failure.kind}
        text = json.dumps({**facts, "detail": failure.detail}, ensure_ascii=False, indent=1)
        (folder / "case.json").write_text(text + "\n", encoding="utf-8")
        print(f"{key} (case {name}, {n_bytes:,} bytes)", flush=True)
        print(f"  python tests/fuzz/fuzz.py --replay {folder}", flush=True)

    def replayed(self, folder: Path) -> int:
        """Run the inputs of a failure again. Returns the exit status."""
        facts = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        _, outputs = self._empty_folders()
        found = self._runner.failures(facts["kind"], (folder / "inputs").resolve(), outputs)
        for failure in found:
            print(f"{failure.promise} · {failure.kind}\n{failure.detail}")
        for path in sorted(outputs.glob("*.err")):
            print(path.read_text(encoding="utf-8").strip())
        print(f"{len(found)} failures")
        return 1 if found else 0


def _speech(project: Path) -> np.ndarray:
    """Speech of the demo, (n_samples,) float32 at 16 kHz, SECONDS long."""
    clip = min((project / "data/demo/korean").rglob("*.flac"))
    samples, rate = soundfile.read(clip, dtype="float32")
    return samples[: int(SECONDS * rate)]


def _model(project: Path, work: Path) -> Path:
    """A model folder with training clips, so that script 3 compares sounds as well."""
    folder = work / "model"
    shutil.copytree(project / "data/demo/base_model", folder)
    (folder / "split").mkdir()
    clip = max((project / "data/demo/korean").rglob("*.flac"))
    row = {"audio_filepath": str(clip), "duration": 1.0, "text": "다른 문장"}
    (folder / "split/train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    sys.exit(main())
