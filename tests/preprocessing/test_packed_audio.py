"""Audio in archives: the clips of the folder that was packed, read where they lie."""

import gzip
import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from korean_asr.errors import DataError
from korean_asr.preprocessing.archive_scan import UNSAFE
from korean_asr.preprocessing.cleaning import Settings, preprocessed
from korean_asr.preprocessing.corpus_names import named_corpora

LABELS = "1.Training/1.라벨링데이터/3.일상안부/dialog_01/dialog_01_scripts.txt"
AUDIO = "1.Training/2.원천데이터"
ARCHIVE = f"{AUDIO}/[원천]3.일상안부_dialog_01"
# Two clips of one stem: their folders alone tell them apart.
NAMES = [f"일상/dialog_01/001/dialog_{n:08}.wav" for n in range(6)] + [
    "일상/dialog_01/002/dialog_00000001.wav"
]


def sound(number):
    content = io.BytesIO()
    samples = np.random.default_rng(number).normal(0, 0.05, 8_000 + number)
    soundfile.write(content, samples, 16_000, format="WAV", subtype="PCM_16")
    return content.getvalue()


FILES = {name: sound(n) for n, name in enumerate(NAMES)}
SCRIPT = "".join(
    f"/{AUDIO}/{name} :: 문장 {'가나다라마바사'[n]}.\n" for n, name in enumerate(NAMES)
)


def tar_of(files, encoding="utf-8", tar_format=tarfile.GNU_FORMAT):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tar_format, encoding=encoding) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def zip_of(files, method=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def cp949_zip_of(files, method=zipfile.ZIP_STORED):
    """Names in raw CP949 without the flag of UTF-8."""
    names = {f"{n}".rjust(len(name.encode("cp949")), "_"): name for n, name in enumerate(files)}
    packed = zip_of({ascii_name: files[name] for ascii_name, name in names.items()}, method)
    for ascii_name, name in names.items():
        packed = packed.replace(ascii_name.encode(), name.encode("cp949"))
    return packed


def parts_of(name, content, n_parts=3):
    step = len(content) // n_parts + 1
    return {
        f"{name}.part{start}": content[start : start + step]
        for start in range(0, len(content), step)
    }


DEFLATED = zipfile.ZIP_DEFLATED
PACKED = {
    "tar": lambda: {f"{ARCHIVE}.tar": tar_of(FILES)},
    "tar in cp949": lambda: {f"{ARCHIVE}.tar": tar_of(FILES, "cp949")},
    "tar with pax headers": lambda: {
        f"{ARCHIVE}.tar": tar_of(FILES, tar_format=tarfile.PAX_FORMAT)
    },
    "tar of .": lambda: {f"{ARCHIVE}.tar": tar_of({f"./{n}": d for n, d in FILES.items()})},
    "zip stored": lambda: {f"{ARCHIVE}.zip": zip_of(FILES)},
    "zip deflated": lambda: {f"{ARCHIVE}.zip": zip_of(FILES, DEFLATED)},
    "zip in cp949": lambda: {f"{ARCHIVE}.zip": cp949_zip_of(FILES)},
    "parts of a zip": lambda: parts_of(f"{ARCHIVE}.zip", zip_of(FILES)),
    "parts of a deflated zip": lambda: parts_of(f"{ARCHIVE}.zip", zip_of(FILES, DEFLATED)),
    "parts of a tar": lambda: parts_of(f"{ARCHIVE}.tar", tar_of(FILES)),
    "a tar of parts": lambda: {
        "download.tar": tar_of(parts_of(f"{ARCHIVE}.zip", cp949_zip_of(FILES, DEFLATED)))
    },
    "a tar of a tar": lambda: {"download.tar": tar_of({f"{ARCHIVE}.tar": tar_of(FILES)})},
    "tar.gz": lambda: {f"{ARCHIVE}.tar.gz": gzip.compress(tar_of(FILES))},
    "parts of a tar.gz": lambda: parts_of(f"{ARCHIVE}.tar.gz", gzip.compress(tar_of(FILES))),
}


def cleaned(root):
    """The rows of the manifest and the rejected rows, without what says where a clip lies."""
    output = root.parent / f"{root.name}_processed"
    output.mkdir(exist_ok=True)
    corpus = preprocessed({"korean": root}, Settings(), 2, "korean", output)
    rows = [json.loads(row) for row in corpus.rows]
    places = ("audio_filepath", "audio_offset", "audio_bytes", "audio_index")
    return [{k: v for k, v in row.items() if k not in places} for row in rows], rows, corpus


@pytest.fixture(scope="module")
def as_folder(tmp_path_factory, written):
    root = tmp_path_factory.mktemp("folder") / "corpus"
    written(root, {LABELS: SCRIPT, **{f"{AUDIO}/{name}": data for name, data in FILES.items()}})
    return cleaned(root)[0]


@pytest.mark.parametrize("kind", PACKED)
def test_packed_audio_gives_the_manifest_of_the_folder_that_was_packed(
    tmp_path, kind, as_folder, written
):
    if "gz" in kind:
        pytest.importorskip("rapidgzip")
    root = written(tmp_path / "corpus", {LABELS: SCRIPT, **PACKED[kind]()})
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    rows, with_places, corpus = cleaned(root)
    assert rows == as_folder
    assert len(rows) == 7
    assert corpus.notes == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert all("::" in row["audio_filepath"] for row in with_places)


def files_in_one(packed):
    """The files of PACKED[kind](), with the labels beside the audio in the archive."""
    content = {LABELS: f"{SCRIPT}/{AUDIO}/gone.wav :: 네.\n".encode()}
    content |= {f"{AUDIO}/{name}": data for name, data in FILES.items()}
    return packed(content)


IN_ONE = {
    "tar": lambda: {"묶음.tar": files_in_one(tar_of)},
    "zip": lambda: {"묶음.zip": files_in_one(zip_of)},
    "deflated zip": lambda: {"묶음.ZIP": files_in_one(lambda files: zip_of(files, DEFLATED))},
    "parts of a zip": lambda: parts_of("묶음.zip", files_in_one(zip_of)),
    "parts of a tar": lambda: parts_of("묶음.tar", files_in_one(tar_of)),
    "a tar of parts": lambda: {"묶음.tar": tar_of(parts_of("a/b.zip", files_in_one(zip_of)))},
    "a tar of archives": lambda: {
        "묶음.tar": tar_of(
            {"labels.zip": zip_of({LABELS: SCRIPT.encode()}), "a.tar": tar_of(FILES)}
        )
    },
    "a text beside each clip": lambda: {
        "묶음.zip": zip_of({**FILES, **{f"{n[:-4]}.txt": f"글 {n[-5]}".encode() for n in NAMES}})
    },
    "tar.gz": lambda: {"묶음.tar.gz": gzip.compress(files_in_one(tar_of))},
    "tgz": lambda: {"묶음.tgz": gzip.compress(files_in_one(tar_of))},
    "parts of a tar.gz": lambda: parts_of("묶음.tar.gz", gzip.compress(files_in_one(tar_of))),
    "a tar that is cut off": lambda: {"묶음.tar": files_in_one(tar_of)[:-30_000]},
}


@pytest.mark.parametrize("kind", IN_ONE)
def test_an_archive_that_is_named_by_itself_is_read_as_the_folder_that_holds_it_alone(
    tmp_path, kind, written
):
    if "gz" in kind:
        pytest.importorskip("rapidgzip")
    root = written(tmp_path / "묶음", IN_ONE[kind]())
    archives = sorted(root.iterdir())

    def outcome(path):
        (name,) = corpora = named_corpora([path])
        assert name == "묶음"
        group = preprocessed(corpora, Settings(), 2, "korean", tmp_path / "processed")
        (corpus,) = group.corpora
        others = corpus.n_label_files, corpus.labels_sha256, corpus.notes
        return [*group.rows], [*group.rejected], others, group.tally

    in_folder = outcome(root)
    # Other files beside it belong to no corpus that was named.
    written(root, {"x_scripts.txt": "a.wav :: 밥", "a.wav": sound(9), "b.txt": "국"})
    written(root, {"다른.zip": zip_of({"c.wav": sound(8), "y_scripts.txt": "c.wav :: 물"})})
    written(root, {"묶음.tar.part": b"", "다른.zip.part0": b"", "묶음.zip.part0.txt": "b"})
    assert len(in_folder[0]) == (5 if "cut" in kind else 7)
    for archive in archives:
        assert outcome(archive) == in_folder


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("TL.zip", {LABELS: SCRIPT.encode()}, "TL.zip has no usable clip: no audio 7. No audio was "
         "found in it: pass the folder that holds the archive of its audio too"),
        ("TS.zip", FILES, "TS.zip holds no labels: no .*Pass the folder that holds 1.Training"),
        ("x.tar", {"metadata.csv": b"file_name,text"}, "x.tar was left out: it holds neither"),
        ("x.zip", {}, "x.zip holds no labels"),
    ],
)  # fmt: skip
def test_an_archive_that_is_no_corpus_by_itself_is_told_by_name(
    tmp_path, name, files, message, written
):
    packed = zip_of(files) if name.endswith("zip") else tar_of(files)
    written(tmp_path, {name: packed, "TS_a.wav": sound(0), "x_scripts.txt": "TS_a.wav :: 밥"})
    with pytest.raises(DataError, match=message) as error:
        preprocessed({"x": tmp_path / name}, Settings(), 1, "korean", tmp_path / "processed")
    assert "\n" not in str(error.value)


def test_a_manifest_in_an_archive_that_is_named_names_no_audio_outside(tmp_path, written):
    row = {"audio_filepath": str(tmp_path / "secret.wav"), "text": "밥"}
    rows = [json.dumps(r).encode() for r in (row, row | {"audio_filepath": "../secret.wav"})]
    archive = zip_of({"m.jsonl": b"\n".join(rows), "a.wav": sound(1), "b/x_scripts.txt": b"a :: n"})
    written(tmp_path, {"secret.wav": sound(0), "x/x.zip": archive})
    output = tmp_path / "processed"
    group = preprocessed({"x": tmp_path / "x/x.zip"}, Settings(), 1, "korean", output)
    assert group.tally.reasons == {"no audio": 1, "unsafe path": 1}


def test_the_bytes_of_a_clip_lie_where_the_manifest_says(tmp_path, written):
    root = written(tmp_path / "corpus", {LABELS: SCRIPT, **PACKED["tar"]()})
    for row in cleaned(root)[1]:
        content = (root / f"{ARCHIVE}.tar").read_bytes()
        start = row["audio_offset"]
        name = row["audio_filepath"].partition("::")[0].removeprefix("tar://")
        assert content[start : start + row["audio_bytes"]] == FILES[name]


def test_audio_that_is_unpacked_as_well_is_read_once_and_it_is_said(tmp_path, as_folder, written):
    unpacked = {f"{AUDIO}/{name}": FILES[name] for name in NAMES[:3]}
    root = written(tmp_path / "corpus", {LABELS: SCRIPT, **PACKED["tar"](), **unpacked})
    rows, with_places, corpus = cleaned(root)
    assert rows == as_folder
    assert sum("::" in row["audio_filepath"] for row in with_places) == 4
    what = "3 clips are there unpacked as well, and are read once."
    assert corpus.notes == [f"{root}/{ARCHIVE}.tar: {what}"]


@pytest.mark.parametrize(
    "inside, unpacked",
    [
        ("", "[원천]3.일상안부_dialog_01"),
        ("일상/", "[원천]3.일상안부_dialog_01/일상"),
        ("./일상/", "[원천]3.일상안부_dialog_01/일상"),
        ("./", "[원천]3.일상안부_dialog_01"),
    ],
)
def test_audio_unpacked_into_a_folder_of_the_archives_name_is_read_once(
    tmp_path, written, inside, unpacked
):
    clips = {f"dialog_{n:08}.wav": FILES[NAMES[n]] for n in range(6)}
    files = {f"{AUDIO}/{unpacked}/{name}": content for name, content in clips.items()}
    packed = tar_of({inside + name: content for name, content in clips.items()})
    labels = "".join(SCRIPT.splitlines(keepends=True)[:6])
    root = written(tmp_path / "corpus", {LABELS: labels, f"{ARCHIVE}.tar": packed, **files})
    rows, _, corpus = cleaned(root)
    assert len(rows) == 6
    assert not corpus.tally.reasons
    what = "6 clips are there unpacked as well, and are read once."
    assert corpus.notes == [f"{root}/{ARCHIVE}.tar: {what}"]


@pytest.mark.parametrize("kind", ["tar", "zip stored", "parts of a zip", "parts of a tar"])
def test_whole_clips_of_an_archive_that_is_still_downloaded_are_used(tmp_path, kind, written):
    files = PACKED[kind]()
    if len(files) == 1:
        files = {name: content[: len(content) * 6 // 10] for name, content in files.items()}
    else:
        files.pop(max(files, key=lambda name: int(name.rpartition("part")[2])))
    root = written(tmp_path / "corpus", {LABELS: SCRIPT, **files})
    rows, _, corpus = cleaned(root)
    assert 3 <= len(rows) < 7
    # The second clip of a stem is not there: its label meets the first one.
    assert set(corpus.tally.reasons) == {"no audio", "duplicate id"}
    note = next(note for note in corpus.notes if "too early" in note)
    assert f"ends too early: {len(rows)} whole files in it are used, 1 are not whole" in note


def test_a_damaged_member_does_not_lose_the_archive(tmp_path, written):
    content = bytearray(tar_of(FILES))
    place = content.index(NAMES[2].encode())
    content[place : place + 20] = b"damaged" + bytes(13)
    root = written(tmp_path / "corpus", {LABELS: SCRIPT, f"{ARCHIVE}.tar": bytes(content)})
    rows, _, corpus = cleaned(root)
    assert len(rows) == 6
    assert "is damaged: 6 whole files in it are used" in corpus.notes[0]


def test_hostile_members_are_rejected_by_name_and_the_rest_is_used(tmp_path, written):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind in (
            ("../a.wav", tarfile.REGTYPE),
            ("/b.wav", tarfile.REGTYPE),
            ("c.wav", tarfile.SYMTYPE),
            ("d.wav", tarfile.LNKTYPE),
            ("e.wav", tarfile.CHRTYPE),
            ("good.wav", tarfile.REGTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(sound(1)) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(sound(1)))
    files = {"x_scripts.txt": "good.wav :: 밥", "x.tar": content.getvalue()}
    root = written(tmp_path / "corpus", files)
    _, rows, corpus = cleaned(root)
    assert [row["id"] for row in rows] == ["good"]
    rejected = [json.loads(row) for row in corpus.rejected]
    assert {(row["id"], row["reason"]) for row in rejected} == {
        (f"{root}/x.tar: {name}", UNSAFE)
        for name in ("../a.wav", "/b.wav", "c.wav", "d.wav", "e.wav")
    }


def test_encrypted_audio_in_a_zip_is_rejected_by_name(tmp_path, written):
    content = bytearray(zip_of({"a.wav": sound(1), "b.wav": sound(2)}))
    place = content.index(b"PK\1\2")
    content[place + 8] |= 1
    files = {"x_scripts.txt": "a.wav :: 밥\nb.wav :: 국", "x.zip": bytes(content)}
    root = written(tmp_path / "corpus", files)
    _, rows, corpus = cleaned(root)
    assert [row["id"] for row in rows] == ["b"]
    assert (f"{root}/x.zip: a.wav", "audio unreadable") in [
        (row["id"], row["reason"]) for row in map(json.loads, corpus.rejected)
    ]


def test_archives_in_a_folder_that_cannot_be_written_are_read(tmp_path, as_folder, written):
    root = written(tmp_path / "corpus", {LABELS: SCRIPT, **PACKED["parts of a zip"]()})
    folder = root / AUDIO
    folder.chmod(0o555)
    try:
        assert cleaned(root)[0] == as_folder
    finally:
        folder.chmod(0o755)


@pytest.mark.pipeline
@pytest.mark.parametrize("seconds", [0.6, 1.2])
def test_script_1_that_is_killed_while_it_indexes_gives_the_same_bytes_afterwards(
    tmp_path, seconds, written
):
    pytest.importorskip("rapidgzip")
    files = {**PACKED["tar.gz"](), f"{AUDIO}/other.tar": tar_of({"other_1.wav": sound(9)})}
    root = written(tmp_path / "corpus", {LABELS: SCRIPT, **files})
    script = Path(__file__).resolve().parents[2] / "model_tuning/1. script_preprocessing.py"
    command = [sys.executable, str(script), "--korean", str(root), "--jobs", "1", "--output"]
    names = ("korean.jsonl", "rejected.jsonl")
    killed = tmp_path / "processed"
    with subprocess.Popen([*command, str(killed)], stderr=subprocess.PIPE) as process:
        time.sleep(seconds)
        process.kill()
    contents = []
    for _ in range(2):
        subprocess.run([*command, str(killed)], check=True, capture_output=True, timeout=60)
        contents.append([(killed / name).read_bytes() for name in names])
        shutil.rmtree(killed)
    assert contents[0] == contents[1]


@pytest.mark.parametrize("kind", ["tar", "zip deflated", "tar.gz"])
def test_a_manifest_of_packed_clips_gives_its_clips_again(tmp_path, kind, written):
    if "gz" in kind:
        pytest.importorskip("rapidgzip")
    root = written(tmp_path / "corpus", {LABELS: SCRIPT, **PACKED[kind]()})
    _, rows, _ = cleaned(root)
    manifest = tmp_path / "processed" / "mine.jsonl"
    manifest.parent.mkdir()
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    group = preprocessed({"mine": manifest}, Settings(), 1, "korean", manifest.parent)
    assert [json.loads(row) for row in group.rows] == rows


def entry(name, data, kind=tarfile.REGTYPE, pax=None, change=None):
    """A member of a .tar. change: of its header, (start, bytes)."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.pax_headers = len(data), kind, pax or {}
    header = bytearray(info.tobuf(tarfile.PAX_FORMAT if pax else tarfile.USTAR_FORMAT))
    if change:
        start, what = change
        header[start : start + len(what)] = what
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512)


def zip_with(extra, method=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in (("a.wav", sound(1)), ("b.wav", sound(2))):
            info = zipfile.ZipInfo(name)
            info.extra = extra if name == "a.wav" else b""
            archive.writestr(info, data)
    return content.getvalue()


def lying_zip(start, what):
    """A .zip whose first file is another one by its own header than by the directory."""
    content = bytearray(zip_with(b""))
    content[start : start + len(what)] = what
    return bytes(content)


END = bytes(1024)
B = entry("b.wav", sound(2))
ODD = {
    "a folder in two spellings": ("x.tar", entry("./a.wav", sound(1)) + B + END, ["a", "b"]),
    "a contiguous file": ("x.tar", entry("a.wav", sound(1), b"7") + B + END, ["a", "b"]),
    "bytes behind the end of a name": (
        "x.tar",
        entry("a.wav", sound(1), change=(8, b"rest")) + B + END,
        ["a", "b"],
    ),
    "another name in a pax header": (
        "x.tar",
        entry("c.wav", sound(1), pax={"path": "a.wav"}) + B + END,
        ["b"],
    ),
    "a long name that is short": (
        "x.tar",
        entry("@", b"a.wav\0", b"L") + entry("c.wav", sound(1)) + B + END,
        ["b"],
    ),
    "a long extra field": (
        "x.zip",
        zip_with(b"\xef\xbe" + (4_000).to_bytes(2, "little") + bytes(4_000)),
        ["a", "b"],
    ),
    "another compression in the header": ("x.zip", lying_zip(8, b"\x08"), ["b"]),
    "another size in the header": ("x.zip", lying_zip(22, b"\x08"), ["b"]),
    "two sizes of a stored file, and no directory": (
        "x.zip",
        lying_zip(24, b"\x08")[: zip_with(b"").index(b"PK\1\2")],
        ["b"],
    ),
    "encrypted by the header": ("x.zip", lying_zip(6, b"\x01"), ["b"]),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_member_costs_at_most_itself(tmp_path, kind, written):
    name, content, ids = ODD[kind]
    files = {"x_scripts.txt": "a.wav :: 밥\nb.wav :: 국", name: content}
    _, rows, corpus = cleaned(written(tmp_path / "corpus", files))
    assert [row["id"] for row in rows] == ids
    reasons = [json.loads(row)["reason"] for row in corpus.rejected]
    assert ("audio unreadable" in reasons) == (len(ids) == 1)


def test_clips_of_one_name_in_two_archives_are_copies_only_where_they_have_one_size(
    tmp_path, written
):
    files = {
        "x_scripts.txt": "a.wav :: 밥",
        "x.tar": tar_of({"1/a.wav": sound(1)}),
        "y.tar": tar_of({"1/a.wav": sound(1)}),
        "z.tar": tar_of({"1/a.wav": sound(2)}),
    }
    root = written(tmp_path / "corpus", files)
    _, rows, corpus = cleaned(root)
    assert [row["audio_bytes"] for row in rows] == [len(sound(1))]
    assert [json.loads(row)["reason"] for row in corpus.rejected] == ["no label"]
    assert corpus.notes == [f"{root}/y.tar: 1 clips are there unpacked as well, and are read once."]


def test_a_flat_archive_with_dots_in_its_name_is_known_unpacked(tmp_path, written):
    files = {"x_scripts.txt": "a.wav :: 밥", "1.방송.zip": zip_of({"a.wav": sound(1)})}
    _, rows, corpus = cleaned(written(tmp_path / "c", files | {"1.방송/a.wav": sound(1)}))
    assert len(rows) == 1
    assert list(corpus.rejected) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, DEFLATED])
def test_an_archive_that_is_stored_in_a_zip_is_read(tmp_path, method, written):
    files = {"x_scripts.txt": "a.wav :: 밥\nb.wav :: 국"}
    files["x.zip"] = zip_of({"y.zip": zip_with(b"", method)})
    assert len(cleaned(written(tmp_path / "corpus", files))[1]) == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, DEFLATED])
def test_of_parts_those_before_a_missing_one_are_used(tmp_path, method, written):
    parts = sorted(parts_of(f"{ARCHIVE}.zip", zip_of(FILES, method), 4).items())
    names = (f"{ARCHIVE}.zip.part{n}" for n in (0, 1, 3))
    contents = (content for n, (_, content) in enumerate(parts) if n != 2)
    root = written(tmp_path / "corpus", {LABELS: SCRIPT, **dict(zip(names, contents, strict=True))})
    rows, _, corpus = cleaned(root)
    assert 2 <= len(rows) <= 3
    assert set(corpus.tally.reasons) == {"no audio", "duplicate id"}


def test_a_path_that_an_address_cannot_hold_is_named(tmp_path, written):
    root = written(tmp_path / "a::b", {LABELS: SCRIPT, **PACKED["tar"]()})
    with pytest.raises(DataError, match="its path holds '::'"):
        cleaned(root)
