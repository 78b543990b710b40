"""What waiting costs where other programs use the cores, too.

    python tests/benchmarks/busy_cores.py            (about two minutes on two cores)

Forward and backward passes of the demo's model, one thread a core, beside programs that do nothing
but compute. In turn: libgomp's own spinning, and the shorter one that korean_asr sets.
"""

import argparse
import os
import statistics
import subprocess
import sys

from measuring import DEMO

from korean_asr.manifest import REPOSITORY

LOADS = (0, 1, 2, 4)  # programs beside it
# libgomp turns 300,000 times where there are as many threads as cores. It gives up early only where
# there are more.
WAYS = {"libgomp's own": "300000", "korean_asr's": None, "none (passive)": "0"}
MEASURED = """
import sys, time
sys.path.insert(0, {folder!r})
import korean_asr
import torch
from transformers import Wav2Vec2ForCTC

model = Wav2Vec2ForCTC.from_pretrained({base!r})
torch.set_num_threads({n_threads})
clip = torch.randn(1, 48_000)
model(clip).logits.sum().backward()
started = time.perf_counter()
for _ in range({n_passes}):
    model(clip).logits.sum().backward()
print((time.perf_counter() - started) / {n_passes})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--passes", type=int, default=10, metavar="N")
    command = parser.parse_args()
    print("| programs beside it | " + " | ".join(f"{way}, s a pass" for way in WAYS) + " |")
    print("|---" * (len(WAYS) + 1) + "|")
    for load in LOADS:
        beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load)]
        try:
            rounds = [
                [seconds(spins, command.passes) for spins in WAYS.values()]
                for _ in range(command.rounds)
            ]
        finally:
            for program in beside:
                program.kill()
                program.wait()
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        print(f"| {load} | " + " | ".join(f"{value:.3f}" for value in medians) + " |", flush=True)


def seconds(spins: str | None, n_passes: int) -> float:
    """Seconds of one pass in a process of its own. spins: for GOMP_SPINCOUNT; None leaves it."""
    code = MEASURED.format(
        folder=str(REPOSITORY / "model_tuning"),
        base=str(DEMO / "base_model"),
        n_threads=os.cpu_count(),
        n_passes=n_passes,
    )
    env = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if spins:
        env["GOMP_SPINCOUNT"] = spins
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
