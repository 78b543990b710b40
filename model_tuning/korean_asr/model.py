"""Load a base model, fit its head to the tokenizer without losing a trained row, save a model."""

import logging
import platform
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from korean_asr.audio import SAMPLE_RATE
from korean_asr.errors import SharedError, writing_into
from korean_asr.files import json_value, write_json
from korean_asr.model_folder import model_folder, one_line, public_name, weights_checksum
from korean_asr.model_kinds import WAV2VEC2
from korean_asr.vocabulary import (
    Outside,
    add_tokens,
    label_ids,
    outside_vocabulary,
    token_texts,
    writable_characters,
)
from korean_asr.weight_checks import (
    cannot_be_loaded,
    refuse_nonfinite_weights,
    refuse_unfitting_head,
    refuse_unfitting_weights,
)

SEVEN_FILES = (
    "config.json",
    "model.safetensors",
    "vocab.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
)

# On CPUs with AMX, oneDNN 3.12 (torch 2.13) computes grouped convolutions wrongly in bf16 if a
# group has 4 to 14 channels: the error is as large as the result. From 16 channels on it is right.
# The real model has 64, the demo's 12.
NARROW_GROUP = 16

# Silence what no user can act on: reports about heads that are resized on purpose, and advice to
# developers.
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
logging.getLogger("torch.distributed").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"(torch|transformers|huggingface_hub)\b.*")


class Wav2Vec2ForCTC(transformers.Wav2Vec2ForCTC):
    """wav2vec2 with a CTC head that can grow.

    It has its parent's name, because save_pretrained writes the name into config.json, by which
    other programs load the model.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        compute_narrow_groups_in_float32(self.wav2vec2.encoder.pos_conv_embed)

    def resize_token_embeddings(self, new_num_tokens: int, *_, **__) -> nn.Linear:
        """Give the head a row for each token; trained rows and biases stay bit-equal.

        The parent raises NotImplementedError, since a CTC model has no input embedding.
        A new row is the mean of the trained rows and its bias the mean of their biases, so its
        logit is the mean of theirs: it never exceeds the largest, and no new token wins a frame
        before training. Afterwards model_checks.start_new_tokens raises the new biases, so that
        the tokens are learned in the first epoch.
        Returns the new head. Raises ValueError if rows would be lost.
        """
        old = self.lm_head
        n_new = new_num_tokens - old.out_features
        if n_new < 0:
            raise ValueError(
                f"the head has {old.out_features} trained rows: {new_num_tokens} would lose some."
            )
        head = nn.Linear(
            old.in_features, new_num_tokens, device=old.weight.device, dtype=old.weight.dtype
        )
        new_rows = old.weight.mean(0, keepdim=True).expand(n_new, -1)
        with torch.no_grad():
            head.weight.copy_(torch.cat([old.weight, new_rows]))
            head.bias.copy_(torch.cat([old.bias, old.bias.mean().expand(n_new)]))
        self.lm_head = head
        self.config.vocab_size = new_num_tokens
        return head


def compute_narrow_groups_in_float32(module: nn.Module) -> None:
    """Make the convolutions of narrow groups in a module compute in float32; see NARROW_GROUP."""
    for convolution in module.modules():
        is_grouped = isinstance(convolution, nn.Conv1d) and convolution.groups > 1
        if is_grouped and convolution.in_channels // convolution.groups < NARROW_GROUP:
            convolution.forward = _in_float32(convolution.forward)


def _in_float32(
    forward: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Make a layer compute in float32, whatever the number format of the layers around it."""

    def forward_in_float32(frames: torch.Tensor) -> torch.Tensor:
        with torch.autocast(frames.device.type, enabled=False):
            return forward(frames.float())

    return forward_in_float32


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A model with its tokenizer and feature extractor, and its name in reports.

    model: a Wav2Vec2ForCTC, or another model with a CTC head that ctc_models loaded.
    """

    name: str
    model: Any
    tokenizer: Wav2Vec2CTCTokenizer
    feature_extractor: Wav2Vec2FeatureExtractor
    weights_sha256: str  # of the file that the weights were loaded from
    source: str = ""  # the folder or hub name that was loaded

    def n_parameters(self) -> tuple[int, int]:
        """Return the number of parameters, and how many of them are trained."""
        sizes = [(values.numel(), values.requires_grad) for values in self.model.parameters()]
        return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)

    def labels(self, texts: Iterable[str]) -> list[list[int]]:
        """The label ids of each text, one a character."""
        ids, tokenizer = self.tokenizer.get_vocab(), self.tokenizer
        delimiter, unknown = tokenizer.word_delimiter_token_id, tokenizer.unk_token_id
        return [label_ids(text, ids, delimiter, unknown) for text in texts]

    def token_texts(self) -> dict[int, str]:
        """The text that each token id writes; see vocabulary.token_texts."""
        return token_texts(self.tokenizer)

    def outside(self, texts: Iterable[str]) -> Outside:
        """Count the characters of the texts that the model cannot write."""
        return outside_vocabulary(texts, writable_characters(self.tokenizer))

    def save(self, folder: Path) -> None:
        """Write SEVEN_FILES, which transformers 4.57 and 5.x load, each whole or not at all."""
        part = folder / ".part"
        part.mkdir(parents=True, exist_ok=True)
        with writing_into(folder):
            self.model.save_pretrained(part, max_shard_size="100GB")
            self.tokenizer.save_pretrained(part)
            self.feature_extractor.save_pretrained(part)
            # transformers 5 never writes the first of these, and the second only if tokens are new.
            write_json(part / "special_tokens_map.json", _special_tokens(self.tokenizer))
            if not (part / "added_tokens.json").exists():
                write_json(part / "added_tokens.json", _added_tokens(self.tokenizer))
        # safetensors lets nobody else read its file, and so other users of the machine could not
        # load the model.
        (part / "model.safetensors").chmod((part / "config.json").stat().st_mode & 0o777)
        for name in SEVEN_FILES:
            (part / name).replace(folder / name)
        for left_over in part.iterdir():
            left_over.unlink()
        part.rmdir()


def _special_tokens(tokenizer: Wav2Vec2CTCTokenizer) -> dict[str, str]:
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    return {name: str(getattr(tokenizer, name)) for name in names}


def _added_tokens(tokenizer: Wav2Vec2CTCTokenizer) -> dict[str, int]:
    n_old = tokenizer.vocab_size
    return {token: index for token, index in tokenizer.get_vocab().items() if index >= n_old}


def load_recogniser(source: str) -> Recogniser:
    """Load a model for evaluation, in float32, on the CPU.

    source: a folder or a hub name. Raises DataError if it is not a wav2vec2-CTC model.
    """
    folder = model_folder(source)
    tokenizer, extractor = processors(folder)
    model = _checked_load(folder, tokenizer).eval()
    checksum = weights_checksum(folder)
    return Recogniser(public_name(source), model, tokenizer, extractor, checksum, source)


def base_identity(source: str) -> dict[str, str]:
    """Name and checksum of a base model, without loading it. Raises DataError if it is not one."""
    return {"name": public_name(source), "sha256": weights_checksum(model_folder(source))}


def expanded_base_model(
    source: str, recipe, texts: Iterable[str] = ()
) -> tuple[Recogniser, list[str]]:
    """Load a base model on the CPU in float32, and make it ready for training by a recipe.Recipe.

    texts: the labels of the training split, whose frequent characters become tokens if the recipe
        has extra_tokens. Validation and test must not decide what the model can write.
    Returns the model and the tokens that were added. Raises DataError as load_recogniser does.
    """
    folder = model_folder(source)
    tokenizer, extractor = processors(folder)
    added = add_tokens(tokenizer, recipe.added_tokens)
    added += add_tokens(tokenizer, _frequent_characters(tokenizer, recipe.extra_tokens, texts))
    # What the base model lacks starts at random, such as a new head: the seed makes it the same.
    transformers.set_seed(recipe.seed)
    model = _checked_load(folder, tokenizer, **_settings(recipe, tokenizer))
    _refuse_unsavable_tokens(folder, tokenizer)
    if recipe.head == "resize":
        model.resize_token_embeddings(len(tokenizer))
    if recipe.freeze_feature_encoder:
        model.freeze_feature_encoder()
    name, checksum = public_name(source), weights_checksum(folder)
    return Recogniser(name, model, tokenizer, extractor, checksum, source), added


def _frequent_characters(
    tokenizer: Wav2Vec2CTCTokenizer, least: int | None, texts: Iterable[str]
) -> list[str]:
    """List the characters without a token that occur at least `least` times; none for None."""
    if least is None:
        return []
    outside = outside_vocabulary(texts, writable_characters(tokenizer))
    return [character for character, n in outside.most_frequent() if n >= least]


def _settings(recipe, tokenizer: Wav2Vec2CTCTokenizer) -> dict[str, Any]:
    """The recipe's values for the model's configuration."""
    settings = {
        "attention_dropout": recipe.attention_dropout,
        "hidden_dropout": recipe.hidden_dropout,
        "feat_proj_dropout": recipe.feat_proj_dropout,
        "layerdrop": recipe.layerdrop,
        "mask_time_prob": recipe.mask_time_prob,
        # transformers would draw these masks for a batch. training/augmentation.py draws them for a
        # clip, so that they do not depend on the number of processes.
        "mask_feature_prob": 0.0,
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if recipe.head == "reinitialise":
        # As in the original code. The tokenizer counts <s> and </s>, which the head lacks, so the
        # sizes differ and transformers initialises the whole head.
        settings["vocab_size"] = len(tokenizer)
    return settings


def versions() -> dict[str, str]:
    """Versions of what a result depends on besides the code."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def processors(
    folder: Path, kind: str = WAV2VEC2, **options: Any
) -> tuple[Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor]:
    """Read how text is spelled and sound prepared. Raises SharedError for damaged files.

    options: those of the tokenizer.
    """
    try:
        tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(folder, **options)
        extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
        if tokenizer.word_delimiter_token_id is None:
            raise ValueError("it has no `word_delimiter_token`")
        for key in ("do_normalize", "return_attention_mask"):
            json_value(vars(extractor), key, bool)
        rate = json_value(vars(extractor), "sampling_rate", float)
    # Values of other types raise a dozen types of exceptions.
    except Exception as error:
        raise SharedError(
            f"{folder} is not a {kind}-CTC model: its tokenizer or feature extractor cannot be "
            f"read ({one_line(error)}). Copy or download it again. "
            "· 토크나이저나 특징 추출기 파일을 읽을 수 없습니다. 모델을 다시 받으세요."
        ) from None
    refuse_other_rate(folder, rate)
    return tokenizer, extractor


def refuse_other_rate(folder: Path, rate: float) -> None:
    """Raise SharedError for a model that wants audio at another rate, in Hz."""
    if rate != SAMPLE_RATE:
        raise SharedError(
            f"{folder} wants audio at {rate:,} Hz; this pipeline reads {SAMPLE_RATE:,} Hz. Pass a "
            f"model for that rate. · {SAMPLE_RATE:,}Hz 음성을 사용하는 모델을 지정하세요."
        )


def _checked_load(folder: Path, tokenizer: Wav2Vec2CTCTokenizer, **settings) -> Wav2Vec2ForCTC:
    """Load in float32, whatever the files' number format.

    settings: values of the configuration; with a vocab_size, a head of another size starts anew.
    Raises SharedError unless every weight comes from the files, and head and tokenizer fit.
    """
    try:
        config = Wav2Vec2Config.from_pretrained(folder)
        if config.model_type != "wav2vec2":
            raise SharedError(
                f"{folder} is a {config.model_type} model; wav2vec2 with a CTC head is needed. "
                "Pass such a model. · CTC 출력층이 있는 wav2vec2 모델을 지정하세요."
            )
        if min(config.conv_stride) < 1:
            raise ValueError("`conv_stride` in config.json is not positive")
        model, loaded = Wav2Vec2ForCTC.from_pretrained(
            folder,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **settings,
        )
    except SharedError:
        raise
    # Damaged weights raise a dozen types of exceptions.
    except Exception as error:
        raise cannot_be_loaded(folder, "wav2vec2-CTC", error) from None
    # A base that was trained without masking lacks this embedding, and transformers 5.17 leaves it
    # as uninitialised memory.
    if any("masked_spec_embed" in key for key in loaded["missing_keys"]):
        nn.init.uniform_(model.wav2vec2.masked_spec_embed)
    refuse_unfitting_weights(folder, loaded, is_new_head="vocab_size" in settings)
    refuse_nonfinite_weights(folder, model)
    refuse_unfitting_head(folder, model.config.vocab_size, tokenizer)
    return model


def _refuse_unsavable_tokens(folder: Path, tokenizer: Wav2Vec2CTCTokenizer) -> None:
    """Raise SharedError for tokens outside the head that is to be trained, and for half letters."""
    refuse_unfitting_head(folder, len(tokenizer), tokenizer)
    for token in tokenizer.get_vocab():
        try:
            token.encode()
        except UnicodeEncodeError:
            raise SharedError(
                f"{folder}: the token {token!a} of vocab.json is half a character, which cannot be "
                "saved again. Copy or download vocab.json again. · vocab.json을 다시 받으세요."
            ) from None
