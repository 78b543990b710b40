"""Load a base model; resize its head without losing a trained row; save the model folder."""

import logging
import platform
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from korean_asr.audio import SAMPLE_RATE
from korean_asr.errors import DataError, writing_into
from korean_asr.files import write_json
from korean_asr.hardware import device_here
from korean_asr.model_folder import model_folder, one_line, public_name, weights_checksum
from korean_asr.recipe import Recipe
from korean_asr.vocabulary import add_tokens, outside_vocabulary, writable_characters

SEVEN_FILES = (
    "config.json", "model.safetensors", "vocab.json", "added_tokens.json", "special_tokens_map.json",
    "tokenizer_config.json", "preprocessor_config.json",
)  # fmt: skip

# oneDNN 3.12 (torch 2.13) computes grouped convolutions of 4 to 14 channels a group wrongly in bf16 on CPUs with AMX: the
# result is off by its own size. From 16 channels on it is right; the real model has 64, small models such as the demo's 12.
NARROW_GROUP = 16

# Nothing below can be acted on by a user: load reports of heads that are resized on purpose, and advice to developers.
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
logging.getLogger("torch.distributed").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"(torch|transformers|huggingface_hub)\b.*")


class Wav2Vec2ForCTC(transformers.Wav2Vec2ForCTC):
    """wav2vec2-CTC whose head can grow. It keeps its parent's name, which config.json carries to other programs."""

    # For whoever trains this class by the Trainer of transformers: forward() takes **kwargs, from which it concludes that the
    # loss is divided by the items of the whole update. It is not: without this line loss and gradients come out multiplied
    # by accumulation x processes.
    accepts_loss_kwargs = False

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        convolution = self.wav2vec2.encoder.pos_conv_embed.conv
        if convolution.in_channels // convolution.groups < NARROW_GROUP:
            convolution.forward = _in_float32(convolution.forward)

    def resize_token_embeddings(self, new_num_tokens: int, *_, **__) -> nn.Linear:
        """Fit the CTC head to `new_num_tokens` labels; every trained row and bias stays bit-equal.

        A CTC model has no input embedding, so the parent raises NotImplementedError; its head is what tokens mean here.
        New rows start at the mean of the trained rows, new biases at the mean of the trained biases: the new logit is then
        the mean of the old ones, which never exceeds their largest, so that no new token wins a frame before training.
        proofs.start_new_tokens moves the biases nearer, so that they are learned in the first epoch. Returns the new head.
        Raises ValueError if rows would be lost.
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
        with torch.no_grad():
            head.weight.copy_(
                torch.cat([old.weight, old.weight.mean(0, keepdim=True).expand(n_new, -1)])
            )
            head.bias.copy_(torch.cat([old.bias, old.bias.mean().expand(n_new)]))
        self.lm_head = head
        self.config.vocab_size = new_num_tokens
        return head


def _in_float32(
    forward: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The same layer in float32, whatever precision the layers around it compute in."""

    def forward_in_float32(frames: torch.Tensor) -> torch.Tensor:
        with torch.autocast(frames.device.type, enabled=False):
            return forward(frames.float())

    return forward_in_float32


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A model with its tokenizer and feature extractor, and the name that reports give it."""

    name: str
    model: Wav2Vec2ForCTC
    tokenizer: Wav2Vec2CTCTokenizer
    feature_extractor: Wav2Vec2FeatureExtractor
    weights_sha256: str  # of the file that it was loaded from


def load_recogniser(source: str) -> Recogniser:
    """A model for evaluation, in float32, on the GPU where there is one. Raises DataError for what is no such model."""
    folder = model_folder(source)
    tokenizer, extractor = _processors(folder)
    model = _checked_load(folder, tokenizer)
    return Recogniser(
        public_name(source),
        model.eval().to(device_here()),
        tokenizer,
        extractor,
        weights_checksum(folder),
    )


def expanded_base_model(
    source: str, recipe: Recipe, texts: Iterable[str] = ()
) -> tuple[Recogniser, list[str]]:
    """The base model made ready for training by the recipe, in float32 on the CPU, and the tokens that were added.

    texts: the labels of the training split, in which `extra_tokens` of the recipe counts characters; those of validation and
    test must not tell the model what to write. Raises DataError for what is no wav2vec2-CTC model, or cannot be reached.
    """
    folder = model_folder(source)
    tokenizer, extractor = _processors(folder)
    added = add_tokens(tokenizer, recipe.added_tokens)
    if recipe.extra_tokens:
        found = outside_vocabulary(texts, writable_characters(tokenizer)).most_frequent()
        added += add_tokens(
            tokenizer, [character for character, n in found if n >= recipe.extra_tokens]
        )
    settings = {
        "attention_dropout": recipe.attention_dropout,
        "hidden_dropout": recipe.hidden_dropout,
        "feat_proj_dropout": recipe.feat_proj_dropout,
        "layerdrop": recipe.layerdrop,
        "mask_time_prob": recipe.mask_time_prob,
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if recipe.head == "reinitialise":
        # What the first seeds did: the tokenizer counts <s> and </s>, so the sizes differ and the whole head starts anew.
        settings |= {"vocab_size": len(tokenizer), "ignore_mismatched_sizes": True}
    # What the checkpoint lacks starts at random: a head made anew, or the embedding of masked frames.
    transformers.set_seed(recipe.seed)
    model = _checked_load(folder, tokenizer, **settings)
    if recipe.head == "resize":
        model.resize_token_embeddings(len(tokenizer))
    if recipe.freeze_feature_encoder:
        model.freeze_feature_encoder()
    return Recogniser(
        public_name(source), model, tokenizer, extractor, weights_checksum(folder)
    ), added


def n_parameters(model: Wav2Vec2ForCTC) -> tuple[int, int]:
    """How many numbers the model has, and how many of them are trained."""
    sizes = [(values.numel(), values.requires_grad) for values in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def versions() -> dict[str, str]:
    """What a result depends on besides the code."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _processors(folder: Path) -> tuple[Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor]:
    try:
        tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(folder)
        extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder} is not a wav2vec2-CTC model: its tokenizer cannot be read ({one_line(error)})."
        ) from None
    if extractor.sampling_rate != SAMPLE_RATE:
        raise DataError(
            f"{folder} wants audio at {extractor.sampling_rate:,} Hz; this pipeline reads {SAMPLE_RATE:,} Hz."
        )
    return tokenizer, extractor


def _checked_load(folder: Path, tokenizer: Wav2Vec2CTCTokenizer, **settings) -> Wav2Vec2ForCTC:
    """Load in float32 (from_pretrained would keep the checkpoint's own dtype) and see that head and tokenizer fit."""
    try:
        config = Wav2Vec2Config.from_pretrained(folder)
        if config.model_type != "wav2vec2":
            raise DataError(
                f"{folder} is a {config.model_type} model; wav2vec2 with a CTC head is needed."
            )
        model, loaded = Wav2Vec2ForCTC.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, **settings
        )
    except DataError:
        raise
    except Exception as error:  # damaged weights fail in a dozen ways, each a fault of the folder
        raise DataError(f"{folder} cannot be loaded as wav2vec2-CTC: {one_line(error)}") from None
    # A base that was trained without masking lacks this one, and transformers 5.17 leaves it as uninitialised memory.
    if any("masked_spec_embed" in key for key in loaded["missing_keys"]):
        nn.init.uniform_(model.wav2vec2.masked_spec_embed)
    if any("lm_head" in key for key in loaded["missing_keys"]):
        raise DataError(
            f"{folder} has no trained CTC head. Pass a model that was fine-tuned for speech recognition."
        )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= model.config.vocab_size:
        raise DataError(
            f"{folder}: the blank [PAD] lies outside the head of {model.config.vocab_size} labels."
        )
    if model.config.vocab_size > len(tokenizer):
        raise DataError(
            f"{folder}: the head has {model.config.vocab_size} labels and the tokenizer only {len(tokenizer)} tokens. "
            "Put the vocab.json of this model there."
        )
    return model


def save_recogniser(recogniser: Recogniser, folder: Path) -> None:
    """Write the seven files that transformers 4.57 and 5.x both load, each whole or not at all."""
    part = folder / ".part"
    part.mkdir(parents=True, exist_ok=True)
    with writing_into(folder):
        recogniser.model.save_pretrained(part, max_shard_size="100GB")
    recogniser.tokenizer.save_pretrained(part)
    recogniser.feature_extractor.save_pretrained(part)
    tokenizer = recogniser.tokenizer
    special = {
        key: str(getattr(tokenizer, key))
        for key in ("bos_token", "eos_token", "unk_token", "pad_token")
    }
    write_json(part / "special_tokens_map.json", special)  # transformers 5 leaves it out
    if not (part / "added_tokens.json").exists():  # and this one where it holds nothing new
        added = {
            token: index
            for token, index in tokenizer.get_vocab().items()
            if index >= tokenizer.vocab_size
        }
        write_json(part / "added_tokens.json", added)
    for name in SEVEN_FILES:
        (part / name).replace(folder / name)
    for left_over in part.iterdir():
        left_over.unlink()
    part.rmdir()
