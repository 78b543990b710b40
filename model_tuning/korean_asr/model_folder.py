"""Where a model lies (a folder here, or a name on the model hub) and what lies in and beside its folder."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from korean_asr.errors import DataError, is_disk_full
from korean_asr.files import file_checksum

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
NEEDED_FILES = ("config.json", "vocab.json", "preprocessor_config.json")
VOCABULARY_FILES = (
    "vocab.json",
    "added_tokens.json",
)  # what a model can write; a base model may lack the second
HUB_TIMEOUT_S = 10


def model_folder(source: str) -> Path:
    """The folder of a model given as a folder or a hub name; a hub model is downloaded once, then taken from the cache.

    Raises DataError for a folder that is no wav2vec2-CTC model, and for a hub that cannot be reached.
    """
    return _folder(source, with_weights=True)


def vocabulary_folder(source: str) -> Path:
    """As model_folder, but of a hub model only the few kilobytes of VOCABULARY_FILES are fetched. Raises the same."""
    return _folder(source, with_weights=False)


def public_name(source: str) -> str:
    """How reports call a model: a hub model by its whole name, a folder by its last part, without where it lies."""
    return source if _is_hub_name(source) else Path(source).resolve().name


def one_line(error: Exception) -> str:
    """What a library's exception says, short enough for a line of ours."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _is_hub_name(source: str) -> bool:
    """`owner/name`, unless there is such a folder or `owner` is a folder here."""
    path = Path(source)
    well_formed = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) and not re.search(
        r"\.\.|--|\.git$|[.-]$", source
    )
    return bool(well_formed) and not path.exists() and not path.parent.is_dir()


def _folder(source: str, with_weights: bool) -> Path:
    if not _is_hub_name(source):
        return _local_folder(Path(source), with_weights)
    # Imported here: a quarter of a second, which no folder needs.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, FileNotFoundError):
        return _downloaded(source, with_weights)
    # Another program may have fetched a part, or script 1 the vocabulary.
    return _downloaded(source, with_weights) if _missing_files(cached, with_weights) else cached


def _local_folder(path: Path, with_weights: bool) -> Path:
    if not path.is_dir():
        raise DataError(
            f"there is no model folder {path}. Run script 2 first, or pass another folder. · 모델 폴더가 없습니다."
        )
    if missing := _missing_files(path, with_weights):
        raise DataError(
            f"{path} is not a wav2vec2-CTC model: it lacks {', '.join(missing)}. Run script 2, or pass another."
        )
    return path


def _missing_files(folder: Path, with_weights: bool) -> list[str]:
    if not with_weights:
        return [] if (folder / "vocab.json").is_file() else ["vocab.json"]
    missing = [name for name in NEEDED_FILES if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in WEIGHT_FILES):
        missing.append(WEIGHT_FILES[0])
    return missing


def _downloaded(name: str, with_weights: bool) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    advice = (
        f"On a machine with internet run 'hf download {name} --local-dir {Path(name).name}', copy the folder here and pass "
        f"it as --base-model {Path(name).name}, or to scripts 3 and 4 as --model {Path(name).name}. "
        "· 인터넷이 없으면 모델 폴더를 받아 그 경로를 지정하세요."
    )
    try:  # the hub's own client would retry for minutes
        urllib.request.urlopen(constants.ENDPOINT, timeout=HUB_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        pass  # it answers, if only to say no to this page
    except (OSError, ValueError):
        raise DataError(
            f"the model hub cannot be reached for '{name}', and it is no folder here. {advice}"
        ) from None
    disable_progress_bars()
    try:
        files = {file.rfilename for file in HfApi().model_info(name).siblings or ()}
        weights = next((file for file in WEIGHT_FILES if file in files), WEIGHT_FILES[0])
        wanted = ["*.json", weights] if with_weights else list(VOCABULARY_FILES)
        return _local_folder(Path(snapshot_download(name, allow_patterns=wanted)), with_weights)
    except DataError:
        raise
    except HfHubHTTPError:
        raise DataError(
            f"the model hub has no public model '{name}'. Check the name. {advice}"
        ) from None
    except Exception as error:  # offline mode, a proxy that answers, a broken connection: each in a class of its own
        if is_disk_full(error):
            raise
        raise DataError(f"'{name}' cannot be downloaded: {one_line(error)} {advice}") from None


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
    return next(
        (place for place, source in enumerate(sources) if (Path(source) / "split").is_dir()), 0
    )


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
        raise DataError(
            f"{source} does not say which base model it came from. Pass the base as another --model."
        )
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
