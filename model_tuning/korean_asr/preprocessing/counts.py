"""Count what became of the clips of a corpus.

A Tally counts one chunk of clips, in any process. A Corpus adds the tallies up in order, and a
Group holds the corpora of one manifest. Nothing here cleans a text or reads audio.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from korean_asr.files import SortedLines, SpilledLines, json_line
from korean_asr.model_folder import public_name, vocabulary_tokens
from korean_asr.vocabulary import Outside, characters_of, printed_outside

REASONS = {
    "masked": "personal data is masked in the text, not in the audio · 텍스트만 비식별 처리됨",
    "empty": "no text is left · 남은 글자 없음",
    "other speaker": "only other speakers' turns · 다른 화자의 발화뿐임",
    "mixed turns": "another speaker's turn too (--mixed-turns reject) · 여러 화자의 발화",
    "bracket": "a round bracket that no rule explains · 규칙으로 해석할 수 없는 괄호",
    "unwritable": "letters of another script, or a unit sign · 표기할 수 없는 문자나 기호를 읽음",
    "no audio": "the label names an audio file that is not there · 라벨만 있고 음성 파일 없음",
    "no label": "an audio file that no label names · 음성만 있고 라벨 없음",
    "audio copy": "a second audio file of a clip, such as its .pcm · 같은 발화의 다른 음성 파일",
    "duplicate id": "a second label of the same clip · 같은 발화의 두 번째 라벨",
    "label unreadable": "a damaged label, an unknown encoding, or a wrong value"
    " · 라벨 손상 또는 잘못된 값",
    "unknown label": "JSON of a corpus that is not known here · 알 수 없는 형식의 라벨",
    "label too large": "a label of over 1 MB, or an archive that unpacks to far more than it holds"
    " · 너무 큰 라벨",
    "unsafe path": "a path that leads out of its folder (`..`, absolute), a link or a device"
    " · 위험한 경로",
    "audio missing": "the audio file disappeared meanwhile · 음성 파일이 사라짐",
    "audio empty": "the audio file holds no sample · 빈 음성 파일",
    "audio unreadable": "not an audio file · 음성 파일 손상",
    "audio truncated": "the audio file ends before its header, or the clip's offset and duration, "
    "say · 음성 파일이 헤더나 offset·duration의 값보다 짧음",
    "audio rate not 4 to 384 kHz": "no speech has this sample rate · 잘못된 샘플링 레이트",
    "audio too short": "less than one frame (25 ms) of audio · 너무 짧은 음성",
    "audio of another type": "m4a, mp4, webm and others are read by PyAV: "
    "pip install -r requirements-optional.txt · PyAV를 설치하면 읽을 수 있는 음성 형식",
}
N_EXAMPLES, N_EXTREMES = 3, 10
N_REFUSED_SHOWN = 10
DURATION_STEP_S, N_DURATION_BINS = 1.0, 30
# Letters a second; conversation has 4 to 8.
RATE_STEP, N_RATE_BINS = 0.5, 30
# Durations are written to a tenth of a millisecond; sums of whole ticks are exact in any order.
TICKS_PER_S = 10_000
COUNTERS = ("reasons", "rules", "converted", "durations", "rates", "speakers", "first_languages")


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The characters of the base model, and those that the recipe adds to its tokenizer."""

    base_model: str
    characters: frozenset[str]
    added: str


def base_alphabet(base_model: str, added: str) -> Alphabet:
    """Read the alphabet of a base model, given as a folder or a hub name.

    A folder is named by its last part. Raises DataError, as loading the model would.
    """
    characters = characters_of(vocabulary_tokens(base_model))
    return Alphabet(public_name(base_model), characters, added)


@dataclass(frozen=True, slots=True)
class Extreme:
    """A clip at one end of the range of letters a second."""

    rate: float
    id: str
    duration: float
    text: str


class SecondLabel(NamedTuple):
    """A second label of a clip: hashes of the audio's path and of the letters; where both lie."""

    audio: int
    letters: int
    rivals: tuple[str, str]


@dataclass(slots=True)
class Tally:
    """Counts of some clips, and their lines.

    rows: (id, line of the manifest) of each usable clip.
    rejected: the line of rejected.jsonl of each other one.
    rules: how many lines each rule changed or rejected.
    durations, rates: clips in each bin.
    second_labels: of the clips that had a label before.
    refused: the first few notes about labels that were refused; n_refused: how many there are.
    outside: characters that neither the base model nor the recipe's tokens can write.
    outside_base: characters that the base model alone cannot write.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    n_clips: int = 0
    n_rejected: int = 0
    ticks: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    converted: Counter[str] = field(default_factory=Counter)
    reason_examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rule_examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    durations: Counter[int] = field(default_factory=Counter)
    rates: Counter[int] = field(default_factory=Counter)
    speakers: Counter[str | None] = field(default_factory=Counter)
    first_languages: Counter[str] = field(default_factory=Counter)
    fastest: list[Extreme] = field(default_factory=list)
    slowest: list[Extreme] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    n_refused: int = 0
    second_labels: list[SecondLabel] = field(default_factory=list)
    outside: Outside | None = None
    outside_base: Outside | None = None

    @property
    def hours(self) -> float:
        return self.ticks / TICKS_PER_S / 3600

    def add_row(self, row: dict[str, Any]) -> None:
        """Count a usable clip, given as its line of the manifest."""
        self.rows.append((row["id"], json_line(row)))
        text, duration = row["text"], row["duration"]
        n_letters = len(text) - sum(map(text.count, " .,?!"))
        rate = n_letters / duration
        self.n_clips += 1
        self.ticks += round(duration * TICKS_PER_S)
        self.durations[min(int(duration / DURATION_STEP_S), N_DURATION_BINS)] += 1
        self.rates[min(int(rate / RATE_STEP), N_RATE_BINS)] += 1
        self.speakers[row["speaker"]] += 1
        if first_language := row.get("first_language"):
            self.first_languages[first_language] += 1
        clip = Extreme(round(rate, 2), row["id"], duration, text[:300])
        self.fastest.append(clip)
        self.slowest.append(clip)
        if self.outside:
            self.outside.add(text)
            self.outside_base.add(text)

    def lacks_examples(self, reason: str) -> bool:
        """Whether the next clip that is rejected for this reason will be an example."""
        return len(self.reason_examples.get(reason, ())) < N_EXAMPLES

    def add_rejected(self, row: dict[str, str], audio: dict[str, Any] | None = None) -> None:
        """Count a rejected clip, given as its line of rejected.jsonl.

        audio: where an example's audio lies, in the keys of a manifest; None if it has none.
        """
        self.rejected.append(json_line(row))
        self.n_rejected += 1
        self.reasons[row["reason"]] += 1
        if self.lacks_examples(row["reason"]):
            example = {"id": row["id"], "raw": row["raw"][:1000]}
            examples = self.reason_examples.setdefault(row["reason"], [])
            examples.append(example | ({"audio": audio} if audio else {}))

    def add_refused(self, note: str) -> None:
        self.n_refused += 1
        if len(self.refused) < N_REFUSED_SHOWN:
            self.refused.append(note)

    def add_changes(self, name: str, changes: list[tuple[str, str, str]]) -> None:
        """Count what the rules made of one line, as clean_transcript reports it."""
        for rule, before, after in changes:
            self.rules[rule] += 1
            examples = self.rule_examples.setdefault(rule, [])
            if len(examples) < N_EXAMPLES:
                examples.append({"id": name, "before": before[:1000], "after": after[:1000]})

    def keep_extremes(self) -> None:
        """Drop all but the fastest and the slowest clips; called when a chunk is complete."""
        self.fastest = sorted(self.fastest, key=lambda clip: (-clip.rate, clip.id))[:N_EXTREMES]
        self.slowest = sorted(self.slowest, key=lambda clip: (clip.rate, clip.id))[:N_EXTREMES]

    def add_counts(self, later: "Tally") -> None:
        """Add the counts, but not the lines, of clips that come after these."""
        for name in ("n_clips", "n_rejected", "ticks", "n_refused"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        for name in COUNTERS:
            getattr(self, name).update(getattr(later, name))
        for name in ("reason_examples", "rule_examples"):
            for key, examples in getattr(later, name).items():
                kept = getattr(self, name).setdefault(key, [])
                kept += examples[: N_EXAMPLES - len(kept)]
        self.refused += later.refused[: N_REFUSED_SHOWN - len(self.refused)]
        self.fastest += later.fastest
        self.slowest += later.slowest
        self.keep_extremes()
        if self.outside:
            self.outside.update(later.outside)
            self.outside_base.update(later.outside_base)


def empty_tally(alphabet: Alphabet | None) -> Tally:
    """Return a tally of no clip, which compares labels with the alphabet if there is one."""
    if alphabet is None:
        return Tally()
    writable = alphabet.characters | set(alphabet.added)
    return Tally(outside=Outside(writable), outside_base=Outside(alphabet.characters))


@dataclass(slots=True)
class Corpus:
    """One preprocessed corpus and its counts.

    name: the value of `corpus` in its rows.
    root: the folder or the manifest that was read.
    labels_sha256: over all labels and metadata.
    lacks_keys: whether the user names keys that no label has.
    """

    name: str
    root: Path
    tally: Tally
    n_label_files: int = 0
    labels_sha256: str = ""
    lacks_keys: bool = False
    notes: list[str] = field(default_factory=list)
    second_labels: list[SecondLabel] = field(default_factory=list)

    @property
    def folder(self) -> str:
        return str(self.root)


@dataclass(slots=True)
class Group:
    """The corpora of one manifest, Korean or foreign, and their lines on temporary disk space."""

    name: str
    settings: dict[str, str]
    rows: SortedLines
    rejected: SpilledLines
    corpora: list[Corpus] = field(default_factory=list)

    def take(self, tally: Tally) -> None:
        """Add clips that come after all others, to the last corpus."""
        self.rows.extend(tally.rows)
        self.rejected.extend(tally.rejected)
        self.corpora[-1].second_labels += tally.second_labels
        self.corpora[-1].tally.add_counts(tally)

    @property
    def tally(self) -> Tally:
        """The counts of all corpora together."""
        first, *others = (corpus.tally for corpus in self.corpora)
        if not others:
            return first
        total = Tally()
        if first.outside:
            total.outside = Outside(first.outside.writable)
            total.outside_base = Outside(first.outside_base.writable)
        for tally in (first, *others):
            total.add_counts(tally)
        return total

    @property
    def folder(self) -> str:
        return ", ".join(corpus.folder for corpus in self.corpora)

    @property
    def n_label_files(self) -> int:
        return sum(corpus.n_label_files for corpus in self.corpora)

    @property
    def labels_sha256(self) -> str:
        """That of the one corpus, or one over those of all corpora in their order."""
        checksums = [corpus.labels_sha256 for corpus in self.corpora]
        if len(checksums) == 1:
            return checksums[0]
        return hashlib.sha256("\n".join(checksums).encode()).hexdigest()

    @property
    def notes(self) -> list[str]:
        return [note for corpus in self.corpora for note in corpus.notes]


def empty_group(name: str, settings: dict[str, str], output: Path) -> Group:
    """Return a group without corpora. Its lines will move to temporary files in `output`."""
    return Group(name, settings, SortedLines(output), SpilledLines(output))


def printed_group(title: str, group: Group) -> str:
    """Return what script 1 prints: a paragraph about each corpus, and one line about several."""
    paragraphs = [_printed_corpus(title, corpus) for corpus in group.corpora]
    if len(paragraphs) > 1:
        paragraphs.append(f"\n{title}: {len(paragraphs)} corpora\n{_printed_sum(group.tally)}")
    return "\n".join(paragraphs)


def _printed_corpus(title: str, corpus: Corpus) -> str:
    tally = corpus.tally
    lines = [f"\n{title}: {corpus.root}", _printed_sum(tally)]
    for reason, n in by_number(tally.reasons):
        lines.append(f"    rejected {n:>8,}  {reason}: {REASONS[reason]}")
    for what, n in by_number(tally.converted):
        lines.append(f"    converted {n:>7,}  {what} (when it is read)")
    lines += [f"    rule {n:>12,}  {rule}" for rule, n in by_number(tally.rules)]
    lines += [f"  {line}" for line in (*tally.refused, *corpus.notes)]
    if tally.n_refused > len(tally.refused):
        n_more = tally.n_refused - len(tally.refused)
        lines.append(f"  and {n_more:,} more refused; rejected.jsonl names them all.")
    if tally.outside:
        lines += [f"  {line}" for line in printed_outside(tally.outside)]
    return "\n".join(lines)


def _printed_sum(tally: Tally) -> str:
    return (
        f"  {tally.n_clips + tally.n_rejected:,} clips, {tally.n_clips:,} usable "
        f"({tally.hours:.2f} h), {tally.n_rejected:,} rejected"
    )


def by_number(counts: Counter[str]) -> list[tuple[str, int]]:
    """Sort by frequency, then by name, so that the order of the clips does not show."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
