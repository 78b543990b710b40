"""Find a model, in a folder or on the model hub, and read what lies in and beside its folder."""

import hashlib
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from korean_asr.errors import DataError, is_disk_full
from korean_asr.files import file_checksum, json_value, read_json
from korean_asr.model_kinds import (
    EXTRACTOR_FILES,
    adapter_of,
    missing_beside_weights,
    not_a_model,
)

# Where transformers looks for weights, in its order, and the names of the files on the hub. The
# index of a model in several files (shards) lists them.
WEIGHT_FILES = {
    "model.safetensors": "model.safetensors",
    "model.safetensors.index.json": "model-*.safetensors",
    "pytorch_model.bin": "pytorch_model.bin",
    "pytorch_model.bin.index.json": "pytorch_model-*.bin",
}
# The tokens that a model can write; a base model may lack the second file.
VOCABULARY_FILES = ("vocab.json", "added_tokens.json")
JSON_FILES = (
    "config.json",
    *EXTRACTOR_FILES,
    *VOCABULARY_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    # Of Whisper.
    "tokenizer.json",
    "generation_config.json",
    "normalizer.json",
)
# Files of a model that are no JSON; few models have them.
TEXT_FILES = ("merges.txt",)
HUB_TIMEOUT_S = 10


def model_folder(source: str, language: str | None = None) -> Path:
    """The folder of a model, given by folder or hub name. A hub model is downloaded once.

    language: of a model that has weights for each, which are needed too.
    Raises DataError for a folder that lacks a file or holds damaged JSON, and for an unreachable
    hub.
    """
    folder = _folder(source, with_weights=True, language=language)
    for name in JSON_FILES:
        if (folder / name).is_file():
            content = _json_of(folder, name)
            # Vocabularies of several languages, of which transformers takes one, are objects.
            is_nested = any(isinstance(value, dict) for value in content.values())
            if name in VOCABULARY_FILES and not is_nested:
                _vocabulary(folder, name)
    return folder


def vocabulary_folder(source: str) -> Path:
    """The folder of a model's VOCABULARY_FILES. Of a hub model only these kilobytes are downloaded.

    Raises the same as model_folder.
    """
    return _folder(source, with_weights=False)


def vocabulary_tokens(source: str) -> set[str]:
    """Read the tokens of a model, given by folder or hub name, without transformers.

    Raises DataError, as loading the model would.
    """
    return tokens_in(vocabulary_folder(source))


def tokens_in(folder: Path) -> set[str]:
    """Read the tokens of VOCABULARY_FILES in a folder; none where the files are missing.

    Raises DataError for a damaged file.
    """
    tokens: set[str] = set()
    for name in VOCABULARY_FILES:
        if (folder / name).is_file():
            tokens.update(_vocabulary(folder, name))
    return tokens


def _vocabulary(folder: Path, name: str) -> dict[str, int]:
    """The id of each token. Raises DataError for a file that holds something else."""
    ids = _json_of(folder, name)
    try:
        for token in ids:
            if json_value(ids, token, int) < 0:
                raise ValueError(f"the id of `{token}` is negative")
    except ValueError as error:
        raise _not_a_model(folder, name, error) from None
    return ids


def _json_of(folder: Path, name: str) -> dict[str, Any]:
    try:
        return read_json(folder / name)
    except (OSError, ValueError) as error:
        raise _not_a_model(folder, name, error) from None


def _not_a_model(folder: Path, name: str, error: Exception) -> DataError:
    return DataError(
        f"{not_a_model(folder)}: {name} cannot be read ({one_line(error)}). Copy "
        "or download the model again. · 모델 파일이 손상되었습니다. 다시 받으세요."
    )


def public_name(source: str) -> str:
    """The name of a model in reports: its hub name, or the last part of its folder's path."""
    return source if is_hub_name(source) else Path(source).resolve().name


def one_line(error: Exception) -> str:
    """The message of a library's exception, cut to one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def is_hub_name(source: str) -> bool:
    """Whether a source looks like `owner/name`, and neither it nor `owner` is a folder here."""
    # The hub allows neither two dots nor two dashes, nor an end in `.git`, `.` or `-`.
    if re.search(r"\.\.|--|\.git$|[.-]$", source):
        return False
    path = Path(source)
    is_well_formed = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source)
    return bool(is_well_formed) and not path.exists() and not path.parent.is_dir()


def _folder(source: str, with_weights: bool, language: str | None = None) -> Path:
    if not is_hub_name(source):
        return _local_folder(Path(source), with_weights, language)
    # Imported here: it takes a quarter of a second, which a local folder does not need.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, FileNotFoundError):
        return _downloaded(source, with_weights, language)
    # The cache may hold a part: script 1 downloads the vocabulary alone.
    if _missing_files(cached, with_weights, language):
        return _downloaded(source, with_weights, language)
    return cached


def _local_folder(path: Path, with_weights: bool, language: str | None = None) -> Path:
    if not path.is_dir():
        raise DataError(
            f"there is no model folder {path}. Run script 2 first, or pass another folder. "
            "· 모델 폴더가 없습니다. 2번 스크립트를 먼저 실행하거나 다른 폴더를 지정하세요."
        )
    if missing := _missing_files(path, with_weights, language):
        raise DataError(
            f"{not_a_model(path)}: it lacks {', '.join(missing)}. Run script 2, or pass another."
        )
    return path


def _missing_files(folder: Path, with_weights: bool, language: str | None = None) -> list[str]:
    if not with_weights:
        return [] if (folder / "vocab.json").is_file() else ["vocab.json"]
    weights = _weight_files(folder) or [folder / next(iter(WEIGHT_FILES))]
    weights += filter(None, [adapter_of(folder, language)])
    return missing_beside_weights(folder) + [path.name for path in weights if not path.is_file()]


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads the weights from; empty where there is none.

    Raises DataError for a damaged index. A shard that the index names may be missing.
    """
    name = next((name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if name is None or not name.endswith(".json"):
        return [folder / name] if name else []
    try:
        shards = json_value(_json_of(folder, name), "weight_map", dict)
        return sorted({folder / json_value(shards, weight, str) for weight in shards})
    except ValueError as error:
        raise _not_a_model(folder, name, error) from None


def _downloaded(name: str, with_weights: bool, language: str | None = None) -> Path:
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
        wanted = _wanted_files(files, language) if with_weights else list(VOCABULARY_FILES)
        folder = Path(snapshot_download(name, allow_patterns=wanted))
        return _local_folder(folder, with_weights, language)
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


def _wanted_files(files: set[str], language: str | None) -> list[str]:
    """Patterns of what a model needs of the files that the hub has. Code is never among them."""
    weights = [names for file, names in WEIGHT_FILES.items() if file in files][:1]
    adapters = [f"adapter.{language}.{end}" for end in ("safetensors", "bin")]
    others = [name for name in TEXT_FILES if name in files]
    return ["*.json", *weights, *others, *[name for name in adapters if name in files][:1]]


def _hub_advice(name: str) -> str:
    folder = Path(name).name
    return (
        f"On a machine with internet run 'hf download {name} --local-dir {folder}', copy the "
        f"folder here and pass it as --base-model {folder}, or to scripts 3 and 4 as "
        f"--model {folder}. · 인터넷을 사용할 수 없으면 다른 컴퓨터에서 모델을 내려받아 "
        "그 폴더를 지정하세요."
    )


def split_folder(source: str) -> Path | None:
    """The split/ of a model; a checkpoint has that of the folder that it lies in. None without."""
    folders = [Path(source), *_folder_of_checkpoint(source)]
    return next((folder / "split" for folder in folders if (folder / "split").is_dir()), None)


def _folder_of_checkpoint(source: str) -> list[Path]:
    path = Path(source).resolve()
    return [path.parent] if path.name.startswith("checkpoint-") else []


def default_manifest(sources: list[str]) -> Path:
    """The test split of the first model that has one. Raises DataError where none has."""
    if manifest := _first_in_split(sources, "test.jsonl"):
        return manifest
    raise DataError(
        f"none of the models ({', '.join(sources)}) has a split/test.jsonl. "
        "Run script 2 first, or pass --manifest FILE. "
        "· 2번 스크립트를 먼저 실행하거나 --manifest를 지정하세요."
    )


def default_foreign_manifest(sources: list[str], otherwise: Path) -> Path:
    """The learners' test split of the first model that has one, or else `otherwise`."""
    return _first_in_split(sources, "foreign_test.jsonl") or otherwise


def _first_in_split(sources: list[str], name: str) -> Path | None:
    """The file of that name in the split/ of the first model that has it."""
    folders = filter(None, map(split_folder, sources))
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def owner(sources: list[str]) -> int:
    """Index of the model that the results belong to: the first with a split, else the first."""
    return next((i for i, source in enumerate(sources) if split_folder(source)), 0)


def results_folder(sources: list[str]) -> Path:
    """results/ in the first model with a split, else results_<model>/ in the working folder.

    A model folder that script 2 did not make is never written into.
    """
    source = sources[owner(sources)]
    name = Path(source).name
    return Path(source) / "results" if split_folder(source) else Path(f"results_{name}")


def recipe_of(source: str) -> str | None:
    """The name of the recipe that made a model; None for a model that script 2 did not make.

    Raises DataError as base_of does for a damaged record.
    """
    return (experiment_of(source).get("recipe") or {}).get("name")


def base_of(source: str) -> str:
    """The hub name or the folder of the base model that a model was trained from.

    Raises DataError where it is unknown, or has become another model.
    """
    experiment = experiment_of(source)
    base = experiment.get("base_model") or {}
    # A run.json of an earlier version has the name alone, which a hub model is found by.
    base_source = experiment.get("base_model_source") or base.get("name")
    if not base_source:
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


def experiment_of(source: str) -> dict[str, Any]:
    """The record of how script 2 made a model, or is making it; empty for another model.

    Raises DataError if it is damaged.
    """
    records = [Path(source) / "experiment.json"]
    records += [folder / "run.json" for folder in _folder_of_checkpoint(source)]
    path = next((path for path in records if path.is_file()), None)
    if path is None:
        return {}
    try:
        record = read_json(path)
        for key, kind in (("recipe", dict), ("base_model", dict), ("base_model_source", str)):
            if record.get(key) is not None:
                json_value(record, key, kind)
        for key, name in (("recipe", "name"), ("base_model", "name"), ("base_model", "sha256")):
            if (record.get(key) or {}).get(name) is not None:
                json_value(record[key], name, str)
    except ValueError as error:
        raise DataError(
            f"{path} is damaged ({one_line(error)}). Restore it, or rename it: the model is then "
            "scored as one of unknown origin. · 파일이 손상되었습니다."
        ) from None
    return record


def weights_checksum(folder: Path, language: str | None = None) -> str:
    """SHA-256 of the file that a model's weights are loaded from; of all checksums for several.

    Several files are shards, and those of a language.
    """
    paths = [*_weight_files(folder), *filter(None, [adapter_of(folder, language)])]
    checksums = [file_checksum(path) for path in paths]
    if len(checksums) == 1:
        return checksums[0]
    return hashlib.sha256("\n".join(checksums).encode()).hexdigest()


def settings_checksum(source: str) -> str:
    """SHA-256 of what a model's JSON files say: tokens, sound, network; not of how it is written.

    The same weights write other texts with others. Raises DataError as model_folder does.
    """
    folder = model_folder(source)
    contents = {name: _json_of(folder, name) for name in JSON_FILES if (folder / name).is_file()}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
