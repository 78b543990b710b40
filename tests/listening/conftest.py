"""Texts as a model hears them, letter by letter, and what the tiny model hears in noise."""

import pytest
import soundfile

from korean_asr.listening.heard import Heard, listened
from korean_asr.metrics import Hypothesis, normalised


@pytest.fixture(scope="session")
def hypothesis_of():
    """hypothesis_of(text, starts, posterior): letters of 0.1 s each; starts: s, one a letter."""

    def made(text, starts, posterior=0.5):
        text = normalised(text)
        letters = [
            [letter, start, round(start + 0.1, 2), posterior]
            for letter, start in zip(text.replace(" ", ""), starts, strict=True)
        ]
        confidence = posterior if letters else None
        letters = {"reference": [], "hypothesis": letters}
        return Hypothesis(text, confidence=confidence, letters=letters)

    return made


@pytest.fixture(scope="session")
def heard_of(hypothesis_of):
    """heard_of(name, text, starts): the same as heard in a recording of 10 s."""

    def made(name, text, starts=()):
        return Heard(name, 10.0, hypothesis_of(text, starts))

    return made


@pytest.fixture(scope="session")
def unreadable():
    """A recording that could not be read."""
    letters = {"reference": [], "hypothesis": []}
    return Heard("broken.wav", 0.0, Hypothesis("", "audio truncated", letters=letters))


@pytest.fixture(scope="session")
def recordings(tmp_path_factory, noise):
    """Three recordings of 2 to 3 s, that the tiny model writes some text of."""
    folder = tmp_path_factory.mktemp("recordings")
    paths = [folder / f"녹음 {number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        soundfile.write(path, noise(32_000 + 8_000 * number, number), 16_000)
    return paths


@pytest.fixture(scope="session")
def tiny_recogniser(tiny_base):
    from korean_asr.model import load_recogniser

    return load_recogniser(str(tiny_base))


@pytest.fixture(scope="session")
def heard_by_tiny(tiny_recogniser, recordings):
    return listened(tiny_recogniser, recordings)
