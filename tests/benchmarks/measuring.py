"""Shared by the benchmarks: clips, random models, ways in turn, the machine, rows of the table."""

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
from contextlib import ExitStack, suppress
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
# The head of kresnik/wav2vec2-large-xlsr-korean; 1,211 with <s>, </s> and four marks.
N_LABELS = 1_205


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a wav2vec2; its convolutional encoder is the real model's.

    That has 7 layers of 512 channels, and normalises over the channels.
    """

    layers: int
    width: int
    channels: int = 512


# Half the real width and a quarter of its layers: 25 M parameters.
HALF = Size(6, 512)
# wav2vec2-base: 95 M parameters.
BASE = Size(12, 768)
# kresnik/wav2vec2-large-xlsr-korean: 317 M parameters.
REAL = Size(24, 1024)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    ours, peer: the measured values with their unit. ratios: one for each round, larger is better.
    """

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
    """Rows as Markdown: median ratio with its lowest and highest round, target, verdict."""
    lines = ["| what | ours | peer | ratio | target | |", "|---|---|---|---|---|---|"]
    for row in rows:
        spread = f" ({row['lowest']:.2f} to {row['highest']:.2f})" if len(row["ratios"]) > 1 else ""
        target = "" if row["target"] is None else f"{row['target']:g}"
        verdict = {None: "", True: "met", False: "**not met**"}[row["is_met"]]
        note = f"{verdict}{'; ' if verdict and row['note'] else ''}{row['note']}"
        lines.append(
            f"| {row['what']} | {row['ours']} | {row['peer']} "
            f"| {row['ratio']:.2f}{spread} | {target} | {note} |"
        )
    return "\n".join(lines)


def per_second(values: list[float], unit: str = "s of audio/s") -> str:
    return f"{statistics.median(values):,.1f} {unit}"


def of_matrix_rate(
    what: str, reached: list[float], rates: list[float], target: float | None, cost: float
) -> Row:
    """Operations per second beside matrix_rate in the same rounds.

    cost: operations for a second of audio.
    """
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
    """Ratios of rates, round by round: ways of one round met the same load of the machine."""
    return [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]


def corpus_durations(n_clips: int) -> list[float]:
    """Durations in seconds, 4.4 on average as in the corpus, at most 12; shuffled, always the same.

    They are the quantiles of 1 s plus a gamma distribution of shape 2.
    """
    scale = (MEAN_S - SHORTEST_S) / 2
    durations = [
        min(LONGEST_S, SHORTEST_S + scale * _gamma_2((i + 0.5) / n_clips)) for i in range(n_clips)
    ]
    return np.random.default_rng(0).permutation(durations).tolist()


def _gamma_2(share: float) -> float:
    """Quantile of the gamma distribution of shape 2 and scale 1, by bisection."""
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if 1 - math.exp(-middle) * (1 + middle) < share else (low, middle)
        )
    return low


def spoken(folder: Path, durations: list[float]) -> list[Utterance]:
    """Write WAV files of noise that swells and fades.

    The texts have five syllables per second, all in the vocabulary of random_base.
    """
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
    """Write a model folder with random weights.

    The configuration is XLSR-53's in another size, the tokenizer the demo's with 1,205 labels.
    """
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
        vocab_size=N_LABELS,
        pad_token_id=N_LABELS - 1,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.width // 64,
        intermediate_size=4 * size.width,
        conv_dim=(size.channels,) * 7,
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        activation_dropout=0.0,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return str(folder)


def _syllable(number: int) -> str:
    return chr(ord("가") + 9 * number)


def operations(
    base: str, durations: list[float], trained: str | None = None, layerdrop: float = 0.0
) -> float:
    """Floating-point operations of a model on clips of these durations in seconds, unpadded.

    trained: None for the forward pass alone; with the backward pass "frozen" or "all", by whether
    the convolutional encoder is frozen. The backward pass costs two forward passes, one for the
    inputs and one for the weights. layerdrop: the share of layers left out of both.
    Counted by torch's FlopCounterMode on tensors without content: products and convolutions, where
    a multiplication and an addition are two operations. Its own count of a backward pass is not
    used, since it takes a grouped convolution for a full one.
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
    """Operations per second of a product of two square matrices: the best of eight.

    number: of the round; unused.
    """
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


def in_turn(ways: dict[Hashable, tuple], rounds: int, n_threads: int) -> dict[Hashable, list[Any]]:
    """Call each way, (function, *arguments), once a round, and return its results.

    The number of the round is the last argument; round -1 comes first, for two ways at a time, and
    does not count. Ways take turns, so that a busy machine is busy for all. Each has a process of
    its own, so that the settings of one in the C library or torch help no other; a process may keep
    its model between rounds.
    """
    found: dict[Hashable, list[Any]] = {name: [] for name in ways}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_process(n_threads)) for name in ways}

        def result_of(name: Hashable, number: int) -> Any:
            function, *arguments = ways[name]
            return processes[name].submit(function, *arguments, number).result()

        # Imports and reading leave a core idle.
        with ThreadPoolExecutor(2) as two_at_a_time:
            list(two_at_a_time.map(result_of, ways, [-1] * len(ways)))
        for number, name in product(range(rounds), ways):
            found[name].append(result_of(name, number))
    return found


def _process(n_threads: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"), _prepared, (n_threads,))


def _prepared(n_threads: int) -> None:
    import torch
    import transformers

    torch.set_num_threads(n_threads)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def reset_peak_memory(device: str) -> None:
    """Start the peak anew where the system allows it: on a GPU, and on Linux with its /proc."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: str) -> float:
    """Peak memory of this process since its last reset; on a GPU the peak of its tensors."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tree_memory_mb(pid: int) -> float:
    """Proportional set size of a process and its children: shared pages are counted once."""
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
    """Run one of the four scripts: (seconds, peak megabytes of its processes), start included.

    Ends the benchmark where the script fails.
    """
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
    """The split of the bundled Korean corpus by the demo's recipe, after a run of script 1."""
    from korean_asr.manifest import read_manifest
    from korean_asr.training.splits import split_utterances
    from recipes import RECIPES

    run_script(1, "--korean", DEMO / "korean", "--output", folder)
    return split_utterances(read_manifest(folder / "korean.jsonl"), RECIPES["demo"])


def machine(device: str, n_threads: int) -> dict[str, Any]:
    """Machine, versions and commit, on which the numbers depend."""
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
    gpus = None
    if device == "cuda":
        gpus = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return {
        "date": date.today().isoformat(),
        "commit": (commit or "unknown") + (" with changes" if changed else ""),
        "cpu": f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores",
        "gpu": gpus,
        "threads": n_threads,
        "has_avx512_bf16": "avx512_bf16" in info,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
        },
    }


def benchmark(
    measured: Callable[[argparse.Namespace, Path], tuple[list[Row], dict[str, Any]]],
    doc: str,
    devices: tuple[str, ...] = ("cpu",),
) -> None:
    """Run a benchmark by its command line: in a temporary folder, with its table and JSON."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="more clips and rounds")
    parser.add_argument("--device", choices=devices, default="cpu")
    parser.add_argument("--rounds", type=int, help="rounds for each way: 3, or 7 with --full")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="file for the numbers")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here.")
    if arguments.device == "cpu":
        # The scripts that are run would take the GPU.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if arguments.rounds is None:
        arguments.rounds = 7 if arguments.full else 3
    if min(arguments.rounds, arguments.threads) < 1:
        parser.error("--rounds and --threads are whole numbers above 0.")
    if arguments.json and not arguments.json.parent.is_dir():
        parser.error(f"--json {arguments.json}: its folder does not exist.")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows, facts = measured(arguments, Path(folder))
    record = {
        "seconds": round(time.monotonic() - started),
        "rounds": arguments.rounds,
        "full": arguments.full,
        "rows": [row.record() for row in rows],
        "facts": facts,
    }
    print(table(record["rows"]))
    for name, fact in facts.items():
        print(f"{name}: {fact}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
