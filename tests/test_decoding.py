import pytest
import torch

from korean_asr.decoding import Hypothesis, collapse_ctc, decoded
from korean_asr.manifest import Utterance
from korean_asr.model import expanded_base_model, load_recogniser
from korean_asr.recipes import RECIPES

BLANK = 9


@pytest.mark.parametrize(
    ("frames", "labels"),
    [
        ([], []),
        ([9, 9, 9], []),
        ([1, 1, 1], [1]),
        ([1, 9, 1], [1, 1]),  # 밤 blank 밤 is 밤밤
        ([1, 1, 9, 9, 2, 2, 1], [1, 2, 1]),
        ([9, 3, 9, 9, 3, 3, 9], [3, 3]),
    ],
)
def test_repeats_merge_unless_a_blank_stands_between(frames, labels):
    assert collapse_ctc(torch.tensor(frames, dtype=torch.long), BLANK) == labels


def test_a_batch_of_frames_is_refused():
    with pytest.raises(ValueError, match="one dimension"):
        collapse_ctc(torch.zeros(2, 3, dtype=torch.long), BLANK)


@pytest.fixture
def recogniser(tiny_base):
    return load_recogniser(str(tiny_base))


def test_each_clip_gives_the_same_text_alone_and_in_a_batch(recogniser, utterances):
    together = [hypothesis.text for hypothesis in decoded(recogniser, utterances)]
    alone = [decoded(recogniser, [utterance])[0].text for utterance in utterances]
    assert together == alone
    assert len(set(together)) > 6  # clips of silence would agree too


def test_hypotheses_come_in_the_order_of_the_utterances(recogniser, utterances):
    forwards = decoded(recogniser, utterances)
    assert decoded(recogniser, utterances[::-1]) == forwards[::-1]


def test_text_equals_a_plain_loop_over_the_clips(recogniser, utterances):
    """The slow obvious way: one clip, no mask, argmax, group, look up."""
    from itertools import groupby

    from korean_asr.audio import read_waveform

    tokens = {index: token for token, index in recogniser.tokenizer.get_vocab().items()}
    for utterance, hypothesis in zip(utterances, decoded(recogniser, utterances), strict=True):
        waveform = torch.from_numpy(read_waveform(utterance.audio_filepath))
        waveform = (waveform - waveform.mean()) / torch.sqrt(waveform.var(correction=0) + 1e-7)
        with torch.inference_mode():
            ids = recogniser.model(waveform[None]).logits[0].argmax(-1).tolist()
        pieces = [tokens[i] for i, _ in groupby(ids) if tokens[i] != "[PAD]"]
        text = " ".join("".join(pieces).replace("[UNK]", "⁇").replace("|", " ").split())
        assert hypothesis == Hypothesis(text)


def test_a_clip_that_cannot_be_read_is_empty_and_says_why(recogniser, utterances, tmp_path):
    (tmp_path / "bad.wav").write_text("this is no audio")
    clips = [
        utterances[0],
        Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가"),
        Utterance("bad", str(tmp_path / "bad.wav"), 1.0, "나"),
        utterances[1],
    ]
    hypotheses = decoded(recogniser, clips)
    assert hypotheses[1] == Hypothesis("", "audio missing")
    assert hypotheses[2] == Hypothesis("", "audio unreadable")
    assert [hypotheses[0], hypotheses[3]] == decoded(recogniser, utterances[:2])


def test_no_clip_at_all_gives_no_hypothesis(recogniser):
    assert decoded(recogniser, []) == []


def test_decoding_leaves_a_model_in_training_as_it_was(recogniser, utterances):
    recogniser.model.train()
    decoded(recogniser, utterances[:2])
    assert recogniser.model.training


def test_the_expanded_model_writes_what_the_base_model_wrote(tiny_base, recogniser, utterances):
    expanded, _ = expanded_base_model(str(tiny_base), RECIPES["v3"])
    assert decoded(expanded, utterances) == decoded(recogniser, utterances)
