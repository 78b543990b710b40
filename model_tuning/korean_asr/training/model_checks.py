"""What a run shows before and after it: that new tokens disturb nothing, and that the saved folder is the trained model."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from korean_asr.audio import UnreadableAudio, read_waveform
from korean_asr.decoding import decoded, greedy_text
from korean_asr.errors import DataError
from korean_asr.inference import frame_logits
from korean_asr.manifest import Utterance
from korean_asr.model import Recogniser, Wav2Vec2ForCTC, load_recogniser
from korean_asr.vocabulary import token_texts

# All new tokens together, beside the winner of the frame where they come nearest to it. Measured on the demo by
# tests/benchmarks/head_start.py: from 14 logits behind (the mean of rows and biases) marks are hardly written after 100
# updates, from 6 behind (one percent, for four tokens) most are; from 2 behind the first updates are spent on unlearning them.
NEW_TOKENS_SHARE = 0.01
SAMPLE_CLIPS = (
    16  # a minute of speech: ten seconds on a desktop's CPU for a model of 317 M parameters, twice
)


def sample(split: list[Utterance]) -> list[Utterance]:
    """At most SAMPLE_CLIPS clips, evenly spaced over a split."""
    step = max(1, len(split) // SAMPLE_CLIPS)
    return split[::step][:SAMPLE_CLIPS]


def start_new_tokens(
    recogniser: Recogniser, added: list[str], clips: list[Utterance]
) -> float | None:
    """Move the biases of the added tokens so that all of them together have NEW_TOKENS_SHARE of the winner's probability in
    the frame of these training clips where they come nearest to it, and less in all others.

    Low enough to change no text, high enough to be learned within v3's first epoch. Returns by how many logits the biases
    were raised, to a tenth, so that two machines agree; None where nothing was added or no clip can be read.
    """
    recogniser.model.eval()
    ids = recogniser.tokenizer.convert_tokens_to_ids(added)
    leads = [
        (logits.amax(1) - logits[:, ids].amax(1)).min().item()
        for waveform in _waveforms(clips if added else [])
        for logits in frame_logits(
            recogniser.model, recogniser.feature_extractor, [waveform]
        )  # (n_frames, n_labels)
    ]
    if not leads:
        return None
    raised = round(min(leads) - math.log(len(added) / NEW_TOKENS_SHARE), 1)
    with torch.no_grad():
        recogniser.model.lm_head.bias[ids] += raised
    return raised


@dataclass(frozen=True, slots=True)
class Step0:
    """The expanded model beside its base, before the first update, on the same clips."""

    head: str  # of the recipe
    n_clips: int
    n_frames: int  # of 20 ms
    n_same_text: int  # clips
    rows_kept: bool  # every row and bias of the base's head, and every weight below it, has the base's very bits
    n_equal_logits: int  # frames in which all old labels' logits do
    largest_difference: float  # of an old label's logit
    n_frames_of_new_tokens: int  # frames that a label wins which the base's head does not have
    smallest_lead: (
        float | None
    )  # of the winner over the best new label, in logits; None where nothing is new

    @property
    def holds(self) -> bool:
        """Whether the model writes what its base wrote. Equal bits of logits are not asked for where those of the weights are
        equal: a processor may round the products of a head of another size in another order.
        """
        return (
            self.rows_kept and self.n_same_text == self.n_clips and not self.n_frames_of_new_tokens
        )

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}


def step_0(source: str, recogniser: Recogniser, head: str, clips: list[Utterance]) -> Step0:
    """Decode clips with the base model of `source` and with the expanded one, on the CPU in float32.

    On the CPU, since a GPU may choose another way of multiplying for a head of another size. Raises DataError if the recipe
    keeps the base's head ("resize") and the two do not agree: training would start from damage.
    """
    base = load_recogniser(source)
    base.model.cpu()
    recogniser.model.eval()
    pairs = [_compared(base, recogniser, waveform) for waveform in _waveforms(clips)]
    if not pairs:
        raise DataError(
            f"none of {len(clips)} validation clips can be read, so nothing can be proven. Run script 1 again. "
            "· 검증 음성을 읽을 수 없습니다."
        )
    proof = Step0(
        head=head,
        n_clips=len(pairs),
        n_frames=sum(pair.n_frames for pair in pairs),
        n_same_text=sum(pair.same_text for pair in pairs),
        rows_kept=_rows_kept(base.model, recogniser.model),
        n_equal_logits=sum(pair.n_equal_logits for pair in pairs),
        largest_difference=max((pair.difference for pair in pairs), default=0.0),
        n_frames_of_new_tokens=sum(pair.n_frames_of_new_tokens for pair in pairs),
        smallest_lead=min((pair.lead for pair in pairs if pair.lead is not None), default=None),
    )
    if head == "resize" and not proof.holds:
        raise DataError(
            f"the expanded model is not its base at step 0: {printed_step_0(proof)}. Nothing was trained. Are the files of "
            f"{source} those of one model? Download it again. · 확장한 모델이 기본 모델과 다릅니다."
        )
    return proof


def printed_step_0(proof: Step0) -> str:
    """One line about the head as training finds it."""
    counts = (
        f"{proof.n_same_text} of {proof.n_clips} clips give the base model's text, {proof.n_equal_logits:,} of "
        f"{proof.n_frames:,} frames its very logits, a new token wins {proof.n_frames_of_new_tokens:,} frames, "
        f"the base's weights are {'all' if proof.rows_kept else 'NOT all'} kept"
    )
    if proof.head == "reinitialise":
        return f"step 0: {counts} (this recipe starts the head anew) · 출력층을 새로 시작합니다"
    lead = (
        ""
        if proof.smallest_lead is None
        else f"; new tokens are at least {proof.smallest_lead:.1f} logits behind"
    )
    return f"step 0: {counts}{lead} · 학습 전 확인"


def saved_model(recogniser: Recogniser, folder: Path, clips: list[Utterance]) -> int:
    """Load a saved folder afresh and compare its text with the model in memory; the number of clips compared.

    Raises DataError where they differ.
    """
    ours = [hypothesis.text for hypothesis in decoded(recogniser, clips).hypotheses]
    theirs = [
        hypothesis.text for hypothesis in decoded(load_recogniser(str(folder)), clips).hypotheses
    ]
    differing = [
        clip.id for clip, our, their in zip(clips, ours, theirs, strict=True) if our != their
    ]
    if differing:
        raise DataError(
            f"{folder}, loaded again, writes another text for {len(differing)} of {len(clips)} clips (the first: "
            f"{differing[0]}). Run the same command again: it saves the model anew from its last checkpoint."
        )
    return len(clips)


def _rows_kept(base: Wav2Vec2ForCTC, expanded: Wav2Vec2ForCTC) -> bool:
    after = expanded.state_dict()
    # masked_spec_embed: drawn anew where a base was trained without masking; decoding does not use it.
    before = {
        name: values
        for name, values in base.state_dict().items()
        if "masked_spec_embed" not in name
    }
    return all(torch.equal(after[name][: len(values)] if "lm_head" in name else after[name], values)
               for name, values in before.items())  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pair:
    n_frames: int
    same_text: bool
    n_equal_logits: int
    difference: float
    n_frames_of_new_tokens: int
    lead: float | None


def _compared(base: Recogniser, expanded: Recogniser, waveform: np.ndarray) -> _Pair:
    old, new = (
        frame_logits(recogniser.model, recogniser.feature_extractor, [waveform])[0]
        for recogniser in (base, expanded)
    )
    n_old = old.shape[1]
    new_old, added = new[:, :n_old], new[:, n_old:]  # (n_frames, n_old), (n_frames, n_added)
    texts = [
        greedy_text(
            logits.argmax(-1),
            recogniser.model.config.pad_token_id,
            token_texts(recogniser.tokenizer),
        )
        for logits, recogniser in ((old, base), (new, expanded))
    ]
    return _Pair(
        n_frames=len(old),
        same_text=texts[0] == texts[1],
        n_equal_logits=int((old == new_old).all(1).sum()),
        difference=float((old - new_old).abs().max()),
        n_frames_of_new_tokens=int((new.argmax(-1) >= n_old).sum()),
        lead=float((new_old.amax(1) - added.amax(1)).min()) if added.shape[1] else None,
    )


def _waveforms(clips: list[Utterance]) -> Iterator[np.ndarray]:
    for clip in clips:
        with contextlib.suppress(UnreadableAudio):  # the checks have named it
            yield read_waveform(clip.audio_filepath)
