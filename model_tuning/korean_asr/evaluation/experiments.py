"""Find models, the records of how they were made, and their results.

Everything is read from experiment.json, vocab.json and files of results, so nothing is decoded and
neither torch nor the weights are needed.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from korean_asr.errors import DataError
from korean_asr.evaluation.rescoring import Results, evaluation_of, read_results
from korean_asr.evaluation.scores import Evaluation
from korean_asr.manifest import content_checksum
from korean_asr.messages import CORPORA
from korean_asr.metrics import utterance_counts
from korean_asr.model_folder import (
    JSON_FILES,
    VOCABULARY_FILES,
    experiment_of,
    results_folder,
    tokens_in,
    vocabulary_folder,
)
from korean_asr.model_kinds import WHISPER, writes_characters
from korean_asr.vocabulary import characters_of

# Script 3 writes the results of a model that script 2 did not make into such a folder.
RESULTS_OF = "results_"


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is known of one model.

    record: the content of experiment.json; empty for a model that script 2 did not make.
    characters: the single characters that the model can write; empty if they are unknown.
    evaluations: by corpus, where there are results.
    """

    name: str
    record: dict[str, Any]
    characters: frozenset[str]
    evaluations: dict[str, Evaluation]


@dataclass(frozen=True, slots=True)
class Experiments:
    """Models in the order of the table, the first being the one that others are compared with.

    notes: what was left out and why, a sentence each.
    """

    models: list[Experiment]
    notes: list[str]


# Models that were scored just now


def experiments_of_models(
    sources: list[str], evaluations: list[Evaluation], results: Path
) -> Experiments:
    """Join the evaluations on Korean speakers with the models' records and foreign results.

    sources: folder or hub name of each model; results: the folder that this run writes into. The
    foreign results are found there and in the models' own folders, by the checksum of the weights.
    """
    notes: list[str] = []
    folders = dict.fromkeys([results, *(results_folder([source]) for source in sources)])
    files = {path.resolve(): path for one in folders for path in _result_files(one, "foreign")}
    foreign = [found for path in files.values() if (found := _read(path, notes))]
    candidates = {
        index: [found for found in foreign if weights_of(found) == weights_of(evaluation)]
        for index, evaluation in enumerate(evaluations)
    }
    chosen = _on_shared_clips(candidates)
    models = []
    for index, (source, evaluation) in enumerate(zip(sources, evaluations, strict=True)):
        found = {"korean": evaluation}
        if index in chosen:
            found["foreign"] = _evaluation(evaluation.model, "foreign", chosen[index])
        # What is odd about a vocabulary was told when the model was loaded.
        known = evaluation.facts.get("kind") != WHISPER
        characters = _characters(vocabulary_folder(source), []) if known else frozenset()
        models.append(Experiment(evaluation.model, experiment_of(source), characters, found))
    return Experiments(models, notes)


def weights_of(known: Evaluation | Results) -> str | None:
    """Checksum of the weights that wrote the texts; None if it is unknown."""
    return known.facts.get("weights_sha256")


# A folder of models


@dataclass(slots=True)
class _Model:
    """A model that was found, and all its results by corpus.

    weights: their checksum, of experiment.json or else of the first results that tell it.
    """

    name: str
    folder: Path | None = None
    weights: str | None = None
    results: dict[str, list[Results]] = field(default_factory=lambda: {one: [] for one in CORPORA})


def experiments_in(folder: Path) -> Experiments:
    """Find the models that lie in a folder, sorted by name.

    A model is a folder with an experiment.json, with the files of a model, or with results. A model
    that was scored beside another one is found in that one's results. Damaged files are left out,
    and noted. Raises DataError where there is no folder, or no model in it.
    """
    notes: list[str] = []
    children = _children(folder)
    models = {
        path.name: _Model(path.name, path, _recorded_weights(path))
        for path in children
        if _is_model(path)
    }
    places = [(path.name, path / "results") for path in children if path.name in models]
    places += [
        (path.name.removeprefix(RESULTS_OF), path)
        for path in children
        if path.name.startswith(RESULTS_OF)
    ]
    # A model's own results come first, since they tell its weights where its record does not.
    for is_own in (True, False):
        for owner, place in places:
            for corpus in CORPORA:
                for path in _result_files(place, corpus):
                    if (path.stem == corpus) == is_own and (found := _read(path, notes)):
                        name = owner if is_own else _name_in(found, corpus)
                        _assign(models, name, corpus, found, notes)
    if not models:
        raise DataError(_no_model(folder))
    ordered = [models[name] for name in sorted(models)]
    chosen = {
        corpus: _on_shared_clips({model.name: model.results[corpus] for model in ordered})
        for corpus in CORPORA
    }
    return Experiments([_experiment(model, chosen, notes) for model in ordered], notes)


def _children(folder: Path) -> list[Path]:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(
            f"{folder} {what}. --experiments wants the folder that the models' folders lie in. "
            "· 모델 폴더들이 들어 있는 폴더를 지정하세요."
        )
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _no_model(folder: Path) -> str:
    if _is_model(folder):
        return (
            f"{folder} is itself a model. Pass the folder that it lies in: --experiments "
            f"{folder.resolve().parent} · 모델 폴더의 상위 폴더를 지정하세요."
        )
    return (
        f"no folder in {folder} is a model, which has an experiment.json or results/korean.jsonl. "
        "Pass the folder that the models' folders lie in. "
        "· 모델 폴더들이 들어 있는 폴더를 지정하세요."
    )


def _is_model(folder: Path) -> bool:
    is_model = all((folder / name).is_file() for name in (JSON_FILES[0], VOCABULARY_FILES[0]))
    has_results = any(_result_files(folder / "results", corpus) for corpus in CORPORA)
    return is_model or has_results or (folder / "experiment.json").is_file()


def _recorded_weights(folder: Path) -> str | None:
    """The checksum of the weights that experiment.json tells of; older ones do not say it.

    A model that was trained again has it before it has results. A damaged record is noted later.
    """
    try:
        weights = experiment_of(str(folder)).get("weights_sha256")
    except DataError:
        return None
    return weights if isinstance(weights, str) else None


def _result_files(folder: Path, corpus: str) -> list[Path]:
    """`korean.jsonl`, then `korean.<name>.jsonl` of other models, which script 3 writes beside."""
    others = sorted(folder.glob(f"{corpus}.*.jsonl"))
    return [*folder.glob(f"{corpus}.jsonl"), *others]


def _name_in(results: Results, corpus: str) -> str:
    return results.facts.get("model") or results.path.stem.removeprefix(f"{corpus}.")


def _read(path: Path, notes: list[str]) -> Results | None:
    """Read a file of results; None, and a note, where it is damaged."""
    try:
        return read_results(path)
    except DataError as error:
        notes.append(f"left out: {error}")
        return None


def _assign(
    models: dict[str, _Model], name: str, corpus: str, results: Results, notes: list[str]
) -> None:
    """Give results to the model of that name, or of those weights; else to a new model."""
    weights = weights_of(results)
    model = named = models.get(name)
    if model and None not in (weights, model.weights) and weights != model.weights:
        same = (one for one in models.values() if one.weights == weights)
        model = next(same, None)
        if not model:
            known = "the other results of" if any(named.results.values()) else "the model"
            notes.append(
                f"left out: {results.path} is of other weights than {known} {name}. "
                "Score it again. · 다른 가중치의 결과이므로 제외했습니다."
            )
            return
    elif not model:
        same = (one for one in models.values() if weights and one.weights == weights)
        model = next(same, None) or models.setdefault(name, _Model(name))
    model.weights = model.weights or weights
    model.results[corpus].append(results)


def _experiment(
    model: _Model, chosen: dict[str, dict[str, Results]], notes: list[str]
) -> Experiment:
    record: dict[str, Any] = {}
    characters: frozenset[str] = frozenset()
    if model.folder:
        characters = _characters(model.folder, notes)
        try:
            record = experiment_of(str(model.folder))
        except DataError as error:
            notes.append(str(error))
    evaluations = {
        corpus: _evaluation(model.name, corpus, found[model.name])
        for corpus, found in chosen.items()
        if model.name in found
    }
    return Experiment(model.name, record, characters, evaluations)


def _characters(folder: Path, notes: list[str]) -> frozenset[str]:
    """The characters of vocab.json; empty where it is missing or, which is noted, damaged.

    They are unknown, too, of a vocabulary of longer tokens, and of one for each language.
    """
    is_known = (folder / VOCABULARY_FILES[0]).is_file() and writes_characters(folder)
    try:
        tokens = tokens_in(folder) if is_known else set()
    except DataError as error:
        notes.append(str(error))
        tokens = set()
    return characters_of(tokens) if tokens else frozenset()


def _on_shared_clips(candidates: dict[Any, list[Results]]) -> dict[Any, Results]:
    """Of each model's results those on the clips that most models were scored on, else its first.

    So models of different test splits are compared where one run of script 3 scored them together.
    """
    clips = {
        model: {content_checksum(results.utterances): results for results in reversed(found)}
        for model, found in candidates.items()
    }
    n_models = Counter(checksum for found in clips.values() for checksum in reversed(found))
    most_shared = next((checksum for checksum, _ in n_models.most_common(1)), None)
    return {
        model: clips[model].get(most_shared, found[0])
        for model, found in candidates.items()
        if found
    }


def _evaluation(name: str, corpus: str, results: Results) -> Evaluation:
    """A row of the table, which shows no score beyond those of utterance_counts."""
    return replace(evaluation_of(results, corpus, name), counts_of=utterance_counts)
