"""How far a run has come: the record that a checkpoint keeps, the progress line and the log."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from korean_asr.files import json_value, read_json
from korean_asr.progress_line import ProgressLine
from korean_asr.rates import shown_rate


@dataclass(slots=True)
class Progress:
    """The state of a run besides weights and optimizer.

    It holds no random state: the seed of an update depends on its number alone.
    """

    clips_sha256: str = ""  # of the training clips, whose order makes the order of an epoch
    update: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    best_update: int | None = None  # of the checkpoint with the lowest validation CER
    best_cer: float | None = None
    training_seconds: float = 0.0  # of updates, over all starts, without evaluation and saving
    audio_seconds: float = 0.0
    padded_seconds: float = 0.0
    n_nonfinite: int = 0  # updates with a loss that is NaN or infinite
    n_skipped: int = 0  # updates that changed nothing, for their loss or their gradient
    n_skipped_in_a_row: int = 0

    def note_checkpoint(self, cer: float) -> None:
        """Take the present update as the best if its validation CER is the lowest so far."""
        if self.best_cer is None or cer < self.best_cer:
            self.best_update, self.best_cer = self.update, cer

    def rates_of(self, update: int) -> dict[str, float]:
        """The validation rates of an evaluated update, from the log, without the loss."""
        row = next(row for row in self.log if row["step"] == update and "eval_cer" in row)
        names = [name for name in row if name.startswith("eval_") and name != "eval_loss"]
        return {name.removeprefix("eval_"): row[name] for name in names}

    def speed(self) -> dict[str, float]:
        """Seconds of training, seconds of audio a second, and the share of padding."""
        return {
            "training_seconds": round(self.training_seconds, 1),
            "audio_seconds_per_second": round(self.audio_seconds / self.training_seconds, 2),
            "padding_waste": round(1 - self.audio_seconds / self.padded_seconds, 4),
        }


# What a progress.json holds; the two of the best checkpoint may be null.
_TYPES = {
    **dict.fromkeys(("update", "best_update", "n_nonfinite", "n_skipped"), int),
    **dict.fromkeys(("best_cer", "training_seconds", "audio_seconds", "padded_seconds"), float),
    "n_skipped_in_a_row": int,
    "clips_sha256": str,
    "log": list,
}


def read_progress(path: Path) -> Progress:
    """Read what asdict(progress) wrote. Raises OSError, and ValueError that names file and key."""
    try:
        content = read_json(path)
        for name, value in content.items():
            if name not in _TYPES:
                raise ValueError(f"`{name}` is unknown")
            if value is not None or not name.startswith("best_"):
                json_value(content, name, _TYPES[name])
        progress = Progress(**content)
        evaluated = {json_value(row, "step", int) for row in progress.log if _is_evaluation(row)}
        if progress.best_update is not None and progress.best_update not in evaluated:
            raise ValueError("`log` has no evaluation of `best_update`")
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    return progress


def _is_evaluation(row: Any) -> bool:
    """Whether a row of the log holds validation rates. Raises ValueError for a malformed row."""
    json_value({"a row of `log`": row}, "a row of `log`", dict)
    is_evaluation = "eval_cer" in row
    needed = ("eval_cer", "eval_wer") if is_evaluation else ("loss", "learning_rate")
    for name in {*needed, "step", *row} - {"grad_norm"}:
        json_value(row, name, float)
    return is_evaluation


KeepLog = Callable[[Progress], None]


class TrainingBar:
    """The progress line, which the first process prints, and the rows of training_log.jsonl."""

    def __init__(
        self,
        progress: Progress,
        n_updates: int,
        n_updates_an_epoch: int,
        eval_steps: int,
        is_first: bool,
        keep_log: KeepLog | None = None,
    ) -> None:
        """keep_log: called with the progress now and at each row, on the first process."""
        self.progress = progress
        self.n_updates, self.n_updates_an_epoch = n_updates, n_updates_an_epoch
        self.is_first = is_first
        self.keep_log = keep_log if is_first else None
        self.every = max(1, eval_steps // 10)
        self.window: list[dict[str, float]] = []
        self.has_row, self.before = False, self._sums()
        self.started, self.first_update = time.monotonic(), progress.update
        title = "training" if is_first else None
        self.bar = ProgressLine(title, n_updates, "updates", progress.update, delay_s=0)
        self._keep()

    def advance(self, facts: dict[str, float]) -> None:
        """Count an update. facts: its loss, grad_norm and learning_rate."""
        self.window.append(facts)
        update = self.progress.update
        is_row = update % self.every == 0 or update == self.n_updates
        # The line shows the last row; before the first, the updates so far.
        if is_row or not self.has_row:
            row = self._row(facts)
            self.bar.show(
                f"loss {row['loss']:.3f}, lr {row['learning_rate']:.1e}, "
                f"{row['audio_seconds_per_second']:.0f} s of audio/s, "
                f"padding {row['padding_waste']:.0%}"
            )
        self.bar.update()
        if is_row:
            self._log(row)
            self.has_row, self.window, self.before = True, [], self._sums()

    def _sums(self) -> tuple[float, float, float]:
        """Seconds of training, of audio and of padded audio."""
        progress = self.progress
        return progress.training_seconds, progress.audio_seconds, progress.padded_seconds

    def _row(self, facts: dict[str, float]) -> dict[str, Any]:
        """The log row of the updates since the last row."""
        pairs = zip(self._sums(), self.before, strict=True)
        seconds, audio, padded = (now - before for now, before in pairs)
        norm = facts["grad_norm"]
        n_done = self.progress.update - self.first_update
        n_left = self.n_updates - self.progress.update
        return {
            "loss": round(sum(one["loss"] for one in self.window) / len(self.window), 6),
            "grad_norm": round(norm, 6) if math.isfinite(norm) else None,
            "learning_rate": facts["learning_rate"],
            "padding_waste": round(1 - audio / padded, 4),
            "audio_seconds_per_second": round(audio / seconds, 2),
            "seconds_left": round((time.monotonic() - self.started) / n_done * n_left),
            "nonfinite_updates": self.progress.n_nonfinite,
        }

    def evaluated(self, scores: dict[str, float]) -> None:
        """Log and print the validation rates of the present update, and the loss if there is one.

        scores: of decoding.rates_and_loss.
        """
        self._log({f"eval_{name}": score for name, score in scores.items()})
        epoch = self.progress.log[-1]["epoch"]
        loss = f"  loss {scores['loss']:.3f}" if "loss" in scores else ""
        self.say(
            f"update {self.progress.update:>6,}  epoch {epoch:.2f}  "
            f"validation CER {shown_rate(scores['cer'])}  WER {shown_rate(scores['wer'])}{loss}"
        )

    def say(self, line: str) -> None:
        """Print a line above the progress line, on the first process."""
        if self.is_first:
            self.bar.say(line)

    def _log(self, row: dict[str, Any]) -> None:
        epoch = round(self.progress.update / self.n_updates_an_epoch, 4)
        self.progress.log.append({"step": self.progress.update, "epoch": epoch, **row})
        self._keep()

    def _keep(self) -> None:
        if self.keep_log:
            self.keep_log(self.progress)

    def close(self, line: str) -> None:
        """End the progress line, and print another below it."""
        self.bar.close()
        self.say(line)
