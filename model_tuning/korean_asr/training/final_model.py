"""The weights of the final model: a checkpoint's, or the mean of the best; blended with the base's.

A mean of checkpoints is the usual last step in icefall, ESPnet and SpeechBrain. A blend with the
base is the weight interpolation of Wortsman et al. 2022 (WiSE-FT, arXiv:2109.01903).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from korean_asr.decoding import error_rates
from korean_asr.errors import DataError, SharedError, UsageError
from korean_asr.hardware import from_first, is_first, weights_from_first
from korean_asr.model import load_recogniser
from korean_asr.rates import shown_rate, stored_rate
from korean_asr.recipe import CHOOSE, WITHOUT_LEARNERS
from korean_asr.training.base_shares import SHARES, ScoredShare, chosen_share, printed_shares
from korean_asr.training.batches import Job
from korean_asr.training.checkpoints import (
    best_update_of,
    checkpoint_in,
    complete_checkpoints,
    load_weights,
)
from korean_asr.training.progress import Progress

# The values of a recipe that change no update: with others, a finished run's checkpoints serve.
FINAL_VALUES = ("final_model", "base_share")

State = dict[str, torch.Tensor]  # of state_dict()


@dataclass(frozen=True, slots=True)
class FinalModel:
    """What the final model is, in numbers and words. The recogniser then holds its weights."""

    update: int | None  # whose weights it has, before they are blended; None for a mean
    rates: dict[str, float]  # on validation
    record: dict[str, Any]  # `final` of experiment.json
    words: str

    @property
    def line(self) -> str:
        """The line to print."""
        cer, wer = (shown_rate(self.rates[name]) for name in ("cer", "wer"))
        return f"final model: {self.words}, validation CER {cer}  WER {wer}"


def made_final(
    job: Job, checkpoints: Path, progress: Progress, say: Callable[[str], None]
) -> FinalModel:
    """Make the final model from the checkpoints of a run whose updates are all made.

    Every process calls this; the first one's recogniser gets the weights that are saved.
    Raises DataError if a checkpoint or the base model cannot be read, or has changed.
    """
    recipe = job.recipe
    if recipe.final_model == "average":
        final = _average_or_best(job, checkpoints, progress, say)
    else:
        update = progress.best_update if recipe.final_model == "best" else progress.update
        # The model has the weights of the last update.
        if update != progress.update and is_first():
            load_weights(checkpoint_in(checkpoints, update), job.recogniser.model)
        rates = progress.rates_of(update)
        record = {recipe.final_model: stored_rate(rates["cer"])}
        final = FinalModel(update, rates, record, _update_in_words(job, progress, update))
    return _blended(job, final, say) if recipe.base_share else final


def _update_in_words(job: Job, progress: Progress, update: int) -> str:
    return f"update {update:,} of {progress.update:,} ({job.recipe.final_model})"


def ranked_updates(log: list[dict[str, Any]], save_steps: int, n_updates: int) -> list[int]:
    """The updates with a checkpoint that was scored, the lowest validation CER first.

    log: Progress.log; n_updates: of the whole run. Of equal ones the first is the better.
    """
    scored = {row["step"]: row["eval_cer"] for row in log if "eval_cer" in row}
    saved = [step for step in scored if step % save_steps == 0 or step == n_updates]
    return sorted(saved, key=lambda step: (scored[step], step))


def updates_to_keep(job: Job, progress: Progress) -> set[int]:
    """The updates whose checkpoints the final model may need, however old they are."""
    if job.recipe.final_model == "average":
        ranked = ranked_updates(progress.log, job.recipe.save_steps, job.n_updates)
        return set(ranked[: job.recipe.checkpoints_kept])
    return set() if progress.best_update is None else {progress.best_update}


def n_best_kept(recipe) -> int:
    """How many checkpoints stay on disk for their score; recipe: a recipe.Recipe."""
    return recipe.checkpoints_kept if recipe.final_model == "average" else 1


def refuse_missing_checkpoints(folder: Path, final_model: str, n_updates: int) -> None:
    """Raise DataError where the final model of a finished run cannot be made anew.

    folder: of the checkpoints; n_updates: of the run. The last one holds the log, and the best one
    is the final model or what an average is compared with.
    """
    complete = complete_checkpoints(folder)
    needed = {n_updates}
    if final_model != "last" and n_updates in complete:
        needed.add(best_update_of(complete[n_updates]))
    missing = sorted(needed - complete.keys())
    if missing:
        raise DataError(
            f"{checkpoint_in(folder, missing[0])} is not there, or not whole: without it the final "
            "model cannot be made anew. Put it back, pass the --final-model and --base-share of "
            "before, or --fresh, which trains again. "
            "· 최종 모델을 다시 만드는 데 필요한 체크포인트가 없습니다."
        )


def mean_state(states: Iterable[State]) -> State:
    """The mean of several state dicts, which are read one after another.

    Sums are in float64 and means in float32, so equal values stay as they are, as those of frozen
    layers. What is no floating-point number comes from the first one.
    """
    sums: State = {}
    others: State = {}
    n_states = 0
    for state in states:
        n_states += 1
        for name, values in state.items():
            if not values.is_floating_point():
                others.setdefault(name, values.clone())
            elif name in sums:
                sums[name] += values
            else:
                sums[name] = values.to(torch.float64, copy=True)
    return {name: (total / n_states).float() for name, total in sums.items()} | others


def blended_state(tuned: State, base: State, share: float, head: str) -> State:
    """share * base + (1 - share) * tuned, computed in float64; equal values stay as they are.

    head: the recipe's value. Where it was resized, the rows that the base lacks stay tuned; where
    it was started anew, all of it does, since no row comes from the base's.
    Masks are drawn in training alone, and a base may lack their embedding: it stays tuned too, as
    does all that is no floating-point number.
    """
    blended = {}
    for name, values in tuned.items():
        stays = "masked_spec_embed" in name or (head != "resize" and name.startswith("lm_head."))
        blended[name] = values.clone()
        if name not in base or stays or not values.is_floating_point():
            continue
        rows = ... if values.shape == base[name].shape else slice(len(base[name]))
        blended[name][rows] = torch.lerp(values[rows].double(), base[name].double(), share)
    return blended


def _average_or_best(
    job: Job, checkpoints: Path, progress: Progress, say: Callable[[str], None]
) -> FinalModel:
    """The mean of the best checkpoints, or the best one where its validation CER is no higher."""
    ranked = ranked_updates(progress.log, job.recipe.save_steps, job.n_updates)
    n_wanted = job.recipe.checkpoints_kept
    complete = from_first(sorted(complete_checkpoints(checkpoints)) if is_first() else None)
    averaged = [update for update in ranked if update in complete][:n_wanted]
    best, best_update = progress.rates_of(progress.best_update), progress.best_update
    rates = _scored_mean(job, [checkpoint_in(checkpoints, update) for update in averaged])
    say(
        f"validation CER {shown_rate(best['cer'])} of the best checkpoint "
        f"(update {best_update:,}), "
        f"{shown_rate(rates['cer'])} of the mean of {_named(averaged)}"
    )
    if gone := [update for update in ranked[:n_wanted] if update not in complete]:
        say(f"  no longer on disk, of the {n_wanted} best: {_named(gone)}")
    record = {
        "best": stored_rate(best["cer"]),
        "average": stored_rate(rates["cer"]),
        "averaged": sorted(averaged),
    }
    if rates["cer"] < best["cer"]:
        return FinalModel(None, rates, record, f"mean of {_named(averaged)}")
    if is_first():
        load_weights(checkpoint_in(checkpoints, best_update), job.recogniser.model)
    return FinalModel(best_update, best, record, _update_in_words(job, progress, best_update))


def _named(updates: Sequence[int]) -> str:
    """`3 checkpoints (updates 2, 4, 6)`."""
    ending = "" if len(updates) == 1 else "s"
    numbers = ", ".join(f"{update:,}" for update in sorted(updates))
    return f"{len(updates)} checkpoint{ending} (update{ending} {numbers})"


def _scored_mean(job: Job, checkpoints: list[Path]) -> dict[str, float]:
    """Give every process the mean of these checkpoints, and score it on validation."""
    model = job.recogniser.model
    if is_first():
        states = (load_recogniser(str(path)).model.state_dict() for path in checkpoints)
        model.load_state_dict(mean_state(states))
    weights_from_first(model)
    return error_rates(job.recogniser, job.validation, "validation")


def _blended(job: Job, final: FinalModel, say: Callable[[str], None]) -> FinalModel:
    """Blend the final model with the base, by the recipe's share or by the one that is chosen."""
    recipe, model = job.recipe, job.recogniser.model
    chooses = recipe.base_share == CHOOSE
    if chooses and not job.learner_validation:
        raise UsageError(WITHOUT_LEARNERS)
    tuned, base = _weights_to_blend(job)
    scored, rates = [], {}
    for share in SHARES if chooses else (0.0, recipe.base_share):
        if is_first():
            model.load_state_dict(blended_state(tuned, base, share, recipe.head))
        weights_from_first(model)
        # Without the base these weights are scored already.
        natives, learners = final.rates, None
        if share:
            natives = error_rates(job.recogniser, job.validation, "validation")
        if job.learner_validation:
            learners = error_rates(job.recogniser, job.learner_validation, "learners")
        rates[share] = natives
        scored.append(ScoredShare.of_rates(share, natives, learners))
    share = chosen_share(scored).share if chooses else recipe.base_share
    if is_first():
        model.load_state_dict(blended_state(tuned, base, share, recipe.head))
    say("\n".join(printed_shares(scored, share)))
    return FinalModel(
        final.update,
        rates[share],
        {**final.record, "base_share": share, "shares": [one.record() for one in scored]},
        f"{final.words} with {share:g} of the base's weights" if share else final.words,
    )


def _weights_to_blend(job: Job) -> tuple[State, State]:
    """The final model's weights so far and the base's, both on the host of the first process.

    On the others both are empty. Raises SharedError if the base is no longer what was trained.
    """
    recogniser = job.recogniser
    base = load_recogniser(recogniser.source) if is_first() else None
    # The others would wait for weights of a first process that ended.
    if from_first(base and base.weights_sha256) != recogniser.weights_sha256:
        raise SharedError(
            f"the base model {recogniser.name} has changed since this run began: its weights "
            "cannot be blended. Put the same model back and run the same command again. "
            "· 기본 모델의 가중치가 바뀌었습니다."
        )
    if base is None:
        return {}, {}
    tuned = {name: values.cpu().clone() for name, values in recogniser.model.state_dict().items()}
    return tuned, base.model.state_dict()
