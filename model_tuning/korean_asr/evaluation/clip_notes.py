"""Notes on the clips of a manifest that may be a mistake in it."""

from collections import Counter

from korean_asr.manifest import DURATION_TOLERANCE_S, Utterance


def repeated_notes(clips: list[Utterance]) -> list[str]:
    """A note on the clips that are there more than once: of one audio and cut.

    Where the audio is unknown, as in results of another system, those of one id and text.
    """
    times = Counter(
        (clip.audio_filepath, clip.cut) if clip.audio_filepath else (clip.id, clip.text)
        for clip in clips
    )
    n_repeated = sum(n > 1 for n in times.values())
    if not n_repeated:
        return []
    are = "clip is" if n_repeated == 1 else "clips are"
    return [
        f"{n_repeated:,} {are} in the manifest more than once; each counts as often. "
        f"· 발화 {n_repeated:,}개가 매니페스트에 두 번 이상 있으며, 있는 횟수만큼 계산합니다."
    ]


def duration_notes(clips: list[Utterance], seconds: list[float]) -> list[str]:
    """A note on the clips whose audio is longer or shorter than the manifest says.

    seconds: of each clip as it was read; 0 for one that could not be read. A manifest's duration of
    0 is unknown.
    """
    differing = [
        (clip, n_seconds)
        for clip, n_seconds in zip(clips, seconds, strict=True)
        if clip.duration and n_seconds and abs(clip.duration - n_seconds) > DURATION_TOLERANCE_S
    ]
    if not differing:
        return []
    named = ", ".join(
        f"{clip.id} ({clip.duration:.2f} s, audio {n_seconds:.2f} s)"
        for clip, n_seconds in differing[:3]
    )
    return [
        f"{len(differing):,} of {len(clips):,} clips have another duration than the manifest says, "
        f"such as {named}. What the file holds was scored. A clip that is cut out of a longer file "
        "needs its `offset`. · 매니페스트의 길이와 실제 음성의 길이가 다릅니다."
    ]
