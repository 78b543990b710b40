"""JSON labels as tables: the content of each format, and its clips."""

import argparse
import json

import pytest

from korean_asr.errors import DataError
from korean_asr.preprocessing.json_labels import (
    NO_KEYS,
    LabelKeys,
    given_key,
    json_labels,
    refuse_unused_keys,
)
from korean_asr.preprocessing.labels import Label


def read(content, keys=NO_KEYS):
    return json_labels(json.dumps(content, ensure_ascii=False).encode(), keys)


FOREIGN = {"transcription": {"Reading": "귤을", "ReadingLabelText": "귤"}, "fileName": "a.wav"}
FREE_TALK = {
    "발화정보": {"fileNm": "b.wav", "stt": "밥"},
    "녹음자정보": {"gender": "여", "age": 30},
}
COMMAND = {
    "기본정보": {"Language": "KOR"},
    "전사정보": {"LabelText": "불 켜 줘"},
    "화자정보": {"SpeakerName": "S1", "Gender": "Female", "Age": "60~69", "Region": "서울"},
    "파일정보": {"FileName": "c.wav"},
}
CALL_CENTER = {
    "info": [{"metadata": {"speaker_sex": "남", "speaker_age": "30대", "speaker_type": "A"}}],
    "inputText": [{"orgtext": "네, 안녕하세요."}],
    "dialogs": [{"audioPath": "Y:\\03.원천데이터\\d.wav"}],
}
LEARNER = {"RecordingMetadata": {"orthographic": "국", "prompt": "물"}, "UserID": "U1"}


@pytest.mark.parametrize(
    ("content", "name", "raw", "facts"),
    [
        (FOREIGN, "a.wav", "귤", {"task": "read", "prompt": "귤을"}),
        (
            {"transcription": {"Reading": "", "AnswerLabelText": "저는"}},
            "",
            "저는",
            {"task": "answer"},
        ),
        ({"fileName": "x.wav", "transcription": "밥 먹어"}, "x.wav", "밥 먹어", {}),
        ({"fileName": "x.wav", "transcription": ""}, "x.wav", "", {"task": "answer"}),
        (FREE_TALK, "b.wav", "밥", {"gender": "F", "age": "30"}),
        (COMMAND, "c.wav", "불 켜 줘", {"speaker": "S1", "gender": "F", "age": "60~69"}),
        ({"전사정보": {"LabelText": "밥"}}, "", "밥", {}),
        (CALL_CENTER, "", "네, 안녕하세요.", {"gender": "M", "age": "30대"}),
        ({"inputText": [{"orgtext": "네"}]}, "", "네", {}),
        ({"inputText": [{"orgtext": "ㅇㅇ병원 OOO 님 zoo"}]}, "", "○○병원 ○○ 님 zoo", {}),
        (LEARNER, "", "국", {"speaker": "U1", "prompt": "물"}),
    ],
)
def test_the_keys_of_a_json_label_show_its_corpus(content, name, raw, facts):
    assert read(content) == [Label(name, raw, "utf-8", facts)]


def test_one_recording_of_many_utterances_gives_a_clip_for_each():
    people = [{"id": "DG1", "sex": "여성", "age": "60대"}, {"id": "1", "sex": "남성"}]
    said = {"form": "(거를)/(그것을)", "dialect_form": "거를", "standard_form": "그것을"}
    utterances = [
        {**said, "start": 0.5, "end": 1.75, "speaker_id": "DG1"},
        # In 회의 (464) the seconds are texts.
        {**said, "start": "2.1", "end": "3.3", "speaker_id": "1"},
    ]
    assert read({"id": "x", "speaker": people, "utterance": utterances}) == [
        Label(
            "",
            "거를",
            "utf-8",
            {"speaker": "DG1", "gender": "F", "age": "60대"},
            offset=0.5,
            duration=1.25,
        ),
        # 1 is another person in each recording.
        Label("", "거를", "utf-8", {"gender": "M"}, offset=2.1, duration=1.2),
    ]


def test_a_corpus_without_dialect_has_its_text_in_form():
    (label,) = read({"utterance": [{"form": "(삼)/(3) 번", "start": 0, "end": 1}]})
    assert (label.raw, label.offset, label.duration) == ("(삼)/(3) 번", 0.0, 1.0)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"start": 2, "end": 1}, "`start` is 2 and `end` is 1, which are not the seconds of a"),
        (
            {"start": 1, "end": 1.00001},
            "`start` is 1 and `end` is 1.00001, which are not the seconds of a clip",
        ),
        ({"start": 1}, "`start` is 1 and `end` is null, which are not the seconds of a clip"),
        ({"start": "NaN", "end": 2}, '`start` is "NaN" and `end` is 2, which are not the seconds'),
        ({"start": -1, "end": 2}, "`start` is -1 and `end` is 2, which are not the seconds of a"),
        ({"start": [], "end": 2}, "`start` is a list and `end` is 2, which are not the seconds"),
        ({"start": 0, "end": 1, "form": 5}, "its text is 5, which is not a text"),
        ({"start": 0, "end": 1, "form": None}, "its text is missing"),
        ({"start": 0, "end": 1, "form": "밥\0"}, "its text holds the character NUL"),
    ],
)
def test_one_wrong_utterance_of_a_recording_is_refused_and_the_others_are_read(wrong, problem):
    good = {"form": "밥", "start": 0, "end": 1}
    first, second, third = read({"utterance": [good, {"form": "국"} | wrong, good]})
    assert (first, third.is_readable, second.is_readable) == (third, True, False)
    assert second.problem.startswith(problem)


def test_all_clips_of_clovacall_lie_in_one_list():
    clips = [
        {"wav": "42_0603.wav", "text": "네 있어요", "speaker_id": "03319"},
        {"wav": "42_0610.wav", "text": "밥", "speaker_id": "03607"},
        7,
    ]
    first, second, third = read(clips)
    assert first == Label("42_0603.wav", "네 있어요", "utf-8", {"speaker": "03319"})
    assert second == Label("42_0610.wav", "밥", "utf-8", {"speaker": "03607"})
    assert (third.is_readable, third.problem) == (False, "its audio is missing")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"7",
        b'{"transcription": {"AnswerLabelText": 7}}',
        b'{"RecordingMetadata": {"orthographic": ["a"]}}',
        b"[" * 99_999,
    ],
)
def test_a_json_label_that_cannot_be_read_says_so_and_shows_its_first_characters(content):
    assert json_labels(content) == [Label("", content.decode()[:200], "utf-8", {}, False)]


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ({"기본정보": {}, "전사정보": {"OrgLabelText": "밥"}}, "기본정보, 전사정보.OrgLabelText"),
        ({"id": "DG1", "utterance": [{"form": "밥"}]}, "id, utterance.form"),
        ({"utterance": []}, "utterance"),
        ({"utterance": [7]}, "utterance"),
        ({"inputText": []}, "inputText"),
        ({"inputText": [{"orgtext": "a"}, {"orgtext": "b"}]}, "inputText.orgtext"),
        ([{"id": 1, "form": "밥"}], "[id, form]"),
        ({"transcription": {"standard": "밥"}}, "transcription.standard"),
        ({"transcription": "밥"}, "transcription"),
        ({"발화정보": {"text": "밥"}}, "발화정보.text"),
        ({"발화정보": [{"stt": "밥"}]}, "발화정보.stt"),
        ({"RecordingMetadata": {}}, "RecordingMetadata"),
    ],
)
def test_json_of_an_unknown_corpus_is_told_by_its_keys(content, keys):
    (label,) = read(content)
    assert (label.is_readable, label.unknown_keys) == (False, keys)


RECORDING = {
    "speaker": [{"id": "DG1", "sex": "여성", "age": "60대"}],
    "utterance": [{"dialect_form": "거를", "start": 0.5, "end": 1.75, "speaker_id": "DG1"}],
}
CLOVA = [{"wav": "42_0603.wav", "text": "네 있어요", "speaker_id": "03319"}]
KNOWN = [FOREIGN, FREE_TALK, COMMAND, CALL_CENTER, LEARNER, RECORDING, CLOVA]


def variants(value, other):
    """The value with `other` in place of itself, and of each value in it."""
    yield other
    if not isinstance(value, dict | list):
        return
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        for variant in variants(inner, other):
            changed = dict(value) if isinstance(value, dict) else list(value)
            changed[key] = variant
            yield changed


@pytest.mark.parametrize("other", [None, 7, "", "a\0", [], [7], {}, {"a": [{}]}, True, 1e400])
def test_any_value_in_place_of_any_other_gives_labels(other):
    for content in KNOWN:
        for changed in variants(content, other):
            for keys in (NO_KEYS, keyed("utterance.dialect_form", "wav"), keyed("text", "wav")):
                labels = read(changed, keys)
                assert labels and all(isinstance(label, Label) for label in labels)


def test_a_clip_that_is_refused_shows_its_values_and_not_what_lies_deep_in_them():
    deep = json.loads("[" * 900 + "]" * 900)
    (label,) = read([{"wav": "a.wav", "text": deep, "speaker_id": 1}])
    assert (label.raw, label.problem) == (
        'wav: "a.wav", text: a list, speaker_id: 1',
        "its text is a list, which is not a text",
    )


RAW_TAB = '{"transcription": {"AnswerLabelText": "밥\t먹\r\n어"}, "fileName": "a.wav"}'


@pytest.mark.parametrize(
    ("encoding", "told"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("cp949", "cp949")],
)
def test_tabs_and_line_ends_inside_the_texts_of_json_are_read(encoding, told):
    assert json_labels(RAW_TAB.encode(encoding)) == [
        Label("a.wav", "밥\t먹\r\n어", told, {"task": "answer"})
    ]


NESTED = {"file": {"name": "a.wav"}, "script": {"lines": {"text": "밥"}}}
PIECES = {"id": 1, "sentences": [{"piece": {"file": f"{n}.wav", "tr": n}} for n in "ab"]}
SPANS = {"path": "r.wav", "segments": [{"t": "a", "start": 0, "end": 1}, {"t": "b"}, 7]}


def keyed(text, audio=""):
    return LabelKeys(given_key(text), given_key(audio) if audio else ())


@pytest.mark.parametrize(
    ("content", "keys", "clips"),
    [
        (NESTED, keyed("script.lines.text", "file.name"), [("a.wav", "밥", None)]),
        (NESTED, keyed("script.lines.text"), [("", "밥", None)]),
        (
            PIECES,
            keyed("sentences.piece.tr", "sentences.piece.file"),
            [("a.wav", "a", None), ("b.wav", "b", None)],
        ),
        (list("x") + [{"w": "a.wav", "t": "밥"}], keyed("t", "w"), [("a.wav", "밥", None)]),
        (SPANS, keyed("segments.t", "path"), [("r.wav", "a", 0.0), ("r.wav", "b", None)]),
        (SPANS, keyed("segments.t"), [("", "a", 0.0), ("", "b", None)]),
        # The element names an audio file of its own, which is not cut.
        (
            {"s": [{"w": "a.wav", "t": "밥", "start": 3, "end": 4}]},
            keyed("s.t", "s.w"),
            [("a.wav", "밥", None)],
        ),
        ({"d": [{"path": "a.wav"}], "t": "밥"}, keyed("t", "d.path"), [("a.wav", "밥", None)]),
        # A known corpus is read by the keys of the user, too.
        (COMMAND | {"text": "국"}, keyed("text", "파일정보.FileName"), [("c.wav", "국", None)]),
    ],
)  # fmt: skip
def test_the_keys_that_the_user_names_lead_to_text_and_audio(content, keys, clips):
    labels = read(content, keys)
    assert [(label.name, label.raw, label.offset) for label in labels] == clips
    assert all(label.is_readable for label in labels) and labels[0].is_keyed


def test_a_label_without_the_users_key_is_read_as_its_own_corpus():
    (label,) = read(COMMAND, keyed("script.text"))
    assert (label.raw, label.is_keyed) == ("불 켜 줘", False)


@pytest.mark.parametrize(
    ("content", "keys", "problem"),
    [
        ({"t": "밥"}, keyed("t", "file.name"), "its `file.name` is missing"),
        ({"t": "밥", "w": None}, keyed("t", "w"), "its `w` is missing"),
        ({"t": "밥", "w": 5}, keyed("t", "w"), "its `w` is 5, which is not a text"),
        ({"t": ["밥"]}, keyed("t"), "its `t` is a list, which is not a text"),
        ({"a": {"t": "밥"}}, keyed("a.t", "a"), "its `a` is an object, which is not a text"),
    ],
)
def test_a_label_with_the_key_but_no_usable_value_says_what_is_wrong(content, keys, problem):
    (label,) = read(content, keys)
    assert (label.is_readable, label.problem, label.is_keyed) == (False, problem, True)


def test_a_key_is_given_as_steps_and_composed():
    assert given_key("전사정보.LabelText") == ("전사정보", "LabelText")
    assert given_key("\u1112\u1161") == ("하",)
    for wrong in ("", "a..b", ".a"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no key"):
            given_key(wrong)


def test_keys_that_nothing_has_are_named_in_one_line():
    with pytest.raises(DataError, match=r"--text-key a\.b is in no label of x, y\. Correct it"):
        refuse_unused_keys(keyed("a.b"), ["x", "y"])
    with pytest.raises(DataError, match=r"--audio-key c is used .* only together with --text-key"):
        refuse_unused_keys(LabelKeys(audio=("c",)), ["x"])
