"""Check everything that could spoil a long run before it starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korean_asr.files import as_read
from korean_asr.model import versions
from korean_asr.model_folder import weights_checksum
from korean_asr.overlap import (
    EARLIER_FILE,
    overlaps,
    printed_earlier,
    printed_overlap,
    trained_on,
)
from korean_asr.training import clip_checks, model_checks
from korean_asr.training.batches import n_updates
from korean_asr.training.final_model import n_best_kept
from korean_asr.vocabulary import (
    outside_record,
    outside_vocabulary,
    printed_outside_of_parts,
    writable_characters,
)


@dataclass(frozen=True, slots=True)
class Inspection:
    """The findings that training and experiment.json need, the same on every process."""

    train: list[Any]  # the training clips that can be used
    split_files: dict[str, list[Any]]  # by their names in split/
    facts: dict[str, Any]  # for experiment.json


def inspected(experiment, recipe, split, recogniser, added: list[str]) -> Inspection:
    """Look at all clips and at the expanded model, and print what is found.

    experiment: an experiment.Experiment. split: a splits.Split.
    recogniser, added: the result of model.expanded_base_model().
    Only one process calls this. It sets the new tokens' biases; the other processes receive them
    when the weights are shared, before the first update.
    Raises DataError if the disk is too small, if the expanded model changes the base model's text,
    or if no training clip can be used.
    """
    command = experiment.command
    writable = writable_characters(recogniser.tokenizer)
    outside = {
        name: outside_vocabulary([clip.text for clip in part], writable)
        for name, part in split.parts().items()
    }
    print("\n".join(printed_outside_of_parts(outside, advises=recipe.extra_tokens is None)))
    found = clip_checks.checked_inputs(split.checked(), recipe.max_duration_s, writable)
    print("\n".join(clip_checks.printed_checks(found, limit=None if command.check else 3)))
    parts = split.with_sounds(found.sounds).parts()
    overlap = overlaps(parts)
    print(printed_overlap(overlap))
    earlier = trained_on(command.base_model) or []
    for line in printed_earlier(command.base_model, earlier, parts):
        print(line)
    train = clip_checks.usable_training_clips(parts, found)
    print(_checked_disk(experiment, recogniser, recipe, len(train)))
    step_0 = _checked_head(command.base_model, recipe.head, split, recogniser, added)
    files = {f"{name}.jsonl": part for name, part in parts.items()}
    if earlier:
        files[EARLIER_FILE] = earlier
    facts = {
        "tokens_added": added,
        "step_0": step_0.record(),
        "checks": clip_checks.checks_record(found),
        "left_out_of_training": found.left_out,
        "overlap": overlap,
        "outside_vocabulary": {name: outside_record(part) for name, part in outside.items()},
    }
    # Convert to plain JSON types: the facts are pickled for the other processes.
    facts = as_read(facts)
    return Inspection(train, files, facts)


def printed_tokens(recogniser, added: list[str], head: str) -> str:
    """Return a line about the new tokens and the size of the head. head: the recipe's."""
    n_rows = recogniser.model.config.vocab_size
    return f"tokens added: {' '.join(added) or 'none'}; the head has {n_rows:,} rows ({head})"


def _checked_disk(experiment, recogniser, recipe, n_clips: int) -> str:
    """Return a line about the disk. Raises DataError if the checkpoints will not fit.

    n_clips: to train on.
    """
    n_parameters, n_trained = recogniser.n_parameters()
    if experiment.is_trained(n_updates(n_clips, recipe)):
        # Only the final model is still to be written.
        return clip_checks.refuse_full_disk(experiment.checkpoints, 4 * n_parameters, 0)
    kept = recipe.checkpoints_kept, n_best_kept(recipe)
    needed = clip_checks.disk_needed(n_parameters, n_trained, *kept)
    return clip_checks.refuse_full_disk(
        experiment.checkpoints, needed, experiment.replaceable_bytes()
    )


def _checked_head(base_model: str, head: str, split, recogniser, added: list[str]):
    """Set the new tokens' biases, then compare the model with its base (a model_checks.Step0)."""
    if head == "resize":
        model_checks.start_new_tokens(recogniser, added, clip_checks.sample_waveforms(split.train))
    clips = clip_checks.sample_waveforms(split.validation)
    step_0 = model_checks.step_0(base_model, recogniser, head, clips)
    print(model_checks.printed_step_0(step_0))
    return step_0


def facts_of_saved(recogniser, folder: Path, validation: list[Any]) -> dict[str, Any]:
    """What experiment.json tells of the saved model and of what it was saved by.

    Raises DataError as same_text_after_reload does.
    """
    return {
        "same_text_after_reload": same_text_after_reload(recogniser, folder, validation),
        "weights_sha256": weights_checksum(folder),
        "versions": versions(),
    }


def same_text_after_reload(recogniser, folder: Path, validation: list[Any]) -> int:
    """Load a saved model and compare its text with the trained one's; returns the number of clips.

    Raises DataError if the text of a clip differs.
    """
    return model_checks.saved_model(recogniser, folder, clip_checks.sample_waveforms(validation))
