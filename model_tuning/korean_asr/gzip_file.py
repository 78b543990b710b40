"""A .gz read at any place, by an index that rapidgzip makes in one pass over it."""

import atexit
import io
import json
import os
import shlex
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

from korean_asr.archive_file import Extent, JoinedFile, joined_file
from korean_asr.errors import DataError
from korean_asr.files import whole_file
from korean_asr.gzip_end import write_end

GZIP_MARK = b"\x1f\x8b"
# The first line of an index says of which file it is. The rest is rapidgzip's.
MAX_LINE_BYTES = 1_000
# Each holds its index, some MB, and a few unpacked chunks.
MAX_READERS = 8


def gzip_index(archive: str, index: str) -> None:
    """Write the index of a .gz, or of its parts, to a file; one that is up to date stays.

    Of a .gz that is cut off, all that can be unpacked is indexed: its end is packed anew beside the
    index. Files are written aside and renamed.
    Raises DataError where rapidgzip is not installed, OSError, and ValueError for a damaged .gz.
    """
    with joined_file(archive) as packed:
        made_of = {"bytes": packed.n_bytes, "mtime_ns": packed.mtime_ns}
        if made_of.items() <= _first_line(index).items():
            return
        try:
            content = _index_of(archive, packed)
        except _Failed as failed:
            made_of["used"] = write_end(packed, failed.offsets, _end_of(index))
            try:
                with _with_end(packed, made_of["used"], index) as mended:
                    content = _index_of(archive, mended)
            except _Failed as error:
                raise ValueError(f"damaged: {error}") from None
    with whole_file(Path(index)) as file:
        file.buffer.write(json.dumps(made_of).encode() + b"\n" + content)


class _Failed(Exception):
    """A .gz that rapidgzip cannot unpack to its end.

    offsets: bit -> unpacked bytes before it, of the deflate blocks that were reached.
    """

    def __init__(self, error: Exception | str, offsets: dict[int, int]) -> None:
        super().__init__(str(error))
        self.offsets = offsets


def _index_of(archive: str, packed: JoinedFile) -> bytes:
    content = io.BytesIO()
    # Two processors at most: others have work of their own.
    with _reader(archive, packed, parallelization=2) as unpacked:
        try:
            while unpacked.read(1 << 24):
                pass
            unpacked.export_index(content)
        except (RuntimeError, ValueError) as error:
            raise _Failed(error, unpacked.available_block_offsets()) from None
        offsets = unpacked.available_block_offsets()
    # Some that are cut off pass without an error, and cannot be read by their index.
    if max(offsets) != 8 * packed.n_bytes:
        raise _Failed("cut off", dict(list(offsets.items())[:-1]))
    return content.getvalue()


def _end_of(index: str) -> Path:
    return Path(f"{index}.end")


def _with_end(packed: JoinedFile, n_used: int, index: str) -> JoinedFile:
    """A .gz whose end lies beside its index."""
    end = _end_of(index)
    whole = [*packed.within(0, n_used), Extent(str(end), 0, end.stat().st_size)]
    return JoinedFile(whole)


def _first_line(index: str) -> dict[str, int]:
    """What an index was made of; {} where there is none, or a damaged one."""
    try:
        with open(index, "rb") as file:
            made_of = json.loads(file.readline(MAX_LINE_BYTES))
    except (OSError, ValueError):
        return {}
    return made_of if isinstance(made_of, dict) else {}


def opened_gzip(archive: str, index: str) -> Any:
    """The unpacked content of a .gz as a file that seeks; close it before Python ends.

    Raises DataError where the archive is missing or of another size than the one that was indexed,
    where the index is missing or damaged, and where rapidgzip is not installed.
    """
    try:
        packed = joined_file(archive)
    except OSError:
        raise DataError(missing_archive(archive)) from None
    try:
        with open(index, "rb") as file:
            made_of = json.loads(file.readline(MAX_LINE_BYTES))
            content = file.read()
        n_bytes = made_of["bytes"]
        mended = _with_end(packed, made_of["used"], index) if "used" in made_of else packed
    except (OSError, ValueError, KeyError, TypeError):
        packed.close()
        raise DataError(
            f"{index} is missing or damaged: it says where the clips of {archive} lie. "
            "Run script 1 again. · 1번 스크립트를 다시 실행하세요."
        ) from None
    if n_bytes != packed.n_bytes:
        packed.close()
        raise DataError(changed_archive(archive))
    # One thread: the processes that read are as many as there are processors.
    unpacked = _reader(archive, mended, parallelization=1)
    try:
        unpacked.import_index(io.BytesIO(content))
    except (RuntimeError, ValueError):
        unpacked.close()
        raise DataError(
            f"{index} is damaged. Delete it and run script 1 again. "
            "· 이 파일을 지우고 1번 스크립트를 다시 실행하세요."
        ) from None
    return unpacked


def missing_archive(archive: str) -> str:
    """The line about an archive that is not there any more."""
    return (
        f"{archive} is missing, and clips of the manifest lie in it. Put it back, or run script 1 "
        "again. · 압축 파일이 없습니다. 원래 위치에 두거나 1번 스크립트를 다시 실행하세요."
    )


def changed_archive(archive: str) -> str:
    """The line about an archive whose clips lie elsewhere than script 1 has found them."""
    return (
        f"{archive} has changed since its clips were listed. Run script 1 again. "
        "· 압축 파일이 바뀌었습니다. 1번 스크립트를 다시 실행하세요."
    )


def _reader(archive: str, packed: JoinedFile, parallelization: int) -> Any:
    try:
        import rapidgzip
    except ImportError:
        packed.close()
        name = shlex.quote(archive)
        raise DataError(
            f"{archive}: clips in a .tar.gz are read with rapidgzip. Install it: "
            "pip install -r requirements-optional.txt. Or unpack the archive, "
            f"mkdir -p DIR && tar xzf {name} -C DIR, and run script 1 on that folder. "
            "· rapidgzip을 설치하거나 압축을 풀어 주세요."
        ) from None
    # A whole file is read by rapidgzip itself, parts through Python.
    whole = packed.extents[0].path if len(packed.extents) == 1 else packed
    return rapidgzip.open(whole, parallelization=parallelization)


class Readers:
    """The open .gz files of this process, the least used closed first.

    A forked process opens its own: the threads of an inherited reader are not there, and to close
    it would wait for them for ever.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._inherited: list[Any] = []
        os.register_at_fork(after_in_child=self._leave_to_parent)
        # Python must not end while a reader's threads run.
        atexit.register(self.close)

    def _leave_to_parent(self) -> None:
        self._inherited.append(self._open)
        self._lock, self._open = Lock(), OrderedDict()

    def read_at(self, archive: str, index: str, n_bytes: int, offset: int) -> bytes:
        """Up to n_bytes of the unpacked file from an offset. Raises as opened_gzip; OSError."""
        with self._lock:
            reader = self._open.pop((archive, index), None) or opened_gzip(archive, index)
            self._open[archive, index] = reader
            if len(self._open) > MAX_READERS:
                self._open.popitem(last=False)[1].close()
            try:
                reader.seek(offset)
                return reader.read(n_bytes)
            except (RuntimeError, ValueError) as error:
                raise OSError(str(error)) from None

    def close(self) -> None:
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


READERS = Readers()
