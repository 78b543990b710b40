"""The audio files of a corpus by name, and which of them a label has claimed."""

import os
import unicodedata
from bisect import bisect, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile

Facts = tuple[tuple[str, str], ...]
MAX_COMPARED = (
    100  # folders that agree equally long: a corpus of a million 1.wav must not take for ever
)
Files = tuple[
    tuple[str, bool], ...
]  # of one stem in one folder: (suffix, claimed); a name that is written otherwise: /name


@dataclass(frozen=True, slots=True)
class Claim:
    """What a label gets of the audio that it names: the id of the clip, its file, or the reason why there is none."""

    id: str
    audio: str | None
    reason: str | None
    facts: Facts = ()


@dataclass(slots=True)
class _Namesakes:
    """Clips of one stem in several folders, which only the label's path tells apart."""

    n_claimed: int
    facts: dict[str, Facts] = field(default_factory=dict)  # by folder
    files: dict[str, Files] = field(default_factory=dict)  # by folder
    ways_up: list[tuple[tuple[str, ...], str]] = field(
        default_factory=list
    )  # (way up, folder), sorted

    def put(self, facts: Facts, folder: str, files: Files) -> None:
        if folder not in self.files:
            insort(self.ways_up, _way_up(folder))
        self.facts[folder], self.files[folder] = facts, files

    def folder_of(self, name: str) -> str:
        """The folder that agrees longest with a label's path, from the last part upwards; of equals the one most alike."""
        *wanted, _ = parts_of(name)
        way_up = tuple(reversed(wanted))
        place = bisect(self.ways_up, (way_up, ""))
        # The longest agreement is with a neighbour, since ways up are sorted.
        length = max(
            _n_equal(way_up, way) for way, _ in self.ways_up[max(place - 1, 0) : place + 1]
        )
        first = bisect(self.ways_up, (way_up[:length], ""))
        alike = takewhile(
            lambda item: item[0][:length] == way_up[:length],
            self.ways_up[first : first + MAX_COMPARED],
        )
        return min(alike, key=lambda item: (-len({*item[0]} & {*wanted}), item[1]))[1]


class AudioIndex:
    """Every audio file under one folder, for labels to claim.

    A million clips must not take a gigabyte: a clip costs its stem and one reference, since all clips of one folder, suffix
    and metadata share one entry, (facts, folder, files). Stems that repeat in other folders are the exception.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._entries: dict[str, tuple[Facts, str, Files] | _Namesakes] = {}
        self._shared: dict[tuple, tuple] = {}
        self._real: dict[str, str] = {}  # folder as it was walked -> folder without links
        self._walked: dict[str, str] = {}  # and back
        self._other_ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, stem: str) -> bool:
        return stem in self._entries

    def add(self, folder: str, name: str) -> None:
        """A file that was found."""
        if folder not in self._real:
            real = self._real[folder] = os.path.realpath(folder)
            self._walked[real] = folder
        stem = stem_of(name)
        facts, files = self._facts_and_files(stem, folder)
        # Sorted: the order of a folder listing differs between machines.
        self._put(stem, facts, folder, tuple(sorted((*files, (_suffix(stem, name), False)))))

    def describe(self, name: str, facts: Facts) -> None:
        """Facts of the clip of that name, if there is one."""
        stem = stem_of(name)
        entry = self._entries.get(stem)
        if isinstance(entry, _Namesakes):
            entry.facts[entry.folder_of(name)] = facts
        elif entry:
            self._put(stem, facts, *entry[1:])

    def claim(self, name: str) -> Claim:
        """The clip that a label means by `name`, which may lead through folders that are called otherwise here."""
        stem = stem_of(name)
        entry = self._entries.get(stem)
        if entry is None:
            return Claim(stem, None, "no audio")
        folder = entry.folder_of(name) if isinstance(entry, _Namesakes) else entry[1]
        _, files = self._facts_and_files(stem, folder)
        suffix = files[0][0]
        if len(files) > 1:  # two files of one clip: the one that the label names, else the .wav
            wanted = _suffix(stem, parts_of(name)[-1])
            suffix = min(
                (suffix for suffix, _ in files),
                key=lambda suffix: (suffix != wanted, suffix != ".wav", suffix),
            )
        return self._claimed(stem, folder, suffix)

    def claim_file(self, folder: str, name: str) -> Claim:
        """The very file that a manifest names, found before or not."""
        folder = (
            folder if folder in self._real else self._walked.get(os.path.realpath(folder), folder)
        )
        stem = stem_of(name)
        suffix = _suffix(stem, name)
        _, files = self._facts_and_files(stem, folder)
        if suffix not in dict(files):
            self.add(folder, name)
        return self._claimed(stem, folder, suffix)

    def is_new_id(self, name: str) -> bool:
        """Whether no clip has this id yet, which a manifest gives and which is not the stem; it has from now on."""
        is_new = name not in self._other_ids and name not in self._entries
        self._other_ids.add(name)
        return is_new

    def unclaimed(self) -> Iterator[tuple[str, str, str]]:
        """(stem, path, reason) of every file that no label claimed, by name: those of a claimed clip are copies of it."""
        for stem in sorted(self._entries):
            entry = self._entries[stem]
            folders = sorted(entry.files.items()) if isinstance(entry, _Namesakes) else [entry[1:]]
            for folder, files in folders:
                reason = "audio copy" if any(claimed for _, claimed in files) else "no label"
                for suffix, claimed in files:
                    if not claimed:
                        yield stem, self._path(stem, folder, suffix), reason

    def _facts_and_files(self, stem: str, folder: str) -> tuple[Facts, Files]:
        entry = self._entries.get(stem)
        if isinstance(entry, _Namesakes):
            return entry.facts.get(folder, ()), entry.files.get(folder, ())
        return (entry[0], entry[2]) if entry and entry[1] == folder else ((), ())

    def _put(self, stem: str, facts: Facts, folder: str, files: Files) -> None:
        entry = self._entries.get(stem)
        if not isinstance(entry, _Namesakes):
            if entry is None or entry[1] == folder:
                new = (facts, folder, files)
                self._entries[stem] = self._shared.setdefault(new, new)
                return
            namesakes = _Namesakes(n_claimed=sum(claimed for _, claimed in entry[2]))
            namesakes.put(*entry)
            entry = self._entries[stem] = namesakes
        entry.put(facts, folder, files)

    def _claimed(self, stem: str, folder: str, suffix: str) -> Claim:
        facts, files = self._facts_and_files(stem, folder)
        if any(claimed for _, claimed in files):
            return Claim(stem, None, "duplicate id")
        entry = self._entries[stem]
        is_second = stem in self._other_ids or (
            isinstance(entry, _Namesakes) and entry.n_claimed > 0
        )
        self._put(stem, facts, folder, tuple((known, known == suffix) for known, _ in files))
        if isinstance(entry, _Namesakes):
            entry.n_claimed += 1
        path = self._path(stem, folder, suffix)
        if not is_second:
            return Claim(stem, path, None, facts)
        way = os.path.relpath(
            folder, self._root
        )  # "." for the root: a bare stem would be the first clip's id
        return Claim(
            os.path.splitext(path)[0] if way.startswith("..") else f"{way}/{stem}",
            path,
            None,
            facts,
        )

    def _path(self, stem: str, folder: str, suffix: str) -> str:
        # The folder alone is resolved: a link .pcm -> store/abc123 must keep the name that tells its format.
        return f"{self._real[folder]}/{suffix[1:] if suffix.startswith('/') else stem + suffix}"


def stem_of(name: str) -> str:
    """The name of a clip without folders and suffix, composed: macOS decomposes the Hangul of file names."""
    base = _composed(name).rpartition("/")[2]
    dot = base.rfind(".")
    return base[:dot] if dot > 0 else base


def parts_of(name: str) -> list[str]:
    """Folders and file name of a path as a label or a disk writes it, composed."""
    return [part for part in _composed(name).split("/") if part not in ("", ".")]


def _composed(name: str) -> str:
    name = name.strip().replace("\\", "/")
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _suffix(stem: str, name: str) -> str:
    return name[len(stem) :] if name.startswith(stem) else "/" + name


@lru_cache(maxsize=1 << 16)
def _way_up(folder: str) -> tuple[tuple[str, ...], str]:
    """The parts of a folder from the last one upwards, and the folder: one object for all of its clips."""
    return tuple(reversed(parts_of(folder))), folder


def _n_equal(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many first parts are equal."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
