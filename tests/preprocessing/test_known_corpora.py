"""Corpora that are known by their labels, on disk with real sound, up to the manifest's clips."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from korean_asr.manifest import Utterance, read_manifest
from korean_asr.preprocessing.cleaning import RULE_SENTENCES, Settings, preprocessed
from korean_asr.preprocessing.json_labels import NO_KEYS, LabelKeys
from korean_asr.preprocessing.outputs import write_outputs


def sound(path, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(round(seconds * 16_000), 0.1), 16_000)


def read(root, tmp_path, keys=NO_KEYS, settings=None):
    settings, output = settings or Settings(), tmp_path / "out"
    group = preprocessed({"a": root}, settings, 1, "korean", output, keys=keys)
    write_outputs(output, [group], RULE_SENTENCES, None)
    return group.corpora[0], read_manifest(tmp_path / "out" / "korean.jsonl")


def dump(*rows):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


ORIGINAL = {"fileName": "k1.wav", "transcription": "밥 먹어"}
COMMAND = {"전사정보": {"LabelText": "불 켜 줘."}, "파일정보": {"FileName": "c.wav"}}
TALK = [
    {"form": "(거를)/(그것을)", "dialect_form": "거를 먹어", "start": 0, "end": 1.2},
    {"form": "x", "dialect_form": "&name1& 왔나", "start": 1.5, "end": 2.5},
    {"form": "x", "dialect_form": "밥 뭇나", "start": 3, "end": 4.5},
    {"form": "x", "dialect_form": "늦은 밥", "start": 5.5, "end": 9},
    {"form": "x", "dialect_form": "밥 뭇나", "start": 3, "end": 4.5},
]
CALL = {"inputText": [{"orgtext": "네, 안녕하세요."}], "dialogs": [{"audioPath": "Y:\\x\\w.wav"}]}
CLOVA = [{"wav": "42_1.wav", "text": "네 있어요", "speaker_id": "7"}]
CLIP = Utterance("c", "c.wav", 1.0, "", corpus="a")


@pytest.mark.parametrize(
    ("files", "clips"),
    [
        # What the original code leaves on disk.
        (
            {"script/k1.json": dump(ORIGINAL), "audio/k1.wav": 1},
            [replace(CLIP, id="k1", audio_filepath="audio/k1.wav", text="밥 먹어")],
        ),
        (
            {"[라벨]/c.json": dump(COMMAND), "[원천]/c.wav": 1},
            [replace(CLIP, audio_filepath="[원천]/c.wav", text="불 켜 줘.")],
        ),
        (
            {"라벨링데이터/w.json": dump(CALL), "원천데이터/w.wav": 1},  # it names another file
            [replace(CLIP, id="w", audio_filepath="원천데이터/w.wav", text="네, 안녕하세요.")],
        ),
        (
            {"a/DG1.json": json.dumps({"utterance": TALK}, indent=1), "b/DG1.wav": 6},
            [
                replace(
                    CLIP, id=f"DG1_{cut}", audio_filepath="b/DG1.wav", text=text,
                    offset=start, duration=seconds,
                )
                for cut, text, start, seconds in (
                    ("0.0000-1.2000", "거를 먹어", 0.0, 1.2),
                    ("3.0000-4.5000", "밥 뭇나", 3.0, 1.5),
                )
            ],
        ),
        (
            {"train_ClovaCall.json": dump(CLOVA), "wavs_train/42_1.wav": 1},
            [
                replace(
                    CLIP, id="42_1", audio_filepath="wavs_train/42_1.wav", text="네 있어요",
                    speaker="7",
                )
            ],
        ),
        (
            {"104/104_003.trans.txt": "104_003_0001 그 바람 에\n", "104/104_003_0001.flac": 1},
            [
                replace(
                    CLIP, id="104_003_0001", audio_filepath="104/104_003_0001.flac",
                    text="그 바람 에", speaker="104",
                )
            ],
        ),
    ],
    ids=["original", "command", "call center", "dialect", "ClovaCall", "Zeroth"],
)  # fmt: skip
def test_a_corpus_gives_the_clips_that_its_labels_describe(tmp_path, written, files, clips):
    root = tmp_path / "corpus"
    written(root, {name: text for name, text in files.items() if isinstance(text, str)})
    for name, seconds in files.items():
        if not isinstance(seconds, str):
            sound(root / name, seconds)
    corpus, found = read(root, tmp_path)
    assert found == [
        replace(clip, audio_filepath=str(root / clip.audio_filepath)) for clip in clips
    ]
    is_dialect = len(clips) == 2
    assert corpus.tally.reasons == (
        {"masked": 1, "audio truncated": 1, "duplicate id": 1} if is_dialect else {}
    )


def test_a_prompt_is_cleaned_like_the_text_and_left_out_where_it_would_be_rejected(
    tmp_path, written
):
    prompts = {"a": "(3)/(세) 번 b/", "b": "(4월)", "c": "", "d": None}
    labels = {
        f"{name}.json": dump({"RecordingMetadata": {"orthographic": "밥", "prompt": prompt}})
        for name, prompt in prompts.items()
    }
    foreign = {"Reading": "밥 (3)/(세) 번", "ReadingLabelText": "밥"}
    labels["e.json"] = dump({"transcription": foreign})
    root = written(tmp_path / "corpus", labels)
    for name in "abcde":
        sound(root / f"{name}.wav")
    _, found = read(root, tmp_path)
    assert [clip.prompt for clip in found] == ["3 번", None, None, None, "밥 3 번"]
    _, found = read(root, tmp_path, settings=replace(Settings(), side="B"))
    assert [clip.prompt for clip in found] == ["세 번", None, None, None, "밥 세 번"]


def test_lines_of_other_json_are_read_by_the_users_keys(tmp_path, written):
    rows = [{"path": "wavs/a.wav", "sentence": {"text": "밥"}}, {"path": "wavs/b.wav"}]
    root = written(tmp_path / "corpus", {"rows.jsonl": dump(*rows)})
    sound(root / "wavs/a.wav")
    corpus, found = read(root, tmp_path, LabelKeys(("sentence", "text"), ("path",)))
    assert [(clip.id, clip.text) for clip in found] == [("a", "밥")]
    assert (corpus.tally.reasons, corpus.lacks_keys) == ({"unknown label": 1}, False)
    assert corpus.notes == [
        f"unknown label, 1 with the keys path, such as {root}/rows.jsonl, line 2: script 1 knows "
        "no corpus with such labels. --text-key sentence.text is none of them. "
        "· --text-key가 라벨에 없는 키입니다."
    ]


def test_one_label_file_may_be_a_single_line_of_many_megabytes(written, utterances_of, tmp_path):
    clips = [{"wav": f"{n}.wav", "text": "밥 먹었어 " * 50} for n in range(3_000)]
    root = written(tmp_path / "corpus", {"train.json": dump(clips), "a.wav": ""})
    reasons = [clip.reason for clip in utterances_of(root)]
    assert reasons == ["no audio"] * 3_000 + ["no label"]
