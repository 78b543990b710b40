"""How training goes, for eyes: the log, the curve, and TensorBoard where a recipe asks for it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from korean_asr.errors import DataError
from korean_asr.files import json_line, write_json_lines
from korean_asr.model_folder import one_line
from korean_asr.rates import stored_rate
from korean_asr.training.progress import Progress

LOG_FILE, CURVE_FILE = "training_log.jsonl", "training_curve.png"
RUNS_FOLDER = "runs"  # of TensorBoard: tensorboard --logdir <output>/runs
# Keys of the log -> names in TensorBoard, which groups them by the part before the slash.
SCALARS = {
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
    "audio_seconds_per_second": "train/audio_seconds_per_second",
    "eval_loss": "validation/loss",
    "eval_cer": "validation/cer",
    "eval_wer": "validation/wer",
}


class Watch:
    """Keeps log, curve and TensorBoard in the model folder up to date; it is a progress.KeepLog.

    Only the first process calls it. A curve or a point that cannot be written never stops training.
    """

    def __init__(self, output: Path, recipe) -> None:
        """output: the model folder; recipe: a recipe.Recipe."""
        self.output, self.recipe = output, recipe
        self.n_written: int | None = None
        self.board: Any = None  # a torch.utils.tensorboard.SummaryWriter

    def __call__(self, progress: Progress) -> None:
        """Write the rows of the log that are new; the first call starts all files.

        Raises OSError if the log cannot be written, and DataError if the folder is gone.
        """
        log = progress.log
        if self.n_written is not None and not self.output.is_dir():
            raise DataError(
                f"{self.output} is gone: it was removed or renamed during training. Run the same "
                "command again: it continues from the last checkpoint. · 학습 중에 모델 폴더가 "
                "삭제되거나 이름이 바뀌었습니다. 같은 명령을 다시 실행하세요."
            )
        if self.n_written is None:
            # Drops what a killed run logged behind the checkpoint from which this one continues.
            write_json_lines(self.output / LOG_FILE, logged(log))
            new = self._begun(log) if self.recipe.report_to == "tensorboard" else []
        else:
            new = log[self.n_written :]
            # Added, not written anew: a long run has many rows, and `tail -f` follows the file.
            with (self.output / LOG_FILE).open("a", encoding="utf-8") as file:
                file.writelines(json_line(row) + "\n" for row in logged(new))
        self.n_written = len(log)
        self._report(new)
        if any("eval_cer" in row for row in new):
            # The last update is chosen when it is reached.
            is_chosen = progress.best_update is not None and self.recipe.final_model != "last"
            chosen = [progress.best_update] if is_chosen else []
            try_to_draw(self.output / CURVE_FILE, draw_training_curve, log, chosen)

    def _begun(self, log: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Open TensorBoard's folder; returns the rows of the log that it does not hold yet."""
        folder = self.output / RUNS_FOLDER
        # A run that continues repeats what was reported behind its checkpoint. TensorBoard drops
        # the points from this step on.
        is_held = any(folder.glob("events.out.tfevents.*"))
        first_new = log[-1]["step"] + 1 if log else 0
        try:
            # It takes seconds to import, and is optional.
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder), purge_step=first_new if is_held else None)
        except Exception as error:
            _say_not_written(folder, error)
        return [] if is_held else list(log)

    def _report(self, rows: list[dict[str, Any]]) -> None:
        if self.board is None:
            return
        try:
            for row in rows:
                for key, name in SCALARS.items():
                    # A norm that is NaN or infinite is null in the log.
                    if row.get(key) is not None:
                        self.board.add_scalar(name, row[key], row["step"])
            self.board.flush()
        # The writer has a thread of its own, and hands on what that met.
        except Exception as error:
            self.board = None
            _say_not_written(self.output / RUNS_FOLDER, error)


def logged(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a Progress.log as LOG_FILE holds them: rates of validation as all files do."""
    return [
        {
            key: stored_rate(value) if key.startswith("eval_") and key != "eval_loss" else value
            for key, value in row.items()
        }
        for row in log
    ]


def try_to_draw(path: Path, draw: Callable[..., None], *drawn: Any) -> None:
    """Call draw(*drawn, path), or print why the picture could not be drawn."""
    try:
        draw(*drawn, path)
    # A font, a folder, another version: whatever it is, the model matters more than its picture.
    except Exception as error:
        _say_not_written(path, error)


def _say_not_written(path: Path, error: Exception) -> None:
    print(
        f"{path} cannot be written ({one_line(error)}); training goes on without it. "
        "· 기록할 수 없지만 학습은 계속합니다.",
        flush=True,
    )


def draw_training_curve(log: list[dict[str, Any]], chosen: Sequence[int], path: Path) -> None:
    """Draw losses and learning rate over updates, and validation CER and WER below, as a PNG.

    chosen: the updates whose weights the final model has, which are marked.
    """
    # It takes a second to import, and only script 2 needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    evaluated = [row for row in log if "eval_cer" in row]
    _draw_loss(above, [row for row in log if "loss" in row], evaluated)
    _draw_rates(below, evaluated, chosen)
    below.set_xlabel("updates")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        for update in chosen:
            axes.axvline(update, color="tab:green", linewidth=1, linestyle=":")
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, dpi=110, format="png")
    part.replace(path)


def _draw_loss(axes, rows: list[dict[str, Any]], evaluated: list[dict[str, Any]]) -> None:
    if not rows:
        return
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["loss"] for row in rows], label="training loss")
    # Runs of earlier versions logged none.
    validation = [(row["step"], row["eval_loss"]) for row in evaluated if "eval_loss" in row]
    if validation:
        axes.plot(*zip(*validation, strict=True), marker="o", label="validation loss")
    axes.set_ylabel("CTC loss per label")
    axes.set_ylim(bottom=0)
    right = axes.twinx()
    rates = [row["learning_rate"] for row in rows]
    right.plot(steps, rates, color="0.6", linestyle="--", label="learning rate")
    right.set_ylabel("learning rate")
    right.set_ylim(bottom=0)
    axes.legend(handles=[*axes.lines, *right.lines], loc="upper right")


def _draw_rates(axes, rows: list[dict[str, Any]], chosen: Sequence[int]) -> None:
    axes.set_ylabel("error rate")
    if not rows:
        return
    steps = [row["step"] for row in rows]
    for name in ("wer", "cer"):
        rates = [row[f"eval_{name}"] for row in rows]
        axes.plot(steps, rates, marker="o", label=f"validation {name.upper()}")
    marked = {row["step"]: row["eval_cer"] for row in rows if row["step"] in chosen}
    if marked:
        label = f"chosen: update {', '.join(map(str, marked))}"
        star = {"marker": "*", "markersize": 16, "color": "tab:green", "linestyle": "none"}
        axes.plot(marked.keys(), marked.values(), label=label, **star)
    axes.set_ylim(bottom=0)
    axes.legend()
