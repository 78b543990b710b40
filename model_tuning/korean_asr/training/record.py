"""The record of a finished experiment: experiment.json, the model card and the pictures."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from korean_asr.card_file import CARD_FILE, renew, with_license
from korean_asr.files import read_json, whole_file, write_json, write_json_lines
from korean_asr.hardware import is_first
from korean_asr.manifest import Utterance
from korean_asr.metrics import RULE
from korean_asr.rates import stored_rate
from korean_asr.recipe import CHOOSE
from korean_asr.training.base_shares import PICTURE_FILE, draw_shares
from korean_asr.training.experiment import (
    EXPERIMENT_FILE,
    SCRIPT,
    Data,
    Experiment,
    public_command,
    set_aside,
)
from korean_asr.training.model_card import model_card
from korean_asr.training.watching import (
    CURVE_FILE,
    LOG_FILE,
    draw_training_curve,
    logged,
    try_to_draw,
)


def corpora_of(clips: Iterable[Utterance], data: Path) -> list[dict[str, str | None]]:
    """The corpora of some clips: the name in the manifest, and the hub's id where they are there.

    data: the folder of script 1, whose preprocessing.json says where each corpus was read from.
    """
    try:
        summary = read_json(data / "preprocessing.json")
    except (OSError, ValueError):
        summary = {}
    sources = {}
    for part in summary.values():
        folder = _text(part, "folder")
        # The one corpus of a manifest is described as the manifest itself is.
        several = part.get("corpora") if folder else None
        sources |= several if isinstance(several, dict) else {Path(folder).name: part}
    found = []
    for name in sorted({clip.corpus for clip in clips} - {None}):
        of_hub = re.match(r"hf:(\w[\w.-]*/\w[\w.-]*)", _text(sources.get(name), "folder"))
        found.append({"name": name, "hub_id": of_hub[1] if of_hub else None})
    return found


def _text(content: Any, key: str) -> str:
    """A text of a JSON object; empty where it is missing or something else."""
    text = content.get(key) if isinstance(content, dict) else None
    return text if isinstance(text, str) else ""


def experiment_record(
    experiment: Experiment, data: Data, run, facts: dict[str, Any]
) -> dict[str, Any]:
    """The content of experiment.json.

    run: a loop.Run; facts: what else is known, by name.
    """
    command, progress = experiment.command, run.progress
    sizes = {
        name: {"n_clips": len(part), "hours": round(sum(u.duration for u in part) / 3600, 4)}
        for name, part in data.split.parts().items()
    }
    foreign = data.foreign_manifest_sha256
    parts = data.split.parts().items()
    heard = [clip for name, part in parts if not name.endswith("test") for clip in part]
    return {
        **experiment.identity,
        **facts,
        "name": command.output.name,
        **experiment.base_source,
        "license": command.license,
        "corpora": corpora_of(heard, command.data),
        "command": shlex.join([SCRIPT, *public_command(command.words)]),
        "manifest_sha256": data.manifest_sha256,
        **({"foreign_manifest_sha256": foreign} if foreign else {}),
        "rule": RULE,
        "clips": sizes,
        "notes": list(data.split.notes),
        "updates": progress.update,
        "final_update": run.final_update,
        "final": run.final,
        "resumed_from_update": run.resumed_from,
        "validation": {name: stored_rate(rate) for name, rate in run.validation.items()},
        "nonfinite_updates": progress.n_nonfinite,
        "skipped_updates": progress.n_skipped,
        "speed": {**progress.speed(), "seconds_since_last_start": round(run.seconds, 1)},
    }


def _draw_shares(record: dict[str, Any], path: Path) -> None:
    """Draw the shares that were tried, or remove the picture of an earlier final model."""
    if record["recipe"].get("base_share") == CHOOSE:
        final = record["final"]
        try_to_draw(path, draw_shares, final["shares"], final["base_share"])
    else:
        path.unlink(missing_ok=True)


def write_record(experiment: Experiment, data: Data, run, facts: dict[str, Any]) -> None:
    """Write log, picture, model card, and last experiment.json, which marks the run as finished.

    The arguments are those of experiment_record.
    """
    record, log = experiment_record(experiment, data, run, facts), run.progress.log
    output = experiment.output
    write_json_lines(output / LOG_FILE, logged(log))
    chosen = run.final["averaged"] if run.final_update is None else [run.final_update]
    try_to_draw(output / CURVE_FILE, draw_training_curve, log, chosen)
    _draw_shares(record, output / PICTURE_FILE)
    _write_card(output / CARD_FILE, model_card(record))
    write_json(output / EXPERIMENT_FILE, record)


def _write_card(path: Path, card: str) -> None:
    """Write the card. One of the final model before, which a user may have edited, is renamed."""
    if path.is_file() and path.read_bytes() != card.encode(errors="backslashreplace"):
        print(f"{path}, of the final model before, was renamed to {set_aside(path)}.")
    with whole_file(path) as file:
        file.write(card)


def renew_license(experiment: Experiment) -> None:
    """Put the command's license on the card of a finished experiment, and print that.

    A license is no part of an experiment, so that it may be given when the model is published.
    Only the first process writes.
    """
    given, path = experiment.command.license, experiment.output / CARD_FILE
    if not given or not is_first():
        return
    why = renew(experiment.output, lambda card: with_license(card, given))
    print(
        f"{path} stays as it is, because {why}. Write the license there by hand. "
        "· 라이선스를 직접 적어 주세요."
        if why
        else f"{path} names the license {given}. · 모델 카드에 라이선스를 적었습니다."
    )
