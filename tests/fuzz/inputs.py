"""Inputs of a case: valid audio, labels, manifests and results, most of them damaged somewhere.

A case is a list of parts, each of which holds one clip's share of every file, so that a failing
case can be made smaller by leaving parts out.
"""

import io
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from mutations import (
    damaged,
    json_bytes,
    log_uniform,
    long_text,
    odd_value,
    with_an_odd_field,
    with_an_odd_value,
)


@dataclass(frozen=True, slots=True)
class NoFile:
    """Something else than a regular file: kind is "fifo", "folder" or "link"."""

    kind: str
    target: str = ""


Content = bytes | NoFile
# Name of a file -> the part's share of its content.
Part = dict[str, Content]
N_PARTS = 6
SECONDS = 0.6
RATES = (8_000, 16_000, 16_000, 16_000, 44_100, 48_000)
SUFFIXES = (".wav", ".flac", ".pcm", ".mp3", ".ogg", ".WAV")
SUFFIX_OF = {"FLAC": ".flac", "OGG": ".ogg", "MP3": ".mp3", "RAW": ".pcm"}
FORMATS = ["WAV"] * 8 + ["FLAC"] * 6 + ["WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "OGG", "MP3"]
# Pieces of what transcribers write, and of what nobody should.
MARKS = (
    "(", ")", "/", "(", ")/(", ")", "{", "}", "<", ">", "[", "]", "*", "+", "b/", "n/", "o/", "u/",
    "un/", "&", "@", "#", ".", ",", "?", "!", "…", "~", "-", ":", "::", "A:", "B:", "|", "\t", " ",
    "  ", "○", "×", "*", "$", "%", "℃", "30", "3.5", "1,000", "TV", "네", "그래요", "가", "ㅋ",
    "ㅎ", "안녕하세요", "《", "》", "‹", "›", "\u3000", "\u200b", "\u202e", "\ufeff", "ᄒᆞᆫ", "韓",
    "β", "é", "\u0301", "😀", "\x85", "\u2028", "\r", "\\", '"', "'", "\ufffd", "\x1b[31m",
)  # fmt: skip
TEXTS = (
    "네 그래요",
    "안녕하세요.",
    "오늘 뭐 먹을까?",
    "그건 (30%)/(삼십 퍼센트)예요",
    "아/ 그래, 좋아요!",
)


def made_case(kind: str, rng: random.Random, speech: np.ndarray) -> list[Part]:
    """Return the parts of a case of one of KINDS. speech: (n_samples,) float32 at 16 kHz."""
    return KINDS[kind](rng, speech)


def valid_parts(speech: np.ndarray) -> list[Part]:
    """Return clips without damage, at two sample rates."""
    return [
        _clip(f"{rate}.wav", encoded(speech, rate, "WAV", "PCM_16")) for rate in sorted({*RATES})
    ]


def written(parts: list[Part], folder: Path) -> None:
    """Write the files of some parts; the shares of one file are joined in order."""
    joined: Part = {}
    for part in parts:
        for name, content in part.items():
            known = joined.get(name, b"")
            both = isinstance(known, bytes) and isinstance(content, bytes)
            joined[name] = known + content if both else content
    for name, content in joined.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content.kind == "fifo":
            os.mkfifo(path)
        elif content.kind == "folder":
            path.mkdir()
        else:
            path.symlink_to(content.target)


# --- Audio ---


def _audio_parts(rng: random.Random, speech: np.ndarray) -> list[Part]:
    """Manifest lines that are in order, of audio that mostly is not."""
    parts = [_clip("good.wav", encoded(speech, 16_000, "WAV", "PCM_16"))]
    for number in range(N_PARTS):
        content = _encoded_somehow(rng, speech)
        suffix = SUFFIX_OF.get(content[0], ".wav") if rng.random() < 0.8 else rng.choice(SUFFIXES)
        parts.append(_clip(f"clip_{number}{suffix}", _changed_audio(rng, content[1])))
    return parts


def _clip(name: str, content: Content) -> Part:
    row = {"audio_filepath": name, "duration": SECONDS, "text": TEXTS[0]}
    return {name: content, "manifest.jsonl": json_bytes(row) + b"\n"}


def _encoded_somehow(rng: random.Random, speech: np.ndarray) -> tuple[str, bytes]:
    form = rng.choice(FORMATS)
    rate, n_channels = rng.choice(RATES), rng.choice((1, 1, 1, 2))
    if rng.random() < 0.1:
        return "RAW", (speech * 32_000).astype("<i2").tobytes()
    while True:
        # Half of all recordings are 16-bit PCM.
        subtypes = sorted(soundfile.available_subtypes(form))
        subtype = rng.choice(subtypes)
        if "PCM_16" in subtypes and rng.random() < 0.5:
            subtype = "PCM_16"
        samples = np.repeat(speech[:, None], n_channels, axis=1)
        try:
            return form, encoded(samples, rate, form, subtype)
        except (soundfile.SoundFileError, ValueError):
            # Some kinds want one channel, or a rate of their own.
            rate, n_channels = 8_000, 1


def encoded(samples: np.ndarray, rate: int, form: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def _changed_audio(rng: random.Random, content: bytes) -> Content:
    way = rng.random()
    if way < 0.06:
        targets = ("good.wav", "missing.wav", "pipe", ".", "/dev/zero", "/dev/null")
        return rng.choice((NoFile("fifo"), NoFile("folder"), NoFile("link", rng.choice(targets))))
    for _ in range(0 if way < 0.15 else 1 if way < 0.8 else rng.randint(2, 4)):
        content = rng.choice((with_an_odd_field, with_an_odd_field, damaged))(rng, content)
    return content


# --- Manifests and results ---


def _manifest_parts(rng: random.Random, speech: np.ndarray) -> list[Part]:
    """Audio in order, and lines that are not; some clips are cut out of it by offset."""
    sound = encoded(speech, 16_000, "WAV", "PCM_16")
    parts: list[Part] = [{"pipe.wav": NoFile("fifo")}, {"link.wav": NoFile("link", "pipe.wav")}]
    for number in range(N_PARTS):
        name = f"clip_{number}.wav"
        row = {"audio_filepath": name, "duration": SECONDS, "text": rng.choice(TEXTS)}
        if rng.random() < 0.3:
            row |= {"offset": rng.choice((0.0, 0.1, 0.25)), "duration": 0.3}
        if rng.random() < 0.3:
            row |= {"id": f"id {number}", "speaker": "S1", "gender": "F"}
        parts.append({name: sound, "manifest.jsonl": json_bytes(row) + b"\n"})
        # One odd line is enough to stop a script, so that only a few are odd.
        if rng.random() < 0.25:
            parts[-1]["manifest.jsonl"] = _odd_line(rng, row)
        elif rng.random() < 0.15:
            row["audio_filepath"] = str(_odd_path(rng, name))
            parts[-1]["manifest.jsonl"] = json_bytes(row) + b"\n"
    return _rewritten(rng, parts, "manifest.jsonl")


def _odd_path(rng: random.Random, name: str) -> str:
    odd = odd_value(rng, name)
    if isinstance(odd, str) and len(odd) < 1000:
        return odd
    return rng.choice(("pipe.wav", "link.wav", "missing.wav", "./" + name, name * 40))


def _odd_line(rng: random.Random, row: dict) -> bytes:
    if rng.random() < 0.15:
        return damaged(rng, json_bytes(row)) + b"\n"
    return json_bytes(with_an_odd_value(rng, row)) + b"\n"


def _rewritten(rng: random.Random, parts: list[Part], name: str) -> list[Part]:
    """Write one file with other line ends, or in another encoding, in one case of three."""
    way = rng.randrange(18)
    for index, part in enumerate(parts):
        content = part.get(name)
        if not isinstance(content, bytes) or way > 5:
            continue
        if way == 0:
            content = content.replace(b"\n", b"\r\n")
        elif way == 1:
            content = content.replace(b"\n", b"\r")
        elif way == 2:
            content = content.replace(b"\n", b"\n\n")
        elif way == 3:
            content = b"\xef\xbb\xbf" + content
        else:
            encoding = "utf-16" if way == 4 and index == 0 else "utf-16-le" if way == 4 else "cp949"
            content = content.decode("utf-8", "replace").encode(encoding, "replace")
        part[name] = content
    return parts


def _results_parts(rng: random.Random, _: np.ndarray) -> list[Part]:
    """Files of results, with texts of any length."""
    parts = []
    for number in range(N_PARTS):
        row = {
            "id": f"clip_{number}", "audio_filepath": f"clip_{number}.wav", "duration": 1.5,
            "text": rng.choice(TEXTS), "pred_text": rng.choice(TEXTS), "confidence": 0.5,
            "speaker": rng.choice((None, "S1", "S2")),
        }  # fmt: skip
        if rng.random() < 0.1:
            row |= {"text": long_text(rng), "pred_text": long_text(rng)[::-1]}
        line = _odd_line(rng, row) if rng.random() < 0.2 else json_bytes(row) + b"\n"
        parts.append({"results.jsonl": line})
    return _rewritten(rng, parts, "results.jsonl")


# --- Labels ---


def _label_parts(rng: random.Random, speech: np.ndarray) -> list[Part]:
    """A folder of one of the corpora."""
    layout = rng.choice((_scripts, _foreign_json, _learners_json, _free_talk_json, _texts_of_pcm))
    sound = encoded(speech[:4000], 16_000, "WAV", "PCM_16")
    raw = (speech[:4000] * 32_000).astype("<i2").tobytes()
    parts = []
    for number in range(N_PARTS):
        part = layout(rng, f"clip_{number}", sound, raw)
        name = rng.choice(sorted(part))
        if rng.random() < 0.3 and isinstance(part[name], bytes):
            part[name] = damaged(rng, part[name])
        elif rng.random() < 0.1:
            renamed = name + rng.choice((".bak", ".mp3", ".json", ".txt", ".zip", ".m4a"))
            part[rng.choice((name[:-4], "", "sub/")) + renamed] = part.pop(name)
        elif rng.random() < 0.06:
            part[name] = rng.choice((NoFile("fifo"), NoFile("folder"), NoFile("link", "/dev/zero")))
        parts.append(part)
    labels = sorted({name for part in parts for name in part if not name.endswith(".wav")})
    return _rewritten(rng, parts, rng.choice(labels)) if labels else parts


def _scripts(rng: random.Random, name: str, sound: bytes, raw: bytes) -> Part:
    """한국인 대화 음성."""
    text = _soup(rng) if rng.random() < 0.2 else rng.choice(TEXTS)
    return {
        f"{name}.wav": sound,
        "a_scripts.txt": f"/1/{name}.wav :: {text}\n".encode("utf-8", "replace"),
        "a_metadata.txt": f"/1/{name}.wav | 1 | 2 | F | A | x | 1 | y | 1\n".encode(),
    }


def _foreign_json(rng: random.Random, name: str, sound: bytes, raw: bytes) -> Part:
    """외국인 한국어 발화."""
    label = {
        "fileName": f"{name}.wav",
        "transcription": {"ReadingLabelText": "", "AnswerLabelText": rng.choice(TEXTS)},
        "file_info": {"speakerID": "S1"},
        "basic_info": {"gender": "F"},
        "skill_info": {"motherTongue": "영어", "topikGrade": "3"},
        "residence_info": {"country": "미국"},
    }
    return _json_part(rng, name, sound, label)


def _learners_json(rng: random.Random, name: str, sound: bytes, raw: bytes) -> Part:
    """영어 등 사용자의 한국어 음성."""
    label = {
        "fileName": f"{name}.wav",
        "UserID": "U1",
        "SpeakerMetadata": {"topik_level": "3", "nationality": "미국"},
        "RecordingMetadata": {"orthographic": rng.choice(TEXTS)},
    }
    return _json_part(rng, name, sound, label)


def _free_talk_json(rng: random.Random, name: str, sound: bytes, raw: bytes) -> Part:
    """자유대화."""
    label = {
        "발화정보": {"fileNm": f"{name}.wav", "stt": rng.choice(TEXTS), "recrdTime": 1.5},
        "녹음자정보": {"recorderId": "R1", "gender": "여", "age": "30대"},
    }
    return _json_part(rng, name, sound, label)


def _json_part(rng: random.Random, name: str, sound: bytes, label: dict) -> Part:
    if rng.random() < 0.6:
        label = with_an_odd_value(rng, label)
    return {f"{name}.wav": sound, f"{name}.json": json_bytes(label)}


def _texts_of_pcm(rng: random.Random, name: str, sound: bytes, raw: bytes) -> Part:
    """KsponSpeech, with a text beside each clip."""
    return {f"{name}.pcm": raw, f"{name}.txt": _soup(rng).encode("utf-8", "replace")}


# --- Transcripts ---


def _transcript_parts(rng: random.Random, speech: np.ndarray) -> list[Part]:
    """Many lines of marks and words in any order, each short or long."""
    sound = encoded(speech[:4000], 16_000, "WAV", "PCM_16")
    return [_scripts_of_soup(rng, f"clip_{number}", sound) for number in range(5 * N_PARTS)]


def _scripts_of_soup(rng: random.Random, name: str, sound: bytes) -> Part:
    line = f"/1/{name}.wav :: {_soup(rng)}".replace("\n", " ")
    return {f"{name}.wav": sound, "a_scripts.txt": line.encode("utf-8", "replace") + b"\n"}


def _soup(rng: random.Random) -> str:
    """Marks and words; in one of five texts a piece is repeated, up to 100,000 times."""
    pieces = [rng.choice(MARKS) for _ in range(log_uniform(rng, 60))]
    if rng.random() < 0.2:
        start = rng.randrange(len(pieces))
        repeated = pieces[start : start + rng.randint(1, 4)]
        pieces[start:start] = repeated * log_uniform(rng, 100_000 // len(repeated))
    return "".join(pieces)


KINDS: dict[str, Callable[[random.Random, np.ndarray], list[Part]]] = {
    "audio": _audio_parts,
    "labels": _label_parts,
    "manifest": _manifest_parts,
    "transcripts": _transcript_parts,
    "results": _results_parts,
}
