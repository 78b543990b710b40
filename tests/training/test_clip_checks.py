import dataclasses
import os

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from korean_asr.audio import sound_checksum
from korean_asr.errors import DataError
from korean_asr.manifest import Utterance
from korean_asr.training.clip_checks import (
    DURATION_DIFFERS,
    FULL_SCALE,
    KINDS,
    SAMPLE_CLIPS,
    InputChecks,
    checked_inputs,
    checks_record,
    clipped_share,
    disk_needed,
    duration_histogram,
    label_faults,
    printed_checks,
    refuse_full_disk,
    sample_waveforms,
    usable_training_clips,
)

WRITABLE = frozenset("가나다라마바사아자차카타파하밥국물말 .,?!")


def noise(n_samples, seed):
    return np.random.default_rng(seed).normal(0, 0.05, n_samples).astype(np.float32)


def written(path, waveform, rate=16_000, text="가나 다라.", duration=None, **options):
    soundfile.write(path, waveform, rate, **options)
    return Utterance(
        path.stem, str(path), len(waveform) / rate if duration is None else duration, text
    )


def faults_of(clip, max_duration_s=20.0):
    checks = checked_inputs({"train": [clip]}, max_duration_s, WRITABLE)
    return [(finding.kind, finding.detail) for finding in checks.findings]


def test_a_good_clip_has_no_fault(utterances):
    checks = checked_inputs(
        {"train": utterances[:6], "validation": utterances[6:9], "test": utterances[9:]},
        20.0,
        WRITABLE,
    )
    assert checks.findings == ()
    assert checks.n_clips == {"train": 6, "validation": 3, "test": 3}
    assert checks.sample_rates == {16_000: 12}
    assert printed_checks(checks, 3)[-1].strip().startswith("no clip with a fault")
    assert usable_training_clips({"train": utterances[:6]}, checks) == utterances[:6]


def test_audio_that_cannot_be_used_is_named_by_its_reason(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "damaged.flac", noise(32_000, 1), 16_000)
    content = bytearray((tmp_path / "damaged.flac").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\xff" * 400
    (tmp_path / "damaged.flac").write_bytes(content)
    soundfile.write(tmp_path / "short.wav", noise(399, 1), 16_000)
    soundfile.write(tmp_path / "cut.wav", noise(32_000, 1), 16_000)
    # 0.05 s are missing, too little for the check of durations.
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:-1_600])
    # Nothing writes into the pipe: reading it would never end.
    os.mkfifo(tmp_path / "pipe.wav")
    names = {
        "gone.wav": "audio missing",
        "text.wav": "audio unreadable",
        "damaged.flac": "audio unreadable",
        "empty.wav": "audio empty",
        "short.wav": "audio too short",
        "cut.wav": "audio truncated",
        "pipe.wav": "audio unreadable",
        "a\0.wav": "audio unreadable",
        "\ud800.wav": "audio unreadable",
    }
    for name, reason in names.items():
        found = faults_of(Utterance("x", str(tmp_path / name), 2.0, "가"))
        assert found == [(reason, "")] and KINDS[reason].left_out, name


def test_of_a_long_file_only_the_clips_that_are_cut_out_of_it_are_checked(tmp_path):
    waveform = noise(40 * 16_000, 1)
    waveform[32_000:64_000] = 0.0
    long = written(tmp_path / "long.flac", waveform, text="가나 다라 마바", duration=2.0)
    clips = [
        dataclasses.replace(long, id=str(start), offset=float(start)) for start in (0, 2, 37, 39)
    ]
    checks = checked_inputs({"train": [*clips, long]}, 20.0, WRITABLE)
    assert {(finding.id, finding.kind) for finding in checks.findings} == {
        ("2", "silent"),
        ("39", "audio truncated"),
        ("long", "too long"),
        ("long", "speaking rate"),
        ("long", DURATION_DIFFERS),
    }
    assert checks.durations == (2.0, 2.0, 2.0, 40.0)
    samples, _ = soundfile.read(tmp_path / "long.flac")
    soundfile.write(tmp_path / "alone.flac", samples[: 2 * 16_000], 16_000)
    first, silent, last, truncated, whole = checks.sounds["train"]
    assert first == sound_checksum(tmp_path / "alone.flac")
    assert silent is None and truncated is None and len({first, last, whole}) == 3
    assert [len(one) for one in sample_waveforms(clips[:3])] == [32_000] * 3


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        (20.0, []),
        (20.1, [("too long", "20.1 s")]),
        (0.25, []),
        (0.2, [("too short to train on", "0.20 s")]),
    ],
)
def test_durations_at_their_bounds(tmp_path, seconds, found):
    text = "가나다라 " * 12 if seconds > 1 else "가"
    assert (
        faults_of(written(tmp_path / "a.wav", noise(int(seconds * 16_000), 1), text=text.strip()))
        == found
    )


def test_silence_is_told_by_its_peak(tmp_path):
    quiet = np.zeros(16_000, dtype=np.float32)
    quiet[5] = 0.0009
    assert faults_of(written(tmp_path / "a.wav", quiet, subtype="FLOAT")) == [
        ("silent", "peak 0.00045")
    ]
    quiet[5] = -0.0011
    assert faults_of(written(tmp_path / "b.wav", quiet, subtype="FLOAT")) == [
        ("silent", "peak 0.00055")
    ]
    quiet[6] = 0.0010
    # From -0.0011 to 0.0010 the peak is 0.00105.
    assert faults_of(written(tmp_path / "c.wav", quiet, subtype="FLOAT")) == []
    constant = np.full(16_000, 0.5, dtype=np.float32)
    assert faults_of(written(tmp_path / "d.wav", constant)) == [("silent", "peak 0.00000")]


def test_clipped_audio_is_told_and_kept(tmp_path):
    loud = np.clip(noise(16_000, 1) * 20, -1, 1)
    clip = written(tmp_path / "a.wav", loud)
    (kind, detail), = faults_of(clip)  # fmt: skip
    assert kind == "clipped" and detail.endswith("of its samples")
    checks = checked_inputs({"train": [clip]}, 20.0, WRITABLE)
    assert (checks.left_out, usable_training_clips({"train": [clip]}, checks)) == ({}, [clip])
    single_peaks = noise(16_000, 1)
    # 2 % of the samples are at full scale, none beside another.
    single_peaks[::50] = 1.0
    assert faults_of(written(tmp_path / "b.wav", single_peaks)) == []


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, -1.0, FULL_SCALE]), min_size=2, max_size=30))
def test_clipping_is_counted_as_an_obvious_loop_counts_it(samples):
    n = len(samples)
    full = [abs(np.float32(sample)) >= FULL_SCALE for sample in samples]
    slow = (
        sum(full[i] and ((i > 0 and full[i - 1]) or (i + 1 < n and full[i + 1])) for i in range(n))
        / n
    )
    assert clipped_share(np.array(samples, dtype=np.float32)) == pytest.approx(slow)


@pytest.mark.parametrize(
    ("text", "frames", "found"),
    [
        ("가", 1, []),
        ("가", 0, ["label longer than CTC allows"]),
        ("가나", 2, []),
        ("가가", 2, ["label longer than CTC allows"]),  # 가 blank 가
        ("가가", 3, []),
        ("가 가", 3, []),
        ("가가가 나", 6, ["label longer than CTC allows"]),  # five tokens, two repeats
        ("가가가 나", 7, []),
        ("가나다라마 AB", 9, []),  # two unknown ones are one token twice
        ("가나다라마 AB", 8, ["label longer than CTC allows"]),
        ("", 9, ["label empty"]),
        ("AB", 9, ["label mostly unknown"]),
        ("A가", 9, []),  # a half is not most
        ("A B 가", 9, ["label mostly unknown"]),  # spaces do not count
        ("ABC", 2, ["label mostly unknown", "label longer than CTC allows"]),
    ],
)
def test_labels_against_frames_and_vocabulary(text, frames, found):
    assert [kind for kind, _ in label_faults(text, frames, WRITABLE)] == found


@given(st.text(alphabet="가나 AB", max_size=12), st.integers(0, 30))
def test_ctc_can_align_a_label_exactly_when_no_fault_says_otherwise(text, frames):
    """Compare with the shortest path written out: tokens, and a blank between equal ones."""
    path = []
    for character in text:
        token = character if character in WRITABLE else "?"
        path += ["blank", token] if path and path[-1] == token else [token]
    told = "label longer than CTC allows" in [
        kind for kind, _ in label_faults(text, frames, WRITABLE)
    ]
    assert told == (bool(text) and frames < len(path))


def test_a_speaking_rate_that_nobody_reaches_is_told_and_kept(tmp_path):
    fast = written(tmp_path / "a.wav", noise(16_000, 1), text="가나다라마바사아자차카타파")
    assert faults_of(fast) == [("speaking rate", "13.0 syllables/s")]
    slow = written(tmp_path / "b.wav", noise(80_000, 1), text="가나.")
    assert faults_of(slow) == [("speaking rate", "0.4 syllables/s")]
    assert not KINDS["speaking rate"].left_out


def test_a_duration_that_is_not_the_manifests_is_told(tmp_path):
    found = faults_of(written(tmp_path / "a.wav", noise(16_000, 1), duration=1.2))
    assert found == [("duration not the manifest's", "1.00 s, manifest 1.20 s")]
    assert faults_of(written(tmp_path / "b.wav", noise(16_000, 1), duration=1.05)) == []


def test_batches_are_planned_by_the_measured_duration_where_the_manifests_is_wrong(tmp_path):
    right, wrong = (
        written(tmp_path / "a.wav", noise(16_000, 1)),
        written(tmp_path / "b.wav", noise(64_000, 2), duration=1.0),
    )
    checks = checked_inputs({"train": [right, wrong], "validation": [right, wrong]}, 20.0, WRITABLE)
    used = usable_training_clips({"train": [right, wrong]}, checks)
    assert [clip.duration for clip in used] == [right.duration, 4.0]
    assert [clip.id for clip in used] == [right.id, wrong.id]


def test_other_sample_rates_are_counted_and_no_fault(tmp_path):
    clips = [
        written(tmp_path / f"{rate}.wav", noise(rate, 1), rate)
        for rate in (8_000, 16_000, 16_000, 48_000)
    ]
    checks = checked_inputs({"train": clips}, 20.0, WRITABLE)
    assert (checks.sample_rates, checks.findings) == ({16_000: 2, 8_000: 1, 48_000: 1}, ())
    assert (
        "16,000 Hz 2, 8,000 Hz 1, 48,000 Hz 1 (read as 16,000 Hz)" in printed_checks(checks, 3)[0]
    )


def test_sounds_are_listed_by_split_in_the_order_of_its_clips(tmp_path, utterances):
    same = written(tmp_path / "copy.flac", soundfile.read(utterances[0].audio_filepath)[0])
    gone = dataclasses.replace(same, audio_filepath="/nowhere/a.wav")
    sounds = checked_inputs(
        {"train": utterances[:2], "validation": [], "test": [gone, same]}, 20.0, WRITABLE
    ).sounds
    assert sounds["test"] == [None, sounds["train"][0]]
    assert (len(sounds["train"]), len(set(sounds["train"])), sounds["validation"]) == (2, 2, [])


@pytest.fixture
def messy(utterances):
    """Splits with three bad clips each."""

    def bad(clip):
        return [
            dataclasses.replace(clip, id=f"gone_{clip.id}", audio_filepath="/nowhere/a.wav"),
            dataclasses.replace(clip, id=f"unknown_{clip.id}", text="AB"),
            dataclasses.replace(clip, id=f"long_{clip.id}", text="가" * 99 + "나" * 50),
        ]

    return {
        "train": [*utterances[:4], *bad(utterances[0])],
        "validation": bad(utterances[4]),
        "test": [utterances[8], *bad(utterances[5])],
    }


def test_training_leaves_bad_clips_out_and_the_other_splits_lose_none(messy, utterances):
    sizes = {split: len(part) for split, part in messy.items()}
    checks = checked_inputs(messy, 20.0, WRITABLE)
    assert usable_training_clips(messy, checks) == utterances[:4]
    assert checks.left_out == {
        "audio missing": 1,
        "label mostly unknown": 1,
        "label longer than CTC allows": 1,
    }
    assert {split: len(part) for split, part in messy.items()} == sizes == checks.n_clips
    assert {finding.split for finding in checks.findings} == {"train", "validation", "test"}


def test_every_finding_names_the_clip_and_every_kind_says_what_to_do(messy):
    lines = printed_checks(checked_inputs(messy, 20.0, WRITABLE), None)
    for part in messy.values():
        for clip in part[-3:]:
            assert any(line.strip().startswith(clip.id) for line in lines), clip.id
    line = "  audio missing: train 1, validation 1, test 1 "
    assert line + "(left out of training, kept in validation and test)" in lines
    assert f"    -> {KINDS['audio missing'].advice}" in lines
    few = printed_checks(checked_inputs(messy, 20.0, WRITABLE), 1)
    # The three kinds of `messy`, and the speaking rate of its long labels.
    assert few.count("    and 2 more: --check names all of them") == 4


def test_names_cannot_write_to_the_terminal(utterances):
    hostile = dataclasses.replace(
        utterances[0], id="a\x1b[2J\nb", audio_filepath="/nowhere/\x07.wav"
    )
    lines = printed_checks(checked_inputs({"train": [hostile]}, 20.0, WRITABLE), None)
    assert any("a?[2J?b  /nowhere/?.wav" in line for line in lines)


def test_a_clip_is_left_out_once_whatever_it_lacks(utterances, tmp_path):
    clip = written(tmp_path / "a.wav", np.zeros(1_600), text="")
    checks = checked_inputs({"train": [clip, utterances[0]]}, 20.0, WRITABLE)
    assert len(checks.findings) == 3
    assert checks.left_out == {"too short to train on": 1}


def test_no_usable_training_clip_is_an_error(utterances):
    gone = [dataclasses.replace(clip, audio_filepath="/nowhere") for clip in utterances]
    with pytest.raises(
        DataError, match="no training clip is usable: audio missing 12. Run script 2 with --check"
    ):
        usable_training_clips({"train": gone}, checked_inputs({"train": gone}, 20.0, WRITABLE))


def test_the_record_names_clips_and_no_folder(messy):
    record = checks_record(checked_inputs(messy, 20.0, WRITABLE))
    assert record["findings"]["audio missing"]["validation"] == ["gone_clip_04"]
    assert "/nowhere" not in str(record)


def test_durations_fall_into_their_bins():
    checks = InputChecks({}, (), {}, (31.0, 0.5, 1.0, 2.9, 2.0, 20.0), (), {})
    assert list(duration_histogram(checks).items()) == [
        ("0-2 s", 2),
        ("2-4 s", 2),
        ("over 20 s", 2),
    ]
    assert duration_histogram(InputChecks({}, (), {}, (), (), {})) == {}


def test_the_longest_bar_is_of_the_bin_with_most_clips_and_every_bin_has_one():
    checks = InputChecks({"train": 52}, (), {16_000: 52}, (1.0,) * 50 + (3.0, 30.0), (), {})
    assert printed_checks(checks, 3)[1:4] == [
        "      0-2 s       50  " + "#" * 40, "      2-4 s        1  #", "  over 20 s        1  #",
    ]  # fmt: skip


def test_the_sample_is_spread_over_a_split_and_holds_twenty_seconds_of_a_clip(tmp_path, utterances):
    assert [len(waveform) for waveform in sample_waveforms(utterances)] == [
        round(clip.duration * 16_000) for clip in utterances
    ]
    long = written(tmp_path / "long.wav", noise(21 * 16_000, 1))
    assert [len(waveform) for waveform in sample_waveforms([long])] == [20 * 16_000]
    gone = dataclasses.replace(utterances[0], audio_filepath="/nowhere.wav")
    assert len(sample_waveforms([gone, utterances[1]])) == 1
    many = [utterances[number % 12] for number in range(800)]
    assert [len(waveform) for waveform in sample_waveforms(many)] == [
        round(many[50 * number].duration * 16_000) for number in range(SAMPLE_CLIPS)
    ]


def test_v3_needs_the_disk_of_five_checkpoints_and_the_model():
    assert (
        disk_needed(317_000_000, 313_000_000, 3)
        == 5 * (4 * 317 + 8 * 313) * 10**6 + 4 * 317 * 10**6
    )
    # For an average the three best are kept too.
    assert (
        disk_needed(317_000_000, 313_000_000, 3, 3)
        == 7 * (4 * 317 + 8 * 313) * 10**6 + 4 * 317 * 10**6
    )


def test_too_full_a_disk_is_told_before_training(tmp_path):
    line = refuse_full_disk(tmp_path / "not" / "yet", 1_000, 0)
    assert "0.00 GB needed" in line
    with pytest.raises(
        DataError, match=r"checkpoints need 1000000.0 GB, and .* GB are free. Free some space"
    ):
        refuse_full_disk(tmp_path, 10**15, 0)
    # A resumed run replaces its own checkpoints.
    refuse_full_disk(tmp_path, 10**15, 10**15)


@pytest.mark.parametrize(
    ("seconds", "in_manifest", "kinds"),
    [
        (1.0, 20.5, {"too long", "duration not the manifest's"}),
        (1.0, 0.2, {"too short to train on", "duration not the manifest's"}),
        (0.24, 0.24, {"too short to train on"}),
    ],
)
def test_a_bound_holds_for_the_file_and_for_the_manifest_by_which_batches_are_planned(
    tmp_path, seconds, in_manifest, kinds
):
    clip = written(
        tmp_path / "a.wav", noise(int(seconds * 16_000), 1), text="가", duration=in_manifest
    )
    assert {kind for kind, _ in faults_of(clip)} == kinds


@pytest.mark.parametrize(
    ("seconds", "text", "told"),
    [
        (1, "가나다라마바사아자차카타", False),  # twelve in a second
        (2, "가나다라마바사아자차카타가나다라마바사아자차카타파", True),  # 25 in two
        (4, "가", False),  # a breath before one word
        (5, "가", True),
        (5, ".", False),  # no syllable, no rate
    ],
)
def test_the_speaking_rate_at_its_bounds(tmp_path, seconds, text, told):
    found = faults_of(written(tmp_path / "a.wav", noise(seconds * 16_000, 1), text=text))
    assert ("speaking rate" in [kind for kind, _ in found]) == told


@pytest.mark.parametrize(("n_full", "told"), [(80, False), (82, True)])
@pytest.mark.parametrize("value", [1.0, -1.0])
def test_half_a_percent_of_a_clip_may_be_clipped_at_either_end(tmp_path, n_full, told, value):
    # Of 16,000 samples, 80 are 0.5 %.
    waveform = noise(16_000, 1)
    waveform[100 : 100 + n_full] = value
    assert [kind for kind, _ in faults_of(written(tmp_path / "a.wav", waveform))] == [
        "clipped"
    ] * told


@pytest.mark.parametrize(
    ("limit", "n_named", "n_more"), [(0, 0, 3), (2, 2, 1), (3, 3, 0), (None, 3, 0)]
)
def test_as_many_clips_are_named_as_the_limit_says(utterances, limit, n_named, n_more):
    gone = [dataclasses.replace(clip, audio_filepath="/nowhere") for clip in utterances[:3]]
    lines = printed_checks(checked_inputs({"train": gone}, 20.0, WRITABLE), limit)
    assert sum(line.startswith("    clip_") for line in lines) == n_named
    assert [line for line in lines if line.startswith("    and ")] == [
        f"    and {n_more} more: --check names all of them"
    ] * bool(n_more)


def test_training_leaves_out_what_it_cannot_learn_from_and_keeps_the_rest():
    assert [name for name, kind in KINDS.items() if not kind.left_out] == [
        "clipped", "speaking rate", "duration not the manifest's",
    ]  # fmt: skip


def test_speaking_rates_are_told_by_their_quantiles():
    checks = InputChecks(
        {"train": 21}, (), {16_000: 21}, (1.0,) * 21, tuple(float(rate) for rate in range(21)), {}
    )
    assert checks_record(checks)["speaking_rates"] == {
        "0.0": 0.0,
        "0.05": 1.0,
        "0.5": 10.0,
        "0.95": 19.0,
        "1.0": 20.0,
    }
