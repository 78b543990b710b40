"""What each experiment brought: recipe, training and scores of several models, compared."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from korean_asr.evaluation.comparison import differences, repair_difference, same_clips
from korean_asr.evaluation.experiments import Experiment, Experiments, weights_of
from korean_asr.evaluation.intervals import interval
from korean_asr.evaluation.repair import repair_rate, slips_of
from korean_asr.files import as_read
from korean_asr.manifest import content_checksum
from korean_asr.messages import CORPORA, english
from korean_asr.metrics import corpus_counts, first_code_counts
from korean_asr.rates import stored_rate
from korean_asr.recipe import VALUES

# Learners' labels have no punctuation, so the scores without it are the fair ones for them.
SCORES_OF = {
    "korean": ("cer", "wer"),
    "foreign": ("cer", "wer", "cer_no_punctuation", "wer_no_punctuation"),
}
# The splits that a model is trained on, natives' and learners'.
TRAINING_PARTS = ("train", "foreign_train")


@dataclass(frozen=True, slots=True)
class ExperimentTable:
    """The numbers of the table.

    first: name of the model that the others are compared with.
    values: names of the recipe values that differ.
    rows: a dictionary for each model; see _row. None is unknown.
    """

    first: str
    values: list[str]
    rows: list[dict[str, Any]]
    notes: list[str]


def experiment_table(found: Experiments) -> ExperimentTable:
    """Compare the models with the first of them."""
    models = _with_names_apart(found.models)
    recipes = [model.record["recipe"] for model in models if model.record.get("recipe")]
    values = _differing_values(recipes)
    notes = list(found.notes)
    for corpus in CORPORA:
        notes += _comparison_notes(models, corpus)
    rows = [_row(model, models[0], values) for model in models]
    return ExperimentTable(models[0].name, values, rows, notes)


def _with_names_apart(models: list[Experiment]) -> list[Experiment]:
    """Number the models whose name another one has too."""
    n_of_name = Counter(model.name for model in models)
    return [
        replace(model, name=f"{model.name} ({number})") if n_of_name[model.name] > 1 else model
        for number, model in enumerate(models, 1)
    ]


def _recipe_values(recipe: dict[str, Any]) -> dict[str, Any]:
    """The values of a recorded recipe. One that an old record lacks was its default then."""
    defaults = {key: as_read(value.default) for key, value in VALUES.items()}
    return {key: value for key, value in (defaults | recipe).items() if key != "name"}


def _differing_values(recipes: list[dict[str, Any]]) -> list[str]:
    """Names of the values in which these recipes are not all equal, in the order of the Recipe."""
    values = [_recipe_values(recipe) for recipe in recipes]
    unknown = object()
    names = dict.fromkeys(name for known in values for name in known)
    return [
        name
        for name in names
        if any(known.get(name, unknown) != values[0].get(name, unknown) for known in values)
    ]


def _comparison_notes(models: list[Experiment], corpus: str) -> list[str]:
    """Why models are not compared on a corpus, and which results are missing or of training."""
    first, title = models[0], english(CORPORA[corpus])
    scored = [model for model in models if corpus in model.evaluations]
    notes = [
        f"{title}: {warning}" for model in scored if (warning := model.evaluations[corpus].warning)
    ]
    lacking = [model.name for model in models[1:] if corpus not in model.evaluations]
    if scored and lacking:
        script = {"korean": 3, "foreign": 4}[corpus]
        notes.append(
            f"{title}: no results of {', '.join(lacking)}. Run script {script} with --model and "
            f"that folder. · 평가 결과가 없습니다. {script}번 스크립트로 평가하세요."
        )
    if scored and first is not scored[0]:
        notes.append(
            f"{title}: {first.name} has no results, so no model is compared with it. "
            "· 첫 모델의 결과가 없어 비교하지 않습니다."
        )
        return notes
    others = [model.name for model in scored if not _is_compared(first, model, corpus)]
    if others:
        notes.append(
            f"{title}: {', '.join(others)} and {first.name} were not scored on the same clips, so "
            "they are not compared. Score them in one run of the script. "
            "· 같은 발화로 평가한 결과만 비교할 수 있습니다."
        )
    return notes


def _is_compared(first: Experiment, other: Experiment, corpus: str) -> bool:
    pair = first.evaluations.get(corpus), other.evaluations.get(corpus)
    return None not in pair and same_clips(*pair)


def _row(model: Experiment, first: Experiment, values: list[str]) -> dict[str, Any]:
    """One model: what it was trained with and on, and its scores. None where it is unknown.

    corpora: by corpus, see _scored. values: the differing recipe values, those that are known.
    first_code: see metrics.first_code_counts.
    """
    record = model.record
    recipe = record.get("recipe") or {}
    known = _recipe_values(recipe) if recipe else {}
    seconds = _number(record, "speed", "training_seconds")
    return {
        "model": model.name,
        "recipe": recipe.get("name"),
        "values": {name: known[name] for name in values if name in known},
        "base_model": (record.get("base_model") or {}).get("name"),
        "train_clips": _size_of_training(record, "n_clips"),
        "train_hours": _size_of_training(record, "hours"),
        "updates": _number(record, "updates"),
        "training_hours": None if seconds is None else seconds / 3600,
        "corpora": {corpus: _scored(model, first, corpus) for corpus in model.evaluations},
        "first_code": _first_code(model),
    }


def _size_of_training(record: dict[str, Any], unit: str) -> float | None:
    """Clips or hours of the training splits together."""
    sizes = [_number(record, "clips", part, unit) for part in TRAINING_PARTS]
    return sum(filter(None, sizes)) if any(size is not None for size in sizes) else None


def _number(record: Any, *keys: str) -> float | None:
    for key in keys:
        record = record.get(key) if isinstance(record, dict) else None
    is_number = isinstance(record, int | float) and not isinstance(record, bool)
    return record if is_number else None


def _scored(model: Experiment, first: Experiment, corpus: str) -> dict[str, Any]:
    """The scores of a model on a corpus, and how much lower than the first model's they are."""
    evaluation = model.evaluations[corpus]
    compared = {}
    if model is not first and _is_compared(first, model, corpus):
        compared = differences(first.evaluations[corpus], evaluation)
    columns = {name: column for column, name in enumerate(evaluation.totals)}
    repair = {"repair": _repair(model, first)} if corpus == "foreign" else {}
    return {
        "n_clips": len(evaluation.utterances),
        "manifest": evaluation.manifest,
        "drawn": evaluation.units.drawn,
        "clips_sha256": content_checksum(evaluation.utterances),
        "weights_sha256": weights_of(evaluation),
        "scores": {
            name: {
                "rate": stored_rate(evaluation.totals[name].rate),
                "interval": interval(evaluation.drawn[:, columns[name]]),
                "difference": compared.get(name),
            }
            for name in SCORES_OF[corpus]
        },
        **repair,
    }


def _repair(model: Experiment, first: Experiment) -> dict[str, Any]:
    """The repair rate of a model on learners, and how much lower than the first model's it is."""
    evaluation, difference = model.evaluations["foreign"], None
    found = slips_of(evaluation)
    if model is not first and _is_compared(first, model, "foreign"):
        difference = repair_difference(first.evaluations["foreign"], evaluation)
    return repair_rate(evaluation, found, range(len(found))) | {"difference": difference}


def _first_code(model: Experiment) -> dict[str, float]:
    """The rates of the original code on Korean speakers; empty without results or vocab.json."""
    evaluation = model.evaluations.get("korean")
    if not evaluation or not model.characters:
        return {}
    counts = corpus_counts(first_code_counts(*pair, model.characters) for pair in evaluation.pairs)
    return {name: stored_rate(count.rate) for name, count in counts.items()}
