import json
import os
import unicodedata

import pytest

from korean_asr.corpora import RawUtterance, foreign_utterances, korean_utterances
from korean_asr.errors import DataError

LABELS = "1.Training/1.라벨링데이터/3.일상안부/dialog_01/dialog_01_scripts.txt"
METADATA = "1.Training/1.라벨링데이터/3.일상안부/dialog_01/dialog_01_metadata.txt"
AUDIO = "1.Training/2.원천데이터/3.일상안부/dialog_01/001"


def written(root, files):
    """root with these files: name -> text or bytes."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def korean(root, *lines, audio=(), metadata=None, name=LABELS):
    files = {name: "\n".join(lines), **dict.fromkeys(audio, b"sound")}
    if metadata is not None:
        files[METADATA] = "\n".join(metadata)
    return list(korean_utterances(written(root, files)))


def line(number, text="밥 먹었어?", suffix="wav"):
    return f"/{AUDIO}/dialog_{number:08}.{suffix} :: {text}"


def clip(number, suffix="wav"):
    return f"{AUDIO}/dialog_{number:08}.{suffix}"


def label(**changes):
    content = {
        "fileName": "VN10QC226_VN0001_20210809.wav",
        "file_info": {"speakerID": "VN0001", "sentenceID": "VN10QC226", "recordTime": "8.784"},
        "transcription": {"Reading": "", "ReadingLabelText": "", "Question": "어디서 왔나요?",
                          "AnswerLabelText": "저는 먼 나라에서 왔어요"},
        "SpeakerID": "VN0001",
        "basic_info": {"gender": "F", "birthYear": "1995"},
        "residence_info": {"country": "VN", "residencePeriod": "5년 이상"},
        "skill_info": {"languageClass": "베트남어", "motherTongue": "베트남어", "topikGrade": "4"},
    }  # fmt: skip
    return json.dumps(content | changes, ensure_ascii=False)


FOREIGN_LABEL = "2.Validation/라벨링데이터/5. 베트남어/1. 한국생활/VN10QC226_VN0001_20210809.json"
FOREIGN_AUDIO = "2.Validation/원천데이터/VS_5. 베트남어/1. 한국생활/VN10QC226_VN0001_20210809.wav"


def foreign(root, **files):
    return list(foreign_utterances(written(root, files)))


def reasons(utterances):
    return {utterance.id: utterance.reason for utterance in utterances}


# 한국인 대화 음성


def test_a_clip_of_the_korean_corpus_knows_its_audio_theme_part_and_metadata(tmp_path):
    metadata = [f"/{clip(1)} | 1 | 2 | F | T | 5 | 4 | 7 | 2"]
    assert korean(tmp_path, line(1, "밥 (3)/(세) 번 먹었어?"), audio=[clip(1)], metadata=metadata) == [
        RawUtterance(
            "dialog_00000001",
            "밥 (3)/(세) 번 먹었어?",
            tmp_path / clip(1),
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
        ("{}|1|2|M|A|5|1|7|1", {"gender": "M", "age": "성인", "residence": "서울·경기", "quality": "정상"}),
        ("{}|1|2|F|C|5|2|7|3", {"gender": "F", "age": "유아", "residence": "강원", "quality": "잡음"}),
        (
            "{} | 1 | 2 | F | S | 5 | 9 | 7 | 4",
            {"gender": "F", "age": "고령", "residence": "기타", "quality": "원거리"},
        ),
        ("{}|1|2|F|Z|5|3|7|1\r", {"gender": "F", "age": "기타", "residence": "충청", "quality": "정상"}),
        ("{}|1|2|F|T|5|5|7|1|more", {"gender": "F", "age": "청소년", "residence": "전라", "quality": "정상"}),
        ("{}|1|2|F|T|5|6|7|1", {"gender": "F", "age": "청소년", "residence": "제주", "quality": "정상"}),
        ("{}|1|2||?|5|8|7|0", {}),  # codes that nobody has established
        ("{}|1|2|F|T|5|6|7", {}),  # a field is missing, so the others may have moved
        ("", {}),
    ],
)
def test_established_metadata_is_told_and_no_other(tmp_path, row, facts):
    (utterance,) = korean(tmp_path, line(1), audio=[clip(1)], metadata=[row.format(clip(1))])
    assert utterance.facts == {"theme": "dialog", "part": "training", **facts}


def test_metadata_in_another_order_and_of_another_length_meets_its_clip(tmp_path):
    metadata = [f"/{clip(n)}|1|2|{gender}|A|5|1|7|1" for n, gender in ((9, "F"), (3, "F"), (1, "M"))]
    utterances = korean(tmp_path, *map(line, (1, 2, 3)), audio=map(clip, (1, 2, 3)), metadata=metadata)
    assert [utterance.facts.get("gender") for utterance in utterances] == ["M", None, "F"]


def test_a_theme_is_read_from_the_clip_since_a_script_may_carry_another_name(tmp_path):
    (utterance,) = korean(tmp_path, "x/hobby_00000001.wav :: 밥", name="1.Training/dialog_01_scripts.txt")
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
def test_a_part_is_read_from_the_folder(tmp_path, folder, part):
    (utterance,) = korean(tmp_path, line(1), name=f"{folder}/dialog_01_scripts.txt")
    assert utterance.facts.get("part") == part


@pytest.mark.parametrize("suffix", ["wav", "pcm", "flac", "WAV"])
@pytest.mark.parametrize("written_as", [f"/{clip(1)}", clip(1), clip(1, "pcm"), "dialog_00000001.wav",
                                        f"  /{clip(1)} ", f"\\{clip(1)}".replace("/", "\\")])  # fmt: skip
def test_a_label_meets_its_audio_however_either_is_named(tmp_path, suffix, written_as):
    utterances = korean(tmp_path, f"{written_as} :: 밥", audio=[clip(1, suffix)])
    assert utterances == [
        RawUtterance("dialog_00000001", "밥", tmp_path / clip(1, suffix), facts={"theme": "dialog", "part": "training"})
    ]


def test_only_the_first_separator_parts_the_name_from_the_text(tmp_path):
    assert korean(tmp_path, f"{clip(1)} :: 밥 :: 국", audio=[clip(1)])[0].raw == "밥 :: 국"


def test_crlf_bom_and_blank_lines_are_no_part_of_a_text(tmp_path):
    utterances = korean(tmp_path, f"\ufeff{line(1, '밥')}\r\n\r\n   \r\n{line(2, '국')}\r\n", audio=map(clip, (1, 2)))
    assert [(utterance.id, utterance.raw) for utterance in utterances] == [
        ("dialog_00000001", "밥"),
        ("dialog_00000002", "국"),
    ]


def test_a_line_in_cp949_is_read_and_named_without_spoiling_its_neighbours(tmp_path):
    lines = line(1, "밥").encode() + b"\r\n" + line(2, "국").encode("cp949") + b"\r\n" + line(3, "물").encode()
    utterances = korean_utterances(written(tmp_path, {LABELS: lines, **{clip(n): b"" for n in (1, 2, 3)}}))
    assert [(utterance.raw, utterance.encoding, utterance.reason) for utterance in utterances] == [
        ("밥", "utf-8", None),
        ("국", "cp949", None),
        ("물", "utf-8", None),
    ]


def test_bytes_of_no_known_encoding_are_marked_in_the_text(tmp_path):
    (utterance,) = korean_utterances(written(tmp_path, {LABELS: f"{clip(1)} :: ".encode() + b"\xff\xfe\xff"}))
    assert "\ufffd" in utterance.raw


def test_a_line_without_a_separator_is_rejected_and_the_next_one_read(tmp_path):
    utterances = korean(tmp_path, "dialog_00000001.wav 밥", f"{clip(2)} :: 국", audio=[clip(2)])
    assert [(utterance.raw, utterance.reason) for utterance in utterances] == [
        ("dialog_00000001.wav 밥", "label unreadable"),
        ("국", None),
    ]


def test_a_label_without_audio_and_audio_without_a_label_are_both_told(tmp_path):
    utterances = korean(tmp_path, line(1), line(2), audio=map(clip, (2, 3)))
    assert reasons(utterances) == {
        "dialog_00000001": "no audio",
        "dialog_00000002": None,
        "dialog_00000003": "no label",
    }
    assert [utterance.audio for utterance in utterances] == [None, tmp_path / clip(2), tmp_path / clip(3)]


def test_a_second_label_of_a_clip_is_a_duplicate_in_whatever_file(tmp_path):
    written(tmp_path, {"1.Training/z_scripts.txt": line(1, "셋")})
    utterances = korean(tmp_path, line(1, "하나"), line(1, "둘"), audio=[clip(1)])
    assert [(utterance.raw, utterance.reason) for utterance in utterances] == [
        ("하나", None),
        ("둘", "duplicate id"),
        ("셋", "duplicate id"),
    ]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_same_name_in_two_folders_is_told_apart_by_the_path_in_the_label(tmp_path, form):
    themes = [unicodedata.normalize(form, name) for name in ("2.취미", "3.일상안부", "4.생활")]
    audio = [f"2.원천데이터/{theme}/001/dialog_00000001.wav" for theme in themes]
    (utterance,) = korean(tmp_path, "/2.원천데이터/3.일상안부/001/dialog_00000001.wav :: 밥", audio=audio)
    assert utterance.audio == tmp_path / audio[1]


def test_folders_and_files_decomposed_by_macos_are_found(tmp_path):
    audio = unicodedata.normalize("NFD", "2.원천데이터/3.일상안부/안녕_01.wav")
    name = unicodedata.normalize("NFD", LABELS)
    (utterance,) = korean(tmp_path, "2.원천데이터/3.일상안부/안녕_01.wav :: 밥", audio=[audio], name=name)
    assert (utterance.id, utterance.audio, utterance.reason) == ("안녕_01", tmp_path / audio, None)


def test_label_files_are_read_in_sorted_order(tmp_path):
    names = ["1.Training/b_scripts.txt", "2.Validation/a_scripts.txt", "1.Training/a_scripts.txt"]
    written(tmp_path, {name: f"x_{number}.wav :: 밥" for number, name in enumerate(names)})
    assert [utterance.id for utterance in korean_utterances(tmp_path)] == ["x_2", "x_0", "x_1"]


# 외국인 한국어 발화


def test_a_clip_of_the_foreign_corpus_knows_its_audio_part_and_speaker(tmp_path):
    assert foreign(tmp_path, **{FOREIGN_LABEL: label(), FOREIGN_AUDIO: b""}) == [
        RawUtterance(
            "VN10QC226_VN0001_20210809",
            "저는 먼 나라에서 왔어요",
            tmp_path / FOREIGN_AUDIO,
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
        ({"Reading": "귤.", "ReadingLabelText": "귤", "Question": "", "AnswerLabelText": ""}, "귤", "read"),
        ({"Reading": "", "ReadingLabelText": "", "Question": "뭐?", "AnswerLabelText": "귤"}, "귤", "answer"),
        ({"ReadingLabelText": "  ", "AnswerLabelText": "귤"}, "귤", "answer"),
        ({"ReadingLabelText": None, "AnswerLabelText": "귤"}, "귤", "answer"),
        ({"ReadingLabelText": "귤"}, "귤", "read"),
        ({"AnswerLabelText": None}, "", "answer"),
        ({}, "", "answer"),
    ],
)
def test_read_aloud_and_answers_are_both_taken(tmp_path, transcription, raw, task):
    (utterance,) = foreign(tmp_path, **{FOREIGN_LABEL: label(transcription=transcription), FOREIGN_AUDIO: b""})
    assert (utterance.raw, utterance.facts["task"], utterance.reason) == (raw, task, None)


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"file_info": {}}, "speaker", "VN0001"),
        ({"file_info": None, "SpeakerID": "CN7"}, "speaker", "CN7"),
        ({"file_info": {}, "SpeakerID": ""}, "speaker", None),
        ({"skill_info": {"languageClass": "베트남어", "motherTongue": ""}}, "first_language", "베트남어"),
        ({"skill_info": {"languageClass": "영어", "motherTongue": "중국어"}}, "first_language", "중국어"),
        ({"skill_info": {"topikGrade": "해당 없음"}}, "topik_level", "해당 없음"),
        ({"skill_info": {"topikGrade": 4}}, "topik_level", "4"),
        ({"skill_info": None}, "topik_level", None),
        ({"basic_info": {}}, "gender", None),
        ({"residence_info": {}}, "country", None),
    ],
)
def test_any_fact_may_be_missing_from_a_label(tmp_path, changes, key, value):
    (utterance,) = foreign(tmp_path, **{FOREIGN_LABEL: label(**changes), FOREIGN_AUDIO: b""})
    assert utterance.reason is None
    assert utterance.facts.get(key) == value


def test_a_label_that_names_no_file_means_the_audio_of_its_own_name(tmp_path):
    content = json.dumps({"transcription": {"AnswerLabelText": "귤"}}, ensure_ascii=False)
    (utterance,) = foreign(tmp_path, **{FOREIGN_LABEL: content, FOREIGN_AUDIO: b""})
    assert (utterance.audio, utterance.reason) == (tmp_path / FOREIGN_AUDIO, None)
    assert utterance.facts == {"task": "answer", "part": "validation"}


def test_a_label_renamed_together_with_its_audio_keeps_it(tmp_path):
    utterances = foreign(tmp_path, **{"a/clip_1.json": label(), "a/clip_1.wav": b""})
    assert [(utterance.id, utterance.audio, utterance.reason) for utterance in utterances] == [
        ("clip_1", tmp_path / "a/clip_1.wav", None)
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_a_label_in_any_encoding_with_crlf_is_read(tmp_path, encoding):
    content = json.dumps(json.loads(label()), ensure_ascii=False, indent=1).replace("\n", "\r\n").encode(encoding)
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
        b'{"transcription": ["text"]}',
        b'{"transcription": {"ReadingLabelText": 7}}',
        b'{"skill_info": "none"}',
        b"\xff\xfe{\x00}\x00",
    ],
    ids=lambda content: repr(content[:40]),
)
def test_a_damaged_label_is_one_rejected_line_that_accounts_for_its_audio(tmp_path, content):
    utterances = foreign(tmp_path, **{FOREIGN_LABEL: content, FOREIGN_AUDIO: b""})
    assert reasons(utterances) == {"VN10QC226_VN0001_20210809": "label unreadable"} and len(utterances) == 1


def test_a_label_that_links_to_nothing_is_rejected(tmp_path):
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere.json")
    assert reasons(foreign_utterances(tmp_path)) == {"gone": "label unreadable"}


def test_foreign_labels_and_audio_that_miss_each_other_are_told(tmp_path):
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
def test_a_name_is_the_same_composed_or_not(tmp_path, on_disk, in_label):
    name = unicodedata.normalize(on_disk, "귤_1")
    content = label(fileName=unicodedata.normalize(in_label, "귤_1.wav"))
    utterances = foreign(tmp_path, **{f"a/{name}.json": content, f"a/{name}.wav": b""})
    assert reasons(utterances) == {"귤_1": None}


# Both


def test_folders_of_undecodable_names_are_searched(tmp_path):
    folder = os.fsdecode(b"3.\xc0\xcf\xbb\xf3")  # 3.일상 in CP949, as unzip leaves it
    (utterance,) = korean(tmp_path, line(1), audio=[f"{folder}/dialog_00000001.wav"], name=f"{folder}/x_scripts.txt")
    assert utterance.audio == tmp_path / folder / "dialog_00000001.wav"


@pytest.mark.parametrize("read", [korean_utterances, foreign_utterances])
def test_a_folder_that_is_no_corpus_is_named_with_what_to_do(tmp_path, read):
    with pytest.raises(DataError, match=r"nowhere does not exist\. Pass the folder of the unpacked corpus"):
        list(read(tmp_path / "nowhere"))
    written(tmp_path, {"corpus.tar": b"", "a/clip.wav": b""})
    with pytest.raises(DataError, match=r"corpus\.tar is not a folder"):
        list(read(tmp_path / "corpus.tar"))
    with pytest.raises(DataError, match=r"holds no \*.*Unpack the .* archives there"):
        list(read(tmp_path / "a"))
