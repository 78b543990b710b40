"""One preprocessing run: raw utterances -> cleaned manifests, with every rejected clip and its reason.

Clips flow through in chunks, and what is kept of each lies on disk, so that memory does not grow with the corpus.
"""

import heapq
import json
import os
import signal
import threading
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from tqdm import tqdm

from korean_asr.audio import SAMPLE_RATE, UnreadableAudio, audio_info
from korean_asr.errors import DataError, printable
from korean_asr.files import SortedLines, file_checksum, json_line, whole_file, write_json
from korean_asr.manifest import Utterance, manifest_rows
from korean_asr.pages.preprocessing_page import preprocessing_page
from korean_asr.preprocessing.corpora import (
    Listing,
    RawUtterance,
    listed_corpus,
    raw_utterances,
    unpack_hint,
)
from korean_asr.transcripts import RULES, Rejected, clean_transcript
from korean_asr.vocabulary import Outside, printed_outside

REASONS = {
    "masked": "personal data is masked in the text, not in the audio · 비식별",
    "empty": "no text is left · 글자 없음",
    "other speaker": "only other speakers' turns · 다른 화자",
    "mixed turns": "another speaker's turn too (--mixed-turns reject) · 여러 화자",
    "bracket": "a round bracket that no rule explains · 괄호 오류",
    "no audio": "the label names an audio file that is not there · 음성 없음",
    "no label": "an audio file that no label names · 전사 없음",
    "audio copy": "another audio file of a clip that is taken already, such as its .pcm · 같은 음성",
    "duplicate id": "a second label of the same clip · 이름 중복",
    "part of a file": "a manifest line with an offset: cut the clip out first · 파일의 일부",
    "label unreadable": "not a label of a known corpus, damaged, or in an unknown encoding · 전사 손상",
    "label too large": "a label of over 1 MB, or an archive that unpacks to far more than it holds · 너무 큰 전사",
    "unsafe path": "a path that leads out of its folder (`..`, absolute), a link or a device · 위험한 경로",
    "audio missing": "the audio file went away · 음성 없음",
    "audio empty": "the audio file holds no sample · 빈 음성",
    "audio unreadable": "not an audio file · 음성 손상",
    "audio truncated": "the audio file ends before its header says · 음성 잘림",
    "audio too short": "less than one frame (25 ms) of audio · 너무 짧음",
}
REFUSED = (
    "label unreadable",
    "label too large",
    "unsafe path",
)  # told by name, since a whole file may be behind one
N_EXAMPLES, N_EXTREMES, N_REFUSED_TOLD, N_SPEAKERS_TOLD, N_CHARACTERS_TOLD = 3, 10, 10, 50, 100
# How much is held in memory at a time; labels may be longer than any clip's.
CHUNK_CLIPS, CHUNK_CHARACTERS = 1000, 1 << 20
DURATION_STEP_S, N_DURATION_BINS = 1.0, 30
RATE_STEP, N_RATE_BINS = 0.5, 30  # letters a second; conversation is 4 to 8
TICKS_PER_S = 10_000  # durations are written to a tenth of a millisecond; sums of whole ticks are exact in any order


@dataclass(frozen=True, slots=True)
class Settings:
    """What the transcripts are cleaned by; see transcripts.clean_transcript."""

    side: str
    order: str
    speaker: str
    mixed_turns: str


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What the base model can write, and the characters that the recipe adds to its tokenizer."""

    base_model: str
    characters: frozenset[str]
    added: str


@dataclass(frozen=True, slots=True)
class Extreme:
    """A clip at one end of the range of letters a second."""

    rate: float
    id: str
    duration: float
    text: str


@dataclass(slots=True)
class Tally:
    """What became of some clips: their lines, and counts that add up."""

    rows: list[tuple[str, str]] = field(default_factory=list)  # (id, line of the manifest)
    rejected: list[str] = field(default_factory=list)  # lines of rejected.jsonl
    n_clips: int = 0
    n_rejected: int = 0
    ticks: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)  # lines that each rule changed or rejected
    converted: Counter[str] = field(default_factory=Counter)
    reason_examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    rule_examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    durations: Counter[int] = field(default_factory=Counter)  # by bin
    rates: Counter[int] = field(default_factory=Counter)
    speakers: Counter[str | None] = field(default_factory=Counter)
    first_languages: Counter[str] = field(default_factory=Counter)
    fastest: list[Extreme] = field(default_factory=list)
    slowest: list[Extreme] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    n_refused: int = 0
    outside: Outside | None = None  # what neither the base model nor the recipe's tokens can write
    outside_base: Outside | None = None  # what the base model itself cannot

    def take(self, other: "Tally") -> None:
        """Add the counts of clips that come after these; their lines stay where they are."""
        for name in ("n_clips", "n_rejected", "ticks", "n_refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in (
            "reasons",
            "rules",
            "converted",
            "durations",
            "rates",
            "speakers",
            "first_languages",
        ):
            getattr(self, name).update(getattr(other, name))
        for name in ("reason_examples", "rule_examples"):
            for key, examples in getattr(other, name).items():
                kept = getattr(self, name).setdefault(key, [])
                kept += examples[: N_EXAMPLES - len(kept)]
        self.refused += other.refused[: N_REFUSED_TOLD - len(self.refused)]
        self.fastest = _fastest(self.fastest + other.fastest)
        self.slowest = _slowest(self.slowest + other.slowest)
        for name in ("outside", "outside_base"):
            if found := getattr(self, name):
                found.update(getattr(other, name))


def _empty_tally(alphabet: Alphabet | None) -> Tally:
    if alphabet is None:
        return Tally()
    writable = alphabet.characters | set(alphabet.added)
    return Tally(outside=Outside(writable), outside_base=Outside(alphabet.characters))


def _fastest(extremes: list[Extreme]) -> list[Extreme]:
    return heapq.nsmallest(N_EXTREMES, extremes, key=lambda clip: (-clip.rate, clip.id))


def _slowest(extremes: list[Extreme]) -> list[Extreme]:
    return heapq.nsmallest(N_EXTREMES, extremes, key=lambda clip: (clip.rate, clip.id))


@dataclass(slots=True)
class Corpus:
    """One corpus, preprocessed: its lines, still on temporary disk space, and what is told about them."""

    name: str
    place: Path
    settings: Settings
    tally: Tally
    rows: SortedLines  # of the manifest, by id
    rejected: SortedLines  # as they came
    listing: Listing


def preprocessed(
    place: Path,
    settings: Settings,
    n_jobs: int,
    name: str,
    output: Path,
    alphabet: Alphabet | None = None,
) -> Corpus:
    """Clean and look at every clip of a corpus. Raises DataError if none is usable; one bad clip is only counted.

    name: "korean" or "foreign". Guidelines of the foreign corpus know no dual, so none is repaired there.
    output: the folder that will be written into; what does not fit into memory lies there meanwhile.
    alphabet: what the labels are compared with, if they are to be.
    """
    listing = listed_corpus(place, output)
    corpus = Corpus(
        name,
        place,
        settings,
        _empty_tally(alphabet),
        SortedLines(output),
        SortedLines(output),
        listing,
    )
    look = partial(_looked_at, settings=settings, output=output, corpus=name, alphabet=alphabet)
    progress = tqdm(desc=name, total=len(listing.audio) or None, unit=" clips", delay=2)
    for tally in _in_order(look, _chunks(raw_utterances(listing)), n_jobs):
        progress.update(tally.n_clips + tally.n_rejected)
        corpus.rows.extend(tally.rows)
        place_of_first = corpus.tally.n_rejected
        corpus.rejected.extend(
            [(f"{n:012}", line) for n, line in enumerate(tally.rejected, place_of_first)]
        )
        corpus.tally.take(tally)
    progress.close()
    if listing.audio_archives and corpus.tally.reasons["no audio"]:
        listing.notes.append(f"audio that is still packed: {unpack_hint(listing)}")
    if not corpus.tally.n_clips:
        _refuse_empty(corpus)
    return corpus


def _refuse_empty(corpus: Corpus) -> None:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in corpus.tally.reasons.most_common())
    told = " ".join(["", *corpus.tally.refused[:3], *corpus.listing.notes])
    raise DataError(
        f"the {corpus.name} corpus {corpus.place} has no usable clip: {reasons or 'there is no clip at all'}.{told} "
        "Nothing was written. · 쓸 수 있는 음성이 없습니다."
    )


def _chunks(clips: Iterator[RawUtterance]) -> Iterator[list[RawUtterance]]:
    chunk, n_characters = [], 0
    for clip in clips:
        chunk.append(clip)
        n_characters += len(clip.raw)
        if len(chunk) >= CHUNK_CLIPS or n_characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, n_characters = [], 0
    if chunk:
        yield chunk


def _in_order(
    look: Callable[[list[RawUtterance]], Tally], chunks: Iterator[list[RawUtterance]], n_jobs: int
) -> Iterator[Tally]:
    """The tally of each chunk, from other processes where there is more than one; few are under way at a time."""
    first = list(islice(chunks, 2))
    if n_jobs == 1 or len(first) < 2:  # starting processes takes longer than a thousand clips
        yield from map(look, first)
        yield from map(look, chunks)
        return
    # Spawned, not forked: the progress bar has a thread of its own.
    with ProcessPoolExecutor(n_jobs, get_context("spawn"), _go_with_parent) as pool:
        under_way: deque[Future[Tally]] = deque()
        try:
            for chunk in chain(first, chunks):
                # Ctrl-C is for the main process. A worker starts here, and inherits that it is not told of it.
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                under_way.append(pool.submit(look, chunk))
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
                if len(under_way) > 2 * n_jobs:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool:
            raise DataError(
                "a process that looks at clips was stopped from outside, most likely for lack of memory. "
                "Run again with --jobs 1. · 작업 프로세스가 중단되었습니다."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _go_with_parent() -> None:
    """A killed process would leave its workers waiting for work for ever."""

    def wait() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _looked_at(
    clips: list[RawUtterance],
    settings: Settings,
    output: Path,
    corpus: str,
    alphabet: Alphabet | None,
) -> Tally:
    """Clean the text and look at the audio of each clip."""
    tally = _empty_tally(alphabet)
    choices = asdict(settings) | {"repair": corpus != "foreign"}
    utterances = []
    extremes = []
    for clip in clips:
        outcome = _utterance(clip, choices, tally)
        if isinstance(outcome, str):
            tally.n_rejected += 1
            tally.reasons[outcome] += 1
            row = {"id": clip.id, "raw": clip.raw, "reason": outcome, "corpus": corpus}
            tally.rejected.append(json_line(row))
            examples = tally.reason_examples.setdefault(outcome, [])
            if len(examples) < N_EXAMPLES:
                examples.append({"id": clip.id, "raw": clip.raw[:1000]})
            if outcome in REFUSED:
                tally.n_refused += 1
                if len(tally.refused) < N_REFUSED_TOLD:
                    tally.refused.append(f"refused {printable(clip.id[:300])}: {outcome}.")
            continue
        utterances.append(outcome)
        n_letters = len(outcome.text) - sum(map(outcome.text.count, " .,?!"))
        rate = n_letters / outcome.duration
        tally.ticks += round(outcome.duration * TICKS_PER_S)
        tally.durations[min(int(outcome.duration / DURATION_STEP_S), N_DURATION_BINS)] += 1
        tally.rates[min(int(rate / RATE_STEP), N_RATE_BINS)] += 1
        tally.speakers[outcome.speaker] += 1
        if outcome.first_language:
            tally.first_languages[outcome.first_language] += 1
        extremes.append(Extreme(round(rate, 2), outcome.id, outcome.duration, outcome.text[:300]))
        if alphabet:
            tally.outside.add(outcome.text)
            tally.outside_base.add(outcome.text)
    tally.n_clips = len(utterances)
    tally.fastest, tally.slowest = _fastest(extremes), _slowest(extremes)
    rows = manifest_rows(utterances, output)
    tally.rows = [
        (utterance.id, json_line(row)) for utterance, row in zip(utterances, rows, strict=True)
    ]
    return tally


def _utterance(clip: RawUtterance, choices: dict[str, Any], tally: Tally) -> Utterance | str:
    """The usable clip, or the reason why it is rejected; what was done to it is counted."""
    if clip.reason not in (None, "no audio"):
        return clip.reason
    if "\ufffd" in clip.raw:
        return "label unreadable"
    changes: list[tuple[str, str, str]] = []
    try:
        text = clean_transcript(
            clip.raw, **choices, changes=changes
        )  # before the audio: it tells more
        if clip.audio is None:
            return clip.reason
        info = audio_info(clip.audio)
    except Rejected as error:
        return error.reason
    except UnreadableAudio as error:
        return str(error)
    finally:
        for rule, before, after in changes:
            tally.rules[rule] += 1
            examples = tally.rule_examples.setdefault(rule, [])
            if len(examples) < N_EXAMPLES:
                examples.append({"id": clip.id, "before": before[:1000], "after": after[:1000]})
    if info.sample_rate != SAMPLE_RATE:
        tally.converted[f"{info.sample_rate:,} Hz -> 16,000 Hz"] += 1
    if info.channels > 1:
        tally.converted[f"{info.channels} channels -> mono"] += 1
    if info.headerless:
        tally.converted["no RIFF header -> 16-bit samples at 16,000 Hz"] += 1
    if clip.encoding != "utf-8":
        tally.converted[f"{clip.encoding} label -> UTF-8"] += 1
    if not unicodedata.is_normalized("NFC", clip.raw):
        tally.converted["NFD text -> NFC"] += 1
    return Utterance(clip.id, clip.audio, round(info.duration, 4), text, **clip.facts)


def printed_corpus(title: str, corpus: Corpus) -> str:
    """The paragraph about one corpus that script 1 prints."""
    tally = corpus.tally
    hours = tally.ticks / TICKS_PER_S / 3600
    lines = [
        f"\n{title}: {corpus.place}",
        f"  {tally.n_clips + tally.n_rejected:,} clips, {tally.n_clips:,} usable ({hours:.2f} h), "
        f"{tally.n_rejected:,} rejected",
    ]
    lines += [
        f"    rejected {n:>8,}  {reason}: {REASONS[reason]}"
        for reason, n in _by_number(tally.reasons)
    ]
    lines += [
        f"    converted {n:>7,}  {what} (when it is read)"
        for what, n in _by_number(tally.converted)
    ]
    lines += [f"    rule {n:>12,}  {rule}" for rule, n in _by_number(tally.rules)]
    lines += [f"  {line}" for line in (*tally.refused, *corpus.listing.notes)]
    if tally.n_refused > len(tally.refused):
        lines.append(
            f"  and {tally.n_refused - len(tally.refused):,} more refused; rejected.jsonl names them all."
        )
    if tally.outside:
        lines += [f"  {line}" for line in printed_outside(tally.outside)]
    return "\n".join(lines)


def _by_number(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most frequent first, then by name, so that the order of the clips does not show."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def write_outputs(
    folder: Path, corpora: list[Corpus], alphabet: Alphabet | None = None
) -> list[Path]:
    """Write manifests, rejected.jsonl, preprocessing.json and .html; what an earlier run wrote of another corpus stays."""
    written = [folder / f"{corpus.name}.jsonl" for corpus in corpora]
    summary = _earlier_summary(folder, {corpus.name for corpus in corpora})
    for corpus, path in zip(corpora, written, strict=True):
        with whole_file(path) as file:
            file.writelines(f"{line}\n" for line in corpus.rows)
    with whole_file(folder / "rejected.jsonl") as file:
        file.writelines(_earlier_rejected(folder, set(summary)))
        for corpus in corpora:
            file.writelines(f"{line}\n" for line in corpus.rejected)
    for corpus, path in zip(corpora, written, strict=True):
        summary[corpus.name] = _summary(corpus, file_checksum(path), alphabet)
    summary = dict(sorted(summary.items(), reverse=True))
    write_json(folder / "preprocessing.json", summary)
    with whole_file(folder / "preprocessing.html") as file:
        file.write(
            preprocessing_page(summary, REASONS, {rule.name: rule.sentence for rule in RULES})
        )
    return [
        *written,
        *(folder / name for name in ("rejected.jsonl", "preprocessing.json", "preprocessing.html")),
    ]


def _summary(corpus: Corpus, manifest_sha256: str, alphabet: Alphabet | None) -> dict[str, Any]:
    """What preprocessing.json holds of a corpus, and the page shows."""
    tally = corpus.tally
    named = Counter({speaker: n for speaker, n in tally.speakers.items() if speaker})
    return {
        "folder": str(corpus.place),
        "settings": asdict(corpus.settings),
        "labels": {
            "n_files": corpus.listing.n_label_files,
            "sha256": corpus.listing.digest.hexdigest(),
        },
        "n_clips": tally.n_clips,
        "hours": round(tally.ticks / TICKS_PER_S / 3600, 4),
        "n_rejected": tally.n_rejected,
        "reasons": dict(_by_number(tally.reasons)),
        "rules": dict(_by_number(tally.rules)),
        "converted": dict(_by_number(tally.converted)),
        "examples": {"reasons": tally.reason_examples, "rules": tally.rule_examples},
        "durations": _histogram(tally.durations, DURATION_STEP_S, N_DURATION_BINS),
        "rates": _histogram(tally.rates, RATE_STEP, N_RATE_BINS),
        "speakers": {
            "n": len(named),
            "n_unknown": tally.speakers[None],
            "clips": dict(_by_number(named)[:N_SPEAKERS_TOLD]),
        },
        "first_languages": dict(_by_number(tally.first_languages)),
        "vocabulary": _vocabulary(tally, alphabet) if alphabet else None,
        "fastest": [asdict(clip) for clip in tally.fastest],
        "slowest": [asdict(clip) for clip in tally.slowest],
        "notes": corpus.listing.notes,
        "sha256": manifest_sha256,
    }


def _histogram(counts: Counter[int], step: float, n_bins: int) -> dict[str, Any]:
    return {"step": step, "counts": [counts[i] for i in range(n_bins)], "above": counts[n_bins]}


def _vocabulary(tally: Tally, alphabet: Alphabet) -> dict[str, Any]:
    outside, base = tally.outside, tally.outside_base
    return {
        "base_model": alphabet.base_model,
        "added": alphabet.added,
        "n_labels": outside.n_labels,
        "n_touched": outside.n_touched,
        "n_characters": outside.n_characters,
        "n_outside": outside.n_outside,
        "lowest_cer": round(outside.lowest_cer, 6),
        "n_kinds": len(outside.characters),
        "characters": [
            {"character": c, "n": n, "n_clips": base.touched[c], "added": c in alphabet.added}
            for c, n in base.most_frequent()[:N_CHARACTERS_TOLD]
        ],
    }


def _earlier_summary(folder: Path, names: set[str]) -> dict[str, Any]:
    """Summaries of the corpora that this run did not read."""
    try:
        summary = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
        kept = {
            name: part
            for name, part in summary.items()
            if name not in names and (folder / f"{name}.jsonl").is_file()
        }
    except (OSError, ValueError, AttributeError):
        return {}  # the first run, or a file of something else
    for name in kept:
        print(
            f"{folder / name}.jsonl is of an earlier run and stays as it is. · 이전 결과를 그대로 둡니다."
        )
    return kept


def _earlier_rejected(folder: Path, names: set[str]) -> Iterator[str]:
    """Lines of rejected.jsonl that belong to these corpora."""
    try:
        with (folder / "rejected.jsonl").open(encoding="utf-8", newline="\n") as file:
            for line in file if names else ():
                if json.loads(line)["corpus"] in names:
                    yield line
    except (OSError, ValueError, KeyError, TypeError):
        return  # the first run, or a file of something else
