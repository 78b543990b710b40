"""One preprocessing run: raw utterances -> cleaned manifests, with every rejected clip and its reason."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from .audio import SAMPLE_RATE, UnreadableAudio, audio_info
from .corpora import RawUtterance
from .errors import DataError
from .files import file_checksum, write_json, write_json_lines
from .manifest import Utterance, write_manifest
from .transcripts import Rejected, clean_transcript

REASONS = {
    "masked": "personal data is masked in the text, not in the audio · 비식별",
    "empty": "no text is left · 글자 없음",
    "other speaker": "only other speakers' turns · 다른 화자",
    "mixed turns": "another speaker's turn too (--mixed-turns reject) · 여러 화자",
    "bracket": "a round bracket that no rule explains · 괄호 오류",
    "no audio": "the label names an audio file that is not there · 음성 없음",
    "no label": "an audio file that no label names · 전사 없음",
    "duplicate id": "a second label of the same name · 이름 중복",
    "label unreadable": "not a label of this corpus, or in an unknown encoding · 전사 손상",
    "audio missing": "the audio file went away · 음성 없음",
    "audio empty": "the audio file holds no sample · 빈 음성",
    "audio unreadable": "not an audio file · 음성 손상",
    "audio truncated": "the audio file ends before its header says · 음성 잘림",
    "audio too short": "less than one frame (25 ms) of audio · 너무 짧음",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the transcripts are cleaned by; see transcripts.clean_transcript."""

    side: str
    order: str
    speaker: str
    mixed_turns: str = "select"


@dataclass(slots=True)
class Corpus:
    """What became of one corpus: usable clips, rejected ones, and counts."""

    folder: Path
    utterances: list[Utterance] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    converted: Counter[str] = field(default_factory=Counter)

    @property
    def hours(self) -> float:
        return sum(utterance.duration for utterance in self.utterances) / 3600


def preprocessed(
    folder: Path, raw_utterances: Iterator[RawUtterance], settings: Settings, n_jobs: int, name: str
) -> Corpus:
    """Clean and look at every clip. Raises DataError if none is usable; one bad clip is only counted."""
    clips = list(tqdm(raw_utterances, f"{name}: labels", unit=" lines", delay=2))
    corpus = Corpus(folder)
    with ThreadPoolExecutor(n_jobs) as pool:  # reading headers waits for the disk, not for Python
        results = pool.map(partial(_converted, settings=settings), clips, chunksize=256)
        for clip, result in zip(
            clips, tqdm(results, f"{name}: clips", len(clips), unit=" clips", delay=2), strict=True
        ):
            utterance, reason, rules, converted = result
            corpus.rules.update(rules)
            if utterance:
                corpus.utterances.append(utterance)
                corpus.converted.update(converted)
            else:
                corpus.reasons[reason] += 1
                corpus.rejected.append({"id": clip.id, "raw": clip.raw, "reason": reason, "corpus": name})
    if not corpus.utterances:
        reasons = ", ".join(f"{reason} {n}" for reason, n in corpus.reasons.most_common()) or "there is no clip at all"
        raise DataError(
            f"the {name} corpus has no usable clip: {reasons}. Nothing was written. · 쓸 수 있는 음성이 없습니다."
        )
    corpus.utterances.sort(key=lambda utterance: utterance.id)
    return corpus


def _converted(clip: RawUtterance, settings: Settings) -> tuple[Utterance | None, str | None, Counter[str], list[str]]:
    """(utterance, None, rules, conversions) of a usable clip, else (None, reason, rules, [])."""
    changes: list[tuple[str, str, str]] = []
    rules: Counter[str] = Counter()
    if clip.reason not in (None, "no audio"):
        return None, clip.reason, rules, []
    if "\ufffd" in clip.raw:
        return None, "label unreadable", rules, []
    try:
        text = clean_transcript(clip.raw, **asdict(settings), changes=changes)  # before the audio: it tells more
        rules.update(rule for rule, _, _ in changes)
        if clip.audio is None:
            return None, clip.reason, rules, []
        info = audio_info(clip.audio)
    except Rejected as error:
        return None, error.reason, rules, []
    except UnreadableAudio as error:
        return None, str(error), rules, []
    converted = []
    if info.sample_rate != SAMPLE_RATE:
        converted.append(f"{info.sample_rate:,} Hz -> 16,000 Hz")
    if info.channels > 1:
        converted.append(f"{info.channels} channels -> mono")
    if clip.encoding != "utf-8":
        converted.append(f"{clip.encoding} label -> UTF-8")
    if not unicodedata.is_normalized("NFC", clip.raw):
        converted.append("NFD text -> NFC")
    duration = round(info.duration, 4)
    # The folder alone is resolved: a link .pcm -> store/abc123 must keep the name that tells its format.
    audio = clip.audio.parent.resolve() / clip.audio.name
    utterance = Utterance(clip.id, str(audio), duration, text, **clip.facts)
    return utterance, None, rules, converted


def printed_corpus(title: str, corpus: Corpus) -> str:
    """The paragraph about one corpus that script 1 prints."""
    n_clips = len(corpus.utterances) + len(corpus.rejected)
    lines = [
        f"\n{title}: {corpus.folder}",
        f"  {n_clips:,} clips, {len(corpus.utterances):,} usable ({corpus.hours:.2f} h), {len(corpus.rejected):,} rejected",
    ]
    lines += [f"    rejected {n:>8,}  {reason}: {REASONS[reason]}" for reason, n in corpus.reasons.most_common()]
    lines += [f"    converted {n:>7,}  {what} (when it is read)" for what, n in corpus.converted.most_common()]
    lines += [f"    cleaned {n:>9,}  {rule}" for rule, n in corpus.rules.most_common()]
    return "\n".join(lines)


def write_outputs(folder: Path, corpora: dict[str, Corpus], settings: Settings) -> list[Path]:
    """Write manifests, rejected.jsonl and preprocessing.json; what an earlier run wrote of another corpus stays in them."""
    rejected, summary = _earlier(folder, corpora)
    for name, corpus in corpora.items():
        write_manifest(folder / f"{name}.jsonl", corpus.utterances)
        rejected += corpus.rejected
        summary[name] = {
            "folder": str(corpus.folder),
            "settings": asdict(settings),
            "n_clips": len(corpus.utterances),
            "hours": round(corpus.hours, 4),
            "n_rejected": len(corpus.rejected),
            "reasons": dict(corpus.reasons.most_common()),
            "rules": dict(corpus.rules.most_common()),
            "converted": dict(corpus.converted.most_common()),
            "sha256": file_checksum(folder / f"{name}.jsonl"),
        }
    write_json_lines(folder / "rejected.jsonl", rejected)
    write_json(folder / "preprocessing.json", dict(sorted(summary.items(), reverse=True)))
    return [folder / f"{name}.jsonl" for name in corpora] + [folder / "rejected.jsonl", folder / "preprocessing.json"]


def _earlier(folder: Path, corpora: dict[str, Corpus]) -> tuple[list[dict[str, str]], dict[str, dict]]:
    """Rejected rows and summaries of the corpora that this run did not read."""
    try:
        summary = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
        rows = [
            json.loads(line) for line in (folder / "rejected.jsonl").read_text(encoding="utf-8").split("\n") if line
        ]
        kept = {name: part for name, part in summary.items() if name not in corpora}
        for name in kept:
            print(f"{folder / name}.jsonl is of an earlier run and stays as it is. · 이전 결과를 그대로 둡니다.")
        return [row for row in rows if row["corpus"] not in corpora], kept
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [], {}  # the first run, or files of something else
