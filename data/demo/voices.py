"""The demo's speakers: voices of Kokoro and mixtures of them, each with a place and a microphone.

For make_corpus.py and make_base_material.py; users of the pipeline never run this. Needs
data/demo/requirements.txt, see kokoro.py.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import soxr

import kokoro

SAMPLE_RATE = 16_000
# Silence that is kept before and after the speech.
EDGE_SILENCE_S = 0.12
# What is quieter than this share of the loudest sample is silence.
SILENCE_AMPLITUDE = 0.01
# The reverberation against the direct sound.
ROOM_LEVEL_DB = -12.0


@dataclass(frozen=True)
class Voice:
    """One speaker.

    mixture: the share of each voice of Kokoro. level_db: the mean level (RMS) of the speech, of
    full scale. room: seconds in which its reverberation falls by 60 dB, 0 for none. noise: the
    level of the noise behind it in dB, of full scale.
    """

    name: str
    mixture: dict[str, float]
    speed: float
    level_db: float
    room: float
    noise: float
    gender: str


# Eighteen speakers of Korean. The last six share no voice of Kokoro with the others. Age
# and residence are drawn by make_corpus.py.
KOREAN_VOICES = (
    Voice("K01", {"jf_gongitsune": 1.0}, 0.95, -22.0, 0.25, -68.0, "F"),
    Voice("K02", {"jf_alpha": 1.0}, 0.98, -22.0, 0.2, -58.0, "F"),
    Voice("K03", {"jf_gongitsune": 0.6, "af_bella": 0.4}, 0.92, -22.0, 0.0, -60.0, "F"),
    Voice("K04", {"jf_alpha": 0.5, "af_sky": 0.5}, 0.98, -22.0, 0.1, -68.0, "F"),
    Voice("K05", {"jf_gongitsune": 0.6, "jf_alpha": 0.4}, 1.05, -23.0, 0.25, -58.0, "F"),
    Voice("K06", {"jf_gongitsune": 0.6, "zf_xiaoxiao": 0.4}, 1.0, -23.0, 0.3, -68.0, "F"),
    Voice(
        "K07", {"hm_psi": 0.3, "am_onyx": 0.3, "jf_gongitsune": 0.4}, 0.97, -20.0, 0.1, -58.0, "M"
    ),
    Voice(
        "K08",
        {"bm_lewis": 0.5, "zm_yunxi": 0.2, "jf_gongitsune": 0.3},
        0.95,
        -20.0,
        0.0,
        -66.0,
        "M",
    ),
    Voice("K09", {"bm_lewis": 0.65, "jf_gongitsune": 0.35}, 0.95, -22.0, 0.0, -64.0, "M"),
    Voice(
        "K10",
        {"am_onyx": 0.35, "bm_lewis": 0.3, "jf_gongitsune": 0.35},
        0.93,
        -24.0,
        0.2,
        -60.0,
        "M",
    ),
    Voice(
        "K11", {"hm_psi": 0.4, "zm_yunxi": 0.3, "jf_gongitsune": 0.3}, 1.0, -23.0, 0.3, -60.0, "M"
    ),
    Voice(
        "K12",
        {"am_liam": 0.3, "bm_lewis": 0.3, "jf_gongitsune": 0.4},
        0.93,
        -20.0,
        0.25,
        -60.0,
        "M",
    ),
    Voice("K13", {"hf_alpha": 1.0}, 0.95, -24.0, 0.0, -72.0, "F"),
    Voice("K14", {"jf_tebukuro": 1.0}, 0.9, -23.0, 0.1, -64.0, "F"),
    Voice("K15", {"hf_alpha": 0.65, "jf_tebukuro": 0.35}, 0.92, -23.0, 0.1, -64.0, "F"),
    Voice("K16", {"jm_kumo": 0.5, "am_santa": 0.5}, 1.0, -22.0, 0.2, -58.0, "M"),
    Voice("K17", {"jm_kumo": 0.6, "pm_santa": 0.4}, 0.98, -22.0, 0.25, -60.0, "M"),
    Voice("K18", {"jm_kumo": 0.5, "hm_omega": 0.5}, 1.02, -25.0, 0.15, -72.0, "M"),
)
# The base model is trained on these, and on mixtures of MIXABLE. It hears nothing of the voices of
# the other six, nor of the learners.
BASE_VOICES = tuple(f"K{number:02}" for number in range(1, 13))
MIXABLE = (
    *("jf_gongitsune", "jf_alpha", "hm_psi", "zm_yunxi", "af_bella", "af_sky", "am_adam"),
    *("am_onyx", "zf_xiaoxiao", "bf_alice", "bf_lily", "af_nicole", "af_kore", "if_sara"),
    *("am_liam", "am_eric", "em_alex", "im_nicola", "pm_alex", "zm_yunyang", "zf_xiaoyi"),
    "bm_lewis",
)
# Two learners for each first language, each with a voice of that language.
FOREIGN_VOICES = {
    "영어": (
        Voice("EN0001", {"af_river": 1.0}, 0.88, -25.0, 0.25, -62.0, "F"),
        Voice("EN0002", {"am_michael": 1.0}, 0.92, -23.0, 0.15, -66.0, "M"),
    ),
    "중국어": (
        Voice("CN0001", {"zf_xiaoni": 1.0}, 0.86, -24.0, 0.3, -64.0, "F"),
        Voice("CN0002", {"zm_yunjian": 1.0}, 0.9, -22.0, 0.2, -60.0, "M"),
    ),
    "일본어": (
        Voice("JP0001", {"jf_nezumi": 1.0}, 0.9, -26.0, 0.15, -66.0, "F"),
        Voice("JP0002", {"jm_kumo": 1.0}, 0.86, -23.0, 0.35, -62.0, "M"),
    ),
    "스페인어": (
        Voice("ES0001", {"ef_dora": 1.0}, 0.9, -24.0, 0.2, -60.0, "F"),
        Voice("ES0002", {"em_santa": 1.0}, 0.88, -25.0, 0.25, -64.0, "M"),
    ),
    "힌디어": (
        Voice("HI0001", {"hf_beta": 1.0}, 0.92, -23.0, 0.3, -66.0, "F"),
        Voice("HI0002", {"hm_omega": 1.0}, 0.94, -24.0, 0.15, -62.0, "M"),
    ),
    "포르투갈어": (
        Voice("PT0001", {"pf_dora": 1.0}, 0.88, -22.0, 0.2, -64.0, "F"),
        Voice("PT0002", {"pm_santa": 1.0}, 0.9, -25.0, 0.3, -60.0, "M"),
    ),
}


def _in_a_room(speech: np.ndarray, voice: Voice) -> np.ndarray:
    """Speech with the reverberation of the voice's room: decaying noise after the direct sound."""
    if voice.room == 0:
        return speech
    rng = np.random.default_rng(crc32(voice.name.encode()))
    seconds = np.arange(int(voice.room * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / voice.room)
    response *= 10 ** (ROOM_LEVEL_DB / 20) / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    n_samples = len(speech) + len(response) - 1
    spectrum = np.fft.rfft(speech, n_samples) * np.fft.rfft(response, n_samples)
    return np.fft.irfft(spectrum, n_samples)[: len(speech)]


def spoken_waveform(
    phonemes: str, voice: Voice, speed_factor: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Speak phonemes: (n_samples,) int16 at 16 kHz, with EDGE_SILENCE_S of silence on each side.

    seed: of the noise behind the speech. KeyError where Kokoro has not such a phoneme.
    """
    speech = kokoro.speech(phonemes, voice.mixture, voice.speed * speed_factor)
    speech = soxr.resample(speech, kokoro.SAMPLE_RATE, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(speech) > SILENCE_AMPLITUDE * np.abs(speech).max())
    edge = np.zeros(int(EDGE_SILENCE_S * SAMPLE_RATE))
    speech = np.concatenate([edge, speech[loud[0] : loud[-1] + 1], edge])
    speech = _in_a_room(speech, voice)
    speech *= 10 ** (voice.level_db / 20) / np.sqrt(np.mean(speech**2))
    noise = np.random.default_rng(seed).standard_normal(len(speech))
    waveform = speech + noise * 10 ** (voice.noise / 20)
    return np.round(np.clip(waveform, -1, 1) * 32_767).astype(np.int16)
