"""One training run, from checked inputs to a saved model."""

import dataclasses
import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from .audio import UnreadableAudio, read_waveform
from .batches import Collator, TrainingClips
from .decoding import decoded_by_all
from .errors import DataError, writing_into
from .files import write_json
from .manifest import Utterance, content_checksum, write_manifest
from .metrics import RULE, SCORED_UNITS, corpus_counts, utterance_counts
from .model import SEVEN_FILES, Recogniser, versions
from .processes import is_first
from .recipes import BatchPlan, Recipe
from .splits import Split

EXPERIMENT_FILE = "experiment.json"  # in the model folder
RUN_FILE = "run.json"  # in the checkpoints folder: which experiment they belong to
COMPLETE_FILE = "complete"  # in a checkpoint, written last: without it the checkpoint is half written
# wav2vec2 refuses to mask 10 frames of time in fewer: a batch of clips this short would stop the run.
MIN_TRAINING_S = 0.25


def training_arguments(recipe: Recipe, plan: BatchPlan, n_train: int, checkpoints: Path) -> TrainingArguments:
    """The recipe in the Trainer's terms. Raises nothing: the recipe is checked already."""
    on_gpu = torch.cuda.is_available()
    updates_an_epoch = -(-n_train // recipe.global_batch)
    n_updates = max(1, round(updates_an_epoch * recipe.epochs))
    return TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=plan.per_device,
        gradient_accumulation_steps=plan.accumulation,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        # As a number of updates, since the name of the ratio differs between versions of transformers.
        warmup_steps=recipe.warmup_steps or round(recipe.warmup_ratio * n_updates),
        weight_decay=recipe.weight_decay,
        fp16=recipe.fp16 and on_gpu,
        use_cpu=not on_gpu,
        eval_strategy="steps",
        eval_steps=recipe.eval_steps,
        save_strategy="steps",
        save_steps=recipe.save_steps,
        save_total_limit=recipe.checkpoints_kept,
        logging_steps=max(1, recipe.eval_steps // 10),
        dataloader_num_workers=recipe.workers,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,  # the Trainer would drop the waveforms, whose name it does not know
        label_names=["labels"],
        report_to="none",
        disable_tqdm=True,  # TrainingProgress prints instead
        seed=recipe.seed,
    )


def precision_note(recipe: Recipe) -> str:
    if torch.cuda.is_available():
        return "fp16 on the GPU, loss in float32" if recipe.fp16 else "float32 on the GPU"
    asked = "the recipe's fp16 needs a GPU, so this run uses " if recipe.fp16 else ""
    return f"{asked}float32 on the CPU"


def changed_since_preprocessing(manifest: Path, sha256: str) -> str | None:
    """A line for a manifest of this checksum that is not the file which preprocessing.json beside it describes, else None."""
    try:
        summary = json.loads((manifest.parent / "preprocessing.json").read_text(encoding="utf-8"))
        described = summary[manifest.stem]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a manifest that was made by hand
    if described == sha256:
        return None
    return (
        f"{manifest} is not the file that script 1 described in preprocessing.json: it was edited, or script 1 was "
        "interrupted. Run script 1 again if that was not meant. · 1번이 만든 파일과 다릅니다."
    )


def trainable(utterances: list[Utterance], recipe: Recipe) -> tuple[list[Utterance], dict[str, int]]:
    """The clips that training can use, and how many were left out by reason. Raises DataError if none is left.

    Validation and test never pass through here: they keep every clip.
    """
    with ThreadPoolExecutor(8) as pool:
        reasons = pool.map(partial(_untrainable, recipe=recipe), utterances)
        bar = tqdm(reasons, "reading training clips", len(utterances), unit=" clips", delay=2, disable=not is_first())
        found = list(zip(utterances, bar, strict=True))
    left_out = Counter(reason for _, reason in found if reason)
    kept = [utterance for utterance, reason in found if not reason]
    if not kept:
        raise DataError(f"no training clip is usable: {dict(left_out)}. Run script 1 again, or raise --max-duration-s.")
    return kept, dict(left_out)


def _untrainable(utterance: Utterance, recipe: Recipe) -> str | None:
    if utterance.duration > recipe.max_duration_s:
        return f"over {recipe.max_duration_s:g} s"
    if utterance.duration < MIN_TRAINING_S:
        return f"under {MIN_TRAINING_S} s"
    try:
        read_waveform(utterance.audio_filepath)  # to the end: damage in the middle must not stop the run in the night
    except UnreadableAudio as problem:
        return str(problem)
    return None


def run_identity(recipe: Recipe, split: Split, recogniser: Recogniser, n_processes: int) -> dict[str, Any]:
    """What makes two runs the same experiment, so that one may go on from the other's checkpoints."""
    return {
        "recipe": json.loads(json.dumps(dataclasses.asdict(recipe))),
        "split": {name: content_checksum(part) for name, part in split.parts().items()},
        "base_model": {"name": recogniser.name, "sha256": recogniser.weights_sha256},
        "n_processes": n_processes,
    }


def claim(folder: Path, file_name: str, identity: dict[str, Any], option: str) -> None:
    """Refuse a folder that holds another experiment. Raises DataError that names what differs."""
    try:
        earlier = json.loads((folder / file_name).read_text(encoding="utf-8"))
        earlier = {key: earlier[key] for key in identity}
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{folder / file_name} is damaged. Rename {folder}, or pass another {option}.") from None
    changes = _differences(earlier, identity)
    if changes:
        more = f"; and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise DataError(
            f"{folder} holds another experiment: {'; '.join(changes[:3])}{more}. Pass another {option} or rename that folder; "
            "nothing was changed. · 다른 실험의 폴더입니다."
        )


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changes = []
    for key, value in now.items():
        before = earlier.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            changes += [f"{key} {change}" for change in _differences(before, value)]
        elif before != value:
            changes.append(f"{key} was {str(before)[:12]}, is {str(value)[:12]}")
    return changes


def last_complete_checkpoint(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest checkpoint that was written to its end, and newer ones that were not."""
    numbered = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*") if path.is_dir()
                and path.name.rpartition("-")[2].isdigit()}  # fmt: skip
    half_written = []
    for number in sorted(numbered, reverse=True):
        if (numbered[number] / COMPLETE_FILE).is_file():
            return numbered[number], half_written
        half_written.append(numbered[number])
    return None, half_written


class CheckpointMarker(TrainerCallback):
    """Marks a checkpoint as complete when every process has written its part of it."""

    def on_save(self, args, state, control, **_) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE_FILE).touch()


class TrainingProgress(TrainerCallback):
    """A bar over the updates of the run, and a line for each evaluation, printed by rank 0 alone."""

    def on_train_begin(self, args, state, control, **_) -> None:
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc="training",
            unit=" updates",
            disable=not state.is_world_process_zero,
            mininterval=0.5 if sys.stderr.isatty() else 10,  # a log file wants few lines
        )

    def on_step_end(self, args, state, control, **_) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        if "loss" in logs:
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}", lr=f"{logs['learning_rate']:.1e}", refresh=False)
        if "eval_cer" in logs and state.is_world_process_zero:
            scores = f"validation CER {logs['eval_cer']:.4f}  WER {logs['eval_wer']:.4f}"
            self.bar.write(f"update {state.global_step:>6,}  epoch {state.epoch:.2f}  {scores}")

    def on_train_end(self, args, state, control, **_) -> None:
        self.bar.close()


class CtcTrainer(Trainer):
    """The Trainer with our evaluation: the number that it logs is the number that script 3 prints."""

    def __init__(self, recogniser: Recogniser, validation: list[Utterance], **kwargs) -> None:
        super().__init__(model=recogniser.model, eval_dataset=validation, **kwargs)
        self.recogniser = recogniser
        self.remove_callback(PrinterCallback)

    def evaluate(self, *_, **__) -> dict[str, float]:
        metrics = {
            f"eval_{name}": value for name, value in validation_rates(self.recogniser, self.eval_dataset).items()
        }
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def validation_rates(recogniser: Recogniser, validation: list[Utterance]) -> dict[str, float]:
    """Error rates of the model as it stands, on every validation clip once, however many processes decode."""
    hypotheses = decoded_by_all(recogniser, validation, "validation")
    pairs = zip(validation, hypotheses, strict=True)
    counts = corpus_counts([utterance_counts(utterance.text, hypothesis.text) for utterance, hypothesis in pairs])
    return {name: count.rate for name, count in counts.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What a finished run tells: the log, the last validation rates, and measured times."""

    log: list[dict[str, Any]]
    validation: dict[str, float]
    n_updates: int
    resumed_from: int
    seconds: float
    audio_seconds_per_second: float


def train(recogniser: Recogniser, train_clips: list[Utterance], validation: list[Utterance],
          arguments: TrainingArguments, checkpoint: Path | None) -> Run:  # fmt: skip
    """Train to the end, from the checkpoint if one is given. The recogniser's model is changed in place."""
    trainer = CtcTrainer(
        recogniser,
        validation,
        args=arguments,
        train_dataset=TrainingClips(train_clips, recogniser.tokenizer),
        data_collator=Collator(recogniser.feature_extractor),
        callbacks=[TrainingProgress(), CheckpointMarker()],
    )
    first_update = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    started = time.monotonic()
    with writing_into(arguments.output_dir):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - started
    n_updates = trainer.state.global_step
    last = next((row for row in reversed(trainer.state.log_history) if "eval_cer" in row), {})
    if last.get("step") == n_updates:
        rates = {name: last[f"eval_{name}"] for name in SCORED_UNITS}
    else:
        rates = validation_rates(recogniser, validation)
    epochs_here = (n_updates - first_update) / max(1, trainer.state.max_steps) * arguments.num_train_epochs
    audio_seconds = epochs_here * sum(utterance.duration for utterance in train_clips)
    return Run(trainer.state.log_history, rates, n_updates, first_update, seconds, audio_seconds / seconds)


def open_experiment(output: Path, checkpoints: Path, identity: dict[str, Any], split: Split) -> None:
    """Claim both folders for this experiment and write the split. Raises DataError where they hold another."""
    if (output / "model.safetensors").exists() and not (output / EXPERIMENT_FILE).exists():
        raise DataError(
            f"{output} holds a model that is not of script 2. Pass another --output. · 다른 모델의 폴더입니다."
        )
    claim(output, EXPERIMENT_FILE, {key: identity[key] for key in identity if key != "n_processes"}, "--output")
    claim(checkpoints, RUN_FILE, identity, "--checkpoints")
    if is_first():
        for name, part in split.parts().items():
            write_manifest(output / "split" / f"{name}.jsonl", part)
        write_json(checkpoints / RUN_FILE, identity)
        if not (output / EXPERIMENT_FILE).exists():  # the claim; the whole record takes its place at the end
            write_json(output / EXPERIMENT_FILE, identity)


def is_finished(output: Path) -> bool:
    """Whether a claimed model folder is complete: the record of the finished run is written last."""
    try:
        record = json.loads((output / EXPERIMENT_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:  # another process is about to write the claim
        return False
    return "updates" in record and all((output / name).is_file() for name in SEVEN_FILES)


def experiment_record(identity: dict[str, Any], split: Split, run: Run, **facts: Any) -> dict[str, Any]:
    """What experiment.json holds: recipe, versions, seeds, checksums, sizes, measured speed, last validation rates.

    The speed is that of the whole run since it was last started, evaluations and checkpoints included.
    """
    sizes = {name: {"n_clips": len(part), "hours": round(sum(u.duration for u in part) / 3600, 4)}
             for name, part in split.parts().items()}  # fmt: skip
    return {
        **identity,
        **facts,
        "rule": RULE,
        "clips": sizes,
        "notes": list(split.notes),
        "updates": run.n_updates,
        "resumed_from_update": run.resumed_from,
        "validation": {name: round(rate, 6) for name, rate in run.validation.items()},
        "speed": {
            "training_seconds": round(run.seconds, 1),
            "audio_seconds_per_second": round(run.audio_seconds_per_second, 2),
        },
        "versions": versions(),
    }
