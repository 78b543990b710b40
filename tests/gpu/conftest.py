"""Scripts on a GPU as a user runs them, and faults planted in them.

Without a GPU every test here is skipped. With GPU_TESTS_ON=cpu the CPU stands in for it, so that
the tests themselves can be tried: number formats become float32, and planted faults are pretended.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

from korean_asr.manifest import REPOSITORY

DEMO = REPOSITORY / "data" / "demo"
SCRIPTS = {int(path.name[0]): path for path in (REPOSITORY / "model_tuning").glob("[1-4]. *.py")}
STAND_IN = os.environ.get("GPU_TESTS_ON") == "cpu"
N_GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0
TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]
# A script after a few lines of Python that change something in it.
PLANTED = """
import runpy, sys
sys.path.insert(0, {folder!r})
import torch
from korean_asr.training import loop, trial
{code}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def pytest_collection_modifyitems(items):
    if N_GPUS or STAND_IN:
        return
    for item in items:
        if item.path.parent == REPOSITORY / "tests" / "gpu":
            item.add_marker(pytest.mark.skip(reason="NOT TESTED ON A GPU: torch sees none here"))


@pytest.fixture(scope="session")
def stand_in():
    """Whether the CPU stands in for a GPU."""
    return STAND_IN


@pytest.fixture(scope="session")
def several_gpus():
    """several_gpus(n): skip the test where there are fewer."""

    def wanted(n):
        if n > N_GPUS:
            pytest.skip(f"NOT TESTED: {n} GPUs are needed, and torch sees {N_GPUS} here")

    return wanted


@pytest.fixture(scope="session")
def used():
    """used(precision): the number format that a run in it really has; float32 on a CPU."""

    def name(precision):
        return "float32" if STAND_IN else precision

    return name


@pytest.fixture(scope="session")
def start():
    """start(number, *arguments, …): a script in a process group of its own, as Popen.

    n_processes: under torchrun. code: lines of Python that run first. on_cpu: GPUs are hidden.
    """

    def started(number, *arguments, n_processes=0, code="", on_cpu=False, **environment):
        words = [sys.executable]
        if n_processes:
            words += [*TORCHRUN, f"--nproc_per_node={n_processes}"]
        if code:
            folder = str(SCRIPTS[number].parent)
            words += ["-c", PLANTED.format(folder=folder, code=code)]
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if on_cpu else {}
        # Up to five scripts run at once, and no two threads should share a core.
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 5))}
        return subprocess.Popen(
            [*words, str(SCRIPTS[number]), *map(str, arguments)],
            env={**os.environ, **threads, **hidden, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return started


@pytest.fixture(scope="session")
def ended():
    """ended(process, status=0): what the script printed, once its exit status is as wanted."""

    def printed(process, status=0):
        text, _ = process.communicate(timeout=500)
        assert process.returncode == status, text
        return text

    return printed


@pytest.fixture(scope="session")
def processed(tmp_path_factory, start, ended):
    """The demo's manifests, by script 1."""
    folder = tmp_path_factory.mktemp("processed")
    corpora = ["--korean", DEMO / "korean", "--foreign", DEMO / "foreign"]
    ended(start(1, *corpora, "--output", folder))
    return folder


@pytest.fixture(scope="session")
def options_in(processed):
    """options_in(folder): script 2's options for the demo, with its outputs in that folder."""

    def words(folder):
        inputs = ["--data", processed, "--base-model", DEMO / "base_model", "--recipe", "demo"]
        return [*inputs, "--output", folder / "model", "--checkpoints", folder / "checkpoints"]

    return words


@pytest.fixture(scope="session")
def few_updates():
    """few_updates(precision): options for 12 updates, with three evaluations and checkpoints."""

    def words(precision):
        steps = ["--epochs", "0.5", "--eval-steps", "4", "--save-steps", "4"]
        return [*steps, "--precision", precision]

    return words


@pytest.fixture(scope="session")
def trained(tmp_path_factory, options_in, start, ended):
    """trained(precision): folder and output of the demo's whole training; "cpu": without a GPU.

    All of them start at once, since they take a small part of a GPU.
    """
    folders, running, printed = {}, {}, {}
    for precision in ("cpu", "fp16", "bf16", "float32"):
        if STAND_IN and precision not in ("cpu", "float32"):
            continue
        folders[precision] = tmp_path_factory.mktemp(precision)
        words = options_in(folders[precision])
        is_cpu = precision == "cpu"
        words += ["--precision", "float32" if is_cpu else precision]
        if STAND_IN:
            words += ["--epochs", "0.5", "--eval-steps", "12", "--save-steps", "12"]
        running[precision] = start(2, *words, on_cpu=is_cpu)

    def finished(precision):
        if precision not in printed:
            printed[precision] = ended(running[precision])
        return folders[precision], printed[precision]

    yield finished
    for process in running.values():
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def json_of():
    def content(path):
        return json.loads(path.read_text(encoding="utf-8"))

    return content


@pytest.fixture(scope="session")
def rows_of():
    """rows_of(path): the objects of a JSON lines file."""

    def rows(path):
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return rows


@pytest.fixture(scope="session")
def larger_base(tmp_path_factory):
    """The folder of the demo's base model at 85 M parameters, with random weights."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    folder = tmp_path_factory.mktemp("larger") / "base"
    folder.mkdir()
    for path in (DEMO / "base_model").glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    config = Wav2Vec2Config.from_pretrained(DEMO / "base_model")
    config.hidden_size, config.intermediate_size = (96, 192) if STAND_IN else (768, 3_072)
    config.num_hidden_layers = 2 if STAND_IN else 12
    config.conv_dim = [48 if STAND_IN else 512] * 7
    torch.manual_seed(0)
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder
