"""One clear line for each fault that a user can cause, and the exit status of a script."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# A path that cannot be written or read: a file instead of a folder, a read-only disk, no rights.
UNUSABLE_PATH_ERRNOS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}
# torch and safetensors raise exceptions of their own on a full disk: only the message says so.
DISK_FULL_MESSAGES = (
    "No space left",
    "os error 28",
    "PytorchStreamWriter failed",
    "unexpected pos",
    "File too large",
)
# Messages of torch's DataLoader about its workers, and of a worker about /dev/shm.
SHARED_MEMORY_MESSAGES = (
    "is killed by signal",
    "exited unexpectedly",
    "DataLoader timed out",
    "unable to write to file </torch_",
    "unable to allocate shared memory",
    "unable to open shared memory",
    "unable to resize file </torch_",
)
# Messages of gloo and NCCL after another process has ended.
LOST_PROCESS_MESSAGES = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection refused",
    "NCCL",
    "gloo",
)


class DataError(Exception):
    """Unusable data or an unusable model; the message says what, where, and what to do.

    Exit status 1.
    """


class SharedError(DataError):
    """A DataError that every process raises at the same line; only the first process prints it."""


class UsageError(Exception):
    """A command line that asks for something impossible. Exit status 2."""


def printable(text: str) -> str:
    """Replace line ends and terminal escape sequences, which file names may hold, by `?`."""
    return "".join(character if character.isprintable() else "?" for character in text)


class LastingOutput(io.FileIO):
    """Standard output or error: a run goes on and writes its files when nobody reads it any more.

    So it is after `| head -1`, and in a terminal that was closed. What is printed then is dropped.
    """

    def write(self, content) -> int:
        try:
            return super().write(content)
        except OSError as error:
            # Later lines, also those of Python's own end, go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if error.errno in DISK_FULL_ERRNOS:
                error.filename = "standard output"
                raise
            return len(content)


def keep_outputs() -> None:
    """Make standard output and error last, also where they were closed by `>&-`."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)
            _keep_number(number, stream.fileno())
        elif stream is getattr(sys, f"__{name}__"):
            options = {"line_buffering": stream.line_buffering, "encoding": stream.encoding}
            raw = io.BufferedWriter(LastingOutput(stream.fileno(), "w", closefd=False))
            stream = io.TextIOWrapper(raw, write_through=stream.write_through, **options)
        # Undecodable bytes in a file name, or a terminal without Hangul, must not end a run. In a
        # log file that holds both, lines stand in the order in which they were printed.
        stream.reconfigure(errors="backslashreplace", line_buffering=True)
        setattr(sys, name, stream)


def _keep_number(number: int, devnull: int) -> None:
    """Occupy the number of a closed stream, or a file that is opened later gets what is printed."""
    try:
        os.fstat(number)
    except OSError:
        os.dup2(devnull, number)


def exit_status(main: Callable[[], None]) -> int:
    """Run a script's main function and return the exit status.

    0 done, 1 data or model not usable, 2 wrong usage, 130 interrupted.
    Any other exception is a bug and keeps its traceback.
    """
    keep_outputs()
    try:
        _refuse_other_file_names()
        main()
        # At Python's own end nobody would hear of a full disk.
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        if _is_printed_by_another_process(error):
            return 1
        status, message = _explanation(error)
        if status is None:
            raise
        return _failed(status, message)
    if distributed := _joined_processes():
        distributed.destroy_process_group()
    return 0


def _refuse_other_file_names() -> None:
    """Raise DataError where Python does not read file names as UTF-8, as Linux has them.

    By the locale, such as ko_KR.euckr. A clip with Hangul in its name would not be found there.
    """
    encoding = sys.getfilesystemencoding()
    if encoding.lower() != "utf-8":
        raise DataError(
            f"file names are read as {encoding} here, not as UTF-8, and names in Hangul would not "
            "be found. Run  export PYTHONUTF8=1  and the same command again. "
            "· export PYTHONUTF8=1을 실행한 뒤 다시 시도하세요."
        )


def _is_printed_by_another_process(error: BaseException) -> bool:
    """Whether the first process prints this error, or one that this error follows from."""
    if not _rank():
        return False
    if isinstance(error, SharedError):
        return True
    if isinstance(error, DataError | UsageError | KeyboardInterrupt) or not _joined_processes():
        return False
    return any(message in str(error) for message in LOST_PROCESS_MESSAGES)


def _explanation(error: BaseException) -> tuple[int | None, str]:
    """Exit status and message of an error that a user can cause; (None, "") for a bug."""
    if isinstance(error, UsageError):
        return 2, f"wrong usage: {error}"
    if isinstance(error, DataError):
        # A data loader's worker sends a whole traceback, with our message as its last line.
        return 1, str(error).rpartition("DataError: ")[2].strip()
    if isinstance(error, KeyboardInterrupt):
        return 130, (
            "interrupted. Finished work is kept: run the same command again. "
            "· 중단했습니다. 완료된 결과는 남아 있으니 같은 명령을 다시 실행하세요."
        )
    path = getattr(error, "filename", None)
    if isinstance(error, OSError) and error.errno in UNUSABLE_PATH_ERRNOS and path:
        return 1, (
            f"{path} cannot be used: {error.strerror}. Choose another path, or free this one. "
            "· 이 경로를 사용할 수 없습니다. 다른 경로를 지정하세요."
        )
    if type(error).__name__ == "OutOfMemoryError":
        return 1, (
            "the GPU's memory is full. Script 2: halve --batch-per-gpu and double --accumulation, "
            "which keeps the batch of an update; or lower --max-duration-s. "
            "· GPU 메모리가 부족합니다."
        )
    if "no kernel image is available" in str(error):
        return 1, (
            "this torch has no code for the GPU of this machine, which is older or newer than it. "
            "Install a torch built for the GPU (https://pytorch.org/get-started/locally; cu126 "
            'for GTX 10, Titan V and V100), or use the CPU on purpose: CUDA_VISIBLE_DEVICES="" '
            "before the command. · 설치된 torch가 이 GPU를 지원하지 않습니다."
        )
    if any(message in str(error) for message in SHARED_MEMORY_MESSAGES):
        return 1, (
            "the workers that read audio cannot send their batches: /dev/shm is full, or one was "
            "stopped from outside for lack of memory. Pass --workers 0, or start the container "
            "with docker run --shm-size=2g, and run the same command again. "
            "· 공유 메모리가 부족합니다. --workers 0을 지정하거나 컨테이너의 --shm-size를 늘리세요."
        )
    if type(error).__name__ == "BrokenProcessPool":
        return 1, (
            "a process that checks clips was stopped from outside, most likely for lack of memory. "
            "Run again with --jobs 1. · 작업 프로세스가 중단되었습니다. --jobs 1로 다시 실행하세요."
        )
    if is_disk_full(error):
        return 1, (
            f"the disk is full while writing {path or os.getcwd()}. Finished work is kept: "
            "free some space and run the same command again. "
            "· 디스크가 가득 찼습니다. 공간을 확보한 뒤 같은 명령을 다시 실행하세요."
        )
    return None, ""


@contextmanager
def writing_into(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Turn a library's own exception for a full disk into an OSError that names the folder."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error) and not getattr(error, "filename", None):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception, or the one before it, means a full disk, a used-up quota or a limit."""
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return True
    if any(message in str(error) for message in DISK_FULL_MESSAGES):
        return True
    return error.__context__ is not None and is_disk_full(error.__context__)


def _failed(status: int, message: str) -> int:
    """Print the message and return the status."""
    # Until torchrun's processes have joined, all those of a machine meet the same fault, and the
    # first prints it. Then each works on its own clips and prints its own faults.
    if not int(os.environ.get("LOCAL_RANK", _rank())) or _joined_processes():
        # In a log that holds both, what was printed before the fault comes before it.
        sys.stdout.flush()
        # One line, whatever the names in it hold.
        print(f"ERROR · 오류: {printable(message)}", file=sys.stderr, flush=True)
    return status


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _joined_processes() -> ModuleType | None:
    """torch.distributed if torchrun's processes have joined, else None; never imports torch."""
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        return distributed
    return None
