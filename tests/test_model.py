import json
import shutil

import pytest
import torch
import transformers
from conftest import TOKENS, noise

from korean_asr.batches import model_inputs
from korean_asr.errors import DataError
from korean_asr.model import (
    SEVEN_FILES,
    Wav2Vec2ForCTC,
    expanded_base_model,
    load_recogniser,
    model_folder,
    public_name,
    save_recogniser,
)
from korean_asr.recipes import RECIPES


@pytest.fixture
def expanded(tiny_base):
    return expanded_base_model(str(tiny_base), RECIPES["v3"])[0]


@pytest.fixture
def inputs(expanded):
    return model_inputs([noise(16_000, 1), noise(9_000, 2)], expanded.feature_extractor)


def test_resizing_keeps_every_trained_row_and_bias_bit_equal(tiny_base, expanded):
    base = transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base)
    head = expanded.model.lm_head
    assert head.out_features == len(expanded.tokenizer) == len(TOKENS) + 2 + 4  # <s> and </s> lie outside the old head
    assert torch.equal(head.weight[: len(TOKENS)], base.lm_head.weight)
    assert torch.equal(head.bias[: len(TOKENS)], base.lm_head.bias)
    assert expanded.model.config.vocab_size == len(expanded.tokenizer)


def test_old_logits_are_bit_equal_after_the_expansion(tiny_base, expanded, inputs):
    base = transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base).eval()
    with torch.inference_mode():
        old, new = base(**inputs).logits, expanded.model.eval()(**inputs).logits
    assert torch.equal(new[..., : len(TOKENS)], old)


def test_no_new_token_wins_a_frame_before_training(expanded, inputs):
    with torch.inference_mode():
        winners = expanded.model.eval()(**inputs).logits.argmax(-1)
    assert winners.max() < len(TOKENS)
    assert len(winners.unique()) > 1  # the model does write something


def test_resizing_refuses_to_lose_a_row(expanded):
    with pytest.raises(ValueError, match="lose"):
        expanded.model.resize_token_embeddings(3)


def test_resizing_to_the_same_size_changes_nothing(expanded):
    before = expanded.model.lm_head.weight.clone()
    expanded.model.resize_token_embeddings(len(expanded.tokenizer))
    assert torch.equal(expanded.model.lm_head.weight, before)


def test_the_parent_class_cannot_resize_at_all(tiny_base):
    with pytest.raises(NotImplementedError):
        transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base).resize_token_embeddings(40)


def test_recipe_v3_freezes_the_convolutional_encoder_and_nothing_else(expanded):
    frozen = {name.split(".")[1] for name, values in expanded.model.named_parameters() if not values.requires_grad}
    assert frozen == {"feature_extractor"}


def test_recipe_values_reach_the_model(expanded):
    config = expanded.model.config
    assert (config.attention_dropout, config.hidden_dropout, config.feat_proj_dropout) == (0.05, 0.05, 0.0)
    assert (config.layerdrop, config.mask_time_prob) == (0.05, 0.04)
    assert (config.ctc_loss_reduction, config.ctc_zero_infinity) == ("mean", True)


def test_v1_starts_its_whole_head_anew_and_adds_no_token(tiny_base):
    recogniser, added = expanded_base_model(str(tiny_base), RECIPES["v1"])
    base = transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base)
    assert added == []
    assert recogniser.model.lm_head.out_features == len(TOKENS) + 2
    rows = (recogniser.model.lm_head.weight[: len(TOKENS)] == base.lm_head.weight).all(1)
    assert not rows.any()
    assert all(values.requires_grad for values in recogniser.model.parameters())


def test_a_reinitialised_head_is_the_same_on_every_run(tiny_base):
    one, other = (expanded_base_model(str(tiny_base), RECIPES["v1"])[0].model.lm_head.weight for _ in range(2))
    assert torch.equal(one, other)


def test_an_embedding_of_masked_frames_that_the_base_lacks_is_the_same_on_every_run(tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base, tmp_path / "unmasked")
    model = transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base, mask_time_prob=0.0)
    assert not hasattr(model.wav2vec2, "masked_spec_embed")
    model.save_pretrained(copy)
    one, other = (expanded_base_model(str(copy), RECIPES["v3"])[0].model.wav2vec2 for _ in range(2))
    assert torch.equal(one.masked_spec_embed, other.masked_spec_embed)
    assert 0 <= one.masked_spec_embed.min() < one.masked_spec_embed.max() <= 1  # drawn, not whatever memory held


def test_the_base_is_loaded_in_float32_whatever_it_was_saved_in(tiny_base, tmp_path):
    folder = shutil.copytree(tiny_base, tmp_path / "half")
    transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base).half().save_pretrained(folder)
    assert load_recogniser(str(folder)).model.dtype == torch.float32


def test_the_saved_folder_holds_the_seven_files_and_gives_the_same_logits(expanded, inputs, tmp_path):
    save_recogniser(expanded, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == set(SEVEN_FILES)
    loaded = load_recogniser(str(tmp_path / "model"))
    assert loaded.tokenizer.get_vocab() == expanded.tokenizer.get_vocab()
    with torch.inference_mode():
        assert torch.equal(loaded.model(**inputs).logits, expanded.model.eval()(**inputs).logits)


def test_the_saved_folder_loads_by_the_names_that_other_programs_use(expanded, tmp_path):
    save_recogniser(expanded, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Wav2Vec2ForCTC"]
    recognise = transformers.pipeline("automatic-speech-recognition", model=str(tmp_path))
    assert isinstance(recognise({"raw": noise(16_000, 1), "sampling_rate": 16_000})["text"], str)


def _without(folder, tmp_path, name):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).unlink()
    return copy


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "preprocessor_config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tiny_base, tmp_path, name):
    with pytest.raises(DataError, match=name):
        load_recogniser(str(_without(tiny_base, tmp_path, name)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "{"),
        ("config.json", '{"model_type": "bert"}'),
        ("vocab.json", "[1]"),
        ("preprocessor_config.json", "{"),
        ("preprocessor_config.json", '{"sampling_rate": 8000}'),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line_that_names_it(tiny_base, tmp_path, name, content):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    (copy / name).write_text(content)
    with pytest.raises(DataError, match="copy") as error:
        load_recogniser(str(copy))
    assert "\n" not in str(error.value)


def test_a_model_without_a_trained_head_is_refused(tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    transformers.Wav2Vec2Model.from_pretrained(tiny_base).save_pretrained(copy)
    with pytest.raises(DataError, match="head"):
        load_recogniser(str(copy))


def test_a_folder_that_does_not_exist_is_told_with_the_next_step(tmp_path):
    with pytest.raises(DataError, match="Run script 2 first"):
        model_folder(str(tmp_path / "nothing"))


def test_a_hub_that_cannot_be_reached_is_told_with_the_way_around(monkeypatch, tmp_path):
    monkeypatch.setattr("korean_asr.model.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="--base-model"):
        model_folder("nobody/no-such-model")


def test_reports_call_a_folder_by_its_last_part_and_a_hub_model_by_its_whole_name(tiny_base):
    assert public_name(str(tiny_base)) == "tiny_base"
    assert public_name("kresnik/wav2vec2-large-xlsr-korean") == "kresnik/wav2vec2-large-xlsr-korean"


def test_the_trainer_is_told_that_the_loss_is_not_divided_yet():
    assert Wav2Vec2ForCTC.accepts_loss_kwargs is False


def test_a_head_with_more_labels_than_tokens_is_refused(tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    vocab = {token: index for index, token in enumerate(["가", "|", "[UNK]", "[PAD]"])}
    (copy / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    with pytest.raises(DataError, match="only 6 tokens"):
        load_recogniser(str(copy))


@pytest.mark.parametrize("name", ["foo/bar.git", "a..b/c", "x--y/z"])
def test_what_cannot_be_a_hub_name_is_taken_for_a_folder(name):
    with pytest.raises(DataError, match="there is no model folder"):
        model_folder(name)


@pytest.mark.parametrize("whole", [True, False])
def test_a_base_model_in_the_cache_is_used_only_if_it_is_whole(tiny_base, tmp_path, monkeypatch, whole):
    snapshot = tmp_path / "models--somebody--base" / "snapshots" / "abc"
    shutil.copytree(tiny_base, snapshot)
    (tmp_path / "models--somebody--base" / "refs").mkdir()
    (tmp_path / "models--somebody--base" / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr("korean_asr.model.constants.ENDPOINT", "http://127.0.0.1:9")
    if whole:
        assert model_folder("somebody/base") == snapshot
    else:
        (snapshot / "model.safetensors").unlink()
        with pytest.raises(DataError, match="cannot be reached"):
            model_folder("somebody/base")
