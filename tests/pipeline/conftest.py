"""Run the scripts as a user does, each in a process of its own; share one small trained model."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from korean_asr.manifest import REPOSITORY

SCRIPTS = {int(path.name[0]): path for path in (REPOSITORY / "model_tuning").glob("[1-4]. *.py")}
LISTEN = REPOSITORY / "model_tuning" / "listen.py"
MODEL_SCRIPTS = [str(path) for path in (SCRIPTS[2], SCRIPTS[3], SCRIPTS[4], LISTEN)]
TORCHRUN = ["-m", "torch.distributed.run"]
DEMO = REPOSITORY / "data" / "demo"


@pytest.fixture(scope="session")
def command():
    """command(number, *arguments): the command line of a script on one process."""

    def words(number, *arguments):
        return [sys.executable, str(SCRIPTS[number]), *map(str, arguments)]

    return words


@pytest.fixture(scope="session")
def listen():
    """listen(*arguments): the command line of listen.py."""
    return lambda *arguments: [sys.executable, str(LISTEN), *map(str, arguments)]


@pytest.fixture(scope="session")
def on(command):
    """on(n_processes, number, *arguments): the command line of a script under torchrun."""

    def words(n_processes, number, *arguments):
        if n_processes == 1:
            return command(number, *arguments)
        script = command(number, *arguments)[1:]
        processes = ["--standalone", f"--nproc_per_node={n_processes}"]
        return [sys.executable, *TORCHRUN, *processes, *script]

    return words


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory):
    """warm_python(arguments, cwd, envs): exit status and output of a script, run as by Python.

    envs: the environment of each process.
    """
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("warm_python.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    output = tmp_path_factory.mktemp("warm") / "output"

    def finished(arguments, cwd, envs):
        request = {"arguments": arguments, "cwd": str(cwd), "envs": envs, "output": str(output)}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline()), output.read_text(encoding="utf-8", errors="replace")

    assert server.stdout.readline() == "ready\n"
    yield finished
    server.stdin.close()
    server.wait()


def _as_torchrun_sets_them(env, n_processes):
    """The environment of each process that `torchrun --standalone` starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    n = str(n_processes)
    world = {**env, **address, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "OMP_NUM_THREADS": "1"}
    return [{**world, "RANK": str(i), "LOCAL_RANK": str(i)} for i in range(n_processes)]


@pytest.fixture(scope="session")
def run(warm_python):
    """run(arguments, status=0, cwd=None): stdout and stderr, once the exit status is as wanted.

    Scripts 2 to 4 and listen.py start from a process that has imported the heavy packages, by
    torchrun's environment where arguments are those of on(). real_torchrun=True calls torchrun
    itself.
    """

    def finished(arguments, status=0, cwd=None, env=os.environ, real_torchrun=False, **options):
        arguments = [*map(str, arguments)]
        envs, script = [dict(env)], arguments[1:]
        if script[:2] == TORCHRUN and not real_torchrun:
            envs = _as_torchrun_sets_them(env, int(script[3].partition("=")[2]))
            script = script[4:]
        if arguments[0] == sys.executable and script[0] in MODEL_SCRIPTS and not options:
            returned, printed = warm_python(script, cwd or os.getcwd(), envs)
        else:
            result = subprocess.run(
                arguments, cwd=cwd, env=env, capture_output=True, text=True, timeout=1800, **options
            )
            returned, printed = result.returncode, result.stdout + result.stderr
        assert returned == status, printed
        return printed

    return finished


@pytest.fixture(scope="session")
def one_thread():
    """Environment in which sums run in one order, however many cores the machine has."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def few_updates():
    """Options of script 2 for 12 updates of the demo, with three evaluations and checkpoints."""
    return ["--recipe", "demo", "--epochs", "0.5", "--eval-steps", "4", "--save-steps", "4"]


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="session")
def processed(work, command, run):
    """The folder that script 1 wrote from the demo, and what it printed."""
    corpora = ["--korean", DEMO / "korean", "--foreign", DEMO / "foreign"]
    printed = run(command(1, *corpora, "--output", work / "processed"))
    return work / "processed", printed


@pytest.fixture(scope="session")
def options_in(processed):
    """options_in(folder): script 2's options for the demo's inputs and outputs in that folder."""

    def words(folder):
        inputs = ["--data", processed[0], "--base-model", DEMO / "base_model"]
        return [*inputs, "--output", folder / "model", "--checkpoints", folder / "checkpoints"]

    return words


@pytest.fixture(scope="session")
def trained(work, options_in, command, run, few_updates):
    """The model folder after a few updates, and what script 2 printed; checkpoints lie beside."""
    printed = run(command(2, *options_in(work), *few_updates))
    return work / "model", printed


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
def children_of():
    """children_of(pid): the ids of a process's children."""

    def ids(pid):
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    return ids


@pytest.fixture(scope="session")
def killed_when(children_of, one_thread):
    """killed_when(arguments, moment): kill -9 the process and its children once moment() is true.

    Returns whether it was still running then.
    """

    def was_running(arguments, moment, seconds=300):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started = subprocess.Popen(arguments, **quiet, env=one_thread, start_new_session=True)
        end = time.monotonic() + seconds
        while started.poll() is None and not moment():
            assert time.monotonic() < end, "the moment never came"
            time.sleep(0.0005)
        running = started.poll() is None
        if running:
            family = [started.pid]
            for pid in family:
                family += children_of(pid)
            for pid in family:
                os.kill(pid, signal.SIGKILL)
        started.wait()
        return running

    return was_running


@pytest.fixture(scope="session")
def small_files_only():
    """small_files_only(n_bytes): a preexec_fn that stops larger files, as a full disk would."""

    def limited(n_bytes):
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return limited
