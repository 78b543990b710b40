"""Audio in archives: the clips of the folder that was packed, read where they lie."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from korean_asr.preprocessing.cleaning import Settings, preprocessed

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
    corpus = preprocessed(root, Settings(), 2, "korean", output)
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
