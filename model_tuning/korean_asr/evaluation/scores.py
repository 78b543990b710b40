"""Scores of one model on one manifest, with intervals, slices, confusions and calibration."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from korean_asr.evaluation.clip_notes import repeated_notes
from korean_asr.evaluation.confusions import clip_confusions, confusions
from korean_asr.evaluation.intervals import LEVEL, N_DRAWS, Units, drawn_rates, interval, units_of
from korean_asr.manifest import (
    DURATION_NAMES,
    Utterance,
    content_checksum,
    duration_bin,
    manifest_rows,
    sentence_key,
)
from korean_asr.metrics import (
    ERROR_RATES,
    NOT_SCORED,
    RULE,
    Counts,
    EditCounts,
    HitCounts,
    Hypothesis,
    corpus_counts,
    panel_counts,
    scored_text,
    too_long,
    utterance_counts,
)
from korean_asr.progress_line import counted
from korean_asr.rates import stored_rate
from korean_asr.transcripts import without_tags

# The rate of a slice of fewer clips says little, so the report marks it.
SMALL_SLICE = 30
N_CALIBRATION_BINS = 10
SLICED_BY = {
    "korean": ("duration", "gender", "age", "residence", "quality", "theme", "corpus"),
    "foreign": ("first_language", "topik_level", "task", "country", "gender", "duration", "corpus"),
}
UNKNOWN_VALUE = "unknown"


@dataclass(frozen=True)
class Evaluation:
    """The hypotheses of one model for one manifest, and all their scores.

    seen: indices of the clips that were seen in training, by id, audio, sentence and speaker; None
        if that is unknown.
    overlap: indices of the clips that the model was trained on.
    facts: what the texts do not give: kind, recipe, versions, weights_sha256, decoding,
        lowest_reachable_cer, gap_to_korean. For clips that are scored again also the earlier
        seen_in_training and without_seen.
    counts_of: the counts of one clip, by score. A table of many models needs utterance_counts
        alone, which take half the time.
    """

    corpus: str
    model: str
    manifest: str
    utterances: list[Utterance]
    hypotheses: list[Hypothesis]
    seen: dict[str, list[int] | None]
    overlap: frozenset[int] = frozenset()
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warning: str | None = None
    counts_of: Callable[[str, str], dict[str, Counts]] = panel_counts

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The (reference, hypothesis) of each clip as they are counted; see scored_text."""
        clips = zip(self.utterances, self.hypotheses, strict=True)
        return [(clip.text, scored_text(clip.text, heard.text)) for clip, heard in clips]

    @cached_property
    def problems(self) -> list[str | None]:
        """Why each clip counts as all deletions; None for a clip that was decoded and scored."""
        problems = []
        for clip, heard in zip(self.utterances, self.hypotheses, strict=True):
            # Results that are scored again may say NOT_SCORED of another limit or another text.
            problem = None if heard.problem == NOT_SCORED else heard.problem
            is_long = too_long(clip.text, heard.text)
            problems.append(problem or (NOT_SCORED if is_long else None))
        return problems

    @cached_property
    def fair_pairs(self) -> list[tuple[str, str]]:
        """The (reference, hypothesis) of each clip for all scores except cer and wer.

        Learners' labels are not cleaned, so tags (un/, 음/) are removed from both sides.
        """
        if self.corpus != "foreign":
            return self.pairs
        return [(without_tags(text), without_tags(hypothesis)) for text, hypothesis in self.pairs]

    @cached_property
    def per_utterance(self) -> list[dict[str, Counts]]:
        """Counts of each clip: cer and wer on the texts as they are, the others on fair_pairs."""
        pairs = counted(self.fair_pairs, "scoring", len(self.fair_pairs))
        counts = [self.counts_of(*pair) for pair in pairs]
        for row, texts, pair in zip(counts, self.pairs, self.fair_pairs, strict=True):
            if texts != pair:
                raw = utterance_counts(*texts)
                row |= {name: raw[name] for name in ("cer", "wer")}
        return counts

    @cached_property
    def totals(self) -> dict[str, Counts]:
        """Counts of the whole corpus, by score."""
        return corpus_counts(self.per_utterance)

    @cached_property
    def confused(self) -> list[tuple[Counter, Counter]]:
        """The jamo of each clip, and those that were heard as another; see clip_confusions."""
        return [clip_confusions(*pair) for pair in self.fair_pairs]

    @cached_property
    def ratios(self) -> np.ndarray:
        """Numerators and denominators, (n_clips, n_scores, 2), scores in the order of totals."""
        return np.array(
            [[count.ratio for count in counts.values()] for counts in self.per_utterance],
            dtype=np.float64,
        )

    @cached_property
    def units(self) -> Units:
        """What the bootstrap draws."""
        return self.units_among(range(len(self.utterances)))

    def units_among(self, indices: Sequence[int]) -> Units:
        """What the bootstrap of some of the clips draws."""
        clips = [self.utterances[index] for index in indices]
        sentences = [sentence_key(clip.text) for clip in clips]
        return units_of([clip.speaker for clip in clips], sentences)

    @cached_property
    def drawn(self) -> np.ndarray:
        """Each score in each draw, (N_DRAWS, n_scores), scores in the order of totals."""
        return drawn_rates(self.ratios, self.units)

    def _intervals(self) -> dict[str, Any]:
        """How the intervals were drawn."""
        return {
            "resampled": self.units.resampled,
            "n_units": self.units.n,
            "drawn": self.units.drawn,
            "draws": N_DRAWS,
            "level": LEVEL,
        }

    def part(self, indices: list[int]) -> dict[str, Any]:
        """Scores of some of the clips."""
        units = self.units_among(indices)
        totals = corpus_counts(self.per_utterance[index] for index in indices)
        return {
            "n_clips": len(indices),
            "small": len(indices) < SMALL_SLICE,
            "resampled": units.resampled,
            "drawn": units.drawn,
            "scores": score_rows(totals, drawn_rates(self.ratios[indices], units)),
        }

    def seen_counts(self) -> dict[str, int | None]:
        """How many clips were seen in training, by kind; None where that is unknown."""
        return {
            kind: None if indices is None else len(indices) for kind, indices in self.seen.items()
        }

    def without_seen(self) -> dict[str, dict[str, Any]]:
        """Scores without the clips whose sentence, or whose speaker, was seen in training."""
        everything = set(range(len(self.utterances)))
        parts = {}
        for kind in ("sentence", "speaker"):
            others = sorted(everything - set(self.seen.get(kind) or ()))
            if 0 < len(others) < len(everything):
                parts[kind] = self.part(others)
        return parts

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of korean.json or foreign.json."""
        facts, hypotheses = self.facts, self.hypotheses
        problems = Counter(filter(None, self.problems))
        seconds = sum(utterance.duration for utterance in self.utterances)
        return {
            "warning": self.warning,
            "rule": RULE,
            "corpus": self.corpus,
            "model": self.model,
            "kind": facts.get("kind"),
            "recipe": facts.get("recipe"),
            "manifest": self.manifest,
            "checksums": {
                "clips": content_checksum(self.utterances),
                "weights": facts.get("weights_sha256"),
            },
            "versions": facts.get("versions"),
            "n_clips": len(self.utterances),
            "n_unreadable": problems.total() - problems[NOT_SCORED],
            "n_not_scored": problems[NOT_SCORED],
            "n_silent": sum(hypothesis.is_silent for hypothesis in hypotheses),
            "problems": dict(problems),
            # Durations may be anything, and JSON has no infinity.
            "duration": round(seconds, 3) if math.isfinite(seconds) else None,
            "seen_in_training": facts.get("seen_in_training") or self.seen_counts(),
            "without_seen": facts.get("without_seen") or self.without_seen(),
            "decoding": facts.get("decoding"),
            "lowest_reachable_cer": facts.get("lowest_reachable_cer"),
            "intervals": self._intervals(),
            "scores": score_rows(self.totals, self.drawn),
            "groups": {
                key: {name: self.part(indices) for name, indices in parts.items()}
                for key, parts in slices(self.utterances, self.corpus).items()
            },
            "confusions": confusions(
                [utterance.id for utterance in self.utterances],
                [utterance.first_language for utterance in self.utterances],
                self.confused,
            ),
            "calibration": calibration(
                [hypothesis.confidence for hypothesis in hypotheses],
                [counts["cer_no_punctuation"] for counts in self.per_utterance],
            ),
            "gap_to_korean": facts.get("gap_to_korean"),
            # What is scored again may have the note already.
            "notes": list(dict.fromkeys([*self.notes, *repeated_notes(self.utterances)])),
        }

    def clip_counts(self) -> list[dict[str, int]]:
        """Errors and reference length of each clip for every error rate, under flat keys."""
        return [_flat(counts, ERROR_RATES) for counts in self.per_utterance]

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """The rows of korean.jsonl or foreign.jsonl in `folder`.

        Each is the clip's manifest line, with pred_text, rates, counts of cer and wer, and letters.
        """
        rows = manifest_rows(self.utterances, folder)
        for index, (row, hypothesis) in enumerate(zip(rows, self.hypotheses, strict=True)):
            # Mark the row too: the file may be moved without the .json that has the warning.
            if index in self.overlap:
                row["seen_in_training"] = True
            row["pred_text"] = hypothesis.text
            counts = self.per_utterance[index]
            row |= {name: stored_rate(counts[name].rate) for name in ("cer", "wer", "cer_no_space")}
            row |= _flat(counts, ("cer", "wer"))
            if hypothesis.confidence is not None:
                row["confidence"] = round(hypothesis.confidence, 6)
            if self.problems[index]:
                row["problem"] = self.problems[index]
            if hypothesis.is_silent:
                row["is_silent"] = True
            if hypothesis.letters is not None:
                row["letters"] = hypothesis.letters
        return rows


def _flat(counts: dict[str, Counts], scores: tuple[str, ...]) -> dict[str, int]:
    """Counts of one clip as `cer_errors`, `cer_reference_length`, and so on."""
    flat = {}
    for name in scores:
        flat[f"{name}_errors"] = counts[name].errors
        flat[f"{name}_reference_length"] = counts[name].reference_length
    return flat


def score_rows(totals: dict[str, Counts], drawn: np.ndarray) -> dict[str, dict[str, Any]]:
    """Counts, rates and intervals as JSON holds them.

    `punctuation .` becomes scores["punctuation"]["."], and `jamo onset` becomes
    scores["jamo"]["onset"].
    """
    rows: dict[str, dict[str, Any]] = {}
    for column, (name, counts) in enumerate(totals.items()):
        row = {**_score_row(counts), "interval": interval(drawn[:, column])}
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
            **{name: None if rate is None else stored_rate(rate) for name, rate in rates.items()},
            "hits": counts.hits,
            "reference": counts.reference,
            "hypothesis": counts.hypothesis,
        }
    return {
        "rate": stored_rate(counts.rate),
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
        "reference_length": counts.reference_length,
    }


def slices(utterances: list[Utterance], corpus: str) -> dict[str, dict[str, list[int]]]:
    """Indices of the clips of each slice, such as {"first_language": {"베트남어": [0, 5]}}.

    Clips without a value are the slice "unknown". A key that is unknown for all clips is left out,
    and so is `corpus` where all clips come from one.
    """
    found = {}
    for key in SLICED_BY[corpus]:
        if key == "duration":
            values = [duration_bin(utterance.duration) for utterance in utterances]
            parts = _grouped(values, DURATION_NAMES)
        else:
            values = [getattr(utterance, key) or None for utterance in utterances]
            parts = dict(sorted(_grouped(values, sorted({*values} - {None})).items()))
        if parts.keys() - {UNKNOWN_VALUE} and (key != "corpus" or len(parts) > 1):
            found[key] = parts
    return found


def _grouped(values: list[str | None], names: Sequence[str]) -> dict[str, list[int]]:
    """Indices of the clips of each value, in the order of `names`; clips without one come last."""
    # Imported here because it takes 0.3 s, which --help need not wait for.
    import pandas

    known = [name for name in names if name != UNKNOWN_VALUE]
    numbers = {name: number for number, name in enumerate(known)}
    # An object index, since pandas' own string type cannot hold the lone surrogates of
    # undecodable bytes. -1 is a missing value.
    categories = pandas.Index(known, dtype=object)
    codes = [numbers.get(value, -1) for value in values]
    keys = pandas.Categorical.from_codes(codes, categories=categories)
    groups = pandas.Series(range(len(values))).groupby(keys, dropna=False, observed=True)
    return {
        UNKNOWN_VALUE if pandas.isna(name) else name: indices.tolist() for name, indices in groups
    }


def calibration(confidences: list[float | None], edits: list[EditCounts]) -> dict[str, Any] | None:
    """Compare confidence with accuracy: clips are sorted by confidence and cut into tenths.

    confidences, edits: one of each clip. Accuracy is the share of written characters that are hits.
    Returns the tenths as `bins`, and as `error` the expected calibration error (Naeini et al.
    2015), weighted by characters; None if no clip has a confidence.
    """
    clips = []
    for confidence, counts in zip(confidences, edits, strict=True):
        hits = counts.reference_length - counts.substitutions - counts.deletions
        n_written = hits + counts.substitutions + counts.insertions
        if confidence is not None and n_written:
            clips.append((confidence, hits, n_written))
    if not clips:
        return None
    tenths = np.array_split(np.array(sorted(clips)), min(N_CALIBRATION_BINS, len(clips)))
    bins = [_calibration_bin(*tenth.T) for tenth in tenths]
    gaps = [abs(row["confidence"] - row["accuracy"]) * row["n_characters"] for row in bins]
    return {"bins": bins, "error": round(sum(gaps) / sum(row["n_characters"] for row in bins), 6)}


def _calibration_bin(
    confidences: np.ndarray, hits: np.ndarray, n_written: np.ndarray
) -> dict[str, Any]:
    """Mean confidence and accuracy of some clips, each (n_clips,), weighted by characters."""
    n_characters = n_written.sum()
    return {
        "confidence": round(float((confidences * n_written).sum() / n_characters), 6),
        "accuracy": round(float(hits.sum() / n_characters), 6),
        "n_clips": len(hits),
        "n_characters": int(n_characters),
    }
