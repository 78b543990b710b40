import dataclasses
import json

import pytest
import soundfile
import torch
from conftest import noise

from korean_asr.batches import Collator, TrainingClips
from korean_asr.errors import DataError
from korean_asr.manifest import Utterance
from korean_asr.model import expanded_base_model
from korean_asr.recipes import RECIPES, batch_plan
from korean_asr.splits import Split
from korean_asr.training import (
    COMPLETE_FILE,
    CtcTrainer,
    claim,
    last_complete_checkpoint,
    run_identity,
    train,
    trainable,
    training_arguments,
    validation_rates,
)

# Everything that is drawn at random is off, so that two ways of making the same update can be compared.
STILL = dataclasses.replace(
    RECIPES["demo"],
    attention_dropout=0.0,
    hidden_dropout=0.0,
    layerdrop=0.0,
    mask_time_prob=0.0,
    warmup_ratio=0.0,
    epochs=1.0,
    eval_steps=1,
    save_steps=1,
    learning_rate=1e-3,
)


def run(tiny_base, utterances, folder, checkpoint=None, **values):
    recipe = dataclasses.replace(STILL, **values)
    recogniser, _ = expanded_base_model(str(tiny_base), recipe)
    for module in recogniser.model.modules():  # dropouts that no recipe names
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    arguments = training_arguments(recipe, batch_plan(recipe, 1), len(utterances), folder)
    return recogniser, train(recogniser, utterances, utterances[:2], arguments, checkpoint)


def first_update(tiny_base, utterances, folder, **values):
    _, result = run(tiny_base, utterances, folder, **values)
    return result.log[0]["loss"], result.log[0]["grad_norm"]


def test_loss_and_gradient_of_8x1_and_2x4_are_the_same(tiny_base, utterances, tmp_path):
    """Without accepts_loss_kwargs = False the second is four times the first."""
    whole = first_update(tiny_base, utterances[:8], tmp_path / "8x1", batch_per_gpu=8, accumulation=1)
    parts = first_update(tiny_base, utterances[:8], tmp_path / "2x4", batch_per_gpu=2, accumulation=4)
    assert parts == pytest.approx(whole, rel=1e-3)


def test_the_logged_loss_is_the_mean_ctc_loss_of_the_batch(tiny_base, utterances, tmp_path):
    loss, _ = first_update(tiny_base, utterances[:8], tmp_path, batch_per_gpu=8, accumulation=1)
    recogniser, _ = expanded_base_model(str(tiny_base), STILL)
    clips = TrainingClips(utterances[:8], recogniser.tokenizer)
    with torch.inference_mode():
        batch = Collator(recogniser.feature_extractor)([clips[i] for i in range(8)])
        assert loss == pytest.approx(recogniser.model.eval()(**batch).loss.item(), rel=1e-3)


def test_training_moves_the_new_rows_and_leaves_the_frozen_encoder(tiny_base, utterances, tmp_path):
    before = expanded_base_model(str(tiny_base), STILL)[0].model
    recogniser, _ = run(tiny_base, utterances, tmp_path)
    after = recogniser.model.state_dict()
    for name, value in before.state_dict().items():
        if "feature_extractor" in name:
            assert torch.equal(after[name], value), name
    assert (after["lm_head.weight"][-4:] != before.state_dict()["lm_head.weight"][-4:]).any(1).all()


def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(tiny_base, utterances, tmp_path):
    values = {"batch_per_gpu": 4, "epochs": 2.0}  # 12 clips: 6 updates
    whole, _ = run(tiny_base, utterances, tmp_path / "whole", **values)
    checkpoints = sorted((tmp_path / "whole").glob("checkpoint-*"))
    assert len(checkpoints) == RECIPES["demo"].checkpoints_kept
    resumed, result = run(tiny_base, utterances, tmp_path / "resumed", checkpoint=checkpoints[0], **values)
    assert result.resumed_from == int(checkpoints[0].name[-1]) < result.n_updates == 6
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_every_checkpoint_is_marked_complete_by_its_last_file(tiny_base, utterances, tmp_path):
    run(tiny_base, utterances, tmp_path)
    for checkpoint in tmp_path.glob("checkpoint-*"):
        assert (checkpoint / COMPLETE_FILE).is_file()


def test_a_half_written_checkpoint_is_passed_over_and_named(tmp_path):
    for number, complete in ((5, True), (10, True), (200, False)):
        (tmp_path / f"checkpoint-{number}").mkdir()
        if complete:
            (tmp_path / f"checkpoint-{number}" / COMPLETE_FILE).touch()
    (tmp_path / "checkpoint-old").mkdir()
    assert last_complete_checkpoint(tmp_path) == (tmp_path / "checkpoint-10", [tmp_path / "checkpoint-200"])


def test_no_checkpoint_means_a_fresh_start(tmp_path):
    assert last_complete_checkpoint(tmp_path / "nothing") == (None, [])


def test_evaluation_in_training_gives_the_rates_of_decoding(tiny_base, utterances, tmp_path):
    recogniser, result = run(tiny_base, utterances, tmp_path)
    assert result.validation == validation_rates(recogniser, utterances[:2])
    assert result.log[-2]["eval_cer"] == result.validation["cer"]


def test_training_leaves_out_long_short_and_unreadable_clips_and_counts_them(utterances, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "damaged.flac", noise(32_000, 1), 16_000)
    content = bytearray((tmp_path / "damaged.flac").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\xff" * 400
    (tmp_path / "damaged.flac").write_bytes(content)
    clips = [
        *utterances[:3],
        dataclasses.replace(utterances[0], duration=20.1),
        dataclasses.replace(utterances[0], duration=0.2),
        Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가"),
        Utterance("text", str(tmp_path / "text.wav"), 1.0, "가"),
        Utterance("damaged", str(tmp_path / "damaged.flac"), 2.0, "가"),
    ]
    kept, left_out = trainable(clips, RECIPES["v3"])
    assert kept == utterances[:3]
    assert left_out == {"over 20 s": 1, "under 0.25 s": 1, "audio missing": 1, "audio unreadable": 2}


def test_no_usable_training_clip_is_an_error(utterances):
    with pytest.raises(DataError, match="no training clip"):
        trainable([dataclasses.replace(utterances[0], duration=99.0)], RECIPES["v3"])


@pytest.fixture
def identity(tiny_base, utterances):
    recogniser, _ = expanded_base_model(str(tiny_base), STILL)
    return run_identity(STILL, Split(utterances[:8], utterances[8:10], utterances[10:], ()), recogniser, 1)


def test_a_folder_of_the_same_experiment_may_be_used_again(identity, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(identity))
    claim(tmp_path, "run.json", identity, "--checkpoints")
    claim(tmp_path / "new", "run.json", identity, "--checkpoints")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda identity: identity["recipe"].update(learning_rate=7.0), "recipe learning_rate was 0.001, is 7.0"),
        (lambda identity: identity["split"].update(test="0" * 64), "split test"),
        (lambda identity: identity["base_model"].update(sha256="0" * 64), "base_model sha256"),
        (lambda identity: identity.update(n_processes=2), "n_processes was 1, is 2"),
    ],
)
def test_a_folder_of_another_experiment_is_refused_by_what_differs(identity, tmp_path, change, named):
    (tmp_path / "run.json").write_text(json.dumps(identity))
    change(identity)
    with pytest.raises(DataError, match=named):
        claim(tmp_path, "run.json", identity, "--checkpoints")


def test_a_damaged_run_file_is_named(identity, tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        claim(tmp_path, "run.json", identity, "--checkpoints")


def test_warm_up_is_a_share_of_all_updates_or_a_number_of_them(tmp_path):
    v3 = training_arguments(RECIPES["v3"], batch_plan(RECIPES["v3"], 1), 6_400, tmp_path)
    assert v3.warmup_steps == 50  # 6,400 / 64 x 10 epochs = 1,000 updates, of which 5 %
    v1 = training_arguments(RECIPES["v1"], batch_plan(RECIPES["v1"], 1), 12_000, tmp_path)
    assert v1.warmup_steps == 300
    assert v3.per_device_train_batch_size * v3.gradient_accumulation_steps == 64


def test_the_trainer_does_not_think_that_the_model_scales_its_loss(tiny_base, utterances, tmp_path):
    recogniser, _ = expanded_base_model(str(tiny_base), STILL)
    arguments = training_arguments(STILL, batch_plan(STILL, 1), 12, tmp_path)
    assert CtcTrainer(recogniser, utterances, args=arguments).model_accepts_loss_kwargs is False
