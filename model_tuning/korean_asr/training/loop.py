"""One training run, from checked inputs to a trained model.

A loop of our own and not the Trainer of transformers: there the order of clips depends on the number of processes, the last
batch repeats clips, an update is a fixed number of batches of a fixed number of clips, and a checkpoint is written in place
without a sign that it is whole.
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from korean_asr.cpu_speed import keep_memory_steady, with_row_encoder
from korean_asr.decoding import decoded_by_all
from korean_asr.errors import SharedError
from korean_asr.files import write_json_lines
from korean_asr.hardware import (
    device_here,
    from_all,
    has_bf16,
    in_precision,
    is_first,
    n_processes,
    rank,
    refuse_unavailable,
)
from korean_asr.manifest import Utterance, content_checksum
from korean_asr.metrics import RULE, corpus_counts, utterance_counts
from korean_asr.model import Recogniser, Wav2Vec2ForCTC, versions
from korean_asr.recipe import BatchPlan, Recipe
from korean_asr.training.batches import (
    IGNORED_LABEL,
    Collator,
    TrainingClips,
    dealt,
    n_updates,
    n_updates_an_epoch,
    padded_seconds,
    run_updates,
)
from korean_asr.training.checkpoints import (
    Progress,
    load_weights,
    read_checkpoint,
    remove_old_checkpoints,
    write_checkpoint,
)
from korean_asr.training.splits import Split

MAX_GRADIENT_NORM = 1.0
# fp16 halves its loss scale of 65,536 at each overflow, and after sixteen in a row it is 1: more are no calibration.
MAX_SKIPPED_IN_A_ROW = 20


def precision_here(recipe: Recipe) -> tuple[str, str]:
    """The precision that this machine trains in, and a line about it. Raises UsageError for bf16 on a GPU without it."""
    if torch.cuda.is_available():
        refuse_unavailable(recipe.precision, torch.device("cuda"))
        loss = "" if recipe.precision == "float32" else ", loss in float32"
        return recipe.precision, f"{recipe.precision} on the GPU{loss}"
    if recipe.precision == "bf16" and has_bf16(torch.device("cpu")):
        return "bf16", "bf16 on the CPU, loss in float32"
    asked = {
        "fp16": "the recipe's fp16 needs a GPU, so this run uses ",
        "bf16": "this CPU has no bf16, so this run uses ",
    }
    return "float32", f"{asked.get(recipe.precision, '')}float32 on the CPU"


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


@dataclass(frozen=True, slots=True)
class Job:
    """What one run trains, on what, and how: the same on every process."""

    recogniser: Recogniser
    clips: list[Utterance]
    validation: list[Utterance]
    recipe: Recipe
    plan: BatchPlan
    precision: str

    @property
    def durations(self) -> list[float]:
        """Seconds, by the manifest: no pass over the audio measures lengths."""
        return [clip.duration for clip in self.clips]

    @property
    def n_updates(self) -> int:
        return n_updates(len(self.clips), self.recipe)


def printed_batches(job: Job) -> list[str]:
    """How many clips make an update and an epoch, what is padded, and what is left over."""
    recipe, plan, durations = job.recipe, job.plan, job.durations
    last = len(job.clips) % recipe.global_batch
    per_epoch = n_updates_an_epoch(len(job.clips), recipe)
    at_a_time = (
        f"{plan.per_device} clips x {plan.accumulation} accumulation"
        if recipe.max_batch_seconds is None
        else f"micro-batches of {recipe.max_batch_seconds:g} s"
    )
    lines = [
        f"batch: {at_a_time} x {plan.n_processes} = {recipe.global_batch} an update",
        f"epoch: every clip once, {per_epoch:,} updates{f', the last of {last} clips' if last else ''}; "
        f"{job.n_updates:,} updates in all",
    ]
    if recipe.max_batch_seconds is None and (plan.per_device, plan.accumulation) != (
        recipe.batch_per_gpu,
        recipe.accumulation,
    ):
        lines.insert(
            1,
            f"  (the recipe's {recipe.batch_per_gpu} x {recipe.accumulation} x {recipe.gpus}, for another number of processes)",
        )
    if recipe.max_batch_seconds and max(durations) > recipe.max_batch_seconds:
        lines.append(
            f"  clips over {recipe.max_batch_seconds:g} s stand alone: the longest has {max(durations):.1f} s"
        )
    return lines


def learning_rate(recipe: Recipe, update: int, n_total: int) -> float:
    """Of the update with this number, from 0: linear warm-up from 0 to the recipe's value, then linear decay to 0."""
    n_warm = recipe.warmup_steps or math.ceil(recipe.warmup_ratio * n_total)
    if update < n_warm:
        return recipe.learning_rate * update / n_warm
    return recipe.learning_rate * max(0.0, (n_total - update) / max(1, n_total - n_warm))


def new_optimizer(model: Wav2Vec2ForCTC, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over what is trained; biases and the scales of normalisations, which have one dimension, do not decay."""
    trained = [values for values in model.parameters() if values.requires_grad]
    groups = [
        {
            "params": [values for values in trained if values.dim() > 1],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [values for values in trained if values.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def clip_losses(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], blank_id: int, precision: str
) -> torch.Tensor:
    """(B,) float32: the CTC loss of each clip divided by its number of labels, as reduction "mean" does before it averages.

    The network runs in the precision, softmax and loss in float32. A loss that is infinite, for labels longer than the frames
    allow, counts as 0 (`ctc_zero_infinity`).
    """
    waveforms, mask = batch["input_values"], batch["attention_mask"]
    with in_precision(waveforms.device, precision):
        logits = model(
            input_values=waveforms, attention_mask=mask
        ).logits  # (B, n_frames, n_labels)
    n_labels = (batch["labels"] != IGNORED_LABEL).sum(-1)
    network = getattr(model, "module", model)
    n_frames = network._get_feat_extract_output_lengths(mask.sum(-1))
    log_probabilities = logits.float().log_softmax(-1).transpose(0, 1)  # (n_frames, B, n_labels)
    with torch.backends.cudnn.flags(
        enabled=False
    ):  # cuDNN's CTC is another algorithm, without zero_infinity
        losses = torch.nn.functional.ctc_loss(
            log_probabilities,
            batch["labels"].clamp(min=0),
            n_frames,
            n_labels,
            blank_id,
            "none",
            zero_infinity=True,
        )
    return losses / n_labels.clamp(min=1)


def ready_for_training(model: Wav2Vec2ForCTC, recipe: Recipe) -> None:
    """Put the model on this process's device, in training mode."""
    model.to(device_here()).train()
    if model.device.type == "cpu":
        keep_memory_steady()
        # With dropout, torch's own attention takes products in float32 on a CPU, whatever autocast says: in bf16 the one
        # written out is 1.09 times as fast and takes a fifth less memory (25 M parameters). In float32 both are alike.
        model.set_attn_implementation("eager")
    if recipe.gradient_checkpointing:
        # The reentrant kind hooks each parameter twice, which DistributedDataParallel refuses.
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def seed_update(recipe: Recipe, update: int) -> None:
    """Dropout, layerdrop and masks depend on seed, update and process alone, so a resumed run draws what it would have."""
    seed = np.random.SeedSequence([recipe.seed, update, rank()]).generate_state(1)[0]
    transformers.set_seed(int(seed))


def try_longest_batch(job: Job) -> str:
    """One forward and backward pass of the run's longest micro-batch on every process; a line with time and peak memory.

    Weights stay as they are. Raises SharedError where the loss is no finite number, and torch's OutOfMemoryError.
    """
    model, durations = job.recogniser.model, job.durations
    ready_for_training(model, job.recipe)
    batches = (
        batch
        for update in run_updates(durations, job.recipe)
        for process in range(job.plan.n_processes)
        for batch in dealt(update, process, durations, job.recipe, job.plan)
    )
    longest = max(
        batches, key=lambda batch: (padded_seconds([batch], durations), durations[batch[0]])
    )
    clips = TrainingClips([job.clips[place] for place in longest], job.recogniser.tokenizer)
    batch = Collator(job.recogniser.feature_extractor)([clips[i] for i in range(len(clips))])
    seed_update(job.recipe, 0)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = time.monotonic()
    losses = clip_losses(model, _on(model.device, batch), model.config.pad_token_id, job.precision)
    # As fp16 is scaled in the first update; the sum over clips is divided by those of an update there.
    (
        losses.sum() / job.recipe.global_batch * (2.0**16 if job.precision == "fp16" else 1)
    ).backward()
    finite = bool(losses.isfinite().all())
    seconds = time.monotonic() - started
    model.zero_grad(set_to_none=True)
    peaks = from_all(_peak_memory(model))
    if not all(from_all(finite)):
        raise SharedError(
            f"the loss of the longest batch is no finite number in {job.precision}: {_named(job.clips, longest)}. "
            "Listen to these clips, or pass --precision float32. · 손실이 유한하지 않습니다."
        )
    line = f"longest batch: {len(longest)} clips of up to {durations[longest[0]]:.1f} s, forward and backward {seconds:.1f} s"
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory / 1e9
        line += f", peak {max(peaks) / 1e9:.1f} GB of {total:.1f} GB on {len(peaks)} GPU(s), optimizer included"
    return line


def _peak_memory(model: Wav2Vec2ForCTC) -> int:
    """Bytes at the highest point of the pass, and AdamW's two moments, which the first update will add."""
    if not torch.cuda.is_available():
        return 0
    return torch.cuda.max_memory_allocated() + 8 * sum(
        v.numel() for v in model.parameters() if v.requires_grad
    )


@dataclass(frozen=True, slots=True)
class Run:
    """What a finished run tells; the recogniser holds the final model's weights."""

    progress: Progress
    final_update: int  # whose weights are the final model
    validation: dict[str, float]  # of the final model
    resumed_from: int
    seconds: float  # since this process was started, evaluations and checkpoints included


def train(job: Job, checkpoints: Path, log_file: Path, checkpoint: Path | None) -> Run:
    """Train to the end, from the checkpoint if one is given; checkpoints and the log are written on the way.

    Raises SharedError where the checkpoint was made from other clips, and where losses stay without a finite value.
    """
    recipe, model = job.recipe, job.recogniser.model
    started = time.monotonic()
    ready_for_training(model, recipe)
    optimizer = new_optimizer(model, recipe)
    scaler = torch.amp.GradScaler(model.device.type, enabled=job.precision == "fp16")
    clips_sha256 = content_checksum(job.clips)
    progress = (
        read_checkpoint(checkpoint, model, optimizer, scaler)
        if checkpoint
        else Progress(clips_sha256)
    )
    if progress.clips_sha256 != clips_sha256:
        raise SharedError(
            f"training can use other clips than when {checkpoint} was written: see what was left out above. Restore these "
            "files, or start over with --fresh. · 학습에 쓸 수 있는 음성이 달라졌습니다."
        )
    resumed_from = progress.update
    updater = Updater(job, network_of(model), optimizer, scaler)
    bar = TrainingBar(job, progress)
    for update in updates_with_clips(job, progress.update):
        facts = updater.make(update, progress)
        bar.advance(facts, progress)
        at_end = progress.update == job.n_updates
        if progress.update % recipe.eval_steps == 0 or at_end:
            rates = validation_rates(job.recogniser, job.validation)
            bar.evaluated(rates, progress)
            if progress.update % recipe.save_steps == 0 or at_end:
                _note_best(progress, rates["cer"])
            if is_first():
                write_json_lines(log_file, progress.log)
        if (progress.update % recipe.save_steps == 0 or at_end) and is_first():
            write_checkpoint(checkpoints, job.recogniser, optimizer, scaler, progress)
            remove_old_checkpoints(checkpoints, recipe.checkpoints_kept, progress.best_update)
    bar.close()
    final = progress.best_update if recipe.final_model == "best" else progress.update
    if final != progress.update and is_first():
        load_weights(checkpoints / f"checkpoint-{final}", model)
    row = next(row for row in progress.log if row["step"] == final and "eval_cer" in row)
    rates = {
        key.removeprefix("eval_"): rate for key, rate in row.items() if key.startswith("eval_")
    }
    return Run(progress, final, rates, resumed_from, time.monotonic() - started)


def _note_best(progress: Progress, cer: float) -> None:
    if progress.best_cer is None or cer < progress.best_cer:
        progress.best_update, progress.best_cer = progress.update, cer


def network_of(model: Wav2Vec2ForCTC) -> torch.nn.Module:
    """The model as updates run it, its weights shared: its encoder in rows on a CPU, its gradients averaged over processes."""
    network = with_row_encoder(model) if model.device.type == "cpu" else model
    if n_processes() == 1:
        return network
    # Layerdrop leaves a layer without gradients, on some processes or on all.
    return DistributedDataParallel(
        network, find_unused_parameters=True, gradient_as_bucket_view=True
    )


@dataclass(frozen=True, slots=True)
class UpdateClips:
    """One update as one process makes it: padded micro-batches and the places of their clips."""

    n_clips: int  # of all processes
    batches: Iterator[dict[str, torch.Tensor]]
    places: list[list[int]]  # of this process's micro-batches
    is_idle: bool  # whether this process has no clip: it joins with one that weighs nothing
    audio_seconds: float  # of all processes
    padded_seconds: float


def updates_with_clips(job: Job, n_done: int) -> Iterator[UpdateClips]:
    """The updates after the first n_done, their audio read ahead by the recipe's workers."""
    durations, recipe, plan = job.durations, job.recipe, job.plan
    updates = list(run_updates(durations, recipe))[n_done:]
    shares = [dealt(update, rank(), durations, recipe, plan) for update in updates]
    # Fewer clips than processes, at the end of an epoch: the shortest clip makes an idle process's empty pass.
    places = [share or [update[-1:]] for share, update in zip(shares, updates, strict=True)]
    loader = torch.utils.data.DataLoader(
        TrainingClips(job.clips, job.recogniser.tokenizer),
        batch_sampler=[batch for update in places for batch in update],
        collate_fn=Collator(job.recogniser.feature_extractor),
        num_workers=recipe.workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # it would draw from the global one, and a resumed run would differ
    )
    batches = iter(loader)
    for update, share, my_places in zip(updates, shares, places, strict=True):
        everyone = [
            batch
            for process in range(plan.n_processes)
            for batch in dealt(update, process, durations, recipe, plan)
        ]
        audio = sum(durations[place] for place in update)
        yield UpdateClips(
            len(update), batches, my_places, not share, audio, padded_seconds(everyone, durations)
        )


@dataclass(frozen=True, slots=True)
class Updater:
    """Makes updates: gradients of micro-batches summed, averaged over processes, clipped, applied."""

    job: Job
    network: torch.nn.Module  # of network_of()
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    def make(self, update: UpdateClips, progress: Progress) -> dict[str, float]:
        """One update; progress is moved on. Returns mean loss a clip, gradient norm and learning rate."""
        started = time.monotonic()
        recipe, model = self.job.recipe, self.job.recogniser.model
        self.network.train()
        seed_update(recipe, progress.update)
        rate = learning_rate(recipe, progress.update, self.job.n_updates)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss_sum, bad_places = self._gradients(update)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM).item()
        shares = from_all((loss_sum, bad_places))
        bad_places = [place for _, places in shares for place in places]
        if not bad_places and math.isfinite(norm):
            self.scaler.step(self.optimizer)
        self.scaler.update()  # where a gradient overflowed, to a smaller scale
        self.optimizer.zero_grad(set_to_none=True)
        progress.update += 1
        progress.training_seconds += time.monotonic() - started
        progress.audio_seconds += update.audio_seconds
        progress.padded_seconds += update.padded_seconds
        self._count_bad(bad_places, norm, progress)
        return {
            "loss": sum(loss for loss, _ in shares) / update.n_clips,
            "grad_norm": norm,
            "learning_rate": rate,
        }

    def _gradients(self, update: UpdateClips) -> tuple[float, list[int]]:
        """Backward passes of this process's micro-batches; the sum of its finite losses, and the clips of the others.

        The loss of an update is the sum over its clips divided by their number, on whatever number of processes:
        DistributedDataParallel divides by the processes, so each multiplies by them first.
        """
        weight = 0.0 if update.is_idle else n_processes() / update.n_clips
        made: list[tuple[list[int], torch.Tensor]] = []
        for number, places in enumerate(update.places, 1):
            batch = _on(self.job.recogniser.model.device, next(update.batches))
            last = number == len(update.places)
            with nullcontext() if last or n_processes() == 1 else self.network.no_sync():
                losses = clip_losses(
                    self.network,
                    batch,
                    self.job.recogniser.model.config.pad_token_id,
                    self.job.precision,
                )
                self.scaler.scale(losses.sum() * weight).backward()
            made.append((places, losses.detach()))
        # Read at the end, since each reading waits for the GPU.
        values = [
            (place, loss)
            for places, losses in made
            for place, loss in zip(places, losses.tolist(), strict=True)
        ]
        bad_places = [place for place, loss in values if not math.isfinite(loss)]
        return 0.0 if update.is_idle else sum(
            loss for _, loss in values if math.isfinite(loss)
        ), bad_places

    def _count_bad(self, bad_places: list[int], norm: float, progress: Progress) -> None:
        """Count losses and gradients that are no finite numbers; the same on every process. Raises SharedError for too many."""
        clips = self.job.clips
        if bad_places and not progress.n_nonfinite and is_first():
            tqdm.write(
                f"update {progress.update:,}: the loss is no finite number, the update was left out. Its clips: "
                f"{_named(clips, bad_places)}. Listen to them. · 손실이 유한하지 않은 음성입니다.",
                file=sys.stdout,
            )
        progress.n_nonfinite += bool(bad_places)
        bad = bool(bad_places) or not math.isfinite(norm)
        progress.n_skipped += bad
        progress.n_skipped_in_a_row = progress.n_skipped_in_a_row + 1 if bad else 0
        if progress.n_skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            which = f" The clips of the last: {_named(clips, bad_places)}." if bad_places else ""
            raise SharedError(
                f"{MAX_SKIPPED_IN_A_ROW} updates in a row gave losses or gradients that are no finite numbers, so training "
                f"stopped at update {progress.update:,}.{which} Halve --learning-rate, or pass --precision bf16 (RTX 30 and "
                "newer) or float32, with --fresh; the checkpoints are still there. · 학습이 발산하여 멈췄습니다."
            )


class TrainingBar:
    """The progress line, and the rows of training_log.jsonl: printed by rank 0 alone, kept by all."""

    def __init__(self, job: Job, progress: Progress) -> None:
        self.job = job
        self.every = max(1, job.recipe.eval_steps // 10)
        self.window: list[dict[str, float]] = []
        self.before = asdict(progress)
        self.started, self.first = time.monotonic(), progress.update
        self.bar = tqdm(
            total=job.n_updates,
            initial=progress.update,
            desc="training",
            unit=" updates",
            disable=not is_first(),
            mininterval=0.5 if sys.stderr.isatty() else 10,  # a log file wants few lines
        )

    def advance(self, facts: dict[str, float], progress: Progress) -> None:
        """Another update was made."""
        self.window.append(facts)
        self.bar.update()
        if progress.update % self.every and progress.update != self.job.n_updates:
            return
        now = asdict(progress)
        seconds, audio, padded = (
            now[key] - self.before[key]
            for key in ("training_seconds", "audio_seconds", "padded_seconds")
        )
        done = progress.update - self.first
        row = {
            "loss": round(sum(facts["loss"] for facts in self.window) / len(self.window), 6),
            "grad_norm": round(facts["grad_norm"], 6)
            if math.isfinite(facts["grad_norm"])
            else None,
            "learning_rate": facts["learning_rate"],
            "padding_waste": round(1 - audio / padded, 4),
            "audio_seconds_per_second": round(audio / seconds, 2),
            "seconds_left": round(
                (time.monotonic() - self.started) / done * (self.job.n_updates - progress.update)
            ),
            "nonfinite_updates": progress.n_nonfinite,
        }
        self._log(row, progress)
        self.bar.set_postfix_str(
            f"loss {row['loss']:.3f}, lr {row['learning_rate']:.1e}, {row['audio_seconds_per_second']:.0f} s of audio/s, "
            f"padding {row['padding_waste']:.0%}",
            refresh=False,
        )
        self.window, self.before = [], now

    def evaluated(self, rates: dict[str, float], progress: Progress) -> None:
        """The validation split was scored."""
        self._log({f"eval_{name}": rate for name, rate in rates.items()}, progress)
        scores = f"validation CER {rates['cer']:.4f}  WER {rates['wer']:.4f}"
        if is_first():
            epoch = progress.log[-1]["epoch"]
            self.bar.write(
                f"update {progress.update:>6,}  epoch {epoch:.2f}  {scores}", file=sys.stdout
            )

    def _log(self, row: dict[str, Any], progress: Progress) -> None:
        epoch = progress.update / n_updates_an_epoch(len(self.job.clips), self.job.recipe)
        progress.log.append({"step": progress.update, "epoch": round(epoch, 4), **row})

    def close(self) -> None:
        self.bar.close()


def validation_rates(recogniser: Recogniser, validation: list[Utterance]) -> dict[str, float]:
    """Error rates of the model as it stands, on every validation clip once, however many processes decode."""
    hypotheses = decoded_by_all(recogniser, validation, "validation").hypotheses
    pairs = zip(validation, hypotheses, strict=True)
    counts = corpus_counts(
        [utterance_counts(utterance.text, hypothesis.text) for utterance, hypothesis in pairs]
    )
    return {name: count.rate for name, count in counts.items()}


def _on(device: torch.device, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: values.to(device, non_blocking=True) for name, values in batch.items()}


def _named(clips: list[Utterance], places: list[int], n_named: int = 8) -> str:
    more = f" and {len(places) - n_named} more" if len(places) > n_named else ""
    return ", ".join(clips[place].id for place in places[:n_named]) + more


def public_command(arguments: list[str]) -> list[str]:
    """The arguments of a command without what they tell of the machine: of a path that leaves this folder the last part."""
    public = []
    for argument in arguments:
        option, equals, value = (
            argument.partition("=") if argument.startswith("--") else ("", "", argument)
        )
        leaves = Path(value).is_absolute() or ".." in Path(value).parts or value.startswith("~")
        public.append(option + equals + (Path(value).name if leaves else value))
    return public


def experiment_record(
    identity: dict[str, Any], split: Split, run: Run, **facts: Any
) -> dict[str, Any]:
    """What experiment.json holds: recipe, versions, seeds, checksums, sizes, measured speed, the final model's rates."""
    sizes = {name: {"n_clips": len(part), "hours": round(sum(u.duration for u in part) / 3600, 4)}
             for name, part in split.parts().items()}  # fmt: skip
    progress = run.progress
    return {
        **identity,
        **facts,
        "rule": RULE,
        "clips": sizes,
        "notes": list(split.notes),
        "updates": progress.update,
        "final_update": run.final_update,
        "resumed_from_update": run.resumed_from,
        "validation": {name: round(rate, 6) for name, rate in run.validation.items()},
        "nonfinite_updates": progress.n_nonfinite,
        "skipped_updates": progress.n_skipped,
        "speed": {
            "training_seconds": round(progress.training_seconds, 1),
            "audio_seconds_per_second": round(
                progress.audio_seconds / progress.training_seconds, 2
            ),
            "padding_waste": round(1 - progress.audio_seconds / progress.padded_seconds, 4),
            "seconds_since_last_start": round(run.seconds, 1),
        },
        "versions": versions(),
    }
