"""What is wrong with the clips of a run, and with the room for it, before hours are spent on them."""

import bisect
import shutil
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from korean_asr.audio import SAMPLE_RATE, UnreadableAudio, audio_info, n_frames, read_samples
from korean_asr.errors import DataError, SharedError, printable
from korean_asr.manifest import Utterance
from korean_asr.metrics import without_punctuation

# wav2vec2 refuses to mask 10 frames of time in fewer: a batch of clips this short would stop the run.
MIN_TRAINING_S = 0.25
SILENT_PEAK = 0.001  # of full scale, -60 dB: the noise of a 16-bit recorder without a voice
# A sample at full scale is clipped if its neighbour is there too; in ten real clips and in the demo there is none.
FULL_SCALE, CLIPPED_SHARE = 0.999, 0.005
MOSTLY = 0.5  # of a label's characters, spaces apart
# Syllables a second, punctuation and spaces apart. Hurried Korean reaches 9; twelve means a label of another clip, or audio
# that was cut off. Below a half, over a clip of some seconds, most of the speech is missing from the label.
FASTEST, SLOWEST, SLOW_FROM_S = 12.0, 0.5, 4.0
DURATION_TOLERANCE_S = 0.1  # to the manifest's, by which batches are planned
DURATION_BINS_S = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30)
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
BAR_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault of a clip. Training leaves the clip out or not; validation and test keep every clip."""

    left_out: bool
    advice: str


DURATION_DIFFERS = "duration not the manifest's"
RESTORE = "Restore the file from the download, then run script 1 again. · 원본 음성을 다시 받아 1번을 실행하세요."
LISTEN = "Listen to the clip; if label and audio do not belong together, take it out of korean.jsonl. · 들어 보고 확인하세요."
KINDS = {
    "audio missing": Kind(True, RESTORE),
    "audio empty": Kind(True, RESTORE),
    "audio unreadable": Kind(True, RESTORE),
    "audio truncated": Kind(True, RESTORE),
    "audio too short": Kind(True, "Nothing to do: no frame fits into it. · 너무 짧은 음성입니다."),
    "too short to train on": Kind(True, f"Nothing to do: under {MIN_TRAINING_S} s nothing can be masked. · 너무 짧습니다."),
    "too long": Kind(True, "Raise --max-duration-s, as the GPU's memory allows. · --max-duration-s를 늘리면 씁니다."),
    "silent": Kind(True, "Listen to the clip: it holds no voice. Restore it, or take it out. · 소리가 없습니다."),
    "label empty": Kind(True, "Give it a text in korean.jsonl, or take it out. · 전사가 비어 있습니다."),
    "label mostly unknown": Kind(
        True, "Add its characters: --extra-tokens 5, or --added-tokens. · 모델이 쓸 수 없는 글자가 대부분입니다."
    ),
    "label longer than CTC allows": Kind(
        True, "The audio is cut off or the label is another's: compare them. · 음성에 비해 전사가 너무 깁니다."
    ),
    "clipped": Kind(False, "Nothing to do, unless there are many: then record at a lower level. · 소리가 잘렸습니다."),
    "speaking rate": Kind(False, LISTEN),
    DURATION_DIFFERS: Kind(
        False, "The file was changed: run script 1 again. Until then its measured duration counts. · 1번을 다시 실행하세요."
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one clip; detail is what was measured."""

    kind: str
    split: str
    place: int  # of the clip in its split
    id: str
    audio_filepath: str
    detail: str
    duration: float = 0.0  # in seconds, as measured; 0 where the audio cannot be read


@dataclass(frozen=True, slots=True)
class InputChecks:
    """All that was found. durations are in seconds, as measured, of every clip that could be read; rates in syllables/s."""

    n_clips: dict[str, int]  # by split
    findings: tuple[Finding, ...]
    sample_rates: dict[int, int]  # in Hz: clips
    durations: tuple[float, ...]
    speaking_rates: tuple[float, ...]
    sounds: dict[
        str, list[str | None]
    ]  # by split, of each clip: audio.Samples.checksum, None where it cannot be read

    @property
    def left_out(self) -> dict[str, int]:
        """Training clips that training leaves out, each counted once, by its first reason."""
        first = {}
        for finding in self.findings:
            if finding.split == "train" and KINDS[finding.kind].left_out:
                first.setdefault(finding.place, finding.kind)
        return dict(Counter(first.values()))


def checked_inputs(
    parts: dict[str, list[Utterance]], max_duration_s: float, writable: frozenset[str]
) -> InputChecks:
    """Look at every clip of every split once, its audio to the end: damage in the middle must not stop the run in the night.

    parts: train, validation and test; writable: the characters that the model can write, the space among them.
    """
    clips = [
        (split, place, clip) for split, part in parts.items() for place, clip in enumerate(part)
    ]
    with ThreadPoolExecutor(
        8
    ) as pool:  # decoding leaves Python to the others, and so does a slow disk
        looks = pool.map(
            partial(_look, max_duration_s=max_duration_s, writable=writable),
            (clip for *_, clip in clips),
        )
        looked = list(tqdm(looks, "checking audio and labels", len(clips), unit=" clips", delay=2))
    found = [
        Finding(kind, split, place, clip.id, clip.audio_filepath, detail, look.duration)
        for (split, place, clip), look in zip(clips, looked, strict=True)
        for kind, detail in look.faults
    ]
    readable = [look for look in looked if look.sample_rate]
    return InputChecks(
        n_clips={split: len(part) for split, part in parts.items()},
        findings=tuple(found),
        sample_rates=dict(Counter(look.sample_rate for look in readable).most_common()),
        durations=tuple(look.duration for look in readable),
        speaking_rates=tuple(look.speaking_rate for look in readable),
        sounds={
            name: [
                look.sound for (split, *_), look in zip(clips, looked, strict=True) if split == name
            ]
            for name in parts
        },
    )


def usable_training_clips(train: list[Utterance], checks: InputChecks) -> list[Utterance]:
    """The clips that training does not leave out. Raises SharedError if none is left.

    A clip whose file is longer or shorter than the manifest says counts with its measured duration: by it batches are
    planned, and the longest one is tried on the GPU.
    """
    measured = {
        finding.place: finding.duration
        for finding in checks.findings
        if finding.split == "train" and finding.kind == DURATION_DIFFERS
    }
    bad = {
        finding.place
        for finding in checks.findings
        if finding.split == "train" and KINDS[finding.kind].left_out
    }
    kept = [
        replace(clip, duration=measured.get(place, clip.duration))
        for place, clip in enumerate(train)
        if place not in bad
    ]
    if not kept:
        reasons = (
            ", ".join(f"{kind} {n:,}" for kind, n in checks.left_out.items())
            or "the training split is empty"
        )
        raise SharedError(
            f"no training clip is usable: {reasons}. Run script 2 with --check, which names each clip and what to do. "
            "· 학습에 쓸 수 있는 음성이 없습니다. --check로 확인하세요."
        )
    return kept


@dataclass(frozen=True, slots=True)
class _Look:
    faults: list[tuple[str, str]]
    sample_rate: int = 0
    duration: float = 0.0
    speaking_rate: float = 0.0
    sound: str | None = None


def _look(clip: Utterance, max_duration_s: float, writable: frozenset[str]) -> _Look:
    try:
        # The header first: libsndfile shortens a truncated WAV without a word, and waits for a pipe for ever. It costs 4 %.
        sample_rate = audio_info(clip.audio_filepath).sample_rate
        samples = read_samples(clip.audio_filepath)
        waveform = samples.waveform()
    except UnreadableAudio as problem:
        return _Look([(str(problem), "")])
    duration = len(waveform) / SAMPLE_RATE
    faults = _audio_faults(waveform, duration, clip.duration, max_duration_s)
    faults += label_faults(clip.text, n_frames(len(waveform)), writable)
    syllables = len(without_punctuation(clip.text).replace(" ", ""))
    rate = syllables / duration
    if rate > FASTEST or (rate < SLOWEST and duration > SLOW_FROM_S and syllables):
        faults.append(("speaking rate", f"{rate:.1f} syllables/s"))
    return _Look(faults, sample_rate, duration, rate, samples.checksum())


def _audio_faults(
    waveform: np.ndarray, duration: float, in_manifest: float, max_duration_s: float
) -> list[tuple[str, str]]:
    faults = []
    if max(duration, in_manifest) > max_duration_s:
        faults.append(("too long", f"{max(duration, in_manifest):.1f} s"))
    if min(duration, in_manifest) < MIN_TRAINING_S:
        faults.append(("too short to train on", f"{min(duration, in_manifest):.2f} s"))
    highest, lowest = float(waveform.max()), float(waveform.min())
    peak = (highest - lowest) / 2  # around its middle: a dead microphone may stand at any one value
    if peak < SILENT_PEAK:
        faults.append(("silent", f"peak {peak:.5f}"))
    elif max(highest, -lowest) >= FULL_SCALE and (share := clipped_share(waveform)) > CLIPPED_SHARE:
        faults.append(("clipped", f"{share:.1%} of its samples"))
    if abs(duration - in_manifest) > DURATION_TOLERANCE_S:
        faults.append((DURATION_DIFFERS, f"{duration:.2f} s, manifest {in_manifest:.2f} s"))
    return faults


def clipped_share(waveform: np.ndarray) -> float:
    """Of the samples, how many stand at full scale beside one that does too; waveform: (n_samples,) in -1 to 1."""
    full = np.abs(waveform) >= FULL_SCALE
    pairs = full[1:] & full[:-1]
    touched = np.zeros(len(full), dtype=bool)
    touched[1:] |= pairs
    touched[:-1] |= pairs
    return float(touched.mean())


def label_faults(text: str, frames: int, writable: frozenset[str]) -> list[tuple[str, str]]:
    """What is wrong with a label of one label id a character, for so many 20 ms frames.

    CTC puts a blank between two equal labels, so that it needs frames >= labels + repeats (Graves et al. 2006). Characters
    outside `writable` all become [UNK], so two of them side by side are a repeat as well.
    """
    if not text:
        return [("label empty", "")]
    letters = text.replace(" ", "")
    n_unknown = sum(character not in writable for character in letters)
    faults = []
    if n_unknown > MOSTLY * len(letters):
        faults.append(("label mostly unknown", f"{n_unknown} of {len(letters)} characters"))
    if frames < 2 * len(text):  # else no repeats could be too many
        ids = [character if character in writable else None for character in text]
        n_repeats = sum(one == other for one, other in zip(ids, ids[1:], strict=False))
        if frames < len(ids) + n_repeats:
            detail = f"{len(ids)} labels and {n_repeats} repeats, {frames} frames"
            faults.append(("label longer than CTC allows", detail))
    return faults


def duration_histogram(checks: InputChecks) -> list[tuple[str, int]]:
    """`2-3 s` and its clips, for each of DURATION_BINS_S up to the longest clip."""
    counts = Counter(
        bisect.bisect_right(DURATION_BINS_S, duration) for duration in checks.durations
    )
    names = [
        f"{low}-{high} s" for low, high in zip(DURATION_BINS_S, DURATION_BINS_S[1:], strict=False)
    ]
    names.append(f"{DURATION_BINS_S[-1]}- s")
    return [(names[i - 1], counts[i]) for i in range(1, max(counts, default=0) + 1)]


def _speaking_rate_quantiles(checks: InputChecks) -> list[float]:
    return np.quantile(checks.speaking_rates or (0.0,), QUANTILES).round(2).tolist()


def printed_checks(checks: InputChecks, limit: int | None) -> list[str]:
    """The lines about the clips; of each kind of fault the first `limit` clips are named, or all of them (None)."""
    n_clips = sum(checks.n_clips.values())
    rates = ", ".join(f"{rate:,} Hz {n:,}" for rate, n in checks.sample_rates.items())
    resampled = "" if set(checks.sample_rates) <= {SAMPLE_RATE} else " (read as 16,000 Hz)"
    low, early, median, late, high = _speaking_rate_quantiles(checks)
    lines = [f"checked {n_clips:,} clips · 입력 점검: {rates or 'none readable'}{resampled}"]
    histogram = duration_histogram(checks)
    most = max((n for _, n in histogram), default=1)
    for name, n in histogram:
        lines.append(f"  {name:>8}{n:>9,}  {'#' * -(-n * BAR_CHARACTERS // most)}")
    lines.append(
        f"  syllables a second: median {median}, 5 % to 95 % {early} to {late}, least {low}, most {high} · 초당 음절 수"
    )
    by_kind = defaultdict(list)
    for finding in checks.findings:
        by_kind[finding.kind].append(finding)
    for kind, findings in by_kind.items():
        lines += _printed_kind(kind, findings, limit)
    return (
        lines
        if checks.findings
        else [*lines, "  no clip with a fault · 문제가 있는 음성이 없습니다"]
    )


def _printed_kind(kind: str, findings: list[Finding], limit: int | None) -> list[str]:
    counts = Counter(finding.split for finding in findings)
    where = ", ".join(f"{split} {n:,}" for split, n in counts.items())
    kept = "left out of training" if KINDS[kind].left_out else "kept"
    if counts.keys() - {"train"} and KINDS[kind].left_out:
        kept += ", kept in validation and test"
    lines = [f"  {kind}: {where} ({kept})"]
    for finding in findings[:limit]:
        detail = f"  {finding.detail}" if finding.detail else ""
        lines.append(printable(f"    {finding.id}  {finding.audio_filepath}{detail}"))
    if limit is not None and len(findings) > limit:
        lines.append(f"    and {len(findings) - limit:,} more: --check names all of them")
    return [*lines, f"    -> {KINDS[kind].advice}"]


def checks_record(checks: InputChecks) -> dict[str, Any]:
    """The same for JSON: clips by their ids, since paths tell of the machine."""
    clips: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for finding in checks.findings:
        clips[finding.kind][finding.split].append(finding.id)
    return {
        "n_clips": checks.n_clips,
        "sample_rates": {str(rate): n for rate, n in checks.sample_rates.items()},
        "durations": dict(duration_histogram(checks)),
        "speaking_rates": {
            str(q): rate
            for q, rate in zip(QUANTILES, _speaking_rate_quantiles(checks), strict=True)
        },
        "findings": clips,
    }


def disk_needed(n_parameters: int, n_trained: int, checkpoints_kept: int) -> int:
    """Bytes: the last checkpoints, the best one, the one being written, and the final model.

    A checkpoint holds four bytes a parameter, and AdamW's two moments, eight more, for each that is trained.
    """
    return (checkpoints_kept + 2) * (4 * n_parameters + 8 * n_trained) + 4 * n_parameters


def refuse_full_disk(folder: Path, needed: int, already_there: int) -> str:
    """A line about the room for checkpoints. Raises DataError where they will not fit.

    already_there: bytes of earlier checkpoints of this run, whose place the new ones take.
    """
    existing = next(
        place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()
    )
    free = shutil.disk_usage(existing).free
    if free + already_there < needed:
        raise DataError(
            f"{folder}: the checkpoints need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Free some space, or pass "
            "--checkpoints on another disk, or --checkpoints-kept 2. · 디스크 공간이 부족합니다."
        )
    return f"free disk for checkpoints: {free / 1e9:.1f} GB, {needed / 1e9:.2f} GB needed · 디스크 여유 공간"
