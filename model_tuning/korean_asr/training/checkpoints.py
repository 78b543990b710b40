"""Checkpoints of one run: written whole, never mistaken for another experiment's, kept to the last few and the best."""

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from korean_asr.errors import DataError, UsageError, writing_into
from korean_asr.files import write_json
from korean_asr.manifest import Utterance, content_checksum, write_manifest
from korean_asr.model import SEVEN_FILES, Recogniser, Wav2Vec2ForCTC, save_recogniser
from korean_asr.overlap import EARLIER_FILE
from korean_asr.recipe import Recipe
from korean_asr.training.splits import Split

EXPERIMENT_FILE = "experiment.json"  # in the model folder
RUN_FILE = "run.json"  # in the checkpoints folder: which experiment they belong to
COMPLETE_FILE = "complete"  # in a checkpoint, written last, with the size of every other file
PROGRESS_FILE, OPTIMIZER_FILE = "progress.json", "optimizer.pt"


@dataclasses.dataclass(slots=True)
class Progress:
    """Where a run stands, besides weights and optimizer. Nothing at random is here: every update is seeded by its number."""

    clips_sha256: str = ""  # of the training clips, whose places make the order of an epoch
    update: int = 0
    log: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best_update: int | None = None  # of the checkpoint with the lowest validation CER
    best_cer: float | None = None
    training_seconds: float = 0.0  # in updates, over all runs; evaluations and checkpoints apart
    audio_seconds: float = 0.0
    padded_seconds: float = 0.0
    n_nonfinite: int = 0  # updates with a loss that is no finite number
    n_skipped: int = 0  # updates that changed nothing, since a gradient was no finite number
    n_skipped_in_a_row: int = 0


def run_identity(
    recipe: Recipe, split: Split, recogniser: Recogniser, n_processes: int
) -> dict[str, Any]:
    """What makes two runs the same experiment, so that one may go on from the other's checkpoints."""
    return {
        "recipe": json.loads(json.dumps(dataclasses.asdict(recipe))),
        "split": {name: content_checksum(part) for name, part in split.parts().items()},
        "base_model": {"name": recogniser.name, "sha256": recogniser.weights_sha256},
        "n_processes": n_processes,
    }


def claim(
    folder: Path, file_name: str, identity: dict[str, Any], option: str, fresh: bool = False
) -> bool:
    """Whether a folder holds an experiment; refuse it if that is another one. Raises DataError that names what differs.

    Checkpoints that nobody claimed, of another program for instance, are another experiment's.
    fresh: other values of the same recipe are no reason to refuse, since the folder is to be set aside.
    """
    try:
        earlier = json.loads((folder / file_name).read_text(encoding="utf-8"))
        earlier = {key: earlier[key] for key in identity}
        names = earlier["recipe"]["name"], identity["recipe"]["name"]
    except FileNotFoundError:
        if file_name == RUN_FILE and _numbered(folder) and not fresh:
            raise DataError(
                f"{folder} holds checkpoints without the {RUN_FILE} that says of which experiment. Pass another {option}, or "
                "--fresh, which renames the folder; nothing was changed. · 어느 실험의 체크포인트인지 알 수 없습니다."
            ) from None
        return bool(_numbered(folder))
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{folder / file_name} is damaged. Rename {folder}, or pass another {option}."
        ) from None
    if names[0] != names[1]:
        raise DataError(
            f"{folder} belongs to recipe {names[0]}, and this is recipe {names[1]}. Pass {option} {folder}_{names[1]}; "
            "nothing was changed. · 다른 실험의 폴더입니다."
        )
    changes = [] if fresh else _differences(earlier, identity)
    if changes:
        more = f"; and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise DataError(
            f"{folder} holds another experiment: {'; '.join(changes[:3])}{more}. Pass another {option}, or --fresh, which "
            "renames the old folder; nothing was changed. · 다른 실험의 폴더입니다."
        )
    return True


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changes = []
    for key in {**now, **earlier}:
        before, value = earlier.get(key), now.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            changes += [f"{key} {change}" for change in _differences(before, value)]
        elif before != value:
            changes.append(f"{key} was {str(before)[:12]}, is {str(value)[:12]}")
    return changes


def refuse_another_experiment(
    output: Path, checkpoints: Path, identity: dict[str, Any], fresh: bool = False
) -> list[Path]:
    """Which of the two folders hold this experiment already. Raises DataError where one holds another; writes nothing.

    UsageError for the current folder or one above it, which can be neither named nor renamed.
    """
    for folder, option in ((output, "--output"), (checkpoints, "--checkpoints")):
        if Path.cwd().is_relative_to(folder.resolve()):
            raise UsageError(
                f"{option} {folder}: name a folder of its own, below or beside this one."
            )
    if output.resolve() == checkpoints.resolve():
        raise UsageError(
            f"--output and --checkpoints are both {output}: give each a folder of its own."
        )
    if (output / "model.safetensors").exists() and not (output / EXPERIMENT_FILE).exists():
        raise DataError(
            f"{output} holds a model that is not of script 2. Pass another --output. · 다른 모델의 폴더입니다."
        )
    of_output = {key: identity[key] for key in identity if key != "n_processes"}
    held = {
        output: claim(output, EXPERIMENT_FILE, of_output, "--output", fresh),
        checkpoints: claim(checkpoints, RUN_FILE, identity, "--checkpoints", fresh),
    }
    return [folder for folder, holds in held.items() if holds]


def open_experiment(
    output: Path, checkpoints: Path, identity: dict[str, Any], split: Split, fresh: bool = False,
    earlier: Sequence[Utterance] = (),
) -> list[str]:  # fmt: skip
    """Claim both folders for this experiment and write the split; returns what was said about folders set aside.

    The split lies in both, so that scripts 3 and 4 know what a checkpoint was trained on as well; earlier: what the base model
    was trained on. Raises DataError where they hold another experiment.
    """
    held = refuse_another_experiment(output, checkpoints, identity, fresh)
    held.sort(
        key=lambda folder: len(folder.resolve().parts), reverse=True
    )  # one that lies in the other goes first
    notes = [f"{folder} was renamed to {set_aside(folder)} (--fresh)." for folder in held if fresh]
    parts = {f"{name}.jsonl": part for name, part in split.parts().items()} | (
        {EARLIER_FILE: list(earlier)} if earlier else {}
    )
    for folder in (output, checkpoints):
        for name, part in parts.items():
            write_manifest(folder / "split" / name, part)
    write_json(checkpoints / RUN_FILE, identity)
    if not (
        output / EXPERIMENT_FILE
    ).exists():  # the claim; the whole record takes its place at the end
        write_json(output / EXPERIMENT_FILE, identity)
    return notes


def set_aside(folder: Path) -> Path:
    """Rename a folder to the first free name behind its own: model.old, model.old2, ..."""
    names = (
        folder.with_name(f"{folder.name}.old{number or ''}") for number in (0, *range(2, 10_000))
    )
    return folder.rename(next(name for name in names if not name.exists()))


def is_finished(output: Path) -> bool:
    """Whether a claimed model folder is complete: the record of the finished run is written last."""
    try:
        record = json.loads((output / EXPERIMENT_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return "updates" in record and all((output / name).is_file() for name in SEVEN_FILES)


def last_complete_checkpoint(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest checkpoint that was written to its end, and newer ones that were not."""
    half_written = []
    for _, path in sorted(_numbered(folder).items(), reverse=True):
        if _is_complete(path):
            return path, half_written
        half_written.append(path)
    return None, half_written


def _numbered(folder: Path) -> dict[int, Path]:
    paths = [path for path in folder.glob("checkpoint-*") if path.is_dir()]
    return {int(path.name[11:]): path for path in paths if path.name[11:].isdecimal()}


def _is_complete(checkpoint: Path) -> bool:
    """Whether the marker is there, and every file has the size that it tells."""
    try:
        sizes = json.loads((checkpoint / COMPLETE_FILE).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def write_checkpoint(
    folder: Path, recogniser: Recogniser, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler,
    progress: Progress,
) -> Path:  # fmt: skip
    """checkpoint-<update>: a model folder that script 3 scores too, with what training needs to go on.

    Its marker is written last, when all the rest is on the disk: a checkpoint without one is half written.
    """
    checkpoint = folder / f"checkpoint-{progress.update}"
    (checkpoint / COMPLETE_FILE).unlink(missing_ok=True)
    save_recogniser(recogniser, checkpoint)
    with writing_into(folder):
        torch.save(
            {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()},
            checkpoint / OPTIMIZER_FILE,
        )
    write_json(checkpoint / PROGRESS_FILE, dataclasses.asdict(progress))
    paths = [path for path in checkpoint.iterdir() if path.is_file()]
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    write_json(
        checkpoint / COMPLETE_FILE, {path.name: path.stat().st_size for path in sorted(paths)}
    )
    return checkpoint


def read_checkpoint(
    checkpoint: Path,
    model: Wav2Vec2ForCTC,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> Progress:
    """Put everything back as it stood. Raises DataError for a checkpoint that cannot be read."""
    try:
        load_weights(checkpoint, model)
        state = torch.load(checkpoint / OPTIMIZER_FILE, map_location="cpu", weights_only=True)
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        return Progress(**json.loads((checkpoint / PROGRESS_FILE).read_text(encoding="utf-8")))
    except Exception as error:  # a damaged file, or a disk that another machine does not see
        raise DataError(
            f"{checkpoint} cannot be read ({type(error).__name__}). Rename that folder, and the same command goes on from the "
            "one before; with several machines, put --checkpoints on a disk that all of them see."
        ) from None


def load_weights(checkpoint: Path, model: Wav2Vec2ForCTC) -> None:
    """Copy a checkpoint's weights into the model."""
    saved = Wav2Vec2ForCTC.from_pretrained(checkpoint, dtype=torch.float32)
    model.load_state_dict(saved.state_dict())


def remove_old_checkpoints(folder: Path, n_kept: int, best_update: int | None) -> None:
    """Keep the last n_kept complete checkpoints and the best; half-written ones below the newest go too."""
    numbered = _numbered(folder)
    complete = sorted(number for number, path in numbered.items() if _is_complete(path))
    kept = {*complete[-n_kept:], best_update}
    for number, path in numbered.items():
        if number not in kept and number < complete[-1]:
            (path / COMPLETE_FILE).unlink(
                missing_ok=True
            )  # first, so that what is half removed is not taken for whole
            shutil.rmtree(path)


def bytes_on_disk(folder: Path) -> int:
    """Of all checkpoints, which a resumed run writes over."""
    return sum(path.stat().st_size for path in folder.glob("checkpoint-*/*") if path.is_file())
