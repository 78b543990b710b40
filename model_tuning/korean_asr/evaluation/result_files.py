"""Names of the files of results, and what becomes of the files that have these names already."""

import os
from itertools import count
from pathlib import Path
from typing import Any

from korean_asr.errors import UsageError
from korean_asr.files import read_json

# Start of the names of earlier results, which are not taken for results of a model. They stay in
# their folder, so that their page finds its audio.
EARLIER = "earlier-"
# The .json goes last: it tells a run after a killed one that the rest is to be moved, too.
SUFFIXES = ("jsonl", "html", "xlsx", "json")


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


def set_aside(folder: Path, stem: str, summary: dict[str, Any]) -> list[str]:
    """Rename the files of a name, `earlier-1.korean.json`, if they are of other clips or weights.

    summary: the content that the .json will have. Returns a line that tells it, or none.
    Files whose .json is missing or damaged may be of anything, so they are renamed, too.
    """
    paths = [folder / f"{stem}.{suffix}" for suffix in SUFFIXES]
    paths = [path for path in paths if path.is_file()]
    try:
        is_other = _of(read_json(folder / f"{stem}.json")) != _of(summary)
    except (OSError, ValueError, KeyError, TypeError):
        is_other = True
    if not paths or not is_other:
        return []
    starts = (f"{EARLIER}{number}." for number in count(1))
    start = next(
        start for start in starts if not any((folder / (start + p.name)).exists() for p in paths)
    )
    for path in paths:
        path.rename(folder / (start + path.name))
    return [
        f"{folder / stem}.*, of other or unknown clips or weights, are now "
        f"{folder / (start + stem)}.* · 다른 발화나 다른 가중치의 이전 결과의 이름을 바꿨습니다."
    ]


def _of(summary: dict[str, Any]) -> tuple[str, str]:
    """Clips and weights; the name where the weights are unknown, as of another system."""
    checksums = summary["checksums"]
    return checksums["clips"], checksums["weights"] or summary["model"]
