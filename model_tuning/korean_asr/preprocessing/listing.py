"""What a corpus holds on disk: label files, archives, audio by name.

A corpus is a folder, one archive, or one manifest. File names show what its labels are.
"""

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from korean_asr.archive_file import files_of_archive
from korean_asr.audio import OTHER_AUDIO_SUFFIXES
from korean_asr.errors import DataError, printable
from korean_asr.preprocessing.archive_scan import Scanned
from korean_asr.preprocessing.archives import (
    Member,
    archives_of,
    is_archive,
    label_file,
    label_members,
    scanned,
    unpack_hint,
)
from korean_asr.preprocessing.audio_index import AudioIndex, stem_of
from korean_asr.preprocessing.embedded_audio import EmbeddedAudio
from korean_asr.preprocessing.json_labels import NO_KEYS, LabelKeys
from korean_asr.preprocessing.labels import is_clip_text, is_label, is_metadata
from korean_asr.preprocessing.tables import (
    HUB,
    RECORDS,
    TABLE_SUFFIXES,
    hub_folder,
    is_table,
    notes_about_missing_files,
    table_rows,
    tables_of_split,
)
from korean_asr.progress_line import counted

LEFT_OUT = "was left out: it holds neither labels nor audio."
# Kinds of unknown labels that are counted, and those that are shown.
MAX_UNKNOWN_KINDS, N_UNKNOWN_SHOWN = 100, 3


@dataclass(slots=True)
class Listing:
    """A corpus as it was found: label files, archives, audio, and notes for the user.

    root: the folder, or the one manifest or table. only: files of the one archive to read there.
    clip_texts: texts beside the clips. text_archives: archives with such texts.
    tables: those that are read. other_tables: those of other splits.
    embedded: where audio goes that lies inside tables.
    split: of tables; None for all.
    keys: those of the text and the audio in tables and in labels of no known corpus, as the user
        names them.
    unknown: keys of labels of no known corpus -> how many labels have them, and the first one.
    n_keyed: JSON labels that have the user's key.
    label_archives: archives that hold labels. refused: (name, reason) of what must not be read in
        archives of audio. audio_archives: those whose audio cannot be read without an index.
    digest: a hash over labels and metadata. It and n_label_files are complete once all of
        raw_utterances has been read.
    """

    root: Path
    audio: AudioIndex
    fact_keys: tuple[str, ...]
    embedded: EmbeddedAudio
    keys: LabelKeys = NO_KEYS
    split: str | None = None
    labels: list[str] = field(default_factory=list)
    clip_texts: list[str] = field(default_factory=list)
    text_archives: list[Scanned] = field(default_factory=list)
    label_archives: list[Scanned] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    audio_archives: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: dict[str, tuple[int, str]] = field(default_factory=dict)
    n_label_files: int = 0
    n_keyed: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    tables: list[str] = field(default_factory=list)
    other_tables: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)

    @property
    def has_labels(self) -> bool:
        labels = any(map(is_label, self.labels))
        texts = self.clip_texts or self.text_archives
        return bool(labels or texts or self.label_archives or self.tables)

    def texts_beside_clips(self) -> Iterator[Member]:
        """Yield the texts beside the clips, on disk and in archives. Read each before the next."""
        for path in self.clip_texts:
            yield from label_file(path)
        unpacked = {
            (os.path.basename(path), os.path.getsize(path))
            for path in (self.clip_texts if self.text_archives else ())
            if os.path.isfile(path)
        }
        for found in self.text_archives:
            for member in label_members(found, is_clip_text):
                if member.problem or (member.base, member.n_bytes) not in unpacked:
                    yield member

    def pass_over_other_splits(self) -> None:
        """Claim the audio of splits that are not wanted: it has labels.

        In a .parquet such audio is rare, and its rows may hold gigabytes of other audio.
        """
        for table in self.other_tables:
            if table.lower().endswith(".parquet"):
                continue
            with suppress(DataError):
                for row in table_rows(table, self.keys.dotted(), ()):
                    path = os.path.normpath(f"{os.path.dirname(table)}/{row.label.name}")
                    folder, name = os.path.split(path)
                    if row.label.is_readable and os.path.isfile(path):
                        self.audio.claim_file(folder, name)

    def note(self, note: str) -> None:
        """Add a note once; folders may be walked twice."""
        if printable(note) not in self.notes:
            self.notes.append(printable(note))

    def add_unknown(self, keys: str, name: str) -> None:
        """Count a label of no known corpus by its keys; `name` says where it lies."""
        if keys not in self.unknown and len(self.unknown) >= MAX_UNKNOWN_KINDS:
            keys = "(other keys)"
        n, first = self.unknown.get(keys, (0, name))
        self.unknown[keys] = (n + 1, first)

    def note_unknown(self) -> None:
        """Add a note about each kind of unknown label, the most frequent first."""
        advice = (
            "Name the keys of the text and of the audio's name: --text-key 전사정보.LabelText "
            "--audio-key 파일정보.FileName, for example; without --audio-key the audio has the "
            "name of the label file. · 전사와 음성 이름이 든 키를 --text-key와 --audio-key로 "
            "지정하세요."
        )
        if self.keys.text:
            advice = (
                f"--text-key {self.keys.dotted()[0]} is none of them. "
                "· --text-key가 라벨에 없는 키입니다."
            )
        kinds = sorted(self.unknown.items(), key=lambda kind: -kind[1][0])
        for keys, (n, first) in kinds[:N_UNKNOWN_SHOWN]:
            self.note(
                f"unknown label, {n:,} with the keys {keys}, such as {first}: script 1 knows no "
                f"corpus with such labels. {advice}"
            )
        if len(kinds) > N_UNKNOWN_SHOWN:
            self.note(f"and unknown labels of {len(kinds) - N_UNKNOWN_SHOWN:,} more kinds.")


def listed_corpus(
    root: Path,
    output: Path,
    audio_suffixes: Collection[str],
    fact_keys: tuple[str, ...],
    corpus: str = "korean",
    keys: LabelKeys = NO_KEYS,
    split: str | None = None,
    n_jobs: int = 1,
) -> Listing:
    """Find the labels and the audio of a corpus: folder, archive, manifest, table or hub data set.

    corpus: the name of the folder below `output`/audio for the audio that lies inside tables.
    output: a folder to leave out, because script 1 writes there.
    audio_suffixes: the suffixes of audio files that are read, in lower case.
    fact_keys: the optional keys of a manifest's line to keep.
    n_jobs: archives that are scanned at a time.
    Raises DataError for a root that does not exist, that holds no label, or whose audio is packed.
    """
    if str(root).startswith(HUB):
        root = hub_folder(str(root))
    embedded = EmbeddedAudio(output.resolve() / "audio" / corpus)
    if root.is_file() and not is_archive(root.name):
        audio = AudioIndex(str(root.parent))
        return _one_file(Listing(root, audio, fact_keys, embedded, keys, split))
    folder, only = _folder_and_archive(root, output)
    listing = Listing(folder, AudioIndex(str(folder)), fact_keys, embedded, keys, split, only=only)
    suffixes = (*audio_suffixes, *OTHER_AUDIO_SUFFIXES)
    archives = []
    for folder, names in _folders(listing, output):
        for name in names:
            lower = name.lower()
            if lower.endswith(suffixes):
                listing.audio.add(folder, name)
            elif is_label(lower) or is_metadata(lower):
                listing.labels.append(f"{folder}/{name}")
            elif is_archive(name):
                archives.append(f"{folder}/{name}")
            elif lower.endswith(TABLE_SUFFIXES):
                listing.tables.append(f"{folder}/{name}")
    listing.labels.sort()
    _read_archives(archives, listing, suffixes, output, n_jobs)
    _choose_tables(listing)
    if not listing.has_labels:
        listing.clip_texts = _clip_texts(listing, output)
        listing.text_archives = _text_archives(archives, listing, suffixes, output, n_jobs)
    _refuse_incomplete(listing, root)
    return listing


def _read_archives(
    paths: list[str], listing: Listing, suffixes: tuple[str, ...], output: Path, n_jobs: int
) -> None:
    found, kind_of = archives_of(paths), partial(_kind_of, suffixes=suffixes)
    for archive in found:
        if "::" in f"{os.path.realpath(os.path.dirname(archive.path))}/{archive.path}":
            raise DataError(
                f"{archive.path}: its path holds '::', which divides the addresses of clips in "
                "archives. Rename the folder or the file. · 경로에서 '::'를 빼세요."
            )
    scans = scanned(found, kind_of, output.resolve() / "archives", n_jobs)
    for scans_of_one in counted(scans, "reading archives", len(found), "archives"):
        _file_archives(scans_of_one, listing)


def _clip_texts(listing: Listing, output: Path) -> list[str]:
    """The texts beside the clips, looked for only where there are no other labels.

    한국인 대화 음성 has a text beside each clip too, a million names.
    """
    texts = [
        f"{folder}/{name}"
        for folder, names in _folders(listing, output)
        for name in names
        if is_clip_text(name)
    ]
    # Then the others too: their clips have no audio.
    return sorted(texts) if any(stem_of(text) in listing.audio for text in texts) else []


def _text_archives(
    paths: list[str], listing: Listing, suffixes: tuple[str, ...], output: Path, n_jobs: int
) -> list[Scanned]:
    """The archives with texts beside the clips, looked for as those on disk are."""
    kind_of = partial(_kind_beside_clips, suffixes=suffixes)
    scans = scanned(archives_of(paths), kind_of, output.resolve() / "archives", n_jobs)
    found = [scan for scans_of_one in scans for scan in scans_of_one if len(scan.labels)]
    names = (name for scan in found for name in scan.labels.names)
    if not any(stem_of(name) in listing.audio for name in names):
        return []
    left_out = {printable(f"{scan.archive.address} {LEFT_OUT}") for scan in found}
    listing.notes = [note for note in listing.notes if note not in left_out]
    return found


def _kind_beside_clips(name: str, suffixes: tuple[str, ...]) -> str:
    """What a file in an archive is, where no label was found: the .txt are labels."""
    return "label" if is_clip_text(name) else _kind_of(name, suffixes)


def _one_file(listing: Listing) -> Listing:
    """List the manifest or the table that the user names."""
    root = listing.root
    if root.suffix.lower() in TABLE_SUFFIXES:
        listing.tables = tables_of_split([str(root)], root.parent, listing.split)
    elif root.suffix.lower() in (".json", ".jsonl"):
        listing.labels = [str(root)]
    else:
        raise DataError(
            f"{root} is a file, but not a manifest (*.json, *.jsonl), a table (*.csv, *.tsv, "
            "*.parquet) or an archive (*.tar, *.tar.gz, *.tgz, *.zip, or a part of one). Pass its "
            "folder. · 폴더를 지정하세요."
        )
    return listing


def _choose_tables(listing: Listing) -> None:
    """Read tables where there are no other labels; name those that are left out."""
    found, listing.tables = sorted(listing.tables), []
    tables = [table for table in found if is_table(os.path.basename(table).lower())]
    if tables:
        listing.labels = [
            label for label in listing.labels if os.path.basename(label) not in RECORDS
        ]
    if tables and listing.labels and not len(listing.audio):
        # Such as a config.json of the hub: no audio lies here that these could be labels of.
        first = listing.labels[0]
        listing.note(f"{len(listing.labels):,} files, such as {first}, are no labels of tables.")
        listing.labels = []
    others = tables
    if not listing.has_labels:
        others = [table for table in found if table not in tables]
        if tables:
            listing.tables = tables_of_split(tables, listing.root, listing.split)
            listing.other_tables = [table for table in tables if table not in listing.tables]
            for note in notes_about_missing_files(listing.tables):
                listing.note(note)
    if others:
        listing.note(
            f"{len(others):,} tables, such as {others[0]}, were left out: pass the table itself "
            "to read it. · 표 파일을 직접 지정하면 읽습니다."
        )
    if listing.split and not listing.tables:
        listing.note("--split has no effect here: it is for tables and hub data sets.")


def _folder_and_archive(root: Path, output: Path) -> tuple[Path, list[str]]:
    """The folder of a corpus, and the files in it that are the one archive to read."""
    if root.is_file():
        return root.parent, files_of_archive(root)
    _refuse_unusable_folder(root, output)
    return root, []


def _refuse_unusable_folder(root: Path, output: Path) -> None:
    if not root.is_dir():
        what = "is neither a folder nor a file" if root.exists() else "does not exist"
        raise DataError(
            f"{root} {what}. Pass the folder of the corpus, or a manifest. · 해당 폴더가 없습니다."
        )
    if os.path.realpath(root) == os.path.realpath(output):
        raise DataError(
            f"{root} is the folder to write into. Pass another --output. "
            "· 출력 폴더를 따로 지정하세요."
        )


def _refuse_incomplete(listing: Listing, root: Path) -> None:
    if listing.audio_archives and not len(listing.audio):
        raise DataError(
            f"the audio of {root} is still packed: {unpack_hint(listing.audio_archives)} "
            "Once it is unpacked, pass its folder. · 음성 압축을 먼저 푸세요."
        )
    if not listing.has_labels:
        notes = "".join(f" {note}" for note in listing.notes)
        raise DataError(
            f"{root} holds no labels: no *scripts.txt, *.trn, *.trans.txt, *.json, "
            "*.jsonl or text beside a clip, no archive with some, and no *.parquet or metadata.csv "
            "outside archives. Pass the folder that holds 1.Training, or a manifest."
            f"{notes} · 전사 파일이 없습니다."
        )


def _folders(listing: Listing, output: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder of the corpus with the names of its files; links are followed."""
    if listing.only:
        yield str(listing.root), listing.only
        return
    visited = {os.path.realpath(output)}
    unreadable: list[OSError] = []
    walk = os.walk(listing.root, followlinks=True, onerror=unreadable.append)
    walked = counted(walk, f"listing {listing.root.name}", unit="folders")
    for folder, subfolders, names in walked:
        real = os.path.realpath(folder)
        # A link that leads back, or the folder that is written into.
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        if "preprocessing.json" in names and {"korean.jsonl", "foreign.jsonl"} & {*names}:
            listing.note(f"{folder} was left out: script 1 wrote it.")
            subfolders.clear()
            continue
        # macOS puts a `._name` beside each file that it copies to a foreign disk.
        yield folder, [name for name in names if not name.startswith("._")]
    for error in unreadable:
        listing.note(f"{error.filename} was left out: {error.strerror}.")


def _kind_of(name: str, suffixes: tuple[str, ...]) -> str:
    """What a file in an archive is: audio, label, archive, or "" for other things."""
    lower = name.lower()
    base = lower.rpartition("/")[2]
    if base.startswith("._"):
        return ""
    if lower.endswith(suffixes):
        return "audio"
    if is_label(lower) or is_metadata(lower):
        return "label"
    return "archive" if is_archive(lower) else ""


def _file_archives(scans: list[Scanned], listing: Listing) -> None:
    """File an archive, and those in it, under labels, audio or both, and say what is wrong."""
    for found in scans:
        name = found.archive.address
        if found.has_packed_audio:
            listing.audio_archives.append(found.archive.path)
        if unread := found.unread_archives:
            listing.note(
                f"{name}: {len(unread):,} archives in it, such as {unread[0]}, were left out: "
                "unpack it once to read them. · 안에 든 압축 파일은 한 번 풀어야 읽습니다."
            )
        n_audio, n_labels = len(found.audio), len(found.labels)
        holds_labels = n_labels or found.is_streamed
        # One that cannot be read counts as labels, so that it is refused by name when it is read.
        is_unread = not (n_audio or found.has_packed_audio or found.archives)
        if holds_labels or (is_unread and (found.problem or found.is_cut_off)):
            listing.label_archives.append(found)
            if is_unread and not holds_labels:
                listing.note(
                    f"{name} ends too early or is damaged: nothing in it is used. Download it "
                    "again, then run script 1 again. · 압축 파일이 손상되어 사용하지 않았습니다. "
                    "다시 받으세요."
                )
        elif n_audio:
            listing.refused += [
                (f"{found.archive.beside}: {inner}", reason) for inner, reason in found.refused
            ]
        elif not found.archives and not found.has_packed_audio:
            listing.note(f"{name} {LEFT_OUT}")
        if n_copies := listing.audio.add_archive(found):
            listing.note(
                f"{name}: {n_copies:,} clips are there unpacked as well, and are read once."
            )
        if n_audio and (found.is_cut_off or found.problem or found.n_cut):
            what = "ends too early" if found.is_cut_off else "is damaged"
            cut = f", {found.n_cut:,} are not whole and left out" if found.n_cut else ""
            listing.note(
                f"{name} {what}: {n_audio + n_labels:,} whole files in it are used{cut}. "
                "If it is still being downloaded, run script 1 again afterwards."
            )
