"""A tiny Whisper of random weights: its texts, what is refused, and clips that are no use."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file, save_file

from korean_asr.audio import read_waveform
from korean_asr.errors import DataError
from korean_asr.manifest import Utterance
from korean_asr.whisper import decoded_by_whisper, load_whisper

LENGTHS = [8_000 + 1_777 * number for number in range(32)]


@pytest.fixture
def whisper(tiny_whisper):
    return load_whisper(str(tiny_whisper), "ko")


@pytest.fixture
def clip(tmp_path):
    def written(name, samples):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        return Utterance(name, str(path), len(samples) / 16_000, "가나 다")

    return written


@pytest.fixture
def clips(clip, noise):
    return [clip(str(number), noise(length, number)) for number, length in enumerate(LENGTHS)]


def texts(result):
    return [hypothesis.text for hypothesis in result.hypotheses]


def changed(folder, copy, name, **values):
    """A copy of a model folder with other values in a JSON file; None takes a value away."""
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    content = json.loads((copy / name).read_text(encoding="utf-8")) | values
    content = {key: value for key, value in content.items() if value is not None}
    (copy / name).write_text(json.dumps(content), encoding="utf-8")
    return str(copy)


def plain_text(folder, waveform, **options):
    """The library's own way, one clip at a time."""
    processor = transformers.WhisperProcessor.from_pretrained(folder)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    inputs = processor(waveform, sampling_rate=16_000, return_tensors="pt")
    ids = model.generate(inputs["input_features"], num_beams=1, do_sample=False, **options)
    (text,) = processor.batch_decode(ids, skip_special_tokens=True)
    return " ".join(text.split())


def test_the_texts_of_a_batch_are_those_of_one_clip_at_a_time(whisper, clips):
    together = texts(decoded_by_whisper(whisper, clips, max_clips=16))
    assert together == texts(decoded_by_whisper(whisper, clips, max_clips=1))
    assert together == texts(decoded_by_whisper(whisper, clips[::-1]))[::-1]
    assert len({*together}) > 20


def test_a_text_is_what_the_library_writes_in_korean(whisper, tiny_whisper, clips):
    options = {"language": "ko", "task": "transcribe"}
    expected = [
        plain_text(tiny_whisper, read_waveform(clip.audio), **options) for clip in clips[:6]
    ]
    assert texts(decoded_by_whisper(whisper, clips[:6])) == expected


def test_another_language_may_be_written(tiny_whisper, whisper, clips):
    english = texts(decoded_by_whisper(load_whisper(str(tiny_whisper), "en"), clips))
    assert english != texts(decoded_by_whisper(whisper, clips))
    waveform = read_waveform(clips[0].audio)
    assert english[0] == plain_text(tiny_whisper, waveform, language="en", task="transcribe")


def test_a_long_clip_is_heard_to_its_end_and_counts_its_windows(whisper, clip, noise, tiny_whisper):
    sound = noise(16_000 * 70, 3)
    long, short = clip("long", sound), clip("short", noise(16_000, 4))
    result = decoded_by_whisper(whisper, [short, long, short])
    assert result.clip_seconds == [1.0, 70.0, 1.0]
    assert (result.n_batches, result.padded_seconds) == (2, 150.0)
    assert texts(result) == texts(decoded_by_whisper(whisper, [short, long, short], max_clips=1))
    extractor = whisper.feature_extractor
    inputs = extractor(
        sound, sampling_rate=16_000, return_tensors="pt", truncation=False, padding="longest",
        return_attention_mask=True,
    )  # fmt: skip
    ids = whisper.model.generate(
        inputs["input_features"], attention_mask=inputs["attention_mask"], language="ko",
        return_timestamps=True,
    )  # fmt: skip
    (expected,) = whisper.tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert texts(result)[1] == " ".join(expected.split())
    head = decoded_by_whisper(whisper, [clip("head", sound[: 16_000 * 30])])
    assert texts(result)[1] != texts(head)[0] != ""


def test_the_samples_decide_which_clip_is_long_whatever_the_manifest_claims(whisper, clip, noise):
    clips = [clip(str(n), noise(16_000 * s, n)) for n, s in enumerate((2, 31, 1, 33))]
    expected = texts(decoded_by_whisper(whisper, clips))
    for claimed in (0.0, 0.5, 500.0):
        wrong = [dataclasses.replace(one, duration=claimed) for one in clips]
        assert texts(decoded_by_whisper(whisper, wrong)) == expected


def test_a_short_clip_is_heard_once_though_the_model_writes_timestamps(whisper, clips):
    first = whisper.tokenizer.convert_tokens_to_ids("<|0.00|>")
    with torch.no_grad():
        whisper.model.proj_out.weight[first : first + 20].normal_(0, 0.4)
    heard, written = [], []
    whisper.model.get_encoder().register_forward_hook(lambda *_: heard.append(1))
    whisper.model.proj_out.register_forward_hook(
        lambda *call: written.append((call[2].argmax(-1) >= first).any().item())
    )
    result = decoded_by_whisper(whisper, clips[:8], max_clips=4)
    assert any(written) and len(heard) == result.n_batches == 2
    assert texts(result) == texts(decoded_by_whisper(whisper, clips[:8], max_clips=1))
    assert not any("<|" in text for text in texts(result))


def test_a_clip_of_exactly_the_window_is_no_long_one(whisper, clip, noise):
    sound = noise(16_000 * 30 + 1, 5)
    assert set(whisper.features(sound[:-1])) == {"input_features"}
    assert set(whisper.features(sound)) == {"input_features", "attention_mask"}


def test_bad_clips_say_why_and_disturb_no_neighbour(whisper, clip, noise):
    good = [clip(f"good{number}", noise(20_000, number)) for number in range(3)]
    silent = clip("silent", np.zeros(16_000, np.float32))
    short = clip("short", noise(399, 0))
    gone = Utterance("gone", "/nowhere/gone.wav", 0.0, "가")
    result = decoded_by_whisper(whisper, [good[0], gone, silent, good[1], short, good[2]])
    assert [hypothesis.problem for hypothesis in result.hypotheses] == [
        None, "audio missing", None, None, "audio too short", None,
    ]  # fmt: skip
    assert [hypothesis.is_silent for hypothesis in result.hypotheses] == [
        False, False, True, False, False, False,
    ]  # fmt: skip
    assert [texts(result)[index] for index in (0, 3, 5)] == texts(decoded_by_whisper(whisper, good))
    assert {hypothesis.letters for hypothesis in result.hypotheses} == {None}
    assert {hypothesis.confidence for hypothesis in result.hypotheses} == {None}
    assert result.losses == [None] * 6


def test_no_clip_at_all_gives_no_hypothesis(whisper):
    assert decoded_by_whisper(whisper, []).hypotheses == []


@pytest.fixture
def memory_for(whisper):
    """memory_for(n_clips): more of them exceed memory; the list of what was asked for."""

    def limit(n_clips):
        asked = []

        def hear(_, arguments, inputs):
            asked.append(len(arguments[0] if arguments else inputs["input_features"]))
            if asked[-1] > n_clips:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        whisper.model.get_encoder().register_forward_pre_hook(hear, with_kwargs=True)
        return asked

    return limit


def test_a_batch_that_does_not_fit_is_halved_and_the_next_ones_are_smaller(
    whisper, clips, memory_for
):
    expected = texts(decoded_by_whisper(whisper, clips[:16]))
    asked = memory_for(2)
    result = decoded_by_whisper(whisper, clips[:16], max_clips=8)
    assert texts(result) == expected
    assert asked == [8, 4, *[2] * 8]
    assert (result.n_batches, result.padded_seconds) == (8, 480.0)


def test_a_clip_that_does_not_fit_alone_says_so(whisper, clips, memory_for):
    memory_for(0)
    result = decoded_by_whisper(whisper, clips[:2])
    assert [hypothesis.problem for hypothesis in result.hypotheses] == ["out of memory"] * 2
    assert texts(result) == ["", ""]


def test_another_fault_of_the_model_is_not_taken_for_short_memory(whisper, clips):
    def fail(*_):
        raise RuntimeError("shapes do not match")

    whisper.model.get_encoder().register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="shapes"):
        decoded_by_whisper(whisper, clips[:2])


def test_a_clip_of_nan_is_told_apart_from_its_neighbours(whisper, clips):
    expected = texts(decoded_by_whisper(whisper, clips[:3]))

    def spoil(_, __, output):
        # The longest clip comes first.
        output.last_hidden_state[0] = torch.nan

    whisper.model.get_encoder().register_forward_hook(spoil)
    result = decoded_by_whisper(whisper, clips[:3], max_clips=3)
    problems = [hypothesis.problem for hypothesis in result.hypotheses]
    assert problems == [None, None, "logits are NaN or infinite"]
    assert texts(result) == [*expected[:2], ""]


def test_what_a_folder_says_of_beams_sampling_and_length_is_not_followed(
    whisper, tiny_whisper, clip, clips, noise, tmp_path
):
    folder = changed(
        tiny_whisper, tmp_path / "copy", "generation_config.json",
        num_beams=3, do_sample=True, temperature=5.0, max_length=4, max_new_tokens=2,
        task="translate", language="en", return_timestamps=True, forced_decoder_ids=[[1, 300]],
        logprob_threshold=0.0, no_speech_threshold=0.0, compression_ratio_threshold=0.0,
        condition_on_prev_tokens=True, num_return_sequences=2, return_dict_in_generate=True,
        no_repeat_ngram_size=2, repetition_penalty=3.0, bad_words_ids=[[300]], min_new_tokens=20,
        max_time=1e-6, assistant_early_exit=1, custom_generate="code", stop_strings=["가"],
    )  # fmt: skip
    clips = [*clips[:8], clip("long", noise(16_000 * 70, 3))]
    expected = texts(decoded_by_whisper(whisper, clips))
    assert texts(decoded_by_whisper(load_whisper(folder, "ko"), clips)) == expected


def test_no_noise_is_added_to_what_is_heard(whisper, tiny_whisper, clips, tmp_path):
    for dither in (0.5, "x"):
        folder = changed(
            tiny_whisper, tmp_path / str(dither), "preprocessor_config.json", dither=dither
        )
        heard = texts(decoded_by_whisper(load_whisper(folder, "ko"), clips[:4]))
        assert heard == texts(decoded_by_whisper(whisper, clips[:4]))


def test_an_english_only_model_is_given_no_language(tiny_whisper, clips, tmp_path, whisper):
    folder = changed(
        tiny_whisper, tmp_path / "copy", "generation_config.json",
        is_multilingual=False, lang_to_id=None, task_to_id=None,
    )  # fmt: skip
    result = decoded_by_whisper(load_whisper(folder, None), clips[:4])
    assert [hypothesis.problem for hypothesis in result.hypotheses] == [None] * 4
    assert texts(result)[0] == plain_text(folder, read_waveform(clips[0].audio))
    assert texts(result) != texts(decoded_by_whisper(whisper, clips[:4]))


def test_a_tokenizer_in_two_files_writes_the_same(tiny_whisper, whisper, clips, tmp_path):
    copy = shutil.copytree(tiny_whisper, tmp_path / "copy")
    saved = json.loads((copy / "tokenizer.json").read_text(encoding="utf-8"))
    model, added = saved["model"], saved["added_tokens"]
    ids = {row["content"]: row["id"] for row in added}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (copy / "vocab.json").write_text(json.dumps(model["vocab"]))
    (copy / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    (copy / "added_tokens.json").write_text(json.dumps(ids))
    special = [row["content"] for row in added if row["special"]]
    (copy / "special_tokens_map.json").write_text(
        json.dumps({"additional_special_tokens": special, "eos_token": special[0]})
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    expected = texts(decoded_by_whisper(whisper, clips[:4]))
    assert texts(decoded_by_whisper(load_whisper(str(copy), "ko"), clips[:4])) == expected
    (copy / "merges.txt").unlink()
    with pytest.raises(DataError, match="lacks merges.txt"):
        load_whisper(str(copy), "ko")


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("generation_config.json", {"lang_to_id": None}, "does not say lang_to_id"),
        ("generation_config.json", {"is_multilingual": None}, "does not say is_multilingual"),
        *(
            ("generation_config.json", {name: value}, f"`{name}` in generation_config.json does")
            for name, value in (
                ("no_timestamps_token_id", "x"), ("no_timestamps_token_id", 10_000_000),
                ("decoder_start_token_id", -1), ("pad_token_id", True), ("eos_token_id", ["x"]),
                ("lang_to_id", {"<|ko|>": "x"}), ("lang_to_id", {"<|ko|>": -5}),
                ("task_to_id", []), ("task_to_id", {"translate": 1}),
                ("suppress_tokens", "x"), ("begin_suppress_tokens", [1.5]),
                ("is_multilingual", "yes"), ("max_initial_timestamp_index", "x"),
            )
        ),
        ("preprocessor_config.json", {"feature_size": 128}, "makes 128 mel bands, .* wants 80"),
        ("preprocessor_config.json", {"chunk_length": 20}, "makes 2,000 frames, .* wants 3,000"),
        ("preprocessor_config.json", {"sampling_rate": 8_000}, "wants audio at 8,000 Hz"),
        ("preprocessor_config.json", {"hop_length": "x"}, "cannot be loaded as Whisper"),
        ("preprocessor_config.json", {"padding_value": "x"}, "preprocessor_config.json cannot be"),
        ("config.json", {"vocab_size": 1_950}, "of another size than config.json says"),
        ("config.json", {"encoder_layers": 2}, "are missing in the files"),
        ("config.json", {"decoder_layers": 1}, "are not of this model"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_told_in_one_line(tiny_whisper, tmp_path, name, values, told):
    folder = changed(tiny_whisper, tmp_path / "copy", name, **values)
    with pytest.raises(DataError, match=f"copy.*{told}") as error:
        load_whisper(folder, "ko")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["config.json", "generation_config.json", "preprocessor_config.json", "model.safetensors"],
)
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tiny_whisper, tmp_path, name):
    copy = shutil.copytree(tiny_whisper, tmp_path / "copy")
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"copy is not a .*model.* lacks .*{name}"):
        load_whisper(str(copy), "ko")


def test_more_tokens_than_the_model_has_are_refused(tiny_whisper, tmp_path):
    copy = shutil.copytree(tiny_whisper, tmp_path / "copy")
    tokenizer = transformers.WhisperTokenizer.from_pretrained(copy)
    tokenizer.add_tokens(["뷁"])
    tokenizer.save_pretrained(copy)
    with pytest.raises(DataError, match="the tokenizer has .* tokens and the model only"):
        load_whisper(str(copy), "ko")


def test_weights_that_are_no_numbers_are_named(tiny_whisper, tmp_path):
    copy = shutil.copytree(tiny_whisper, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    weights["model.encoder.layer_norm.bias"][2] = torch.nan
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="NaN or infinite .* in model.encoder.layer_norm.bias"):
        load_whisper(str(copy), "ko")


def test_bf16_is_said_where_it_is_used(whisper, clips):
    from korean_asr.hardware import has_bf16

    if not has_bf16(torch.device("cpu")):
        pytest.skip("this CPU has no bf16")
    made = set()
    whisper.model.proj_out.register_forward_hook(lambda *call: made.add(call[2].dtype))
    result = decoded_by_whisper(whisper, clips[:4], precision="bf16")
    assert (result.precision, made) == ("bf16", {torch.bfloat16})
    assert any(texts(result))


def test_a_space_before_a_mark_stays(tiny_whisper, tmp_path):
    cleaning = "clean_up_tokenization_spaces"
    settings = {cleaning: True, f"{cleaning}_for_bpe_even_though_it_will_corrupt_output": True}
    folder = changed(tiny_whisper, tmp_path / "copy", "tokenizer_config.json", **settings)
    recogniser = load_whisper(folder, "ko")
    ids = recogniser.tokenizer("밥 . 국 ?", add_special_tokens=False, return_tensors="pt")
    assert recogniser.texts(ids["input_ids"]) == ["밥 . 국 ?"]
