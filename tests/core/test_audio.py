import os
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.audio import (
    MIN_SAMPLES,
    AudioInfo,
    Samples,
    UnreadableAudio,
    audio_info,
    file_content,
    n_frames,
    read_samples,
    read_waveform,
    sound_checksum,
)


def tone(n_samples, frequency=440, sample_rate=16_000):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(n_samples) / sample_rate)).astype(
        np.float32
    )


def wav(path, n_samples=16_000, **options):
    soundfile.write(path, tone(n_samples), 16_000, **options)
    return path


def reason(function, path):
    with pytest.raises(UnreadableAudio) as failure:
        function(path)
    return str(failure.value)


@pytest.mark.parametrize(
    ("name", "sample_rate", "channels", "options"),
    [
        ("a.wav", 16_000, 1, {"subtype": "PCM_16"}),
        ("a.wav", 16_000, 1, {"subtype": "PCM_24"}),
        ("a.wav", 16_000, 1, {"subtype": "FLOAT"}),
        ("a.wav", 16_000, 1, {"subtype": "PCM_U8"}),
        ("a.wav", 16_000, 2, {"format": "WAVEX"}),
        ("a.wav", 16_000, 1, {"subtype": "IMA_ADPCM"}),
        ("a.wav", 8_000, 1, {"subtype": "ULAW"}),
        ("a.WAV", 44_100, 2, {}),
        ("a.flac", 16_000, 1, {}),
        ("a.flac", 48_000, 2, {}),
        # A file that is named for another format.
        ("a.wav", 16_000, 1, {"format": "FLAC"}),
    ],
)
def test_the_header_says_what_decoding_finds(tmp_path, name, sample_rate, channels, options):
    samples = np.stack([tone(8_123)] * channels, axis=1)
    soundfile.write(tmp_path / name, samples, sample_rate, **options)
    decoded, decoded_rate = soundfile.read(tmp_path / name, always_2d=True)
    info = audio_info(tmp_path / name)
    assert info == AudioInfo(len(decoded) / decoded_rate, sample_rate, channels)
    assert len(read_waveform(tmp_path / name)) == pytest.approx(info.duration * 16_000, abs=1)


@pytest.mark.parametrize(
    ("subtype", "error"), [("PCM_16", 1e-4), ("FLOAT", 1e-7), ("IMA_ADPCM", 0.05), ("ULAW", 0.03)]
)
def test_a_waveform_is_what_was_written(tmp_path, subtype, error):
    path = wav(tmp_path / "a.wav", subtype=subtype)
    waveform = read_waveform(path)
    assert waveform.dtype == np.float32 and waveform.ndim == 1 and waveform.flags.c_contiguous
    # ADPCM needs some samples to find its step.
    assert np.abs(waveform[200:16_000] - tone(16_000)[200:]).max() < error


def test_flac_and_wav_of_the_same_samples_are_the_same_waveform(tmp_path):
    samples = (tone(16_000) * 32_767).astype(np.int16)
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, samples, 16_000)
    assert np.array_equal(read_waveform(tmp_path / "a.wav"), read_waveform(tmp_path / "a.flac"))


def test_channels_are_averaged(tmp_path):
    samples = np.stack([np.full(400, 0.5), np.full(400, -0.25)], axis=1)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    assert np.array_equal(read_waveform(tmp_path / "a.wav"), np.full(400, 0.125, np.float32))


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100, 48_000])
def test_another_sample_rate_is_converted_at_the_same_pitch_and_length(tmp_path, sample_rate):
    soundfile.write(tmp_path / "a.wav", tone(sample_rate, sample_rate=sample_rate), sample_rate)
    waveform = read_waveform(tmp_path / "a.wav")
    assert len(waveform) == 16_000 and waveform.dtype == np.float32
    # Of one second, each bin is one hertz.
    assert np.abs(np.fft.rfft(waveform)).argmax() == 440
    assert np.abs(waveform[1_000:-1_000] - tone(16_000)[1_000:-1_000]).max() < 0.01


@pytest.mark.parametrize("sample_rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("n_samples", [2_407, 48_001])
def test_another_sample_rate_is_converted_by_soxr_to_the_last_bit(sample_rate, n_samples):
    values = np.random.default_rng(0).uniform(-1, 1, (n_samples, 1)).astype(np.float32)
    waveform = Samples(values, sample_rate).waveform()
    # librosa appends no zero: the length is soxr's too.
    assert np.array_equal(waveform, soxr.resample(values[:, 0], sample_rate, 16_000, quality="HQ"))


def test_a_sample_that_is_no_number_makes_a_clip_of_another_rate_unreadable(tmp_path):
    samples = np.zeros(8_000, dtype=np.float32)
    samples[4_000] = np.inf
    soundfile.write(tmp_path / "inf.wav", samples, 8_000, subtype="FLOAT")
    assert reason(read_waveform, tmp_path / "inf.wav") == "audio unreadable"


def test_headerless_pcm_is_16_bit_little_endian_at_16_khz(tmp_path):
    (tmp_path / "a.pcm").write_bytes(struct.pack("<3h", 16_384, -16_384, 1) * 400)
    assert audio_info(tmp_path / "a.pcm") == AudioInfo(1_200 / 16_000, 16_000, 1)
    assert read_waveform(tmp_path / "a.pcm")[:3].tolist() == [0.5, -0.5, 2**-15]


def test_an_odd_last_byte_of_pcm_is_dropped(tmp_path):
    (tmp_path / "a.PCM").write_bytes(struct.pack("<h", 16_384) * 400 + b"\x7f")
    assert audio_info(tmp_path / "a.PCM").duration == 400 / 16_000
    assert read_waveform(tmp_path / "a.PCM").tolist() == [0.5] * 400


@pytest.mark.parametrize("missing", [1_025, 15_000, 31_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "ULAW", "IMA_ADPCM"])
def test_a_wav_that_lacks_more_than_a_kilobyte_is_truncated(tmp_path, missing, subtype):
    content = wav(tmp_path / "a.wav", 64_000, subtype=subtype).read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:-missing])
    assert reason(audio_info, tmp_path / "a.wav") == "audio truncated"
    assert reason(read_waveform, tmp_path / "a.wav") == "audio truncated"


@pytest.mark.parametrize("missing", [1, 2, 100, 1_024])
@pytest.mark.parametrize(("subtype", "sample_bytes"), [("PCM_16", 2), ("PCM_24", 3), ("FLOAT", 4)])
def test_a_wav_that_lacks_a_kilobyte_or_less_is_read_to_its_end(
    tmp_path, missing, subtype, sample_bytes
):
    content = wav(tmp_path / "a.wav", subtype=subtype).read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:-missing])
    n_samples = 16_000 - -(-missing // sample_bytes)
    info = AudioInfo(n_samples / 16_000, 16_000, 1, overstated=True)
    assert audio_info(tmp_path / "a.wav") == info
    assert len(read_waveform(tmp_path / "a.wav")) == n_samples


@pytest.mark.parametrize(
    ("name", "options", "share"),
    [
        *(("a.flac", {}, share) for share in (0.3, 0.5, 0.9, 0.999)),
        *(("a.mp3", {}, share) for share in (0.3, 0.5, 0.9)),
        *(("a.ogg", {}, share) for share in (0.8, 0.9, 0.999)),
        *(("a.ogg", {"subtype": "OPUS"}, share) for share in (0.3, 0.5, 0.9, 0.999)),
    ],
)
def test_a_compressed_file_whose_bytes_are_missing_is_truncated(tmp_path, name, options, share):
    content = wav(tmp_path / name, 64_000, **options).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    assert reason(audio_info, tmp_path / name) == "audio truncated"
    assert reason(read_waveform, tmp_path / name) == "audio truncated"


# A chunk of odd size is padded.
@pytest.mark.parametrize("chunk", [b"LIST\x04\x00\x00\x00abcd", b"LIST\x03\x00\x00\x00abc\x00"])
def test_other_chunks_around_the_samples_are_stepped_over(tmp_path, chunk):
    content = wav(tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:36] + chunk + content[36:] + chunk)
    assert audio_info(tmp_path / "a.wav").duration == 1.0
    (tmp_path / "a.wav").write_bytes(content[:36] + chunk + content[36:-2_000])
    assert reason(audio_info, tmp_path / "a.wav") == "audio truncated"


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000], ids=["ffmpeg", "sox"])
def test_a_streamed_header_that_knows_no_size_is_read_to_the_end(tmp_path, size):
    content = bytearray(wav(tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(content)
    assert audio_info(tmp_path / "a.wav").duration == 1.0
    assert len(read_waveform(tmp_path / "a.wav")) == 16_000


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.wav", b"", "audio empty"),
        ("a.flac", b"", "audio empty"),
        ("a.pcm", b"", "audio empty"),
        ("a.pcm", b"\x01", "audio empty"),
        ("a.wav", b"No such file. Ask the administrator.\n" * 30, "audio unreadable"),
        ("a.flac", b"<html>404</html>" * 100, "audio unreadable"),
        ("a.wav", b"RIFF", "audio unreadable"),
        ("a.wav", b"\x00" * 4_000, "audio unreadable"),
        ("a.pcm", b"\x00\x01" * 399, "audio too short"),
    ],
)
def test_a_file_that_is_no_audio_gives_its_reason(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    assert reason(audio_info, tmp_path / name) == why
    assert reason(read_waveform, tmp_path / name) == why


def test_a_header_without_a_sample_is_empty(tmp_path):
    wav(tmp_path / "a.wav", n_samples=0)
    assert (
        reason(audio_info, tmp_path / "a.wav")
        == reason(read_waveform, tmp_path / "a.wav")
        == "audio empty"
    )


def test_a_folder_named_like_a_clip_is_unreadable(tmp_path):
    (tmp_path / "x.wav").mkdir()
    assert (
        reason(audio_info, tmp_path / "x.wav")
        == reason(read_waveform, tmp_path / "x.wav")
        == "audio unreadable"
    )


@pytest.mark.parametrize("name", ["a.wav", "a.pcm", "a.flac", "no/such/folder/a.wav"])
def test_a_file_that_is_not_there_is_missing(tmp_path, name):
    assert (
        reason(audio_info, tmp_path / name)
        == reason(read_waveform, tmp_path / name)
        == "audio missing"
    )


def test_400_samples_make_the_first_frame_and_399_none(tmp_path):
    wav(tmp_path / "short.wav", n_samples=399)
    wav(tmp_path / "long.wav", n_samples=400)
    assert reason(audio_info, tmp_path / "short.wav") == "audio too short"
    assert reason(read_waveform, tmp_path / "short.wav") == "audio too short"
    assert audio_info(tmp_path / "long.wav").duration == 0.025
    assert len(read_waveform(tmp_path / "long.wav")) == 400


@pytest.mark.parametrize(("sample_rate", "least"), [(8_000, 200), (44_100, 1_103), (48_000, 1_200)])
def test_what_is_too_short_is_counted_at_16_khz(tmp_path, sample_rate, least):
    soundfile.write(tmp_path / "short.wav", tone(least - 1), sample_rate)
    soundfile.write(tmp_path / "long.wav", tone(least), sample_rate)
    assert reason(audio_info, tmp_path / "short.wav") == "audio too short"
    assert audio_info(tmp_path / "long.wav").duration == least / sample_rate
    assert len(read_waveform(tmp_path / "long.wav")) == 400


def test_a_file_name_of_undecodable_bytes_is_read(tmp_path):
    # 한 in CP949, as unzip leaves it.
    path = tmp_path / os.fsdecode(b"\xc7\xd1.wav")
    wav(tmp_path / "a.wav").rename(path)
    assert audio_info(path).duration == 1.0
    assert len(read_waveform(path)) == 16_000


def test_a_sample_that_is_no_number_makes_a_clip_unreadable(tmp_path):
    samples = np.zeros(16_000, dtype=np.float32)
    samples[8_000] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(UnreadableAudio, match="audio unreadable"):
        read_waveform(tmp_path / "nan.wav")


@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(
    subtype=st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "PCM_32"]),
    channels=st.integers(1, 3),
    sample_rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 96_000]),
    n_samples=st.integers(3_000, 5_000),
    before=st.lists(st.binary(max_size=40), max_size=3),
    after=st.binary(max_size=9),
)
def test_a_header_is_read_as_libsndfile_reads_it(
    tmp_path_factory, subtype, channels, sample_rate, n_samples, before, after
):
    path = tmp_path_factory.getbasetemp() / "plain.wav"
    soundfile.write(
        path,
        np.stack([tone(n_samples)] * channels, axis=1),
        sample_rate,
        subtype=subtype,
        format="WAV",
    )
    content = path.read_bytes()
    chunks = b"".join(
        b"LIST" + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for c in before
    )
    path.write_bytes(content[:12] + chunks + content[12:] + after)
    with soundfile.SoundFile(path) as file:
        assert audio_info(path) == AudioInfo(
            file.frames / file.samplerate, file.samplerate, file.channels
        )


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.data())
def test_a_damaged_header_gives_a_reason_and_no_other_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    content = bytearray(wav(path, n_samples=600).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 43))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert audio_info(path).duration > 0
    except UnreadableAudio as error:
        assert str(error).startswith("audio ")


def test_a_wav_of_speech_without_a_header_is_read_as_its_samples(tmp_path):
    samples = (tone(16_000) * 8_000).astype("<i2")
    (tmp_path / "a.wav").write_bytes(samples.tobytes() + b"\x01")
    assert audio_info(tmp_path / "a.wav") == AudioInfo(1.0, 16_000, 1, headerless=True)
    assert (
        read_waveform(tmp_path / "a.wav").tolist() == (samples / 32_768).astype(np.float32).tolist()
    )


@pytest.mark.parametrize(
    "content",
    [
        # Encrypted or compressed bytes look random; an unfinished download may be all zeros.
        np.random.default_rng(0).bytes(40_000),
        b"\x00" * 40_000,
        b"<html><body>\r\n404 Not Found</body></html>\r\n" * 500,
        "음성 파일이 아닙니다. 관리자에게 문의하세요.\n".encode() * 500,
        "음성 파일이 아닙니다. 관리자에게 문의하세요.\n".encode("utf-16") * 500,
        tone(16_000).astype(">i2").tobytes(),
    ],
    ids=["random", "zeros", "html", "utf-8", "utf-16", "silent"],
)
def test_other_bytes_are_not_taken_for_samples(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    assert (
        reason(audio_info, tmp_path / "a.wav")
        == reason(read_waveform, tmp_path / "a.wav")
        == "audio unreadable"
    )


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_file_named_pcm_that_has_a_header_is_read_by_it(tmp_path, kind):
    soundfile.write(tmp_path / "a.pcm", tone(8_000, sample_rate=8_000), 8_000, format=kind)
    assert audio_info(tmp_path / "a.pcm") == AudioInfo(1.0, 8_000, 1)
    assert len(read_waveform(tmp_path / "a.pcm")) == 16_000


def test_a_device_and_a_pipe_are_no_audio_and_are_not_waited_for(tmp_path):
    (tmp_path / "a.wav").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "b.wav")
    assert (
        reason(audio_info, tmp_path / "a.wav")
        == reason(audio_info, tmp_path / "b.wav")
        == "audio unreadable"
    )


CUT_FORMATS = [
    ("a.wav", {}),
    ("a.wav", {"subtype": "FLOAT"}),
    ("a.wav", {"subtype": "GSM610"}),
    ("a.wav", {"subtype": "IMA_ADPCM"}),
    ("a.flac", {}),
    ("a.ogg", {}),
    ("a.mp3", {}),
]


@pytest.mark.parametrize(("name", "options"), CUT_FORMATS)
@pytest.mark.parametrize(
    ("offset", "duration", "first", "last"),
    [
        (0.0, 1.0, 0, 16_000),
        (0.5, 1.0, 8_000, 24_000),
        (1.0, None, 16_000, 40_000),
        (0.0, None, 0, 40_000),
        # Rounded up: the clip ends a little behind the file.
        (1.5, 1.05, 24_000, 40_000),
        # A manifest of whole files, with a wrong duration.
        (0.0, 3.0, 0, 40_000),
        (0.0, 1e300, 0, 40_000),
    ],
)
def test_a_clip_is_cut_out_of_a_longer_file(tmp_path, name, options, offset, duration, first, last):
    path = wav(tmp_path / name, 40_000, **options)
    whole = read_waveform(path)
    last = len(whole) if last == 40_000 else last
    clip = read_waveform(path, offset, duration)
    assert len(clip) == pytest.approx(last - first, abs=800 if duration == 1.05 else 0)
    # MP3 starts a little otherwise where it is entered.
    assert np.abs(clip - whole[first : first + len(clip)]).max() < (2e-3 if "mp3" in name else 1e-5)
    assert audio_info(path, offset, duration).duration == len(clip) / 16_000
    assert sound_checksum(path, offset, duration) is not None


@pytest.mark.parametrize(("name", "options"), CUT_FORMATS)
@pytest.mark.parametrize(
    ("offset", "duration", "why"),
    [
        (3.0, 1.0, "audio truncated"),
        (3.0, None, "audio truncated"),
        (2.0, 1.0, "audio truncated"),
        (1e300, 1.0, "audio truncated"),
        (1.0, 0.0, "audio empty"),
        (1.0, 0.01, "audio too short"),
        (-1.0, 2.0, "audio unreadable"),
        (1.0, -0.5, "audio unreadable"),
        (float("nan"), 1.0, "audio unreadable"),
        (1.0, float("nan"), "audio unreadable"),
        (1.0, float("inf"), "audio unreadable"),
        (1e308, 1e308, "audio unreadable"),
    ],
)
def test_a_clip_that_does_not_lie_in_its_file_gives_its_reason(
    tmp_path, name, options, offset, duration, why
):
    path = wav(tmp_path / name, 40_000, **options)
    for judge in (audio_info, read_waveform):
        with pytest.raises(UnreadableAudio) as failure:
            judge(path, offset, duration)
        assert str(failure.value) == why


def test_a_clip_is_cut_out_of_a_flac_of_unknown_length_and_out_of_half_a_wav(tmp_path):
    flac = bytearray(wav(tmp_path / "a.flac", 40_000).read_bytes())
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(flac)
    half = wav(tmp_path / "a.wav", 40_000).read_bytes()[:40_044]
    (tmp_path / "a.wav").write_bytes(half)
    for path in (tmp_path / "a.flac", tmp_path / "a.wav"):
        assert audio_info(path, 0.5, 0.5).duration == 0.5
        assert np.abs(read_waveform(path, 0.5, 0.5) - tone(40_000)[8_000:16_000]).max() < 1e-4
        assert reason(lambda path: audio_info(path, 2.0, 1.0), path) == "audio truncated"
        assert reason(lambda path: read_waveform(path, 2.0, 1.0), path) == "audio truncated"


@pytest.mark.parametrize("n_samples", [(1 << 36) - 1, 1 << 34, 0])
def test_a_length_in_a_header_takes_no_memory(tmp_path, n_samples):
    content = bytearray(wav(tmp_path / "a.flac").read_bytes())
    fields = int.from_bytes(content[18:26], "big") >> 36 << 36
    content[18:26] = (fields | n_samples).to_bytes(8, "big")
    (tmp_path / "a.flac").write_bytes(content)
    tracemalloc.start()
    assert len(read_waveform(tmp_path / "a.flac")) == 16_000
    assert audio_info(tmp_path / "a.flac").duration == 1.0
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_wav_whose_header_says_0_takes_the_memory_of_its_file(tmp_path):
    content = bytearray(wav(tmp_path / "a.wav", 1_000_000, subtype="ULAW").read_bytes())
    start = content.index(b"data") + 4
    content[start : start + 4] = bytes(4)
    (tmp_path / "a.wav").write_bytes(content)
    tracemalloc.start()
    assert audio_info(tmp_path / "a.wav") == AudioInfo(62.5, 16_000, 1, overstated=True)
    # Once to be given the size, and once to be embedded in a page.
    assert file_content(tmp_path / "a.wav") == content
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_a_long_clip_of_several_blocks_is_the_same_as_in_one(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.integers(-9_000, 9_000, (700_000, 2), dtype=np.int16)
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, samples, 16_000)
        assert np.array_equal(read_samples(tmp_path / name).values, samples / np.float32(32_768))


def test_frames_are_counted_as_wav2vec2_does():
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    tiny = Wav2Vec2Config(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    model = Wav2Vec2Model(tiny)
    for n_samples in [*range(400, 3_000, 37), 16_000, 320_000]:
        assert n_frames(n_samples) == model._get_feat_extract_output_lengths(n_samples)
    assert [n_frames(n) for n in (0, MIN_SAMPLES - 1, MIN_SAMPLES, 719, 720)] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("copy of it.wav", {}),
        ("b.flac", {}),
        ("b.wav", {"subtype": "PCM_24"}),
        ("b.wav", {"subtype": "FLOAT"}),
        ("b.wav", {"format": "WAVEX"}),
        ("b.pcm", {"format": "RAW", "subtype": "PCM_16"}),
    ],
)
def test_a_copy_in_another_lossless_container_has_the_same_checksum(tmp_path, name, options):
    wav(tmp_path / "a.wav")
    samples, _ = soundfile.read(tmp_path / "a.wav")
    soundfile.write(tmp_path / name, samples, 16_000, **options)
    assert sound_checksum(tmp_path / name) == sound_checksum(tmp_path / "a.wav") is not None


def test_another_sound_has_another_checksum(tmp_path):
    paths = [wav(tmp_path / "a.wav"), wav(tmp_path / "shorter.wav", 15_999)]
    for name, rate, samples in [
        ("rate.wav", 8_000, tone(16_000)),
        ("pitch.wav", 16_000, tone(16_000, 441)),
        ("b.wav", 16_000, -tone(16_000)),
        ("stereo.wav", 16_000, np.stack([tone(16_000)] * 2, axis=1)),
    ]:
        soundfile.write(tmp_path / name, samples, rate)
        paths.append(tmp_path / name)
    assert len({sound_checksum(path) for path in paths}) == 6


def test_silence_and_what_cannot_be_read_are_no_copies_of_each_other(tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    names = ("silent.wav", "bad.wav", "empty.wav", "gone.wav")
    assert [sound_checksum(tmp_path / name) for name in names] == [None] * 4
