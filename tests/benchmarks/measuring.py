"""What the benchmarks share: clips, models of random weights, ways that take turns, the machine, rows of the table."""

import argparse
import json
import math
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "model_tuning"))
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

from korean_asr.manifest import Utterance  # noqa: E402

SCRIPTS = {
    int(path.name[0]): str(path) for path in (REPOSITORY / "model_tuning").glob("[1-4]. *.py")
}
DEMO = REPOSITORY / "data" / "demo"
SAMPLE_RATE = 16_000
SHORTEST_S, LONGEST_S, MEAN_S = 1.0, 12.0, 4.4
SYLLABLES_A_SECOND = 5
N_LABELS = 1_205  # of kresnik/wav2vec2-large-xlsr-korean; 1,211 with <s>, </s> and four marks


@dataclass(frozen=True, slots=True)
class Size:
    """Of a wav2vec2 with the real one's convolutional encoder: 7 layers of 512 channels, normalised over the channels."""

    layers: int
    width: int


HALF = Size(6, 512)  # half the real width, a quarter of its layers: 25 M parameters
BASE = Size(12, 768)  # wav2vec2-base: 95 M
REAL = Size(24, 1024)  # kresnik/wav2vec2-large-xlsr-korean: 317 M


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. ours and peer: what was measured, with its unit; ratios: one of each round, larger is better."""

    what: str
    ours: str
    peer: str
    ratios: list[float]
    target: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def is_met(self) -> bool | None:
        return None if self.target is None else self.ratio >= self.target

    def record(self) -> dict[str, Any]:
        numbers = {
            "ratio": self.ratio,
            "lowest": min(self.ratios),
            "highest": max(self.ratios),
            "is_met": self.is_met,
        }
        return asdict(self) | numbers


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown: the median ratio, its lowest and highest round, the target and whether it is met."""
    lines = ["| what | ours | peer | ratio | target | |", "|---|---|---|---|---|---|"]
    for row in rows:
        spread = f" ({row['lowest']:.2f} to {row['highest']:.2f})" if len(row["ratios"]) > 1 else ""
        target = "" if row["target"] is None else f"{row['target']:g}"
        verdict = {None: "", True: "met", False: "**not met**"}[row["is_met"]]
        note = f"{verdict}{'; ' if verdict and row['note'] else ''}{row['note']}"
        lines.append(
            f"| {row['what']} | {row['ours']} | {row['peer']} | {row['ratio']:.2f}{spread} | {target} | {note} |"
        )
    return "\n".join(lines)


def per_second(values: list[float], unit: str = "s of audio/s") -> str:
    return f"{statistics.median(values):,.1f} {unit}"


def of_matrix_rate(
    what: str, reached: list[float], rates: list[float], target: float | None, cost: float
) -> Row:
    """Operations a second that are reached, beside matrix_rate in the same rounds. cost: operations a second of audio."""
    ours, peer = (
        per_second([value / 1e9 for value in values], "G/s") for values in (reached, rates)
    )
    note = f"{cost / 1e9:.1f} G operations a second of audio, padding not counted"
    return Row(
        f"{what}: operations a second, of the product of two matrices",
        ours,
        peer,
        ratios(reached, rates),
        target,
        note,
    )


def ratios(ours: list[float], peer: list[float]) -> list[float]:
    """Of rates, round by round: what ran beside each other shared the machine."""
    return [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]


def corpus_durations(n_clips: int) -> list[float]:
    """Seconds: quantiles of 1 s and a gamma of shape 2 over it, 4.4 s on average as in the corpus, at most 12 s; shuffled."""
    scale = (MEAN_S - SHORTEST_S) / 2
    durations = [
        min(LONGEST_S, SHORTEST_S + scale * _gamma_2((i + 0.5) / n_clips)) for i in range(n_clips)
    ]
    return np.random.default_rng(0).permutation(durations).tolist()


def _gamma_2(share: float) -> float:
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if 1 - math.exp(-middle) * (1 + middle) < share else (low, middle)
        )
    return low


def spoken(folder: Path, durations: list[float]) -> list[Utterance]:
    """WAV files of noise that swells and fades, with texts that a model of random_base can write, five syllables a second."""
    rng, clips = np.random.default_rng(0), []
    folder.mkdir(parents=True, exist_ok=True)
    for number, seconds in enumerate(durations):
        path, n_samples = folder / f"{number:05}.wav", int(seconds * SAMPLE_RATE)
        loudness = np.repeat(rng.uniform(0.01, 0.3, n_samples // 1_600 + 1), 1_600)[:n_samples]
        soundfile.write(path, loudness * rng.standard_normal(n_samples), SAMPLE_RATE)
        text = "".join(map(_syllable, rng.integers(0, 800, int(seconds * SYLLABLES_A_SECOND))))
        clips.append(Utterance(path.stem, str(path), n_samples / SAMPLE_RATE, text + "."))
    return clips


def random_base(folder: Path, size: Size) -> str:
    """A model folder of random weights: configuration of XLSR-53 in another size, the demo's tokenizer with 1,205 labels."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    folder.mkdir()
    for path in (DEMO / "base_model").glob("*.json"):
        shutil.copy(path, folder)
    syllables = [_syllable(number) for number in range(N_LABELS - 3)]
    tokens = [*syllables[:859], "|", *syllables[859:], "[UNK]", "[PAD]"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=N_LABELS, pad_token_id=N_LABELS - 1, hidden_size=size.width, num_hidden_layers=size.layers,
        num_attention_heads=size.width // 64, intermediate_size=4 * size.width, conv_bias=True, feat_extract_norm="layer",
        do_stable_layer_norm=True, activation_dropout=0.0,
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return str(folder)


def _syllable(number: int) -> str:
    return chr(ord("가") + 9 * number)


def operations(
    base: str, durations: list[float], trained: str | None = None, layerdrop: float = 0.0
) -> float:
    """Floating-point operations of a model on clips of so many seconds, without padding, as torch counts them.

    trained: None for the forward pass; "frozen" or "all" for forward and backward, the convolutional encoder frozen or not: a
    backward pass is two more, by inputs and by weights. layerdrop: share of the layers that is
    left out of both. Counted on tensors without content, by FlopCounterMode: products and convolutions, a multiplication and an
    addition each. (Its own count of backward takes a grouped convolution for a whole one.)
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config.from_pretrained(base, attn_implementation="eager")
    shorter_config = Wav2Vec2Config.from_pretrained(
        base, attn_implementation="eager", num_hidden_layers=config.num_hidden_layers - 1
    )
    with torch.device("meta"):
        model, shorter = (Wav2Vec2ForCTC(made).eval() for made in (config, shorter_config))
    counts = []
    for network in (model, shorter, model.wav2vec2.feature_extractor):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            for seconds in durations:
                network(torch.empty(1, int(seconds * SAMPLE_RATE), device="meta"))
        counts.append(counter.get_total_flops())
    complete, one_layer_less, encoder = counts
    whole = complete - layerdrop * config.num_hidden_layers * (complete - one_layer_less)
    return {None: whole, "all": 3 * whole, "frozen": 3 * whole - 2 * encoder}[trained]


def matrix_rate(device: str, precision: str, number: int) -> float:
    """Operations a second of torch's product of two square matrices in the precision: the best of eight; the round is ignored."""
    import torch

    dtype = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    size = 8_192 if device == "cuda" else 2_048
    left, right = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    fastest = math.inf
    for _ in range(8):
        started = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * size**3 / fastest


def in_turn(
    ways: dict[Hashable, tuple], rounds: int, n_threads: int, device: str
) -> dict[Hashable, list[Any]]:
    """What each way, (function, *arguments), returns in each round, after one call that does not count (two ways at a time).

    Ways take turns, so that a busy machine is busy for all. Each has a process of its own, so that what one tells the C
    library or torch helps no other; a function that is called with the round as its last argument may keep its model. On a
    GPU the process ends with each round, for all models together would not fit.
    """
    found: dict[Hashable, list[Any]] = {name: [] for name in ways}
    if device == "cuda":
        for number, (name, (function, *arguments)) in product(range(rounds), ways.items()):
            with _process(n_threads) as process:
                process.submit(function, *arguments, -1).result()
                found[name].append(process.submit(function, *arguments, number).result())
        return found
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_process(n_threads)) for name in ways}

        def result_of(name: Hashable, number: int) -> Any:
            function, *arguments = ways[name]
            return processes[name].submit(function, *arguments, number).result()

        with ThreadPoolExecutor(2) as two_at_a_time:  # imports and files leave a core idle
            list(two_at_a_time.map(result_of, ways, [-1] * len(ways)))
        for number, name in product(range(rounds), ways):
            found[name].append(result_of(name, number))
    return found


def _process(n_threads: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"), _prepared, (n_threads,))


def _prepared(n_threads: int) -> None:
    import torch
    import transformers

    from korean_asr.hardware import on_one_gpu_unless_torchrun

    torch.set_num_threads(n_threads)
    on_one_gpu_unless_torchrun()  # the Trainer would deal its batch to all of them
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def peak_memory_mb(device: str) -> float:
    """Of this process, at any moment until now; on a GPU the memory there."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tree_memory_mb(pid: int) -> float:
    """Proportional set size of a process and its children: pages that they share are counted once."""
    total = 0.0
    for process in [pid, *_children(pid)]:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def _children(pid: int) -> list[int]:
    try:
        direct = [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:
        return []
    return [*direct, *(grandchild for child in direct for grandchild in _children(child))]


def run_script(
    number: int, *arguments: Any, launcher: tuple = (), **environment: str
) -> tuple[float, float]:
    """(seconds, peak megabytes of the process tree) of one of the four scripts, start included; ends where it fails."""
    command = [sys.executable, *launcher, SCRIPTS[number], *map(str, arguments)]
    started, peak, done = time.perf_counter(), 0.0, threading.Event()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}
        )

        def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, tree_memory_mb(process.pid))
                if done.wait(0.05):
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        seconds = time.perf_counter() - started
        done.set()
        watcher.join()
        if status:
            output.seek(0)
            sys.exit(f"script {number} ended with status {status}:\n{output.read()[-2_000:]}")
    return seconds, peak


def demo_split(folder: Path):
    """The split of the bundled Korean corpus by the demo's recipe, its manifest by script 1 itself."""
    from korean_asr.manifest import read_manifest
    from korean_asr.training.splits import split_utterances
    from recipes import RECIPES

    run_script(1, "--korean", DEMO / "korean", "--output", folder)
    return split_utterances(read_manifest(folder / "korean.jsonl"), RECIPES["demo"])


def machine(device: str, n_threads: int) -> dict[str, Any]:
    """What the numbers depend on besides the code, and the code's commit."""
    import torch
    import transformers

    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [
        line.partition(":")[2].strip()
        for line in info.splitlines()
        if line.startswith("model name")
    ]
    git = ["git", "-C", str(REPOSITORY)]
    commit = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    changed = subprocess.run(
        [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True
    ).stdout.strip()
    return {
        "date": date.today().isoformat(),
        "commit": (commit or "unknown") + (" with changes" if changed else ""),
        "cpu": f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores",
        "gpu": f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}" if device == "cuda" else None,
        "threads": n_threads,
        "has_avx512_bf16": "avx512_bf16" in info,
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "transformers": transformers.__version__, "numpy": np.__version__},
    }  # fmt: skip


def benchmark(
    measured: Callable[[argparse.Namespace, Path], tuple[list[Row], dict[str, Any]]], doc: str
) -> None:
    """The command line of a benchmark: runs it in a temporary folder, prints its table, writes its JSON."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="more clips and rounds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--rounds", type=int, help="how often each way is measured; 3, or 7 with --full"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="where the numbers are written, too")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here.")
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the children's scripts would take the GPU
    if arguments.rounds is None:
        arguments.rounds = 7 if arguments.full else 3
    if min(arguments.rounds, arguments.threads) < 1:
        parser.error("--rounds and --threads are whole numbers above 0.")
    if arguments.json and not arguments.json.parent.is_dir():
        parser.error(f"--json {arguments.json}: its folder does not exist.")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows, facts = measured(arguments, Path(folder))
    record = {"seconds": round(time.monotonic() - started), "rounds": arguments.rounds, "full": arguments.full,
              "rows": [row.record() for row in rows], "facts": facts}  # fmt: skip
    print(table(record["rows"]))
    for name, fact in facts.items():
        print(f"{name}: {fact}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
