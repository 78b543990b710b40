"""Archives as one file each: parts on disk or inside a .tar, read as if they were joined."""

import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korean_asr.archive_file import (
    Extent,
    JoinedFile,
    Step,
    inner_file,
    is_address,
    joined_file,
    leading_parts,
    steps_of,
)

CONTENT = bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("address", "steps", "path"),
    [
        ("/data/a.wav", [], "/data/a.wav"),
        ("tar://a/b.wav::/data/x.tar", [Step("tar", "a/b.wav")], "/data/x.tar"),
        ("zip://가::나.wav::/data/x.zip", [Step("zip", "가::나.wav")], "/data/x.zip"),
        (
            "zip://a.wav::tar://d/x.zip::/data/d.tar",
            [Step("tar", "d/x.zip"), Step("zip", "a.wav")],
            "/data/d.tar",
        ),
    ],
)
def test_an_address_has_its_steps_from_the_disk_inwards(address, steps, path):
    assert steps_of(address) == (steps, path)
    assert is_address(address) == bool(steps)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    # 9 comes before 10 by number, and behind it by name.
    for start, end in ((0, 9), (9, 10), (10, 500), (500, len(CONTENT))):
        (folder / f"x.zip.part{start}").write_bytes(CONTENT[start:end])
    (folder / "other.zip.part0").write_bytes(b"no")
    return str(folder / "x.zip")


@given(n=st.integers(0, 1100), start=st.integers(0, 1100))
def test_parts_are_read_as_the_joined_file(parts, n, start):
    with joined_file(parts) as file:
        assert file.n_bytes == len(CONTENT)
        assert file.read_at(n, start) == CONTENT[start : start + n]
        file.seek(start)
        assert file.read(n) == CONTENT[start : start + n]
        extents = file.within(start, n)
    assert sum(extent.n_bytes for extent in extents) == len(CONTENT[start : start + n])
    with JoinedFile(extents) as cut_out:
        assert cut_out.read() == CONTENT[start : start + n]


def test_a_file_on_disk_is_read_itself_beside_its_parts(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"whole")
    (tmp_path / "x.zip.part0").write_bytes(b"part")
    with joined_file(str(tmp_path / "x.zip")) as file:
        assert file.read() == b"whole"


def test_a_missing_archive_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        joined_file(str(tmp_path / "x.zip"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        JoinedFile([Extent(str(tmp_path / "pipe"), 0, 1)])


def test_parts_inside_a_tar_are_read_as_the_joined_file(tmp_path):
    with tarfile.open(tmp_path / "d.tar", "w") as packed:
        for start, end in ((500, len(CONTENT)), (0, 500)):
            member = tarfile.TarInfo(f"가/x.zip.part{start}")
            member.size = end - start
            packed.addfile(member, io.BytesIO(CONTENT[start:end]))
    with joined_file(str(tmp_path / "d.tar")) as outer, inner_file(outer, "가/x.zip") as inner:
        assert inner.read() == CONTENT
        with pytest.raises(FileNotFoundError):
            inner_file(outer, "가/y.zip")


@pytest.mark.parametrize(
    ("numbers", "n_used"),
    [
        ([0, 10, 20], 3),
        ([0, 1, 2], 3),
        ([1, 2, 3], 3),
        ([0, 20], 1),
        ([0, 2], 1),
        ([0, 1, 3], 2),
        ([1, 3], 1),
        ([10, 20], 0),
        ([], 0),
    ],
)
def test_parts_are_joined_up_to_the_first_that_is_missing(numbers, n_used):
    parts = {number: (number, 10) for number in numbers}
    assert [start for start, _ in leading_parts(parts)] == numbers[:n_used]
