"""The demo's speakers: espeak-ng voices, and the accents of learners of Korean.

For make_corpus.py and make_base_model.py. Needs the program espeak-ng; users of the pipeline never
run this.
"""

import re
import subprocess
from dataclasses import dataclass

import numpy as np
import soxr

SAMPLE_RATE = 16_000
# The rate of espeak-ng.
ESPEAK_RATE = 22_050
WAV_HEADER_BYTES = 44
# Silence that is kept before and after the speech, of up to a second that espeak-ng adds.
EDGE_SILENCE_S = 0.12
# Of 32,768.
SILENCE_AMPLITUDE = 60


@dataclass(frozen=True)
class Voice:
    """One speaker: an espeak-ng variant, a base pitch (0 to 99) and a speed (words a minute)."""

    name: str
    variant: str
    pitch: int
    speed: int
    gender: str


# Fourteen speakers of Korean. Age, residence and quality are drawn by make_corpus.py.
KOREAN_VOICES = (
    Voice("K01", "f1", 52, 185, "F"),
    Voice("K02", "f2", 60, 200, "F"),
    Voice("K03", "f3", 48, 175, "F"),
    Voice("K04", "f4", 66, 190, "F"),
    Voice("K05", "f5", 56, 210, "F"),
    Voice("K06", "linda", 45, 180, "F"),
    Voice("K07", "steph", 58, 195, "F"),
    Voice("K08", "m1", 42, 185, "M"),
    Voice("K09", "m2", 35, 175, "M"),
    Voice("K10", "m3", 50, 200, "M"),
    Voice("K11", "m4", 46, 190, "M"),
    Voice("K12", "m5", 30, 180, "M"),
    Voice("K13", "m7", 54, 205, "M"),
    Voice("K14", "adam", 40, 170, "M"),
)

# Three learners for each first language, slower than the Koreans, each with a pitch and a speed.
FOREIGN_VOICES = {
    "영어": (
        Voice("EN0001", "f2", 40, 150, "F"),
        Voice("EN0002", "m1", 50, 160, "M"),
        Voice("EN0003", "m4", 36, 145, "M"),
    ),
    "베트남어": (
        Voice("VN0001", "f4", 58, 155, "F"),
        Voice("VN0002", "f1", 62, 165, "F"),
        Voice("VN0003", "m3", 44, 150, "M"),
    ),
    "중국어": (
        Voice("CN0001", "f3", 55, 160, "F"),
        Voice("CN0002", "m2", 45, 150, "M"),
        Voice("CN0003", "f5", 48, 165, "F"),
    ),
    "일본어": (
        Voice("JP0001", "f1", 46, 150, "F"),
        Voice("JP0002", "m5", 40, 160, "M"),
        Voice("JP0003", "steph", 50, 155, "F"),
    ),
}

# An accent always replaces the same phonemes of espeak-ng's Korean voice, like a first language.
# Each pair is (pattern of one phoneme, replacement) in espeak-ng's names: `u-` is ㅡ, `@` is ㅓ.
ACCENTS = {
    "영어": ((r"^(p|t|q|s|tS;)-$", r"\1"), (r"^u-$", "u")),  # tense as plain, ㅡ as ㅜ
    "베트남어": ((r"^@$", "o"), (r"^L$", "n")),  # ㅓ as ㅗ, final ㄹ as ㄴ
    "중국어": ((r"^[pb]$", "ph"), (r"^[td]$", "th"), (r"^[gkq]$", "kh")),  # plain as aspirated
    "일본어": ((r"^@$", "o"), (r"^u-$", "u"), (r"^N$", "n")),  # ㅓ as ㅗ, ㅡ as ㅜ, final ㅇ as ㄴ
}


def _espeak(*arguments: str) -> bytes:
    return subprocess.run(["espeak-ng", *arguments], check=True, capture_output=True).stdout


def accented_phonemes(text: str, first_language: str) -> str:
    """The phonemes of a text in the accent of a first language, in espeak-ng's brackets."""
    marked = _espeak("-v", "ko", "-q", "-x", "--sep=_", text).decode()
    clauses = [
        " ".join(
            "".join(_accented(phoneme, first_language) for phoneme in word.split("_"))
            for word in line.split()
        )
        for line in marked.splitlines()
    ]
    return ", ".join(f"[[{clause}]]" for clause in clauses if clause).replace("hh", "h")


def _accented(phoneme: str, first_language: str) -> str:
    stress, bare = re.match(r"([',%=]*)(.*)", phoneme).groups()
    for pattern, replacement in ACCENTS[first_language]:
        if re.match(pattern, bare):
            return stress + re.sub(pattern, replacement, bare)
    return stress + bare


def spoken_waveform(
    text: str, voice: Voice, speed_factor: float = 1.0, pitch_shift: int = 0
) -> np.ndarray:
    """Speak a sentence: (n_samples,) int16 at 16 kHz, with EDGE_SILENCE_S of silence on each side.

    speed_factor and pitch_shift vary the voice.
    """
    wav = _espeak(
        "-v",
        f"ko+{voice.variant}",
        "-p",
        str(int(np.clip(voice.pitch + pitch_shift, 0, 99))),
        "-s",
        str(round(voice.speed * speed_factor)),
        # Some variants clip at the default of 100.
        "-a",
        "80",
        "--stdout",
        text,
    )
    waveform = np.frombuffer(wav[WAV_HEADER_BYTES:], dtype="<i2").astype(np.float32)
    waveform = soxr.resample(waveform, ESPEAK_RATE, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(waveform) > SILENCE_AMPLITUDE)
    edge = int(EDGE_SILENCE_S * SAMPLE_RATE)
    waveform = waveform[max(0, loud[0] - edge) : loud[-1] + edge]
    return np.clip(np.round(waveform), -32_768, 32_767).astype(np.int16)
