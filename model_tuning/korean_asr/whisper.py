"""Whisper: clips to text by greedy decoding, in Korean, without prompts and without timestamps."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from korean_asr.audio import SAMPLE_RATE, UnreadableAudio, read_waveform
from korean_asr.decoding import NOT_FINITE, OUT_OF_MEMORY, UNKNOWN_DURATION_S, Decoded
from korean_asr.errors import SharedError
from korean_asr.hardware import device_here, in_precision, refuse_unavailable
from korean_asr.inference import AudioClip, is_out_of_memory
from korean_asr.metrics import Hypothesis, normalised
from korean_asr.model import refuse_other_rate
from korean_asr.model_folder import model_folder, one_line, public_name, weights_checksum
from korean_asr.progress_line import ProgressLine
from korean_asr.weight_checks import (
    cannot_be_loaded,
    refuse_nonfinite_weights,
    refuse_unfitting_weights,
)

# Clips in a batch, each padded to 30 s. What large-v3 keeps of a clip for its decoder takes 0.6 GB
# in float32. The batch is halved where memory runs out.
MAX_CLIPS = {"cpu": 4, "cuda": 16}
N_READERS = 4
# From 0.00 to 30.00 s.
N_TIMESTAMPS = 1_501
# What generation_config.json must say.
NEEDED_SETTINGS = ("is_multilingual", "no_timestamps_token_id")
NEEDED_OF_MULTILINGUAL = ("lang_to_id", "task_to_id")
# Of generation_config.json nothing else is taken: it can hold penalties, beams and code that change
# the texts, and models are compared as they hear.
TOKEN_SETTINGS = (
    "no_timestamps_token_id",
    "decoder_start_token_id",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "prev_sot_token_id",
)
TOKENS_SETTINGS = ("lang_to_id", "task_to_id")
OTHER_SETTINGS = {
    "is_multilingual": bool,
    "suppress_tokens": list,
    "begin_suppress_tokens": list,
    "max_initial_timestamp_index": int,
}
# Greedy decoding, and nothing that looks at the result and tries again, or at the text before.
# Whisper samples only where generate() is given a temperature.
GREEDY = {
    "num_beams": 1,
    "num_return_sequences": 1,
    "max_new_tokens": None,
    "condition_on_prev_tokens": False,
    "logprob_threshold": None,
    "no_speech_threshold": None,
    "return_dict_in_generate": False,
}


@dataclass(frozen=True, slots=True)
class WhisperRecogniser:
    """A Whisper model with its tokenizer and feature extractor, and its name in reports.

    language: that it writes; None for an English-only model.
    """

    name: str
    model: WhisperForConditionalGeneration
    tokenizer: WhisperTokenizer
    feature_extractor: WhisperFeatureExtractor
    weights_sha256: str  # of the file that the weights were loaded from
    language: str | None

    @property
    def window_samples(self) -> int:
        """The samples that the model hears at once: 30 s."""
        return self.feature_extractor.n_samples

    @property
    def window_s(self) -> float:
        """The seconds that the model hears at once."""
        return self.window_samples / SAMPLE_RATE

    def texts(self, ids: torch.Tensor) -> list[str]:
        """The text of each clip, normalised. ids: (B, n_tokens), with tokens that write no text."""
        no_timestamps = self.model.generation_config.no_timestamps_token_id
        # The end of text, then languages and tasks, then timestamps. Old folders do not mark all of
        # them as special.
        first, last = self.tokenizer.eos_token_id, no_timestamps + N_TIMESTAMPS
        written = [[index for index in row if not first <= index <= last] for row in ids.tolist()]
        # Cleaning would remove spaces before marks.
        texts = self.tokenizer.batch_decode(
            written, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [normalised(text) for text in texts]

    def features(self, waveform: np.ndarray) -> dict[str, torch.Tensor]:
        """input_features (1, n_mels, n_frames) float32, and attention_mask if it is a long clip.

        waveform: (n_samples,) float32. A short one is padded to window_samples.
        """
        if len(waveform) <= self.window_samples:
            made = self.feature_extractor(
                waveform,
                sampling_rate=SAMPLE_RATE,
                return_tensors="pt",
                return_attention_mask=False,
            )
            return {"input_features": made["input_features"]}
        made = self.feature_extractor(
            waveform,
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            truncation=False,
            padding="longest",
            return_attention_mask=True,
        )
        return {name: made[name] for name in ("input_features", "attention_mask")}


def load_whisper(source: str, language: str | None) -> WhisperRecogniser:
    """Load a Whisper model for evaluation, in float32, on the CPU.

    language: one of its languages; None for an English-only model. Raises SharedError for faults in
    its files.
    """
    folder = model_folder(source)
    try:
        tokenizer = WhisperTokenizer.from_pretrained(folder)
        extractor = WhisperFeatureExtractor.from_pretrained(folder)
        model, loaded = WhisperForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    # Damaged files raise a dozen types of exceptions.
    except Exception as error:
        raise cannot_be_loaded(folder, "Whisper", error) from None
    refuse_unfitting_weights(folder, loaded)
    refuse_nonfinite_weights(folder, model)
    refuse_other_rate(folder, extractor.sampling_rate)
    # Noise, which would make each run hear something else.
    extractor.dither = 0.0
    _refuse_unfitting_files(folder, model, tokenizer, extractor)
    model.generation_config = _settings(folder, model)
    checksum = weights_checksum(folder)
    name = public_name(source)
    return WhisperRecogniser(name, model.eval(), tokenizer, extractor, checksum, language)


def _refuse_unfitting_files(
    folder: Path,
    model: WhisperForConditionalGeneration,
    tokenizer: WhisperTokenizer,
    extractor: WhisperFeatureExtractor,
) -> None:
    """Raise SharedError where the files are of different models, or older than these settings."""
    config, settings = model.config, model.generation_config
    needed = NEEDED_SETTINGS
    if getattr(settings, "is_multilingual", False):
        needed += NEEDED_OF_MULTILINGUAL
    lacking = [name for name in needed if getattr(settings, name, None) is None]
    if lacking:
        raise SharedError(
            f"{folder}: generation_config.json does not say {', '.join(lacking)}. Copy this file "
            "from the Whisper model that it was fine-tuned from. "
            "· 원래 Whisper 모델의 generation_config.json을 복사해 넣으세요."
        )
    faults = {
        "mel bands": (extractor.feature_size, config.num_mel_bins),
        "frames": (extractor.nb_max_frames, 2 * config.max_source_positions),
    }
    for what, (made, heard) in faults.items():
        if made != heard:
            raise SharedError(
                f"{folder}: preprocessor_config.json makes {made:,} {what}, config.json wants "
                f"{heard:,}. Put that of this model there. "
                "· 이 모델의 preprocessor_config.json을 넣으세요."
            )
    try:
        extractor(np.zeros(SAMPLE_RATE, np.float32), sampling_rate=SAMPLE_RATE)
    # Settings of other types raise a dozen types of exceptions, and only where they are used.
    except Exception as error:
        raise SharedError(
            f"{folder}: preprocessor_config.json cannot be used ({one_line(error)}). Put that of "
            "this model there. · 이 모델의 preprocessor_config.json을 넣으세요."
        ) from None
    if len(tokenizer) > config.vocab_size:
        raise SharedError(
            f"{folder}: the tokenizer has {len(tokenizer):,} tokens and the model only "
            f"{config.vocab_size:,}. Put the tokenizer of this model there. "
            "· 이 모델의 토크나이저 파일을 넣으세요."
        )


def _settings(folder: Path, model: WhisperForConditionalGeneration) -> GenerationConfig:
    """What greedy decoding takes of generation_config.json. Raises SharedError for other values."""
    given, settings = model.generation_config, GenerationConfig()
    for name in (*TOKEN_SETTINGS, *TOKENS_SETTINGS, *OTHER_SETTINGS):
        value = getattr(given, name, None)
        if value is None:
            continue
        if not _is_usable(name, value, model.config.vocab_size):
            raise SharedError(
                f"{folder}: `{name}` in generation_config.json does not fit this model. Copy this "
                "file from the Whisper model that it was fine-tuned from. "
                "· 원래 Whisper 모델의 generation_config.json을 복사해 넣으세요."
            )
        setattr(settings, name, value)
    for name, value in GREEDY.items():
        setattr(settings, name, value)
    settings.max_length = model.config.max_target_positions
    return settings


def _is_usable(name: str, value: object, n_tokens: int) -> bool:
    """Whether a value of generation_config.json is of its type, and its tokens are the model's."""
    if kind := OTHER_SETTINGS.get(name):
        items = value if isinstance(value, list) else []
        return type(value) is kind and all(type(item) is int for item in items)
    if name in TOKENS_SETTINGS:
        if not isinstance(value, dict) or (name == "task_to_id" and "transcribe" not in value):
            return False
        tokens = [*value.values()]
    else:
        # A model may have several ends.
        tokens = value if isinstance(value, list) and name == "eos_token_id" else [value]
    return all(type(token) is int and 0 <= token < n_tokens for token in tokens)


@dataclass(frozen=True, slots=True)
class _ReadClip:
    """A clip as read from its file; inputs: its features, None if it could not be read."""

    seconds: float = 0.0
    inputs: dict[str, torch.Tensor] | None = None
    is_silent: bool = False
    problem: str | None = None

    @property
    def is_long(self) -> bool:
        return "attention_mask" in (self.inputs or ())


def _read(clip: AudioClip, recogniser: WhisperRecogniser) -> _ReadClip:
    try:
        waveform = read_waveform(clip.audio, *clip.cut)
    except UnreadableAudio as problem:
        return _ReadClip(problem=str(problem))
    return _ReadClip(
        len(waveform) / SAMPLE_RATE,
        recogniser.features(waveform),
        is_silent=bool((waveform == waveform[0]).all()),
    )


def decoded_by_whisper(
    recogniser: WhisperRecogniser,
    utterances: Sequence[AudioClip],
    progress: str | None = None,
    precision: str = "float32",
    max_clips: int | None = None,
) -> Decoded:
    """Decode every clip exactly once; the hypotheses are in the order of the clips.

    progress: title of the progress bar; None for no bar.
    max_clips: limit of a batch; None for the device's MAX_CLIPS.
    Raises UsageError for a precision that the device lacks.
    """
    started, model = time.monotonic(), recogniser.model.to(device_here())
    refuse_unavailable(precision, model.device)
    generated = Generation(recogniser, precision, max_clips or MAX_CLIPS[model.device.type])
    lengths = [clip.duration or UNKNOWN_DURATION_S for clip in utterances]
    order = sorted(range(len(utterances)), key=lambda index: -lengths[index])
    size = generated.max_clips
    plan = [order[first : first + size] for first in range(0, len(order), size)]
    hypotheses: list[Hypothesis | None] = [None] * len(utterances)
    clip_seconds = [0.0] * len(utterances)
    with ProgressLine(progress, len(utterances)) as bar:
        for indices, clips in _read_ahead(plan, utterances, recogniser):
            texts = generated.hypotheses(clips)
            for index, clip, hypothesis in zip(indices, clips, texts, strict=True):
                hypotheses[index], clip_seconds[index] = hypothesis, clip.seconds
            bar.update(len(indices))
    return Decoded(
        hypotheses,
        clip_seconds,
        n_batches=len(generated.batch_seconds),
        padded_seconds=math.fsum(generated.batch_seconds),
        seconds=time.monotonic() - started,
        precision=precision,
        losses=[None] * len(utterances),
    )


def _read_ahead(
    plan: list[list[int]], utterances: Sequence[AudioClip], recogniser: WhisperRecogniser
) -> Iterator[tuple[list[int], list[_ReadClip]]]:
    """The clips of each batch, while those of the next one are read."""
    coming: deque[tuple[list[int], list[Future]]] = deque()
    with ThreadPoolExecutor(N_READERS) as readers:
        for batch in plan:
            clips = [readers.submit(_read, utterances[index], recogniser) for index in batch]
            coming.append((batch, clips))
            if len(coming) > 1:
                yield _arrived(*coming.popleft())
        while coming:
            yield _arrived(*coming.popleft())


def _arrived(batch: list[int], clips: list[Future]) -> tuple[list[int], list[_ReadClip]]:
    return batch, [clip.result() for clip in clips]


@dataclass(slots=True)
class Generation:
    """Batches through a Whisper model, which become smaller once memory has run out.

    max_clips: in a batch. batch_seconds: padded audio of each finished batch.
    """

    recogniser: WhisperRecogniser
    precision: str
    max_clips: int
    batch_seconds: list[float] = field(default_factory=list)

    def hypotheses(self, clips: list[_ReadClip]) -> list[Hypothesis]:
        """The hypothesis of each clip. Long clips go one by one."""
        made = [Hypothesis("", clip.problem) for clip in clips]
        waiting = [index for index, clip in enumerate(clips) if clip.inputs]
        waiting.sort(key=lambda index: not clips[index].is_long)
        while waiting:
            batch = waiting[: 1 if clips[waiting[0]].is_long else self.max_clips]
            results = self._hypotheses_if_they_fit([clips[index] for index in batch])
            if results is None and len(batch) > 1:
                # The new limit stays: the next batches would not fit either.
                self.max_clips = len(batch) // 2
                continue
            waiting = waiting[len(batch) :]
            for index, result in zip(
                batch, results or [Hypothesis("", OUT_OF_MEMORY)], strict=True
            ):
                made[index] = result
        return made

    def _hypotheses_if_they_fit(self, batch: list[_ReadClip]) -> list[Hypothesis] | None:
        try:
            return self._hypotheses(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the except block: there the traceback would keep all the tensors alive.
        if self.recogniser.model.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _hypotheses(self, batch: list[_ReadClip]) -> list[Hypothesis]:
        recogniser = self.recogniser
        ids, are_finite = self._generated(batch)
        n_windows = sum(math.ceil(clip.seconds / recogniser.window_s) for clip in batch)
        self.batch_seconds.append(n_windows * recogniser.window_s)
        texts = recogniser.texts(ids)
        return [
            Hypothesis(text, is_silent=clip.is_silent) if is_finite else Hypothesis("", NOT_FINITE)
            for clip, text, is_finite in zip(batch, texts, are_finite, strict=True)
        ]

    @torch.inference_mode()
    def _generated(self, batch: list[_ReadClip]) -> tuple[torch.Tensor, list[bool]]:
        """Token ids of each clip, (B, n_tokens), and whether all its logits were finite."""
        model, language, is_long = self.recogniser.model, self.recogniser.language, batch[0].is_long
        inputs = {
            name: torch.cat([clip.inputs[name] for clip in batch]).to(model.device)
            for name in batch[0].inputs
        }
        are_finite = torch.ones(len(batch), dtype=torch.bool, device=model.device)

        def watch(_head, _hidden, logits: torch.Tensor) -> None:
            are_finite.logical_and_(logits.isfinite().flatten(1).all(1))

        watching = model.proj_out.register_forward_hook(watch)
        try:
            with in_precision(model.device, self.precision):
                ids = model.generate(
                    **inputs,
                    # An English-only model takes neither.
                    **({"language": language, "task": "transcribe"} if language else {}),
                    return_timestamps=is_long,
                    # What the model hears at once, it writes at once.
                    force_unique_generate_call=not is_long,
                )
        finally:
            watching.remove()
        return ids, are_finite.tolist()
