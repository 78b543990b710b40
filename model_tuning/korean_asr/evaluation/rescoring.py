"""Read files of results, of this or another system, so that they can be scored again."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korean_asr.archive_file import path_within
from korean_asr.errors import DataError
from korean_asr.evaluation.scores import Evaluation
from korean_asr.files import json_value, parsed_clip, read_json
from korean_asr.letters import known_letters
from korean_asr.manifest import (
    Utterance,
    absolute_audio,
    clip_name,
    content_checksum,
    duration_in,
    offset_in,
    place_in,
    refuse_other_rows,
)
from korean_asr.metrics import RULE, Hypothesis, normalised
from korean_asr.overlap import KINDS, Seen

# Facts about its clip that a row of results may hold.
CLIP_FACTS = (
    "speaker",
    "theme",
    "gender",
    "age",
    "residence",
    "quality",
    "first_language",
    "topik_level",
    "country",
    "task",
    "corpus",
    "prompt",
)
# Values of a summary that the rows do not give, and their shapes; see _has_shape.
_RATE = {"rate": float}
_GAP = {"korean": float, "foreign": float, "difference": float, "interval": (None, [float])}
SUMMARY_FACTS = {
    "model": str,
    "manifest": str,
    "recipe": (None, str),
    "decoding": (
        None,
        {
            "precision": str,
            "n_processes": int,
            "n_batches": int,
            "rtfx": float,
            "padding_waste": float,
        },
    ),
    "lowest_reachable_cer": (None, float),
    "warning": (None, str),
    "seen_in_training": {str: (None, int)},
    "without_seen": {str: {"n_clips": int, "scores": {"cer": _RATE, "wer": _RATE}}},
    "gap_to_korean": (
        None,
        {"korean": {"n_clips": int, "manifest": str}, "scores": {str: _GAP}},
    ),
    "notes": [str],
}


def _has_shape(value: Any, shape: Any) -> bool:
    """Whether a value of JSON is of a type, or of one of a tuple of shapes.

    `[shape]` is a list of such values, `{str: shape}` an object of them, and `{"key": shape}` an
    object with these keys, and maybe others.
    """
    if isinstance(shape, tuple):
        return any(_has_shape(value, one) for one in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(_has_shape(one, shape[0]) for one in value)
    if isinstance(shape, dict):
        keys = value if isinstance(value, dict) and str in shape else shape
        return isinstance(value, dict) and all(
            key in value and _has_shape(value[key], shape.get(key, shape.get(str))) for key in keys
        )
    if shape is None or isinstance(value, bool):
        return value is shape
    return isinstance(value, (int, float) if shape is float else shape)


@dataclass(frozen=True, slots=True)
class Results:
    """The content of a file of results.

    trained_on: indices of the clips that the model was trained on.
    facts: SUMMARY_FACTS, kind and weights_sha256 from the .json of the same clips beside it, else
        empty.
    """

    path: Path
    utterances: list[Utterance]
    hypotheses: list[Hypothesis]
    trained_on: list[int]
    facts: dict[str, Any]


def read_results(path: Path) -> Results:
    """Read JSON lines with `text` and `pred_text`. Raises DataError that names file and line."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing. --rescore wants a file of results, such as results/korean.jsonl."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a file of results: its bytes are not UTF-8 (byte {error.start})."
        ) from None
    if not lines:
        raise DataError(f"{path} holds no result.")
    utterances, hypotheses, trained_on = [], [], []
    for index, line in enumerate(lines):
        try:
            row = parsed_clip(line)
            refuse_other_rows(row, ("text", "pred_text"))
            utterances.append(_utterance(row, path.resolve().parent, index + 1))
            hypotheses.append(_hypothesis(row))
        except ValueError as problem:
            raise DataError(
                f"{path}, line {index + 1}: no result: {problem}. "
                "Each line is a JSON object with `text` and `pred_text`. "
                "· 각 줄에 필요한 키를 확인하세요."
            ) from None
        if row.get("seen_in_training") is True:
            trained_on.append(index)
    return Results(path, utterances, hypotheses, trained_on, _facts_beside(path, utterances))


def evaluation_of(results: Results, corpus: str, model: str) -> Evaluation:
    """The evaluation whose texts a file of results holds; model: the name that it is shown by."""
    seen = dict.fromkeys(KINDS) | ({"id": results.trained_on} if results.trained_on else {})
    facts = results.facts
    return Evaluation(
        corpus=corpus,
        model=model,
        manifest=facts.get("manifest") or str(results.path),
        utterances=results.utterances,
        hypotheses=results.hypotheses,
        seen=seen,
        overlap=frozenset(results.trained_on),
        facts=facts,
        notes=tuple(facts.get("notes", ())),
        warning=facts.get("warning") or Seen(seen, len(results.utterances)).warning(model),
    )


def _utterance(row: dict[str, Any], folder: Path, number: int) -> Utterance:
    """Read the clip of a row. If the row has neither id nor audio, its number is the id.

    Raises ValueError that names the key and the value of a malformed row.
    """
    name = str(row.get("audio_filepath") or "")
    audio = absolute_audio(name, folder) if name else ""
    try:
        os.fsencode(audio)
    except UnicodeEncodeError:
        raise ValueError("`audio_filepath` is a name that no file can have") from None
    # Other systems write false or [] for an unknown duration.
    duration = duration_in(row) if row.get("duration") else 0.0
    offset = offset_in(row)
    stem = Path(path_within(name)).stem
    return Utterance(
        id=str(row.get("id") or clip_name(stem, offset, duration) or number),
        audio_filepath=audio,
        duration=duration,
        text=normalised(json_value(row, "text", str)),
        **{key: None if row.get(key) is None else str(row[key]) for key in CLIP_FACTS},
        offset=offset,
        **place_in(row, folder),
    )


def _hypothesis(row: dict[str, Any]) -> Hypothesis:
    confidence = row.get("confidence")
    is_known = isinstance(confidence, int | float) and 0 <= confidence <= 1
    # Other systems write null or false where nothing was recognised.
    text = normalised(json_value(row, "pred_text", str) if row["pred_text"] else "")
    return Hypothesis(
        text,
        problem=str(row["problem"]) if row.get("problem") else None,
        confidence=float(confidence) if is_known else None,
        is_silent=row.get("is_silent") is True,
        letters=known_letters(row.get("letters"), normalised(row["text"]), text),
    )


def _facts_beside(path: Path, utterances: list[Utterance]) -> dict[str, Any]:
    """Facts from the .json beside a .jsonl of results; empty if damaged, or about other clips."""
    try:
        summary = read_json(path.with_suffix(".json"))
        if summary["checksums"]["clips"] != content_checksum(utterances) or summary["rule"] != RULE:
            return {}
        facts = {name: summary[name] for name in SUMMARY_FACTS}
        weights = summary["checksums"]["weights"]
        is_whole = _has_shape(facts, SUMMARY_FACTS) and _has_shape(weights, (None, str))
        # Files of an older version do not say it.
        kind = summary.get("kind")
        facts["kind"] = kind if isinstance(kind, str) else None
        return {**facts, "weights_sha256": weights} if is_whole else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def clean_korean_results(folders: list[Path], weights_sha256: str | None) -> Results | None:
    """Find script 3's results for these weights under the current rule, in one of the folders.

    Results that include training clips are skipped. Returns None if no results are left.
    """
    for folder in folders:
        for path in sorted(folder.glob("korean*.json")):
            try:
                summary = read_json(path)
                weights, rule = summary["checksums"]["weights"], summary["rule"]
                if weights is None or weights != weights_sha256 or rule != RULE:
                    continue
                if summary["corpus"] != "korean" or summary["warning"]:
                    continue
                results = read_results(path.with_suffix(".jsonl"))
            except (OSError, ValueError, KeyError, TypeError, DataError):
                continue
            # Without facts, the .json and the .jsonl come from two different runs.
            if results.facts:
                return results
    return None
