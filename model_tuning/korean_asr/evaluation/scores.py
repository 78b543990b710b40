"""Models x one manifest -> every score of the panel, with intervals, slices and what was heard instead."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from korean_asr.decoding import Decoded, Hypothesis, decoded_by_all
from korean_asr.errors import SharedError
from korean_asr.evaluation.confusions import confusions
from korean_asr.evaluation.intervals import LEVEL, N_DRAWS, Units, drawn_rates, interval, units_of
from korean_asr.hardware import (
    device_here,
    from_first,
    is_first,
    join_processes,
    n_processes,
    refuse_unavailable,
)
from korean_asr.manifest import Utterance, content_checksum, manifest_rows
from korean_asr.metrics import (
    RULE,
    Counts,
    HitCounts,
    corpus_counts,
    panel_counts,
    utterance_counts,
)
from korean_asr.model import load_recogniser, versions
from korean_asr.model_folder import model_folder, recipe_of
from korean_asr.overlap import Seen, refuse_seen, seen_in_training
from korean_asr.transcripts import without_tags
from korean_asr.vocabulary import outside_vocabulary, writable_characters

SAMPLE_SEED = 42
SMALL_SLICE = 30  # clips; the rate of a smaller slice says little, and the report marks it
DURATION_BINS_S = (0, 2, 4, 6, 10, 15, 20)
N_CALIBRATION_BINS = 10
SLICED_BY = {
    "korean": ("duration", "gender", "age", "residence", "quality", "theme"),
    "foreign": ("first_language", "topik_level", "task", "country", "gender", "duration"),
}


@dataclass(frozen=True)
class Evaluation:
    """One model's text for one manifest, and all scores of it. Made from a model, or from a file of results."""

    corpus: str
    model: str
    manifest: str
    utterances: list[Utterance]
    hypotheses: list[Hypothesis]
    seen: Seen
    facts: dict[str, Any]  # of the model: recipe, weights' checksum, decoding, lowest_reachable_cer
    notes: tuple[str, ...] = ()
    warning: str | None = None

    @cached_property
    def fair_pairs(self) -> list[tuple[str, str]]:
        """Reference and hypothesis of each clip; of learners' without tags (un/, 음/), which their labels hold as they come."""
        pairs = [(u.text, h.text) for u, h in zip(self.utterances, self.hypotheses, strict=True)]
        if self.corpus != "foreign":
            return pairs
        return [(without_tags(text), without_tags(hypothesis)) for text, hypothesis in pairs]

    @cached_property
    def per_utterance(self) -> list[dict[str, Counts]]:
        """Counts of each clip: cer and wer of the texts as they are, all other scores of fair_pairs."""
        counts = [panel_counts(*pair) for pair in self.fair_pairs]
        for place, pair in enumerate(self.fair_pairs):
            texts = self.utterances[place].text, self.hypotheses[place].text
            if texts != pair:
                raw = utterance_counts(*texts)
                counts[place] |= {name: raw[name] for name in ("cer", "wer")}
        return counts

    @cached_property
    def totals(self) -> dict[str, Counts]:
        return corpus_counts(self.per_utterance)

    @cached_property
    def ratios(self) -> np.ndarray:
        """(n_clips, n_scores, 2): what each score of each clip divides by what, in the order of totals."""
        return np.array(
            [[count.ratio for count in counts.values()] for counts in self.per_utterance],
            dtype=np.float64,
        )

    @property
    def n_unreadable(self) -> int:
        return sum(hypothesis.problem is not None for hypothesis in self.hypotheses)

    @cached_property
    def units(self) -> Units:
        return units_of([utterance.speaker for utterance in self.utterances])

    @cached_property
    def drawn(self) -> np.ndarray:
        """(N_DRAWS, n_scores): each score in each draw of speakers or clips, in the order of totals."""
        return drawn_rates(self.ratios, self.units)

    def part(self, places: list[int]) -> dict[str, Any]:
        """Scores of a slice."""
        units = units_of([self.utterances[place].speaker for place in places])
        totals = corpus_counts(self.per_utterance[place] for place in places)
        return {
            "n_clips": len(places),
            "small": len(places) < SMALL_SLICE,
            "resampled": units.resampled,
            "scores": score_rows(totals, drawn_rates(self.ratios[places], units)),
        }

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What korean.json and foreign.json hold."""
        return {
            "warning": self.warning,
            "rule": RULE,
            "corpus": self.corpus,
            "model": self.model,
            "recipe": self.facts.get("recipe"),
            "manifest": self.manifest,
            "checksums": {
                "clips": content_checksum(self.utterances),
                "weights": self.facts.get("weights_sha256"),
            },
            "versions": versions(),
            "n_clips": len(self.utterances),
            "n_unreadable": self.n_unreadable,
            "n_silent": sum(hypothesis.is_silent for hypothesis in self.hypotheses),
            "problems": dict(Counter(h.problem for h in self.hypotheses if h.problem)),
            "duration": round(sum(utterance.duration for utterance in self.utterances), 3),
            "seen_in_training": self.facts.get("seen_in_training") or self.seen.counts,
            "without_seen": self.facts.get("without_seen")
            or {
                kind: self.part(sorted(set(range(len(self.utterances))) - set(places)))
                for kind, places in self.seen.indices.items()
                if kind in ("sentence", "speaker") and places and len(places) < len(self.utterances)
            },
            "decoding": self.facts.get("decoding"),
            "lowest_reachable_cer": self.facts.get("lowest_reachable_cer"),
            "intervals": {
                "resampled": self.units.resampled,
                "n_units": self.units.n,
                "draws": N_DRAWS,
                "level": LEVEL,
            },
            "scores": score_rows(self.totals, self.drawn),
            "groups": {
                key: {name: self.part(places) for name, places in parts.items()}
                for key, parts in slices(self.utterances, self.corpus).items()
            },
            "confusions": confusions(self.utterances, self.fair_pairs),
            "calibration": calibration(self),
            "gap_to_korean": self.facts.get("gap_to_korean"),
            "notes": list(self.notes),
        }

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """What korean.jsonl and foreign.jsonl hold: each clip's manifest line, with pred_text and its own rates."""
        rows = manifest_rows(self.utterances, folder)
        for place, (row, hypothesis, counts) in enumerate(
            zip(rows, self.hypotheses, self.per_utterance, strict=True)
        ):
            if place in self.seen.overlap:  # so that the file alone, moved elsewhere, still says so
                row["seen_in_training"] = True
            row["pred_text"] = hypothesis.text
            row |= {name: round(counts[name].rate, 6) for name in ("cer", "wer", "cer_no_space")}
            if hypothesis.confidence is not None:
                row["confidence"] = round(hypothesis.confidence, 6)
            if hypothesis.problem:
                row["problem"] = hypothesis.problem
            if hypothesis.is_silent:
                row["is_silent"] = True
        return rows


def score_rows(totals: dict[str, Counts], drawn: np.ndarray) -> dict[str, dict[str, Any]]:
    """Counts and rates as JSON holds them; `punctuation .` becomes scores["punctuation"]["."], `jamo onset` likewise."""
    rows: dict[str, dict[str, Any]] = {}
    for number, (name, counts) in enumerate(totals.items()):
        row = {**_score_row(counts), "interval": interval(drawn[:, number])}
        score, _, part = name.partition(" ")
        if part:
            rows.setdefault(score, {})[part] = row
        else:
            rows[score] = row
    return rows


def _score_row(counts: Counts) -> dict[str, Any]:
    if isinstance(counts, HitCounts):
        rates = {"precision": counts.precision, "recall": counts.recall, "f1": counts.rate}
        return {
            **{name: None if rate is None else round(rate, 6) for name, rate in rates.items()},
            "hits": counts.hits,
            "reference": counts.reference,
            "hypothesis": counts.hypothesis,
        }
    return {
        "rate": round(counts.rate, 6),
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
        "reference_length": counts.reference_length,
    }


def slices(utterances: list[Utterance], corpus: str) -> dict[str, dict[str, list[int]]]:
    """Places of the clips of each slice, {"first_language": {"베트남어": [0, 5, ...]}}; a key that no clip knows is left out."""
    found: dict[str, dict[str, list[int]]] = {}
    for key in SLICED_BY[corpus]:
        name_of: Callable[[Utterance], str | None] = (
            duration_bin
            if key == "duration"
            else lambda utterance, key=key: getattr(utterance, key)
        )
        parts = defaultdict(list)
        for place, utterance in enumerate(utterances):
            parts[name_of(utterance) or "unknown"].append(place)
        if set(parts) - {"unknown"}:
            first = [
                f"{low}-{high} s"
                for low, high in zip(DURATION_BINS_S, DURATION_BINS_S[1:], strict=False)
            ]
            order = {name: number for number, name in enumerate(first)}
            found[key] = {
                name: parts[name]
                for name in sorted(parts, key=lambda name: (order.get(name, 99), name))
            }
    return found


def duration_bin(utterance: Utterance) -> str | None:
    """`2-4 s`, or None where the manifest says 0."""
    if not utterance.duration:
        return None
    for low, high in zip(DURATION_BINS_S, DURATION_BINS_S[1:], strict=False):
        if utterance.duration < high:
            return f"{low}-{high} s"
    return f"over {DURATION_BINS_S[-1]} s"


def calibration(evaluation: Evaluation) -> dict[str, Any] | None:
    """How often a written character is right, for clips in tenths by confidence; None where no clip has one.

    accuracy: hits of cer_no_punctuation over characters written. error: the expected calibration error (Naeini et al. 2015),
    weighted by characters.
    """
    clips = []
    for hypothesis, counts in zip(evaluation.hypotheses, evaluation.per_utterance, strict=True):
        edits = counts["cer_no_punctuation"]
        hits = edits.reference_length - edits.substitutions - edits.deletions
        written = hits + edits.substitutions + edits.insertions
        if hypothesis.confidence is not None and written:
            clips.append((hypothesis.confidence, hits, written))
    if not clips:
        return None
    clips.sort()
    bins = []
    for part in np.array_split(np.array(clips), min(N_CALIBRATION_BINS, len(clips))):
        n_characters = part[:, 2].sum()
        bins.append(
            {
                "confidence": round(float((part[:, 0] * part[:, 2]).sum() / n_characters), 6),
                "accuracy": round(float(part[:, 1].sum() / n_characters), 6),
                "n_clips": len(part),
                "n_characters": int(n_characters),
            }
        )
    gaps = [abs(row["confidence"] - row["accuracy"]) * row["n_characters"] for row in bins]
    return {"bins": bins, "error": round(sum(gaps) / sum(row["n_characters"] for row in bins), 6)}


def evaluate(sources: list[str], manifest: Path, utterances: list[Utterance], corpus: str, notes: tuple[str, ...] = (),
             precision: str = "float32", allow_overlap: bool = False) -> list[Evaluation]:  # fmt: skip
    """Score every model on the same clips. Raises DataError where a model was trained on one of them and that is not allowed."""
    refuse_unavailable(
        precision, device_here()
    )  # before the long work, and before the processes meet
    for source in sources:
        model_folder(source)
    join_processes()
    guards = from_first(
        [seen_in_training(source, utterances) for source in sources] if is_first() else None
    )
    if not allow_overlap:
        for source, seen in zip(sources, guards, strict=True):
            refuse_seen(source, utterances, seen)
    return [
        _evaluated(source, manifest, utterances, corpus, notes, precision, seen)
        for source, seen in zip(sources, guards, strict=True)
    ]


def _evaluated(source: str, manifest: Path, utterances: list[Utterance], corpus: str, notes: tuple[str, ...],
               precision: str, seen: Seen) -> Evaluation:  # fmt: skip
    recogniser = load_recogniser(source)
    decoded = decoded_by_all(
        recogniser, utterances, f"decoding with {recogniser.name}", precision=precision
    )
    if all(hypothesis.problem for hypothesis in decoded.hypotheses):
        raise SharedError(
            f"none of the {len(utterances)} clips of {manifest} can be read (the first: {decoded.hypotheses[0].problem}, "
            f"{utterances[0].audio_filepath}). Were they moved? Run script 1 again. · 읽을 수 있는 음성이 없습니다."
        )
    if seen.n_validation:
        notes = (
            *notes,
            f"{seen.n_validation:,} clips are of the validation split, by which the checkpoint was chosen.",
        )
    outside = outside_vocabulary(
        (clip.text for clip in utterances), writable_characters(recogniser.tokenizer)
    )
    return Evaluation(
        corpus=corpus,
        model=recogniser.name,
        manifest=str(manifest),
        utterances=utterances,
        # A clip that cannot be read has an empty hypothesis: all deletions, and it stays in the denominator.
        hypotheses=decoded.hypotheses,
        seen=seen,
        facts={
            "recipe": recipe_of(source),
            "weights_sha256": recogniser.weights_sha256,
            "decoding": decoding_row(decoded),
            "lowest_reachable_cer": round(outside.lowest_cer, 6),
        },
        notes=notes,
        warning=seen.warning(recogniser.name),
    )


def decoding_row(decoded: Decoded) -> dict[str, Any]:
    return {
        "precision": decoded.precision,
        "rtfx": round(decoded.rtfx, 2),
        "seconds": round(decoded.seconds, 2),
        "n_batches": decoded.n_batches,
        "padding_waste": round(decoded.padding_waste, 4),
        "n_processes": n_processes(),
    }


def spread_sample(utterances: list[Utterance], limit: int) -> list[Utterance]:
    """At most `limit` clips, spread as evenly as they allow over first languages, then over speakers; one seed, one sample."""
    shuffled = sorted(utterances, key=lambda utterance: utterance.id)
    random.Random(SAMPLE_SEED).shuffle(shuffled)
    speakers: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
    for utterance in shuffled:
        speakers[utterance.first_language or ""][utterance.speaker or ""].append(utterance)
    languages = [
        _round_robin(list(by_speaker.values())) for _, by_speaker in sorted(speakers.items())
    ]
    return sorted(_round_robin(languages)[:limit], key=lambda utterance: utterance.id)


def _round_robin(queues: list[list[Utterance]]) -> list[Utterance]:
    """One of each queue in turn, until all are empty."""
    depth = max(map(len, queues), default=0)
    return [queue[i] for i in range(depth) for queue in queues if i < len(queue)]
