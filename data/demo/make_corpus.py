"""Make the demo corpora in data/demo: korean, foreign, foreign_slips, in the layouts of AI Hub.

    python data/demo/make_corpus.py            (ten minutes on two cores; needs requirements.txt)

Users of the pipeline never run this. korean_sentences.tsv, foreign_sentences.tsv and
slip_sentences.tsv hold the spoken sentences, their transcripts and how they are pronounced; the
speakers are in voices.py. The same seed gives the same files. A clip that is there is kept: remove
the clips to make them again.
"""

import csv
import json
import os
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import soundfile
from tqdm import tqdm

from accents import Replacement, accented
from phonemes import spoken_phonemes, syllables
from voices import (
    FOREIGN_VOICES,
    KOREAN_VOICES,
    SAMPLE_RATE,
    Voice,
    spoken_waveform,
)

HERE = Path(__file__).resolve().parent
SEED = 7
THEMES = {"dialog": "3.일상안부", "hobby": "2.취미"}
# (part, theme, label folder, number of clips). The recipe draws from the training part of dialog;
# the other parts are there to be left out.
KOREAN_PARTS = (
    ("1.Training", "dialog", "dialog_01", 120),
    ("1.Training", "dialog", "dialog_02", 120),
    ("1.Training", "hobby", "hobby_01", 6),
    ("2.Validation", "dialog", "dialog_03", 6),
)
# Every real corpus has some of these labels: masked, broken, or without audio.
UNUSABLE_LABELS = (
    "@이름1 씨한테 전화해 봤어?",
    "우리 집 주소는 ##### 이야.",
    "(8개)/(여덟 개 사 왔어.",
    "b/ n/",
)
# Of the twenty clips that the judge heard worst, these are understood better when spoken slower.
SLOW_CLIPS, SLOW_SPEED = {6, 9, 64, 81, 90, 102, 141, 145, 213, 230}, 0.8
LABEL_WITHOUT_AUDIO = "이 말은 녹음 파일이 없어."
COUNTRIES = {
    "영어": "US",
    "중국어": "CN",
    "일본어": "JP",
    "스페인어": "ES",
    "힌디어": "IN",
    "포르투갈어": "BR",
}
TOPIK_GRADES = ("2", "4", "해당 없음")
# The number of the first clip of foreign_slips; those of foreign are lower.
FIRST_SLIP = 101


def rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


class Clip(NamedTuple):
    path: Path
    phonemes: str
    voice: Voice
    speed_factor: float
    seed: int


def drawn_clip(path: Path, phonemes: str, voice: Voice, rng: random.Random) -> Clip:
    """A clip with a speed and a seed of its own."""
    return Clip(path, phonemes, voice, rng.uniform(0.92, 1.08), rng.randrange(2**32))


def write_flac(clip: Clip) -> float:
    """Speak a clip into its file, unless it is there; return its duration in seconds."""
    if not clip.path.exists():
        clip.path.parent.mkdir(parents=True, exist_ok=True)
        waveform = spoken_waveform(*clip[1:])
        part = clip.path.with_suffix(".part")
        soundfile.write(part, waveform, SAMPLE_RATE, format="FLAC", compression_level=1.0)
        part.replace(clip.path)
    return soundfile.info(clip.path).duration


def make_korean(root: Path, rng: random.Random) -> None:
    sentences = iter(rows("korean_sentences.tsv"))
    number = 0
    voices = [
        KOREAN_VOICES[i % len(KOREAN_VOICES)] for i in range(sum(n for *_, n in KOREAN_PARTS))
    ]
    rng.shuffle(voices)
    deck = iter(voices)
    people = {voice.name: (rng.choice("TAAAS"), rng.choice("11234569")) for voice in KOREAN_VOICES}
    clips = []
    for part, theme, folder, n_clips in KOREAN_PARTS:
        scripts, metadata = [], []
        for _ in range(n_clips):
            number += 1
            sentence, voice = next(sentences), next(deck)
            clip = f"{part}/2.원천데이터/{THEMES[theme]}/{folder}/001/{theme}_{number:08}"
            phonemes = spoken_phonemes(sentence["pronunciation"])
            drawn = drawn_clip(root / f"{clip}.flac", phonemes, voice, rng)
            if number in SLOW_CLIPS:
                drawn = drawn._replace(speed_factor=drawn.speed_factor * SLOW_SPEED)
            clips.append(drawn)
            age, residence = people[voice.name]
            scripts.append(f"/{clip}.wav :: {sentence['label']}")
            metadata.append(
                f"/{clip}.wav | {voice.name} | {theme} | {voice.gender} | {age} | 1 "
                f"| {residence} | 1 | 1"
            )
        if folder == "dialog_01":
            stem = f"{part}/2.원천데이터/{THEMES[theme]}/{folder}/001/{theme}_9000000"
            scripts += [
                f"/{stem}{i}.wav :: {label}"
                for i, label in enumerate([*UNUSABLE_LABELS, LABEL_WITHOUT_AUDIO])
            ]
        labels = root / part / "1.라벨링데이터" / THEMES[theme] / folder
        labels.mkdir(parents=True, exist_ok=True)
        (labels / f"{folder}_scripts.txt").write_text("\n".join(scripts) + "\n", encoding="utf-8")
        (labels / f"{folder}_metadata.txt").write_text("\n".join(metadata) + "\n", encoding="utf-8")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for _ in tqdm(pool.map(write_flac, clips), "korean", len(clips)):
            pass


class Learner(NamedTuple):
    language: str
    voice: Voice
    grade: str


def learners() -> list[Learner]:
    """The speakers in turn: one of each first language, then the next of each."""
    voices = [
        (language, voice)
        for of_each in zip(*FOREIGN_VOICES.values(), strict=True)
        for language, voice in zip(FOREIGN_VOICES, of_each, strict=True)
    ]
    return [
        Learner(*speaker, TOPIK_GRADES[(turn + turn // len(FOREIGN_VOICES)) % 3])
        for turn, speaker in enumerate(voices)
    ]


def line_of_accents(
    name: str,
    language: str,
    sentence: dict[str, str],
    carried: dict[int, list[Replacement]],
    slip: dict[str, Any],
) -> str:
    """The line of foreign_accents.jsonl or foreign_slips.jsonl of one clip.

    slip: what the latter says of the slip.
    """
    sounds = [
        {"index": index, "place": sound.place, "jamo": sound.jamo, "heard": sound.heard}
        for index, replacements in carried.items()
        for sound in replacements
    ]
    line = {
        "id": name,
        "first_language": language,
        **slip,
        "text": sentence["spoken"],
        "pronunciation": sentence["pronunciation"],
        "accented": sounds,
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


def write_learner_clip(
    part: Path,
    number: int,
    learner: Learner,
    sentence: dict[str, str],
    rng: random.Random,
    slip: dict[str, Any],
) -> str:
    """Speak a sentence with the learner's accent and write its label; return line_of_accents().

    part: the folder 1.Training or 2.Validation.
    """
    language, voice, _ = learner
    prefix = "VS" if part.name == "2.Validation" else "TS"
    folder = f"{list(FOREIGN_VOICES).index(language) + 1}. {language}"
    kind = "RD" if sentence["task"] == "read" else "QC"
    sentence_id = f"{voice.name[:2]}{kind}{number:03}"
    name = f"{sentence_id}_{voice.name}_20210809"
    audio = part / "원천데이터" / f"{prefix}_{folder}" / "일상" / f"{name}.flac"
    said, carried = accented(syllables(sentence["pronunciation"]), language)
    phonemes = spoken_phonemes(sentence["pronunciation"], said)
    duration = write_flac(drawn_clip(audio, phonemes, voice, rng))
    label = learner_label(name, learner, sentence, duration)
    labels = part / "라벨링데이터" / folder / "일상"
    labels.mkdir(parents=True, exist_ok=True)
    (labels / f"{name}.json").write_text(
        json.dumps(label, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    return line_of_accents(name, language, sentence, carried, slip)


def learner_label(
    name: str, learner: Learner, sentence: dict[str, str], duration: float
) -> dict[str, Any]:
    """The label of a clip, with the keys of 외국인 한국어 발화 음성."""
    language, voice, grade = learner
    read = sentence["task"] == "read"
    return {
        "fileName": f"{name}.wav",
        "file_info": {
            "speakerID": voice.name,
            "sentenceID": name.split("_")[0],
            "recordUnit": "pc",
            "recordQuality": "16bit 16kHz MONO",
            "recordDate": "2021-08-09 10:00:00",
            "recordTime": f"{duration:.3f}",
        },
        "transcription": {
            "Reading": sentence["prompt"] if read else "",
            "ReadingLabelText": sentence["label"] if read else "",
            "Question": "" if read else sentence["prompt"],
            "AnswerLabelText": "" if read else sentence["label"],
            "SentenceSpeechLV": "중",
        },
        "SpeakerID": voice.name,
        "basic_info": {"gender": voice.gender, "birthYear": "1995", "eduBackground": "대졸"},
        "residence_info": {
            "country": COUNTRIES[language],
            "residencePeriod": "2년",
            "residenceCity": "KR-11",
        },
        "skill_info": {
            "languageClass": language,
            "motherTongue": language,
            "selfAssessment": "중",
            "topikGrade": grade,
            "LearningPeriod": "24",
            "learningSource": "기타",
        },
    }


def make_foreign(root: Path, rng: random.Random) -> None:
    """Deal sentences to speakers in turn; some of the last go to the validation part.

    foreign_accents.jsonl says which syllables of each clip carry an accent.
    """
    speakers = learners()
    truth = []
    for number, sentence in enumerate(tqdm(rows("foreign_sentences.tsv"), "foreign"), 1):
        part = root / ("2.Validation" if number % 5 == 0 and number > 40 else "1.Training")
        learner = speakers[number % len(speakers)]
        truth.append(write_learner_clip(part, number, learner, sentence, rng, {}))
    (HERE / "foreign_accents.jsonl").write_text("".join(truth), encoding="utf-8")


def make_slips(root: Path, rng: random.Random) -> None:
    """Let the same learners read a prompt and slip; the label is what they said.

    foreign_slips.jsonl says for each clip what kind of slip it is and whether it gives a likely
    word, and which syllables carry an accent. No clip has the name of one of make_foreign().
    """
    by_name = {learner.voice.name: learner for learner in learners()}
    truth = []
    sentences = rows("slip_sentences.tsv")
    for number, sentence in enumerate(tqdm(sentences, "foreign_slips"), FIRST_SLIP):
        part = root / ("2.Validation" if number % 5 == 0 else "1.Training")
        slip = {
            "kind": sentence["kind"],
            "likely": sentence["likely"] == "yes",
            "prompt": sentence["prompt"],
        }
        sentence["task"] = "read"
        learner = by_name[sentence["speaker"]]
        truth.append(write_learner_clip(part, number, learner, sentence, rng, slip))
    (HERE / "foreign_slips.jsonl").write_text("".join(truth), encoding="utf-8")


if __name__ == "__main__":
    make_korean(HERE / "korean", random.Random(SEED))
    make_foreign(HERE / "foreign", random.Random(SEED))
    make_slips(HERE / "foreign_slips", random.Random(SEED + 1))
