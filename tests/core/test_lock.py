"""Two runs never write the same files; a run that was killed locks nothing."""

import os
import signal

import pytest

from korean_asr.errors import DataError
from korean_asr.lock import lock

# Each holder is a process of its own.
pytestmark = pytest.mark.slow


def test_a_second_run_is_told_who_is_at_work_and_since_when(holder, tmp_path):
    first = holder(tmp_path / "out")
    with pytest.raises(DataError) as refused:
        lock(tmp_path / "out")
    said = rf"writing into {tmp_path}/out (process {first.pid} on "
    assert said in str(refused.value) and ", since 20" in str(refused.value)
    # By another name, it is the same folder.
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(DataError):
        lock(tmp_path / "link")
    lock(tmp_path / "other")


def test_parts_of_a_folder_are_locked_apart(holder, tmp_path):
    holder(tmp_path / "results", "korean")
    with pytest.raises(DataError):
        lock(tmp_path / "results", "korean")
    lock(tmp_path / "results", "foreign")


def test_a_killed_run_locks_nothing_even_while_its_child_lives(holder, tmp_path):
    first = holder(tmp_path / "out")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    lock(tmp_path / "out")


def test_a_lock_survives_the_renaming_of_its_folder(holder, tmp_path):
    (tmp_path / "out").mkdir()
    holder(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "out.old")
    with pytest.raises(DataError):
        lock(tmp_path / "out")


def test_a_run_that_ends_leaves_nothing_of_its_lock(holder, tmp_path):
    first = holder(tmp_path / "new" / "folder" / "out")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [".out.lock"]
    first.stdin.close()
    assert first.wait() == 0
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_locked_is_written_without_a_lock(tmp_path, monkeypatch):
    # Of the folder's name, and longer than a name can be.
    lock(tmp_path / ("n" * 255))

    def no_locks(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", no_locks)
    lock(tmp_path / "on_a_network_disk")


def test_a_folder_that_cannot_be_written_into_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError) as failure:
            lock(folder)
        assert failure.value.filename == str(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_below_one_of_another_user_is_locked_inside(holder, tmp_path):
    (tmp_path / "out").mkdir()
    # No file can be made under the name beside the folder; rights do not bind every user.
    (tmp_path / ".out.lock").mkdir()
    first = holder(tmp_path / "out")
    with pytest.raises(DataError, match="another run is writing into"):
        lock(tmp_path / "out")
    first.stdin.close()
    assert first.wait() == 0
    assert list((tmp_path / "out").iterdir()) == []
