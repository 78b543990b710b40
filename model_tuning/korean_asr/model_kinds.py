"""Kinds of models for speech recognition: the files that each needs, and the languages it writes.

A kind is the `model_type` of config.json. Nothing here needs torch or transformers.
"""

from pathlib import Path
from typing import Any

from korean_asr.errors import DataError, UsageError, printable
from korean_asr.files import read_json

WAV2VEC2, WHISPER = "wav2vec2", "whisper"
# With a CTC head, and a convolutional encoder that takes the samples themselves.
CTC_KINDS = (
    WAV2VEC2,
    "hubert",
    "wavlm",
    "unispeech",
    "unispeech-sat",
    "data2vec-audio",
    "wav2vec2-conformer",
)
# How sound is prepared, in the file of transformers 4, or of a processor that 5 has saved.
EXTRACTOR_FILES = ("preprocessor_config.json", "processor_config.json")
# Codes of Korean in Whisper and in MMS.
KOREAN = ("ko", "kor")
N_LANGUAGES_SHOWN = 5
RESCORE_ADVICE = (
    "Decode the clips with the model's own program and score its texts: --rescore RESULTS.jsonl. "
    "· 이 모델은 직접 실행할 수 없습니다. 인식 결과 파일을 만들어 --rescore로 평가하세요."
)


def kind_of(folder: Path) -> str:
    """The `model_type` of config.json; wav2vec2 where it is missing or cannot be read."""
    kind = _read_or_empty(folder / "config.json").get("model_type")
    return printable(kind) if isinstance(kind, str) else WAV2VEC2


def refuse_other_kind(folder: Path) -> None:
    """Raise DataError for a model of a kind that scripts 3 and 4 do not run."""
    kind = kind_of(folder)
    if kind not in (*CTC_KINDS, WHISPER):
        raise DataError(
            f"{folder} is a {kind} model; scripts 3 and 4 run {', '.join(CTC_KINDS)} with a CTC "
            f"head, and {WHISPER}. {RESCORE_ADVICE}"
        )


def not_a_model(folder: Path) -> str:
    """The beginning of a message about a folder that lacks a file, or has a damaged one."""
    kind = kind_of(folder)
    if kind == WAV2VEC2:
        return f"{folder} is not a wav2vec2-CTC model"
    return f"{folder} is not a model for speech recognition that can be loaded as {kind}"


def missing_beside_weights(folder: Path) -> list[str]:
    """Names of the files besides the weights that a model of this kind needs and lacks."""
    if (kind := kind_of(folder)) not in (*CTC_KINDS, WHISPER):
        # Another kind is refused by name, whatever it lacks.
        return []
    needed = ["config.json", "vocab.json"]
    if kind == WHISPER:
        needed.append("merges.txt")
        if (folder / "tokenizer.json").is_file():
            needed = ["config.json"]
        needed.append("generation_config.json")
    missing = [name for name in needed if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in EXTRACTOR_FILES):
        missing.append(EXTRACTOR_FILES[0])
    return missing


def adapter_of(folder: Path, language: str | None) -> Path | None:
    """The weights of a language beside those of the model, as MMS has them; None without.

    The file may be missing.
    """
    is_adapted = _read_or_empty(folder / "config.json").get("adapter_attn_dim") is not None
    if language not in nested_languages(folder) or not is_adapted:
        return None
    pickled = folder / f"adapter.{language}.bin"
    return pickled if pickled.is_file() and not _safe(pickled).is_file() else _safe(pickled)


def _safe(pickled: Path) -> Path:
    return pickled.with_suffix(".safetensors")


def nested_languages(folder: Path) -> list[str]:
    """Languages of a vocab.json that has a vocabulary for each, as that of MMS; else none."""
    vocabularies = _read_or_empty(folder / "vocab.json")
    return [name for name, tokens in vocabularies.items() if isinstance(tokens, dict)]


def writes_characters(folder: Path) -> bool:
    """Whether each token of vocab.json is a character, and the file is of one language."""
    return kind_of(folder) != WHISPER and not nested_languages(folder)


def languages_of(folder: Path) -> list[str]:
    """The languages among which --language chooses; none for a model that writes one alone."""
    if kind_of(folder) != WHISPER:
        return nested_languages(folder)
    settings = _read_or_empty(folder / "generation_config.json")
    codes = settings.get("lang_to_id")
    # An English-only Whisper takes no language.
    if settings.get("is_multilingual") is False or not isinstance(codes, dict):
        return []
    return [code.strip("<|>") for code in codes]


def chosen_language(folder: Path, wanted: str | None) -> str | None:
    """The language in the model's own word; None for a model that writes one alone.

    wanted: --language, of which ko and kor mean Korean to any model. Without it Whisper writes
        Korean. Raises UsageError for a language that the model does not know, and where a model
        needs one.
    """
    known = languages_of(folder)
    if not known:
        return None
    korean = next((code for code in KOREAN if code in known), None)
    if wanted in known:
        return wanted
    if korean and (wanted in KOREAN or (wanted is None and kind_of(folder) == WHISPER)):
        return korean
    shown = ", ".join(map(printable, _with_korean_first(known, korean)[:N_LANGUAGES_SHOWN]))
    more = len(known) - N_LANGUAGES_SHOWN
    shown += f" and {more:,} more" if more > 0 else ""
    example = korean or printable(known[0])
    if wanted is None:
        raise UsageError(
            f"{folder} writes one of several languages: pass --language {example}. Its vocabulary "
            f"has {shown}. · 언어를 지정하세요: --language {example}"
        )
    raise UsageError(
        f"--language {printable(wanted)}: {folder} does not know it. It has {shown}. "
        "· 이 모델에 없는 언어입니다."
    )


def _with_korean_first(known: list[str], korean: str | None) -> list[str]:
    return sorted(known, key=lambda code: code != korean)


def _read_or_empty(path: Path) -> dict[str, Any]:
    """The object in a file; empty where it is missing or damaged, which others tell."""
    try:
        # Nobody may ever write into a pipe.
        return read_json(path) if path.is_file() else {}
    except (OSError, ValueError):
        return {}
