import io
import sys

import pytest

from korean_asr import progress_line
from korean_asr.decoding import decoded
from korean_asr.manifest import REPOSITORY
from korean_asr.model import load_recogniser
from korean_asr.progress_line import ProgressLine, counted


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set: clock[0] = seconds."""
    now = [0.0]
    monkeypatch.setattr(progress_line.time, "monotonic", lambda: now[0])
    return now


def test_a_log_file_gets_a_whole_line_a_minute(clock, capsys):
    with ProgressLine("training", 1_200, "updates", n_done=200) as progress:
        for second in range(0, 185):
            clock[0] = second
            progress.show(f"loss {second}")
            progress.update()
    assert capsys.readouterr().err == (
        "training: 261 of 1,200 updates, 01:00 gone, 15:23 left, loss 60\n"
        "training: 321 of 1,200 updates, 02:00 gone, 14:31 left, loss 120\n"
        "training: 381 of 1,200 updates, 03:00 gone, 13:34 left, loss 180\n"
    )


def test_work_of_less_than_a_minute_leaves_a_log_file_as_it_was(clock, capsys):
    for _ in counted(range(100), "decoding", 100):
        clock[0] += 0.5
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("total", "n", "line"),
    [
        (None, 5_000, "listing: 5,000 folders, 01:40 gone"),
        (10_000, 5_000, "listing: 5,000 of 10,000 folders, 01:40 gone, 01:40 left"),
        (10_000, 0, "listing: 0 of 10,000 folders, 01:40 gone"),
        # The total was an estimate.
        (3_000, 5_000, "listing: 5,000 folders, 01:40 gone"),
    ],
)
def test_a_line_tells_what_is_known(total, n, line):
    progress = ProgressLine("listing", total, "folders")
    progress.update(n)
    assert progress.line(100.0) == line


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(counted(iter("abc"), "reading", 3, "files")) == ["a", "b", "c"]
    with ProgressLine("training", 4, "updates", delay_s=0) as progress:
        progress.show("loss 2")
        progress.update(4)
    assert "training: 100%" in sys.stderr.getvalue() and "\r" in sys.stderr.getvalue()
    assert "4/4" in sys.stderr.getvalue()


@pytest.mark.parametrize("stderr", [Terminal(), io.StringIO()])
def test_without_a_title_nothing_is_shown(monkeypatch, clock, stderr):
    monkeypatch.setattr(sys, "stderr", stderr)
    with ProgressLine(None, 10) as progress:
        clock[0] = 1_000.0
        progress.update(10)
    assert stderr.getvalue() == ""


def test_decoding_into_a_log_file_writes_no_endless_line(
    tiny_base, utterances, capsys, monkeypatch
):
    monkeypatch.setattr(progress_line, "LINE_EVERY_S", 0.0)
    decoded(load_recogniser(str(tiny_base)), utterances, "validation")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("validation: 12 of 12 clips, 00:0") and "\r" not in "".join(lines)


def test_nothing_else_of_the_project_draws_a_bar():
    package = REPOSITORY / "model_tuning"
    drawing = [path.name for path in package.rglob("*.py") if "tqdm" in path.read_text("utf-8")]
    assert drawing == ["progress_line.py"]
