"""The training loop: updates, evaluations and checkpoints, from checked clips to a trained model.

transformers' Trainer is not used. Its order of clips depends on the number of processes, its last
batch repeats clips, and it cuts an update into a fixed number of batches of a fixed size. It writes
checkpoints in place, so one that was cut off looks complete.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.nn.parallel import DistributedDataParallel
from transformers import Wav2Vec2ForCTC

from korean_asr.decoding import rates_and_loss
from korean_asr.errors import SharedError
from korean_asr.hardware import (
    Sent,
    device_here,
    fast_network,
    in_precision,
    inputs_on,
    is_first,
    n_processes,
    rank,
    sent_to_host,
    summed_over_processes,
)
from korean_asr.inference import ctc_losses
from korean_asr.training.augmentation import features_masked
from korean_asr.training.batches import (
    IGNORED_LABEL,
    Job,
    UpdateClips,
    named,
    updates_with_clips,
)
from korean_asr.training.checkpoints import (
    read_checkpoint,
    remove_old_checkpoints,
    write_checkpoint,
)
from korean_asr.training.final_model import made_final, updates_to_keep
from korean_asr.training.progress import KeepLog, Progress, TrainingBar

MAX_GRADIENT_NORM = 1.0
# fp16 halves its loss scale of 65,536 at each overflow: sixteen in a row bring it to 1. More
# overflows than that are not the scale settling.
MAX_SKIPPED_IN_A_ROW = 20


def prepared_job(
    recogniser,
    clips: list[Any],
    validation: list[Any],
    recipe,
    plan,
    precision: str,
    learner_validation: Sequence[Any] = (),
) -> Job:
    """Put the model on this process's device, in training mode; returns the batches.Job."""
    model = recogniser.model.to(device_here()).train()
    if model.device.type == "cpu":
        # With dropout, torch's attention runs in float32 on a CPU, even under bf16 autocast.
        # transformers' own is 1.09 times as fast in bf16 and takes a fifth less memory (25 M
        # parameters). In float32 both are equally fast.
        model.set_attn_implementation("eager")
    if recipe.gradient_checkpointing:
        # The reentrant kind hooks each parameter twice, which DistributedDataParallel refuses.
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    learners = list(learner_validation)
    return Job(recogniser, clips, validation, recipe, plan, precision, learners)


def new_optimizer(
    model: Wav2Vec2ForCTC, rate: float, weight_decay: float, head_rate: float | None = None
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters. One-dimensional ones (biases, norms) do not decay.

    head_rate: learning rate of the head, whose groups have it as a multiple of the others' under
        `rate_factor`; None: the head is in the groups of all.
    """
    of_head = set(model.lm_head.parameters()) if head_rate else set()
    trained = [values for values in model.parameters() if values.requires_grad]
    body = [values for values in trained if values not in of_head]
    groups = _by_decay(body, weight_decay)
    if head_rate:
        head = [values for values in trained if values in of_head]
        of_rate = {"lr": head_rate, "rate_factor": head_rate / rate}
        groups += [{**group, **of_rate} for group in _by_decay(head, weight_decay)]
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def _by_decay(parameters: list[torch.nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    weights = [values for values in parameters if values.dim() > 1]
    others = [values for values in parameters if values.dim() < 2]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def clip_losses(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], blank_id: int, precision: str
) -> torch.Tensor:
    """Compute the loss of each clip as inference.ctc_losses does: (B,) float32.

    batch: of the Collator, on the host. The network runs in the precision, softmax and loss in
    float32.
    """
    network = getattr(model, "module", model)
    device = network.device
    masks = batch.get("masked_features")
    with in_precision(device, precision), features_masked(network, masks):
        # (B, n_frames, n_labels)
        logits = model(**inputs_on(device, batch)).logits
    return ctc_losses(
        logits.float().log_softmax(-1),
        network._get_feat_extract_output_lengths(batch["n_samples"]),
        batch["labels"].clamp(min=0).to(device, non_blocking=True),
        (batch["labels"] != IGNORED_LABEL).sum(-1),
        blank_id,
    )


def seed_update(seed: int, update: int) -> None:
    """Seed dropout, layerdrop and masks by the update and the process alone.

    A resumed run then draws what the uninterrupted one would have drawn.
    """
    state = np.random.SeedSequence([seed, update, rank()]).generate_state(1)[0]
    transformers.set_seed(int(state))


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a finished run. The recogniser then holds the final model's weights."""

    progress: Progress
    final_update: int | None  # the update whose weights the final model has; None for a mean
    validation: dict[str, float]  # rates of the final model
    resumed_from: int
    seconds: float  # since this process started training, with evaluations and checkpoints
    final: dict[str, Any] = field(default_factory=dict)  # how the final model was made


def train(job: Job, checkpoints: Path, keep_log: KeepLog, checkpoint: Path | None = None) -> Run:
    """Train to the end, from a checkpoint if one is given, and write checkpoints.

    keep_log: called with the progress at the start and at each new row of its log, on the first
        process.
    Raises SharedError if the checkpoint was made with other clips, and if losses or gradients stay
    NaN or infinite.
    """
    recipe, model = job.recipe, job.recogniser.model
    started = time.monotonic()
    optimizer = new_optimizer(
        model, recipe.learning_rate, recipe.weight_decay, recipe.head_learning_rate
    )
    scaler = torch.amp.GradScaler(model.device.type, enabled=job.precision == "fp16")
    progress = _progress(job, optimizer, scaler, checkpoint)
    resumed_from = progress.update
    bar = TrainingBar(
        progress, job.n_updates, job.n_updates_an_epoch, recipe.eval_steps, is_first(), keep_log
    )
    updater = Updater(job, network_of(model), optimizer, scaler, progress, bar)
    for update in updates_with_clips(job, rank(), progress.update):
        updater.make(update)
        n_made = update.number + 1
        at_end = n_made == job.n_updates
        saves = at_end or n_made % recipe.save_steps == 0
        evaluates = at_end or n_made % recipe.eval_steps == 0
        if saves or evaluates:
            updater.count()
        if evaluates:
            scores = rates_and_loss(job.recogniser, job.validation, "validation")
            if saves:
                progress.note_checkpoint(scores["cer"])
            bar.evaluated(scores)
        if saves and is_first():
            write_checkpoint(checkpoints, job.recogniser, optimizer, scaler, progress)
            kept = updates_to_keep(job, progress)
            remove_old_checkpoints(checkpoints, recipe.checkpoints_kept, kept)
    final = made_final(job, checkpoints, progress, bar.say)
    seconds = time.monotonic() - started
    bar.close(final.line)
    return Run(progress, final.update, final.rates, resumed_from, seconds, final.record)


def _progress(
    job: Job,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    checkpoint: Path | None,
) -> Progress:
    """The progress of a checkpoint, with model, optimizer and scaler restored, or a new one."""
    checksum = job.clips_sha256
    if checkpoint is None:
        return Progress(checksum)
    progress = read_checkpoint(checkpoint, job.recogniser.model, optimizer, scaler)
    if progress.clips_sha256 != checksum:
        raise SharedError(
            f"the usable training clips have changed since {checkpoint} was written: the lines "
            "above say which were left out. Restore these files, or start over with --fresh. "
            "· 학습에 사용할 수 있는 발화가 체크포인트를 저장할 때와 다릅니다."
        )
    return progress


def network_of(model: Wav2Vec2ForCTC) -> torch.nn.Module:
    """The network to run in updates: it shares the model's weights.

    On several processes gradients are averaged over them.
    """
    network = fast_network(model)
    if not torch.distributed.is_initialized():
        return network
    # Layerdrop leaves a layer without gradients, on some processes or on all.
    return DistributedDataParallel(
        network, find_unused_parameters=True, gradient_as_bucket_view=True
    )


@dataclass(slots=True)
class Updater:
    """Makes updates: gradients summed over micro-batches, averaged over processes, clipped.

    An update is queued on the device before the one before it is counted, so that a GPU always has
    work: losses and norm are read when they are ready, and nothing waits for the newest ones.
    """

    job: Job
    network: torch.nn.Module  # of network_of()
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress  # of the updates that are counted
    bar: TrainingBar
    uncounted: tuple[UpdateClips, float, Sent] | None = None  # with learning rate, losses and norm
    started: float = 0.0  # of the seconds that belong to the update which is counted next

    def make(self, update: UpdateClips) -> None:
        """Queue an update, and count the one before it."""
        if self.uncounted is None:
            self.started = time.monotonic()
        recipe, optimizer = self.job.recipe, self.optimizer
        self.network.train()
        seed_update(recipe.seed, update.number)
        rate = recipe.learning_rate_at(update.number, self.job.n_updates)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
        losses = summed_over_processes(self._gradients(update))
        self.scaler.unscale_(optimizer)
        parameters = self.job.recogniser.model.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        results = torch.cat([losses, norm[None]])
        # The fused AdamW reads this flag on the device, and changes nothing where it is 1.
        optimizer.found_inf = (~results.isfinite().all()).float()
        optimizer.step()
        # After a gradient that overflowed, the scale becomes smaller.
        self.scaler.update()
        optimizer.zero_grad(set_to_none=True)
        sent = sent_to_host(results)
        self.count()
        self.uncounted = update, rate, sent

    def count(self) -> None:
        """Wait for the update that is not yet counted, if there is one, and count and log it.

        Raises SharedError, on every process, after MAX_SKIPPED_IN_A_ROW bad updates.
        """
        if self.uncounted is None:
            return
        update, rate, sent = self.uncounted
        self.uncounted = None
        *losses, norm = sent.read()
        progress, now = self.progress, time.monotonic()
        progress.update = update.number + 1
        progress.training_seconds += now - self.started
        self.started = now
        progress.audio_seconds += update.audio_seconds
        progress.padded_seconds += update.padded_seconds
        clips = zip(update.clips, losses, strict=True)
        self._count_bad([index for index, loss in clips if not math.isfinite(loss)], norm)
        loss = sum(loss for loss in losses if math.isfinite(loss)) / len(losses)
        self.bar.advance({"loss": loss, "grad_norm": norm, "learning_rate": rate})

    def _gradients(self, update: UpdateClips) -> torch.Tensor:
        """Pass this process's micro-batches backward.

        Returns the losses of its clips, (n_clips of all processes,) float32, and 0 for the others.
        The loss of an update is the sum over its clips divided by their number.
        DistributedDataParallel divides by the number of processes, so each multiplies by it first.
        """
        model = self.job.recogniser.model
        blank_id, precision = model.config.pad_token_id, self.job.precision
        weight = 0.0 if update.is_idle else n_processes() / len(update.clips)
        made = torch.zeros(len(update.clips), device=model.device)
        first = update.first
        for number in range(1, update.n_batches + 1):
            waits = number < update.n_batches and torch.distributed.is_initialized()
            with self.network.no_sync() if waits else nullcontext():
                losses = clip_losses(self.network, next(update.batches), blank_id, precision)
                self.scaler.scale(losses.sum() * weight).backward()
            if not update.is_idle:
                made[first : first + len(losses)] = losses.detach()
                first += len(losses)
        return made

    def _count_bad(self, bad_clips: list[int], norm: float) -> None:
        """Count losses and gradients that are NaN or infinite, alike on every process.

        Raises SharedError after MAX_SKIPPED_IN_A_ROW of them.
        """
        clips, progress = self.job.clips, self.progress
        if bad_clips and not progress.n_nonfinite:
            self.bar.say(
                f"update {progress.update:,}: the loss is NaN or infinite, so the update was left "
                f"out. Its clips: {named(clips, bad_clips)}. Listen to them. "
                "· 손실이 NaN 또는 무한대입니다."
            )
        progress.n_nonfinite += bool(bad_clips)
        bad = bool(bad_clips) or not math.isfinite(norm)
        progress.n_skipped += bad
        progress.n_skipped_in_a_row = progress.n_skipped_in_a_row + 1 if bad else 0
        if progress.n_skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            which = f" Clips of the last one: {named(clips, bad_clips)}." if bad_clips else ""
            raise SharedError(
                f"{MAX_SKIPPED_IN_A_ROW} updates in a row gave losses or gradients that are NaN or "
                f"infinite, so training stopped at update {progress.update:,}.{which} Start over "
                "with --fresh, and halve --learning-rate or pass --precision bf16 (RTX 30 and "
                "newer) or float32. The checkpoints are still there. "
                "· 학습이 발산하여 중단했습니다."
            )
