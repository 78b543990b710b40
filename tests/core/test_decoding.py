import dataclasses
from collections.abc import Iterable
from itertools import groupby

import numpy as np
import pytest
import soundfile
import torch

from korean_asr.audio import n_frames, read_waveform
from korean_asr.decoding import Hypothesis, collapse_ctc, confidence, decoded
from korean_asr.errors import UsageError
from korean_asr.hardware import has_bf16
from korean_asr.inference import (
    CONTEXT_FRAMES,
    FRAME_SAMPLES,
    WINDOW_FRAMES,
    Frames,
    Passes,
    Piece,
    pieces,
)
from korean_asr.manifest import REPOSITORY, Utterance
from korean_asr.metrics import corpus_counts, utterance_counts
from korean_asr.model import expanded_base_model, load_recogniser
from recipes import RECIPES

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


def texts(hypotheses: Iterable[Hypothesis]) -> list[str]:
    return [hypothesis.text for hypothesis in hypotheses]


def plain_text(recogniser, waveform: np.ndarray) -> str:
    """The slow obvious way: one clip, no mask, argmax, group, look up."""
    tokens = {index: token for token, index in recogniser.tokenizer.get_vocab().items()}
    waveform = torch.from_numpy(waveform)
    waveform = (waveform - waveform.mean()) / torch.sqrt(waveform.var(correction=0) + 1e-7)
    with torch.inference_mode():
        ids = recogniser.model(waveform[None]).logits[0].argmax(-1).tolist()
    written = [tokens[i] for i, _ in groupby(ids) if tokens[i] != "[PAD]"]
    return " ".join("".join(written).replace("[UNK]", "⁇").replace("|", " ").split())


def written(
    folder, name: str, samples: np.ndarray, duration: float | None = None, subtype: str = "FLOAT"
) -> Utterance:
    """A WAV file of these samples as an utterance, of the duration that a manifest may claim."""
    soundfile.write(folder / f"{name}.wav", samples, 16_000, subtype=subtype)
    return Utterance(
        name,
        str(folder / f"{name}.wav"),
        len(samples) / 16_000 if duration is None else duration,
        "가",
    )


def test_each_clip_gives_the_same_text_alone_and_in_a_batch(recogniser, utterances):
    together = texts(decoded(recogniser, utterances).hypotheses)
    alone = [decoded(recogniser, [utterance]).hypotheses[0].text for utterance in utterances]
    assert together == alone
    assert len(set(together)) > 6  # clips of silence would agree too


def test_a_clip_that_is_cut_out_of_a_long_file_gives_its_own_text(recogniser, utterances, tmp_path):
    waveforms = [read_waveform(clip.audio_filepath) for clip in utterances]
    soundfile.write(tmp_path / "long.wav", np.concatenate(waveforms), 16_000, subtype="FLOAT")
    ends = np.cumsum([len(waveform) for waveform in waveforms]) / 16_000
    cuts = [
        dataclasses.replace(
            clip, audio_filepath=str(tmp_path / "long.wav"), offset=end - clip.duration
        )
        for clip, end in zip(utterances, ends, strict=True)
    ]
    found = decoded(recogniser, cuts)
    assert texts(found.hypotheses) == texts(decoded(recogniser, utterances).hypotheses)
    assert found.clip_seconds == [clip.duration for clip in utterances]


def test_hypotheses_come_in_the_order_of_the_utterances(recogniser, utterances):
    forwards = texts(decoded(recogniser, utterances).hypotheses)
    assert texts(decoded(recogniser, utterances[::-1]).hypotheses) == forwards[::-1]


def test_text_equals_a_plain_loop_over_the_clips(recogniser, utterances):
    for utterance, hypothesis in zip(
        utterances, decoded(recogniser, utterances).hypotheses, strict=True
    ):
        assert hypothesis.text == plain_text(recogniser, read_waveform(utterance.audio_filepath))
        assert hypothesis.problem is None


def test_a_clip_that_cannot_be_read_is_empty_and_says_why(recogniser, utterances, tmp_path):
    (tmp_path / "bad.wav").write_text("this is no audio")
    clips = [
        utterances[0],
        Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가"),
        Utterance("bad", str(tmp_path / "bad.wav"), 1.0, "나"),
        utterances[1],
    ]
    hypotheses = decoded(recogniser, clips).hypotheses
    assert hypotheses[1] == Hypothesis("", "audio missing")
    assert hypotheses[2] == Hypothesis("", "audio unreadable")
    assert texts([hypotheses[0], hypotheses[3]]) == texts(
        decoded(recogniser, utterances[:2]).hypotheses
    )


def test_no_clip_at_all_gives_no_hypothesis(recogniser):
    nothing = decoded(recogniser, [])
    assert (nothing.hypotheses, nothing.n_batches, nothing.padding_waste) == ([], 0, 0.0)


def test_decoding_leaves_a_model_in_training_as_it_was(recogniser, utterances):
    recogniser.model.train()
    decoded(recogniser, utterances[:2])
    assert recogniser.model.training


def test_the_expanded_model_writes_what_the_base_model_wrote(tiny_base, recogniser, utterances):
    expanded, _ = expanded_base_model(str(tiny_base), RECIPES["v3"])
    assert texts(decoded(expanded, utterances).hypotheses) == texts(
        decoded(recogniser, utterances).hypotheses
    )


def test_seconds_batches_and_padding_are_counted(noise, recogniser, tmp_path):
    lengths = [32_000, 16_000, 8_000]
    clips = [written(tmp_path, str(n), noise(n, n)) for n in lengths]
    clips.append(Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가"))
    result = decoded(recogniser, clips, max_batch_seconds=4.0, max_batch_clips=2)
    # By the manifest: 2 s and the 1 s clip; the missing one and 0.5 s.
    assert (result.n_batches, result.audio_seconds, result.padded_seconds) == (2, 3.5, 2 + 2 + 0.5)
    assert result.clip_seconds == [2.0, 1.0, 0.5, 0.0]
    assert result.padding_waste == pytest.approx(1 / 4.5)
    assert result.seconds > 0 and result.rtfx == 3.5 / result.seconds
    assert result.precision == "float32"


def test_threads_change_neither_text_nor_order_nor_the_callers_number_of_threads(
    recogniser, utterances
):
    before = torch.get_num_threads()
    try:
        made = {}
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            made[n_threads] = decoded(recogniser, utterances, max_batch_clips=2)
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert texts(made[1].hypotheses) == texts(made[3].hypotheses)
    assert made[1].n_batches == made[3].n_batches == 6


def test_confidence_is_the_mean_over_labels_of_their_likeliest_frame():
    labels = torch.tensor([9, 1, 1, 9, 1, 2, 0])
    posteriors = torch.tensor([0.9, 0.5, 0.7, 0.9, 0.4, 0.25, 0.99])
    names = {0: "", 1: "가", 2: " ", 9: ""}  # 0 is <s>, which writes nothing
    assert confidence(Frames(labels, posteriors), 9, names) == pytest.approx((0.7 + 0.4 + 0.25) / 3)
    assert confidence(Frames(labels[:1], posteriors[:1]), 9, names) is None


def test_confidence_is_the_softmax_of_the_frames_that_wrote(recogniser, utterances):
    for utterance, hypothesis in zip(
        utterances, decoded(recogniser, utterances).hypotheses, strict=True
    ):
        waveform = read_waveform(utterance.audio_filepath)
        waveform = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
        with torch.inference_mode():
            best, labels = (
                recogniser.model(torch.from_numpy(waveform)[None]).logits[0].softmax(-1).max(-1)
            )
        runs = [
            (label, [p for _, p in run])
            for label, run in groupby(zip(labels, best, strict=True), lambda x: int(x[0]))
        ]
        highest = [
            max(run) for label, run in runs if label not in (recogniser.model.config.pad_token_id,)
        ]
        assert hypothesis.confidence == pytest.approx(float(sum(highest) / len(highest)), abs=1e-5)


def without_spaces(text: str) -> list[str]:
    return [character for character in text if character != " "]


def test_letters_are_those_of_both_texts_and_change_neither_text_nor_confidence(
    recogniser, utterances
):
    plain = decoded(recogniser, utterances).hypotheses
    made = decoded(recogniser, utterances, with_letters=True).hypotheses
    assert [dataclasses.replace(hypothesis, letters=None) for hypothesis in made] == plain
    n_written = 0
    for clip, hypothesis in zip(utterances, made, strict=True):
        for name, text in (("reference", clip.text), ("hypothesis", hypothesis.text)):
            letters = hypothesis.letters[name]
            assert [letter[0] for letter in letters] == without_spaces(text)
            # The tiny base cannot write . , ? !
            nulls = [letter[0] for letter in letters if letter[1:] == [None] * 3]
            assert nulls == [mark for mark in text if name == "reference" and mark in ".,?!"]
            times = [time for letter in letters for time in letter[1:3] if time is not None]
            assert times == sorted(times)
            assert all(0 <= time <= clip.duration for time in times)
            n_written += len(times)
    assert n_written > 100


def test_letters_equal_those_of_a_plain_loop_over_frames(recogniser, utterances):
    ids = recogniser.tokenizer.get_vocab()
    rivals = [i for token, i in ids.items() if token not in ("|", "[PAD]", "<s>", "</s>")]
    for clip, made in zip(
        utterances, decoded(recogniser, utterances, with_letters=True).hypotheses, strict=True
    ):
        waveform = torch.from_numpy(read_waveform(clip.audio_filepath))
        waveform = (waveform - waveform.mean()) / torch.sqrt(waveform.var(correction=0) + 1e-7)
        with torch.inference_mode():
            logs = recogniser.model(waveform[None]).logits[0].log_softmax(-1).numpy()
        frame = 0
        written = iter(made.letters["hypothesis"])
        for label, run in groupby(logs.argmax(-1).tolist()):
            length = len(list(run))
            if label not in (ids["[PAD]"], ids["|"]):
                _, start, end, posterior = next(written)
                assert (start, end) == (round(0.02 * frame, 2), round(0.02 * (frame + length), 2))
                highest = np.exp(logs[frame : frame + length, label].max())
                assert posterior == pytest.approx(highest, abs=0.00051)
            frame += length
        for character, start, end, score in made.letters["reference"]:
            if start is not None:
                first, last = round(start / 0.02), round(end / 0.02)
                own = logs[first:last, ids[character]].max()
                others = [i for i in rivals if i != ids[character]]
                other = logs[max(0, first - 2) : last + 2][:, others].max()
                assert score == pytest.approx(own - other, abs=0.0051)


def test_a_clip_that_was_not_decoded_has_two_empty_lists_and_a_silent_one_its_letters(
    noise, recogniser, tmp_path
):
    silent = written(tmp_path, "silent", np.zeros(20_000, np.float32))
    clips = [
        Utterance("gone", str(tmp_path / "gone.wav"), 1.0, "가"),
        dataclasses.replace(silent, text="가 나"),
        dataclasses.replace(written(tmp_path, "one frame", noise(400, 1)), text="가나"),
        written(tmp_path, "no text", noise(4_000, 1)),
    ]
    clips[3] = dataclasses.replace(clips[3], text="")
    gone, silent, short, empty = decoded(recogniser, clips, with_letters=True).hypotheses
    assert gone.letters == {"reference": [], "hypothesis": []}
    assert silent.is_silent
    assert [letter[0] for letter in silent.letters["reference"]] == ["가", "나"]
    assert None not in silent.letters["reference"][0]
    # Two letters do not fit into one frame.
    assert short.letters["reference"] == [["가", None, None, None], ["나", None, None, None]]
    assert empty.letters["reference"] == []
    assert decoded(recogniser, clips[1:2]).hypotheses[0].letters is None


def nearly_equal(letters: list[dict], others: list[dict]) -> bool:
    """Whether characters and times are equal, and values but for a last digit of some."""
    pairs = [
        pair
        for own, other in zip(letters, others, strict=True)
        for name in ("reference", "hypothesis")
        for pair in zip(own[name], other[name], strict=True)
    ]
    differences = [abs((a[3] or 0) - (b[3] or 0)) for a, b in pairs]
    return (
        [a[:3] for a, _ in pairs] == [b[:3] for _, b in pairs]
        and max(differences) < 0.011
        and sum(map(bool, differences)) < 0.01 * len(pairs)
    )


@pytest.fixture
def one_thread():
    """So that batches come one after the other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Short:
    """Give a model memory for so many samples of padded audio; return the (B, T) it was given."""

    def __init__(
        self, model, n_samples: float = float("inf"), error: RuntimeError | None = None
    ) -> None:
        self.n_samples, self.error, self.asked = n_samples, error, []
        model.register_forward_pre_hook(self.hear, with_kwargs=True)

    def hear(self, model, arguments, inputs) -> None:
        self.asked.append(tuple(inputs["input_values"].shape))
        if inputs["input_values"].numel() > self.n_samples:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_and_the_next_ones_are_smaller_at_once(
    noise, recogniser, tmp_path, one_thread, error
):
    clips = [written(tmp_path, str(n), noise(16_000, n)) for n in range(16)]
    expected = texts(decoded(recogniser, clips).hypotheses)
    short = Short(recogniser.model, 2 * 16_000, error)
    result = decoded(recogniser, clips, max_batch_seconds=8.0)
    assert texts(result.hypotheses) == expected
    assert [n_clips for n_clips, _ in short.asked] == [8, 4, *[2] * 8]
    assert (result.n_batches, result.padded_seconds) == (8, 16.0)  # what did not fit is no batch


def test_a_smaller_budget_that_another_thread_found_is_kept(noise, recogniser):
    passes = Passes(recogniser.model, "float32", 8.0, 64)

    def meanwhile(*_):
        passes.max_seconds = min(passes.max_seconds, 1.0)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    recogniser.model.register_forward_pre_hook(meanwhile, with_kwargs=True)
    clip = Piece(noise(16_000, 0), slice(0, 49))
    assert passes.frames([clip] * 8) == [None] * 8
    assert passes.max_seconds == 1.0


def test_a_clip_that_does_not_fit_alone_says_so_and_stays_in_the_list(noise, recogniser, tmp_path):
    clips = [written(tmp_path, str(n), noise(n, n)) for n in (8_000, 48_000, 8_001)]
    Short(recogniser.model, 20_000, torch.OutOfMemoryError("CUDA out of memory."))
    result = decoded(recogniser, clips)
    assert result.hypotheses[1] == Hypothesis("", "out of memory")
    alone = decoded(recogniser, [clips[0], clips[2]]).hypotheses
    assert texts([result.hypotheses[0], result.hypotheses[2]]) == texts(alone)


def test_another_fault_of_the_model_is_not_taken_for_short_memory(recogniser, utterances):
    Short(recogniser.model, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        decoded(recogniser, utterances)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_bad_clips_are_told_apart_and_disturb_no_neighbour(
    noise, recogniser, utterances, tmp_path, value
):
    bad = {
        "logits are NaN or infinite": written(tmp_path, "spoiled", noise(20_000, 1)),
        "audio too short": written(tmp_path, "short", noise(399, 2)),
        "audio empty": written(tmp_path, "empty", noise(0, 2)),
    }
    silent = written(tmp_path, "silent", np.zeros(20_001, np.float32))
    clips = [*utterances[:6], *bad.values(), silent, *utterances[6:]]
    expected = texts(decoded(recogniser, utterances).hypotheses)

    def spoil(model, arguments, inputs, output):
        """One logit of the one clip of 20,000 samples."""
        output.logits[inputs["attention_mask"].sum(-1) == 20_000, 5, 3] = value

    with recogniser.model.register_forward_hook(spoil, with_kwargs=True):
        hypotheses = decoded(recogniser, clips).hypotheses
    assert hypotheses[6:9] == [Hypothesis("", problem) for problem in bad]
    assert hypotheses[9].problem is None
    assert hypotheses[9].text == plain_text(recogniser, np.zeros(20_001, np.float32))
    assert texts(hypotheses[:6] + hypotheses[10:]) == expected


@pytest.mark.parametrize(
    "n_samples", [960_001, 1_600_000, 1_600_079, 1_600_080, 6_400_399, 6_400_400, 6_720_400]
)
def test_windows_of_a_long_clip_keep_exactly_its_frames(n_samples):
    waveform = np.arange(n_samples, dtype=np.float32)
    windows = pieces(waveform)
    assert len(windows) > 1
    assert sum(window.kept.stop - window.kept.start for window in windows) == n_frames(n_samples)
    frame = 0
    for window in windows:
        n_heard = n_frames(len(window.waveform))
        assert (
            0
            <= window.kept.start
            < window.kept.stop
            <= n_heard
            <= WINDOW_FRAMES + 2 * CONTEXT_FRAMES
        )
        # The first kept frame begins where it begins in the whole clip.
        assert window.waveform[window.kept.start * FRAME_SAMPLES] == frame * FRAME_SAMPLES
        frame += window.kept.stop - window.kept.start
        assert window.kept.start == min(
            CONTEXT_FRAMES, frame - (window.kept.stop - window.kept.start)
        )
        assert n_heard - window.kept.stop == min(CONTEXT_FRAMES, n_frames(n_samples) - frame)


def test_windows_of_a_model_that_hears_no_further_than_their_context_write_what_the_whole_writes(
    noise, recogniser, tmp_path, monkeypatch
):
    recogniser.model.wav2vec2.encoder.layers = (
        torch.nn.ModuleList()
    )  # no attention: convolutions alone, 16 frames wide
    clip = written(tmp_path, "long", noise(1_234_567, 3))
    clip = dataclasses.replace(clip, text="가나다 라마바사. " * 40)
    in_windows = decoded(recogniser, [clip], with_letters=True)
    monkeypatch.setattr("korean_asr.inference.MAX_WHOLE_S", 1_000)
    whole = decoded(recogniser, [clip], with_letters=True)
    assert whole.n_batches == 1 < in_windows.n_batches
    assert len(whole.hypotheses[0].text) > 100
    letters = [made.hypotheses[0].letters for made in (in_windows, whole)]
    assert letters[0]["reference"][-2][1] > 60
    assert nearly_equal(letters[:1], letters[1:])
    assert in_windows.hypotheses[0].text == whole.hypotheses[0].text
    assert in_windows.hypotheses[0].confidence == pytest.approx(whole.hypotheses[0].confidence)


def test_a_clip_of_a_minute_is_one_piece():
    waveform = np.zeros(960_000, np.float32)
    assert [(len(piece.waveform), piece.kept) for piece in pieces(waveform)] == [
        (960_000, slice(0, 2_999))
    ]


@pytest.mark.parametrize("claimed", [0.0, 0.1, 500.0])
def test_the_samples_decide_about_windows_and_batches_whatever_the_manifest_claims(
    noise, recogniser, tmp_path, claimed
):
    lengths = [16_000, 1_100_000, 8_000, 24_000]
    honest = [written(tmp_path, f"clip_{n}", noise(n, n)) for n in lengths]
    claims = [dataclasses.replace(clip, duration=claimed) for clip in honest]
    watched = Short(recogniser.model)
    result = decoded(recogniser, claims, max_batch_seconds=32.0)
    assert texts(result.hypotheses) == texts(decoded(recogniser, honest).hypotheses)
    assert max(rows * columns for rows, columns in watched.asked) <= 32 * 16_000
    assert result.audio_seconds == sum(lengths) / 16_000


def test_a_model_that_normalises_over_time_decodes_each_clip_alone(recogniser, utterances):
    """Return a model with feat_extract_norm "group": padding would change its mean and variance."""
    watched = Short(recogniser.model)
    recogniser.model.config.feat_extract_norm = (
        "group"  # its layers were made for "layer": only the batches are looked at
    )
    decoded(recogniser, utterances)
    assert [rows for rows, _ in watched.asked] == [1] * len(utterances)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a CPU does")
def test_a_precision_that_is_not_to_be_had_is_wrong_usage(recogniser, utterances):
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        decoded(recogniser, utterances, precision="fp16")


# Below: the bundled base model, which has learned to write, and the bundled speech.
DEMO = REPOSITORY / "data" / "demo"


@pytest.fixture(scope="module")
def demo():
    return load_recogniser(str(DEMO / "base_model"))


@pytest.fixture(scope="module")
def speech():
    """32 clips of the demo's speech, of 1 to 6 s."""
    paths = sorted((DEMO / "korean").rglob("*.flac"))
    paths = paths[:: len(paths) // 32][:32]
    return [Utterance(path.stem, str(path), soundfile.info(path).duration, "") for path in paths]


def test_the_text_of_speech_depends_neither_on_batches_nor_on_order(demo, speech):
    alone = texts(decoded(demo, speech, max_batch_clips=1).hypotheses)
    assert alone == [plain_text(demo, read_waveform(clip.audio_filepath)) for clip in speech]
    assert sum(map(len, alone)) > 300
    by_length = sorted(range(len(speech)), key=lambda index: speech[index].duration)
    orders = (range(len(speech)), by_length, by_length[::-1])
    all_settings = (
        {"max_batch_clips": 16, "max_batch_seconds": 1e9},
        {"max_batch_seconds": 7.0},
        {},
    )
    for order, settings in zip(orders, all_settings, strict=True):
        result = decoded(demo, [speech[index] for index in order], **settings)
        assert texts(result.hypotheses) == [alone[index] for index in order]


def test_letters_of_speech_depend_neither_on_batches_nor_on_order(demo, speech, tmp_path):
    heard = texts(decoded(demo, speech[:16]).hypotheses)
    clips = [
        dataclasses.replace(clip, text=f"3 {text}.")
        for clip, text in zip(speech[:16], [*heard[1:], heard[0]], strict=True)
    ]
    # All frames of silence are alike: where a letter lies must not be left to noise.
    silence = written(tmp_path, "silence", np.zeros(40_000, np.float32))
    clips.append(dataclasses.replace(silence, text="아무 말도 없다"))
    alone = decoded(demo, clips, max_batch_clips=1, with_letters=True).hypotheses
    order = sorted(range(len(clips)), key=lambda index: clips[index].duration)
    for settings in ({"max_batch_clips": 16, "max_batch_seconds": 1e9}, {}):
        together = decoded(demo, [clips[i] for i in order], with_letters=True, **settings)
        letters = [made.letters for made in together.hypotheses]
        assert nearly_equal(letters, [alone[i].letters for i in order])


@pytest.mark.slow
def test_a_long_clip_in_windows_writes_its_speech_as_well_as_whole(
    demo, speech, tmp_path, monkeypatch
):
    """75 s of clips with pauses of 0.3 s; the cuts fall into words.

    The model was trained on clips of a few seconds. Its text of 75 s at once differs from its text
    of the clips one by one in about every sixth character, so the reference is the clips' text.
    """
    pause, clips, parts = np.zeros(4_800, np.float32), [], []
    for clip in speech:
        if sum(map(len, parts)) < 75 * 16_000:
            clips.append(clip)
            parts += [read_waveform(clip.audio_filepath), pause]
    one_by_one = " ".join(texts(decoded(demo, clips).hypotheses))
    long_clip = written(tmp_path, "long", np.concatenate(parts))
    in_windows = decoded(demo, [long_clip])
    monkeypatch.setattr("korean_asr.inference.MAX_WHOLE_S", 1_000)
    whole = decoded(demo, [long_clip])
    assert whole.n_batches == 1 < in_windows.n_batches
    rates = [
        utterance_counts(one_by_one, made.hypotheses[0].text)["cer"].rate
        for made in (in_windows, whole)
    ]
    assert rates[0] < rates[1] + 0.02 < 0.2
    assert (
        utterance_counts(whole.hypotheses[0].text, in_windows.hypotheses[0].text)["cer"].rate < 0.1
    )


@pytest.mark.skipif(not has_bf16(torch.device("cpu")), reason="this CPU has no bf16")
def test_bf16_writes_nearly_the_same_text_of_speech_and_says_what_it_is(demo, speech):
    result = decoded(demo, speech, precision="bf16")
    reference = texts(decoded(demo, speech).hypotheses)
    pairs = zip(reference, texts(result.hypotheses), strict=True)
    assert corpus_counts([utterance_counts(*pair) for pair in pairs])["cer"].rate < 0.01
    assert result.precision == "bf16"
