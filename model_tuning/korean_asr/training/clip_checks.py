"""Check every clip of a run, and the room on the disk, before hours are spent on training."""

import shutil
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from korean_asr.audio import SAMPLE_RATE, UnreadableAudio, n_frames, read_samples
from korean_asr.errors import DataError, SharedError, printable
from korean_asr.manifest import DURATION_TOLERANCE_S, Utterance, duration_bin
from korean_asr.progress_line import counted
from korean_asr.training.splits import TRAINING_NAMES

# wav2vec2 cannot mask 10 frames of a clip that has fewer, and stops the run.
MIN_TRAINING_S = 0.25
# -60 dB of full scale; the noise of a 16-bit recorder stays below it.
SILENT_PEAK = 0.001
# A sample at full scale is clipped if a neighbour is at full scale too. Ten real clips and the
# demo have no such sample.
FULL_SCALE, MAX_CLIPPED_SHARE = 0.999, 0.005
# Share of a label's characters, without spaces.
MAX_UNKNOWN_SHARE = 0.5
# Letters and digits a second; a Hangul letter is a syllable. Hurried Korean reaches 9. Over 12 the
# label belongs to another clip, or the audio is cut off. Under 0.5 the label lacks most of the
# speech, but not in a clip of under SLOW_FROM_S seconds, where a pause can explain it.
FASTEST, SLOWEST, SLOW_FROM_S = 12.0, 0.5, 4.0
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
BAR_CHARACTERS = 40
# Reading is mostly decoding and waiting for the disk, during which other threads run.
READERS = 8

# The model checks use about a minute of speech: a model of 317 M parameters needs ten seconds for
# it on a desktop's CPU. Clips are cut, since attention's memory grows by the square of the length.
SAMPLE_CLIPS, SAMPLE_S = 16, 20.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: whether training leaves such a clip out, and what the user can do."""

    left_out: bool
    advice: str


DURATION_DIFFERS = "duration not the manifest's"
RESTORE = (
    "Download the file again, then run script 1. · 원본을 다시 받아 1번 스크립트를 실행하세요."
)
KINDS = {
    "audio missing": Kind(True, RESTORE),
    "audio empty": Kind(True, RESTORE),
    "audio unreadable": Kind(True, RESTORE),
    "audio truncated": Kind(True, RESTORE),
    "audio rate not 4 to 384 kHz": Kind(True, RESTORE),
    "audio of another type": Kind(
        True, "Run pip install -r requirements-optional.txt. · PyAV를 설치하면 읽을 수 있습니다."
    ),
    "audio too short": Kind(
        True, "Nothing to do: the clip is shorter than a frame. · 음성이 너무 짧습니다."
    ),
    "too short to train on": Kind(
        True,
        f"Nothing to do: a clip under {MIN_TRAINING_S} s cannot be masked. "
        "· 학습하기에는 음성이 너무 짧습니다.",
    ),
    "too long": Kind(
        True,
        "Raise --max-duration-s as far as the GPU's memory allows. "
        "· --max-duration-s 값을 늘리면 학습에 포함됩니다.",
    ),
    "silent": Kind(
        True,
        "Listen to the clip: if it holds no voice, restore or remove it. "
        "· 소리가 없습니다. 원본 음성을 확인하세요.",
    ),
    "label empty": Kind(
        True, "Write its text into korean.jsonl, or remove the clip. · 전사가 비어 있습니다."
    ),
    "label mostly unknown": Kind(
        True,
        "Add its characters: --extra-tokens 5, or --added-tokens. "
        "· 대부분이 모델이 출력할 수 없는 글자입니다. --extra-tokens 5를 사용해 보세요.",
    ),
    "label longer than CTC allows": Kind(
        True,
        "Compare label and audio: the audio is cut off, or the label belongs to another clip. "
        "· 음성에 비해 전사가 너무 깁니다.",
    ),
    "clipped": Kind(
        False,
        "Nothing to do; if many are, lower the recording level. · 소리가 포화(클리핑)되었습니다.",
    ),
    "speaking rate": Kind(
        False,
        "Listen to the clip; if label and audio do not match, remove it from korean.jsonl. "
        "· 들어 보고, 전사와 음성이 다르면 korean.jsonl에서 삭제하세요.",
    ),
    DURATION_DIFFERS: Kind(
        False,
        "The file has changed: run script 1 again. Until then the measured duration counts. "
        "· 파일이 바뀌었습니다. 1번 스크립트를 다시 실행하세요.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one clip."""

    kind: str  # one of KINDS
    split: str
    index: int  # of the clip in its split
    id: str
    audio_filepath: str
    detail: str  # what was measured
    duration: float = 0.0  # seconds as measured; 0 if the audio cannot be read


@dataclass(frozen=True, slots=True)
class InputChecks:
    """The findings about all splits, and measurements of the clips that could be read."""

    n_clips: dict[str, int]  # by split
    findings: tuple[Finding, ...]
    sample_rates: dict[int, int]  # Hz -> number of clips
    durations: tuple[float, ...]  # seconds
    speaking_rates: tuple[float, ...]  # letters and digits a second
    # By split: audio.Samples.checksum of each clip, None if the clip cannot be read or is silent.
    sounds: dict[str, list[str | None]]

    @property
    def left_out(self) -> dict[str, int]:
        """Count the clips that training leaves out, each by its first reason."""
        first: dict[tuple[str, int], str] = {}
        for finding in self.findings:
            if finding.split in TRAINING_NAMES and KINDS[finding.kind].left_out:
                first.setdefault((finding.split, finding.index), finding.kind)
        return dict(Counter(first.values()))


def checked_inputs(
    parts: dict[str, list[Utterance]], max_duration_s: float, writable: frozenset[str]
) -> InputChecks:
    """Check label and audio of every clip of every split.

    Audio is decoded to its end, so that a damaged file is found now and not hours later.
    parts: the clips of each split.
    writable: the characters that the model has a token for.
    """
    clips = [
        (split, index, clip) for split, part in parts.items() for index, clip in enumerate(part)
    ]
    check = partial(_checked_clip, max_duration_s=max_duration_s, writable=writable)
    with ThreadPoolExecutor(READERS) as pool:
        coming = pool.map(check, (clip for *_, clip in clips))
        checked = list(counted(coming, "checking audio and labels", len(clips)))
    findings: list[Finding] = []
    sounds: dict[str, list[str | None]] = {split: [] for split in parts}
    for (split, index, clip), found in zip(clips, checked, strict=True):
        sounds[split].append(found.sound)
        findings += [
            Finding(kind, split, index, clip.id, clip.audio_filepath, detail, found.duration)
            for kind, detail in found.faults
        ]
    readable = [found for found in checked if found.sample_rate]
    return InputChecks(
        n_clips={split: len(part) for split, part in parts.items()},
        findings=tuple(findings),
        sample_rates=dict(Counter(found.sample_rate for found in readable).most_common()),
        durations=tuple(found.duration for found in readable),
        speaking_rates=tuple(found.speaking_rate for found in readable),
        sounds=sounds,
    )


def usable_training_clips(
    parts: dict[str, list[Utterance]], checks: InputChecks
) -> list[Utterance]:
    """Return the clips to train on, natives' first; raises SharedError if there are none.

    parts: the clips of each split.
    If the manifest's duration is wrong, the clip gets the measured one, because batches are planned
    by duration and the longest is tried on the GPU.
    """
    bad, measured = set(), {}
    for finding in checks.findings:
        if KINDS[finding.kind].left_out:
            bad.add((finding.split, finding.index))
        if finding.kind == DURATION_DIFFERS:
            measured[finding.split, finding.index] = finding.duration
    kept = [
        replace(clip, duration=measured.get((name, index), clip.duration))
        for name in TRAINING_NAMES
        for index, clip in enumerate(parts.get(name, ()))
        if (name, index) not in bad
    ]
    if kept:
        return kept
    reasons = ", ".join(f"{kind} {n:,}" for kind, n in checks.left_out.items())
    raise SharedError(
        f"no training clip is usable: {reasons or 'the training split is empty'}. "
        "Run script 2 with --check, which names each clip and what to do. "
        "· 학습에 사용할 수 있는 발화가 없습니다. --check로 확인하세요."
    )


def sample_waveforms(clips: list[Utterance]) -> list[np.ndarray]:
    """Read the first SAMPLE_S of at most SAMPLE_CLIPS clips, evenly spaced over a split.

    Returns (n_samples,) float32 each; clips that cannot be read are left out.
    """
    step = max(1, len(clips) // SAMPLE_CLIPS)
    waveforms = []
    for clip in clips[::step][:SAMPLE_CLIPS]:
        try:
            waveform = read_samples(clip.audio, *clip.cut).waveform()
        except UnreadableAudio:
            # checked_inputs names it.
            continue
        waveforms.append(waveform[: int(SAMPLE_S * SAMPLE_RATE)])
    return waveforms


@dataclass(frozen=True, slots=True)
class _CheckedClip:
    """The faults of a clip as (kind, detail), and what was measured where it could be read."""

    faults: list[tuple[str, str]]
    sample_rate: int = 0
    duration: float = 0.0
    speaking_rate: float = 0.0
    sound: str | None = None


def _checked_clip(clip: Utterance, max_duration_s: float, writable: frozenset[str]) -> _CheckedClip:
    try:
        samples = read_samples(clip.audio, *clip.cut)
        waveform = samples.waveform()
    except UnreadableAudio as problem:
        return _CheckedClip([(str(problem), "")])
    duration = len(waveform) / SAMPLE_RATE
    n_letters = sum(map(str.isalnum, clip.text))
    rate = n_letters / duration
    faults = [
        *duration_faults(duration, clip.duration, max_duration_s),
        *level_faults(waveform),
        *label_faults(clip.text, n_frames(len(waveform)), writable),
    ]
    too_slow = 0 < rate < SLOWEST and duration > SLOW_FROM_S
    if rate > FASTEST or too_slow:
        faults.append(("speaking rate", f"{rate:.1f} syllables/s"))
    return _CheckedClip(faults, samples.sample_rate, duration, rate, samples.checksum())


def duration_faults(
    duration: float, in_manifest: float, max_duration_s: float
) -> list[tuple[str, str]]:
    """Compare the measured duration and the manifest's with the bounds, and with each other."""
    longer, shorter = max(duration, in_manifest), min(duration, in_manifest)
    faults = []
    if longer > max_duration_s:
        faults.append(("too long", f"{longer:.1f} s"))
    if shorter < MIN_TRAINING_S:
        faults.append(("too short to train on", f"{shorter:.2f} s"))
    if longer - shorter > DURATION_TOLERANCE_S:
        faults.append((DURATION_DIFFERS, f"{duration:.2f} s, manifest {in_manifest:.2f} s"))
    return faults


def level_faults(waveform: np.ndarray) -> list[tuple[str, str]]:
    """Detect silence and clipping; waveform: (n_samples,) in -1 to 1."""
    highest, lowest = float(waveform.max()), float(waveform.min())
    # Half the range, not the largest value: a dead microphone may give any constant.
    peak = (highest - lowest) / 2
    if peak < SILENT_PEAK:
        return [("silent", f"peak {peak:.5f}")]
    if max(highest, -lowest) < FULL_SCALE:
        return []
    share = clipped_share(waveform)
    return [("clipped", f"{share:.1%} of its samples")] if share > MAX_CLIPPED_SHARE else []


def clipped_share(waveform: np.ndarray) -> float:
    """Return the share of samples at full scale that have a neighbour at full scale.

    waveform: (n_samples,) in -1 to 1.
    """
    full = np.abs(waveform) >= FULL_SCALE
    pairs = full[1:] & full[:-1]
    clipped = np.zeros(len(full), dtype=bool)
    clipped[1:] |= pairs
    clipped[:-1] |= pairs
    return float(clipped.mean())


def label_faults(text: str, frames: int, writable: frozenset[str]) -> list[tuple[str, str]]:
    """Check a label, one token a character, against the vocabulary and the number of frames.

    CTC puts a blank between equal tokens, so it needs frames >= tokens + repeats (Graves et al.
    2006). Characters outside `writable` are all [UNK], so two of them in a row are a repeat.
    """
    if not text:
        return [("label empty", "")]
    faults = []
    letters = text.replace(" ", "")
    n_unknown = sum(character not in writable for character in letters)
    if n_unknown > MAX_UNKNOWN_SHARE * len(letters):
        faults.append(("label mostly unknown", f"{n_unknown} of {len(letters)} characters"))
    tokens = [character if character in writable else None for character in text]
    n_repeats = sum(one == other for one, other in zip(tokens, tokens[1:], strict=False))
    if frames < len(tokens) + n_repeats:
        detail = f"{len(tokens)} tokens and {n_repeats} repeats, {frames} frames"
        faults.append(("label longer than CTC allows", detail))
    return faults


def duration_histogram(checks: InputChecks) -> dict[str, int]:
    """Count clips by duration bin, shortest first; bins without a clip are left out."""
    return dict(Counter(map(duration_bin, sorted(checks.durations))))


def _speaking_rate_quantiles(checks: InputChecks) -> list[float]:
    return np.quantile(checks.speaking_rates or (0.0,), QUANTILES).round(2).tolist()


def printed_checks(checks: InputChecks, limit: int | None) -> list[str]:
    """Format the checks. limit: how many clips to name for each kind of fault; None for all."""
    rates = ", ".join(f"{rate:,} Hz {n:,}" for rate, n in checks.sample_rates.items())
    resampled = "" if set(checks.sample_rates) <= {SAMPLE_RATE} else " (read as 16,000 Hz)"
    histogram = duration_histogram(checks)
    most = max(histogram.values(), default=1)
    # Rounded up, so that every bin has a bar.
    bars = [
        f"  {name:>9}  {n:>7,}  {'#' * -(-n * BAR_CHARACTERS // most)}"
        for name, n in histogram.items()
    ]
    low, early, median, late, high = _speaking_rate_quantiles(checks)
    lines = [
        f"checked {sum(checks.n_clips.values()):,} clips · 입력 점검: "
        f"{rates or 'none readable'}{resampled}",
        *bars,
        f"  syllables a second: median {median}, 5 % to 95 % {early} to {late}, "
        f"least {low}, most {high} · 초당 음절 수",
    ]
    by_kind = defaultdict(list)
    for finding in checks.findings:
        by_kind[finding.kind].append(finding)
    for kind, findings in by_kind.items():
        lines += _printed_kind(kind, findings, limit)
    return lines if by_kind else [*lines, "  no clip with a fault · 문제가 있는 발화가 없습니다"]


def _printed_kind(kind: str, findings: list[Finding], limit: int | None) -> list[str]:
    counts = Counter(finding.split for finding in findings)
    where = ", ".join(f"{split} {n:,}" for split, n in counts.items())
    kept = "left out of training" if KINDS[kind].left_out else "kept"
    if counts.keys() - {*TRAINING_NAMES} and KINDS[kind].left_out:
        kept += ", kept in validation and test"
    lines = [f"  {kind}: {where} ({kept})"]
    for finding in findings[:limit]:
        detail = f"  {finding.detail}" if finding.detail else ""
        lines.append(printable(f"    {finding.id}  {finding.audio_filepath}{detail}"))
    if limit is not None and len(findings) > limit:
        lines.append(f"    and {len(findings) - limit:,} more: --check names all of them")
    return [*lines, f"    -> {KINDS[kind].advice}"]


def checks_record(checks: InputChecks) -> dict[str, Any]:
    """Return the checks for JSON; clips are named by id, since paths would show this machine's."""
    clips: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for finding in checks.findings:
        clips[finding.kind][finding.split].append(finding.id)
    rates = zip(map(str, QUANTILES), _speaking_rate_quantiles(checks), strict=True)
    return {
        "n_clips": checks.n_clips,
        "sample_rates": {str(rate): n for rate, n in checks.sample_rates.items()},
        "durations": duration_histogram(checks),
        "speaking_rates": dict(rates),
        "findings": clips,
    }


def disk_needed(n_parameters: int, n_trained: int, checkpoints_kept: int, n_best: int = 1) -> int:
    """Return the bytes that the checkpoints and the final model take at most.

    These are the last `checkpoints_kept`, the n_best, and the one being written. Each has four
    bytes for a parameter, and eight more for a trained one: AdamW's two moments.
    """
    n_checkpoints = checkpoints_kept + n_best + 1
    return n_checkpoints * (4 * n_parameters + 8 * n_trained) + 4 * n_parameters


def refuse_full_disk(folder: Path, needed: int, already_there: int) -> str:
    """Compare the free space with the bytes needed; raises DataError if it is too little.

    already_there: bytes of this run's earlier checkpoints, which will be deleted.
    """
    folders = (folder.absolute(), *folder.absolute().parents)
    free = shutil.disk_usage(next(path for path in folders if path.exists())).free
    if free + already_there < needed:
        raise DataError(
            f"{folder}: the checkpoints need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            "free. Free some space, pass --checkpoints on another disk, or --checkpoints-kept 2. "
            "· 디스크 공간이 부족합니다."
        )
    return (
        f"free disk for checkpoints: {free / 1e9:.1f} GB, {needed / 1e9:.2f} GB needed "
        "· 디스크 여유 공간"
    )
