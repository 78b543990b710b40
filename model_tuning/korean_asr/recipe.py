"""v1, v2, v3, v7 and demo: every value of an experiment, as data. A value on the command line replaces one of these."""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import get_args, get_origin

from korean_asr.errors import UsageError

PRECISIONS = ("float32", "fp16", "bf16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One experiment. Times in seconds; probabilities 0 to 1; steps are optimiser updates."""

    name: str

    # Data. `clips_before_split`: shuffle, take that many, split 8:1:1 (v3). `split_caps`: split everything 8:1:1, then keep
    # the first so many of train, validation and test (v1, v2). None: all clips.
    clips_before_split: int | None = None
    split_caps: tuple[int, int, int] | None = None
    group_by: str = "none"  # "sentence", "speaker": the same one never lies in two splits
    seed: int = 42
    max_duration_s: float = 20.0  # training leaves longer clips out; validation and test keep them

    # Tokens and head. `extra_tokens`: also a token for each character that the training split holds at least so often and
    # the tokenizer cannot write. With "resize" every trained row is kept; "reinitialise" is what the first seeds did.
    added_tokens: str = ""
    extra_tokens: int | None = None
    head: str = "resize"
    freeze_feature_encoder: bool = True

    # Optimisation. The global batch is batch_per_gpu x accumulation x gpus, on whatever number of GPUs it runs.
    # `length_grouping`: clips of like duration share an update, which saves padding. `max_batch_seconds`: of padded audio on
    # a GPU at a time, in place of batch_per_gpu clips. `gradient_checkpointing`: less memory for a third more time.
    epochs: float = 10.0
    batch_per_gpu: int = 8
    accumulation: int = 2
    gpus: int = 4
    learning_rate: float = 1e-4
    warmup_steps: int = 0
    warmup_ratio: float = 0.0  # of all updates; counts where warmup_steps is 0
    weight_decay: float = 0.0
    length_grouping: bool = True
    max_batch_seconds: float | None = None
    precision: str = "float32"  # or "fp16", "bf16"; the loss is always float32
    gradient_checkpointing: bool = False
    workers: int = 0

    # Regularisation.
    attention_dropout: float = 0.1
    hidden_dropout: float = 0.1
    feat_proj_dropout: float = 0.0
    layerdrop: float = 0.1
    mask_time_prob: float = 0.05

    # Evaluation and checkpoints. `final_model`: "best", the checkpoint of the lowest validation CER, which is kept beside the
    # last few; or "last".
    eval_steps: int = 100
    save_steps: int = 100
    checkpoints_kept: int = 2
    final_model: str = "best"

    @property
    def global_batch(self) -> int:
        """Clips of one optimiser update."""
        return self.batch_per_gpu * self.accumulation * self.gpus


CHOICES = {
    "group_by": ("none", "sentence", "speaker"),
    "head": ("resize", "reinitialise"),
    "precision": PRECISIONS,
    "final_model": ("best", "last"),
}
VALUES = {field.name: field for field in fields(Recipe) if field.name != "name"}
OPTIONS = tuple("--" + key.replace("_", "-") for key in VALUES)


def chosen_recipe(recipes: dict[str, Recipe], name: str, values: dict[str, str]) -> Recipe:
    """A recipe by name, with values given as text (`{"learning_rate": "2e-4"}`) in place of its own.

    Raises UsageError that names the unknown recipe and the nearest right one, or the ill-typed value.
    """
    if name not in recipes:
        raise UsageError(
            f"no recipe '{name}'. There are: {', '.join(recipes)}.{_nearest(name, recipes)}"
        )
    return _checked(
        replace(recipes[name], **{key: _parsed(key, text) for key, text in values.items()})
    )


def overrides(options: list[str], others: Iterable[str] = ()) -> dict[str, str]:
    """`["--learning-rate", "2e-4"]` or `["--learning-rate=2e-4"]` as {"learning_rate": "2e-4"}; raises UsageError.

    others: values of the script that are none of a recipe (`base_model`), for the advice on a misspelt option.
    """
    values, rest = {}, list(options)
    while rest:
        option, equals, text = rest.pop(0).partition("=")
        if not option.startswith("--"):
            raise UsageError(f"'{option}' belongs to no option.")
        key = option[2:].replace("-", "_")
        if key not in VALUES:
            raise UsageError(
                f"no option or recipe value '{option}'.{_nearest(option, (*OPTIONS, *map(_option, others)))}"
            )
        if not equals and (not rest or rest[0].startswith("--")):
            raise UsageError(f"{option} wants a value.")
        values[key] = text if equals else rest.pop(0)
    return values


def _parsed(key: str, text: str) -> object:
    kind = VALUES[key].type
    if type(None) in get_args(kind):
        if text.lower() == "none":
            return None
        kind = get_args(kind)[0]
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float, str):
            value = kind(text)
            if kind is float and not (
                math.isfinite(value) or (value == math.inf and key == "max_duration_s")
            ):
                raise ValueError
            return value
        caps = tuple(int(part) for part in text.split(","))
        if len(caps) != 3:
            raise ValueError
        return caps
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(
            kind, "three numbers: 80,10,10"
        )
        raise UsageError(f"{_option(key)} {text}: {wanted} is wanted.") from None


# Far above what anyone trains by: a slip of the finger is told instead of running out of numbers.
MOST = {
    "epochs": 10_000,
    "batch_per_gpu": 10_000,
    "accumulation": 10_000,
    "gpus": 10_000,
    "workers": 1_000,
}
POSITIVE = (
    "epochs",
    "batch_per_gpu",
    "accumulation",
    "gpus",
    "learning_rate",
    "eval_steps",
    "save_steps",
    "max_duration_s",
)
PROBABILITIES = (
    "warmup_ratio", "attention_dropout", "hidden_dropout", "feat_proj_dropout", "layerdrop", "mask_time_prob",
)  # fmt: skip
NOT_NEGATIVE = ("seed", "warmup_steps", "weight_decay", "workers")


def _checked(values: Recipe) -> Recipe:
    for (
        key,
        field,
    ) in VALUES.items():  # a recipe that was edited in this file may hold "2e-4" for 2e-4
        if not _is_of_type(getattr(values, key), field.type):
            kind = getattr(field.type, "__name__", str(field.type))
            raise UsageError(
                f"{_option(key)} {getattr(values, key)!r} of recipe {values.name}: {kind} is wanted."
            )
    for key in POSITIVE:
        if not getattr(values, key) > 0:
            raise UsageError(f"{_option(key)} {getattr(values, key)}: it must be above 0.")
    for key, most in MOST.items():
        if getattr(values, key) > most:
            raise UsageError(f"{_option(key)} {getattr(values, key)}: it must be at most {most:,}.")
    for key in PROBABILITIES:
        if not 0 <= getattr(values, key) < 1:
            raise UsageError(
                f"{_option(key)} {getattr(values, key)}: it must be from 0 to below 1."
            )
    for key in NOT_NEGATIVE:
        if not getattr(values, key) >= 0:
            raise UsageError(f"{_option(key)} {getattr(values, key)}: it must not be negative.")
    if values.seed >= 2**32:
        raise UsageError(f"--seed {values.seed}: it must be below 2**32.")
    for key, choices in CHOICES.items():
        if getattr(values, key) not in choices:
            near = _nearest(str(getattr(values, key)), choices)
            raise UsageError(
                f"{_option(key)} {getattr(values, key)}: one of {', '.join(choices)} is wanted.{near}"
            )
    if values.max_batch_seconds is not None and not values.max_batch_seconds > 0:
        raise UsageError(f"--max-batch-seconds {values.max_batch_seconds}: it must be above 0.")
    if values.final_model == "best" and values.save_steps % values.eval_steps:
        raise UsageError(
            f"--save-steps {values.save_steps} is no multiple of --eval-steps {values.eval_steps}: every checkpoint must be "
            "scored, so that the best one is known. Change one of them, or pass --final-model last."
        )
    if values.clips_before_split is not None and values.clips_before_split < 10:
        raise UsageError(
            "--clips-before-split: at least 10 are wanted, so that 8:1:1 leaves no split empty."
        )
    if values.split_caps is not None and min(values.split_caps) < 1:
        raise UsageError("--split-caps: at least 1 clip is wanted in each split.")
    if values.extra_tokens is not None and values.extra_tokens < 1:
        raise UsageError(
            f"--extra-tokens {values.extra_tokens}: how often a character is seen must be at least 1."
        )
    if values.checkpoints_kept < 2:
        raise UsageError(
            "--checkpoints-kept: at least 2 are wanted, so that one is whole while the next is written."
        )
    return values


def _is_of_type(value: object, kind: object) -> bool:
    if type(None) in get_args(kind):
        return value is None or _is_of_type(value, get_args(kind)[0])
    if get_origin(kind) is tuple:
        return (
            isinstance(value, tuple)
            and len(value) == len(get_args(kind))
            and all(type(part) is int for part in value)
        )
    return type(value) is kind or (kind is float and type(value) is int)


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")


def _nearest(name: str, names: object) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How one update's clips are dealt: per_device clips at a time, accumulation times, on each of n_processes."""

    per_device: int
    accumulation: int
    n_processes: int


def batch_plan(values: Recipe, n_processes: int) -> BatchPlan:
    """The recipe's global batch on this many processes: accumulation changes, the batch of an update does not.

    Raises UsageError where the processes do not divide the global batch.
    """
    share, left_over = divmod(values.global_batch, n_processes)
    if left_over:
        numbers = [
            str(n)
            for n in range(1, min(values.global_batch, 64) + 1)
            if values.global_batch % n == 0
        ]
        raise UsageError(
            f"{n_processes} processes do not divide the global batch of {values.global_batch} clips "
            f"({values.batch_per_gpu} x {values.accumulation} x {values.gpus}). "
            f"Use --nproc_per_node {', '.join(numbers)}, or change --batch-per-gpu."
        )
    per_device = max(
        size for size in range(1, min(values.batch_per_gpu, share) + 1) if share % size == 0
    )
    return BatchPlan(per_device, share // per_device, n_processes)
