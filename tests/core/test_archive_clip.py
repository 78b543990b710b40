"""Clips in archives are read as their files would be, and never as another clip."""

import gzip
import io
import os
import sys
import tarfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import soundfile

from korean_asr import archive_clip, archive_file
from korean_asr.archive_clip import clip_bytes, fits_tar
from korean_asr.archive_file import MAX_MEMBER_BYTES, Place
from korean_asr.audio import UnreadableAudio, audio_info, file_content, read_samples, sound_checksum
from korean_asr.errors import DataError
from korean_asr.gzip_file import gzip_index, opened_gzip

LONG = "1.Training/2.원천데이터/3.일상안부/" + "아주 긴 폴더 이름 " * 8 + "/일상_00000001.wav"
NAMES = ("dialog_00000001.wav", "가/dialog_00000002.wav", "d/headless.wav", "d/b.flac", LONG)


def random_blocks(n_blocks):
    """Bytes that gzip packs to six tenths."""
    rng = np.random.default_rng(0)
    return b"".join(rng.bytes(600) + bytes(400) for _ in range(n_blocks))


CONTENT = random_blocks(12_000)
# The second member holds the block that rapidgzip reaches last; the third may be cut off.
MEMBERS = (CONTENT[:1_000_000], CONTENT[1_000_000:9_000_000], CONTENT[9_000_000:])
PACKED = b"".join(gzip.compress(member, 1) for member in MEMBERS)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, noise):
    """The files by name: WAV, bare samples and FLAC, on disk beside the archives."""
    folder = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = (noise(9_000 + 1_000 * seed, seed) * 32_767).astype(np.int16)
        if "headless" in name:
            samples.tofile(path)
        else:
            soundfile.write(path, samples, 16_000)
    return folder


def written_tar(path, folder, form=tarfile.GNU_FORMAT, mode="w", encoding="utf-8"):
    """Write all clips; returns where the bytes of each lie in the (unpacked) .tar."""
    with tarfile.open(path, mode, format=form, encoding=encoding) as packed:
        for name in NAMES:
            packed.add(folder / name, name)
    with tarfile.open(path, encoding=encoding) as packed:
        return {member.name: (member.offset_data, member.size) for member in packed}


def written_zip(path, folder, compression):
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name in NAMES:
            packed.write(folder / name, name)


def split(path, n_parts=3):
    """Cut a file into parts as AI Hub does, and delete it."""
    content = path.read_bytes()
    starts = [len(content) * number // n_parts for number in range(n_parts)]
    for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
        path.with_name(f"{path.name}.part{start}").write_bytes(content[start:end])
    path.unlink()


def packed_zip_in_tar(folder, clips):
    written_zip(folder / "x.zip", clips, zipfile.ZIP_STORED)
    split(folder / "x.zip", 5)
    with tarfile.open(folder / "download.tar", "w") as outer:
        for part in sorted(folder.glob("x.zip.part*")):
            outer.add(part, f"내려받기/{part.name}")
            part.unlink()
    return folder / "download.tar"


def places(kind, folder, clips):
    """The place of each clip in an archive of a kind."""
    x = f"{folder}/x"
    if kind in ("gnu", "pax", "cp949"):
        form = tarfile.PAX_FORMAT if kind == "pax" else tarfile.GNU_FORMAT
        encoding = "cp949" if kind == "cp949" else "utf-8"
        found = written_tar(f"{x}.tar", clips, form, encoding=encoding)
        return {name: Place(f"tar://{name}::{x}.tar", *found[name]) for name in NAMES}
    if kind == "searched tar":
        written_tar(f"{x}.tar", clips)
        return {name: Place(f"tar://{name}::{x}.tar") for name in NAMES}
    if kind in ("gz", "gz in parts"):
        found = written_tar(f"{x}.tar.gz", clips, mode="w:gz")
        if kind == "gz in parts":
            split(folder / "x.tar.gz")
        gzip_index(f"{x}.tar.gz", f"{folder}/out/x.index")
        index = f"{folder}/out/x.index"
        return {name: Place(f"tar://{name}::{x}.tar.gz", *found[name], index) for name in NAMES}
    if kind == "parts in a tar":
        outer = packed_zip_in_tar(folder, clips)
        inner = f"tar://내려받기/x.zip::{outer}"
        return {name: Place(f"zip://{name}::{inner}") for name in NAMES}
    is_deflated = kind == "deflated"
    written_zip(folder / "x.zip", clips, zipfile.ZIP_DEFLATED if is_deflated else 0)
    if kind == "stored":
        with zipfile.ZipFile(f"{x}.zip") as opened:
            found = {}
            for name in NAMES:
                with opened.open(name) as member:
                    found[name] = member._orig_compress_start, opened.getinfo(name).file_size
        return {name: Place(f"zip://{name}::{x}.zip", *found[name]) for name in NAMES}
    if kind == "parts":
        split(folder / "x.zip")
    return {name: Place(f"zip://{name}::{x}.zip") for name in NAMES}


KINDS = (
    "gnu",
    "pax",
    "cp949",
    "searched tar",
    "gz",
    "gz in parts",
    "parts in a tar",
    "deflated",
    "stored",
    "searched zip",
    "parts",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_in_an_archive_is_the_clip_of_its_file(kind, tmp_path, clips):
    for name, place in places(kind, tmp_path, clips).items():
        path = clips / name
        assert audio_info(place) == audio_info(path)
        assert audio_info(place, 0.1, 0.2) == audio_info(path, 0.1, 0.2)
        assert file_content(place) == path.read_bytes()
        for cut in ((0.0, None), (0.1, 0.2), (0.25, None)):
            values = read_samples(place, *cut).values
            assert np.array_equal(values, read_samples(path, *cut).values)
        assert sound_checksum(place) == sound_checksum(path)


def _checksums(found):
    return [sound_checksum(place) for place in found]


@pytest.mark.parametrize("kind", ["gnu", "gz", "deflated"])
def test_threads_and_forked_processes_read_at_the_same_time(kind, tmp_path, clips):
    found = [*places(kind, tmp_path, clips).values()] * 8
    wanted = [sound_checksum(clips / name) for name in NAMES] * 8
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(sound_checksum, found)] == wanted
    # Forked while the archive is open here, as a DataLoader's workers are.
    with get_context("fork").Pool(2) as pool:
        assert pool.map(_checksums, [found, found]) == [wanted, wanted]
    assert _checksums(found) == wanted


@pytest.mark.parametrize("kind", ["gnu", "stored", "gz", "parts", "deflated"])
def test_a_missing_archive_is_one_line_that_names_it(kind, tmp_path, clips):
    place = places(kind, tmp_path, clips)[NAMES[0]]
    for path in tmp_path.glob("x.*"):
        path.unlink()
    with pytest.raises(DataError, match=r"x\.[a-z.]+ is missing"):
        read_samples(place)


@pytest.mark.parametrize("kind", ["gnu", "stored"])
@pytest.mark.parametrize("change", ["renamed", "inserted", "cut off", "emptied", "overwritten"])
def test_a_changed_archive_is_one_line_and_never_another_clip(kind, change, tmp_path, clips):
    name = NAMES[0]
    place = places(kind, tmp_path, clips)[name]
    path = next(tmp_path.glob("x.*"))
    content = path.read_bytes()
    if change == "renamed":
        # Another clip of the same size at the same place, as in a corpus of equal durations.
        content = content.replace(b"dialog_00000001", b"dialog_00000007")
    elif change == "inserted":
        content = bytes(512) + content
    elif change == "cut off":
        content = content[: place.offset + 5]
    elif change == "emptied":
        content = b""
    else:
        content = os.urandom(len(content))
    path.unlink()
    path.write_bytes(content)
    if change == "renamed" and kind == "gnu":
        # With a checksum that is right again.
        member = tarfile.TarInfo("dialog_00000007.wav")
        member.size = place.n_bytes
        path.write_bytes(member.tobuf() + content[512:])
    with pytest.raises(DataError, match=r"x\.[a-z]+ has changed"):
        read_samples(place)


def test_a_gz_of_another_size_than_its_index_was_made_of_has_changed(tmp_path, clips):
    place = places("gz", tmp_path, clips)[NAMES[0]]
    with open(tmp_path / "x.tar.gz", "ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"x\.tar\.gz has changed"):
        read_samples(place)


@pytest.mark.parametrize("content", [None, b"", b"{}\n", b'{"bytes": 1}\nrubbish'])
def test_a_missing_or_damaged_index_is_named(content, tmp_path, clips):
    place = places("gz", tmp_path, clips)[NAMES[0]]
    index = tmp_path / "out" / "x.index"
    if content and b"1" in content:
        content = index.read_bytes().partition(b"\n")[0] + b"\nrubbish"
    index.unlink()
    if content is not None:
        index.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.index is (missing or )?damaged"):
        read_samples(place)


def test_an_index_is_made_again_only_where_its_archive_has_changed(tmp_path, clips):
    places("gz", tmp_path, clips)
    index, archive = tmp_path / "out" / "x.index", tmp_path / "x.tar.gz"
    first = index.stat().st_ino
    gzip_index(str(archive), str(index))
    assert index.stat().st_ino == first
    os.utime(archive, (1, 1))
    gzip_index(str(archive), str(index))
    assert index.stat().st_ino != first
    assert [path.name for path in index.parent.iterdir()] == ["x.index"]


@pytest.mark.parametrize(
    "content",
    [
        b"\x1f\x8b no gzip" * 100,
        gzip.compress(b"clips")[:11],
        # What follows may still be unpacked, to noise.
        PACKED[:4_500_000] + bytes(500_000) + PACKED[5_000_000:],
    ],
    ids=["no gzip", "cut off in its header", "damaged in the middle"],
)
def test_a_damaged_gz_has_no_index(content, tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(ValueError, match="^damaged: "):
        gzip_index(f"{tmp_path}/x.tar.gz", f"{tmp_path}/x.index")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]


# Of few bytes that are cut off rapidgzip makes an index without an error, and cannot read by it.
SMALL = gzip.compress(CONTENT[:10_000], 1) + gzip.compress(CONTENT[10_000:20_000], 1)
CUT_OFF = [(PACKED, n) for n in (400, 5_000, 4_200_000, 5_500_000, len(PACKED) - 1)]


@pytest.mark.parametrize(("packed", "n_bytes"), [*CUT_OFF, (SMALL, 9_000)])
def test_of_a_gz_that_is_cut_off_all_that_zlib_can_unpack_is_read(packed, n_bytes, tmp_path):
    archive, index = f"{tmp_path}/x.tar.gz", f"{tmp_path}/x.index"
    Path(archive).write_bytes(packed[:n_bytes])
    expected, rest = b"", packed[:n_bytes]
    while rest:
        unpacker = zlib.decompressobj(31)
        expected += unpacker.decompress(rest)
        rest = unpacker.unused_data
    gzip_index(archive, index)
    with opened_gzip(archive, index) as unpacked:
        assert unpacked.seek(0, os.SEEK_END) == len(expected) > 0
        for offset in (len(expected) * 9 // 10, len(expected) // 3, 0):
            unpacked.seek(offset)
            assert unpacked.read() == expected[offset:]


@pytest.mark.parametrize("padding", [bytes(10_240), b"no member"], ids=["zeros", "other bytes"])
def test_what_follows_a_gz_is_ignored_as_gzip_does(padding, tmp_path):
    archive, index = f"{tmp_path}/x.tar.gz", f"{tmp_path}/x.index"
    Path(archive).write_bytes(gzip.compress(CONTENT[:70_000]) + padding)
    gzip_index(archive, index)
    with opened_gzip(archive, index) as unpacked:
        assert unpacked.read() == CONTENT[:70_000]


def test_a_gz_without_an_index_and_one_without_rapidgzip_are_explained(
    tmp_path, clips, monkeypatch
):
    place = places("gz", tmp_path, clips)[NAMES[0]]
    with pytest.raises(DataError, match="Run script 1 on it, or unpack it"):
        read_samples(Place(place.address))
    monkeypatch.setitem(sys.modules, "rapidgzip", None)
    with pytest.raises(DataError, match=r"requirements-optional.txt.*tar xzf"):
        read_samples(place)


@pytest.mark.parametrize("kind", ["searched tar", "deflated"])
@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "no.wav", "d"])
def test_a_name_is_only_looked_up_inside_the_archive(kind, name, tmp_path, clips):
    address = places(kind, tmp_path, clips)[NAMES[0]].address
    with pytest.raises(DataError, match="holds no "):
        read_samples(Place(address.replace(NAMES[0], name)))


@pytest.mark.parametrize(
    ("offset", "n_bytes", "error"),
    [
        (512, MAX_MEMBER_BYTES + 1, UnreadableAudio),
        (512, MAX_MEMBER_BYTES, DataError),
        (1 << 62, 100, DataError),
        (0, 100, DataError),
        (511, 100, DataError),
        (512, 0, DataError),
    ],
)
@pytest.mark.parametrize("kind", ["gnu", "stored", "gz"])
def test_a_hostile_place_costs_neither_memory_nor_a_traceback(
    kind, offset, n_bytes, error, tmp_path, clips
):
    place = places(kind, tmp_path, clips)[NAMES[0]]
    with pytest.raises(error):
        read_samples(place._replace(offset=offset, n_bytes=n_bytes))


def test_links_devices_encrypted_and_lying_members_are_refused(tmp_path, clips):
    with tarfile.open(tmp_path / "x.tar", "w") as packed:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"{kind.decode()}.wav")
            member.type, member.linkname = kind, "/etc/passwd"
            packed.addfile(member)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        address = f"tar://{kind.decode()}.wav::{tmp_path}/x.tar"
        with pytest.raises(DataError, match="holds no "):
            read_samples(Place(address))
        with pytest.raises(DataError, match="has changed"):
            read_samples(Place(address, 512, 0))
    written_zip(tmp_path / "x.zip", clips, zipfile.ZIP_DEFLATED)
    content = bytearray((tmp_path / "x.zip").read_bytes())
    listed = content.index(b"PK\1\2")
    address = Place(f"zip://{NAMES[0]}::{tmp_path}/y.zip")
    for position, value in ((8, 1), (24, 9), (10, 12)):
        # Encrypted; of another size than the list says; of another compression.
        other = bytearray(content)
        other[listed + position] = value
        (tmp_path / "y.zip").unlink(missing_ok=True)
        (tmp_path / "y.zip").write_bytes(other)
        archive_clip._archive.cache_clear()
        archive_clip._members.cache_clear()
        with pytest.raises(UnreadableAudio, match="audio unreadable"):
            read_samples(address)


def test_of_a_download_that_was_cut_off_the_whole_files_are_read(tmp_path, clips):
    found = written_tar(tmp_path / "x.tar", clips)
    last = found[NAMES[-1]]
    os.truncate(tmp_path / "x.tar", sum(last) - 10)
    for name in NAMES[:-1]:
        place = Place(f"tar://{name}::{tmp_path}/x.tar")
        assert file_content(place) == (clips / name).read_bytes()
    with pytest.raises(DataError, match="holds no "):
        read_samples(Place(f"tar://{NAMES[-1]}::{tmp_path}/x.tar"))
    (tmp_path / "y.zip").write_bytes(b"PK\3\4 no zip")
    with pytest.raises(DataError, match=r"y\.zip: not a \.zip that can be read"):
        read_samples(Place(f"zip://a.wav::{tmp_path}/y.zip"))


def test_the_header_of_a_clip_is_judged_without_reading_the_clip(tmp_path, clips, monkeypatch):
    place = places("gnu", tmp_path, clips)[NAMES[0]]
    n_read, pread = [], os.pread
    monkeypatch.setattr(archive_file.os, "pread", lambda *of: n_read.append(of[1]) or pread(*of))
    audio_info(place)
    assert sum(n_read) < 2_000 < place.n_bytes
    assert clip_bytes(place, 512).read_at(1 << 40, 10) == (clips / NAMES[0]).read_bytes()[10:]


@pytest.mark.parametrize("at", [10, 101, 150, 340])
def test_bytes_that_a_checksum_does_not_hold_for_are_no_header_of_a_clip(at):
    clip = tarfile.TarInfo("a.wav")
    clip.size = 700
    header = clip.tobuf(tarfile.USTAR_FORMAT)
    assert fits_tar(header, "a.wav", 700)
    changed = header[:at] + bytes([header[at] ^ 1]) + header[at + 1 :]
    assert not fits_tar(changed, "a.wav", 700)


def test_a_member_may_not_reach_into_the_next_one(tmp_path, clips):
    place = places("gnu", tmp_path, clips)[NAMES[0]]
    n_bytes, read_at, _ = clip_bytes(place, 512)
    assert read_at(10, n_bytes - 4) == (clips / NAMES[0]).read_bytes()[-4:]
    assert read_at(10, n_bytes) == b""
    assert io.BytesIO(read_at(n_bytes, 0)).getvalue() == (clips / NAMES[0]).read_bytes()


def test_of_a_long_recording_only_what_a_clip_needs_is_read(tmp_path, noise, monkeypatch):
    soundfile.write(tmp_path / "long.flac", noise(16_000 * 90, 1), 16_000)
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as packed:
        packed.add(tmp_path / "long.flac", "long.flac")
    size = os.path.getsize(tmp_path / "long.flac")
    n_read, pread = [], os.pread
    monkeypatch.setattr(archive_file.os, "pread", lambda *of: n_read.append(of[1]) or pread(*of))
    read = read_samples(Place(f"tar://long.flac::{tmp_path}/x.tar", 512, size), 50.0, 1.0)
    assert sum(n_read) < size / 2
    assert (read.values == read_samples(tmp_path / "long.flac", 50.0, 1.0).values).all()


def test_a_deflated_recording_is_unpacked_once_for_clips_that_follow(tmp_path, clips, monkeypatch):
    place = places("deflated", tmp_path, clips)[NAMES[0]]
    first = read_samples(place, 0.1, 0.1)
    monkeypatch.setattr(archive_clip.zlib, "decompressobj", None)
    assert (read_samples(place, 0.1, 0.1).values == first.values).all()
    assert len(read_samples(place, 0.2, 0.1).values) == 1_600
