import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from korean_asr.errors import DataError
from korean_asr.hardware import inputs_on
from korean_asr.inference import normalised_batch
from korean_asr.model import (
    SEVEN_FILES,
    base_identity,
    expanded_base_model,
    load_recogniser,
)
from korean_asr.model_folder import model_folder, public_name, vocabulary_folder
from recipes import RECIPES


@pytest.fixture
def expanded(tiny_base):
    return expanded_base_model(str(tiny_base), RECIPES["v3"])[0]


@pytest.fixture
def inputs(noise, expanded):
    waveforms = [noise(16_000, 1), noise(9_000, 2)]
    return inputs_on(expanded.model.device, normalised_batch(waveforms, expanded.feature_extractor))


def test_resizing_keeps_every_trained_row_and_bias_bit_equal(tokens, tiny_base, expanded):
    base = transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base)
    head = expanded.model.lm_head
    assert (
        head.out_features == len(expanded.tokenizer) == len(tokens) + 2 + 4
    )  # <s> and </s> lie outside the old head
    assert torch.equal(head.weight[: len(tokens)], base.lm_head.weight)
    assert torch.equal(head.bias[: len(tokens)], base.lm_head.bias)
    assert expanded.model.config.vocab_size == len(expanded.tokenizer)


def test_old_logits_are_bit_equal_after_the_expansion(tokens, tiny_base, expanded, inputs):
    base = transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base).eval()
    with torch.inference_mode():
        old, new = base(**inputs).logits, expanded.model.eval()(**inputs).logits
    assert torch.equal(new[..., : len(tokens)], old)


def test_no_new_token_wins_a_frame_before_training(tokens, expanded, inputs):
    with torch.inference_mode():
        winners = expanded.model.eval()(**inputs).logits.argmax(-1)
    assert winners.max() < len(tokens)
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
    frozen = {
        name.split(".")[1]
        for name, values in expanded.model.named_parameters()
        if not values.requires_grad
    }
    assert frozen == {"feature_extractor"}


def test_recipe_values_reach_the_model(expanded):
    config = expanded.model.config
    assert (config.attention_dropout, config.hidden_dropout, config.feat_proj_dropout) == (
        0.05,
        0.05,
        0.0,
    )
    assert (config.layerdrop, config.mask_time_prob) == (0.05, 0.04)
    assert (config.ctc_loss_reduction, config.ctc_zero_infinity) == ("mean", True)


def test_v1_starts_its_whole_head_anew_and_adds_no_token(tokens, tiny_base):
    recogniser, added = expanded_base_model(str(tiny_base), RECIPES["v1"])
    base = transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base)
    assert added == []
    assert recogniser.model.lm_head.out_features == len(tokens) + 2
    rows = (recogniser.model.lm_head.weight[: len(tokens)] == base.lm_head.weight).all(1)
    assert not rows.any()
    assert all(values.requires_grad for values in recogniser.model.parameters())


@pytest.mark.parametrize(
    ("recipe", "at_least", "added"),
    [
        ("v3", None, [".", ",", "?", "!"]),
        ("v3", 4, [".", ",", "?", "!"]),
        ("v3", 3, [".", ",", "?", "!", "쀍"]),
        ("v3", 2, [".", ",", "?", "!", "쀍", "%", "3"]),
        ("v3", 1, [".", ",", "?", "!", "쀍", "%", "3", "뷁"]),
        ("v1", 2, ["쀍", "%", ".", "3"]),  # equals by code point
    ],
)
def test_characters_seen_often_enough_in_training_become_tokens_most_frequent_first(
    tokens, tiny_base, recipe, at_least, added
):
    texts = [
        "쀍 쀍 3%.",
        "가나다 3 % 쀍.",
        "뷁 가 나",
    ]  # 쀍 three times; %, 3 and the full stop twice; 뷁 once
    recipe = dataclasses.replace(RECIPES[recipe], extra_tokens=at_least)
    recogniser, found = expanded_base_model(str(tiny_base), recipe, texts)
    assert found == added
    size = len(tokens) + 2
    assert recogniser.tokenizer.convert_tokens_to_ids(found) == list(range(size, size + len(found)))
    assert (
        recogniser.model.lm_head.out_features
        == recogniser.model.config.vocab_size
        == size + len(found)
    )


def test_extra_tokens_get_rows_like_the_others_and_are_saved(tokens, tiny_base, tmp_path):
    recipe = dataclasses.replace(RECIPES["v3"], extra_tokens=1)
    recogniser, _ = expanded_base_model(str(tiny_base), recipe, ["쀍 30%"])
    base = transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base)
    head = recogniser.model.lm_head
    assert torch.equal(head.weight[: len(tokens)], base.lm_head.weight)
    assert torch.allclose(head.weight[len(tokens) :], base.lm_head.weight.mean(0), atol=1e-6)
    recogniser.save(tmp_path)
    assert {"쀍", "3", "0", "%"} < json.loads(
        (tmp_path / "added_tokens.json").read_text(encoding="utf-8")
    ).keys()
    assert load_recogniser(str(tmp_path)).tokenizer.get_vocab() == recogniser.tokenizer.get_vocab()


def test_a_reinitialised_head_is_the_same_on_every_run(tiny_base):
    one, other = (
        expanded_base_model(str(tiny_base), RECIPES["v1"])[0].model.lm_head.weight for _ in range(2)
    )
    assert torch.equal(one, other)


def test_an_embedding_of_masked_frames_that_the_base_lacks_is_the_same_on_every_run(
    tiny_base, tmp_path
):
    copy = shutil.copytree(tiny_base, tmp_path / "unmasked")
    model = transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base, mask_time_prob=0.0)
    assert not hasattr(model.wav2vec2, "masked_spec_embed")
    model.save_pretrained(copy)
    one, other = (expanded_base_model(str(copy), RECIPES["v3"])[0].model.wav2vec2 for _ in range(2))
    assert torch.equal(one.masked_spec_embed, other.masked_spec_embed)
    assert (
        0 <= one.masked_spec_embed.min() < one.masked_spec_embed.max() <= 1
    )  # drawn, not whatever memory held


def test_the_base_is_loaded_in_float32_whatever_it_was_saved_in(tiny_base, tmp_path):
    folder = shutil.copytree(tiny_base, tmp_path / "half")
    transformers.Wav2Vec2ForCTC.from_pretrained(tiny_base).half().save_pretrained(folder)
    assert load_recogniser(str(folder)).model.dtype == torch.float32


def test_the_saved_folder_holds_the_seven_files_and_gives_the_same_logits(
    expanded, inputs, tmp_path
):
    expanded.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == set(SEVEN_FILES)
    # Whoever may read one of them may read the weights, too.
    assert len({path.stat().st_mode for path in (tmp_path / "model").iterdir()}) == 1
    loaded = load_recogniser(str(tmp_path / "model"))
    assert loaded.tokenizer.get_vocab() == expanded.tokenizer.get_vocab()
    with torch.inference_mode():
        assert torch.equal(loaded.model(**inputs).logits, expanded.model.eval()(**inputs).logits)


def test_the_saved_folder_loads_by_the_names_that_other_programs_use(noise, expanded, tmp_path):
    expanded.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Wav2Vec2ForCTC"]
    recognise = transformers.pipeline("automatic-speech-recognition", model=str(tmp_path))
    assert isinstance(recognise({"raw": noise(16_000, 1), "sampling_rate": 16_000})["text"], str)


def _without(folder, tmp_path, name):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).unlink()
    return copy


@pytest.mark.parametrize(
    "name", ["config.json", "vocab.json", "preprocessor_config.json", "model.safetensors"]
)
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
        ("preprocessor_config.json", '{"sampling_rate": "16000"}'),
        ("preprocessor_config.json", '{"sampling_rate": null}'),
        ("preprocessor_config.json", '{"do_normalize": "false"}'),
        ("config.json", '{"conv_stride": [0, 0, 0, 0, 0, 0, 0]}'),
        ("config.json", '{"layer_norm_eps": "small"}'),
        ("vocab.json", '{"가": "0"}'),
        ("vocab.json", '{"가": -1}'),
        ("added_tokens.json", "[1]"),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line_that_names_it(tiny_base, tmp_path, name, content):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    (copy / name).write_text(content)
    with pytest.raises(DataError, match="copy") as error:
        load_recogniser(str(copy))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "vocab.json",
        "added_tokens.json",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ],
)
def test_json_that_is_nested_too_deep_is_named_by_its_file(tiny_base, tmp_path, name):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    (copy / name).write_text('{"a":' * 100_000)
    for load in (load_recogniser, base_identity):
        with pytest.raises(DataError, match=f"copy .* {name} cannot be read .*nested too deep"):
            load(str(copy))


def with_weights(folder, copy, change):
    """A copy of a model folder, after change(its weights by name)."""
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    change(weights)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


NORM = "wav2vec2.encoder.layer_norm.bias"


def without_a_layer(weights):
    for name in [name for name in weights if "encoder.layers.1." in name]:
        del weights[name]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_a_layer, r"encoder.layers.1.attention.* and \d+ more are missing in the files"),
        (lambda weights: weights.pop(NORM), f"{NORM} is missing in the files"),
        (
            lambda weights: weights.update({"wav2vec2.encoder.layers.2.x": torch.zeros(1)}),
            "wav2vec2.encoder.layers.2.x is not of this model",
        ),
        (
            lambda weights: weights.update({NORM: torch.zeros(7)}),
            f"{NORM} is of another size than config.json says",
        ),
        (lambda weights: weights[NORM].fill_(torch.nan), f"hold NaN or infinite .* in {NORM}"),
        (lambda weights: weights["lm_head.bias"][3:4].fill_(-torch.inf), "in lm_head.bias"),
    ],
)
def test_weights_that_would_be_random_or_are_no_numbers_are_named(
    tiny_base, tmp_path, change, told
):
    copy = with_weights(tiny_base, tmp_path / "copy", change)
    for load in (load_recogniser, lambda source: expanded_base_model(source, RECIPES["v3"])):
        with pytest.raises(DataError, match=f"copy: its weights .*{told}") as error:
            load(str(copy))
        assert "\n" not in str(error.value)


def test_a_head_that_starts_anew_excuses_the_head_alone(tiny_base, tmp_path):
    def shrink_the_head(weights):
        weights["lm_head.bias"] = weights["lm_head.bias"][:7].clone()

    copy = with_weights(tiny_base, tmp_path / "head", shrink_the_head)
    with pytest.raises(DataError, match="lm_head.bias is of another size"):
        expanded_base_model(str(copy), RECIPES["v3"])
    expanded_base_model(str(copy), RECIPES["v1"])
    copy = with_weights(tiny_base, tmp_path / "layer", without_a_layer)
    with pytest.raises(DataError, match="are missing in the files"):
        expanded_base_model(str(copy), RECIPES["v1"])


def old_names_of_the_norm(weights):
    for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
        name = f"wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.{new}"
        weights[name.replace(f"parametrizations.weight.{new}", old)] = weights.pop(name)


def an_embedding_that_is_not_used(weights):
    weights["wav2vec2.masked_spec_embed"] = torch.zeros(32)


@pytest.mark.parametrize("change", [old_names_of_the_norm, an_embedding_that_is_not_used])
def test_weights_as_older_versions_name_them_are_loaded(tiny_base, tmp_path, change):
    copy = with_weights(tiny_base, tmp_path / "copy", change)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"mask_time_prob": 0.0}))
    state, same = (load_recogniser(str(one)).model.state_dict() for one in (tiny_base, copy))
    for name in same:
        assert torch.equal(same[name], state[name]), name


def in_shards(folder, copy, end):
    """A copy of a model folder whose weights lie in two files and an index."""
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    stem = "model" if end == "safetensors" else "pytorch_model"
    places = {}
    for number in (1, 2):
        name = f"{stem}-{number:05}-of-00002.{end}"
        part = {key: weights[key] for key in sorted(weights)[number - 1 :: 2]}
        places |= dict.fromkeys(part, name)
        if end == "safetensors":
            save_file(part, copy / name, metadata={"format": "pt"})
        else:
            torch.save(part, copy / name)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (copy / f"{stem}.{end}.index.json").write_text(json.dumps(index))
    return copy


@pytest.mark.parametrize("end", ["safetensors", "bin"])
def test_weights_in_several_files_are_loaded_and_identified(tiny_base, tmp_path, end):
    copy = in_shards(tiny_base, tmp_path / "copy", end)
    state, same = (load_recogniser(str(one)).model.state_dict() for one in (tiny_base, copy))
    assert all(torch.equal(same[name], state[name]) for name in state)
    identity = base_identity(str(copy))
    assert identity["sha256"] == load_recogniser(str(copy)).weights_sha256
    assert identity["sha256"] != base_identity(str(tiny_base))["sha256"]
    shard = next(copy.glob("*-00002-of-*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert base_identity(str(copy)) != identity
    shard.unlink()
    with pytest.raises(DataError, match=f"lacks {shard.name}"):
        load_recogniser(str(copy))


@pytest.mark.parametrize(
    "index", ["[" * 100_000, "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}']
)
def test_a_damaged_index_of_shards_is_named(tiny_base, tmp_path, index):
    copy = in_shards(tiny_base, tmp_path / "copy", "safetensors")
    (copy / "model.safetensors.index.json").write_text(index)
    with pytest.raises(DataError, match="model.safetensors.index.json cannot be read"):
        load_recogniser(str(copy))


def test_a_processor_that_transformers_5_saved_is_read(tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "copy")
    transformers.Wav2Vec2Processor.from_pretrained(tiny_base).save_pretrained(tmp_path / "copy")
    (tmp_path / "copy" / "preprocessor_config.json").unlink()
    assert (tmp_path / "copy" / "processor_config.json").is_file()
    loaded, before = (load_recogniser(str(one)) for one in (tmp_path / "copy", tiny_base))
    assert loaded.tokenizer.get_vocab() == before.tokenizer.get_vocab()
    assert loaded.feature_extractor.to_dict() == before.feature_extractor.to_dict()


@pytest.mark.parametrize(
    ("ids", "by_script_3", "by_script_2"),
    [
        ({"가": 1_000, "나": 1_001}, "2 of the head's", "2 of the head's"),
        ({"가": 1}, "1 of the head's .* such as row 0", "1 of the head's"),
        # A token that the head never had: no harm, until the head is made as large.
        ({"뷁": 1_000}, None, "1 of the head's"),
        ({"\ud800": 0}, None, "half a character"),
    ],
)
def test_a_vocabulary_with_gaps_is_refused(
    tokens, tiny_base, tmp_path, ids, by_script_3, by_script_2
):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if "\ud800" in ids:
        del vocabulary[tokens[0]]
    (copy / "vocab.json").write_text(json.dumps(vocabulary | ids))
    if by_script_3 is None:
        load_recogniser(str(copy))
    else:
        with pytest.raises(DataError, match=by_script_3):
            load_recogniser(str(copy))
    with pytest.raises(DataError, match=by_script_2):
        expanded_base_model(str(copy), RECIPES["v3"])


def test_a_model_without_a_trained_head_is_refused(tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    transformers.Wav2Vec2Model.from_pretrained(tiny_base).save_pretrained(copy)
    with pytest.raises(DataError, match="head"):
        load_recogniser(str(copy))


def test_a_folder_that_does_not_exist_is_told_with_the_next_step(tmp_path):
    with pytest.raises(DataError, match="Run script 2 first"):
        model_folder(str(tmp_path / "nothing"))


def test_a_hub_that_cannot_be_reached_is_told_with_the_way_around(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="--base-model"):
        model_folder("nobody/no-such-model")


def test_reports_call_a_folder_by_its_last_part_and_a_hub_model_by_its_whole_name(tiny_base):
    assert public_name(str(tiny_base)) == "tiny_base"
    assert public_name("kresnik/wav2vec2-large-xlsr-korean") == "kresnik/wav2vec2-large-xlsr-korean"


def test_a_base_model_is_identified_without_loading_it(tiny_base, expanded, monkeypatch):
    monkeypatch.setattr("korean_asr.model.Wav2Vec2ForCTC.from_pretrained", None)
    identity = base_identity(str(tiny_base))
    assert identity == {"name": expanded.name, "sha256": expanded.weights_sha256}


def test_parameters_are_counted_and_those_that_are_trained(expanded):
    encoder = expanded.model.wav2vec2.feature_extractor
    n_frozen = sum(values.numel() for values in encoder.parameters())
    n_all, n_trained = expanded.n_parameters()
    assert n_all - n_trained == n_frozen > 0


def test_texts_become_one_label_a_character(expanded):
    ids = expanded.tokenizer.get_vocab()
    unknown = ids["[UNK]"]
    assert expanded.labels(["가 나.", "뷁"]) == [
        [ids["가"], ids["|"], ids["나"], ids["."]],
        [unknown],
    ]


def test_a_head_with_more_labels_than_tokens_is_refused(tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    vocab = {token: index for index, token in enumerate(["가", "|", "[UNK]", "[PAD]"])}
    (copy / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    with pytest.raises(DataError, match="only 6 tokens"):
        load_recogniser(str(copy))


def test_a_blank_outside_the_head_is_refused_with_the_next_step(tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base, tmp_path / "copy")
    vocab = json.loads((copy / "vocab.json").read_text(encoding="utf-8")) | {"[PAD]": 99}
    (copy / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    with pytest.raises(DataError, match="lies outside the head .* Put the vocab.json of this"):
        load_recogniser(str(copy))


@pytest.mark.parametrize("name", ["foo/bar.git", "a..b/c", "x--y/z"])
def test_what_cannot_be_a_hub_name_is_taken_for_a_folder(name):
    with pytest.raises(DataError, match="there is no model folder"):
        model_folder(name)


@pytest.mark.parametrize("whole", [True, False])
def test_a_base_model_in_the_cache_is_used_only_if_it_is_whole(
    tiny_base, tmp_path, monkeypatch, whole
):
    snapshot = tmp_path / "models--somebody--base" / "snapshots" / "abc"
    shutil.copytree(tiny_base, snapshot)
    (tmp_path / "models--somebody--base" / "refs").mkdir()
    (tmp_path / "models--somebody--base" / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "huggingface_hub._snapshot_download.HF_HUB_CACHE", str(tmp_path), raising=False
    )
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    if whole:
        assert model_folder("somebody/base") == snapshot
    else:
        (snapshot / "model.safetensors").unlink()
        with pytest.raises(DataError, match="cannot be reached"):
            model_folder("somebody/base")


@pytest.fixture
def hub(tiny_base, tmp_path, monkeypatch):
    """A model hub that holds somebody/base, and an empty cache; `asked` lists the requests."""
    snapshot, asked = tmp_path / "snapshot", []

    def snapshot_download(name, allow_patterns=(), local_files_only=False):
        asked.append("the cache" if local_files_only else list(allow_patterns))
        for pattern in allow_patterns:
            for path in tiny_base.glob(pattern):
                snapshot.mkdir(exist_ok=True)
                shutil.copy(path, snapshot)
        if not snapshot.exists():
            raise FileNotFoundError
        return str(snapshot)

    siblings = [SimpleNamespace(rfilename=path.name) for path in tiny_base.iterdir()]
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr(
        "huggingface_hub.HfApi.model_info", lambda *_: SimpleNamespace(siblings=siblings)
    )
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *_, **__: SimpleNamespace(close=lambda: None)
    )
    return SimpleNamespace(snapshot=snapshot, asked=asked)


def test_a_vocabulary_fetches_the_small_files_alone_and_a_model_the_rest_later(hub):
    assert vocabulary_folder("somebody/base") == hub.snapshot
    assert [path.name for path in hub.snapshot.iterdir()] == ["vocab.json"]
    assert vocabulary_folder("somebody/base") == hub.snapshot
    assert hub.asked == ["the cache", ["vocab.json", "added_tokens.json"], "the cache"]
    assert model_folder("somebody/base") == hub.snapshot
    assert (hub.snapshot / "model.safetensors").is_file()
    assert hub.asked[3:] == ["the cache", ["*.json", "model.safetensors"]]


@pytest.mark.parametrize(
    ("folder", "told"), [(vocabulary_folder, "vocab.json"), (model_folder, "config.json")]
)
def test_a_hub_model_that_lacks_a_file_is_refused_by_its_name(hub, folder, told, monkeypatch):
    hub.snapshot.mkdir()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(hub.snapshot))
    with pytest.raises(DataError, match=f"lacks {told}"):
        folder("somebody/base")


@pytest.mark.parametrize("folder", [vocabulary_folder, model_folder])
def test_a_name_that_the_hub_does_not_know_is_told_in_one_line(hub, folder, monkeypatch):
    from huggingface_hub.errors import HfHubHTTPError

    def no_such_model(*_):
        raise HfHubHTTPError("404", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_such_model)
    with pytest.raises(
        DataError, match="the model hub has no public model 'somebody/bass'"
    ) as failure:
        folder("somebody/bass")
    assert "\n" not in str(failure.value) and "--base-model bass" in str(failure.value)
