"""Files of results, ours or another system's, made an evaluation again: all numbers without a model or a GPU."""

import json
import math
import os
from pathlib import Path
from typing import Any

from korean_asr.decoding import Hypothesis
from korean_asr.errors import DataError
from korean_asr.evaluation.scores import Evaluation
from korean_asr.manifest import Utterance, content_checksum
from korean_asr.metrics import RULE, normalised
from korean_asr.overlap import KINDS, Seen


def rescored(path: Path, corpus: str) -> Evaluation:
    """The evaluation that a file of results holds, ours or another system's: JSON lines with `text` and `pred_text`.

    What only the model can tell is taken from the .json of the same name beside it, if that is of the same clips. Raises
    DataError that names the file and line.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing. --rescore wants a file of results, such as results/korean.jsonl."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no file of results: its bytes are not UTF-8 (byte {error.start})."
        ) from None
    results = [
        _result(line, path.resolve().parent, f"{path}, line {number}", number)
        for number, line in enumerate(lines, 1)
    ]
    if not results:
        raise DataError(f"{path} holds no result.")
    utterances, hypotheses, trained_on = (list(part) for part in zip(*results, strict=True))
    seen = Seen(dict.fromkeys(KINDS), len(utterances))
    if any(trained_on):
        places = [place for place, mark in enumerate(trained_on) if mark]
        seen = Seen({**seen.indices, "id": places}, len(utterances))
    facts = _facts_beside(path, utterances)
    return Evaluation(
        corpus=corpus,
        model=facts.get("model") or path.stem,
        manifest=facts.get("manifest") or str(path),
        utterances=utterances,
        hypotheses=hypotheses,
        seen=seen,
        facts=facts,
        notes=(*facts.get("notes", ()), f"scored again from {path.name}"),
        warning=facts.get("warning") or seen.warning(facts.get("model") or path.stem),
    )


def _result(line: str, folder: Path, place: str, number: int) -> tuple[Utterance, Hypothesis, bool]:
    """One line: the clip, what was written for it, and whether the model was trained on it."""
    try:
        row = json.loads(line)
        text, hypothesis = row["text"], row["pred_text"] or ""
        if not isinstance(text, str) or not isinstance(hypothesis, str):
            raise TypeError
        known = {key: None if row.get(key) is None else str(row[key])
                 for key in ("speaker", "theme", "gender", "age", "residence", "quality", "first_language", "topik_level",
                             "country", "task")}  # fmt: skip
        name = str(row.get("audio_filepath") or "")
        audio = os.path.normpath(folder / name) if name else ""
        os.fsencode(audio)
        duration = float(row.get("duration") or 0)
        if not 0 <= duration < math.inf:
            raise ValueError
        utterance = Utterance(
            id=str(row.get("id") or Path(name).stem or number),
            audio_filepath=audio,
            duration=duration,
            text=normalised(text),
            **known,
        )
        sure = row.get("confidence")
        confidence = float(sure) if isinstance(sure, int | float) and 0 <= sure <= 1 else None
        problem = str(row["problem"]) if row.get("problem") else None
        made = Hypothesis(normalised(hypothesis), problem, confidence, row.get("is_silent") is True)
        return utterance, made, row.get("seen_in_training") is True
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise DataError(
            f"{place}: no result. Each line is a JSON object with `text` and `pred_text`."
        ) from None


CARRIED = (
    "model", "manifest", "recipe", "decoding", "lowest_reachable_cer", "warning", "seen_in_training", "without_seen",
    "gap_to_korean", "notes",
)  # fmt: skip


def _facts_beside(path: Path, utterances: list[Utterance]) -> dict[str, Any]:
    """What results/korean.json tells of the run that wrote results/korean.jsonl, if both are of the same clips; else nothing."""
    try:
        summary = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if summary["checksums"]["clips"] != content_checksum(utterances) or summary["rule"] != RULE:
            return {}
        return {name: summary[name] for name in CARRIED} | {
            "weights_sha256": summary["checksums"]["weights"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
