"""The values of a recipe as options: parsed, checked and shown; the command line of script 2."""

import argparse
import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_origin

from korean_asr.arguments import GivenOnce, given_license, given_name, given_path
from korean_asr.errors import UsageError
from korean_asr.recipe import CHOOSE, IN_UTF_8, VALUES, WITHOUT_LEARNERS, Recipe


@dataclass(frozen=True, slots=True)
class Kind:
    """How a type of value is read from text, named in an error, and shown in --help."""

    parse: Callable[[str], Any]
    wanted: str
    shown: str


def _numbers(kind: type) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(kind(part) for part in text.split(","))


TRUTH = {"true": True, "false": False}
KINDS = {
    bool: Kind(lambda text: TRUTH[text.lower()], "true or false", "true|false"),
    int: Kind(int, "a whole number", "N"),
    float: Kind(float, "a number", "X"),
    str: Kind(str, "text", "TEXT"),
    tuple[int, int, int]: Kind(_numbers(int), "three numbers: 80,10,10", "N,N,N"),
    tuple[float, float]: Kind(_numbers(float), "two numbers: -6,6", "X,X"),
    tuple[float, ...]: Kind(_numbers(float), "a list of numbers: 0.9,1,1.1", "X,X,…"),
}


def add_recipe_options(parser: argparse.ArgumentParser, recipe: Recipe) -> None:
    """Give a parser an option for each value; --help shows its meaning and this recipe's value."""
    group = parser.add_argument_group(f"values of the recipe, shown as {recipe.name} has them")
    for key, value in VALUES.items():
        choices = "|".join(value.metadata["choices"])
        shown = _shown(getattr(recipe, key))
        kind = KINDS[_kind(value)].shown
        word = value.metadata["word"]
        group.add_argument(
            _option(key),
            default=argparse.SUPPRESS,
            metavar=choices or (f"{kind}|{word}" if word else kind),
            help=f"{value.metadata['help']} (default {shown})".replace("%", "%%"),
        )


def read_options(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[argparse.Namespace, dict[str, str]]:
    """The options of a command line, and those that are recipe values: {"learning_rate": "2e-4"}.

    The parser is one with exit_on_error=False. `--learning_rate` is read as `--learning-rate`.
    Raises UsageError, which names the nearest option for an unknown one.
    """
    try:
        arguments, unknown = parser.parse_known_args(_with_values_joined(words))
    except argparse.ArgumentError as error:
        # argparse words the two faults of its own otherwise.
        what = f": {error.message}"
        if error.message.startswith("expected"):
            what = " wants a value"
        elif "explicit argument" in error.message:
            what = " takes no value"
        raise UsageError(f"{error.argument_name}{what}.") from None
    if unknown:
        option = unknown[0].partition("=")[0]
        if not option.startswith("--"):
            raise UsageError(f"'{option}' belongs to no option.")
        # Two dashes alike make short words look near: `--bogus` is not `--gpus`.
        near = _nearest(option, [_option(key) for key in (*VALUES, *vars(arguments))], cutoff=0.8)
        raise UsageError(f"no option or recipe value '{option}'.{near}")
    return arguments, {key: vars(arguments)[key] for key in VALUES if key in arguments}


def training_command(
    words: Sequence[str], recipes: dict[str, Recipe], base_model: str
) -> tuple[argparse.Namespace, Recipe]:
    """Read the command line of script 2; returns its options and the recipe.

    The options have the folders that the recipe names, and `words`, the command line itself.
    Raises UsageError as read_options and chosen_recipe do.
    """
    parser = argparse.ArgumentParser(
        usage='torchrun --nproc_per_node=4 "model_tuning/2. model2_experiment_2.py" [options]',
        description="Split the clips, add tokens, fine-tune the base model, save the model.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    add = parser.add_argument
    data = Path("data/processed")
    once = {"type": given_path, "action": GivenOnce}
    add("--data", **once, default=data, help=f"folder that script 1 wrote (default {data})")
    add("--recipe", default="v3", help=f"one of {', '.join(recipes)} (default v3)")
    one_of = f"hub name or folder (default {base_model})"
    add("--base-model", type=given_name, default=base_model, help=one_of)
    add("--output", type=given_path, help="model folder (default wav2vec2_korean_<recipe>)")
    add(
        "--checkpoints",
        type=given_path,
        help="(default wav2vec2_finetune_ko_<recipe>, for v3 without its name)",
    )
    add(
        "--license",
        type=given_license,
        help="license on the model card, by the hub's id, such as cc-by-nc-4.0; if not given, it "
        "says that the terms of the training data hold. No part of the experiment",
    )
    add("--check", action="store_true", help="inspect all inputs, name every fault, write nothing")
    add("--fresh", action="store_true", help="start over; old folders are renamed, not deleted")
    add_recipe_options(parser, recipes["v3"])
    command, values = read_options(parser, words)
    recipe = chosen_recipe(recipes, command.recipe, values)
    of_recipe = "" if recipe.name == "v3" else f"_{recipe.name}"
    command.words = list(words)
    command.output = command.output or Path(f"wav2vec2_korean_{recipe.name}")
    command.checkpoints = command.checkpoints or Path(f"wav2vec2_finetune_ko{of_recipe}")
    for option in ("output", "checkpoints"):
        folder = getattr(command, option)
        # The weights' library opens no other path, which would be told after the training.
        if not IN_UTF_8.holds(str(folder)):
            raise UsageError(f"--{option} {folder}: {IN_UTF_8.wanted}.")
    return command, recipe


def chosen_recipe(recipes: dict[str, Recipe], name: str, values: dict[str, str]) -> Recipe:
    """A recipe by its name, with values given as text: {"learning_rate": "2e-4"}.

    Raises UsageError for an unknown recipe, with the nearest name, for a value of the wrong type or
    out of bounds, be it given as text or edited in recipes.py, and for a value that needs a package
    which is not installed.
    """
    if name not in recipes:
        near = _nearest(name, recipes)
        raise UsageError(f"no recipe '{name}'. There are: {', '.join(recipes)}.{near}")
    given = {key: _parsed(key, text) for key, text in values.items()}
    recipe = replace(recipes[name], **given)
    for key in VALUES:
        _refuse_bad_value(recipe, key)
    if recipe.final_model != "last" and recipe.save_steps % recipe.eval_steps:
        raise UsageError(
            f"--save-steps {recipe.save_steps} is no multiple of --eval-steps {recipe.eval_steps}: "
            "every checkpoint must be scored, so that the best one is known. Change one of them, "
            "or pass --final-model last."
        )
    if recipe.report_to == "tensorboard" and find_spec("tensorboard") is None:
        raise UsageError(
            "--report-to tensorboard: the package tensorboard is not installed. Run "
            "pip install -r requirements-optional.txt, or pass --report-to none. "
            "· tensorboard가 설치되어 있지 않습니다."
        )
    if recipe.base_share == CHOOSE and not recipe.learner_validation:
        raise UsageError(WITHOUT_LEARNERS)
    return recipe


def _parsed(key: str, text: str) -> Any:
    value = VALUES[key]
    if text.lower() == "none" and _may_be_none(value):
        return None
    kind, word = KINDS[_kind(value)], value.metadata["word"]
    if word and text.lower() == word:
        return word
    try:
        parsed = kind.parse(text)
    except (ValueError, KeyError):
        parsed = None
    if parsed is None or not _is_of_kind(parsed, value):
        wanted = f"{kind.wanted} or {word}" if word else kind.wanted
        raise UsageError(f"{_option(key)} {text}: {wanted} is wanted.")
    return parsed


def _refuse_bad_value(recipe: Recipe, key: str) -> None:
    field, value = VALUES[key], getattr(recipe, key)
    if not _is_of_kind(value, field):
        kind = getattr(field.type, "__name__", str(field.type))
        raise UsageError(f"{_option(key)} {value!r} of recipe {recipe.name}: {kind} is wanted.")
    if value is None or value == field.metadata["word"]:
        return
    for bound in field.metadata["bounds"]:
        if not bound.holds(value):
            raise UsageError(f"{_option(key)} {_shown(value)}: {bound.wanted}.")
    choices = field.metadata["choices"]
    if choices and value not in choices:
        wanted = f"one of {', '.join(choices)} is wanted.{_nearest(value, choices)}"
        raise UsageError(f"{_option(key)} {value}: {wanted}")


def _is_of_kind(value: Any, field: Field) -> bool:
    kind = _kind(field)
    if value is None:
        return _may_be_none(field)
    if value == field.metadata["word"]:
        return True
    if get_origin(kind) is tuple:
        return type(value) is tuple and _are_of_kinds(value, get_args(kind))
    if kind is float and type(value) in (int, float):
        return math.isfinite(value) or (value == math.inf and field.metadata["unlimited"])
    return type(value) is kind


def _are_of_kinds(parts: tuple[Any, ...], kinds: tuple[Any, ...]) -> bool:
    """Whether the parts of a tuple are numbers as (int, int, int) or (float, ...) says."""
    if kinds[-1] is not ... and len(parts) != len(kinds):
        return False
    allowed = (int,) if kinds[0] is int else (int, float)
    return all(type(part) in allowed and math.isfinite(part) for part in parts)


def _may_be_none(field: Field) -> bool:
    return type(None) in get_args(field.type)


def _kind(field: Field) -> Any:
    """A key of KINDS: the type of a value that is neither None nor its word."""
    stands_in = _may_be_none(field) or field.metadata["word"]
    return get_args(field.type)[0] if stands_in else field.type


def _shown(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")


def _with_values_joined(words: Sequence[str]) -> list[str]:
    """The words, options with hyphens, and a recipe value joined to its option: `--seed=7`.

    argparse would take a value such as `-1e-4` or `-,.` for an option of its own.
    """
    joined: list[str] = []
    for word in words:
        option, equals, text = word.partition("=")
        if option.startswith("--"):
            joined.append(option.replace("_", "-") + equals + text)
        elif joined and joined[-1] in map(_option, VALUES):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return f" Did you mean '{near[0]}'?" if near else ""
