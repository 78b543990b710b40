"""What a user can cause, told in one clear line; and the exit status of a script."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# A place that cannot be written or read: a file where a folder is wanted, a read-only disk, another owner.
UNUSABLE_PLACE_ERRNOS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
}  # fmt: skip
# torch and safetensors report a full disk in exceptions of their own, by message alone.
DISK_FULL_MESSAGES = (
    "No space left",
    "os error 28",
    "PytorchStreamWriter failed",
    "unexpected pos",
    "File too large",
)
# What gloo and NCCL say where another process has gone.
LOST_PROCESS_MESSAGES = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection refused",
    "NCCL",
    "gloo",
)


class DataError(Exception):
    """The data or the model on disk is not usable. The message says what, where, and what to do. Exit status 1."""


class SharedError(DataError):
    """A DataError that every process raises at the same place: the first of them tells it."""


class UsageError(Exception):
    """The command line asks for something impossible. Exit status 2."""


def printable(text: str) -> str:
    """What is told of names, which may hold line ends and escape sequences of a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def exit_status(main: Callable[[], None]) -> int:
    """Run a script's main function: 0 done, 1 data or model not usable, 2 wrong usage, 130 interrupted, 141 pipe closed.

    Every other exception is a fault of ours and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file name of undecodable bytes, or a terminal that knows no Hangul, must not end a run.
        stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except UsageError as error:
        return _failed(2, f"wrong usage: {error}")
    except DataError as error:
        if isinstance(error, SharedError) and _rank():
            return 1
        # A data loader's worker hands over its whole traceback as the message; its last line is ours.
        return _failed(1, str(error).rpartition("DataError: ")[2].strip())
    except KeyboardInterrupt:
        return _failed(
            130,
            "interrupted. What was complete is still there: run the same command again. · 중단했습니다. 다시 실행하세요.",
        )
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if (
            _rank()
            and _joined_processes()
            and any(message in str(error) for message in LOST_PROCESS_MESSAGES)
        ):
            return 1  # the process that failed tells why
        if isinstance(error, OSError) and error.errno in UNUSABLE_PLACE_ERRNOS and error.filename:
            return _failed(
                1,
                f"{error.filename} cannot be used: {error.strerror}. Choose another place, or free this one.",
            )
        if type(error).__name__ == "OutOfMemoryError":
            return _failed(
                1,
                "the GPU's memory is full. Script 2: halve --batch-per-gpu and double --accumulation, which keeps the batch "
                "of an update; or lower --max-duration-s. · GPU 메모리가 부족합니다.",
            )
        if not is_disk_full(error):
            raise
        place = getattr(error, "filename", None) or os.getcwd()
        return _failed(
            1,
            f"the disk is full while writing {place}. What was complete before is still there: "
            "free some space and run the same command again. · 디스크가 가득 찼습니다. 공간을 비우고 다시 실행하세요.",
        )
    if distributed := _joined_processes():
        distributed.destroy_process_group()
    return 0


@contextmanager
def writing_into(place: str | os.PathLike[str]) -> Iterator[None]:
    """Give a library's way of saying that the disk is full the name of the place that it was writing into."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error) and not getattr(error, "filename", None):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place)) from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception means a full disk, a used-up quota or a file size limit, however a library words it."""
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return True
    if any(message in str(error) for message in DISK_FULL_MESSAGES):
        return True
    return error.__context__ is not None and is_disk_full(error.__context__)


def _failed(status: int, message: str) -> int:
    # Under torchrun every process meets a fault of the inputs; one of them tells it. Once they work apart, each speaks.
    if _rank() and not _joined_processes():
        return status
    print(f"ERROR · 오류: {message}", file=sys.stderr, flush=True)
    return status


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _joined_processes() -> ModuleType | None:
    """torch.distributed where the processes of torchrun have met; torch is not imported for the question."""
    distributed = sys.modules.get("torch.distributed")
    return (
        distributed
        if distributed and distributed.is_available() and distributed.is_initialized()
        else None
    )
