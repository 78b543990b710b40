"""Load a model of any kind that scripts 3 and 4 run, decode clips with it, and say how."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from korean_asr.ctc_models import load_any_ctc
from korean_asr.decoding import Decoded, dealt_to_all, decoded
from korean_asr.errors import UsageError, printable
from korean_asr.hardware import n_processes
from korean_asr.manifest import Utterance
from korean_asr.model import Recogniser, versions
from korean_asr.model_folder import model_folder, recipe_of
from korean_asr.model_kinds import (
    WHISPER,
    chosen_language,
    kind_of,
    refuse_other_kind,
)
from korean_asr.rates import stored_rate
from korean_asr.whisper import WhisperRecogniser, decoded_by_whisper, load_whisper


def refuse_unusable(sources: list[str], language: str | None) -> None:
    """Raise DataError for models that lack files or are of a kind that is not run.

    Raises UsageError where --language fits no model, or is missing.
    """
    languages = []
    for source in sources:
        refuse_other_kind(Path(source))
        folder = model_folder(source)
        refuse_other_kind(folder)
        languages.append(chosen_language(folder, language))
        model_folder(source, languages[-1])
        recipe_of(source)
    if language and not any(languages):
        raise UsageError(
            f"--language {printable(language)}: {', '.join(sources)} write one language "
            "alone. Leave the option out. · 언어를 고를 수 없는 모델입니다. --language를 빼세요."
        )


def loaded(source: str, language: str | None = None) -> Recogniser | WhisperRecogniser:
    """Load a model for evaluation, in float32, on the CPU.

    language: --language. Raises DataError for faults in the model's files.
    """
    folder = model_folder(source)
    chosen = chosen_language(folder, language)
    if kind_of(folder) == WHISPER:
        return load_whisper(source, chosen)
    return load_any_ctc(source, chosen)


def decoded_clips(
    recogniser: Recogniser | WhisperRecogniser,
    clips: Sequence[Utterance],
    title: str,
    precision: str,
) -> Decoded:
    """Decode every clip once, by all processes; with letters where each token has its frames."""
    if isinstance(recogniser, WhisperRecogniser):
        decode = partial(decoded_by_whisper, recogniser, precision=precision)
    else:
        decode = partial(decoded, recogniser, precision=precision, with_letters=True)
    return dealt_to_all(decode, clips, title)


def facts_of(
    recogniser: Recogniser | WhisperRecogniser,
    source: str,
    language: str | None,
    result: Decoded,
    clips: Sequence[Utterance],
) -> dict[str, Any]:
    """What the report says about the model and how it decoded.

    language: --language.
    """
    chosen = chosen_language(model_folder(source), language)
    return {
        "kind": recogniser.model.config.model_type,
        "recipe": recipe_of(source),
        "versions": versions(),
        "weights_sha256": recogniser.weights_sha256,
        "decoding": {
            "precision": result.precision,
            "rtfx": round(result.rtfx, 2),
            "seconds": round(result.seconds, 2),
            "n_batches": result.n_batches,
            "padding_waste": round(result.padding_waste, 4),
            "n_processes": n_processes(),
            # Of a model that writes one of several.
            **({"language": chosen} if chosen else {}),
        },
        "lowest_reachable_cer": _lowest_cer(recogniser, (clip.text for clip in clips)),
    }


def _lowest_cer(recogniser: Recogniser | WhisperRecogniser, texts: Iterable[str]) -> float | None:
    """The lowest CER that the model's characters can reach; None for Whisper, which has all."""
    if isinstance(recogniser, WhisperRecogniser):
        return None
    return stored_rate(recogniser.outside(texts).lowest_cer)
