"""The table of audio files in preprocessing/README.md: every row is made, and judged by all."""

import os
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from korean_asr.audio import UnreadableAudio, audio_info, read_waveform, sound_checksum
from korean_asr.manifest import Utterance
from korean_asr.preprocessing import cleaning
from korean_asr.preprocessing.cleaning import Settings, preprocessed
from korean_asr.preprocessing.counts import REASONS
from korean_asr.training.clip_checks import KINDS, checked_inputs

README = Path(cleaning.__file__).with_name("README.md")
SECONDS = 2.0


def sound(rate=16_000, channels=1, seconds=SECONDS):
    times = np.arange(int(rate * seconds)) / rate
    tone = 0.4 * np.sin(2 * np.pi * 440 * times)
    tone += np.random.default_rng(0).normal(0, 0.01, len(tone))
    return np.stack([tone] * channels, axis=1).astype(np.float32)


def written(path, rate=16_000, channels=1, seconds=SECONDS, **options):
    soundfile.write(path, sound(rate, channels, seconds), rate, **options)
    return path


def patched(path, change, **options):
    """A file whose bytes were changed by a function."""
    content = bytearray(written(path, **options).read_bytes())
    path.write_bytes(change(content) or content)
    return path


def data_size(path, size, order="<", **options):
    """A WAV whose header gives another size of the data."""

    def change(content):
        struct.pack_into(f"{order}I", content, content.index(b"data") + 4, size)

    return patched(path, change, **options)


def cut_off(path, n_bytes, **options):
    return patched(path, lambda content: content[:-n_bytes], **options)


def flac_length(path, n_samples):
    def change(content):
        fields = int.from_bytes(content[18:26], "big") >> 36 << 36
        content[18:26] = (fields | n_samples).to_bytes(8, "big")

    return patched(path, change)


def zeroed(path, first, last, **options):
    def change(content):
        content[first:last] = bytes(last - first)

    return patched(path, change, **options)


def with_content(path, content):
    path.write_bytes(content)
    return path


def bare(path, n_samples=32_000, tail=b""):
    samples = (sound()[:n_samples, 0] * 32_767).astype("<i2")
    return with_content(path, samples.tobytes() + tail)


def not_a_number(path, value, **options):
    samples = sound()
    samples[9_000] = value
    soundfile.write(path, samples, 16_000, subtype="FLOAT", **options)
    return path


def link(path, target):
    path.symlink_to(target)
    return path


def pipe(path):
    os.mkfifo(path)
    return path


def folder(path):
    path.mkdir()
    return path


def plain(d):
    yield written(d / "a.wav")
    yield written(d / "A.WAV")
    yield written(d / "a.wavx", format="WAVEX")


def sample_sizes(d):
    for subtype in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"):
        yield written(d / f"{subtype}.wav", subtype=subtype)


def adpcm(d):
    for subtype in ("IMA_ADPCM", "MS_ADPCM"):
        yield written(d / f"{subtype}.wav", subtype=subtype)


def not_seekable(d):
    for subtype in ("GSM610", "G721_32", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"):
        rate = 8_000 if subtype.startswith("NMS") else 16_000
        yield written(d / f"{subtype}.wav", rate=rate, subtype=subtype)


def chunks(d):
    tags = (
        b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"
    )
    yield patched(d / "before.wav", lambda content: content[:36] + tags + content[36:])
    yield patched(d / "behind.wav", lambda content: content + tags)
    broadcast = b"bext" + struct.pack("<I", 602) + bytes(602)
    yield patched(d / "bext.wav", lambda content: content[:12] + broadcast + content[12:])
    yield written(d / "a.rf64", format="RF64")
    yield written(d / "a.aiff")
    yield written(d / "law.aiff", subtype="ULAW")


def compressed(d):
    yield written(d / "a.flac")
    yield written(d / "a.mp3")
    yield written(d / "a.ogg")
    yield written(d / "opus.ogg", subtype="OPUS")


def pcm(d):
    yield bare(d / "a.pcm")
    yield bare(d / "odd.PCM", tail=b"\x01")


def renamed(d):
    yield written(d / "a.pcm", format="WAV")
    yield written(d / "b.pcm", format="FLAC")
    yield written(d / "c.wav", format="FLAC")


def rates(d):
    yield written(d / "a.wav", rate=8_000)
    yield written(d / "a.flac", rate=8_000)
    yield written(d / "gsm.wav", rate=8_000, subtype="GSM610")


def channels(d):
    yield written(d / "a.wav", channels=2)
    yield written(d / "a.flac", channels=2)


def bare_wav(d):
    yield bare(d / "a.wav")


def placeholders(d):
    for size in (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFDB, 0xFFFFFFFF):
        yield data_size(d / f"{size:x}.wav", size)
    for subtype in ("FLOAT", "ULAW", "IMA_ADPCM"):
        yield data_size(d / f"{subtype}.wav", 0, subtype=subtype)
    yield data_size(d / "wavex.wav", 0, format="WAVEX")
    yield data_size(d / "big_endian.wav", 0, order=">", endian="BIG")


def small_excess(d):
    for excess in (1, 16, 44, 1_024):
        yield data_size(d / f"{excess}.wav", 64_000 + excess)
        yield cut_off(d / f"cut_{excess}.wav", excess)
    yield cut_off(d / "float.wav", 1_024, subtype="FLOAT")
    yield cut_off(d / "a.aiff", 1_024)
    yield flac_length(d / "a.flac", 32_000 + 512)


def unknown_length(d):
    yield flac_length(d / "unknown.flac", 0)
    yield flac_length(d / "absurd.flac", (1 << 36) - 1)


def large_excess(d):
    yield data_size(d / "a.wav", 64_000 + 1_025)
    yield data_size(d / "b.wav", 0x7FFFEFFF)
    yield cut_off(d / "half.wav", 32_000)
    for subtype in ("FLOAT", "ALAW", "IMA_ADPCM", "GSM610"):
        yield cut_off(d / f"{subtype}.wav", 3_000, subtype=subtype)
    yield cut_off(d / "a.rf64", 3_000, format="RF64")
    yield cut_off(d / "a.aiff", 3_000)


def without_end(d):
    for name, options in (
        ("a.flac", {}),
        ("a.mp3", {}),
        ("a.ogg", {}),
        ("b.ogg", {"subtype": "OPUS"}),
    ):
        yield cut_off(d / name, 2_500, **options)
    yield flac_length(d / "b.flac", 32_000 + 2_000)


def damaged_header(d):
    yield zeroed(d / "a.wav", 20, 36)
    yield zeroed(d / "a.pcm", 20, 36, format="WAV")
    yield zeroed(d / "b.wav", 8, 60, format="FLAC")
    yield zeroed(d / "c.wav", 5, 60, format="OGG")
    yield zeroed(d / "d.wav", 8, 50, format="AIFF")
    yield zeroed(d / "e.wav", 0, 4)
    yield patched(d / "twice.wav", lambda content: content + content)


def damaged_middle(d):
    yield zeroed(d / "a.flac", 20_000, 20_100)


def no_numbers(d):
    yield not_a_number(d / "a.wav", np.nan)
    yield not_a_number(d / "b.wav", np.inf)
    yield not_a_number(d / "c.aiff", np.nan)


def no_audio(d):
    yield with_content(d / "a.wav", "음성 파일이 아닙니다. 관리자에게 문의하세요.\n".encode() * 500)
    yield with_content(d / "b.flac", b"<html><body>\r\n404 Not Found</body></html>\r\n" * 500)
    yield with_content(d / "c.wav", np.random.default_rng(0).bytes(40_000))
    yield with_content(d / "d.wav", bytes(40_000))
    yield with_content(d / "e.mp3", b"no audio" * 500)


def not_regular(d):
    yield folder(d / "a.wav")
    yield pipe(d / "b.wav")
    yield link(d / "c.wav", d / "b.wav")
    yield link(d / "d.wav", "/dev/zero")
    yield pipe(d / "e.pcm")
    yield pipe(d / "f.flac")


def impossible_names(d):
    written(d / "good.flac")
    for name in ("a" * 300 + ".wav", "good.flac\0missing.wav", "\ud800.wav"):
        yield d / name


def missing(d):
    yield d / "gone.wav"
    yield d / "no folder/gone.pcm"
    yield link(d / "a.wav", d / "gone.wav")
    yield written(d / "good.wav") / "gone.wav"


def impossible_rates(d):
    for rate in (1, 3_999, 384_001):
        yield written(d / f"{rate}.wav", rate=rate, seconds=32_000 / rate)
    yield written(d / "1.flac", rate=1_000)
    yield written(d / "float.wav", rate=1_000, subtype="FLOAT")


def no_sample(d):
    yield with_content(d / "a.wav", b"")
    yield with_content(d / "a.pcm", b"\x01")
    yield written(d / "b.wav", seconds=0)
    yield written(d / "c.aiff", seconds=0)
    # The size 0 is true: only tags follow.
    yield patched(d / "d.wav", lambda c: c + b"LIST\4\0\0\0INFO", seconds=0)


def too_short(d):
    yield written(d / "a.wav", seconds=399 / 16_000)
    yield written(d / "a.flac", seconds=399 / 16_000)
    yield written(d / "b.wav", rate=44_100, seconds=1_102.5 / 44_100)
    yield bare(d / "a.pcm", n_samples=399)


def containers(d):
    av = pytest.importorskip("av", reason="PyAV is optional")
    for name, codec in (("a.m4a", "aac"), ("a.mp4", "aac"), ("a.mka", "aac"), ("a.mov", "alac")):
        with av.open(str(d / name), "w") as file:
            stream = file.add_stream(codec, rate=16_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(sound().T.copy(), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            resampler = av.AudioResampler(stream.codec_context.format, "mono", 16_000)
            for part in (*resampler.resample(frame), None):
                file.mux(stream.encode(part))
        yield d / name


def without_pyav(d):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "av", None)
        yield with_content(d / "a.m4a", b"\0\0\0\x20ftypM4A ")
        yield with_content(d / "a.webm", b"\x1a\x45\xdf\xa3")
        yield with_content(d / "a.wav", b"\0\0\0\x20ftypisom")
        yield with_content(d / "a.aac", b"\xff\xf1`@")


MAKERS = [
    plain, sample_sizes, adpcm, not_seekable, chunks, compressed, containers, pcm, renamed,
    rates, channels, bare_wav, placeholders, small_excess, unknown_length, large_excess,
    without_end, damaged_header, damaged_middle, no_numbers, no_audio, not_regular,
    impossible_names, missing, impossible_rates, without_pyav, no_sample, too_short,
]  # fmt: skip


def table_rows():
    """(file, result, counted as) of each row of the table."""
    section = README.read_text(encoding="utf-8").split("\n## Audio\n")[1].split("\n## ")[0]
    rows = [re.split(r" *\| *", line.strip("| ")) for line in section.splitlines() if "|" in line]
    return [[*row, ""][:3] for row in rows[2:]]


def test_every_row_of_the_table_has_files():
    assert len(table_rows()) == len(MAKERS)


@pytest.mark.parametrize(("maker", "row"), zip(MAKERS, table_rows(), strict=True))
def test_all_scripts_say_of_a_file_what_the_table_says(maker, row, tmp_path):
    _, result, counted = row
    counted = counted.strip("`")
    for path in maker(tmp_path):
        name = path.name[:60]
        if result == "rejected":
            assert said(audio_info, path) == counted, name
            assert said(read_waveform, path) == counted, name
            assert sound_checksum(path) is None or counted == "audio too short", name
            assert counted in KINDS and counted in REASONS, name
            assert faults(path) == [counted], name
            continue
        info = audio_info(path)
        n_samples = len(read_waveform(path))
        assert n_samples == pytest.approx(info.duration * 16_000, abs=1), name
        # ADPCM comes in whole blocks.
        assert SECONDS - 0.05 < info.duration < SECONDS + 0.1, name
        assert not {*faults(path)} & {kind for kind in KINDS if kind.startswith("audio")}, name
        converted = conversions(path)
        wanted = {counted} if counted else set()
        # Encodings of telephones are written at 8 kHz.
        assert {*converted} - {"8,000 Hz -> 16,000 Hz"} == wanted - {"8,000 Hz -> 16,000 Hz"}, name
        assert wanted <= {*converted}, name


def said(judge, path):
    with pytest.raises(UnreadableAudio) as failure:
        judge(path)
    return str(failure.value)


def faults(path):
    """What script 2 finds."""
    clip = Utterance("a", str(path), SECONDS, "가 나 다")
    return [
        finding.kind for finding in checked_inputs({"train": [clip]}, 20, {*"가나다 "}).findings
    ]


def conversions(path):
    """What script 1 counts."""
    manifest = path.with_name("manifest.jsonl")
    manifest.write_text(f'{{"audio_filepath": "{path}", "text": "네"}}\n', encoding="utf-8")
    return preprocessed({"a": manifest}, Settings(), 1, "korean", path.parent).tally.converted
