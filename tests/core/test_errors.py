import errno
import subprocess
import sys
import types

import pytest

from korean_asr.errors import DataError, SharedError, UsageError, exit_status, is_disk_full
from korean_asr.manifest import REPOSITORY


def raising(error):
    def main():
        raise error

    return main


START = """
import sys
sys.path.insert(0, "model_tuning")
from korean_asr.errors import exit_status
"""


def in_a_process(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", START + code, *arguments],
        cwd=REPOSITORY,
        text=True,
        encoding="utf-8",
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def test_in_a_file_lines_of_output_and_of_errors_stand_in_the_order_of_printing():
    code = """
def main():
    for number in range(3):
        print("output", number)
        print("error", number, file=sys.stderr)
exit_status(main)
"""
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    printed, _ = in_a_process(code, **both).communicate()
    assert printed == "output 0\nerror 0\noutput 1\nerror 1\noutput 2\nerror 2\n"


def test_a_script_that_ends_well_is_0_and_says_nothing(capsys):
    assert exit_status(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("korean.jsonl is missing."), 1, "korean.jsonl is missing."),
        (UsageError("3 processes"), 2, "wrong usage: 3 processes"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), 1, "the GPU's memory is full"),
        (
            RuntimeError("CUDA error: no kernel image is available for execution on the device"),
            1,
            "this torch has no code for the GPU",
        ),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."),
            1,
            "Pass --workers 0, or start the container with docker run --shm-size=2g",
        ),
        (
            RuntimeError("unable to write to file </torch_7_1_0>: No space left on device (28)"),
            1,
            "/dev/shm is full",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "out.jsonl"),
            1,
            "the disk is full while writing out.jsonl",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded", "out.jsonl"),
            1,
            "the disk is full while writing out.jsonl",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "data"),
            1,
            "data cannot be used: Permission denied.",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "data"),
            1,
            "data cannot be used: Read-only file system.",
        ),
        (
            FileExistsError(errno.EEXIST, "File exists", "data"),
            1,
            "data cannot be used: File exists.",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"),
            1,
            "a/b cannot be used: Not a directory.",
        ),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "x"),
            1,
            "x cannot be used: Is a directory.",
        ),
    ],
)
def test_what_a_user_can_cause_is_one_line_and_a_status(error, status, message, capsys):
    assert exit_status(raising(error)) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ERROR · 오류: ") and message in printed.err
    assert printed.err.count("\n") == 1 and printed.err.endswith("\n")


@pytest.mark.parametrize(
    "error", [ValueError("ours"), KeyError("ours"), FileNotFoundError(errno.ENOENT, "No", "x")]
)
def test_a_fault_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        exit_status(raising(error))


def test_file_names_that_are_not_read_as_utf_8_are_one_line_that_says_what_to_set():
    code = "sys.exit(exit_status(lambda: print(chr(0xBC25))))"
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    process = in_a_process(code, env=environment)
    printed, message = process.communicate()
    assert process.returncode == 1 and message.count("\n") == 1 and printed == ""
    assert "file names are read as ascii here" in message and "PYTHONUTF8=1" in message
    process = in_a_process(code, env=environment | {"PYTHONUTF8": "1"})
    assert process.communicate() == ("밥\n", "")


def test_wrong_usage_of_argparse_keeps_its_own_status():
    with pytest.raises(SystemExit):
        exit_status(raising(SystemExit(2)))


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, ""), True),
        (OSError(errno.EFBIG, ""), True),
        (OSError(errno.EIO, "Input/output error"), False),
        (
            RuntimeError(
                "[enforce fail] PytorchStreamWriter failed writing file data/3: file write failed"
            ),
            True,
        ),
        (RuntimeError('Error { code: 28, message: "No space left on device" }'), True),
        (Exception("I/O error: No space left on device (os error 28)"), True),
        (RuntimeError("CUDA out of memory"), False),
    ],
)
def test_a_full_disk_is_known_however_a_library_words_it(error, full):
    assert is_disk_full(error) is full


def test_a_full_disk_is_known_behind_the_error_that_it_led_to():
    try:
        try:
            raise OSError(errno.ENOSPC, "")
        except OSError:
            raise RuntimeError("could not save") from None
    except RuntimeError as error:
        assert is_disk_full(error)


def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old", encoding="utf-8")
    code = """
import resource
from pathlib import Path
from korean_asr.files import write_json_lines
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sys.exit(exit_status(lambda: write_json_lines(Path(sys.argv[1]), [{"text": "x" * 100}] * 1000)))
"""
    process = in_a_process(code, str(path))
    _, message = process.communicate()
    assert process.returncode == 1
    assert (
        message.startswith(f"ERROR · 오류: the disk is full while writing {path}.")
        and message.count("\n") == 1
    )
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [
        ("out.jsonl", "old")
    ]


PRINT_MUCH_THEN_WRITE = """
from pathlib import Path
def main():
    for number in range(20_000):
        print("밥", number)
        print("국", number, file=sys.stderr)
    with open(sys.argv[1], "w") as file:
        os.write(1, b"not into the file")
        file.write("whole")
sys.exit(exit_status(main))
"""


@pytest.mark.parametrize("redirection", [
    "| true", "| head -1", "2>&1 | head -1", ">&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&-",
    "1</dev/null",
])  # fmt: skip
@pytest.mark.slow
def test_a_run_whose_output_nobody_reads_writes_its_files_without_noise(tmp_path, redirection):
    script = tmp_path / "script.py"
    script.write_text(f"import os\n{START}{PRINT_MUCH_THEN_WRITE}", encoding="utf-8")
    command = f"{sys.executable} {script} {tmp_path}/out {redirection}; exit ${{PIPESTATUS[0]}}"
    options = {"capture_output": True, "text": True, "env": {"PYTHONUTF8": "1"}}
    result = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, **options)
    assert result.returncode == 0
    assert (tmp_path / "out").read_text() == "whole"
    for noise in ("Traceback", "ignored", "Error"):
        assert noise not in result.stdout + result.stderr


# The short one still lies in the buffer when the script ends.
@pytest.mark.parametrize("n_characters", [9_999, 9])
def test_a_full_disk_under_the_output_is_one_line(n_characters):
    code = f"sys.exit(exit_status(lambda: print('밥' * {n_characters})))"
    with open("/dev/full", "w") as full:
        process = in_a_process(code, stdout=full)
        _, message = process.communicate()
    assert process.returncode == 1 and message.count("\n") == 1
    assert "the disk is full while writing standard output" in message


def test_one_of_several_processes_prints_a_fault_of_the_inputs(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "torch.distributed", raising=False)
    monkeypatch.setenv("RANK", "1")
    assert exit_status(raising(DataError("missing"))) == 1
    assert capsys.readouterr().err == ""
    # The first process of each machine: only its own cards may be unusable.
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert exit_status(raising(DataError("missing"))) == 1
    assert capsys.readouterr().err == "ERROR · 오류: missing\n"
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.setenv("RANK", "0")
    assert exit_status(raising(DataError("missing"))) == 1
    assert capsys.readouterr().err == "ERROR · 오류: missing\n"


@pytest.fixture
def joined_processes(monkeypatch):
    """The second of two processes that have joined."""
    joined = types.SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True)
    monkeypatch.setitem(sys.modules, "torch.distributed", joined)
    monkeypatch.setenv("RANK", "1")


def test_an_error_of_all_processes_is_printed_by_the_first_alone(
    joined_processes, monkeypatch, capsys
):
    assert exit_status(raising(SharedError("bad split"))) == 1
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    assert exit_status(raising(SharedError("bad split"))) == 1
    assert capsys.readouterr().err == "ERROR · 오류: bad split\n"


def test_a_process_whose_first_has_ended_says_nothing(joined_processes, monkeypatch, capsys):
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")
    assert exit_status(raising(lost)) == 1
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(RuntimeError):
        exit_status(raising(lost))


def test_every_process_prints_its_own_fault_once_they_have_joined(joined_processes, capsys):
    assert exit_status(raising(DataError("clip gone"))) == 1
    assert capsys.readouterr().err == "ERROR · 오류: clip gone\n"


def test_a_name_with_line_ends_and_escapes_stays_in_one_line(capsys):
    assert exit_status(raising(DataError("a\nb\x1b[31m.wav is missing."))) == 1
    assert capsys.readouterr().err == "ERROR · 오류: a?b?[31m.wav is missing.\n"
