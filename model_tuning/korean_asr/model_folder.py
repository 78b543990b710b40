"""Find a model, in a folder or on the model hub, and read what lies in and beside its folder."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from korean_asr.errors import DataError, is_disk_full
from korean_asr.files import file_checksum, refuse_unusable_folder

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
NEEDED_FILES = ("config.json", "vocab.json", "preprocessor_config.json")
# The tokens that a model can write; a base model may lack the second file.
VOCABULARY_FILES = ("vocab.json", "added_tokens.json")
HUB_TIMEOUT_S = 10


def model_folder(source: str) -> Path:
    """The folder of a model, given by folder or hub name. A hub model is downloaded once.

    Raises DataError for a folder without a wav2vec2-CTC model, and for an unreachable hub.
    """
    return _folder(source, with_weights=True)


def vocabulary_folder(source: str) -> Path:
    """The folder of a model's VOCABULARY_FILES. Of a hub model only these kilobytes are downloaded.

    Raises the same as model_folder.
    """
    return _folder(source, with_weights=False)


def vocabulary_tokens(source: str) -> set[str]:
    """Read the tokens of a model, given by folder or hub name, without transformers.

    Raises DataError, as loading the model would.
    """
    folder = vocabulary_folder(source)
    tokens: set[str] = set()
    try:
        for name in VOCABULARY_FILES:
            if (folder / name).is_file():
                ids = json.loads((folder / name).read_text(encoding="utf-8"))
                if not all(isinstance(index, int) for index in ids.values()):
                    raise ValueError(f"{name} holds more than one id for each token")
                tokens.update(ids)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder} is not a wav2vec2-CTC model: its tokenizer cannot be read "
            f"({one_line(error)})."
        ) from None
    return tokens


def public_name(source: str) -> str:
    """The name of a model in reports: its hub name, or the last part of its folder's path."""
    return source if _is_hub_name(source) else Path(source).resolve().name


def one_line(error: Exception) -> str:
    """The message of a library's exception, cut to one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _is_hub_name(source: str) -> bool:
    """Whether a source looks like `owner/name`, and neither it nor `owner` is a folder here."""
    # The hub allows neither two dots nor two dashes, nor an end in `.git`, `.` or `-`.
    if re.search(r"\.\.|--|\.git$|[.-]$", source):
        return False
    path = Path(source)
    is_well_formed = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source)
    return bool(is_well_formed) and not path.exists() and not path.parent.is_dir()


def _folder(source: str, with_weights: bool) -> Path:
    if not _is_hub_name(source):
        return _local_folder(Path(source), with_weights)
    # Imported here: it takes a quarter of a second, which a local folder does not need.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, FileNotFoundError):
        return _downloaded(source, with_weights)
    # The cache may hold a part: script 1 downloads the vocabulary alone.
    return _downloaded(source, with_weights) if _missing_files(cached, with_weights) else cached


def _local_folder(path: Path, with_weights: bool) -> Path:
    if not path.is_dir():
        raise DataError(
            f"there is no model folder {path}. Run script 2 first, or pass another folder. "
            "· 모델 폴더가 없습니다. 2번 스크립트를 먼저 실행하거나 다른 폴더를 지정하세요."
        )
    if missing := _missing_files(path, with_weights):
        raise DataError(
            f"{path} is not a wav2vec2-CTC model: it lacks {', '.join(missing)}. "
            "Run script 2, or pass another."
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

    advice = _hub_advice(name)
    # The hub's own client would retry for minutes.
    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=HUB_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        # The hub can be reached: it answered, although it refused this page.
        pass
    except (OSError, ValueError):
        raise DataError(
            f"the model hub cannot be reached for '{name}', and there is no such folder. {advice}"
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
    except Exception as error:
        # Offline mode, a proxy's answer, a broken connection: each raises a class of its own.
        if is_disk_full(error):
            raise
        raise DataError(f"'{name}' cannot be downloaded: {one_line(error)} {advice}") from None


def _hub_advice(name: str) -> str:
    folder = Path(name).name
    return (
        f"On a machine with internet run 'hf download {name} --local-dir {folder}', copy the "
        f"folder here and pass it as --base-model {folder}, or to scripts 3 and 4 as "
        f"--model {folder}. · 인터넷을 사용할 수 없으면 다른 컴퓨터에서 모델을 내려받아 "
        "그 폴더를 지정하세요."
    )


def default_manifest(sources: list[str]) -> Path:
    """The test split of the first model that has one. Raises DataError where none has."""
    for source in sources:
        if (Path(source) / "split" / "test.jsonl").is_file():
            return Path(source) / "split" / "test.jsonl"
    raise DataError(
        f"none of the models ({', '.join(sources)}) has a split/test.jsonl. "
        "Run script 2 first, or pass --manifest FILE. "
        "· 2번 스크립트를 먼저 실행하거나 --manifest를 지정하세요."
    )


def owner(sources: list[str]) -> int:
    """Index of the model that the results belong to: the first with a split, else the first."""
    return next((i for i, source in enumerate(sources) if (Path(source) / "split").is_dir()), 0)


def results_folder(sources: list[str]) -> Path:
    """results/ in the first model with a split, else results_<model>/ in the working folder.

    A model folder that script 2 did not make is never written into.
    """
    source = Path(sources[owner(sources)])
    return source / "results" if (source / "split").is_dir() else Path(f"results_{source.name}")


def usable_results_folder(sources: list[str], chosen: Path | None) -> Path:
    """The chosen folder or results_folder(sources).

    Raises OSError now, before the long work, if it cannot be written.
    """
    folder = chosen or results_folder(sources)
    refuse_unusable_folder(folder)
    return folder


def recipe_of(source: str) -> str | None:
    """The name of the recipe that made a model; None for a model that script 2 did not make."""
    return (_experiment(source).get("recipe") or {}).get("name")


def base_of(source: str) -> str:
    """The hub name or the folder of the base model that a model was trained from.

    Raises DataError where it is unknown, or has become another model.
    """
    experiment = _experiment(source)
    base, base_source = experiment.get("base_model") or {}, experiment.get("base_model_source")
    if not base or not base_source:
        raise DataError(
            f"{source} does not say which base model it came from. "
            "Pass the base as another --model."
        )
    try:
        folder = model_folder(base_source)
    except DataError:
        raise DataError(
            f"the base model of {source}, {base_source}, is not here. "
            "Pass its folder as another --model."
        ) from None
    if weights_checksum(folder) != base.get("sha256"):
        raise DataError(
            f"{base_source} is not the model that {source} was trained from. "
            "Pass the right one as another --model."
        )
    return base_source


def _experiment(source: str) -> dict[str, Any]:
    """experiment.json of a model folder; empty where there is none, or a damaged one."""
    try:
        record = json.loads((Path(source) / "experiment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def weights_checksum(folder: Path) -> str:
    """SHA-256 of the file that a model's weights are loaded from."""
    return file_checksum(next(folder / name for name in WEIGHT_FILES if (folder / name).is_file()))
