import dataclasses
import shutil
import tarfile

import numpy as np
import pytest
import soundfile

from korean_asr.audio import sound_checksum
from korean_asr.errors import DataError
from korean_asr.evaluation.command_line import refuse_seen
from korean_asr.manifest import write_manifest
from korean_asr.overlap import (
    overlaps,
    printed_earlier,
    printed_overlap,
    seen_in_training,
    trained_on,
)


def with_sounds(clips):
    """The clips with the checksums that script 2 writes into a split."""
    return [
        dataclasses.replace(clip, audio_sha256=sound_checksum(clip.audio_filepath))
        for clip in clips
    ]


@pytest.fixture
def model(tmp_path, utterances):
    """A model folder whose split/ holds 8, 1 and 3 of the clips."""
    parts = {"train": utterances[:8], "validation": utterances[8:9], "test": utterances[9:]}
    for name, part in parts.items():
        write_manifest(tmp_path / "model" / "split" / f"{name}.jsonl", with_sounds(part))
    return str(tmp_path / "model")


def refusal(model, clips):
    with pytest.raises(DataError) as failure:
        refuse_seen(model, clips, seen_in_training(model, clips))
    return str(failure.value)


def test_clips_of_the_test_split_were_not_seen(model, utterances):
    seen = seen_in_training(model, utterances[9:])
    assert seen.counts == {"id": 0, "audio": 0, "sentence": 0, "speaker": None}
    assert (seen.warning(model), seen.n_validation) == (None, 0)
    refuse_seen(model, utterances[9:], seen)


def test_a_clip_of_the_training_split_is_refused_by_id(model, utterances):
    changed = dataclasses.replace(utterances[7], audio_filepath=utterances[9].audio_filepath)
    line = refusal(model, [*utterances[9:], changed])
    assert (
        "1 of 4 clips are in the training data of" in line
        and "(1 by id); the first: clip_07" in line
    )
    assert "--allow-overlap" in line


def test_a_clip_that_shares_the_name_alone_is_new_and_a_note_says_so(model, utterances):
    # Corpora number their clips alike.
    new = [
        dataclasses.replace(utterances[9], id="clip_03"),
        dataclasses.replace(utterances[10], id="clip_08"),  # of the validation split
        utterances[11],
    ]
    seen = seen_in_training(model, new)
    assert (seen.counts["id"], seen.overlap, seen.n_validation) == (0, set(), 0)
    assert len(seen.notes) == 1 and "so they are new: 2 (the first: clip_03)" in seen.notes[0]
    refuse_seen(model, new, seen)


@pytest.mark.parametrize(
    ("sound_of", "text_of", "has_checksums"),
    [(9, 3, True), (3, 9, True), (9, 9, False)],
    ids=["same sentence", "same sound", "unknown sound"],
)
def test_a_name_is_enough_where_sound_or_sentence_is_the_same_or_the_sound_unknown(
    model, utterances, tmp_path, sound_of, text_of, has_checksums
):
    trained = with_sounds(utterances[:8]) if has_checksums else utterances[:8]
    write_manifest(tmp_path / "model" / "split" / "train.jsonl", trained)
    clip = dataclasses.replace(
        utterances[3],
        audio_filepath=utterances[sound_of].audio_filepath,
        text=utterances[text_of].text,
    )
    assert seen_in_training(model, [clip]).indices["id"] == [0]
    assert "the first: clip_03" in refusal(model, [clip])


def test_a_clip_that_cannot_be_read_is_refused_by_its_name(model, utterances):
    gone = dataclasses.replace(utterances[3], audio_filepath="/nowhere/a.wav", text="다른 말")
    assert "(1 by id)" in refusal(model, [gone])


def test_a_namesake_must_differ_from_every_clip_of_its_name(model, utterances, tmp_path):
    new = dataclasses.replace(utterances[9], id="clip_03")
    write_manifest(tmp_path / "model" / "split" / "earlier.jsonl", with_sounds([new]))
    assert "(1 by id, 1 by audio)" in refusal(model, [new])


def test_splits_that_share_names_alone_do_not_share_clips(utterances):
    renamed = dataclasses.replace(utterances[9], id="clip_03")
    parts = {"train": with_sounds(utterances[:8]), "test": with_sounds([renamed])}
    assert overlaps(parts)["train/test"]["id"] == 0


def test_a_training_clip_inside_a_longer_file_is_refused_where_it_is_cut_out(
    model, utterances, tmp_path
):
    pieces = [soundfile.read(clip.audio_filepath, dtype="int16")[0] for clip in utterances[9:]]
    seen, _ = soundfile.read(utterances[3].audio_filepath, dtype="int16")
    soundfile.write(tmp_path / "long.wav", np.concatenate([pieces[0], seen, pieces[1]]), 16_000)
    starts = np.cumsum([0, len(pieces[0]), len(seen)]) / 16_000
    cuts = [
        dataclasses.replace(
            clip,
            id=f"cut {n}",
            text=f"{n}",
            audio_filepath=str(tmp_path / "long.wav"),
            offset=start,
        )
        for n, (clip, start) in enumerate(
            zip([utterances[9], utterances[3], utterances[10]], starts, strict=True)
        )
    ]
    assert "1 of 3 clips are in the training data of" in refusal(model, cuts)
    found = seen_in_training(model, cuts).indices
    assert (found["id"], found["audio"]) == ([], [1])


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".pcm"])
def test_a_copy_under_another_name_or_in_another_container_is_refused(
    model, utterances, tmp_path, suffix
):
    copy = tmp_path / f"another{suffix}"
    samples, rate = soundfile.read(utterances[3].audio_filepath, dtype="int16")
    if suffix == ".pcm":
        samples.tofile(copy)
    else:
        soundfile.write(copy, samples, rate)
    clip = dataclasses.replace(
        utterances[3], id="another", audio_filepath=str(copy), text="다른 말", duration=9.9
    )
    assert "(1 by audio); the first: another" in refusal(model, [clip])


def test_a_copy_in_an_archive_is_known_by_its_sound(model, utterances, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as packed:
        packed.add(utterances[3].audio_filepath, "a/kept.wav")
    write_manifest(tmp_path / "model" / "split" / "train.jsonl", with_sounds(utterances[:8]))
    inside = f"tar://a/kept.wav::{tmp_path}/x.tar"
    assert "1 by audio" in refusal(
        model, [dataclasses.replace(utterances[3], id="x", audio_filepath=inside)]
    )


def test_a_copy_is_known_by_the_checksum_where_training_audio_is_gone(model, utterances, tmp_path):
    kept = shutil.copy(utterances[3].audio_filepath, f"{tmp_path}/kept.wav")
    trained = [
        dataclasses.replace(clip, audio_filepath="/nowhere/a.wav")
        for clip in with_sounds(utterances[:8])
    ]
    write_manifest(tmp_path / "model" / "split" / "train.jsonl", trained)
    assert "1 by audio" in refusal(
        model, [dataclasses.replace(utterances[3], id="x", audio_filepath=kept)]
    )


def test_a_checksum_in_the_manifest_to_be_scored_is_ignored(model, utterances, tmp_path):
    forged = dataclasses.replace(
        utterances[9], audio_sha256=sound_checksum(utterances[3].audio_filepath)
    )
    assert seen_in_training(model, [forged]).counts["audio"] == 0


def test_audio_is_unknown_where_the_split_has_no_checksum(model, utterances, tmp_path):
    write_manifest(tmp_path / "model" / "split" / "train.jsonl", utterances[:8])
    assert seen_in_training(model, utterances[9:]).counts["audio"] is None


def test_a_repeated_sentence_is_counted_and_a_speaker_only_where_known(model, utterances, tmp_path):
    # The same sentence but for space and mark.
    said_again = dataclasses.replace(utterances[9], id="other", text="가나다라")
    seen = seen_in_training(model, [utterances[10], said_again])
    assert seen.indices == {"id": [], "audio": [], "sentence": [1], "speaker": None}
    write_manifest(
        tmp_path / "model" / "split" / "train.jsonl",
        [dataclasses.replace(clip, speaker="김") for clip in with_sounds(utterances[:8])],
    )
    by_kim = dataclasses.replace(utterances[10], speaker="김")
    seen = seen_in_training(model, [utterances[9], by_kim])
    assert seen.indices["speaker"] == [1]
    refuse_seen(model, [utterances[9], by_kim], seen)


def test_clips_by_which_the_checkpoint_was_chosen_are_counted_also_under_another_name(
    model, utterances
):
    assert seen_in_training(model, utterances[8:]).n_validation == 1
    copy = dataclasses.replace(utterances[8], id="another")
    seen = seen_in_training(model, [copy, utterances[9]])
    assert seen.notes == [
        "1 clips are in the validation split, by which the checkpoint was chosen."
    ]


def test_the_training_data_of_a_model_without_a_split_is_unknown(tiny_base, utterances):
    seen = seen_in_training(str(tiny_base), utterances)
    assert seen.counts == dict.fromkeys(("id", "audio", "sentence", "speaker"))
    assert seen.overlap == set()


def test_a_silent_clip_is_no_copy_of_a_silent_clip(model, utterances, tmp_path):
    for name in ("one", "two"):
        soundfile.write(tmp_path / f"{name}.wav", [0.0] * 16_000, 16_000)
    one, two = (
        dataclasses.replace(utterances[0], id=name, audio_filepath=str(tmp_path / f"{name}.wav"))
        for name in ("one", "two")
    )
    write_manifest(
        tmp_path / "model" / "split" / "train.jsonl", with_sounds([*utterances[:8], one])
    )
    assert seen_in_training(model, [two, utterances[9]]).counts["audio"] == 0


def test_a_checkpoint_has_seen_what_the_folder_that_it_lies_in_says(model, utterances, tmp_path):
    (tmp_path / "model" / "checkpoint-8").mkdir()
    assert "(1 by id, 1 by audio)" in refusal(
        str(tmp_path / "model" / "checkpoint-8"), utterances[7:]
    )
    # Not named as a checkpoint is.
    (tmp_path / "model" / "other").mkdir()
    assert seen_in_training(str(tmp_path / "model" / "other"), utterances).counts["id"] is None


def test_a_model_has_seen_what_its_base_was_trained_on(model, utterances, tmp_path):
    write_manifest(tmp_path / "model" / "split" / "earlier.jsonl", with_sounds(utterances[10:11]))
    assert "1 of 3 clips" in refusal(model, utterances[9:])
    assert [clip.id for clip in trained_on(model)] == [f"clip_{n:02}" for n in (*range(8), 10)]
    assert trained_on(str(tmp_path)) is None


@pytest.mark.parametrize("in_checkpoint", [False, True])
def test_learners_that_a_model_was_trained_on_are_refused_and_those_of_validation_counted(
    model, utterances, tmp_path, in_checkpoint
):
    split = tmp_path / "model" / "split"
    write_manifest(split / "foreign_train.jsonl", with_sounds(utterances[9:10]))
    write_manifest(split / "foreign_validation.jsonl", with_sounds(utterances[10:11]))
    if in_checkpoint:
        model = f"{model}/checkpoint-8"
        (tmp_path / "model" / "checkpoint-8").mkdir()
    assert "1 of 3 clips are in the training data of" in refusal(model, utterances[9:])
    copy = dataclasses.replace(utterances[9], id="another", text="다른 말")
    assert "(1 by audio); the first: another" in refusal(model, [copy, utterances[11]])
    seen = seen_in_training(model, utterances[10:])
    assert (seen.overlap, seen.n_validation) == (set(), 1)
    assert [clip.id for clip in trained_on(model)][-1] == "clip_09"


def test_script_2_warns_of_test_clips_that_the_base_was_trained_on(utterances):
    test = {"test": utterances[2:]}
    lines = printed_earlier("base", utterances[:3], test)
    assert len(lines) == 1 and "1 of 10 clips are in the training data of base" in lines[0]
    assert printed_earlier("base", [], test) == []
    lines = printed_earlier("base", utterances[:3], {"test": [], "foreign_test": utterances[2:]})
    assert len(lines) == 1 and lines[0].startswith("foreign_test split: 1 of 10 clips")
    assert "script 4 will refuse them" in lines[0]


def test_overlaps_are_printed_as_a_table_in_which_unknown_is_no_zero(utterances):
    parts = {"train": with_sounds(utterances[:8]), "test": utterances[7:]}
    assert printed_overlap(overlaps(parts)).split("\n")[1:] == [
        "              id    audio  sentence  speaker",
        "  train/test   1  unknown         1  unknown",
        "the same clip lies in two splits (train/test 1 by id), which makes scores look better "
        "than they are. Take the copies out of korean.jsonl. "
        "· 같은 발화가 두 분할에 들어 있습니다. korean.jsonl에서 중복된 발화를 빼세요.",
    ]
