"""The demo corpora, packed as AI Hub packs its downloads, give what they give unpacked."""

import glob
import gzip
import io
import os
import shutil
import tarfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import pytest

from korean_asr.manifest import REPOSITORY

pytestmark = pytest.mark.pipeline

DEMO = REPOSITORY / "data" / "demo"
BASE = DEMO / "base_model"
BYTE_KEYS = ("audio_offset", "audio_bytes", "audio_index")


@dataclass(frozen=True)
class Packing:
    """How a corpus is packed.

    suffix: of the archives of audio.
    method: of a .zip.
    names: the encoding of names in a .zip. Only UTF-8 is flagged there.
    n_parts: how many parts an archive of audio is cut into.
    in_a_tar: whether one download.tar holds all archives.
    has_offsets: whether clips lie in the archive as they are, to be read where they begin.
    reads_as: another packing whose clips scripts 2 and 3 read in the same way, and are run on.
    """

    suffix: str
    method: int = zipfile.ZIP_STORED
    names: str = "utf-8"
    n_parts: int = 1
    in_a_tar: bool = False
    has_offsets: bool = False
    reads_as: str | None = None


PACKINGS = {
    "tar": Packing(".tar", has_offsets=True),
    "tar.gz": Packing(".tar.gz", has_offsets=True),
    "zip, stored": Packing(".zip", has_offsets=True, reads_as="tar"),
    "zip, deflated": Packing(
        ".zip", zipfile.ZIP_DEFLATED, reads_as="zip, names in CP949 without a flag"
    ),
    "zip, names in CP949 without a flag": Packing(".zip", zipfile.ZIP_DEFLATED, names="cp949"),
    "zip in three parts": Packing(
        ".zip", n_parts=3, has_offsets=True, reads_as="tar of zips in three parts"
    ),
    "tar of zips in three parts": Packing(".zip", n_parts=3, in_a_tar=True, has_offsets=True),
}


@dataclass(frozen=True)
class Archive:
    """An archive of a demo corpus. path: without its suffix, from the corpus on.

    folder: what it holds; names in it start at `top`.
    """

    path: str
    folder: Path
    top: Path

    @property
    def holds_labels(self):
        return "라벨링데이터" in self.path


def archives_of(corpus):
    """The archives that AI Hub makes of a corpus."""
    if corpus == "korean":
        # [원천]3.일상안부_dialog_01 holds dialog_01/001/…
        for folder in sorted((DEMO / corpus).glob("*/*/*/*")):
            part, kind, theme = folder.parts[-4:-1]
            name = f"[{'라벨' if '라벨' in kind else '원천'}]{theme}_{folder.name}"
            yield Archive(f"{part}/{kind}/{name}", folder, folder.parent)
    else:
        # TL_1. 영어 and TS_1. 영어 hold 일상/…
        for folder in sorted((DEMO / corpus).glob("*/*/*")):
            part, kind = folder.parts[-3:-1]
            letter = "T" if part == "1.Training" else "V"
            name = f"{letter}L_{folder.name}" if "라벨" in kind else folder.name
            yield Archive(f"{part}/{kind}/{name}", folder, folder)


class ZipInfoInCp949(zipfile.ZipInfo):
    """A member whose name is written in CP949. zipfile itself writes UTF-8 alone."""

    def _encodeFilenameFlags(self):
        return self.filename.encode("cp949"), self.flag_bits & ~0x800


def archive_bytes(archive, suffix, packing):
    """An archive as AI Hub's tools write it."""
    content = io.BytesIO()
    paths = sorted(path for path in archive.folder.rglob("*") if path.is_file())
    if suffix == ".zip":
        kind = ZipInfoInCp949 if packing.names == "cp949" else zipfile.ZipInfo
        with zipfile.ZipFile(content, "w") as opened:
            for path in paths:
                member = kind(path.relative_to(archive.top).as_posix())
                member.compress_type = packing.method
                opened.writestr(member, path.read_bytes())
    else:
        mode = "w:gz" if suffix == ".tar.gz" else "w"
        with tarfile.open(fileobj=content, mode=mode, format=tarfile.GNU_FORMAT) as opened:
            for path in sorted(archive.folder.iterdir()):
                opened.add(path, path.relative_to(archive.top).as_posix())
    return content.getvalue()


def suffix_of(archive, packing):
    """Labels of 한국인 대화 음성 are .tar.gz; in a download.tar all archives are .zip here."""
    if archive.holds_labels and not packing.in_a_tar:
        return ".tar.gz" if archive.path.rpartition("/")[2].startswith("[라벨]") else ".zip"
    return packing.suffix


def packed_files(corpus, packing):
    """Path -> bytes of the archives of a corpus, or of their parts."""
    files = {}
    for archive in archives_of(corpus):
        suffix = suffix_of(archive, packing)
        content = archive_bytes(archive, suffix, packing)
        path = archive.path + suffix
        if packing.n_parts == 1:
            files[path] = content
            continue
        # A part is named by its first byte.
        n_parts = 1 if archive.holds_labels else packing.n_parts
        starts = [number * len(content) // n_parts for number in range(n_parts)]
        for start, end in pairwise([*starts, len(content)]):
            files[f"{path}.part{start}"] = content[start:end]
    return files


def tar_of(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as opened:
        # Part 10 before part 9, as a tool that sorts by name does.
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            opened.addfile(member, io.BytesIO(files[name]))
    return content.getvalue()


def downloads(root, packing):
    """Write both demo corpora into a folder that nobody may write to; return script 1's options."""
    for corpus in ("korean", "foreign"):
        files = packed_files(corpus, packing)
        if packing.in_a_tar:
            files = {"download.tar": tar_of(files)}
        write(root / corpus, files)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return ["--korean", root / "korean", "--foreign", root / "foreign"]


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def state_of(root):
    """What would change if something were written beside the downloads."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*")}


def expected_address(path, root, packing):
    """The address in `root` of a clip of the demo."""
    path = Path(path)
    corpus = path.relative_to(DEMO).parts[0]
    archive = next(a for a in archives_of(corpus) if path.is_relative_to(a.folder))
    protocol = "zip" if packing.suffix == ".zip" else "tar"
    clip = f"{protocol}://{path.relative_to(archive.top).as_posix()}"
    file = archive.path + packing.suffix
    if packing.in_a_tar:
        return f"{clip}::tar://{file}::{root / corpus / 'download.tar'}"
    return f"{clip}::{root / corpus / file}"


def bytes_of(row):
    """The bytes that a row of a manifest points at."""
    content = unpacked_bytes(Path(row["audio_filepath"].rpartition("::")[2]))
    return content[row["audio_offset"] :][: row["audio_bytes"]]


@lru_cache(maxsize=20)
def unpacked_bytes(archive):
    """An archive, its joined parts, or the .tar in a .tar.gz."""
    parts = [archive]
    if not archive.exists():
        parts = sorted(archive.parent.glob(f"{glob.escape(archive.name)}.part*"), key=first_byte)
    content = b"".join(part.read_bytes() for part in parts)
    return gzip.decompress(content) if archive.suffix == ".gz" else content


def first_byte(part):
    return int(part.name.rpartition(".part")[2])


def without_byte_keys(row):
    return {key: value for key, value in row.items() if key not in BYTE_KEYS}


@pytest.fixture(scope="module")
def trained_and_scored(command, run, one_thread, json_of, rows_of):
    """trained_and_scored(data, folder): what scripts 2 and 3 make of script 1's outputs.

    The weights' bytes, the rows of the splits, the scores, and the texts that were recognised.
    """

    def results(data, folder, n_workers):
        # Few clips: the scripts take most of their time to start.
        options = ["--recipe", "demo", "--clips-before-split", "80", "--epochs", "0.5"]
        options += ["--eval-steps", "2", "--save-steps", "2", "--workers", n_workers]
        options += ["--base-model", BASE, "--data", data]
        model = folder / "model"
        outputs = ["--output", model, "--checkpoints", folder / "checkpoints"]
        run(command(2, *options, *outputs), env=one_thread)
        run(command(3, "--model", model), env=one_thread)
        splits = {path.name: rows_of(path) for path in (model / "split").iterdir()}
        scores = json_of(model / "results" / "korean.json")["scores"]
        texts = [row["pred_text"] for row in rows_of(model / "results" / "korean.jsonl")]
        return (model / "model.safetensors").read_bytes(), splits, scores, texts

    return results


@pytest.fixture(scope="module")
def unpacked(processed, trained_and_scored, tmp_path_factory):
    return trained_and_scored(processed[0], tmp_path_factory.mktemp("unpacked"), 0)


@pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)
def test_a_packed_corpus_gives_the_manifests_the_weights_and_the_scores_of_the_unpacked_one(
    command, run, json_of, rows_of, processed, unpacked, trained_and_scored, tmp_path, packing
):
    root, data = tmp_path / "내려받은 자료", tmp_path / "processed"
    corpora = downloads(root, packing)
    before = state_of(root)

    def as_expected(rows):
        return [
            {**row, "audio_filepath": expected_address(row["audio_filepath"], root, packing)}
            for row in rows
        ]

    run(command(1, *corpora, "--output", data))
    for name in ("korean", "foreign"):
        rows = rows_of(data / f"{name}.jsonl")
        demo = rows_of(processed[0] / f"{name}.jsonl")
        assert [without_byte_keys(row) for row in rows] == as_expected(demo)
        assert any("audio_offset" in row for row in rows) == packing.has_offsets
        assert [bytes_of(row) for row in rows if "audio_offset" in row] == [
            Path(clip["audio_filepath"]).read_bytes()
            for row, clip in zip(rows, demo, strict=True)
            if "audio_offset" in row
        ]
    assert rows_of(data / "rejected.jsonl") == rows_of(processed[0] / "rejected.jsonl")
    counts, of_the_demo = (
        json_of(folder / "preprocessing.json") for folder in (data, processed[0])
    )
    for name, corpus in counts.items():
        # The folder, and the checksum of a manifest with its paths, are the only ones to differ.
        assert {key for key in corpus if corpus[key] != of_the_demo[name][key]} == {
            "folder",
            "sha256",
        }

    if packing.reads_as:
        return
    # A process that reads ahead opens the archives itself.
    weights, splits, scores, texts = trained_and_scored(data, tmp_path, n_workers=1)
    expected = unpacked[1]
    assert splits.keys() == expected.keys()
    for name, rows in splits.items():
        assert [without_byte_keys(row) for row in rows] == as_expected(expected[name])
    assert weights == unpacked[0]
    assert (scores, texts) == unpacked[2:]
    assert state_of(root) == before


def path_of_dialog_01(files):
    """The archive of audio that holds half of the training clips."""
    return next(path for path in files if "[원천]" in path and "dialog_01" in path)


def whole_members(content, n_bytes, suffix):
    """The stems of the clips that lie whole in the first bytes of an archive."""
    if suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            members = opened.infolist()
        ends = [member.header_offset for member in members[1:]] + [len(content)]
        return {
            Path(member.filename).stem
            for member, end in zip(members, ends, strict=True)
            if end <= n_bytes
        }
    if suffix == ".tar.gz":
        n_bytes = len(zlib.decompressobj(wbits=31).decompress(content[:n_bytes]))
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return {
            Path(member.name).stem
            for member in opened
            if member.isreg() and member.offset_data + member.size <= n_bytes
        }


@pytest.mark.parametrize(
    "packing",
    [
        Packing(".tar"),
        Packing(".zip"),
        Packing(".tar.gz"),
        Packing(".zip", zipfile.ZIP_DEFLATED),
    ],
    ids=["tar", "zip, stored", "tar.gz", "zip, deflated"],
)
def test_of_an_archive_that_is_still_being_downloaded_whole_members_are_used_and_the_rest_counted(
    command, run, rows_of, processed, tmp_path, packing
):
    files = packed_files("korean", packing)
    path = path_of_dialog_01(files)
    content = files[path]
    n_bytes = len(content) * 6 // 10
    write(tmp_path / "korean", files | {path: content[:n_bytes]})
    printed = run(command(1, "--korean", tmp_path / "korean", "--output", tmp_path / "processed"))
    demo = {row["id"]: row for row in rows_of(processed[0] / "korean.jsonl")}
    inside = {name for name, row in demo.items() if "/dialog_01/" in row["audio_filepath"]}
    whole = whole_members(content, n_bytes, packing.suffix) & inside
    assert 0 < len(whole) < len(inside)
    kept = {row["id"] for row in rows_of(tmp_path / "processed" / "korean.jsonl")}
    assert kept == demo.keys() - inside | whole
    # Every clip is in one of the two files; the archive itself may be in the second one too.
    rejected = {row["id"] for row in rows_of(tmp_path / "processed" / "rejected.jsonl")}
    assert rejected >= demo.keys() - kept and not rejected & kept
    assert f"{Path(path).name} ends too early" in printed


@pytest.fixture(scope="module", params=[".tar", ".tar.gz", ".zip"])
def packed(request, command, run, tmp_path_factory):
    """The folder of a packed corpus and of script 1's outputs, and the path of an archive there."""
    folder = tmp_path_factory.mktemp("packed")
    files = packed_files("korean", Packing(request.param, zipfile.ZIP_DEFLATED))
    write(folder / "korean", files)
    run(command(1, "--korean", folder / "korean", "--output", folder / "processed"))
    return folder, folder / "korean" / path_of_dialog_01(files)


@pytest.mark.parametrize("fault", ["moved", "changed"])
@pytest.mark.parametrize("number", [2, 3])
def test_an_archive_that_is_not_the_one_of_script_1_is_told_in_one_line(
    command, run, packed, fault, number
):
    folder, archive = packed
    content, status = archive.read_bytes(), archive.stat()
    archive.unlink()
    if fault == "changed":
        # Another archive of the same name, as after a new version of the corpus.
        other = archive.with_name(archive.name.replace("dialog_01", "dialog_02"))
        archive.write_bytes(other.read_bytes())
    data = folder / "processed"
    options = {
        2: ["--data", data, "--base-model", BASE, "--recipe", "demo", "--output", folder / "m"],
        3: ["--manifest", data / "korean.jsonl", "--model", BASE, "--output", folder / "r"],
    }
    try:
        printed = run(command(number, *options[number]), status=1)
    finally:
        archive.write_bytes(content)
        # The index of a .tar.gz knows it by size and time.
        os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "Traceback" not in printed
    assert sum(archive.name in line for line in printed.splitlines()) == 1
    assert not (folder / "m").exists() and not (folder / "r").exists()


def content_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("moment", ["0.5 s", "first file"])
def test_script_1_killed_while_it_indexes_archives_gives_the_same_bytes_afterwards(
    command, run, killed_when, packed, moment
):
    folder, _ = packed
    output = folder / "processed"
    whole = content_of(output)
    shutil.rmtree(output)
    script_1 = command(1, "--korean", folder / "korean", "--output", output)
    end = time.monotonic() + 0.5

    def is_there():
        if moment == "0.5 s":
            return time.monotonic() > end
        return any(path.is_file() for path in output.rglob("*"))

    killed_when(script_1, is_there)
    run(script_1)
    assert content_of(output) == whole
