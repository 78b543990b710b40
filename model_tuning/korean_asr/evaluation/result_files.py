"""Names of the files of results."""

import os
from pathlib import Path
from typing import Any

from korean_asr.errors import UsageError


def stems_of(summaries: list[dict[str, Any]], owner: int = 0) -> list[str]:
    """`korean` for the owner, `korean.<name>` for other models; unlike even for models of one name.

    summaries: the contents of the .json files. owner: index of the model of the plain names.
    """
    stems: list[str] = []
    for index, summary in enumerate(summaries):
        stem = summary["corpus"]
        if index != owner:
            stem += f".{summary['model'].rpartition('/')[2]}"
        stems.append(f"{stem}.{index + 1}" if stem in stems else stem)
    return stems


def stems_in_model(rescored: list[Path], output: Path, corpus: str) -> list[str]:
    """The names that files of results keep, where all lie in the results folder of a model.

    Empty if `output` is another folder than a model's results/. Raises UsageError if it is one, and
    a file from elsewhere would become the model's results.
    """
    paths = [Path(os.path.abspath(output)), output.resolve()]
    if not any(path.name == "results" and _holds_model(path.parent) for path in paths):
        return []
    for path in rescored:
        is_there = path.parent.resolve() == output.resolve()
        if not is_there or path.suffix != ".jsonl" or path.stem.partition(".")[0] != corpus:
            raise UsageError(
                f"--output {output} holds the {corpus} results of the model beside it, and {path} "
                "is none of them: its scores would be shown as the model's. Name another folder, "
                f"such as --output results_{path.stem}. · 모델의 결과 폴더에는 다른 결과를 저장할 "
                "수 없습니다. 다른 --output을 지정하세요."
            )
    return [path.stem for path in rescored]


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", "experiment.json"))
