"""Proves that a loaded model is what its files hold, and that head and tokenizer fit."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Wav2Vec2CTCTokenizer

from korean_asr.errors import SharedError
from korean_asr.model_folder import one_line


def cannot_be_loaded(folder: Path, kind: str, error: Exception) -> SharedError:
    """The refusal of a folder from which transformers cannot make a model of a kind."""
    return SharedError(
        f"{folder} cannot be loaded as {kind} ({one_line(error)}). Copy or download the "
        "whole model again. · 모델을 불러올 수 없습니다. 모델을 다시 받으세요."
    )


def refuse_unfitting_weights(
    folder: Path, loaded: dict[str, Any], is_new_head: bool = False
) -> None:
    """Raise SharedError, which names some weights, where transformers would draw any at random.

    loaded: transformers' report. is_new_head: whether the head may have another size.
    """
    if any("lm_head" in key for key in loaded["missing_keys"]):
        raise SharedError(
            f"{folder} has no trained CTC head. Pass a model that was fine-tuned for speech "
            "recognition. · 음성 인식으로 미세조정된 모델을 지정하세요."
        )
    faults = {
        "missing in the files": loaded["missing_keys"],
        "not of this model": loaded["unexpected_keys"],
        "of another size than config.json says": {key for key, *_ in loaded["mismatched_keys"]},
    }
    told = []
    for fault, found in faults.items():
        # The embedding of masked frames is used in training alone.
        names = sorted(name for name in found if "masked_spec_embed" not in name)
        if is_new_head:
            names = [name for name in names if not name.startswith("lm_head.")]
        if names:
            told.append(f"{_some(names)} {'are' if len(names) > 1 else 'is'} {fault}")
    if told:
        raise SharedError(
            f"{folder}: its weights are not those of its config.json: {'; '.join(told)}. Copy or "
            "download the whole model again. "
            "· 가중치가 config.json과 맞지 않습니다. 모델을 다시 받으세요."
        )


def refuse_nonfinite_weights(folder: Path, model: nn.Module) -> None:
    """Raise SharedError, which names some of them, for weights that are no numbers."""
    names = [
        name
        for name, values in model.named_parameters()
        # NaN is the least and the greatest of any values.
        if not torch.stack(values.detach().aminmax()).isfinite().all()
    ]
    if names:
        raise SharedError(
            f"{folder}: its weights hold NaN or infinite numbers, in {_some(names)}. Take an "
            "earlier checkpoint, or copy or download the model again. "
            "· 가중치에 NaN이나 무한대가 있습니다. 다른 체크포인트를 사용하거나 모델을 "
            "다시 받으세요."
        )


def _some(names: list[str]) -> str:
    """At most three names, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def refuse_unfitting_head(folder: Path, n_rows: int, tokenizer: Wav2Vec2CTCTokenizer) -> None:
    """Raise SharedError unless each row of a CTC head has a token, and the blank a row."""
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= n_rows:
        raise SharedError(
            f"{folder}: the blank [PAD] lies outside the head of {n_rows} rows. Put the vocab.json "
            "of this model there. · 이 모델의 vocab.json을 넣으세요."
        )
    if n_rows > len(tokenizer):
        raise SharedError(
            f"{folder}: the head has {n_rows} rows and the tokenizer only {len(tokenizer)} tokens. "
            "Put the vocab.json of this model there. · 이 모델의 vocab.json을 넣으세요."
        )
    without = sorted(set(range(n_rows)).difference(tokenizer.get_vocab().values()))
    if without:
        raise SharedError(
            f"{folder}: {len(without):,} of the head's {n_rows:,} rows have no token in "
            f"vocab.json, such as row {without[0]}. Put the vocab.json of this model there. "
            "· vocab.json에 빠진 번호가 있습니다. 이 모델의 vocab.json을 넣으세요."
        )
