"""Check the model before its first update and after it is saved.

New tokens must not change what the base model writes, and the saved folder must be the model that
was trained. Both are compared on waveforms, (n_samples,) float32 at 16 kHz in -1 to 1.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from korean_asr.decoding import collapse_ctc, frame_logits
from korean_asr.errors import DataError
from korean_asr.model import Recogniser, Wav2Vec2ForCTC, load_recogniser

# Probability of all new tokens together, as a share of the winning token's, in the frame where the
# new tokens come closest to winning.
# Measured on the demo by tests/benchmarks/head_start.py. New tokens that start 14 logits behind
# (with the mean row and bias): hardly any punctuation mark is written after 100 updates. 6 behind
# (a share of 0.01 for four tokens): most are. 2 behind: the first updates only unlearn them.
NEW_TOKENS_SHARE = 0.01


def start_new_tokens(
    recogniser: Recogniser, added: list[str], waveforms: list[np.ndarray]
) -> float | None:
    """Raise the biases of the added tokens, so that recipe v3 learns them in its first epoch.

    They stay low enough to change no text: together they reach NEW_TOKENS_SHARE of the winner's
    probability in one frame of these clips, and less in all others.
    Returns the rise in logits; None without tokens or clips. It is rounded to a tenth, so that two
    machines agree.
    """
    if not (added and waveforms):
        return None
    recogniser.model.eval()
    ids = recogniser.tokenizer.convert_tokens_to_ids(added)
    leads = []
    for waveform in waveforms:
        # (n_frames, n_tokens)
        logits = frame_logits(recogniser, waveform)
        leads.append((logits.amax(1) - logits[:, ids].amax(1)).min().item())
    # n equal tokens have the share together if each is log(n / share) logits behind the winner.
    raised = round(min(leads) - math.log(len(added) / NEW_TOKENS_SHARE), 1)
    with torch.no_grad():
        recogniser.model.lm_head.bias[ids] += raised
    return raised


@dataclass(frozen=True, slots=True)
class Step0:
    """The expanded model compared with its base on the same clips, before the first update."""

    head: str  # the recipe's value
    n_clips: int
    n_frames: int  # 20 ms each
    n_same_text: int  # clips that give the base model's text
    rows_kept: bool  # the head's old rows and biases, and all other weights, are bit-equal
    n_equal_logits: int  # frames in which the logits of all old tokens are bit-equal
    largest_difference: float  # between the two logits of an old token
    n_frames_of_new_tokens: int  # frames that a new token wins
    smallest_lead: float | None  # best old logit minus best new one; None without new tokens

    @property
    def holds(self) -> bool:
        """Whether the model keeps its base's weights and text, and no new token wins a frame.

        Logits may differ: with a larger head a processor may add up in another order.
        """
        same_text = self.n_same_text == self.n_clips
        return self.rows_kept and same_text and not self.n_frames_of_new_tokens

    def record(self) -> dict[str, Any]:
        """Return all values for JSON."""
        return {**asdict(self), "holds": self.holds}


def step_0(source: str, recogniser: Recogniser, head: str, waveforms: list[np.ndarray]) -> Step0:
    """Compare the expanded model with the base model of `source`, on the CPU in float32.

    A GPU may choose another way of multiplying for a larger head. Raises DataError if the recipe
    keeps the base's head ("resize") and the comparison does not hold, and if a logit is NaN or
    infinite.
    """
    if not waveforms:
        raise DataError(
            "no validation clip of the sample can be read, so the model cannot be checked. "
            "Run script 1 again. · 검증 음성을 읽을 수 없습니다. 1번 스크립트를 다시 실행하세요."
        )
    base = load_recogniser(source)
    base.model.cpu()
    recogniser.model.eval()
    clips = [_compared(base, recogniser, waveform) for waveform in waveforms]
    step = Step0(
        head=head,
        n_clips=len(clips),
        n_frames=sum(clip.n_frames for clip in clips),
        n_same_text=sum(clip.same_text for clip in clips),
        rows_kept=_rows_kept(base.model, recogniser.model),
        n_equal_logits=sum(clip.n_equal_logits for clip in clips),
        largest_difference=max(clip.difference for clip in clips),
        n_frames_of_new_tokens=sum(clip.n_frames_of_new_tokens for clip in clips),
        smallest_lead=min((clip.lead for clip in clips if clip.lead is not None), default=None),
    )
    if head == "resize" and not step.holds:
        raise DataError(
            f"the expanded model differs from its base at step 0: {_step_0_counts(step)}. Nothing "
            f"was trained. The files of {source} may belong to different models: download it "
            "again. · 확장한 모델이 기본 모델과 다릅니다. 기본 모델을 다시 받으세요."
        )
    return step


def printed_step_0(step: Step0) -> str:
    """Format the comparison with the base model in one line."""
    end = "학습 전 확인"
    lead = ""
    if step.head == "reinitialise":
        end = "출력층을 새로 초기화합니다"
        lead = "; this recipe initialises the head anew"
    elif step.smallest_lead is not None:
        lead = f"; new tokens are at least {step.smallest_lead:.1f} logits behind"
    return f"step 0: {_step_0_counts(step)}{lead} · {end}"


def _step_0_counts(step: Step0) -> str:
    n_won = step.n_frames_of_new_tokens
    won = f"a new token wins {n_won:,} frames" if n_won else "no new token wins a frame"
    return (
        f"{step.n_same_text} of {step.n_clips} clips give the base model's text, "
        f"{step.n_equal_logits:,} of {step.n_frames:,} frames have identical logits; {won}; "
        f"the base model's weights are {'all' if step.rows_kept else 'NOT all'} kept"
    )


def saved_model(recogniser: Recogniser, folder: Path, waveforms: list[np.ndarray]) -> int:
    """Load a saved folder and compare its text with that of the model in memory.

    Returns the number of clips compared; raises DataError if one differs.
    """
    recogniser.model.eval()
    saved = load_recogniser(str(folder))
    n_differing = sum(
        _text(recogniser, frame_logits(recogniser, waveform))
        != _text(saved, frame_logits(saved, waveform))
        for waveform in waveforms
    )
    if n_differing:
        raise DataError(
            f"{folder}, loaded again, writes another text for {n_differing} of {len(waveforms)} "
            "clips. Run the same command again: it saves the model from its last checkpoint. "
            "· 저장한 모델의 인식 결과가 다릅니다. 같은 명령을 다시 실행하세요."
        )
    return len(waveforms)


def _text(recogniser: Recogniser, logits: torch.Tensor) -> str:
    """Decode by the model's own tokenizer, as other programs do; logits: (n_frames, n_tokens)."""
    ids = collapse_ctc(logits.argmax(-1).cpu(), recogniser.model.config.pad_token_id)
    # Repeats are merged already: a second time would make 밤밤 one 밤.
    return recogniser.tokenizer.decode(ids, group_tokens=False)


def _rows_kept(base: Wav2Vec2ForCTC, expanded: Wav2Vec2ForCTC) -> bool:
    """Whether the base's weights are bit-equal; of the head, only the rows that the base has."""
    after = expanded.state_dict()
    for name, before in base.state_dict().items():
        # A base that was trained without masking has no such weight: each load draws another one.
        if "masked_spec_embed" in name:
            continue
        now = after[name][: len(before)] if "lm_head" in name else after[name]
        if not torch.equal(now, before):
            return False
    return True


@dataclass(frozen=True, slots=True)
class _ComparedClip:
    """The comparison of one clip; Step0 adds them up."""

    n_frames: int
    same_text: bool
    n_equal_logits: int
    difference: float
    n_frames_of_new_tokens: int
    lead: float | None


def _compared(base: Recogniser, expanded: Recogniser, waveform: np.ndarray) -> _ComparedClip:
    old = frame_logits(base, waveform)
    new = frame_logits(expanded, waveform)
    if not (old.isfinite().all() and new.isfinite().all()):
        raise DataError(
            f"the model {base.name} computes NaN or infinity for a validation clip, so it cannot "
            "be trained. Copy or download it again. · 모델의 출력이 NaN입니다. 다시 받으세요."
        )
    # (n_frames, n_old), (n_frames, n_added)
    new_of_old, new_of_added = new.tensor_split([old.shape[1]], dim=1)
    return _ComparedClip(
        n_frames=len(old),
        same_text=_text(base, old) == _text(expanded, new),
        n_equal_logits=int((old == new_of_old).all(1).sum()),
        difference=float((old - new_of_old).abs().max()),
        n_frames_of_new_tokens=int((new.argmax(-1) >= old.shape[1]).sum()),
        lead=_smallest_lead(new_of_old, new_of_added),
    )


def _smallest_lead(of_old: torch.Tensor, of_added: torch.Tensor) -> float | None:
    if not of_added.shape[1]:
        return None
    return float((of_old.amax(1) - of_added.amax(1)).min())
