"""Clips in archives are scored as their files, and can be listened to on the page."""

import base64
import dataclasses
import json
import re
import tarfile
from argparse import Namespace
from pathlib import Path

import pytest

from korean_asr import archive_clip
from korean_asr.errors import DataError
from korean_asr.evaluation.command_line import evaluate, show_rescored
from korean_asr.pages import players


@pytest.fixture
def packed(plan, tmp_path):
    """The plan with its clips in a .tar, by place."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for clip in plan.utterances:
            archive.add(clip.audio_filepath, f"a/{Path(clip.audio_filepath).name}")
    with tarfile.open(tmp_path / "x.tar") as archive:
        clips = [
            dataclasses.replace(
                clip,
                audio_filepath=f"tar://{member.name}::{tmp_path}/x.tar",
                audio_offset=member.offset_data,
                audio_bytes=member.size,
            )
            for clip, member in zip(plan.utterances, archive, strict=True)
        ]
    return dataclasses.replace(plan, utterances=clips)


def page_of(folder):
    return (folder / "korean.html").read_text(encoding="utf-8")


def test_clips_in_an_archive_have_the_texts_of_their_files_and_are_embedded(
    plan, packed, write_results, tmp_path
):
    (unpacked,), (inside,) = evaluate(plan), evaluate(packed)
    assert inside.hypotheses == unpacked.hypotheses
    write_results([inside], tmp_path / "results")
    page = page_of(tmp_path / "results")
    sounds = re.findall(r'"data:audio/wav;base64,([^"]*)"', page)
    wanted = [Path(clip.audio_filepath).read_bytes() for clip in plan.utterances]
    assert [base64.b64decode(sound) for sound in sounds] == wanted
    assert "do not pass the page on" in page
    assert not re.search(r"(src|href|audio)\W{1,4}(\.\./)*tar:", page)


def test_a_page_does_not_grow_without_end(packed, write_results, tmp_path, monkeypatch):
    monkeypatch.setattr(players, "MAX_EMBEDDED", 100_000)
    evaluation = evaluate(packed)[0]
    write_results([evaluation], tmp_path / "some")
    assert 1 <= page_of(tmp_path / "some").count("data:audio/wav") < len(packed.utterances)
    write_results([evaluation], tmp_path / "all", embed_audio=True)
    assert page_of(tmp_path / "all").count("data:audio/wav") == len(packed.utterances)


def test_a_moved_archive_ends_decoding_with_its_name_and_does_not_hinder_rescoring(
    packed, write_results, tmp_path, capsys
):
    evaluation = evaluate(packed)[0]
    write_results([evaluation], tmp_path / "results")
    rows = (tmp_path / "results" / "korean.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(rows[0])["audio_offset"] == packed.utterances[0].audio_offset
    (tmp_path / "x.tar").rename(tmp_path / "moved.tar")
    # Another process has no file open from before.
    archive_clip._archive.cache_clear()
    with pytest.raises(DataError, match=r"x\.tar is missing"):
        evaluate(packed)
    arguments = Namespace(
        rescore=[tmp_path / "results" / "korean.jsonl"],
        output=tmp_path / "again",
        embed_audio=False,
    )
    show_rescored(arguments, "korean")
    assert "CER: " in capsys.readouterr().out
    assert "data:audio" not in page_of(tmp_path / "again")
