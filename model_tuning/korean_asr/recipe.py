"""The Recipe record: what each value of an experiment means and may be; the clips of an update."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from korean_asr.errors import UsageError

PRECISIONS = ("float32", "fp16", "bf16")
CHOOSE = "choose"  # the value of base_share that leaves the share to the scores on validation
WITHOUT_LEARNERS = (
    "--base-share choose weighs natives against learners, and this run has no learners' clips for "
    "it. Pass --learner-validation with a number of clips, or a number as --base-share. "
    "· --learner-validation으로 학습자 검증 발화 수를 지정하세요."
)


@dataclass(frozen=True, slots=True)
class Bound:
    """A condition that a value must meet, and how an error message words it."""

    holds: Callable[[Any], bool]
    wanted: str


ABOVE_0 = Bound(lambda value: value > 0, "it must be above 0")
NOT_NEGATIVE = Bound(lambda value: value >= 0, "it must not be negative")
BELOW_1 = Bound(lambda value: 0 <= value < 1, "it must be from 0 to below 1")
A_SHARE = Bound(lambda value: 0 <= value <= 1, "it must be from 0 to 1")
SEED = Bound(lambda value: value < 2**32, "it must be below 2**32")
TEN_CLIPS = Bound(
    lambda value: value >= 10, "at least 10 are wanted, so that 8:1:1 leaves no split empty"
)
SPEEDS = Bound(
    lambda value: value and all(0.5 <= speed <= 2 for speed in value),
    "at least one is wanted, each from 0.5 to 2",
)
GAINS_DB = Bound(
    lambda value: -40 <= value[0] <= value[1] <= 40,
    "the lowest and the highest are wanted, from -40 to 40",
)
A_CLIP_EACH = Bound(lambda value: min(value) >= 1, "at least 1 clip is wanted in each split")
SEEN_ONCE = Bound(lambda value: value >= 1, "how often a character is seen must be at least 1")
# A lone surrogate is what Python makes of a byte that is not UTF-8.
IN_UTF_8 = Bound(
    lambda text: not any("\ud800" <= character <= "\udfff" for character in text),
    "it must be text in UTF-8",
)
TWO_CHECKPOINTS = Bound(
    lambda value: value >= 2,
    "at least 2 are wanted, so that one is whole while the next is written",
)


def at_most(most: int) -> Bound:
    """An upper bound far above what anybody trains with: it catches a typing error."""
    return Bound(lambda value: value <= most, f"it must be at most {most:,}")


def _value(
    default: Any,
    meaning: str,
    *bounds: Bound,
    choices: Sequence[str] = (),
    unlimited: bool = False,
    word: str | None = None,
) -> Any:
    """A field of the Recipe.

    unlimited: whether infinity is a value of it; word: a text that stands in for a number.
    """
    metadata = {"help": meaning, "bounds": bounds, "choices": choices, "unlimited": unlimited}
    return field(default=default, metadata={**metadata, "word": word})


@dataclass(frozen=True, slots=True)
class Recipe:
    """One experiment. Times are in seconds, probabilities from 0 to 1, steps are updates."""

    name: str

    # Data.
    clips_before_split: int | None = _value(
        None, "shuffle, take so many clips, split them 8:1:1; none: all", TEN_CLIPS
    )
    split_caps: tuple[int, int, int] | None = _value(
        None, "clips to keep of train, validation and test after the split; none: all", A_CLIP_EACH
    )
    group_by: str = _value(
        "none", "what never lies in two splits", choices=("none", "sentence", "speaker")
    )
    seed: int = _value(42, "draws the split, the order and dropout", NOT_NEGATIVE, SEED)
    max_duration_s: float = _value(
        20.0,
        "training leaves out longer clips; validation and test keep them",
        ABOVE_0,
        unlimited=True,
    )
    learner_validation: int = _value(
        0, "clips of foreign.jsonl for a validation split of learners, speakers whole", NOT_NEGATIVE
    )
    learner_train: int = _value(
        0, "clips of foreign.jsonl that join the training clips, speakers whole", NOT_NEGATIVE
    )

    # Tokens and head.
    added_tokens: str = _value("", "characters that become tokens", IN_UTF_8)
    extra_tokens: int | None = _value(
        None,
        "also those that the training texts hold at least so often; none: no others",
        SEEN_ONCE,
    )
    head: str = _value(
        "resize",
        "resize keeps every trained row, reinitialise starts all rows at random",
        choices=("resize", "reinitialise"),
    )
    freeze_feature_encoder: bool = _value(True, "do not train the convolutional encoder")

    # Optimisation. batch_per_gpu x accumulation x gpus is the global batch of one update.
    epochs: float = _value(10.0, "passes over the training clips", ABOVE_0, at_most(10_000))
    batch_per_gpu: int = _value(8, "clips on a GPU at a time", ABOVE_0, at_most(10_000))
    accumulation: int = _value(2, "such batches in an update", ABOVE_0, at_most(10_000))
    gpus: int = _value(
        4,
        "GPUs of the original run: on another number accumulation changes, the update does not",
        ABOVE_0,
        at_most(10_000),
    )
    learning_rate: float = _value(1e-4, "the highest, at the end of the warm-up", ABOVE_0)
    head_learning_rate: float | None = _value(
        None,
        "that of the head, old and new rows, which rises and falls alike; none: learning_rate",
        ABOVE_0,
    )
    warmup_steps: int = _value(0, "updates of linear warm-up", NOT_NEGATIVE)
    warmup_ratio: float = _value(
        0.0, "warm-up as a share of all updates, where warmup_steps is 0", BELOW_1
    )
    weight_decay: float = _value(0.0, "of AdamW, for weights but not for biases", NOT_NEGATIVE)
    length_grouping: bool = _value(
        True, "clips of similar duration share an update, which saves padding"
    )
    max_batch_seconds: float | None = _value(
        None, "padded audio on a GPU at a time, instead of batch_per_gpu clips", ABOVE_0
    )
    precision: str = _value(
        "float32", "number format of the network; the loss is in float32", choices=PRECISIONS
    )
    gradient_checkpointing: bool = _value(False, "less memory for a third more time")
    workers: int = _value(0, "processes that read audio ahead", NOT_NEGATIVE, at_most(1_000))

    # Regularisation.
    attention_dropout: float = _value(0.1, "dropout of attention weights", BELOW_1)
    hidden_dropout: float = _value(0.1, "dropout of the layers' outputs", BELOW_1)
    feat_proj_dropout: float = _value(0.0, "dropout behind the convolutional encoder", BELOW_1)
    layerdrop: float = _value(0.1, "share of layers that an update skips", BELOW_1)
    mask_time_prob: float = _value(0.05, "share of frames where a mask starts", BELOW_1)
    mask_feature_prob: float = _value(
        0.0, "about the share of the network's features that masks take from a clip", BELOW_1
    )
    speeds: tuple[float, ...] = _value(
        (1.0,), "one is drawn for a clip in each epoch: 0.9 makes it longer and lower", SPEEDS
    )
    gains: tuple[float, float] | None = _value(
        None,
        "lowest and highest in dB: two are drawn, and loudness moves from one to the other, since "
        "a gain that stays the same is lost where the model normalises clips; none: no gain",
        GAINS_DB,
    )

    # Evaluation and checkpoints.
    eval_steps: int = _value(100, "updates between two evaluations", ABOVE_0)
    save_steps: int = _value(100, "updates between two checkpoints", ABOVE_0)
    checkpoints_kept: int = _value(
        2, "the last so many; the best is kept too, for average so many", TWO_CHECKPOINTS
    )
    final_model: str = _value(
        "best",
        "best: the checkpoint of the lowest validation CER; last: that of the last update; "
        "average: the mean of the checkpoints_kept best, where its CER is lower than the best's",
        choices=("best", "last", "average"),
    )
    base_share: float | str = _value(
        0.0,
        "the share of the base model's weights in the final model, 0 to 1; choose: the one of 0 to "
        "0.5 that serves natives and learners best on validation",
        A_SHARE,
        word=CHOOSE,
    )
    report_to: str = _value(
        "none",
        "tensorboard also writes <output>/runs/, for the optional package of that name",
        choices=("none", "tensorboard"),
    )

    @property
    def global_batch(self) -> int:
        """Clips of one update."""
        return self.batch_per_gpu * self.accumulation * self.gpus

    def learning_rate_at(self, update: int, n_updates: int) -> float:
        """Linear warm-up from 0 to learning_rate, then linear decay to 0; update counts from 0."""
        n_warm = self.warmup_steps or math.ceil(self.warmup_ratio * n_updates)
        if update < n_warm:
            return self.learning_rate * update / n_warm
        return self.learning_rate * max(0.0, (n_updates - update) / max(1, n_updates - n_warm))


VALUES = {one.name: one for one in fields(Recipe) if one.name != "name"}


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The clips of an update: per_device at a time, accumulation times, on n_processes."""

    per_device: int
    accumulation: int
    n_processes: int


def batch_plan(recipe: Recipe, n_processes: int) -> BatchPlan:
    """Divide the global batch among processes: accumulation changes, the clips of an update do not.

    Raises UsageError if the processes do not divide the global batch.
    """
    size = recipe.global_batch
    share, left_over = divmod(size, n_processes)
    if left_over:
        divisors = [str(n) for n in range(1, min(size, 64) + 1) if size % n == 0]
        raise UsageError(
            f"{n_processes} processes do not divide the global batch of {size} clips "
            f"({recipe.batch_per_gpu} x {recipe.accumulation} x {recipe.gpus}). "
            f"Use --nproc_per_node {', '.join(divisors)}, or change --batch-per-gpu."
        )
    largest = min(recipe.batch_per_gpu, share)
    per_device = max(size for size in range(1, largest + 1) if share % size == 0)
    return BatchPlan(per_device, share // per_device, n_processes)
