"""m4a, mp4, webm and others: decoded by PyAV, and judged as other audio is."""

import os
import sys

import numpy as np
import pytest

from korean_asr.audio import (
    UnreadableAudio,
    audio_info,
    file_content,
    read_samples,
    read_waveform,
    sound_checksum,
)

av = pytest.importorskip("av", reason="PyAV is optional")

# (suffix, FFmpeg's container, codec, Hz)
TYPES = [
    ("m4a", "ipod", "aac", 16_000),
    ("mp4", "mp4", "aac", 44_100),
    ("3gp", "3gp", "aac", 16_000),
    ("mov", "mov", "pcm_s16le", 16_000),
    ("m4a", "ipod", "alac", 16_000),
    ("webm", "webm", "libopus", 48_000),
    ("mka", "matroska", "aac", 16_000),
    ("aac", "adts", "aac", 16_000),
    ("ac3", "ac3", "ac3", 48_000),
    ("wv", "wv", "wavpack", 16_000),
    ("flv", "flv", "aac", 44_100),
]
LOSSLESS = ("pcm_s16le", "alac")


def tone(rate, seconds):
    """Louder as time goes by, so that two parts are never alike."""
    times = np.arange(int(rate * seconds)) / rate
    return (0.1 * (1 + times) * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


@pytest.fixture
def encoded(tmp_path):
    """encoded(name, container, codec, rate): the path of a file of two seconds."""

    def encode(name, container, codec, rate, seconds=2.0, layout="mono", **options):
        path = tmp_path / name
        with av.open(str(path), "w", format=container, options=options) as file:
            stream = file.add_stream(codec, rate=rate, layout=layout)
            channels = stream.codec_context.layout.nb_channels
            frame = av.AudioFrame.from_ndarray(
                np.stack([tone(rate, seconds)] * channels), format="fltp", layout=layout
            )
            frame.sample_rate, frame.pts = rate, 0
            sample_format = stream.codec_context.format or "flt"
            for part in av.AudioResampler(sample_format, layout, rate).resample(frame):
                file.mux(stream.encode(part))
            file.mux(stream.encode(None))
        return path

    return encode


@pytest.mark.parametrize(("suffix", "container", "codec", "rate"), TYPES)
def test_a_clip_of_another_type_is_read_as_it_was_recorded(encoded, suffix, container, codec, rate):
    path = encoded(f"a.{suffix}", container, codec, rate)
    samples, info = read_samples(path), audio_info(path)
    assert (info.sample_rate, info.channels) == (samples.sample_rate, 1) == (rate, 1)
    # The duration comes from decoding; an encoder pads the sound.
    assert info.duration == len(samples.values) / rate == pytest.approx(2.0, abs=0.12)
    assert samples.values.dtype == np.float32 and samples.values.shape[1] == 1
    heard, wanted = samples.values[:, 0], tone(rate, 2.0)
    if codec in LOSSLESS:
        assert np.abs(heard - wanted).max() < 1e-3
    assert np.abs(np.fft.rfft(heard)).argmax() * rate / len(heard) == pytest.approx(440, abs=1)
    assert np.std(heard) == pytest.approx(np.std(wanted), rel=0.05)
    assert len(sound_checksum(path)) == 64
    assert file_content(path) == path.read_bytes()


def test_a_cut_is_the_same_part_of_the_whole(encoded):
    path = encoded("a.m4a", "ipod", "aac", 16_000, layout="stereo")
    whole = read_samples(path).values
    assert whole.shape[1] == 2
    for offset, duration, first, last in [
        (0.5, 0.75, 8_000, 20_000),
        (1.0, None, 16_000, len(whole)),
        (0.0, 0.25, 0, 4_000),
        # An offset of 0 with a duration beyond the file is the whole file.
        (0.0, 9.0, 0, len(whole)),
    ]:
        part = read_samples(path, offset, duration).values
        assert (part == whole[first:last]).all() and len(part) == last - first
        assert audio_info(path, offset, duration).duration == len(part) / 16_000
    for offset, duration in [(1.5, 2.0), (3.0, None), (3.0, 1.0)]:
        with pytest.raises(UnreadableAudio, match="audio truncated"):
            audio_info(path, offset, duration)


def test_a_type_is_known_by_its_content_under_any_name(encoded, tmp_path):
    path = encoded("a.m4a", "ipod", "aac", 16_000)
    whole = read_waveform(path)
    for name in ("b.wav", "c.pcm", "d.mp3", "e"):
        assert (read_waveform(path.rename(tmp_path / name)) == whole).all()
        path = tmp_path / name


def refused(path):
    with pytest.raises(UnreadableAudio) as of_info:
        audio_info(path)
    with pytest.raises(UnreadableAudio) as of_samples:
        read_waveform(path)
    assert str(of_info.value) == str(of_samples.value)
    return str(of_info.value)


def cut_off(path, share):
    os.truncate(path, int(path.stat().st_size * share))
    return path


def test_a_damaged_file_is_refused_with_its_reason(encoded, tmp_path):
    m4a = encoded("a.m4a", "ipod", "aac", 16_000)
    content = bytearray(m4a.read_bytes())
    # The index of an MP4 lies at its end, unless it was moved to the front.
    assert refused(cut_off(m4a, 0.6)) == "audio unreadable"
    front = encoded("b.m4a", "ipod", "aac", 16_000, movflags="faststart")
    assert refused(cut_off(front, 0.7)) in ("audio truncated", "audio unreadable")
    assert refused(cut_off(encoded("c.webm", "webm", "libopus", 48_000), 0.6)) == "audio truncated"
    content[2_000:6_000] = bytes(4_000)
    m4a.write_bytes(content)
    assert refused(m4a) == "audio unreadable"
    (tmp_path / "d.mp4").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(range(256)) * 20)
    assert refused(tmp_path / "d.mp4") == "audio unreadable"
    assert refused(encoded("e.mov", "mov", "pcm_s16le", 16_000, seconds=0.01)) == "audio too short"


def test_a_file_without_sound_is_empty(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        for _ in range(3):
            image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(image))
        file.mux(stream.encode(None))
    assert refused(path) == "audio empty"


@pytest.mark.parametrize("seed", range(3))
def test_no_damage_ends_with_another_error(encoded, seed, capfd):
    random = np.random.default_rng(seed)
    for suffix, container, codec, rate in TYPES:
        path = encoded(f"a.{suffix}", container, codec, rate)
        content = bytearray(path.read_bytes())
        for place in random.integers(8, len(content), 9):
            content[place] = random.integers(256)
        if seed == 2:
            del content[random.integers(12, len(content)) :]
        path.write_bytes(content)
        try:
            assert audio_info(path).duration < 60
        except UnreadableAudio as reason:
            assert str(reason).startswith("audio ")
    # FFmpeg does not write of it either.
    assert capfd.readouterr() == ("", "")


def test_without_pyav_such_a_file_is_of_another_type(encoded, monkeypatch):
    path = encoded("a.webm", "webm", "libopus", 48_000)
    monkeypatch.setitem(sys.modules, "av", None)
    assert refused(path) == "audio of another type"
