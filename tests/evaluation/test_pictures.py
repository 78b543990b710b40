"""Pictures of the clips with most errors."""

import base64
import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from korean_asr.evaluation.pictures import N_MELS, pictures


def written(folder, name, frequency=1000.0, seconds=1.0):
    times = np.arange(int(16_000 * seconds)) / 16_000
    waveform = np.sin(2 * np.pi * frequency * times) * (times > seconds / 2) * 0.5
    soundfile.write(folder / name, waveform, 16_000)


def row_of(name, cer, **fields):
    return {"id": name, "audio_filepath": name, "duration": 1.0, "cer": cer} | fields


def shades_of(picture):
    content = base64.b64decode(picture["spectrogram"].removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.slow
def test_a_tone_is_a_dark_line_where_and_when_it_sounds(tmp_path):
    written(tmp_path, "low.wav", 300)
    written(tmp_path, "high.wav", 4000)
    drawn = pictures([row_of("low.wav", 0.5), row_of("high.wav", 0.5)], tmp_path)
    low, high = shades_of(drawn[0]), shades_of(drawn[1])
    assert low.shape == (N_MELS, 101)
    # The first half is silent. High sounds are at the top.
    assert (low[:, :45] == 255).all() and low[:, 60:].min() == 0
    assert low[:, 75].argmin() > high[:, 75].argmin()
    assert drawn[0]["duration"] == 1.0 and len(drawn[0]["waveform"]) == 400
    assert max(drawn[0]["waveform"][:199]) == 0 and max(drawn[0]["waveform"]) == 100


@pytest.mark.slow
def test_the_ten_worst_clips_that_can_be_read_are_drawn(tmp_path):
    written(tmp_path, "a.wav")
    rows = [row_of("a.wav", number / 100) for number in range(14)]
    rows[13] |= {"problem": "audio missing"}
    rows[12] |= {"audio_filepath": "moved.wav"}
    assert list(pictures(rows, tmp_path)) == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    assert pictures(rows[:1], tmp_path) == {}  # it has no error


@pytest.mark.slow
def test_a_cut_is_drawn_alone_and_of_a_long_clip_the_start(tmp_path):
    written(tmp_path, "long.wav", seconds=40)
    rows = [row_of("long.wav", 0.5), row_of("long.wav", 0.4, offset=20.0, duration=0.5)]
    long, cut = pictures(rows, tmp_path).values()
    assert long["duration"] == 30.0 and shades_of(long).shape[1] <= 1001
    assert cut["duration"] == 0.5 and shades_of(cut).shape == (N_MELS, 51)
