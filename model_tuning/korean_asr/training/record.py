"""The record of a finished experiment: experiment.json, the model card and the pictures."""

import shlex
from pathlib import Path
from typing import Any

from korean_asr.files import whole_file, write_json, write_json_lines
from korean_asr.metrics import RULE
from korean_asr.rates import stored_rate
from korean_asr.recipe import CHOOSE
from korean_asr.training.base_shares import PICTURE_FILE, draw_shares
from korean_asr.training.experiment import EXPERIMENT_FILE, SCRIPT, Data, Experiment, public_command
from korean_asr.training.model_card import model_card
from korean_asr.training.watching import (
    CURVE_FILE,
    LOG_FILE,
    draw_training_curve,
    logged,
    try_to_draw,
)


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
    return {
        **experiment.identity,
        **facts,
        "name": command.output.name,
        **experiment.base_source,
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
    with whole_file(output / "README.md") as file:
        file.write(model_card(record))
    write_json(output / EXPERIMENT_FILE, record)
