"""What lies in and beside a model's folder: its test split, its results, the record of how it was made."""

import json
from pathlib import Path
from typing import Any

from .errors import DataError
from .files import file_checksum
from .hub import WEIGHT_FILES, model_folder


def default_manifest(sources: list[str]) -> Path:
    """The test split of the first model that has one. Raises DataError if none has."""
    for source in sources:
        if (Path(source) / "split" / "test.jsonl").is_file():
            return Path(source) / "split" / "test.jsonl"
    raise DataError(
        f"none of the models ({', '.join(sources)}) has a split/test.jsonl. Run script 2 first, or pass --manifest FILE."
    )


def owner(sources: list[str]) -> int:
    """Which model the results belong to: the first that has a split, else the first."""
    return next((place for place, source in enumerate(sources) if (Path(source) / "split").is_dir()), 0)


def results_folder(sources: list[str]) -> Path:
    """results/ of the first model that has a split, else results_<model>/ here, so that no other folder is written into."""
    source = Path(sources[owner(sources)])
    return source / "results" if (source / "split").is_dir() else Path(f"results_{source.name}")


def recipe_of(source: str) -> str | None:
    """The name of the recipe that made a model, or None for one that script 2 did not make."""
    return (_experiment(source).get("recipe") or {}).get("name")


def base_of(source: str) -> str:
    """Where the base model of a fine-tuned one lies: a hub name, or the folder that script 2 was given.

    Raises DataError where that is not known, or is another model by now.
    """
    experiment = _experiment(source)
    base, place = experiment.get("base_model") or {}, experiment.get("base_model_source")
    if not base or not place:
        raise DataError(f"{source} does not say which base model it came from. Pass the base as another --model.")
    try:
        folder = model_folder(place)
    except DataError:
        raise DataError(
            f"the base model of {source}, {place}, is not here. Pass its folder as another --model."
        ) from None
    if weights_checksum(folder) != base.get("sha256"):
        raise DataError(
            f"{place} is not the model that {source} was trained from. Pass the right one as another --model."
        )
    return place


def _experiment(source: str) -> dict[str, Any]:
    try:
        record = json.loads((Path(source) / "experiment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def weights_checksum(folder: Path) -> str:
    """SHA-256 of the file that a model's weights are loaded from."""
    return file_checksum(next(folder / name for name in WEIGHT_FILES if (folder / name).is_file()))
