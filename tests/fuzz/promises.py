"""Run the scripts on one case in a process of its own, and check what every input is promised.

The process is forked from one that has loaded everything, so that a case takes a fraction of a
second, and can be killed.
"""

import contextlib
import faulthandler
import importlib.util
import json
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

POLL_S = 0.02
# A line of an error message that nobody would read to its end.
MAX_LINE = 2000
# Durations are written to a tenth of a millisecond; resampling rounds to whole samples.
DURATION_TOLERANCE_S = 0.002
SCRIPTS = {1: "1. script_preprocessing.py", 3: "3. model_test_ko.py"}


@dataclass(frozen=True, slots=True)
class Failure:
    """A broken promise. kind is the same for all cases that fail alike."""

    promise: str  # traceback, hang, memory, one line, strict JSON, agreement, crash
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a case may take, besides what the loaded scripts take."""

    seconds: float = 20.0
    megabytes: int = 500


class Clock:
    """A time limit that a busy machine does not shorten."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid, self._seconds = pid, seconds
        self._started = self._worked_at = time.monotonic()
        self._worked_s = 0.0

    def has_run_out(self) -> bool:
        """Whether it has computed, or waited, for the limit; in any case after ten times that."""
        now, worked_s = time.monotonic(), _cpu_seconds(self._pid)
        if worked_s > self._worked_s:
            self._worked_s, self._worked_at = worked_s, now
        longest = max(worked_s, now - self._worked_at, (now - self._started) / 10)
        return longest > self._seconds


class Runner:
    """Runs cases on the scripts of a project with one model."""

    def __init__(self, project: Path, model: Path, limits: Limits) -> None:
        self._project, self._model, self._limits = project, model, limits

    def load(self, kind: str, folder: Path, outputs: Path) -> list[Failure]:
        """Run a case in this process, so that all that the scripts import is loaded."""
        # A process can be forked safely while it has one thread only.
        tqdm.monitor_interval = 0
        return list(self._steps(kind, folder, outputs))

    def failures(self, kind: str, folder: Path, outputs: Path) -> list[Failure]:
        """Run the scripts on the inputs in a folder. outputs: an empty folder."""
        before = _resident_mb(os.getpid())
        pid = os.fork()
        if not pid:
            self._child(kind, folder, outputs)
        stopped, status = self._watched(pid, before)
        with contextlib.suppress(OSError, ValueError):
            done = json.loads((outputs / "failures.json").read_text(encoding="utf-8"))
            found = [Failure(**failure) for failure in done["failures"]]
            grown = done["peak_mb"] - before
            if grown > self._limits.megabytes:
                found.append(Failure("memory", "memory", f"{grown:,.0f} MB"))
            return found
        where = _position(_text(outputs / "stack"))
        step = _text(outputs / "step")
        promise = stopped or "crash"
        return [Failure(promise, f"{step}: {promise} in {where}", f"status {status}")]

    def _watched(self, pid: int, before_mb: float) -> tuple[str, int]:
        """Wait for a child, or end it; the promise that it broke, or "", and its status."""
        clock, stopped = Clock(pid, self._limits.seconds), ""
        with os.fdopen(os.pidfd_open(pid)) as child:
            try:
                while not select.select([child], [], [], POLL_S)[0]:
                    # Well above the limit, so that the machine does not run out of memory.
                    if _resident_mb(pid) - before_mb > 2 * self._limits.megabytes:
                        stopped = "memory"
                    elif clock.has_run_out():
                        stopped = "hang"
                    if stopped:
                        # faulthandler writes where it stands.
                        os.kill(pid, signal.SIGABRT)
                        select.select([child], [], [], 2)
                        break
            finally:
                # It is not waited for yet, so that the number is still its own.
                os.kill(pid, signal.SIGKILL)
                status = os.waitpid(pid, 0)[1]
        return stopped, status

    def _child(self, kind: str, folder: Path, outputs: Path) -> None:
        """Run all steps, write what failed, and end the process."""
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            faulthandler.enable((outputs / "stack").open("w"))
            noise = os.open(outputs / "noise", os.O_WRONLY | os.O_CREAT)
            os.dup2(noise, 1), os.dup2(noise, 2)
            found = [asdict(failure) for failure in self._steps(kind, folder, outputs)]
            peak = int(_status_line("VmHWM")) / 1024
            content = json.dumps({"failures": found, "peak_mb": peak})
            (outputs / "failures.json").write_text(content, encoding="utf-8")
        except BaseException:
            (outputs / "stack").write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)

    def _steps(self, kind: str, folder: Path, outputs: Path) -> Iterator[Failure]:
        def run(number: int, *arguments: Path | str) -> tuple[int | None, list[Failure]]:
            (outputs / "step").write_text(f"script {number}")
            output = outputs / str(number)
            words = [*map(str, arguments), "--output", str(output)]
            return _run(self._project, number, words, output)

        if kind == "results":
            yield from run(3, "--rescore", folder / "results.jsonl")[1]
            return
        is_manifest = (folder / "manifest.jsonl").exists()
        corpus = folder / "manifest.jsonl" if is_manifest else folder
        first, failures = run(1, "--korean", corpus, "--jobs", "1")
        yield from failures
        if not is_manifest:
            return
        third, failures = run(3, "--model", self._model, "--manifest", corpus)
        yield from failures
        if first == third == 0:
            (outputs / "step").write_text("agreement")
            yield from _disagreements(folder, outputs, with_durations=kind == "audio")


def script(project: Path, number: int) -> Callable[[], None]:
    """Return the main function of a script."""
    return _module(project / "model_tuning" / SCRIPTS[number]).main


@cache
def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"script_{path.name[0]}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(
    project: Path, number: int, arguments: list[str], output: Path
) -> tuple[int | None, list[Failure]]:
    """Run a script in this process. Returns its exit status, None for a traceback."""
    from korean_asr.errors import exit_status

    main, name = script(project, number), f"script {number}"
    sys.argv = [SCRIPTS[number], *arguments]
    printed, told = output.with_suffix(".out"), output.with_suffix(".err")
    with (
        printed.open("w") as stdout,
        told.open("w") as stderr,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            status = exit_status(main)
        except SystemExit as end:
            status = end.code
        except BaseException as error:
            where = _position(traceback.format_exc())
            kind = f"{name}: {type(error).__name__} in {where}"
            return None, [Failure("traceback", kind, traceback.format_exc()[-3000:])]
    failures = [*_untold(name, status, _text(told)), *_not_strict(name, output)]
    return status, failures


def _untold(name: str, status: Any, told: str) -> Iterator[Failure]:
    """Yield a failure unless an error is told in one line, and success without one."""
    lines = [line for line in told.splitlines() if "ERROR · 오류" in line or " error: " in line]
    if status not in (0, 1, 2):
        yield Failure("one line", f"{name}: exit status {status}", told[-1000:])
    elif len(lines) != (status != 0):
        yield Failure("one line", f"{name}: {len(lines)} lines for status {status}", told[-1000:])
    elif lines and len(lines[0]) > MAX_LINE:
        yield Failure("one line", f"{name}: a line of over {MAX_LINE} characters", lines[0][:1000])


def _not_strict(name: str, output: Path) -> Iterator[Failure]:
    """Yield a failure for each file that strict readers of JSON refuse."""

    def refused(constant: str) -> None:
        raise ValueError(constant)

    for path in sorted(output.glob("**/*.json*")):
        content = _text(path)
        for text in content.split("\n") if path.suffix == ".jsonl" else [content]:
            try:
                json.loads(text or "0", parse_constant=refused)
            except (ValueError, RecursionError) as error:
                yield Failure("strict JSON", f"{name}: {error!s:.40} in {path.name}", text[:500])
                break


# --- Agreement ---


def _disagreements(folder: Path, outputs: Path, with_durations: bool) -> Iterator[Failure]:
    """Compare the verdicts of scripts 1 and 3 on each audio file that both name."""
    usable = {clip["id"]: clip for clip in _rows(outputs / "1/korean.jsonl")}
    rejected = {clip["id"]: clip["reason"] for clip in _rows(outputs / "1/rejected.jsonl")}
    for clip in _rows(outputs / "3/korean.jsonl"):
        name, problem = clip["id"], clip.get("problem") or "usable"
        reason = "usable" if name in usable else rejected.get(name, "not named")
        if reason == "no audio":
            reason = "audio missing"
        # Script 3 does not judge texts.
        if reason != "usable" and not reason.startswith("audio "):
            continue
        if reason != problem:
            kind = f"script 1 says {reason}, script 3 {problem}"
            yield Failure("agreement", kind, name)
        elif reason == "usable" and with_durations:
            yield from _other_duration(folder, usable[name], outputs)


def _other_duration(folder: Path, clip: dict[str, Any], outputs: Path) -> Iterator[Failure]:
    from korean_asr.audio import SAMPLE_RATE, read_waveform

    audio = (outputs / "1" / clip["audio_filepath"]).resolve()
    seconds = len(read_waveform(audio)) / SAMPLE_RATE
    if abs(seconds - clip["duration"]) > DURATION_TOLERANCE_S:
        detail = f"{audio.name}: {clip['duration']} s in the manifest, {seconds} s read"
        yield Failure("agreement", "the duration is not that of the samples", detail)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _text(path).split("\n") if line]


# --- What a process left behind ---


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _position(stack: str) -> str:
    """The innermost line of the project in a traceback, or in a dump of faulthandler."""
    found = re.findall(r'File "[^"]*?([^/"]+)", line \d+,? in (\S+)', _of_project(stack))
    if not found:
        return "unknown"
    # faulthandler puts the innermost line first, a traceback last.
    file, function = found[0] if "most recent call first" in stack else found[-1]
    return f"{file}:{function}"


def _of_project(stack: str) -> str:
    return "\n".join(line for line in stack.splitlines() if "/model_tuning/" in line)


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 1e6


def _cpu_seconds(pid: int) -> float:
    try:
        # Behind the name, which may hold spaces: utime and stime are fields 14 and 15.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status_line(name: str) -> str:
    return re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1]
