"""Label archives: read like the folders they were packed from, refused by name where hostile."""

import bz2
import gzip
import io
import json
import os
import random
import shlex
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from korean_asr.errors import DataError
from korean_asr.preprocessing.archives import TOO_LARGE, UNREADABLE, UNSAFE
from korean_asr.preprocessing.corpora import raw_utterances
from korean_asr.preprocessing.counts import REASONS

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = (
    "tar",
    "tar.gz",
    "tgz",
    "zip",
    "zip in cp949",
    "zip in utf-8 that does not say so",
    "tar in cp949",
)
MB, GB = 1 << 20, 1 << 30
LABELS = "1.Training/1.라벨링데이터/3.일상안부/dialog_01/dialog_01_scripts.txt"
METADATA = "1.Training/1.라벨링데이터/3.일상안부/dialog_01/dialog_01_metadata.txt"
FOREIGN_LABEL = "2.Validation/라벨링데이터/5. 베트남어/1. 한국생활/VN10QC226_VN0001_20210809.json"
FOREIGN_AUDIO = "2.Validation/원천데이터/VS_5. 베트남어/1. 한국생활/VN10QC226_VN0001_20210809.wav"


def clip(number):
    return f"1.Training/2.원천데이터/3.일상안부/dialog_01/001/dialog_{number:08}.wav"


def line(number, text="밥 먹었어?"):
    return f"/{clip(number)} :: {text}"


def label(name="VN10QC226_VN0001_20210809.wav"):
    """A label of the foreign corpus."""
    content = {
        "fileName": name,
        "file_info": {"speakerID": "VN0001"},
        "transcription": {"ReadingLabelText": "", "AnswerLabelText": "저는 먼 나라에서 왔어요"},
        "basic_info": {"gender": "F"},
        "skill_info": {"motherTongue": "베트남어", "topikGrade": "4"},
    }
    return json.dumps(content, ensure_ascii=False)


# Archives made by hand: the standard library writes no bad ones.


def tar_entry(name, content=b"", **fields):
    """A header and its content. A size of its own in `fields` leaves the content as it is."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def tar_bytes(*entries):
    return b"".join(entries) + bytes(1024)


def pax_entry(records, name="x.json", content=b""):
    body = b"".join(pax_record(key, value) for key, value in records.items())
    return tar_entry("pax", body, type=tarfile.XHDTYPE) + tar_entry(name, content)


def pax_record(key, value):
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    return str(length + (len(str(length)) > len(str(len(rest))))).encode() + rest


def gzip_of_zeros(n_gb, head):
    """A gzip file of `head` and zeros. One gzip file may follow another, so few are packed."""
    return gzip.compress(head, mtime=0) + gzip.compress(bytes(16 * MB), mtime=0) * (64 * n_gb)


def deflated(content):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def deflated_zeros(n_gb):
    packer = zlib.compressobj(wbits=-15)
    block = packer.compress(bytes(16 * MB)) + packer.flush(
        zlib.Z_FULL_FLUSH
    )  # ends with a whole byte
    return block * (64 * n_gb) + b"\3\0"


def zip_entry(
    name,
    content=b"{}",
    packed=None,
    method=zipfile.ZIP_DEFLATED,
    flags=0,
    size=None,
    crc=None,
    mode=0,
):
    """(local header and packed content, directory entry up to the header's offset, its end)."""
    name = name.encode() if isinstance(name, str) else name
    packed = deflated(content) if packed is None else packed
    size = len(content) if size is None else size
    common = struct.pack("<HHHHH", 20, flags, method, 0, 33)  # packed on the first day of 1980
    common += struct.pack(
        "<LLL", zlib.crc32(content) if crc is None else crc, len(packed), min(size, 0xFFFFFFFF)
    )
    extra = struct.pack("<HHQ", 1, 8, size) if size > 0xFFFFFFFF else b""
    body = b"PK\3\4" + common + struct.pack("<HH", len(name), 0) + name + packed
    head = b"PK\1\2" + struct.pack("<H", 3 << 8 | 20) + common
    return (
        body,
        head + struct.pack("<HHHHHL", len(name), len(extra), 0, 0, 0, mode << 16),
        name + extra,
    )


def zip_bytes(*entries):
    """A zip file; the directory names an entry that is the very one before it at the same place."""
    body, directory, place, last = b"", b"", 0, None
    for entry in entries:
        if entry is not last:
            place = len(body)
            body += entry[0]
        last = entry
        directory += entry[1] + struct.pack("<L", place) + entry[2]
    return (
        body
        + directory
        + b"PK\5\6"
        + struct.pack("<HHHHLLH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    )


def packed(kind, files):
    """An archive of files: name -> text or bytes."""
    files = {
        name: content if isinstance(content, bytes) else content.encode()
        for name, content in files.items()
    }
    if kind.startswith("zip"):
        encoding, flags = (
            ("cp949", 0) if kind == "zip in cp949" else ("utf-8", 0 if "not say" in kind else 0x800)
        )
        return zip_bytes(
            *(
                zip_entry(name.encode(encoding), content, flags=flags)
                for name, content in files.items()
            )
        )
    content = io.BytesIO()
    encoding = "cp949" if kind == "tar in cp949" else "utf-8"
    with tarfile.open(
        fileobj=content, mode="w", format=tarfile.GNU_FORMAT, encoding=encoding
    ) as archive:
        for folder in sorted(
            {str(parent) for name in files for parent in list(Path(name).parents)[:-1]}
        ):
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return (
        gzip.compress(content.getvalue(), mtime=0)
        if kind in ("tar.gz", "tgz")
        else content.getvalue()
    )


def suffix_of(kind):
    return kind.split()[0]


def told(utterances):
    """Everything of each utterance, but its part and the folders that labels and audio lie in."""
    facts = [{key: value for key, value in u.facts.items() if key != "part"} for u in utterances]
    return [
        (Path(u.id).name, u.raw, u.audio and Path(u.audio).name, u.reason, u.encoding, f)
        for u, f in zip(utterances, facts, strict=True)
    ]


# The same clips, packed or not


KOREAN = {
    LABELS: "\r\n".join(
        [line(1, "밥 (3)/(세) 번"), line(2, "국"), "a line of no clip", line(3), line(4), line(2)]
    ).encode()
    + b"\n"
    + line(5, "물").encode("cp949"),
    METADATA: "\n".join(f"/{clip(n)}|1|2|{'FM'[n % 2]}|A|5|{n}|7|1" for n in (3, 1, 2, 9)),
    LABELS.replace("1.Training", "2.Validation"): line(6, "validation").replace(
        "1.Training", "2.Validation"
    ),
}
FOREIGN = {
    FOREIGN_LABEL: label(),
    "1.Training/라벨링데이터/5. 베트남어/1. 한국생활/둘.json": b"\xef\xbb\xbf"
    + label("둘.wav").encode(),
    "1.Training/라벨링데이터/5. 베트남어/1. 한국생활/셋.json": label("").encode("cp949"),
    "1.Training/라벨링데이터/5. 베트남어/1. 한국생활/넷.json": "{",
    "1.Training/라벨링데이터/5. 베트남어/1. 한국생활/다섯.json": label("none.wav"),
    "1.Training/라벨링데이터/5. 베트남어/1. 한국생활/readme.txt": "read me",
}
FREE_FORM = {
    "scripts/train.trn": "K_01/K_1.pcm :: 아/ 네\n",
    "m.jsonl": '{"audio_filepath": "K_01/K_2.wav", "text": "네"}\n',
}
CORPORA = {
    "korean": (
        KOREAN,
        [*map(clip, (1, 2, 3, 5, 7)), clip(6).replace("1.Training", "2.Validation")],
    ),
    "foreign": (
        FOREIGN,
        [
            FOREIGN_AUDIO,
            *(f"1.Training/원천데이터/TS_5/{n}.wav" for n in ("둘", "셋", "넷", "여섯")),
        ],
    ),
    "KsponSpeech": (FREE_FORM, ["K_01/K_1.pcm", "K_01/K_2.wav"]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("corpus", "name"),
    [
        ("korean", "[라벨]3.일상안부_dialog_01"),
        ("foreign", "TL_5. 베트남어"),
        ("KsponSpeech", "2.Validation/VL_labels"),
    ],
)
def test_an_archive_gives_the_very_clips_of_the_folder_that_was_packed(
    tmp_path, kind, corpus, name, written, utterances_of
):
    labels, audio = CORPORA[corpus]
    audio = dict.fromkeys(audio, b"sound")
    as_folder = utterances_of(written(tmp_path / "folder", {**labels, **audio}))
    archive = {f"{name}.{suffix_of(kind)}": packed(kind, labels)}
    as_archive = utterances_of(written(tmp_path / "archive", {**archive, **audio}))
    assert sorted(told(as_archive), key=str) == sorted(told(as_folder), key=str)
    assert sum(u.reason is None for u in as_folder) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_read_from_the_folders_in_an_archive_and_around_it(
    tmp_path, kind, written, utterances_of
):
    inside = {"2.Validation/라벨/x_scripts.txt": "x_1.wav :: 밥"}
    around = {"x_scripts.txt": "x_2.wav :: 국"}
    files = {
        f"a.{suffix_of(kind)}": packed(kind, inside),
        f"1.Training/라벨/b.{suffix_of(kind)}": packed(kind, around),
    }
    utterances = utterances_of(written(tmp_path, {**files, "x_1.wav": b"", "x_2.wav": b""}))
    assert {u.id: u.facts["part"] for u in utterances} == {"x_1": "validation", "x_2": "training"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folder", ["", "1.Training/라벨/"])
def test_labels_that_lie_packed_and_unpacked_are_read_once_and_it_is_said(
    tmp_path, kind, folder, written, listing_of
):
    labels = {
        f"{folder}x_scripts.txt": "x_1.wav :: 밥",
        f"{folder}x_metadata.txt": "x_1.wav|1|2|F|A|5|1|7|1",
    }
    archive = f"라벨.{suffix_of(kind)}"
    written(tmp_path, {**labels, archive: packed(kind, labels), "x_1.wav": b""})
    listing = listing_of(tmp_path)
    assert [(u.raw, u.reason, u.facts["gender"]) for u in raw_utterances(listing)] == [
        ("밥", None, "F")
    ]
    assert listing.notes == [
        f"{tmp_path}/{archive}: 1 label files are there unpacked as well, and are read once."
    ]


def test_labels_of_one_name_that_differ_are_both_read(tmp_path, written, utterances_of):
    labels = {"x_scripts.txt": "x_1.wav :: 밥"}
    written(
        tmp_path,
        {
            **labels,
            "x.zip": packed("zip", {"x_scripts.txt": "x_2.wav :: 국밥"}),
            "x_1.wav": b"",
            "x_2.wav": b"",
        },
    )
    assert [(u.raw, u.reason) for u in utterances_of(tmp_path)] == [("밥", None), ("국밥", None)]


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_alone_in_an_archive_meets_scripts_on_disk(tmp_path, kind, written, utterances_of):
    files = {"x_scripts.txt": "x_1.wav :: 밥", "x_1.wav": b""}
    archive = {
        f"x.{suffix_of(kind)}": packed(kind, {"a/x_metadata.txt": "x_1.wav|1|2|M|S|5|1|7|1"})
    }
    (utterance,) = utterances_of(written(tmp_path, {**files, **archive}))
    assert (utterance.facts["gender"], utterance.facts["age"]) == ("M", "고령")


def test_a_tar_gz_that_is_a_tar_and_a_tar_that_is_a_gzip_are_read(tmp_path, written, utterances_of):
    first, second = ({f"{n}_scripts.txt": f"{n}_1.wav :: 밥"} for n in "ab")
    files = {
        "a.tar.gz": packed("tar", first),
        "b.tar": packed("tar.gz", second),
        "a_1.wav": b"",
        "b_1.wav": b"",
    }
    assert {u.id: u.reason for u in utterances_of(written(tmp_path, files))} == {
        "a_1": None,
        "b_1": None,
    }


def test_an_archive_of_both_kinds_gives_labels_and_audio_and_says_what_is_unpacked_as_well(
    tmp_path, written, listing_of
):
    both = packed(
        "tar", {"x_scripts.txt": "x_1.wav :: 밥\nx_2.wav :: 국", "x_1.wav": b"1", "x_2.wav": b"2"}
    )
    written(tmp_path, {"both.tar": both, "x_1.wav": b"1"})
    listing = listing_of(tmp_path)
    assert {u.id: (u.audio, u.reason) for u in raw_utterances(listing)} == {
        "x_1": (f"{tmp_path}/x_1.wav", None),
        "x_2": (f"tar://x_2.wav::{tmp_path}/both.tar", None),
    }
    what = "1 clips are there unpacked as well, and are read once."
    assert listing.notes == [f"{tmp_path}/both.tar: {what}"]


def test_an_archive_of_other_things_is_passed_over(tmp_path, written, utterances_of):
    files = {
        "x_scripts.txt": "x_1.wav :: 밥",
        "x_1.wav": b"",
        "docs.zip": packed("zip", {"../guide.pdf": b""}),
    }
    assert {u.id: u.reason for u in utterances_of(written(tmp_path, files))} == {"x_1": None}


# Audio in a .tar.gz, where rapidgzip is missing


@pytest.fixture
def without_rapidgzip(monkeypatch):
    monkeypatch.setattr("korean_asr.preprocessing.archives.find_spec", lambda name: None)


@pytest.mark.parametrize("kind", ["tar.gz", "tgz"])
@pytest.mark.parametrize("name", ["[원천]3.일상안부_dialog_01", "it's audio"])
def test_without_rapidgzip_the_error_names_a_command_that_unpacks_a_tar_gz(
    tmp_path, kind, name, written, utterances_of, without_rapidgzip
):
    sound = {"dialog_01/001/안녕_1.wav": b"sound", "dialog_01/001/안녕_1.txt": "안녕"}
    labels = packed("zip", {"x_scripts.txt": "안녕_1.wav :: 밥"})
    root = written(tmp_path / "말뭉치", {f"{name}.{kind}": packed(kind, sound), "라벨.zip": labels})
    with pytest.raises(DataError, match="install rapidgzip.* or run  ") as error:
        utterances_of(root)
    assert "\n" not in str(error.value)
    command = str(error.value).partition("or run  ")[2].partition(". Other archives")[0]
    subprocess.run(shlex.split(command), check=True, cwd="/", timeout=60)
    (utterance,) = utterances_of(root)
    assert (utterance.raw, utterance.reason, Path(utterance.audio).name) == (
        "밥",
        None,
        "안녕_1.wav",
    )


def test_without_rapidgzip_an_archive_that_is_named_by_itself_says_what_to_pass_once_unpacked(
    tmp_path, written, utterances_of, without_rapidgzip
):
    files = {"x_scripts.txt": "x_1.wav :: 밥", "x_1.wav": b"sound"}
    written(tmp_path / "corpus", {"x.tgz": packed("tgz", files)})
    with pytest.raises(DataError, match=r"x\.tgz is still packed: .* pass its folder\. ·") as error:
        utterances_of(tmp_path / "corpus/x.tgz")
    command = str(error.value).partition("or run  ")[2].partition(". Other archives")[0]
    subprocess.run(shlex.split(command), check=True, cwd="/", timeout=60)
    assert [u.reason for u in utterances_of(tmp_path / "corpus")] == [None]


def test_a_name_with_line_ends_and_escape_sequences_is_told_in_one_line(
    tmp_path, written, utterances_of, without_rapidgzip
):
    written(tmp_path, {"a\n\x1b[31mb.tgz": packed("tgz", {"x_1.wav": b""})})
    with pytest.raises(DataError, match=r"a\?\?\[31mb\.tgz"):
        utterances_of(tmp_path)


def test_other_archives_of_audio_are_counted(tmp_path, written, utterances_of, without_rapidgzip):
    written(tmp_path, {f"[원천]{n}.tgz": packed("tgz", {f"{n}.wav": b""}) for n in range(12)})
    with pytest.raises(DataError, match=r"0\.tgz.*, and likewise 11 more\. Other archives"):
        utterances_of(tmp_path)


def test_a_large_archive_is_told_from_its_first_files_alone(tmp_path, written, listing_of):
    many = b"".join(tar_entry(f"x_{n}.wav") for n in range(1000))
    written(tmp_path, {"x.tar": many + b"damaged" * 512, "x_scripts.txt": "x_1.wav :: 밥"})
    assert listing_of(written(tmp_path, {"x_1.wav": b""})).label_archives == []


@pytest.mark.parametrize(
    "kind, what",
    [
        *((kind, "texts and audio") for kind in ("tar", "tar.gz", "zip")),
        *((kind, "texts") for kind in ("tar", "zip")),
        *((kind, "texts that are unpacked as well") for kind in ("tar", "zip")),
    ],
)
def test_in_archives_without_other_labels_the_text_beside_each_clip_is_its_label(
    tmp_path, kind, what, written, utterances_of, listing_of
):
    if what == "texts and audio" and "gz" in kind:
        pytest.importorskip("rapidgzip")
    texts = {f"K/K_{n}.txt": f"밥 {n}\r".encode("cp949") for n in range(3)}
    audio = {f"K/K_{n}.pcm": bytes(8) for n in range(3)}
    is_all = what == "texts and audio"
    files = {f"x.{kind}": packed(kind, {**texts, "readme.txt": b"-", **(audio if is_all else {})})}
    files |= {} if is_all else audio
    files |= texts if "unpacked" in what else {}
    root = written(tmp_path, files)
    assert sorted((u.raw, u.reason) for u in utterances_of(root)) == [
        (f"밥 {n}", None) for n in range(3)
    ]
    assert not any("neither labels nor audio" in note for note in listing_of(root).notes)


# Damaged archives


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("part", [0, 0.02, 0.3, 0.5, 0.9, 0.999])
def test_an_archive_that_ends_too_early_is_refused_by_name(
    tmp_path, kind, part, written, utterances_of
):
    lines = "\n".join(f"x_{n}.wav :: 문장 {n * n * 7919 % 10007}" for n in range(2000))
    whole = packed(kind, {"a_scripts.txt": lines, "b_scripts.txt": lines.replace("x", "y")}).rstrip(
        b"\0"
    )
    files = {
        f"x.{kind}": whole[: int(len(whole) * part)],
        "z_scripts.txt": "z_1.wav :: 밥",
        "z_1.wav": b"",
    }
    utterances = utterances_of(written(tmp_path, files))
    assert {u.reason for u in utterances if u.id.startswith(f"{tmp_path}/x.{kind}")} == {
        "label unreadable"
    }
    assert [u.raw for u in utterances if u.reason is None] == ["밥"]


def test_whole_labels_of_a_tar_gz_that_ends_too_early_are_read(tmp_path, written, utterances_of):
    labels = {f"{n:02}_scripts.txt": f"{n}_1.wav :: 문장 {n * 7919}" for n in range(20)}
    whole = packed("tar.gz", labels)
    audio = {f"{n}_1.wav": b"" for n in range(20)}
    files = {"x.tar.gz": whole[: len(whole) * 6 // 10], **audio}
    reasons = [u.reason for u in utterances_of(written(tmp_path, files))]
    assert reasons.count(None) >= 5
    assert reasons.count("no label") == 20 - reasons.count(None)
    assert "label unreadable" in reasons


def test_a_tar_that_is_cut_between_two_members_is_refused_by_name(tmp_path, written, utterances_of):
    entries = [tar_entry(f"{n}_scripts.txt", f"{n}_1.wav :: 밥".encode()) for n in "ab"]
    utterances = utterances_of(
        written(tmp_path, {"x.tar": b"".join(entries), "a_1.wav": b"", "b_1.wav": b""})
    )
    assert {u.id: u.reason for u in utterances} == {
        "a_1": None,
        "b_1": None,
        f"{tmp_path}/x.tar": "label unreadable",
    }


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_an_archive_with_a_damaged_byte_gives_its_clips_or_is_refused_and_stops_nothing(
    tmp_path, kind, written, utterances_of
):
    labels, audio = CORPORA["foreign"]
    whole = packed(kind, labels)
    written(
        tmp_path, {**dict.fromkeys(audio, b""), "z_scripts.txt": "z_1.wav :: 밥", "z_1.wav": b""}
    )
    expected = told(utterances_of(written(tmp_path, {f"x.{kind}": whole})))
    chance = random.Random(0)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        utterances = utterances_of(written(tmp_path, {f"x.{kind}": bytes(damaged)}))
        assert [u.reason for u in utterances if u.id == "z_1"] == [None]
        assert {u.reason for u in utterances} <= {None, *REASONS}
        if kind != "tar":  # which has no checksum of its content
            assert told(utterances) == expected or {u.reason for u in utterances} & {
                UNREADABLE,
                TOO_LARGE,
                UNSAFE,
                "no label",
            }


# Hostile archives and labels: each in a corpus of its own beside a good clip, all read by one
# process of little memory


def sparse_file(head, n_bytes, tail=b""):
    """What writes a file of `head`, zeros that take no room, and `tail`."""

    def write(path):
        path.write_bytes(head)
        with path.open("r+b") as file:
            file.truncate(n_bytes)
            file.seek(n_bytes)
            file.write(tail)

    return write


def later(make, *values):
    """What makes and writes a file when it is wanted, since it is large."""
    return lambda path: path.write_bytes(make(*values))


HOSTILE_NAMES = {
    "a name that leads out": "../out.json",
    "a name that leads out further down": "a/../../out.json",
    "an absolute name": "/tmp/out.json",
    "a name that leads out in Windows": "..\\out.json",
    "a drive in a name": "C:\\out.json",
}
TAR_KINDS = {
    "a symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "a hard link": {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"},
    "a device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
    "a disk": {"type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 0},
    "a pipe": {"type": tarfile.FIFOTYPE},
    "a file with holes": {"type": tarfile.GNUTYPE_SPARSE},
    "a kind that nobody knows": {"type": b"Q"},
}
ZIP_KINDS = {
    "a link": 0o120777,
    "a device": 0o020666,
    "a disk": 0o060666,
    "a pipe": 0o010666,
    "a socket": 0o140666,
}
INSIDE = label("inside.wav").encode()
TAR_GOOD, ZIP_GOOD = tar_entry("a/inside.json", INSIDE), zip_entry("a/inside.json", INSIDE)
PAX_HOLES = {
    f"GNU.sparse.{key}": value
    for key, value in (("size", b"9" * 10), ("offset", b"0"), ("numbytes", b"0"))
}
BZ2_GOOD = bz2.compress(INSIDE)
ZEROS = zip_entry("a_scripts.txt", bytes(15 * MB))


def many_holes():
    head = bytearray(tar_entry("x", type=tarfile.GNUTYPE_SPARSE))
    head[482] = 1  # a block of holes follows
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:]) + 8 * ord(" "))
    return bytes(head) + (b"0" * 504 + b"\1" + bytes(7)) * 100_000


def zip_of_10_gb(declared):
    return zip_bytes(zip_entry("x.json", packed=deflated_zeros(10), size=declared), ZIP_GOOD)


def header(size, kind, name="x.json"):
    return tar_entry(name, size=size, type=kind)


LONG_NAME, PAX, FILE = tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.REGTYPE
# Kind of archive: what is hostile -> (its bytes, or what writes or makes them; the member that is
# refused; the reason).
# Beside the hostile member is a good one.
HOSTILE = {
    **{
        f"tar: {what}": (tar_bytes(TAR_GOOD, tar_entry(name)), name, UNSAFE)
        for what, name in HOSTILE_NAMES.items()
    },
    **{
        f"zip: {what}": (zip_bytes(zip_entry(name), ZIP_GOOD), name, UNSAFE)
        for what, name in HOSTILE_NAMES.items()
    },
    **{
        f"tar.gz: {what}": (
            gzip.compress(tar_bytes(tar_entry("x.json", **fields), TAR_GOOD)),
            "x.json",
            UNSAFE,
        )
        for what, fields in TAR_KINDS.items()
    },
    **{
        f"zip: {what}": (zip_bytes(zip_entry("x.json", mode=mode), ZIP_GOOD), "x.json", UNSAFE)
        for what, mode in ZIP_KINDS.items()
    },
    "tar: a file with holes as pax has it": (
        tar_bytes(pax_entry(PAX_HOLES), TAR_GOOD),
        "x.json",
        UNSAFE,
    ),
    "tar: a NUL in a name": (
        tar_bytes(pax_entry({"path": b"a\0b.json"}), TAR_GOOD),
        "a\0b.json",
        UNSAFE,
    ),
    "tar: a folder that leads out": (
        tar_bytes(tar_entry("../a", type=tarfile.DIRTYPE), TAR_GOOD),
        "../a",
        UNSAFE,
    ),
    "zip: a folder that leads out": (zip_bytes(zip_entry("../a/"), ZIP_GOOD), "../a/", UNSAFE),
    "tar: a label of 8 GB": (
        sparse_file(header(8 * GB, FILE), 8 * GB + 512, tar_bytes(TAR_GOOD)),
        "x.json",
        TOO_LARGE,
    ),
    "tar: a name of 8 GB": (
        sparse_file(TAR_GOOD + header(8 * GB, LONG_NAME), 9 * GB),
        "",
        UNREADABLE,
    ),
    "tar: a pax header of 8 GB": (
        sparse_file(TAR_GOOD + header(8 * GB, PAX), 9 * GB),
        "",
        UNREADABLE,
    ),
    "tar: a header that takes a regular expression long": (
        TAR_GOOD + tar_entry("x", b"1" * MB, type=PAX),
        "",
        UNREADABLE,
    ),
    "tar: headers without an end": (
        TAR_GOOD + tar_entry("x", b"9 path=x\n", type=PAX) * 100_000,
        "",
        UNREADABLE,
    ),
    "tar: a map of holes without an end": (TAR_GOOD + many_holes(), "", UNREADABLE),
    "tar: a label of negative size": (
        tar_bytes(TAR_GOOD, header(-1024, FILE)),
        "",
        UNREADABLE,
    ),
    "tar: a name of negative length": (
        tar_bytes(TAR_GOOD, header(-1024, LONG_NAME)),
        "",
        UNREADABLE,
    ),
    "tar: a file that is its own successor": (
        tar_bytes(TAR_GOOD, header(-1024, FILE, "x.bin")),
        "",
        UNREADABLE,
    ),
    "tar: a damaged header in the midst": (
        tar_bytes(TAR_GOOD, b"d" * 512, TAR_GOOD),
        "",
        UNREADABLE,
    ),
    "tar.gz: a name of 1 GB": (
        later(gzip_of_zeros, 1, TAR_GOOD + header(GB, LONG_NAME)),
        "",
        UNREADABLE,
    ),
    "tar.gz: a wrong checksum": (
        gzip.compress(tar_bytes(TAR_GOOD))[:-8] + bytes(8),
        "",
        UNREADABLE,
    ),
    "zip: a label of 10 GB": (later(zip_of_10_gb, 10 * GB), "x.json", TOO_LARGE),
    "zip: a header that lies about 10 GB": (later(zip_of_10_gb, 100), "x.json", UNREADABLE),
    "zip: bzip2, of which 400 bytes may be 512 MB": (
        zip_bytes(zip_entry("x.json", packed=BZ2_GOOD, method=zipfile.ZIP_BZIP2), ZIP_GOOD),
        "x.json",
        UNREADABLE,
    ),
    "zip: a label that is encrypted": (
        zip_bytes(zip_entry("x.json", flags=1), ZIP_GOOD),
        "x.json",
        UNREADABLE,
    ),
    "zip: a method that nobody knows": (
        zip_bytes(zip_entry("x.json", method=99), ZIP_GOOD),
        "x.json",
        UNREADABLE,
    ),
    "zip: a wrong checksum": (
        zip_bytes(zip_entry("x.json", crc=7), ZIP_GOOD),
        "x.json",
        UNREADABLE,
    ),
    "zip: a label that is not where the directory says": (
        zip_bytes(ZIP_GOOD, (b"", *zip_entry("x.json")[1:])),
        "x.json",
        UNREADABLE,
    ),
}
WORTHLESS = {
    "tar: nothing": b"",
    "tar: another thing": b"another thing" * 1000,
    "tar.gz: another thing": gzip.compress(b"another thing" * 1000),
    "zip: nothing": b"",
    "zip: another thing": b"another thing" * 1000,
}
# Name of a label file -> (its bytes or what writes it, what is refused, the reason).
HOSTILE_LABELS = {
    "long.json": (
        sparse_file(b'{"transcription": {"AnswerLabelText": "', 100 * MB, b'"}}'),
        "",
        TOO_LARGE,
    ),
    "long.jsonl": (
        sparse_file(b'{"audio_filepath": "a.wav", "text": "', 100 * MB, b'"}\n'),
        ", line 1",
        TOO_LARGE,
    ),
    "long_scripts.txt": (sparse_file(b"\nx_1.wav :: ", 100 * MB, b"\n"), ", line 2", TOO_LARGE),
    "long.trn": (sparse_file(b"x_1.pcm :: ", 100 * MB), ", line 1", TOO_LARGE),
    "huge_scripts.txt": (sparse_file(b"", 3 * GB), "", TOO_LARGE),
    "huge.json": (sparse_file(b"", 3 * GB), "", TOO_LARGE),
    "deep.jsonl": (b"[" * 100_000, ", line 1", UNREADABLE),
    "deep_objects.jsonl": (b'{"a":' * 100_000 + b"\n", ", line 1", UNREADABLE),
    "many_lines.json": (b"[\n" + (b"0," * 5_000 + b"\n") * 2_000, "", TOO_LARGE),
}
CHILD = """
import json, resource, sys
from pathlib import Path
from korean_asr.audio import AUDIO_SUFFIXES
from korean_asr.manifest import OPTIONAL_KEYS
from korean_asr.preprocessing.corpora import raw_utterances
from korean_asr.preprocessing.listing import listed_corpus
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
for root in map(Path, sys.argv[1:]):
    print(root, file=sys.stderr, flush=True)
    listing = listed_corpus(root, root / "processed", AUDIO_SUFFIXES, OPTIONAL_KEYS)
    utterances = raw_utterances(listing)
    print(json.dumps([(u.id, u.raw[:100], u.reason) for u in utterances]), flush=True)
"""


def placed(root, name, content):
    """A hostile file in a folder of its own."""
    root.mkdir(parents=True)
    if callable(content):
        content(root / name)
    else:
        (root / name).write_bytes(content)
    return root


def archive_name(what):
    return f"x.{what.partition(':')[0]}"


def refused_name(folder, what, member):
    member = member.replace("\\", "/") if archive_name(what) == "x.zip" else member
    return f"{folder}/{archive_name(what)}" + (f": {member}" if member else "")


def files_below(root):
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in root.rglob("*")}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, written):
    """What is hostile -> (its folder, (id, raw, reason) of each utterance there).

    All are read within 300 MB and two minutes.
    """
    root = tmp_path_factory.mktemp("hostile")
    files = {what: (archive_name(what), content) for what, (content, _, _) in HOSTILE.items()}
    files |= {what: (archive_name(what), content) for what, content in WORTHLESS.items()}
    files |= {name: (name, content) for name, (content, _, _) in HOSTILE_LABELS.items()}
    good = {"good_scripts.txt": "good_1.wav :: 밥", "good_1.wav": b"", "inside.wav": b""}
    for number, (name, content) in enumerate(files.values()):
        written(placed(root / str(number), name, content), good)
    folders = [root / str(number) for number in range(len(files))]
    before = files_below(root.parent)
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "model_tuning"),
        "OPENBLAS_NUM_THREADS": "1",
        # Else each thread reserves 64 MB of addresses, which the limit counts.
        "MALLOC_ARENA_MAX": "1",
    }
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *folders],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert files_below(root.parent) == before
    read = [[tuple(row) for row in json.loads(line)] for line in child.stdout.splitlines()]
    for folder in folders:
        for path in folder.iterdir():
            path.unlink()
    return dict(zip(files, zip(folders, read, strict=True), strict=True))


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_by_name_and_the_good_label_in_it_read(hostile, what):
    folder, rows = hostile[what]
    _, member, reason = HOSTILE[what]
    assert (refused_name(folder, what, member), "", reason) in rows
    assert ("good_1", "밥", None) in rows
    assert ("inside", json.loads(INSIDE)["transcription"]["AnswerLabelText"], None) in rows


@pytest.mark.parametrize("what", WORTHLESS)
def test_an_archive_that_is_none_is_refused_by_name(hostile, what):
    folder, rows = hostile[what]
    assert sorted(rows, key=str) == sorted(
        [
            (f"{folder}/{archive_name(what)}", "", UNREADABLE),
            ("good_1", "밥", None),
            ("inside", "", "no label"),
        ],
        key=str,
    )


@pytest.mark.parametrize("name", HOSTILE_LABELS)
def test_a_label_file_of_no_bounds_is_refused_by_name(hostile, name):
    folder, rows = hostile[name]
    _, place, reason = HOSTILE_LABELS[name]
    refused = {row[0]: row[2] for row in rows if row[2] != "no label"}
    assert refused == {"good_1": None, f"{folder}/{name}{place}": reason}


# Script 1 as a user runs it


def script_1(*arguments):
    command = [sys.executable, REPOSITORY / "model_tuning/1. script_preprocessing.py", *arguments]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONUTF8": "1"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", timeout=120
    )


@pytest.fixture(scope="module")
def everything_hostile(tmp_path_factory, written):
    """A corpus of every hostile thing, and what rejected.jsonl must name, below the corpus."""
    root = tmp_path_factory.mktemp("everything")
    names = []
    for number, (what, (content, member, _)) in enumerate(HOSTILE.items()):
        placed(root / str(number), archive_name(what), content)
        names.append(refused_name(number, what, member))
    for name, (content, place, _) in HOSTILE_LABELS.items():
        placed(root / name, name, content)
        names.append(f"{name}/{name}{place}")
    os.mkfifo(root / "pipe")
    for number, target in enumerate(("/dev/zero", "/dev/full", "pipe", "/nowhere", "link_4.json")):
        for suffix in ("json", "jsonl", "trn", "zip", "tar", "tar.gz"):
            (root / f"link_{number}.{suffix}").symlink_to(target)
            names.append(f"link_{number}.{suffix}")
    (root / "loop").symlink_to(root)
    strange = [
        "a\nb\x1b[31m.json",
        "a\r.zip",
        os.fsdecode(b"\xc0\xcf.zip"),
        f"{'a' * 240}.json",
        "$(reboot).tar",
        "-rf.zip",
    ]
    lines = [
        "../../x_1.wav :: 밥",
        "x_2.wav :: a\0b",
        "x_3",
        f"x_4.wav :: {'(' * 10_000}밥{')' * 10_000}",
    ]
    written(root, {**dict.fromkeys(strange, b"\0"), "x_scripts.txt": "\n".join(lines)})
    names += [*strange, "x_scripts.txt, line 2", "x_scripts.txt, line 3"]
    surrogates = label("x.wav").replace("먼", "\\ud800").replace("x.wav", "x\\udfff.wav")
    written(root, {"x.json": label("/etc/passwd"), "y.json": surrogates})
    return root, names


@pytest.mark.pipeline
def test_script_1_reads_the_good_clips_beside_everything_hostile_and_names_each(
    tmp_path, everything_hostile, written
):
    root, names = everything_hostile
    written(
        tmp_path,
        {"corpus/good_scripts.txt": "\n".join(f"good_{n}.wav :: 밥 먹었어?" for n in range(3))},
    )
    for n in range(3):
        soundfile.write(
            tmp_path / f"corpus/good_{n}.wav",
            np.random.default_rng(n).normal(0, 0.05, 16_000),
            16_000,
        )
    (tmp_path / "corpus/hostile").symlink_to(root)
    before = files_below(tmp_path) | files_below(root)
    result = script_1("--korean", tmp_path / "corpus", "--output", tmp_path / "out", "--jobs", "1")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Traceback" not in result.stdout + result.stderr
    after = files_below(tmp_path) | files_below(root)
    assert {
        path: state for path, state in after.items() if not path.is_relative_to(tmp_path / "out")
    } == before
    usable, rejected = (
        [json.loads(row) for row in (tmp_path / "out" / name).read_text().splitlines()]
        for name in ("korean.jsonl", "rejected.jsonl")
    )
    assert [row["id"] for row in usable] == ["good_0", "good_1", "good_2"]
    assert {row["reason"] for row in rejected} <= set(REASONS)
    assert {f"{tmp_path}/corpus/hostile/{name}" for name in names} <= {
        row["id"] for row in rejected
    }
    assert {"../../x_1.wav", "/etc/passwd", "x_4"} <= {row["id"] for row in rejected}
    assert "more refused; rejected.jsonl names them all" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.pipeline
def test_script_1_tells_in_one_line_that_there_is_nothing_but_hostile_things(
    tmp_path, everything_hostile
):
    root, _ = everything_hostile
    before = files_below(root)
    result = script_1("--korean", root, "--output", tmp_path / "out", "--jobs", "1")
    assert (result.returncode, result.stdout) == (1, "")
    (message,) = [
        told
        for told in result.stderr.splitlines()
        if told and not told.startswith((f"{root.name}:", "listing", "reading"))
    ]
    assert (
        message.startswith("ERROR")
        and "has no usable clip" in message
        and "Nothing was written" in message
    )
    assert files_below(root) == before
    assert files_below(tmp_path) == {}


def test_labels_behind_a_thousand_other_files_are_found(tmp_path, written, utterances_of):
    others = {f"texts/{n:04}.txt": "" for n in range(1_500)}
    written(tmp_path, {"labels.tar": packed("tar", {**others, LABELS: line(1)}), clip(1): b""})
    assert [utterance.reason for utterance in utterances_of(tmp_path)] == [None]


@pytest.mark.parametrize("name", ["[라벨]a.tar", "a.tar"])
def test_a_tar_that_is_damaged_before_its_labels_is_refused_by_name(
    tmp_path, name, written, utterances_of
):
    content = tar_entry("README", b"read me") + random.Random(0).randbytes(4096)
    written(tmp_path, {name: content, "x_scripts.txt": line(2), clip(2): b""})
    assert (str(tmp_path / name), UNREADABLE) in [(u.id, u.reason) for u in utterances_of(tmp_path)]


def test_a_compressed_archive_in_an_archive_is_said_to_be_left_out(tmp_path, written, listing_of):
    written(
        tmp_path,
        {"라벨.zip": packed("zip", {"inner.tgz": packed("tgz", {LABELS: line(1)})}), clip(1): b""},
    )
    with pytest.raises(
        DataError,
        match=r"holds no labels: .*라벨.zip: 1 archives in it, such as inner.tgz, were left out",
    ):
        listing_of(tmp_path)
