"""The fuzz test on a few cases, and whether it sees each promise broken."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest

from korean_asr.manifest import REPOSITORY

FUZZ = REPOSITORY / "tests" / "fuzz"
# A script 1 that does to a corpus what the name of its folder says.
FAULTY_SCRIPT = """
import ctypes, pathlib, sys, time
from korean_asr.errors import DataError

def main():
    fault, output = pathlib.Path(sys.argv[2]).name, pathlib.Path(sys.argv[-1])
    if fault == "hang":
        time.sleep(60)
    elif fault == "memory":
        bytearray(150_000_000)
    elif fault == "memory without end":
        kept = []
        while True:
            kept.append(bytearray(10_000_000))
            time.sleep(0.01)
    elif fault == "traceback":
        raise KeyError("text")
    elif fault == "crash":
        ctypes.string_at(0)
    elif fault == "two lines":
        print("ERROR · 오류: one", file=sys.stderr)
        raise DataError("two")
    elif fault == "one line":
        raise DataError("one")
    elif fault == "infinity":
        output.mkdir()
        (output / "korean.jsonl").write_text('{"duration": Infinity}')
"""
RUN_EACH = """
import json, pathlib, sys
from promises import Limits, Runner
work = pathlib.Path(sys.argv[1])
runner = Runner(work, work, Limits(seconds=2.0, megabytes=100))
for folder in sorted((work / "corpora").iterdir()):
    outputs = work / "outputs" / folder.name
    outputs.mkdir(parents=True)
    found = runner.failures("labels", folder, outputs)
    print(json.dumps([folder.name, [[failure.promise, failure.kind] for failure in found]]))
"""
BROKEN = {
    "hang": [["hang", "script 1: hang in 1. script_preprocessing.py:main"]],
    "memory": [["memory", "memory"]],
    "memory without end": [["memory", "script 1: memory in 1. script_preprocessing.py:main"]],
    "traceback": [["traceback", "script 1: KeyError in 1. script_preprocessing.py:main"]],
    "crash": [["crash", "script 1: crash in 1. script_preprocessing.py:main"]],
    "two lines": [["one line", "script 1: 2 lines for status 1"]],
    "infinity": [["strict JSON", "script 1: Infinity in korean.jsonl"]],
    "one line": [],
    "nothing": [],
}


@pytest.fixture
def made_case(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FUZZ), *sys.path])
    from inputs import KINDS, made_case

    return KINDS, made_case


@pytest.mark.slow
def test_each_broken_promise_is_seen_and_named(tmp_path):
    (tmp_path / "model_tuning").mkdir()
    (tmp_path / "model_tuning" / "1. script_preprocessing.py").write_text(FAULTY_SCRIPT)
    for fault in BROKEN:
        (tmp_path / "corpora" / fault).mkdir(parents=True)
    path = f"{FUZZ}:{REPOSITORY / 'model_tuning'}"
    result = subprocess.run(
        [sys.executable, "-c", RUN_EACH, str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": path, "PYTHONUTF8": "1"},
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert dict(map(json.loads, result.stdout.splitlines())) == BROKEN


def test_a_seed_makes_the_same_cases_again(made_case):
    kinds, made = made_case
    speech = np.sin(np.arange(9_600, dtype=np.float32))
    for kind in kinds:
        first, again, other = (made(kind, random.Random(seed), speech) for seed in (1, 1, 2))
        assert first == again != other


@pytest.mark.slow
def test_no_damaged_input_breaks_a_promise(tmp_path):
    result = subprocess.run(
        [sys.executable, str(FUZZ / "fuzz.py"), "--cases", "15", "--found", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
