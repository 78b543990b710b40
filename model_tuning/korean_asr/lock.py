"""Locks: two runs never write the same files at once. A lock ends with its process."""

import atexit
import errno
import fcntl
import os
import socket
import time
from pathlib import Path

from korean_asr.errors import DataError, printable
from korean_asr.files import refuse_unusable_folder

_held: dict[Path, int] = {}  # lock file -> file descriptor, of this process


def lock(folder: Path, part: str = "") -> None:
    """Lock what this process writes into a folder, until the process ends, however it ends.

    part: start of the names of these files, where other processes may write others.
    The lock file lies beside the folder, so that --fresh can rename it, or inside where the folder
    above is another user's. It is removed at the end.
    Its lock is a POSIX record lock: a killed process leaves none, its children hold none, and on a
    network disk it counts on all machines. A disk without locks is written to without one.
    Raises DataError where another process holds the lock, and OSError now, before the long work,
    where the folder cannot be written into.
    """
    refuse_unusable_folder(folder)
    folder = folder.resolve()
    name = ".".join(["", folder.name, *([part] if part else []), "lock"])
    for parent in (folder.parent, folder):
        path = parent / name
        # A folder that is not there yet is not made for its lock.
        if path in _held or (parent == folder and not folder.is_dir()):
            return
        made = [above for above in path.parents if not above.exists()]
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _held[path] = _locked(path)
        except BlockingIOError:
            raise DataError(
                f"another run is writing into {folder} ({_holder(path)}). Wait until it ends, or "
                "stop it, or name another folder. · 다른 실행이 이 폴더에 저장하고 있습니다. 끝날 "
                "때까지 기다리거나 다른 폴더를 지정하세요."
            ) from None
        except OSError:
            continue
        atexit.register(_remove, path, os.getpid(), made)
        return


def _locked(path: Path) -> int:
    """A descriptor of the locked file, which says who holds it. Raises BlockingIOError if busy."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process before may have removed the file between these two calls.
            is_there = os.path.samestat(path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            is_there = False
        except OSError as error:
            os.close(descriptor)
            # POSIX allows both for a lock that another process holds.
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise BlockingIOError(*error.args) from None
            raise
        if is_there:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            holder = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
            os.ftruncate(descriptor, 0)
            os.write(descriptor, holder.encode())
            return descriptor
        os.close(descriptor)


def _holder(path: Path) -> str:
    """What the holder wrote about itself."""
    try:
        return printable(path.read_text(encoding="utf-8", errors="replace")[:200]) or "unknown"
    except OSError:
        return "unknown"


def _remove(path: Path, holder: int, made: list[Path]) -> None:
    """Remove the lock file, and the folders made for it where nothing else was written there."""
    # A forked child that ends in Python's way holds no lock.
    if os.getpid() != holder:
        return
    try:
        path.unlink(missing_ok=True)
        for parent in made:
            parent.rmdir()
    except OSError:
        pass
