"""Load models with a CTC head that script 2 cannot make: HuBERT, WavLM and others, and MMS."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCTC,
    PretrainedConfig,
    Wav2Vec2CTCTokenizer,
)

from korean_asr.audio import ENCODER_LAYERS
from korean_asr.errors import SharedError, printable
from korean_asr.model import (
    Recogniser,
    Wav2Vec2ForCTC,
    compute_narrow_groups_in_float32,
    load_recogniser,
    processors,
)
from korean_asr.model_folder import model_folder, public_name, weights_checksum
from korean_asr.model_kinds import RESCORE_ADVICE, WAV2VEC2, adapter_of, kind_of
from korean_asr.weight_checks import (
    cannot_be_loaded,
    refuse_nonfinite_weights,
    refuse_unfitting_head,
    refuse_unfitting_weights,
)

TOKENIZER = Wav2Vec2CTCTokenizer.__name__


def load_any_ctc(source: str, language: str | None = None) -> Recogniser:
    """Load a model of any of model_kinds.CTC_KINDS: one like ours as load_recogniser does.

    language: of a vocabulary that is nested by language, in the model's own word. Raises
    SharedError as load_ctc does.
    """
    folder = model_folder(source, language)
    if kind_of(folder) != WAV2VEC2 or language:
        return load_ctc(source, language)
    recogniser = load_recogniser(source)
    refuse_other_frames(folder, recogniser.model.config)
    return recogniser


def load_ctc(source: str, language: str | None = None) -> Recogniser:
    """Load a model of one of model_kinds.CTC_KINDS for evaluation, in float32, on the CPU.

    language: of a vocabulary that is nested by language. Raises SharedError for a model that
    cannot be run as ours are, and for faults in its files.
    """
    folder = model_folder(source, language)
    kind = kind_of(folder)
    _refuse_other_tokenizer(folder)
    tokenizer, extractor = processors(folder, kind, target_lang=language)
    try:
        model, loaded = _loaded(folder, kind, tokenizer.pad_token_id)
        refuse_unfitting_weights(folder, loaded)
        if adapter := adapter_of(folder, language):
            is_safe = adapter.suffix == ".safetensors"
            # A .bin file is read by torch's loader of weights alone.
            model.load_adapter(language, use_safetensors=is_safe, local_files_only=True)
    except SharedError:
        raise
    # Damaged weights raise a dozen types of exceptions.
    except Exception as error:
        raise cannot_be_loaded(folder, f"{kind}-CTC", error) from None
    refuse_nonfinite_weights(folder, model)
    refuse_unfitting_head(folder, model.config.vocab_size, tokenizer)
    checksum = weights_checksum(folder, language)
    return Recogniser(public_name(source), model.eval(), tokenizer, extractor, checksum, source)


def _loaded(folder: Path, kind: str, blank_id: int | None) -> tuple[Any, dict[str, Any]]:
    """The model without the weights of a language, and transformers' report of its weights."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    refuse_other_frames(folder, config)
    # The tokenizer's blank is that of its own decode.
    settings = {"dtype": torch.float32, "output_loading_info": True, "pad_token_id": blank_id}
    loader = AutoModelForCTC
    if kind == WAV2VEC2:
        loader = Wav2Vec2ForCTC
    else:
        settings["trust_remote_code"] = False
    model, loaded = loader.from_pretrained(folder, ignore_mismatched_sizes=True, **settings)
    if kind != WAV2VEC2:
        compute_narrow_groups_in_float32(model)
    for name, values in model.named_parameters():
        # It is used in training alone, and is uninitialised memory where the files lack it.
        if "masked_spec_embed" in name and name in loaded["missing_keys"]:
            nn.init.uniform_(values)
    return model, loaded


def refuse_other_frames(folder: Path, config: PretrainedConfig) -> None:
    """Raise SharedError unless a model makes frames of 20 ms as those of audio.ENCODER_LAYERS."""
    layers = tuple(zip(config.conv_kernel, config.conv_stride, strict=False))
    if layers != tuple(ENCODER_LAYERS) or getattr(config, "add_adapter", False):
        raise SharedError(
            f"{folder}: its frames are not those of wav2vec2, one in 20 ms, so that times and "
            f"windows of long clips would be wrong. {RESCORE_ADVICE}"
        )


def _refuse_other_tokenizer(folder: Path) -> None:
    """Raise SharedError where a folder names a tokenizer whose tokens are no characters."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return
    name = json.loads(path.read_text(encoding="utf-8")).get("tokenizer_class")
    if name not in (None, TOKENIZER):
        raise SharedError(
            f"{folder}: its tokenizer is a {printable(str(name))}, not a {TOKENIZER}. "
            f"{RESCORE_ADVICE}"
        )
