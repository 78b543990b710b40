"""Run the scripts as a user does, each in a process of its own; share one small trained model."""

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
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
def warm_python(tmp_path_factory, children_of):
    """warm_python(arguments, cwd, envs, moment=None): exit status and output of a script.

    It runs as by Python. envs: the environment of each process. moment: a function; once it is
    true, all processes and their children are killed.
    """
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("warm_python.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A line that waits must not hide in a buffer from select().
        bufsize=0,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    output = tmp_path_factory.mktemp("warm") / "output"

    def finished(arguments, cwd, envs, moment=None):
        request = {"arguments": arguments, "cwd": str(cwd), "envs": envs, "output": str(output)}
        server.stdin.write(json.dumps(request).encode() + b"\n")
        family = json.loads(server.stdout.readline())
        if moment:
            end = time.monotonic() + 300
            while not moment() and not select.select([server.stdout], [], [], 0.0005)[0]:
                assert time.monotonic() < end, "the moment never came"
            for pid in family:
                # One that ends meanwhile has no children, and needs no signal.
                with suppress(ProcessLookupError, FileNotFoundError):
                    family += children_of(pid)
                    os.kill(pid, signal.SIGKILL)
        status = int(server.stdout.readline())
        return status, output.read_text(encoding="utf-8", errors="replace")

    assert server.stdout.readline() == b"ready\n"
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


def _script_and_envs(arguments, env):
    """What a command starts: a script with its arguments, and the environment of each process."""
    script, envs = arguments[1:], [dict(env)]
    if script[:2] == TORCHRUN:
        envs = _as_torchrun_sets_them(env, int(script[3].partition("=")[2]))
        script = script[4:]
    return script, envs


@pytest.fixture(scope="session")
def run(warm_python):
    """run(arguments, status=0, cwd=None): stdout and stderr, once the exit status is as wanted.

    Scripts 2 to 4, listen.py and what torchrun starts begin in a process that has imported the
    heavy packages, by torchrun's environment. real_torchrun=True calls torchrun itself.
    """

    def finished(arguments, status=0, cwd=None, env=os.environ, real_torchrun=False, **options):
        arguments = [*map(str, arguments)]
        is_warm = not real_torchrun and not options and arguments[0] == sys.executable
        script, envs = _script_and_envs(arguments, env) if is_warm else ([""], [])
        if script[0] in MODEL_SCRIPTS or len(envs) > 1:
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
def killed_when(warm_python, one_thread):
    """killed_when(arguments, moment): kill -9 a script's processes once moment() is true.

    Returns whether they were still running then.
    """

    def was_running(arguments, moment):
        script, envs = _script_and_envs([*map(str, arguments)], one_thread)
        status, _ = warm_python(script, os.getcwd(), envs, moment)
        return status == -signal.SIGKILL

    return was_running


@pytest.fixture(scope="session")
def small_files_only():
    """small_files_only(n_bytes): a preexec_fn that stops larger files, as a full disk would."""

    def limited(n_bytes):
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return limited
