"""Write whole checkpoints, read them back exactly, remove all but the last ones and the best."""

import dataclasses
import os
import shutil
from collections.abc import Collection
from pathlib import Path

import torch
from transformers import Wav2Vec2ForCTC

from korean_asr.errors import DataError, writing_into
from korean_asr.files import free_name, read_json, write_json
from korean_asr.model import load_recogniser
from korean_asr.model_folder import one_line
from korean_asr.training.progress import Progress, read_progress

COMPLETE_FILE = "complete"  # written last, with the size of every other file of the checkpoint
PROGRESS_FILE, OPTIMIZER_FILE = "progress.json", "optimizer.pt"
REMOVED_SUFFIX = ".removed"  # of a checkpoint that is being removed


def numbered_checkpoints(folder: Path) -> dict[int, Path]:
    """The folders checkpoint-<update> in a folder, whole or not, by update."""
    paths = [path for path in folder.glob("checkpoint-*") if path.is_dir()]
    numbers = {path: path.name.removeprefix("checkpoint-") for path in paths}
    return {int(number): path for path, number in numbers.items() if number.isdecimal()}


def checkpoint_in(folder: Path, update: int) -> Path:
    """The folder of the checkpoint after this update."""
    return folder / f"checkpoint-{update}"


def complete_checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints that are whole, by update."""
    return {
        update: path for update, path in numbered_checkpoints(folder).items() if _is_complete(path)
    }


def best_update_of(checkpoint: Path) -> int | None:
    """The update that was the best when this checkpoint was written.

    Raises DataError if its progress cannot be read.
    """
    try:
        return read_progress(checkpoint / PROGRESS_FILE).best_update
    except (OSError, ValueError) as error:
        raise DataError(
            f"{checkpoint} cannot be read ({one_line(error)}). Copy it again, or pass --fresh, "
            "which trains again. · 체크포인트를 읽을 수 없습니다."
        ) from None


def last_complete_checkpoint(folder: Path) -> tuple[Path | None, list[Path]]:
    """Find the newest complete checkpoint, and list the newer ones that are only half written."""
    half_written = []
    for _, path in sorted(numbered_checkpoints(folder).items(), reverse=True):
        if _is_complete(path):
            return path, half_written
        half_written.append(path)
    return None, half_written


def _is_complete(checkpoint: Path) -> bool:
    """Whether the marker exists, and every file has the size that the marker lists."""
    try:
        sizes = read_json(checkpoint / COMPLETE_FILE)
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def write_checkpoint(
    folder: Path,
    recogniser,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    progress,
) -> Path:
    """Write checkpoint-<update>: a model folder, with what training needs to continue.

    recogniser: a model.Recogniser; progress: a progress.Progress.
    The marker is written when all other files are on the disk, so a checkpoint without it is half
    written.
    """
    checkpoint = checkpoint_in(folder, progress.update)
    # A run that was killed here left files, which the marker would list and nobody would complete.
    if checkpoint.exists():
        _remove(checkpoint)
    recogniser.save(checkpoint)
    state = {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
    with writing_into(folder):
        torch.save(state, checkpoint / OPTIMIZER_FILE)
    write_json(checkpoint / PROGRESS_FILE, dataclasses.asdict(progress))
    paths = sorted(path for path in checkpoint.iterdir() if path.is_file())
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    write_json(checkpoint / COMPLETE_FILE, {path.name: path.stat().st_size for path in paths})
    return checkpoint


def read_checkpoint(
    checkpoint: Path,
    model: Wav2Vec2ForCTC,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> Progress:
    """Restore model, optimizer and scaler; returns the progress.

    Raises DataError if the checkpoint cannot be read.
    """
    try:
        load_weights(checkpoint, model)
        state = torch.load(checkpoint / OPTIMIZER_FILE, map_location="cpu", weights_only=True)
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        return read_progress(checkpoint / PROGRESS_FILE)
    # A damaged file, or a disk that this machine cannot see: each library raises another class.
    except Exception as error:
        raise DataError(
            f"{checkpoint} cannot be read ({one_line(error)}). Rename that folder, and the "
            "same command continues from the one before. With several machines, put --checkpoints "
            "on a disk that all of them see. · 체크포인트를 읽을 수 없습니다."
        ) from None


def load_weights(checkpoint: Path, model: Wav2Vec2ForCTC) -> None:
    """Copy a checkpoint's weights into the model."""
    model.load_state_dict(load_recogniser(str(checkpoint)).model.state_dict())


def remove_old_checkpoints(folder: Path, n_kept: int, best: Collection[int]) -> None:
    """Keep the last n_kept complete checkpoints and the best; remove all other, older ones.

    best: updates. A half written checkpoint that is newer than every complete one stays.
    """
    complete = sorted(complete_checkpoints(folder))
    kept = {*complete[-n_kept:], *best}
    for update, path in numbered_checkpoints(folder).items():
        if update not in kept and update < max(complete, default=0):
            _remove(path)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left: checkpoints half removed, or half written and outdated."""
    for path in folder.glob(f"checkpoint-*{REMOVED_SUFFIX}"):
        shutil.rmtree(path)
    complete = complete_checkpoints(folder)
    for update, path in numbered_checkpoints(folder).items():
        if update not in complete and update < max(complete, default=0):
            _remove(path)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint. It is renamed first: a half removed one must not look like one.

    Results that script 3 or 4 wrote into it stay beside it, in checkpoint-200.results.
    """
    removed = checkpoint.with_name(checkpoint.name + REMOVED_SUFFIX)
    if removed.exists():
        shutil.rmtree(removed)
    results = checkpoint / "results"
    if results.is_dir():
        results.rename(free_name(checkpoint.with_name(f"{checkpoint.name}.results")))
    checkpoint.rename(removed)
    shutil.rmtree(removed)


def bytes_on_disk(folder: Path) -> int:
    """Size of all checkpoints, which a resumed run replaces."""
    return sum(path.stat().st_size for path in folder.glob("checkpoint-*/*") if path.is_file())
