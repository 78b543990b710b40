"""Evaluations from files of results: any system's, and the same model's on Korean speakers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from korean_asr.evaluation.rescoring import (
    Results,
    clean_korean_results,
    evaluation_of,
    read_results,
)
from korean_asr.evaluation.scores import Evaluation


def rescored(path: Path, corpus: str, folders: Sequence[Path] = ()) -> Evaluation:
    """Score a file of results, of this or another system. Raises DataError for another file.

    The same model's results on natives are the fact `natives` of learners' results. They are looked
    for beside these, beside the file where `path` is a link, then in `folders`.
    """
    evaluation = _scored_now(read_results(path), corpus)
    if corpus == "foreign":
        evaluation.facts["natives"] = natives_of(
            evaluation, [path.parent, path.resolve().parent, *folders]
        )
    return evaluation


def natives_of(foreign: Evaluation, folders: list[Path]) -> Evaluation | None:
    """The same model's results of script 3 in one of the folders; None where there are none."""
    results = clean_korean_results(folders, foreign.facts.get("weights_sha256"))
    return _scored_now(results, "korean") if results else None


def _scored_now(results: Results, corpus: str) -> Evaluation:
    """An evaluation that says which file it scored again, and with which versions."""
    from korean_asr.model import versions

    # Of another model's file in a results folder, such as korean.base_model.jsonl.
    name = results.facts.get("model") or results.path.stem.removeprefix(f"{corpus}.")
    earlier = evaluation_of(results, corpus, name)
    return replace(
        earlier,
        facts=earlier.facts | {"versions": versions()},
        notes=(*earlier.notes, f"scored again from {results.path.name}"),
    )
