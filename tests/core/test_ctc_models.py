"""HuBERT and other models with a CTC head, and MMS: texts of tiny ones, and what is refused."""

import json
import shutil
from itertools import groupby

import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file, save_file

from korean_asr.audio import read_waveform
from korean_asr.ctc_models import load_any_ctc, load_ctc
from korean_asr.decoding import decoded
from korean_asr.errors import DataError
from korean_asr.inference import logits_of, normalised_batch
from korean_asr.manifest import Utterance


def texts(result):
    return [hypothesis.text for hypothesis in result.hypotheses]


def plain_texts(model, folder, utterances, blank="[PAD]", **options):
    """The slow obvious way: one clip, no mask, argmax, the tokenizer's own tokens."""
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder, **options)
    tokens = {index: token for token, index in tokenizer.get_vocab().items()}
    made = []
    for clip in utterances:
        waveform = torch.from_numpy(read_waveform(clip.audio))
        waveform = (waveform - waveform.mean()) / torch.sqrt(waveform.var(correction=0) + 1e-7)
        with torch.inference_mode():
            ids = model.eval()(waveform[None]).logits[0].argmax(-1).tolist()
        text = "".join(tokens[i] for i, _ in groupby(ids) if tokens[i] != blank)
        made.append(" ".join(text.replace(tokenizer.unk_token, "⁇").replace("|", " ").split()))
    return made


@pytest.mark.parametrize(
    ("kind", "norm"),
    [
        ("hubert", "layer"),
        ("hubert", "group"),
        ("wav2vec2", "group"),
        ("wavlm", "layer"),
        ("unispeech", "layer"),
        ("unispeech-sat", "layer"),
        # Their convolutions over frames hear the padding.
        ("data2vec-audio", "layer"),
        ("wav2vec2-conformer", "layer"),
    ],
)
def test_a_batch_writes_what_a_plain_loop_writes(other_ctc, utterances, kind, norm):
    folder = other_ctc(kind, norm)
    recogniser = load_ctc(str(folder))
    result = decoded(recogniser, utterances, with_letters=True)
    model = transformers.AutoModelForCTC.from_pretrained(folder)
    assert texts(result) == plain_texts(model, folder, utterances)
    assert len({*texts(result)}) > 8
    for hypothesis in result.hypotheses:
        letters = "".join(letter[0] for letter in hypothesis.letters["hypothesis"])
        assert letters == hypothesis.text.replace(" ", "")


def test_clips_are_decoded_together_only_where_padding_is_not_heard(other_ctc, utterances):
    for kind, norm, together in (
        ("hubert", "layer", True),
        ("hubert", "group", False),
        ("data2vec-audio", "layer", False),
    ):
        n_batches = decoded(load_ctc(str(other_ctc(kind, norm))), utterances).n_batches
        assert (n_batches < len(utterances)) == together, kind


def test_a_clip_of_more_than_a_minute_is_decoded_in_windows(other_ctc, noise, tmp_path):
    sound = noise(16_000 * 61, 0)
    soundfile.write(tmp_path / "long.wav", sound, 16_000)
    clip = Utterance("long", str(tmp_path / "long.wav"), 61.0, "가나")
    result = decoded(load_ctc(str(other_ctc("hubert"))), [clip], with_letters=True)
    assert result.n_batches > 1 and result.hypotheses[0].letters["hypothesis"][-1][2] > 55


def test_narrow_groups_of_channels_are_computed_in_float32(other_ctc, noise):
    recogniser = load_ctc(str(other_ctc("hubert", num_conv_pos_embedding_groups=4)))
    kinds = []
    convolution = recogniser.model.hubert.encoder.pos_conv_embed.conv
    convolution.register_forward_hook(lambda *call: kinds.append(call[2].dtype))
    batch = normalised_batch([noise(8_000, 0)], recogniser.feature_extractor)
    logits_of(recogniser.model, batch, "bf16")
    assert kinds == [torch.float32]


def test_mms_writes_the_language_that_was_chosen(tiny_mms, utterances):
    written = {}
    for language in ("kor", "eng"):
        recogniser = load_ctc(str(tiny_mms), language)
        written[language] = texts(decoded(recogniser, utterances, with_letters=True))
        model = transformers.Wav2Vec2ForCTC.from_pretrained(
            tiny_mms, target_lang=language, ignore_mismatched_sizes=True
        )
        expected = plain_texts(model, tiny_mms, utterances, "<pad>", target_lang=language)
        assert written[language] == [
            " ".join(text.replace("<s>", "").replace("</s>", "").split()) for text in expected
        ]
    assert len({*written["kor"]}) > 8
    assert {*"".join(written["eng"])} - {*"abcdefg ⁇"} == set()


def test_each_language_of_a_model_has_its_own_checksum(tiny_mms):
    sums = {load_ctc(str(tiny_mms), language).weights_sha256 for language in ("kor", "eng")}
    assert len(sums) == 2


def test_an_adapter_in_a_pickle_of_weights_is_read(tiny_mms, utterances, tmp_path):
    copy = shutil.copytree(tiny_mms, tmp_path / "copy")
    weights = load_file(copy / "adapter.kor.safetensors")
    (copy / "adapter.kor.safetensors").unlink()
    with pytest.raises(DataError, match="lacks adapter.kor.safetensors"):
        load_ctc(str(copy), "kor")
    torch.save(weights, copy / "adapter.kor.bin")
    expected, made = (
        texts(decoded(load_ctc(str(folder), "kor"), utterances)) for folder in (tiny_mms, copy)
    )
    assert made == expected


def test_a_damaged_adapter_is_refused_though_a_pickle_lies_beside_it(tiny_mms, tmp_path):
    copy = shutil.copytree(tiny_mms, tmp_path / "copy")
    torch.save(load_file(copy / "adapter.kor.safetensors"), copy / "adapter.kor.bin")
    (copy / "adapter.kor.safetensors").write_bytes(b"no weights")
    with pytest.raises(
        DataError, match=r"copy cannot be loaded as wav2vec2-CTC \(.*\)\. Copy or download"
    ):
        load_ctc(str(copy), "kor")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: weights.pop("lm_head.bias"), "missing keys: lm_head.bias"),
        (lambda weights: weights.update(x=torch.zeros(1)), "unexpected keys: x"),
        (lambda weights: weights["lm_head.bias"].fill_(torch.nan), "NaN .* in lm_head.bias"),
        (
            lambda weights: weights.update(
                {"lm_head.weight": torch.zeros(9, 32), "lm_head.bias": torch.zeros(9)}
            ),
            None,
        ),
        (
            lambda weights: weights.update(
                {"lm_head.weight": torch.zeros(99, 32), "lm_head.bias": torch.zeros(99)}
            ),
            "the head has 99 rows and the tokenizer only",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_told_in_one_line(tiny_mms, tmp_path, change, told):
    copy = shutil.copytree(tiny_mms, tmp_path / "copy")
    weights = load_file(copy / "adapter.kor.safetensors")
    change(weights)
    save_file(weights, copy / "adapter.kor.safetensors", metadata={"format": "pt"})
    if told is None:
        load_ctc(str(copy), "kor")
        return
    with pytest.raises(DataError, match=f"copy.*{told}") as error:
        load_ctc(str(copy), "kor")
    assert "\n" not in str(error.value)


def with_config(folder, **values):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | values), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "values", [{"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, {"conv_kernel": [10, 3, 3, 3, 3, 3, 2]}]
)
def test_other_frames_than_ours_are_refused_with_the_way_around(other_ctc, values):
    folder = with_config(other_ctc("hubert"), **values)
    with pytest.raises(DataError, match="its frames are not those .* --rescore") as error:
        load_ctc(str(folder))
    assert "\n" not in str(error.value)


def test_layers_that_thin_out_the_frames_are_refused(other_ctc):
    for kind in ("wav2vec2-conformer", "wav2vec2"):
        folder = other_ctc(kind, add_adapter=True)
        with pytest.raises(DataError, match="its frames are not those"):
            load_any_ctc(str(folder))


def test_a_tokenizer_whose_tokens_are_no_characters_is_refused(other_ctc):
    folder = other_ctc("hubert")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer"}))
    with pytest.raises(DataError, match="is a Wav2Vec2PhonemeCTCTokenizer, not .* --rescore"):
        load_ctc(str(folder))


def test_code_in_a_folder_is_never_run(other_ctc, tmp_path):
    folder = other_ctc("hubert")
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\n")
    maps = {
        "config.json": {"AutoConfig": "evil.C", "AutoModelForCTC": "evil.M"},
        "tokenizer_config.json": {"AutoTokenizer": ["evil.T", None]},
        "preprocessor_config.json": {"AutoFeatureExtractor": "evil.F"},
    }
    for name, auto_map in maps.items():
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(content | {"auto_map": auto_map}))
    load_ctc(str(folder))
    assert not ran.exists()


def test_a_tokenizer_without_a_sign_for_the_space_is_refused(other_ctc):
    folder = other_ctc("hubert")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"word_delimiter_token": None}))
    with pytest.raises(DataError, match="it has no `word_delimiter_token`"):
        load_ctc(str(folder))


def without_the_head(weights):
    for name in ("lm_head.weight", "lm_head.bias"):
        del weights[name]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_the_head, "has no trained CTC head"),
        (lambda weights: weights.pop("hubert.encoder.layer_norm.bias"), "is missing in the files"),
        (lambda weights: weights.update(x=torch.zeros(1)), "x is not of this model"),
        (lambda weights: weights["lm_head.bias"].fill_(torch.inf), "infinite numbers, in lm_head"),
        (
            lambda weights: weights.update({"lm_head.bias": torch.zeros(3)}),
            "lm_head.bias is of another size",
        ),
    ],
)
def test_weights_of_another_kind_are_checked_as_ours_are(other_ctc, change, told):
    folder = other_ctc("hubert")
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=f"tiny_hubert.*{told}") as error:
        load_ctc(str(folder))
    assert "\n" not in str(error.value)


def test_weights_without_the_embedding_of_masked_frames_are_whole(other_ctc):
    folder = other_ctc("hubert")
    weights = load_file(folder / "model.safetensors")
    del weights["hubert.masked_spec_embed"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_ctc(str(folder)).model.hubert.masked_spec_embed.isfinite().all()


def test_the_head_must_have_a_token_for_each_row(other_ctc):
    folder = other_ctc("hubert")
    (folder / "vocab.json").write_text(json.dumps({"가": 0, "|": 1, "[UNK]": 2, "[PAD]": 3}))
    with pytest.raises(DataError, match="and the tokenizer only 6 tokens"):
        load_ctc(str(folder))


def test_the_blank_is_that_of_the_tokenizer(other_ctc, utterances):
    folder = with_config(other_ctc("hubert"), pad_token_id=0)
    assert load_ctc(str(folder)).model.config.pad_token_id == 20
