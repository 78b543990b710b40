import dataclasses
import shutil

import pytest
import torch

from korean_asr.audio import read_waveform
from korean_asr.decoding import frame_logits
from korean_asr.errors import DataError
from korean_asr.model import expanded_base_model
from korean_asr.training.model_checks import (
    NEW_TOKENS_SHARE,
    printed_step_0,
    saved_model,
    start_new_tokens,
    step_0,
)
from recipes import RECIPES


@pytest.fixture
def expanded(tiny_base):
    return expanded_base_model(str(tiny_base), RECIPES["v3"])[0]


@pytest.fixture
def waveforms(utterances):
    return [read_waveform(clip.audio_filepath) for clip in utterances]


def test_new_tokens_change_neither_text_nor_logits_and_win_no_frame(tiny_base, expanded, waveforms):
    step = step_0(str(tiny_base), expanded, "resize", waveforms)
    assert step.holds
    assert step.n_clips == step.n_same_text == 12
    # Each of the twelve clips has half a second or more.
    assert step.n_frames == step.n_equal_logits > 12 * 24
    assert (step.largest_difference, step.n_frames_of_new_tokens) == (0.0, 0)
    assert step.smallest_lead > 0
    assert step.rows_kept
    assert printed_step_0(step) == (
        f"step 0: 12 of 12 clips give the base model's text, {step.n_frames:,} of "
        f"{step.n_frames:,} frames have identical logits; no new token wins a frame; the base "
        f"model's weights are all kept; new tokens are at least {step.smallest_lead:.1f} logits "
        "behind · 학습 전 확인"
    )
    assert step.record()["holds"] is True


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda head: head.bias[-1:].add_(100), "a new token wins"),
        # Too little to change the text.
        (lambda head: head.weight[3].add_(1e-3), "NOT all kept"),
        (lambda head: head.bias[:5].sub_(50), "of 12 clips give the base model's text"),
    ],
)
def test_a_damaged_head_stops_the_run_before_its_first_update(
    tiny_base, expanded, waveforms, damage, told
):
    with torch.no_grad():
        damage(expanded.model.lm_head)
    with pytest.raises(DataError, match=f"differs from its base at step 0: .*{told}"):
        step_0(str(tiny_base), expanded, "resize", waveforms)


def test_a_head_that_starts_anew_is_told_and_does_not_stop(tiny_base, waveforms):
    recogniser, _ = expanded_base_model(str(tiny_base), RECIPES["v1"])
    step = step_0(str(tiny_base), recogniser, "reinitialise", waveforms)
    assert not step.holds and step.n_equal_logits == 0
    assert "initialises the head anew" in printed_step_0(step)


def test_a_sample_without_a_readable_clip_is_refused(tiny_base, expanded):
    with pytest.raises(DataError, match="no validation clip of the sample can be read"):
        step_0(str(tiny_base), expanded, "resize", [])


def test_a_saved_folder_gives_the_text_of_the_model_in_memory(expanded, waveforms, tmp_path):
    expanded.save(tmp_path / "model")
    assert saved_model(expanded, tmp_path / "model", waveforms) == 12


def test_a_saved_folder_of_other_weights_is_refused(expanded, waveforms, tmp_path):
    expanded.save(tmp_path / "model")
    with torch.no_grad():
        expanded.model.lm_head.bias[:5].add_(50)
    with pytest.raises(DataError, match="writes another text for 12 of 12 clips"):
        saved_model(expanded, tmp_path / "model", waveforms)


def test_a_saved_folder_with_another_tokenizer_is_refused(tiny_base, expanded, waveforms, tmp_path):
    expanded.save(tmp_path / "model")
    vocabulary = (tmp_path / "model" / "vocab.json").read_text(encoding="utf-8")
    swapped = vocabulary.replace('"가"', '"?"').replace('"파"', '"가"').replace('"?"', '"파"')
    (tmp_path / "model" / "vocab.json").write_text(swapped, encoding="utf-8")
    with pytest.raises(DataError, match="loaded again"):
        saved_model(expanded, tmp_path / "model", waveforms)
    shutil.rmtree(tmp_path / "model")


@pytest.mark.parametrize("marks", [".,?!", "."])
def test_new_tokens_start_with_a_hundredth_of_the_winner_where_they_come_nearest(
    tiny_base, waveforms, marks
):
    recogniser, added = expanded_base_model(
        str(tiny_base), dataclasses.replace(RECIPES["v3"], added_tokens=marks)
    )
    before = recogniser.model.lm_head.bias.clone()
    ids = recogniser.tokenizer.convert_tokens_to_ids(added)
    raised = start_new_tokens(recogniser, added, waveforms)
    moved = recogniser.model.lm_head.bias - before
    assert moved[ids].tolist() == pytest.approx([raised] * len(added), abs=1e-5)
    moved[ids] = 0
    assert not moved.any()
    shares = []
    for waveform in waveforms:
        probabilities = frame_logits(recogniser, waveform).softmax(-1)
        shares.append((probabilities[:, ids].sum(-1) / probabilities.amax(-1)).max().item())
    # Biases are rounded to a tenth.
    assert max(shares) == pytest.approx(NEW_TOKENS_SHARE, rel=0.06)
    assert step_0(str(tiny_base), recogniser, "resize", waveforms).holds


def test_without_new_tokens_or_clips_the_head_stays_as_it_is(expanded, waveforms):
    before = expanded.model.lm_head.bias.clone()
    assert start_new_tokens(expanded, [], waveforms) is None
    assert start_new_tokens(expanded, [".", ","], []) is None
    assert torch.equal(expanded.model.lm_head.bias, before)
