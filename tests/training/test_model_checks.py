import dataclasses
import shutil

import pytest
import torch

from korean_asr.audio import read_waveform
from korean_asr.errors import DataError
from korean_asr.inference import frame_logits
from korean_asr.model import expanded_base_model
from korean_asr.training.model_checks import (
    NEW_TOKENS_SHARE,
    SAMPLE_CLIPS,
    printed_step_0,
    sample,
    saved_model,
    start_new_tokens,
    step_0,
)
from recipes import RECIPES


@pytest.fixture
def expanded(tiny_base):
    return expanded_base_model(str(tiny_base), RECIPES["v3"])[0]


def test_new_tokens_change_neither_text_nor_logits_and_win_no_frame(
    tiny_base, expanded, utterances
):
    proof = step_0(str(tiny_base), expanded, "resize", utterances)
    assert proof.holds
    assert proof.n_clips == proof.n_same_text == 12
    assert proof.n_frames == proof.n_equal_logits > 12 * 24  # of at least half a second
    assert (proof.largest_difference, proof.n_frames_of_new_tokens) == (0.0, 0)
    assert proof.smallest_lead > 0
    assert proof.rows_kept
    assert "12 of 12 clips give the base model's text" in printed_step_0(proof)
    assert proof.record()["holds"] is True


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda head: head.bias[-1:].add_(100), "a new token wins"),
        (lambda head: head.weight[3].add_(1e-3), "NOT all kept"),  # too little for the text
        (lambda head: head.bias[:5].sub_(50), "of 12 clips give the base model's text"),
    ],
)
def test_a_damaged_head_stops_the_run_before_its_first_update(
    tiny_base, expanded, utterances, damage, told
):
    with torch.no_grad():
        damage(expanded.model.lm_head)
    with pytest.raises(DataError, match=f"not its base at step 0: .*{told}"):
        step_0(str(tiny_base), expanded, "resize", utterances)


def test_a_head_that_starts_anew_is_told_and_does_not_stop(tiny_base, utterances):
    recogniser, _ = expanded_base_model(str(tiny_base), RECIPES["v1"])
    proof = step_0(str(tiny_base), recogniser, "reinitialise", utterances)
    assert not proof.holds and proof.n_equal_logits == 0
    assert "starts the head anew" in printed_step_0(proof)


def test_a_clip_that_cannot_be_read_is_no_reason_to_stop(tiny_base, expanded, utterances):
    gone = dataclasses.replace(utterances[0], audio_filepath="/nowhere.wav")
    assert step_0(str(tiny_base), expanded, "resize", [gone, utterances[1]]).n_clips == 1
    with pytest.raises(DataError, match="none of 1 validation clips can be read"):
        step_0(str(tiny_base), expanded, "resize", [gone])


def test_the_sample_is_spread_over_the_validation_split(utterances):
    assert sample(utterances) == utterances
    many = [dataclasses.replace(utterances[0], id=str(number)) for number in range(800)]
    assert [clip.id for clip in sample(many)] == [
        str(50 * number) for number in range(SAMPLE_CLIPS)
    ]


def test_a_saved_folder_gives_the_text_of_the_model_in_memory(expanded, utterances, tmp_path):
    expanded.save(tmp_path / "model")
    assert saved_model(expanded, tmp_path / "model", utterances) == 12


def test_a_saved_folder_of_other_weights_is_refused(expanded, utterances, tmp_path):
    expanded.save(tmp_path / "model")
    with torch.no_grad():
        expanded.model.lm_head.bias[:5].add_(50)
    with pytest.raises(DataError, match="writes another text for 12 of 12 clips"):
        saved_model(expanded, tmp_path / "model", utterances)


def test_a_saved_folder_with_another_tokenizer_is_refused(
    tiny_base, expanded, utterances, tmp_path
):
    expanded.save(tmp_path / "model")
    vocabulary = (tmp_path / "model" / "vocab.json").read_text(encoding="utf-8")
    swapped = vocabulary.replace('"가"', '"?"').replace('"파"', '"가"').replace('"?"', '"파"')
    (tmp_path / "model" / "vocab.json").write_text(swapped, encoding="utf-8")
    with pytest.raises(DataError, match="loaded again"):
        saved_model(expanded, tmp_path / "model", utterances)
    shutil.rmtree(tmp_path / "model")


@pytest.mark.parametrize("marks", [".,?!", "."])
def test_new_tokens_start_with_a_hundredth_of_the_winner_where_they_come_nearest(
    tiny_base, utterances, marks
):
    recogniser, added = expanded_base_model(
        str(tiny_base), dataclasses.replace(RECIPES["v3"], added_tokens=marks)
    )
    before = recogniser.model.lm_head.bias.clone()
    ids = recogniser.tokenizer.convert_tokens_to_ids(added)
    raised = start_new_tokens(recogniser, added, utterances)
    moved = recogniser.model.lm_head.bias - before
    assert moved[ids].tolist() == pytest.approx([raised] * len(added), abs=1e-5)
    moved[ids] = 0
    assert not moved.any()
    shares = []
    for clip in utterances:
        probabilities = frame_logits(recogniser, [read_waveform(clip.audio_filepath)])[0].softmax(
            -1
        )
        shares.append((probabilities[:, ids].sum(-1) / probabilities.amax(-1)).max().item())
    assert max(shares) == pytest.approx(NEW_TOKENS_SHARE, rel=0.06)  # biases are rounded to a tenth
    assert step_0(str(tiny_base), recogniser, "resize", utterances).holds


def test_without_new_tokens_or_readable_clips_the_head_stays_as_it_is(
    tiny_base, expanded, utterances
):
    before = expanded.model.lm_head.bias.clone()
    assert start_new_tokens(expanded, [], utterances) is None
    gone = dataclasses.replace(utterances[0], audio_filepath="/nowhere.wav")
    assert start_new_tokens(expanded, [".", ","], [gone]) is None
    assert torch.equal(expanded.model.lm_head.bias, before)
