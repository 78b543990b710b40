"""One model x one manifest -> scores; and the guard against scoring what the model was trained on."""

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .decoding import Hypothesis, decoded_by_all
from .errors import DataError
from .manifest import Utterance, content_checksum, manifest_rows, read_manifest
from .metrics import RULE, EditCounts, corpus_counts, utterance_counts
from .model import load_recogniser, model_folder, versions
from .processes import join_processes
from .splits import sentence_key

GROUPED_BY = {"korean": (), "foreign": ("first_language",)}
SAMPLE_SEED = 42


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of one model on one manifest, with all that they were made from."""

    corpus: str
    model: str
    weights_sha256: str
    recipe: str | None
    manifest: str
    utterances: list[Utterance]
    hypotheses: list[Hypothesis]
    per_utterance: list[dict[str, EditCounts]]
    seen_in_training: dict[str, int | None]
    notes: tuple[str, ...] = ()

    @property
    def totals(self) -> dict[str, EditCounts]:
        return corpus_counts(self.per_utterance)

    @property
    def duration(self) -> float:
        """Seconds of audio, by the manifest."""
        return sum(utterance.duration for utterance in self.utterances)

    @property
    def n_unreadable(self) -> int:
        return sum(hypothesis.problem is not None for hypothesis in self.hypotheses)

    def groups(self) -> dict[str, dict[str, list[int]]]:
        """Places of the clips of each slice: {"first_language": {"베트남어": [0, 5, ...]}}."""
        grouped: dict[str, dict[str, list[int]]] = {}
        for key in GROUPED_BY[self.corpus]:
            slices = defaultdict(list)
            for place, utterance in enumerate(self.utterances):
                slices[getattr(utterance, key) or "unknown"].append(place)
            grouped[key] = dict(sorted(slices.items()))
        return grouped

    def worst(self, n_clips: int = 10) -> list[int]:
        """Places of the clips with the highest CER, the more errors first among equals."""
        order = sorted(range(len(self.utterances)), key=lambda place: self._badness(place), reverse=True)
        return [place for place in order if self.per_utterance[place]["cer"].errors][:n_clips]

    def _badness(self, place: int) -> tuple[float, int, str]:
        counts = self.per_utterance[place]["cer"]
        return counts.rate, counts.errors, self.utterances[place].id


def evaluate(sources: list[str], manifest: Path, utterances: list[Utterance], corpus: str,
             notes: tuple[str, ...] = ()) -> list[Evaluation]:  # fmt: skip
    """Score every model on the same clips. Raises DataError where a model was trained on one of them."""
    # Every mistake that can be known is told before the long work, and before the processes meet.
    guards = [seen_in_training(source, utterances) for source in sources]
    for source in sources:
        model_folder(source)
    join_processes()
    evaluations = []
    for source, seen in zip(sources, guards, strict=True):
        recogniser = load_recogniser(source)
        hypotheses = decoded_by_all(recogniser, utterances, f"decoding with {recogniser.name}").hypotheses
        if all(hypothesis.problem for hypothesis in hypotheses):
            raise DataError(
                f"none of the {len(utterances)} clips of {manifest} can be read (the first: {hypotheses[0].problem}, "
                f"{utterances[0].audio_filepath}). Were they moved? Run script 1 again. · 읽을 수 있는 음성이 없습니다."
            )
        # A clip that cannot be read has an empty hypothesis: all deletions, and it stays in the denominator.
        pairs = zip(utterances, hypotheses, strict=True)
        evaluation = Evaluation(
            corpus=corpus,
            model=recogniser.name,
            weights_sha256=recogniser.weights_sha256,
            recipe=recipe_of(source),
            manifest=str(manifest),
            utterances=utterances,
            hypotheses=hypotheses,
            per_utterance=[utterance_counts(utterance.text, hypothesis.text) for utterance, hypothesis in pairs],
            seen_in_training=seen,
            notes=notes,
        )
        evaluations.append(evaluation)
    return evaluations


def default_manifest(sources: list[str]) -> Path:
    """The test split of the first model that has one. Raises DataError if none has."""
    for source in sources:
        if (Path(source) / "split" / "test.jsonl").is_file():
            return Path(source) / "split" / "test.jsonl"
    raise DataError(
        f"none of the models ({', '.join(sources)}) has a split/test.jsonl. Run script 2 first, or pass --manifest FILE."
    )


def owner(sources: list[str]) -> int:
    """Which model the results belong to: the first that has a split, else the first."""
    return next((place for place, source in enumerate(sources) if (Path(source) / "split").is_dir()), 0)


def results_folder(sources: list[str]) -> Path:
    """results/ of the first model that has a split, else results_<model>/ here, so that no other folder is written into."""
    source = Path(sources[owner(sources)])
    return source / "results" if (source / "split").is_dir() else Path(f"results_{source.name}")


def seen_in_training(source: str, utterances: list[Utterance]) -> dict[str, int | None]:
    """How many of the clips the model was trained on, by id, and how many share a sentence or a speaker with its training.

    None is what nobody can know: a model without a split, a corpus without speakers. Raises DataError for clips that are in
    its training split by id.
    """
    split = Path(source) / "split" / "train.jsonl"
    if not split.is_file():
        return dict.fromkeys(("id", "audio", "sentence", "speaker"))
    trained = read_manifest(split)
    ids = {utterance.id for utterance in trained}
    seen = [utterance.id for utterance in utterances if utterance.id in ids]
    if seen:
        raise DataError(
            f"{len(seen)} of {len(utterances)} clips are in {split} (the first: {seen[0]}): {source} was trained on them, and "
            "the score would be worth nothing. Take them out of the manifest. · 학습에 쓴 음성은 평가할 수 없습니다."
        )
    sentences = {sentence_key(utterance.text) for utterance in trained}
    speakers = {utterance.speaker for utterance in trained} - {None}
    known = [utterance for utterance in utterances if utterance.speaker]
    return {
        "id": 0,
        "audio": None,
        "sentence": sum(sentence_key(utterance.text) in sentences for utterance in utterances),
        "speaker": sum(utterance.speaker in speakers for utterance in known) if known and speakers else None,
    }


def recipe_of(source: str) -> str | None:
    """The name of the recipe that made a model, or None for one that script 2 did not make."""
    try:
        return json.loads((Path(source) / "experiment.json").read_text(encoding="utf-8"))["recipe"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def spread_sample(utterances: list[Utterance], limit: int) -> list[Utterance]:
    """At most `limit` clips, spread as evenly as they allow over first languages, then over speakers; one seed, one sample."""
    shuffled = sorted(utterances, key=lambda utterance: utterance.id)
    random.Random(SAMPLE_SEED).shuffle(shuffled)
    speakers: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
    for utterance in shuffled:
        speakers[utterance.first_language or ""][utterance.speaker or ""].append(utterance)
    languages = [_round_robin(list(by_speaker.values())) for _, by_speaker in sorted(speakers.items())]
    return sorted(_round_robin(languages)[:limit], key=lambda utterance: utterance.id)


def _round_robin(queues: list[list[Utterance]]) -> list[Utterance]:
    """One of each queue in turn, until all are empty."""
    depth = max(map(len, queues), default=0)
    return [queue[i] for i in range(depth) for queue in queues if i < len(queue)]


def score_rows(counts: dict[str, EditCounts]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "rate": round(count.rate, 6),
            "substitutions": count.substitutions,
            "deletions": count.deletions,
            "insertions": count.insertions,
            "reference_length": count.reference_length,
        }
        for name, count in counts.items()
    }


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """What korean.json and foreign.json hold."""
    groups = {
        key: {
            name: {
                "n_clips": len(places),
                "scores": score_rows(corpus_counts([evaluation.per_utterance[place] for place in places])),
            }
            for name, places in slices.items()
        }
        for key, slices in evaluation.groups().items()
    }
    return {
        "rule": RULE,
        "corpus": evaluation.corpus,
        "model": evaluation.model,
        "recipe": evaluation.recipe,
        "manifest": evaluation.manifest,
        "checksums": {"clips": content_checksum(evaluation.utterances), "weights": evaluation.weights_sha256},
        "versions": versions(),
        "n_clips": len(evaluation.utterances),
        "n_unreadable": evaluation.n_unreadable,
        "duration": round(evaluation.duration, 3),
        "seen_in_training": evaluation.seen_in_training,
        "scores": score_rows(evaluation.totals),
        "groups": groups,
        "notes": list(evaluation.notes),
    }


def result_rows(evaluation: Evaluation, folder: Path) -> list[dict[str, Any]]:
    """What korean.jsonl and foreign.jsonl hold: each clip's manifest line, with pred_text and its own counts."""
    rows = manifest_rows(evaluation.utterances, folder)
    for row, hypothesis, counts in zip(rows, evaluation.hypotheses, evaluation.per_utterance, strict=True):
        row["pred_text"] = hypothesis.text
        row["cer"] = round(counts["cer"].rate, 6)
        row["wer"] = round(counts["wer"].rate, 6)
        if hypothesis.problem:
            row["problem"] = hypothesis.problem
    return rows
