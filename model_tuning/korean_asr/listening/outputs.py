"""The file of --output: csv, jsonl, srt or txt, by its ending."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from korean_asr.errors import UsageError, printable
from korean_asr.files import json_line, refuse_unusable_folder, whole_file
from korean_asr.listening.heard import Heard

# Excel reads a .csv as UTF-8 only behind this mark.
BYTE_ORDER_MARK = "\ufeff"


def refuse_unusable_output(output: Path, recordings: list[Path]) -> None:
    """Raise UsageError, or OSError that names the folder, if the file cannot be written."""
    suffix = output.suffix.lower()
    if suffix not in WRITERS:
        endings = ", ".join(WRITERS)
        raise UsageError(
            f"--output {output}: its ending says what is written, one of {endings}. "
            "· 파일 이름의 확장자로 형식을 지정하세요."
        )
    if output.is_dir():
        raise UsageError(f"--output {output} is a folder. Name a file in it. · 폴더입니다.")
    if not output.parent.is_dir():
        raise UsageError(
            f"--output {output}: there is no folder {output.parent}. Make it first. "
            "· 폴더가 없습니다. 먼저 만드세요."
        )
    if os.path.realpath(output) in map(os.path.realpath, recordings):
        raise UsageError(
            f"--output {output} is one of the recordings. Name another file. "
            "· 녹음 파일을 덮어쓸 수 없습니다."
        )
    if suffix == ".srt" and len(recordings) > 1:
        raise UsageError(
            f"--output {output}: subtitles are of one recording, and {len(recordings):,} are given."
            " Pass one, or another ending. · 자막 파일은 녹음 하나만 담을 수 있습니다."
        )
    refuse_unusable_folder(output.parent)


def write_output(output: Path, recordings: list[Heard]) -> None:
    """Write what was heard, the whole file or nothing. What could not be decoded is left out.

    A .jsonl has it with its problem.
    """
    with whole_file(output) as file:
        WRITERS[output.suffix.lower()](file, recordings)


def _write_csv(file: IO[str], recordings: list[Heard]) -> None:
    # Imported here: it takes half a second.
    import pandas

    rows = []
    for heard in _decoded(recordings):
        cues = [(cue.start, cue.end, cue.text, cue.confidence) for cue in heard.cues]
        rows += [(heard.name, *cue) for cue in cues or [(None, None, "", None)]]
    columns = ["file", "start", "end", "text", "confidence"]
    file.write(BYTE_ORDER_MARK)
    # Objects, since pandas' own string type cannot hold undecodable bytes of a file name.
    table = pandas.DataFrame(rows, columns=columns, dtype=object)
    table.to_csv(file, index=False, lineterminator="\n")


def _write_jsonl(file: IO[str], recordings: list[Heard]) -> None:
    file.writelines(json_line(result_row(heard)) + "\n" for heard in recordings)


def result_row(heard: Heard) -> dict[str, Any]:
    """A row of results, as scripts 3 and 4 write them; with a sentence they can score it."""
    hypothesis = heard.hypothesis
    row: dict[str, Any] = {
        "audio_filepath": os.path.abspath(heard.name),
        "duration": round(heard.seconds, 4),
    }
    if heard.sentence is not None:
        row["text"] = heard.sentence
    row["pred_text"] = hypothesis.text
    if hypothesis.confidence is not None:
        row["confidence"] = round(hypothesis.confidence, 6)
    if hypothesis.problem:
        row["problem"] = hypothesis.problem
    if hypothesis.is_silent:
        row["is_silent"] = True
    return {**row, "letters": hypothesis.letters}


def _write_srt(file: IO[str], recordings: list[Heard]) -> None:
    (heard,) = recordings
    for number, cue in enumerate(heard.cues, 1):
        times = f"{_subtitle_time(cue.start)} --> {_subtitle_time(cue.end)}"
        file.write(f"{number}\n{times}\n{cue.text}\n\n")


def _subtitle_time(seconds: float) -> str:
    """A time as SubRip has it: `00:00:02,100`."""
    rest, milliseconds = divmod(round(seconds * 1000), 1000)
    hours, rest = divmod(rest, 3600)
    return f"{hours:02}:{rest // 60:02}:{rest % 60:02},{milliseconds:03}"


def _write_txt(file: IO[str], recordings: list[Heard]) -> None:
    if len(recordings) == 1:
        file.writelines(f"{cue.text}\n" for cue in recordings[0].cues)
        return
    for heard in _decoded(recordings):
        # A tab or a line end in a name would shift the columns.
        file.write(f"{printable(heard.name)}\t{heard.hypothesis.text}\n")


def _decoded(recordings: list[Heard]) -> list[Heard]:
    return [heard for heard in recordings if heard.hypothesis.problem is None]


WRITERS: dict[str, Callable[[IO[str], list[Heard]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".srt": _write_srt,
    ".txt": _write_txt,
}
