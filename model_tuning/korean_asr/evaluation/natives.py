"""Evaluations from files of results: any system's, and the same model's on Korean speakers."""

from pathlib import Path

from korean_asr.evaluation.rescoring import Results, clean_korean_results, read_results
from korean_asr.evaluation.scores import Evaluation
from korean_asr.overlap import KINDS, Seen


def rescored(path: Path, corpus: str) -> Evaluation:
    """Score a file of results, of this or another system. Raises DataError for another file.

    Learners' results have those of natives beside them, which are the fact `natives`.
    """
    evaluation = _of_results(read_results(path), corpus)
    if corpus == "foreign":
        evaluation.facts["natives"] = natives_of(evaluation, [path.parent])
    return evaluation


def natives_of(foreign: Evaluation, folders: list[Path]) -> Evaluation | None:
    """The same model's results of script 3 in one of the folders; None where there are none."""
    results = clean_korean_results(folders, foreign.facts.get("weights_sha256"))
    return _of_results(results, "korean") if results else None


def _of_results(results: Results, corpus: str) -> Evaluation:
    from korean_asr.model import versions

    path, facts = results.path, results.facts
    model = facts.get("model") or path.stem
    seen = dict.fromkeys(KINDS)
    if results.trained_on:
        seen["id"] = results.trained_on
    return Evaluation(
        corpus=corpus,
        model=model,
        manifest=facts.get("manifest") or str(path),
        utterances=results.utterances,
        hypotheses=results.hypotheses,
        seen=seen,
        overlap=frozenset(results.trained_on),
        facts=facts | {"versions": versions()},
        notes=(*facts.get("notes", ()), f"scored again from {path.name}"),
        warning=facts.get("warning") or Seen(seen, len(results.utterances)).warning(model),
    )
