"""Where a model lies: a folder here, or a name on the model hub, whose files are fetched once and then kept in its cache."""

import re
import urllib.error
import urllib.request
from pathlib import Path

from .errors import DataError, is_disk_full

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
NEEDED_FILES = ("config.json", "vocab.json", "preprocessor_config.json")
VOCABULARY_FILES = ("vocab.json", "added_tokens.json")  # what a model can write; a base model may lack the second
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
    well_formed = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) and not re.search(r"\.\.|--|\.git$|[.-]$", source)
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
        raise DataError(f"the model hub cannot be reached for '{name}', and it is no folder here. {advice}") from None
    disable_progress_bars()
    try:
        files = {file.rfilename for file in HfApi().model_info(name).siblings or ()}
        weights = next((file for file in WEIGHT_FILES if file in files), WEIGHT_FILES[0])
        wanted = ["*.json", weights] if with_weights else list(VOCABULARY_FILES)
        return _local_folder(Path(snapshot_download(name, allow_patterns=wanted)), with_weights)
    except DataError:
        raise
    except HfHubHTTPError:
        raise DataError(f"the model hub has no public model '{name}'. Check the name. {advice}") from None
    except Exception as error:  # offline mode, a proxy that answers, a broken connection: each in a class of its own
        if is_disk_full(error):
            raise
        raise DataError(f"'{name}' cannot be downloaded: {one_line(error)} {advice}") from None
