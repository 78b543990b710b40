import dataclasses
import json

import pytest

from korean_asr.errors import DataError
from korean_asr.evaluation.command_line import evaluate, rescored
from korean_asr.evaluation.rescoring import read_results

RESULT = '{"text": "가", "pred_text": "나"'


def test_a_file_of_our_results_gives_all_numbers_again(write_results, evaluation, tmp_path):
    write_results([evaluation], tmp_path / "results")
    again = rescored(tmp_path / "results" / "korean.jsonl", "korean").summary
    for key in (
        "model",
        "rule",
        "manifest",
        "checksums",
        "n_clips",
        "duration",
        "scores",
        "intervals",
        "groups",
        "confusions",
        "lowest_reachable_cer",
        "decoding",
        "calibration",
    ):
        assert again[key] == evaluation.summary[key], key
    assert again["notes"] == ["scored again from korean.jsonl"]


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_letters_are_kept_and_rows_without_them_are_scored_as_they_were(
    write_results, evaluation, tmp_path
):
    write_results([evaluation], tmp_path)
    path = tmp_path / "korean.jsonl"
    rows = rows_of(path)
    letters = [made.letters for made in evaluation.hypotheses]
    assert [row["letters"] for row in rows] == letters
    again = rescored(path, "korean")
    assert [made.letters for made in again.hypotheses] == letters
    write_results([again], tmp_path / "again")
    assert [row["letters"] for row in rows_of(tmp_path / "again" / "korean.jsonl")] == letters
    # A row of another text, a row from before letters, and a row of another system.
    changed = [rows[0] | {"pred_text": "가 다른 글"}, rows[1], rows[2] | {"letters": "many"}]
    del changed[1]["letters"]
    path.write_text("\n".join(map(json.dumps, changed)), encoding="utf-8")
    old = rescored(path, "korean")
    assert [made.letters for made in old.hypotheses] == [None] * 3
    assert not any("letters" in row for row in old.rows(tmp_path))
    assert old.per_utterance[1:] == evaluation.per_utterance[1:3]


def test_a_clip_that_is_too_long_is_not_scored_again_either(write_results, scored, tmp_path):
    evaluation = scored(
        [("가나" * 15_000, "가나"), ("가나", "가나")], facts={"weights_sha256": "w"}
    )
    write_results([evaluation], tmp_path)
    again = rescored(tmp_path / "korean.jsonl", "korean")
    for key in ("n_unreadable", "n_not_scored", "problems", "scores", "groups", "confusions"):
        assert again.summary[key] == evaluation.summary[key], key
    assert again.clip_counts() == evaluation.clip_counts()


def test_what_is_cut_out_of_long_files_is_scored_again_as_the_same_clips(
    write_results, plan, tmp_path
):
    clips = [dataclasses.replace(clip, offset=0.0) for clip in plan.utterances[:3]]
    clips[1] = dataclasses.replace(clips[1], offset=0.25, duration=0.25)
    first = evaluate(dataclasses.replace(plan, utterances=clips))[0]
    write_results([first], tmp_path / "results")
    again = read_results(tmp_path / "results" / "korean.jsonl")
    assert again.utterances == clips
    # They are found by the checksum of their clips.
    assert again.facts["model"] == first.model


def test_cuts_of_another_systems_results_are_named_as_in_a_manifest(tmp_path):
    row = {"audio_filepath": "talk.wav", "text": "밥", "pred_text": "밥", "duration": 1.5}
    rows = [row, {**row, "offset": 1.5}, {**row, "offset": 3.0, "id": "mine"}]
    (tmp_path / "theirs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    ids = [clip.id for clip in read_results(tmp_path / "theirs.jsonl").utterances]
    assert ids == ["talk", "talk_1.5000-3.0000", "mine"]


def test_durations_that_would_add_up_to_infinity_are_refused(tmp_path):
    row = {"text": "밥", "pred_text": "밥", "duration": 1.7e308}
    (tmp_path / "theirs.jsonl").write_text(f"{json.dumps(row)}\n" * 2, encoding="utf-8")
    with pytest.raises(DataError, match=r"theirs\.jsonl, line 1"):
        read_results(tmp_path / "theirs.jsonl")


def test_a_file_of_another_system_needs_two_keys(tmp_path):
    rows = [
        {"text": "밥 먹었어?", "pred_text": "밥 먹었어"},
        {"text": "네.", "pred_text": None, "duration": "1.5"},
    ]
    (tmp_path / "theirs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8-sig")
    content = rescored(tmp_path / "theirs.jsonl", "korean").summary
    assert (content["model"], content["n_clips"], content["duration"]) == ("theirs", 2, 1.5)
    assert content["scores"]["cer"]["deletions"] == 3
    assert content["lowest_reachable_cer"] is None and content["decoding"] is None
    assert content["seen_in_training"] == dict.fromkeys(("id", "audio", "sentence", "speaker"))


def test_facts_of_another_manifest_are_not_taken(write_results, evaluation, tmp_path):
    write_results([evaluation], tmp_path)
    lines = (tmp_path / "korean.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "korean.jsonl").write_text("\n".join(lines[1:]), encoding="utf-8")
    assert read_results(tmp_path / "korean.jsonl").facts == {}


@pytest.mark.parametrize(
    "change",
    [
        {"notes": 3},
        {"notes": [3]},
        {"decoding": 5},
        {"decoding": {"precision": "float32"}},
        {"lowest_reachable_cer": "low"},
        {"seen_in_training": [1]},
        {"seen_in_training": {"id": "none"}},
        {"without_seen": {"sentence": {"n_clips": 3, "scores": {"cer": 0.1}}}},
        {"gap_to_korean": True},
        {"model": None},
        {"recipe": {"name": "v3"}},
    ],
)
def test_facts_of_other_types_are_not_taken(write_results, evaluation, tmp_path, change):
    write_results([evaluation], tmp_path)
    path = tmp_path / "korean.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert read_results(tmp_path / "korean.jsonl").facts
    path.write_text(json.dumps(summary | change), encoding="utf-8")
    assert read_results(tmp_path / "korean.jsonl").facts == {}
    write_results([rescored(tmp_path / "korean.jsonl", "korean")], tmp_path / "again")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no result"),
        (
            '{"text": "가"}',
            r"r.jsonl, line 1: no result: it has no `pred_text`, only text. "
            "Each line is a JSON object with `text` and `pred_text`.",
        ),
        (f"{RESULT}}}\n[1]", "line 2: no result: it is a JSON array, not an object."),
        ('{"text": 3, "pred_text": "나"}', "line 1: no result: `text` is 3, which is not a text."),
        ('{"text": null, "pred_text": "나"}', "no result: `text` is null, which is not a text."),
        ('{"text": "가", "pred_text": 5}', "no result: `pred_text` is 5, which is not a text."),
        (f'{RESULT}, "duration": "long"}}', '`duration` is "long", not 0 to 1,000,000,000 seconds'),
        (f'{RESULT}, "duration": 1{"0" * 400}}}', "`duration` is 1000"),
        (f'{RESULT}, "duration": -1}}', "`duration` is -1, not 0 to 1,000,000,000 seconds."),
        (f'{RESULT}, "duration": 1e308}}', r"`duration` is 1e\+308, not 0 to"),
        (f'{RESULT}, "offset": "x"}}', '`offset` is "x", not 0 to'),
        (f'{RESULT}, "offset": ""}}', '`offset` is "", not 0 to'),
        (f'{RESULT}, "offset": -1}}', "`offset` is -1, not 0 to"),
        (f'{RESULT}, "offset": NaN}}', "`offset` is NaN, not 0 to"),
        (f'{RESULT}, "offset": 1e400}}', "`offset` is Infinity, not 0 to"),
        (f'{RESULT}, "offset": true}}', "`offset` is true, not 0 to"),
        (f'{RESULT}, "x": {"[" * 100_000}', "no result: it is nested too deep."),
        (
            rf'{RESULT}, "audio_filepath": "\ud800.wav"}}',
            "no result: `audio_filepath` is a name that no file can have.",
        ),
        (b"\xff\xfe", "its bytes are not UTF-8"),
    ],
)
def test_a_file_that_holds_no_results_is_named_with_its_line(tmp_path, content, told):
    path = tmp_path / "r.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=told):
        rescored(path, "korean")


def test_a_missing_file_of_results_is_named(tmp_path):
    with pytest.raises(DataError, match="gone.jsonl is missing"):
        rescored(tmp_path / "gone.jsonl", "korean")


@pytest.mark.parametrize(
    "values",
    [
        {"problem": ["x"]},
        {"problem": {"x": 1}},
        {"problem": 5},
        {"confidence": float("nan")},
        {"duration": float("nan")},
        {"duration": []},
        {"duration": False},
        {"offset": None},
        {"offset": "1.5"},
        {"confidence": "sure"},
        {"confidence": 7},
    ],
)
def test_odd_values_of_another_system_stop_nothing(write_results, tmp_path, values):
    (tmp_path / "theirs.jsonl").write_text(
        json.dumps({"text": "가", "pred_text": "나", **values}), encoding="utf-8"
    )
    evaluation = rescored(tmp_path / "theirs.jsonl", "korean")
    write_results([evaluation], tmp_path / "out")
    assert evaluation.hypotheses[0].confidence is None
    json.loads(
        (tmp_path / "out" / "korean.json").read_text(encoding="utf-8"), parse_constant=pytest.fail
    )


def test_what_a_run_knew_of_training_is_carried_over_and_audio_is_found_from_elsewhere(
    plan, write_results, tmp_path
):
    seen = {"id": [], "audio": [], "sentence": [1], "speaker": None}
    noted = dataclasses.replace(plan, notes=("a note",))
    first = dataclasses.replace(evaluate(noted)[0], seen=seen)
    write_results([first], tmp_path / "results")
    again = rescored(tmp_path / "results" / "korean.jsonl", "korean")
    for key in ("seen_in_training", "without_seen"):
        assert again.summary[key] == first.summary[key], key
    assert again.summary["notes"] == ["a note", "scored again from korean.jsonl"]
    rows = (tmp_path / "results" / "korean.jsonl").read_text(encoding="utf-8").splitlines()
    relative = [
        json.loads(row) | {"audio_filepath": f"../clip_{n:02}.wav"} for n, row in enumerate(rows)
    ]
    (tmp_path / "results" / "korean.jsonl").write_text(
        "\n".join(map(json.dumps, relative)), encoding="utf-8"
    )
    write_results(
        [rescored(tmp_path / "results" / "korean.jsonl", "korean")], tmp_path / "far" / "away"
    )
    assert "../../clip_03.wav" in (tmp_path / "far" / "away" / "korean.html").read_text(
        encoding="utf-8"
    )


def test_a_file_of_training_clips_says_so_though_it_was_moved_alone(
    evaluation, write_results, tmp_path
):
    seen = {"id": [0, 3], "audio": [], "sentence": [], "speaker": None}
    first = dataclasses.replace(evaluation, seen=seen, overlap=frozenset([0, 3]))
    write_results([first], tmp_path)
    (tmp_path / "korean.jsonl").rename(tmp_path / "moved.jsonl")
    again = rescored(tmp_path / "moved.jsonl", "korean")
    assert again.warning == "2 of 12 clips are in the training data of moved (2 by id)"
    assert again.summary["seen_in_training"]["id"] == 2
    marked = [row["id"] for row in again.rows(tmp_path) if row.get("seen_in_training")]
    assert marked == ["clip_00", "clip_03"]
