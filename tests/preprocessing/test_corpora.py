import copy
import json
import os
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.audio import AUDIO_SUFFIXES
from korean_asr.errors import DataError
from korean_asr.manifest import OPTIONAL_KEYS
from korean_asr.preprocessing.corpora import RawUtterance, raw_utterances
from korean_asr.preprocessing.counts import REASONS
from korean_asr.preprocessing.listing import listed_corpus

LABELS = "1.Training/1.라벨링데이터/3.일상안부/dialog_01/dialog_01_scripts.txt"
METADATA = "1.Training/1.라벨링데이터/3.일상안부/dialog_01/dialog_01_metadata.txt"
AUDIO = "1.Training/2.원천데이터/3.일상안부/dialog_01/001"


@pytest.fixture(scope="session")
def korean(written, utterances_of):
    """A function that writes a script of these lines, audio and metadata, and reads the corpus."""

    def read(root, *lines, audio=(), metadata=None, name=LABELS):
        files = {name: "\n".join(lines), **dict.fromkeys(audio, b"sound")}
        if metadata is not None:
            files[METADATA] = "\n".join(metadata)
        return utterances_of(written(root, files))

    return read


def line(number, text="밥 먹었어?", suffix="wav"):
    return f"/{AUDIO}/dialog_{number:08}.{suffix} :: {text}"


def clip(number, suffix="wav"):
    return f"{AUDIO}/dialog_{number:08}.{suffix}"


def label(**changes):
    content = {
        "fileName": "VN10QC226_VN0001_20210809.wav",
        "file_info": {"speakerID": "VN0001", "sentenceID": "VN10QC226", "recordTime": "8.784"},
        "transcription": {
            "Reading": "",
            "ReadingLabelText": "",
            "Question": "어디서 왔나요?",
            "AnswerLabelText": "저는 먼 나라에서 왔어요",
        },
        "SpeakerID": "VN0001",
        "basic_info": {"gender": "F", "birthYear": "1995"},
        "residence_info": {"country": "VN", "residencePeriod": "5년 이상"},
        "skill_info": {"languageClass": "베트남어", "motherTongue": "베트남어", "topikGrade": "4"},
    }
    return json.dumps(content | changes, ensure_ascii=False)


PARTS = ("1.Training", "2.Validation")
FOREIGN_LABEL = "2.Validation/라벨링데이터/5. 베트남어/1. 한국생활/VN10QC226_VN0001_20210809.json"
FOREIGN_AUDIO = "2.Validation/원천데이터/VS_5. 베트남어/1. 한국생활/VN10QC226_VN0001_20210809.wav"


@pytest.fixture(scope="session")
def foreign(written, utterances_of):
    """A function that writes these files, and reads the corpus."""
    return lambda root, **files: utterances_of(written(root, files))


def reasons(utterances):
    return {utterance.id: utterance.reason for utterance in utterances}


# 한국인 대화 음성


def test_a_clip_of_the_korean_corpus_knows_its_audio_theme_part_and_metadata(tmp_path, korean):
    metadata = [f"/{clip(1)} | 1 | 2 | F | T | 5 | 4 | 7 | 2"]
    assert korean(
        tmp_path, line(1, "밥 (3)/(세) 번 먹었어?"), audio=[clip(1)], metadata=metadata
    ) == [
        RawUtterance(
            "dialog_00000001",
            "밥 (3)/(세) 번 먹었어?",
            str(tmp_path / clip(1)),
            facts={
                "theme": "dialog",
                "part": "training",
                "gender": "F",
                "age": "청소년",
                "residence": "경상",
                "quality": "노이즈",
            },
        )
    ]


@pytest.mark.parametrize(
    ("row", "facts"),
    [
        (
            "{}|1|2|M|A|5|1|7|1",
            {"gender": "M", "age": "성인", "residence": "서울·경기", "quality": "정상"},
        ),
        (
            "{}|1|2|F|C|5|2|7|3",
            {"gender": "F", "age": "유아", "residence": "강원", "quality": "잡음"},
        ),
        (
            "{} | 1 | 2 | F | S | 5 | 9 | 7 | 4",
            {"gender": "F", "age": "고령", "residence": "기타", "quality": "원거리"},
        ),
        (
            "{}|1|2|F|Z|5|3|7|1\r",
            {"gender": "F", "age": "기타", "residence": "충청", "quality": "정상"},
        ),
        (
            "{}|1|2|F|T|5|5|7|1|more",
            {"gender": "F", "age": "청소년", "residence": "전라", "quality": "정상"},
        ),
        (
            "{}|1|2|F|T|5|6|7|1",
            {"gender": "F", "age": "청소년", "residence": "제주", "quality": "정상"},
        ),
        ("{}|1|2||?|5|8|7|0", {}),  # codes that nobody has established
        ("{}|1|2|F|T|5|6|7", {}),  # a field is missing, so the others may have moved
        ("", {}),
    ],
)
def test_established_metadata_is_told_and_no_other(tmp_path, row, facts, korean):
    (utterance,) = korean(tmp_path, line(1), audio=[clip(1)], metadata=[row.format(clip(1))])
    assert utterance.facts == {"theme": "dialog", "part": "training", **facts}


def test_metadata_in_another_order_and_of_another_length_meets_its_clip(tmp_path, korean):
    metadata = [
        f"/{clip(n)}|1|2|{gender}|A|5|1|7|1" for n, gender in ((9, "F"), (3, "F"), (1, "M"))
    ]
    utterances = korean(
        tmp_path, *map(line, (1, 2, 3)), audio=map(clip, (1, 2, 3)), metadata=metadata
    )
    assert [utterance.facts.get("gender") for utterance in utterances] == ["M", None, "F"]


def test_a_theme_is_read_from_the_clip_since_a_script_may_carry_another_name(tmp_path, korean):
    (utterance,) = korean(
        tmp_path, "x/hobby_00000001.wav :: 밥", name="1.Training/dialog_01_scripts.txt"
    )
    assert utterance.facts["theme"] == "hobby"


@pytest.mark.parametrize(
    ("folder", "part"),
    [
        ("1.Training/1.라벨링데이터/3.일상안부", "training"),
        ("2.Validation/2.라벨링데이터", "validation"),
        ("training", "training"),
        ("Sample/3.일상안부", None),
    ],
)
def test_a_part_is_read_from_the_folder(tmp_path, folder, part, korean):
    (utterance,) = korean(tmp_path, line(1), name=f"{folder}/dialog_01_scripts.txt")
    assert utterance.facts.get("part") == part


@pytest.mark.parametrize("suffix", ["wav", "pcm", "flac", "WAV"])
@pytest.mark.parametrize(
    "written_as",
    [
        f"/{clip(1)}",
        clip(1),
        clip(1, "pcm"),
        "dialog_00000001.wav",
        f"  /{clip(1)} ",
        f"\\{clip(1)}".replace("/", "\\"),
    ],
)
def test_a_label_meets_its_audio_however_either_is_named(tmp_path, suffix, written_as, korean):
    utterances = korean(tmp_path, f"{written_as} :: 밥", audio=[clip(1, suffix)])
    assert utterances == [
        RawUtterance(
            "dialog_00000001",
            "밥",
            str(tmp_path / clip(1, suffix)),
            facts={"theme": "dialog", "part": "training"},
        )
    ]


def test_only_the_first_separator_parts_the_name_from_the_text(tmp_path, korean):
    assert korean(tmp_path, f"{clip(1)} :: 밥 :: 국", audio=[clip(1)])[0].raw == "밥 :: 국"


def test_crlf_bom_and_blank_lines_are_no_part_of_a_text(tmp_path, korean):
    utterances = korean(
        tmp_path,
        f"\ufeff{line(1, '밥')}\r\n\r\n   \r\n{line(2, '국')}\r\n",
        audio=map(clip, (1, 2)),
    )
    assert [(utterance.id, utterance.raw) for utterance in utterances] == [
        ("dialog_00000001", "밥"),
        ("dialog_00000002", "국"),
    ]


def test_a_line_in_cp949_is_read_and_named_without_spoiling_its_neighbours(
    tmp_path, written, utterances_of
):
    lines = (
        line(1, "밥").encode()
        + b"\r\n"
        + line(2, "국").encode("cp949")
        + b"\r\n"
        + line(3, "물").encode()
    )
    utterances = utterances_of(
        written(tmp_path, {LABELS: lines, **{clip(n): b"" for n in (1, 2, 3)}})
    )
    assert [(utterance.raw, utterance.encoding, utterance.reason) for utterance in utterances] == [
        ("밥", "utf-8", None),
        ("국", "cp949", None),
        ("물", "utf-8", None),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_scripts_metadata_and_manifests_are_read_with_any_line_end_in_utf_16_too(
    tmp_path, encoding, end, written, utterances_of
):
    rows = [{"audio_filepath": f"{number}.wav", "text": "물"} for number in (3, 4)]
    texts = {
        "x_scripts.txt": [line(1, "밥"), "", line(2, "국\u2028국")],
        "x_metadata.txt": [f"/{clip(n)}|1|2|F|A|5|1|7|1" for n in (1, 2)],
        "m.json": ["", *(json.dumps(row, ensure_ascii=False) for row in rows)],
    }
    files = {name: ("\ufeff" + end.join(text)).encode(encoding) for name, text in texts.items()}
    files |= {clip(1): b"", clip(2): b"", "3.wav": b"", "4.wav": b""}
    found = utterances_of(written(tmp_path, files))
    assert [(u.id, u.raw, u.reason, u.facts.get("gender")) for u in found] == [
        ("3", "물", None, None),
        ("4", "물", None, None),
        ("dialog_00000001", "밥", None, "F"),
        ("dialog_00000002", "국\u2028국", None, "F"),
    ]
    assert {u.encoding for u in found} == {encoding[:6].rstrip("-")}


def test_one_line_of_a_manifest_may_be_written_over_several_lines(tmp_path, written, utterances_of):
    row = json.dumps({"audio_filepath": "a.wav", "text": "밥"}, indent=1).replace("\n", "\r")
    (found,) = utterances_of(written(tmp_path, {"a.json": row, "a.wav": b""}))
    assert (found.id, found.raw, found.reason) == ("a", "밥", None)


def test_bytes_of_no_known_encoding_are_marked_in_the_text(tmp_path, written, utterances_of):
    (utterance,) = utterances_of(
        written(tmp_path, {LABELS: f"{clip(1)} :: ".encode() + b"\xff\xfe\xff"})
    )
    assert "\ufffd" in utterance.raw


def test_a_line_without_a_separator_is_rejected_and_the_next_one_read(tmp_path, korean):
    lines = ["dialog_00000001.wav 밥", f"{clip(2)} :: 국", f"{clip(3)} 물"]
    assert [
        (u.id, u.raw, u.reason) for u in korean(tmp_path, *lines, audio=[clip(2), clip(3)])
    ] == [
        (f"{tmp_path / LABELS}, line 1", "dialog_00000001.wav 밥", "label unreadable"),
        ("dialog_00000002", "국", None),
        ("dialog_00000003", f"{clip(3)} 물", "label unreadable"),
    ]


def test_a_label_without_audio_and_audio_without_a_label_are_both_told(tmp_path, korean):
    utterances = korean(tmp_path, line(1), line(2), audio=map(clip, (2, 3)))
    assert reasons(utterances) == {
        "dialog_00000001": "no audio",
        "dialog_00000002": None,
        "dialog_00000003": "no label",
    }
    assert [utterance.audio for utterance in utterances] == [
        None,
        str(tmp_path / clip(2)),
        str(tmp_path / clip(3)),
    ]


def test_a_second_label_of_a_clip_is_a_duplicate_in_whatever_file(tmp_path, written, korean):
    written(tmp_path, {"1.Training/z_scripts.txt": line(1, "셋")})
    utterances = korean(tmp_path, line(1, "하나"), line(1, "둘"), audio=[clip(1)])
    assert [(utterance.raw, utterance.reason) for utterance in utterances] == [
        ("하나", None),
        ("둘", "duplicate id"),
        ("셋", "duplicate id"),
    ]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_same_name_in_two_folders_is_told_apart_by_the_path_in_the_label(
    tmp_path, form, korean
):
    themes = [unicodedata.normalize(form, name) for name in ("2.취미", "3.일상안부", "4.생활")]
    audio = [f"2.원천데이터/{theme}/001/dialog_00000001.wav" for theme in themes]
    utterances = korean(
        tmp_path, "/2.원천데이터/3.일상안부/001/dialog_00000001.wav :: 밥", audio=audio
    )
    assert (utterances[0].audio, utterances[0].reason) == (str(tmp_path / audio[1]), None)
    assert {utterance.audio: utterance.reason for utterance in utterances[1:]} == {
        str(tmp_path / audio[0]): "no label",
        str(tmp_path / audio[2]): "no label",
    }


def test_folders_and_files_decomposed_by_macos_are_found(tmp_path, korean):
    audio = unicodedata.normalize("NFD", "2.원천데이터/3.일상안부/안녕_01.wav")
    name = unicodedata.normalize("NFD", LABELS)
    (utterance,) = korean(
        tmp_path, "2.원천데이터/3.일상안부/안녕_01.wav :: 밥", audio=[audio], name=name
    )
    assert (utterance.id, utterance.audio, utterance.reason) == (
        "안녕_01",
        str(tmp_path / audio),
        None,
    )


def test_label_files_are_read_in_sorted_order(tmp_path, written, utterances_of):
    names = ["1.Training/b_scripts.txt", "2.Validation/a_scripts.txt", "1.Training/a_scripts.txt"]
    written(tmp_path, {name: f"x_{number}.wav :: 밥" for number, name in enumerate(names)})
    assert [utterance.id for utterance in utterances_of(tmp_path)] == ["x_2", "x_0", "x_1"]


# 외국인 한국어 발화


def test_a_clip_of_the_foreign_corpus_knows_its_audio_part_and_speaker(tmp_path, foreign):
    assert foreign(tmp_path, **{FOREIGN_LABEL: label(), FOREIGN_AUDIO: b""}) == [
        RawUtterance(
            "VN10QC226_VN0001_20210809",
            "저는 먼 나라에서 왔어요",
            str(tmp_path / FOREIGN_AUDIO),
            facts={
                "speaker": "VN0001",
                "gender": "F",
                "first_language": "베트남어",
                "topik_level": "4",
                "country": "VN",
                "task": "answer",
                "part": "validation",
            },
        )
    ]


@pytest.mark.parametrize(
    ("transcription", "raw", "task"),
    [
        (
            {"Reading": "귤.", "ReadingLabelText": "귤", "Question": "", "AnswerLabelText": ""},
            "귤",
            "read",
        ),
        (
            {"Reading": "", "ReadingLabelText": "", "Question": "뭐?", "AnswerLabelText": "귤"},
            "귤",
            "answer",
        ),
        ({"ReadingLabelText": "  ", "AnswerLabelText": "귤"}, "귤", "answer"),
        ({"ReadingLabelText": None, "AnswerLabelText": "귤"}, "귤", "answer"),
        ({"ReadingLabelText": "귤"}, "귤", "read"),
        ({"AnswerLabelText": None}, "", "answer"),
        ({}, "", "answer"),
    ],
)
def test_read_aloud_and_answers_are_both_taken(tmp_path, transcription, raw, task, foreign):
    (utterance,) = foreign(
        tmp_path, **{FOREIGN_LABEL: label(transcription=transcription), FOREIGN_AUDIO: b""}
    )
    assert (utterance.raw, utterance.facts["task"], utterance.reason) == (raw, task, None)


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"file_info": {}}, "speaker", "VN0001"),
        ({"file_info": None, "SpeakerID": "CN7"}, "speaker", "CN7"),
        ({"file_info": {}, "SpeakerID": ""}, "speaker", None),
        (
            {"skill_info": {"languageClass": "베트남어", "motherTongue": ""}},
            "first_language",
            "베트남어",
        ),
        (
            {"skill_info": {"languageClass": "영어", "motherTongue": "중국어"}},
            "first_language",
            "중국어",
        ),
        ({"skill_info": {"topikGrade": "해당 없음"}}, "topik_level", "해당 없음"),
        ({"skill_info": {"topikGrade": 4}}, "topik_level", "4"),
        ({"skill_info": None}, "topik_level", None),
        ({"basic_info": {}}, "gender", None),
        ({"residence_info": {}}, "country", None),
    ],
)
def test_any_fact_may_be_missing_from_a_label(tmp_path, changes, key, value, foreign):
    (utterance,) = foreign(tmp_path, **{FOREIGN_LABEL: label(**changes), FOREIGN_AUDIO: b""})
    assert utterance.reason is None
    assert utterance.facts.get(key) == value


def test_a_label_that_names_no_file_means_the_audio_of_its_own_name(tmp_path, foreign):
    content = json.dumps({"transcription": {"AnswerLabelText": "귤"}}, ensure_ascii=False)
    (utterance,) = foreign(tmp_path, **{FOREIGN_LABEL: content, FOREIGN_AUDIO: b""})
    assert (utterance.audio, utterance.reason) == (str(tmp_path / FOREIGN_AUDIO), None)
    assert utterance.facts == {"task": "answer", "part": "validation"}


def test_a_label_renamed_together_with_its_audio_keeps_it(tmp_path, foreign):
    utterances = foreign(tmp_path, **{"a/clip_1.json": label(), "a/clip_1.wav": b""})
    assert [(utterance.id, utterance.audio, utterance.reason) for utterance in utterances] == [
        ("clip_1", str(tmp_path / "a/clip_1.wav"), None)
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_a_label_in_any_encoding_with_crlf_is_read(tmp_path, encoding, foreign):
    content = (
        json.dumps(json.loads(label()), ensure_ascii=False, indent=1)
        .replace("\n", "\r\n")
        .encode(encoding)
    )
    (utterance,) = foreign(tmp_path, **{FOREIGN_LABEL: content, FOREIGN_AUDIO: b""})
    assert (utterance.raw, utterance.reason) == ("저는 먼 나라에서 왔어요", None)
    assert utterance.encoding == ("cp949" if encoding == "cp949" else "utf-8")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"[" * 100_000,
        b'{"transcription": ' * 50_000,
        b'{"transcription": {"AnswerLabelText": "a\\u0000b"}}',
        b'{"transcription": {"AnswerLabelText": "a\0b"}}',
        b'{"transcription": {"AnswerLabelText": "a"}, "SpeakerID": ' + b"9" * 100_000 + b"}",
        b'{"transcription": {"ReadingLabelText": 7}}',
        b"\xff\xfe{\x00}\x00",
        b"\xff\xfe{\x00",
    ],
    ids=lambda content: repr(content[:40]),
)
def test_a_damaged_label_is_one_rejected_line_that_accounts_for_its_audio(
    tmp_path, content, foreign
):
    utterances = foreign(tmp_path, **{FOREIGN_LABEL: content, FOREIGN_AUDIO: b""})
    assert (
        reasons(utterances) == {"VN10QC226_VN0001_20210809": "label unreadable"}
        and len(utterances) == 1
    )


def test_a_label_that_links_to_nothing_is_rejected(tmp_path, utterances_of):
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere.json")
    assert reasons(utterances_of(tmp_path)) == {str(tmp_path / "gone.json"): "label unreadable"}


def test_foreign_labels_and_audio_that_miss_each_other_are_told(tmp_path, foreign):
    utterances = foreign(
        tmp_path,
        **{
            "a/one.json": label(fileName="one.wav"),
            "a/two.json": label(fileName="two.wav"),
            "b/two.json": label(fileName="two.wav"),
            "a/two.wav": b"",
            "a/three.wav": b"",
        },
    )
    assert [(utterance.id, utterance.reason) for utterance in utterances] == [
        ("one", "no audio"),
        ("two", None),
        ("two", "duplicate id"),
        ("three", "no label"),
    ]


@pytest.mark.parametrize(("on_disk", "in_label"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_a_name_is_the_same_composed_or_not(tmp_path, on_disk, in_label, foreign):
    name = unicodedata.normalize(on_disk, "귤_1")
    content = label(fileName=unicodedata.normalize(in_label, "귤_1.wav"))
    utterances = foreign(tmp_path, **{f"a/{name}.json": content, f"a/{name}.wav": b""})
    assert reasons(utterances) == {"귤_1": None}


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "/a.wav",
        "../a.wav",
        "b/../../a.wav",
        "..\\a.wav",
        "\\\\host\\a.wav",
        "C:\\a.wav",
        "C:/a.wav",
    ],
)
def test_a_label_that_names_audio_outside_its_folder_is_refused(tmp_path, name, foreign):
    utterances = foreign(
        tmp_path, **{"b/a.json": label(fileName=name), "a.wav": b"", "etc/passwd.wav": b""}
    )
    assert (utterances[0].id, utterances[0].audio, utterances[0].reason) == (
        name,
        None,
        "unsafe path",
    )
    assert {utterance.reason for utterance in utterances[1:]} == {"no label"}


def test_the_last_of_two_equal_keys_counts_as_json_parsers_have_it(tmp_path, foreign):
    content = '{"transcription": {"AnswerLabelText": "귤", "AnswerLabelText": "배"}}'
    assert [
        utterance.raw for utterance in foreign(tmp_path, **{"a/x.json": content, "a/x.wav": b""})
    ] == ["배"]


# KsponSpeech


def test_a_trn_names_its_clips_with_a_prefix_that_is_absent_on_disk(
    tmp_path, written, utterances_of
):
    files = {
        "scripts/train.trn": "KsponSpeech_01/KsponSpeech_0001/KsponSpeech_000001.pcm :: "
        "b/ 아/ 몬 소리야\n",
        "scripts/dev.trn": "KsponSpeech_05/KsponSpeech_0621/KsponSpeech_620001.pcm :: 네\n",
        "scripts/eval_clean.trn": "KsponSpeech_eval/eval_clean/KsponSpeech_E00001.pcm :: "
        "(70%)/(칠십 퍼센트)\n",
        "KsponSpeech_01/KsponSpeech_0001/KsponSpeech_000001.pcm": b"",
        "KsponSpeech_05/KsponSpeech_0621/KsponSpeech_620001.wav": b"",
        "eval_clean/KsponSpeech_E00001.pcm": b"",
    }
    assert [(u.id, u.raw, u.reason, u.facts) for u in utterances_of(written(tmp_path, files))] == [
        ("KsponSpeech_620001", "네", None, {"part": "validation"}),
        ("KsponSpeech_E00001", "(70%)/(칠십 퍼센트)", None, {"part": "validation"}),
        ("KsponSpeech_000001", "b/ 아/ 몬 소리야", None, {"part": "training"}),
    ]


@pytest.mark.parametrize(
    ("content", "raw", "encoding", "reason"),
    [
        ("b/ 안녕.\r".encode("cp949"), "b/ 안녕.", "cp949", None),
        ("b/ 안녕.\r\n".encode(), "b/ 안녕.", "utf-8", None),
        ("\ufeff안녕".encode(), "안녕", "utf-8", None),
        (b"", "", "utf-8", None),
        (b"a\0b", "a\0b", "utf-8", "label unreadable"),
        (b"a" * ((1 << 20) + 1), "", "utf-8", "label too large"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_without_a_trn_the_text_beside_each_clip_is_its_label(
    tmp_path, content, raw, encoding, reason, written, utterances_of
):
    files = {
        "K/K_0001/K_000001.pcm": b"",
        "K/K_0001/K_000001.txt": content,
        "K/readme.txt": "read me",
    }
    (utterance,) = utterances_of(written(tmp_path, files))
    assert (utterance.id, utterance.raw, utterance.encoding, utterance.reason) == (
        "K_000001",
        raw,
        encoding,
        reason,
    )


def test_texts_and_clips_that_miss_each_other_are_all_told(tmp_path, written, utterances_of):
    files = {f"K/K_{number}.txt": "밥" for number in range(10)}
    files |= {f"K/K_{number}.pcm": b"" for number in range(7)}
    files |= {"K/K_10.pcm": b"", "K/K_11.wav": b"", "L/K_12.TXT": "국", "README.txt": "read me"}
    found = reasons(utterances_of(written(tmp_path, files)))
    assert found == {
        **{f"K_{number}": None for number in range(7)},
        **{f"K_{number}": "no audio" for number in (7, 8, 9, 12)},
        **{f"K_{number}": "no label" for number in (10, 11)},
    }


def test_a_text_beside_a_clip_is_passed_over_where_scripts_name_the_clip(
    tmp_path, written, utterances_of
):
    beside = clip(1).replace(".wav", ".txt")
    (utterance,) = utterances_of(
        written(tmp_path, {LABELS: line(1, "밥"), clip(1): b"", beside: "국"})
    )
    assert utterance.raw == "밥"


# 자유대화, 영어 등 사용자의 한국어


FREE_TALK = {
    "발화정보": {"stt": "(FP:음) 밥 먹었어", "fileNm": "clip_1.wav", "recrdTime": "3.2"},
    "녹음자정보": {"gender": "여성", "recorderId": "R7", "age": "30대"},
}
LEARNER = {
    "fileName": "clip_1.wav",
    "UserID": "U9",
    "RecordingMetadata": {
        "prompt": "밥을 먹어요",
        "orthographic": "밥을 머거요",
        "RecordedTime": 2.5,
    },
    "SpeakerMetadata": {"nationality": "US", "topik_level": 3},
}


@pytest.mark.parametrize(
    ("content", "raw", "facts"),
    [
        (FREE_TALK, "(FP:음) 밥 먹었어", {"speaker": "R7", "gender": "F", "age": "30대"}),
        ({"발화정보": {"stt": "네"}}, "네", {}),
        ({"발화정보": {"stt": None}}, "", {}),
        (
            LEARNER,
            "밥을 머거요",
            {"speaker": "U9", "topik_level": "3", "country": "US", "prompt": "밥을 먹어요"},
        ),
        ({"RecordingMetadata": {"orthographic": "네"}, "UserID": 0}, "네", {"speaker": "0"}),
        ({"RecordingMetadata": {"orthographic": None}}, "", {}),
    ],
)
def test_labels_of_the_neighbours_are_known_by_their_keys(
    tmp_path, content, raw, facts, written, utterances_of
):
    files = {"a/clip_1.json": json.dumps(content), "b/clip_1.wav": b""}
    (utterance,) = utterances_of(written(tmp_path, files))
    assert (utterance.id, utterance.raw, utterance.reason, utterance.facts) == (
        "clip_1",
        raw,
        None,
        facts,
    )
    assert utterance.audio == str(tmp_path / "b/clip_1.wav")


@pytest.mark.parametrize(
    "content",
    [
        {"text": "밥"},
        {"transcription": ["밥"]},
        {"발화정보": {}},
        {"RecordingMetadata": {}},
        [{"form": "밥"}],
    ],
)
def test_json_without_any_known_key_is_an_unknown_label(tmp_path, content, written, utterances_of):
    files = {"a/clip_1.json": json.dumps(content), "b/clip_1.wav": b""}
    assert reasons(utterances_of(written(tmp_path, files))) == {"clip_1": "unknown label"}


def test_unknown_labels_are_said_once_for_each_kind_the_most_frequent_first(
    tmp_path, written, listing_of
):
    kinds = {"a": {"k": 1}, "b": {"기본정보": 1, "전사정보": 2}, "c": {"m": 1}, "d": {"n": 1}}
    files = {f"{name}.json": json.dumps(content) for name, content in kinds.items()}
    files |= {"e.json": json.dumps(kinds["b"]), "f.jsonl": json.dumps({"audio": "f.wav"})}
    listing = listing_of(written(tmp_path, files))
    assert [utterance.reason for utterance in raw_utterances(listing)] == ["unknown label"] * 6
    first, *_, last = listing.notes
    assert first.startswith(
        f"unknown label, 2 with the keys 기본정보, 전사정보, such as {tmp_path}/b.json: "
    )
    assert len(listing.notes) == 4 and last == "and unknown labels of 2 more kinds."


def test_a_million_kinds_of_unknown_labels_are_not_kept(tmp_path, written, listing_of):
    lines = "\n".join(json.dumps({f"key_{i}": 1}) for i in range(300))
    listing = listing_of(written(tmp_path, {"x.jsonl": lines}))
    assert len(list(raw_utterances(listing))) == 300
    assert len(listing.unknown) == 101 and listing.unknown["(other keys)"][0] == 200


# A manifest


@pytest.fixture(scope="session")
def manifest(written, utterances_of):
    """A function that writes a manifest of these rows, and audio, and reads the manifest."""

    def read(root, *rows, name="m/manifest.jsonl", audio=()):
        lines = [
            row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows
        ]
        written(root, {name: "\n".join(lines), **dict.fromkeys(audio, b"sound")})
        return utterances_of(root / name)

    return read


@pytest.mark.parametrize("name", ["m/manifest.jsonl", "m/manifest.json", "m: b/manifest.json"])
def test_a_manifest_is_read_by_itself_and_names_audio_anywhere(tmp_path, name, written, manifest):
    audio = {"m/a.wav": b"", "m: b/a.wav": b"", "else/b.flac": b"", "c.wav": b""}
    written(tmp_path, audio)
    rows = [
        {"audio_filepath": "a.wav", "duration": 1.0, "text": "밥", "speaker": "S1", "lang": "ko"},
        {"audio_filepath": str(tmp_path / "else/b.flac"), "duration": 1, "text": "국"},
        {"audio_filepath": "../c.wav", "text": "물"},
        {"audio_filepath": "gone.wav", "text": "죽"},
    ]
    assert manifest(tmp_path, *rows, name=name) == [
        RawUtterance(
            "a", "밥", str(tmp_path / name.split("/")[0] / "a.wav"), facts={"speaker": "S1"}
        ),
        RawUtterance("b", "국", str(tmp_path / "else/b.flac")),
        RawUtterance("c", "물", str(tmp_path / "c.wav")),
        RawUtterance("gone", "죽", None, "no audio"),
    ]


def test_what_is_not_a_regular_file_is_claimed_and_left_to_the_judge_of_audio(tmp_path, manifest):
    (tmp_path / "m/folder.wav").mkdir(parents=True)
    os.mkfifo(tmp_path / "m/pipe.wav")
    (tmp_path / "m/link.wav").symlink_to("pipe.wav")
    (tmp_path / "m/dangling.wav").symlink_to("gone.wav")
    names = ["folder.wav", "pipe.wav", "link.wav", "dangling.wav"]
    rows = [{"audio_filepath": name, "text": "밥"} for name in names]
    found = [(utterance.audio, utterance.reason) for utterance in manifest(tmp_path, *rows)]
    assert found == [(str(tmp_path / "m" / name), None) for name in names[:3]] + [
        (None, "no audio")
    ]


def test_ids_of_a_manifest_are_kept_and_never_given_twice(tmp_path, manifest):
    rows = [
        {"audio_filepath": "a.wav", "text": "1", "id": "one"},
        {"audio_filepath": "b.wav", "text": "2", "id": "one"},
        {"audio_filepath": "c.wav", "text": "3", "id": "d"},
        {"audio_filepath": "d.wav", "text": "4"},
        {"audio_filepath": "e.wav", "text": "5", "id": 7},
        {"audio_filepath": "f.wav", "text": "6", "id": None},
        {"audio_filepath": "a.wav", "text": "7", "id": "seven"},
        {"audio_filepath": "x/f.wav", "text": "8"},
        {"audio_filepath": "g.wav", "text": "9", "id": ["g"]},
        {"audio_filepath": "gone.wav", "text": "10", "id": "mine"},
        {"audio_filepath": "h.wav", "text": "11", "id": "mine"},
    ]
    utterances = manifest(tmp_path, *rows, audio=[f"m/{name}.wav" for name in [*"abcdefgh", "x/f"]])
    assert [(utterance.raw, utterance.id, utterance.reason) for utterance in utterances] == [
        ("1", "one", None),
        ("2", "one", "duplicate id"),
        ("3", "d", None),
        ("4", "./d", None),
        ("5", "7", None),
        ("6", "f", None),
        ("7", "seven", "duplicate id"),
        ("8", "x/f", None),
        ("9", "g", None),
        ("10", "mine", "no audio"),
        ("11", "mine", None),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "밥"}, "unknown label"),
        ({"audio_filepath": "a.wav"}, "unknown label"),
        ({"audio_filepath": "", "text": "밥"}, "label unreadable"),
        ({"audio_filepath": 7, "text": "밥"}, "label unreadable"),
        ({"audio_filepath": "a.wav", "text": ["밥"]}, "label unreadable"),
        ({"audio_filepath": "a.wav", "text": "밥\0"}, "label unreadable"),
        # The judge of audio calls these unreadable, as scripts 2 to 4 do.
        ({"audio_filepath": "a\0.wav", "text": "밥"}, None),
        ({"audio_filepath": "a" * 300 + ".wav", "text": "밥"}, None),
        ("{", "label unreadable"),
        ("[" * 100_000, "label unreadable"),
        ('"audio_filepath"', "label unreadable"),
        ('{"audio_filepath": "b.wav", "text": "' + "a" * (1 << 20) + '"}', "label too large"),
        ({"audio_filepath": "b.wav", "text": "밥", "offset": 1.5}, None),
        ({"audio_filepath": "a.wav", "text": "밥", "offset": 1.5}, None),
        ({"audio_filepath": "b.wav", "text": "밥", "offset": 0.0}, None),
        ({"audio_filepath": "b.wav", "text": "밥", "offset": -1}, "label unreadable"),
        ({"audio_filepath": "b.wav", "text": "밥", "offset": "late"}, "label unreadable"),
        (
            {"audio_filepath": "b.wav", "text": "밥", "offset": 1, "duration": 1e308},
            "label unreadable",
        ),
        ({"audio_filepath": "b.wav", "text": "밥", "duration": "long"}, None),
        ({"audio_filepath": "b.wav", "text": None}, None),
        (
            {"audio_filepath": "b.wav", "text": "밥", "speaker": {"name": "S1"}, "gender": None},
            None,
        ),
    ],
    ids=lambda value: str(value)[:50],
)
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_bad_line_of_a_manifest_leaves_the_others_alone(tmp_path, row, reason, place, manifest):
    good = {"audio_filepath": "a.wav", "text": "국"}
    rows = [row, good] if place == "first" and "a.wav" not in str(row) else [good, row]
    utterances = manifest(tmp_path, *rows, audio=["m/a.wav", "m/b.wav"])
    assert [utterance.reason for utterance in utterances if utterance.raw != "국"] == [reason]
    assert [utterance.reason for utterance in utterances if utterance.raw == "국"] == [None]


def test_each_part_of_a_file_is_a_clip_of_its_own_and_the_same_part_is_taken_once(
    tmp_path, manifest
):
    row = {"audio_filepath": "a.wav", "text": "밥"}
    rows = [
        {**row, "offset": 1.5, "duration": 2},
        {**row, "offset": 1.5, "duration": 2},
        {**row, "offset": 1.5, "duration": 3},
        {**row, "offset": 0, "duration": 1.5},
        {**row, "offset": 0, "duration": 9},
        {**row, "offset": 4.5, "duration": 1, "id": "mine"},
        {**row, "offset": 5.5},
        {**row, "audio_filepath": "x/a.wav", "offset": 1.5, "duration": 2},
        {**row, "audio_filepath": "x/a.wav", "offset": 3.5, "duration": 2},
        {**row, "audio_filepath": "b.wav", "offset": 9.5, "duration": 2, "id": "b"},
        {**row, "audio_filepath": "b.wav"},
        {**row, "audio_filepath": "c.wav", "offset": 0.5, "duration": 2},
        {**row, "audio_filepath": "c.wav"},
        {**row, "audio_filepath": "c.wav", "offset": 2.5, "duration": 2},
    ]
    audio = ["m/a.wav", "m/x/a.wav", "m/b.wav", "m/c.wav"]
    found = manifest(tmp_path, *rows, audio=audio)
    assert [(clip.id, clip.offset, clip.duration, clip.reason) for clip in found] == [
        ("a_1.5000-3.5000", 1.5, 2.0, None),
        ("a_1.5000-3.5000", 1.5, 2.0, "duplicate id"),
        ("a_1.5000-4.5000", 1.5, 3.0, None),
        ("a", 0.0, 1.5, None),
        ("a_0.0000-9.0000", 0.0, 9.0, None),
        ("mine", 4.5, 1.0, None),
        ("a_5.5000-end", 5.5, None, None),
        ("x/a_1.5000-3.5000", 1.5, 2.0, None),
        ("a_3.5000-5.5000", 3.5, 2.0, None),
        ("b", 9.5, 2.0, None),
        ("b", None, None, "duplicate id"),
        ("c_0.5000-2.5000", 0.5, 2.0, None),
        ("c", None, None, None),
        ("c_2.5000-4.5000", 2.5, 2.0, None),
    ]
    assert all(clip.audio or clip.reason for clip in found)


def test_ids_that_script_1_gave_to_parts_of_files_stay_when_it_reads_them_again(tmp_path, manifest):
    rows = [
        {
            "id": name,
            "audio_filepath": "a.wav",
            "text": "밥",
            "offset": offset,
            "duration": 1.5,
        }
        for name, offset in (("a", 0.0), ("a_1.5000-3.0000", 1.5), ("x/a_3.0000-4.5000", 3.0))
    ]
    found = manifest(tmp_path, *rows, audio=["m/a.wav"])
    assert [(clip.id, clip.reason) for clip in found] == [(row["id"], None) for row in rows]


def test_lines_of_a_manifest_may_be_in_any_encoding(tmp_path, written, utterances_of):
    rows = [{"audio_filepath": f"{name}.wav", "text": "밥"} for name in "abc"]
    first, second, third = (json.dumps(row, ensure_ascii=False) for row in rows)
    content = b"\r\n".join(
        [("\ufeff" + first).encode(), b"", second.encode("cp949"), third.encode()]
    )
    written(tmp_path, {"m.json": content, "a.wav": b"", "b.wav": b"", "c.wav": b""})
    assert [(u.id, u.raw, u.encoding) for u in utterances_of(tmp_path / "m.json")] == [
        ("a", "밥", "utf-8"),
        ("b", "밥", "cp949"),
        ("c", "밥", "utf-8"),
    ]


def test_a_manifest_that_was_found_in_a_corpus_reaches_no_file_outside_of_it(
    tmp_path, written, utterances_of, manifest
):
    rows = [
        {"audio_filepath": "../wavs/a.wav", "text": "1"},
        {"audio_filepath": "../../secret.wav", "text": "2"},
        {"audio_filepath": str(tmp_path / "secret.wav"), "text": "3"},
        {"audio_filepath": "/moved/wavs/b.wav", "text": "4"},
    ]
    manifest(tmp_path / "corpus", *rows, audio=["wavs/a.wav", "wavs/b.wav"])
    written(tmp_path, {"secret.wav": b""})
    assert [(u.raw, u.id, u.audio, u.reason) for u in utterances_of(tmp_path / "corpus")] == [
        ("1", "a", str(tmp_path / "corpus/wavs/a.wav"), None),
        ("2", "../../secret.wav", None, "unsafe path"),
        ("3", "secret", None, "no audio"),
        ("4", "b", str(tmp_path / "corpus/wavs/b.wav"), None),
    ]


# Every corpus


def test_the_order_of_lines_changes_no_clip(tmp_path, korean):
    lines = [line(n, f"문장 {n}") for n in range(1, 30)]
    mixed = lines[::3] + lines[2::3][::-1] + lines[1::3]
    audio = [clip(n) for n in range(1, 30)]
    sorted_by_id = [
        sorted(korean(tmp_path / name, *chosen, audio=audio), key=lambda u: u.id)
        for name, chosen in (("a", lines), ("b", mixed))
    ]
    (a, b) = (
        [(u.id, u.raw, os.path.relpath(u.audio, tmp_path)[2:], u.facts) for u in found]
        for found in sorted_by_id
    )
    assert a == b and len(a) == 29


def test_a_clip_in_folders_that_were_moved_or_renamed_is_found_by_its_name(tmp_path, korean):
    moved = "elsewhere/원천/dialog_00000001.wav"
    (utterance,) = korean(tmp_path, line(1), audio=[moved], name="labels/dialog_01_scripts.txt")
    assert (utterance.audio, utterance.reason) == (str(tmp_path / moved), None)


def test_the_same_name_in_training_and_validation_is_two_clips_with_an_audio_each(
    tmp_path, written, utterances_of
):
    files = {}
    for part, text in zip(PARTS, ("하나", "둘"), strict=True):
        files[f"{part}/라벨/dialog_01_scripts.txt"] = f"/{part}/원천/001/x_1.wav :: {text}"
        files[f"{part}/원천/001/x_1.wav"] = b""
    assert [(u.id, u.raw, u.audio, u.reason) for u in utterances_of(written(tmp_path, files))] == [
        ("x_1", "하나", str(tmp_path / "1.Training/원천/001/x_1.wav"), None),
        ("2.Validation/원천/001/x_1", "둘", str(tmp_path / "2.Validation/원천/001/x_1.wav"), None),
    ]


def test_the_same_name_in_two_folders_of_json_labels_is_two_clips(tmp_path, written, utterances_of):
    files = {}
    for part in PARTS:
        name = FOREIGN_LABEL.replace("2.Validation", part)
        files[name] = label(transcription={"AnswerLabelText": part})
        files[FOREIGN_AUDIO.replace("2.Validation", part)] = b""
    utterances = utterances_of(written(tmp_path, files))
    assert [
        (u.raw, u.reason, part in u.audio) for u, part in zip(utterances, PARTS, strict=True)
    ] == [
        ("1.Training", None, True),
        ("2.Validation", None, True),
    ]
    assert len({u.id for u in utterances}) == 2


def test_the_same_name_in_a_folder_and_beside_it_is_two_clips(tmp_path, korean):
    utterances = korean(
        tmp_path,
        "a/x_1.wav :: 하나",
        "x_1.wav :: 둘",
        audio=["a/x_1.wav", "x_1.wav"],
        name="scripts.txt",
    )
    assert [(u.id, u.audio) for u in utterances] == [
        ("x_1", str(tmp_path / "a/x_1.wav")),
        ("./x_1", str(tmp_path / "x_1.wav")),
    ]


def test_a_clip_stored_twice_is_taken_once_and_its_copy_told(tmp_path, korean):
    utterances = korean(tmp_path, line(1, suffix="pcm"), line(1), audio=[clip(1), clip(1, "pcm")])
    assert [(u.reason, u.audio) for u in utterances] == [
        (None, str(tmp_path / clip(1, "pcm"))),
        ("duplicate id", str(tmp_path / clip(1, "pcm"))),
        ("audio copy", str(tmp_path / clip(1))),
    ]


@pytest.mark.parametrize(
    "name",
    ["../dialog_00000001.wav", "a/../../dialog_00000001.wav", "..\\dialog_00000001.wav", ".."],
)
def test_a_script_that_leads_out_of_the_corpus_is_refused_by_name(tmp_path, name, korean):
    utterances = korean(tmp_path, f"{name} :: 밥", line(2), audio=map(clip, (1, 2)))
    assert [(u.id, u.reason) for u in utterances] == [
        (name, "unsafe path"),
        ("dialog_00000002", None),
        ("dialog_00000001", "no label"),
    ]


@pytest.mark.parametrize("text", ["a\0b", "\0"])
def test_a_line_with_a_nul_byte_is_rejected_and_the_next_one_read(tmp_path, text, korean):
    utterances = korean(tmp_path, line(1, text), line(2), audio=map(clip, (1, 2)))
    assert reasons(utterances) == {"dialog_00000001": "label unreadable", "dialog_00000002": None}


@pytest.mark.parametrize(
    "metadata", [[], [f"/{clip(1)}|1|2|F"], [f"/{clip(n)}|1|2|F|A|5|1|7|1" for n in range(1, 9)]]
)
def test_metadata_shorter_or_longer_than_the_scripts_changes_no_clip(tmp_path, metadata, korean):
    utterances = korean(tmp_path, line(1), line(2), audio=map(clip, (1, 2)), metadata=metadata)
    assert reasons(utterances) == {"dialog_00000001": None, "dialog_00000002": None}


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("x_scripts.txt", "/dev/zero", "unsafe path"),
        ("x.trn", "/dev/zero", "unsafe path"),
        ("x.json", "/dev/full", "unsafe path"),
        ("x.jsonl", "pipe", "unsafe path"),
        ("x.tgz", "pipe", "unsafe path"),
        ("x_metadata.txt", "/dev/zero", "unsafe path"),
        ("x_scripts.txt", "/nowhere/x", "label unreadable"),
        ("x_metadata.txt", "/nowhere/x", "label unreadable"),
        ("x_scripts.txt", "x_scripts.txt", "label unreadable"),  # to itself
        ("x.zip", "/dev/zero", "unsafe path"),
        ("x.tar", "/dev/zero", "unsafe path"),
        ("x.tar.gz", "/nowhere/x", "label unreadable"),
    ],
)
def test_a_link_to_no_label_is_refused_by_name_and_waited_for_never(
    tmp_path, name, target, reason, korean
):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / name).symlink_to(target)
    utterances = korean(tmp_path, line(1), audio=[clip(1)])
    assert reasons(utterances) == {"dialog_00000001": None, str(tmp_path / name): reason}


def test_an_endless_file_of_the_kernel_is_an_empty_script(tmp_path, korean):
    (tmp_path / "x_scripts.txt").symlink_to("/proc/self/pagemap")
    assert reasons(korean(tmp_path, line(1), audio=[clip(1)])) == {"dialog_00000001": None}


@pytest.mark.parametrize("target", ["/dev/zero", "/nowhere/x", "/proc/self/mem"])
def test_a_text_beside_a_clip_that_links_to_no_text_is_refused(
    tmp_path, target, written, utterances_of
):
    written(tmp_path, {"a_1.wav": b"", "a_2.wav": b"", "a_2.txt": "밥"})
    (tmp_path / "a_1.txt").symlink_to(target)
    (first, second) = utterances_of(tmp_path)
    assert second.reason is None
    assert first.reason in ("unsafe path", "label unreadable") or first.raw == ""


def test_links_that_lead_back_and_folders_reached_twice_are_listed_once(
    tmp_path, written, utterances_of
):
    written(tmp_path, {LABELS: line(1), clip(1): b""})
    (tmp_path / "1.Training/loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to("1.Training")
    (tmp_path / "itself").symlink_to("itself")
    assert reasons(utterances_of(tmp_path)) == {"dialog_00000001": None}


def test_a_linked_folder_is_searched_and_its_audio_named_by_where_it_lies(
    tmp_path, written, utterances_of
):
    written(tmp_path, {"corpus/x_scripts.txt": line(1), "store/dialog_00000001.wav": b""})
    (tmp_path / "corpus/audio").symlink_to(tmp_path / "store")
    (utterance,) = utterances_of(tmp_path / "corpus")
    assert utterance.audio == str(tmp_path / "store/dialog_00000001.wav")


def test_a_linked_file_keeps_the_name_that_tells_its_format(tmp_path, written, utterances_of):
    written(tmp_path, {"corpus/x_scripts.txt": line(1, suffix="pcm"), "store/abc123": b""})
    (tmp_path / "corpus/dialog_00000001.pcm").symlink_to(tmp_path / "store/abc123")
    (utterance,) = utterances_of(tmp_path / "corpus")
    assert utterance.audio == str(tmp_path / "corpus/dialog_00000001.pcm")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_left_out_by_name(tmp_path, written, listing_of):
    written(tmp_path, {LABELS: line(1), clip(1): b"", "closed/x_scripts.txt": line(2)})
    (tmp_path / "closed").chmod(0)
    listing = listing_of(tmp_path)
    (tmp_path / "closed").chmod(0o700)
    assert listing.notes == [f"{tmp_path}/closed was left out: Permission denied."]


def test_what_an_earlier_run_wrote_into_the_corpus_is_no_part_of_it(tmp_path, written):
    earlier = json.dumps({"audio_filepath": "../a.wav", "duration": 1, "text": "밥"})
    written(
        tmp_path,
        {LABELS: line(1), clip(1): b"", "out/korean.jsonl": earlier, "out/rejected.jsonl": "{}"},
    )
    assert reasons(
        raw_utterances(listed_corpus(tmp_path, tmp_path / "out", AUDIO_SUFFIXES, OPTIONAL_KEYS))
    ) == {"dialog_00000001": None}


def test_what_macos_puts_beside_each_file_is_passed_over(tmp_path, written, utterances_of):
    name = LABELS.replace("dialog_01_s", "._dialog_01_s")
    files = {LABELS: line(1), clip(1): b"", name: b"\0\5\x16\7", "._labels.zip": b"\0\5\x16\7"}
    assert reasons(utterances_of(written(tmp_path, files))) == {"dialog_00000001": None}


def test_a_label_file_is_named_in_the_checksum_by_its_bytes(tmp_path, written, listing_of):
    digests = []
    for text in ("밥", "밥", "국"):
        listing = listing_of(written(tmp_path, {LABELS: line(1, text)}))
        assert list(raw_utterances(listing)) and listing.n_label_files == 1
        digests.append(listing.digest.hexdigest())
    assert digests[0] == digests[1] != digests[2]


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
EXAMPLES = {
    "x.json": [json.loads(label()), FREE_TALK, LEARNER],
    "x.jsonl": [
        {
            "audio_filepath": "clip_1.wav",
            "text": "밥",
            "id": "one",
            "offset": 0,
            "speaker": "S1",
            "gender": "F",
        },
    ],
}


def _places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*path, key))


PLACES = [
    (name, index, path)
    for name, labels in EXAMPLES.items()
    for index, content in enumerate(labels)
    for path in _places(content)
]


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(place=st.sampled_from(PLACES), value=JSON_VALUES)
def test_any_value_in_place_of_any_key_gives_an_utterance(
    tmp_path_factory, place, value, written, utterances_of
):
    name, index, path = place
    content = {"": copy.deepcopy(EXAMPLES[name][index])}
    inner = content
    for key in ("", *path)[:-1]:
        inner = inner[key]
    inner[("", *path)[-1]] = value
    root = tmp_path_factory.getbasetemp() / f"any_value_{name}"
    written(root, {"clip_1.wav": b"", name: json.dumps(content[""])})
    for corpus in (root, root / name) if name == "x.jsonl" else (root,):
        utterances = utterances_of(corpus)
        assert {utterance.audio for utterance in utterances} <= {str(root / "clip_1.wav"), None}
        for utterance in utterances:
            assert utterance.reason is None or utterance.reason in REASONS
            assert isinstance(utterance.id, str) and isinstance(utterance.raw, str)
            assert all(isinstance(fact, str) for fact in utterance.facts.values())


def test_folders_of_undecodable_names_are_searched(tmp_path, korean):
    folder = os.fsdecode(b"3.\xc0\xcf\xbb\xf3")  # 3.일상 in CP949, as unzip leaves it
    (utterance,) = korean(
        tmp_path, line(1), audio=[f"{folder}/dialog_00000001.wav"], name=f"{folder}/x_scripts.txt"
    )
    assert utterance.audio == str(tmp_path / folder / "dialog_00000001.wav")


def test_audio_of_an_undecodable_name_is_told_by_its_place(tmp_path, korean):
    name = os.fsdecode(b"\xc0\xcf_1.wav")
    utterances = korean(tmp_path, line(1), audio=[clip(1), name])
    assert (utterances[1].audio, utterances[1].reason) == (str(tmp_path / name), "no label")


def test_a_place_that_is_no_corpus_is_named_with_what_to_do(tmp_path, written):
    written(tmp_path, {"corpus.7z": b"", "a/clip.wav": b"", "b/readme.txt": b""})
    os.mkfifo(tmp_path / "fifo")
    for name, message in {
        "nowhere": "nowhere does not exist. Pass the folder of the corpus, or a manifest",
        "corpus.7z": r"corpus.7z is a file, but not a manifest .* or an archive \(\*.tar, ",
        "fifo": "fifo is neither a folder nor a file",
        "a": "a holds no labels: no .*scripts.txt.*Pass the folder that holds 1.Training, or a "
        "manifest",
        "b": "b holds no labels",
        "processed": "processed is the folder to write into. Pass another --output",
    }.items():
        (tmp_path / "processed").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=message) as error:
            listed_corpus(tmp_path / name, tmp_path / "processed", AUDIO_SUFFIXES, OPTIONAL_KEYS)
        assert "\n" not in str(error.value)


def test_what_an_earlier_run_wrote_is_no_label_of_the_corpus(tmp_path, written, listing_of):
    row = json.dumps({"audio_filepath": f"../{clip(1)}", "duration": 1.0, "text": "cleaned"})
    written(
        tmp_path,
        {"processed_before/korean.jsonl": row, "processed_before/preprocessing.json": "{}"},
    )
    written(tmp_path, {"processed_before/copies/korean.jsonl": row})
    written(tmp_path, {LABELS: line(1, "raw"), clip(1): b""})
    listing = listing_of(tmp_path)
    assert [(utterance.raw, utterance.reason) for utterance in raw_utterances(listing)] == [
        ("raw", None)
    ]
    assert listing.notes == [f"{tmp_path}/processed_before was left out: script 1 wrote it."]


def test_metadata_meets_the_clip_of_its_own_folder_where_names_repeat(
    tmp_path, written, utterances_of
):
    paths = [
        f"{part}/2.원천데이터/dialog_01/001/dialog_00000001.wav"
        for part in ("1.Training", "2.Validation")
    ]
    for path, gender in zip(paths, "MF", strict=True):
        part = path.partition("/")[0]
        written(
            tmp_path,
            {
                f"{part}/x_scripts.txt": f"/{path} :: {gender}",
                f"{part}/x_metadata.txt": f"/{path}|1|2|{gender}|A|5|1|7|1",
                path: b"",
            },
        )
    assert [(u.raw, u.facts["gender"]) for u in utterances_of(tmp_path)] == [("M", "M"), ("F", "F")]


def test_audio_that_a_manifest_of_the_user_names_in_vain_is_missing_and_not_unsafe(
    tmp_path, written, utterances_of
):
    row = json.dumps(
        {"audio_filepath": "../audio/gone.wav", "duration": 1.0, "text": "밥"}, ensure_ascii=False
    )
    written(tmp_path, {"manifests/my.jsonl": row})
    assert reasons(utterances_of(tmp_path / "manifests/my.jsonl")) == {"gone": "no audio"}
