"""Raw utterances -> cleaned texts and checked audio, each clip counted as usable or rejected.

Clips pass in chunks, through several processes where there are many, and their lines go to disk, so
that memory does not grow with the corpus.
"""

import hashlib
import os
import signal
import threading
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from tqdm import tqdm

from korean_asr.archive_file import Place, is_address, path_within
from korean_asr.audio import AUDIO_SUFFIXES, SAMPLE_RATE, AudioInfo, UnreadableAudio, audio_info
from korean_asr.errors import DataError, printable
from korean_asr.files import parsed_json
from korean_asr.manifest import OPTIONAL_KEYS, Utterance, manifest_rows
from korean_asr.preprocessing.audio_index import OTHER_AUDIO_SUFFIXES
from korean_asr.preprocessing.corpora import RawUtterance, raw_utterances
from korean_asr.preprocessing.counts import (
    Alphabet,
    Corpus,
    SecondLabel,
    Tally,
    empty_corpus,
    empty_tally,
)
from korean_asr.preprocessing.listing import listed_corpus, unpack_hint
from korean_asr.transcripts import (
    MIXED_TURNS,
    ORDERS,
    RULES,
    SIDES,
    SPEAKERS,
    Rejected,
    clean_transcript,
    n_digits_and_latin,
)

# Limits of one chunk in memory. Characters count too: a raw label can be very long.
CHUNK_CLIPS, CHUNK_CHARACTERS = 1000, 1 << 20
# Each of these is also printed by clip id: one such line may stand for a whole label file.
REFUSED = ("label unreadable", "label too large", "unsafe path")
# So much is printed of what is wrong with a label: it may name many keys.
N_PROBLEM_CHARACTERS = 300
# Pairs of places with labels of the same clips, of which so many are named.
N_RIVALS_SHOWN = 3
# Name -> explanation. The HTML page of script 1 explains the rules that changed a line.
RULE_SENTENCES = {rule.name: rule.sentence for rule in RULES}


def _choice(accepted: tuple[str, ...], default: str, explanation: str) -> Any:
    metadata = {"choices": accepted, "help": f"{explanation} (default {default})"}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """How transcripts are cleaned. Each field is an option of script 1, with choices and help."""

    side: str = _choice(SIDES, "A", "side of (A)/(B) to keep")
    order: str = _choice(
        ORDERS,
        "spelling-first",
        "which side the corpus writes first; A is always the spelling",
    )
    speaker: str = _choice(SPEAKERS, "A", "speaker whose turns are kept")
    mixed_turns: str = _choice(
        MIXED_TURNS,
        "select",
        "if another speaker's turn is in the line: keep the chosen one's, or reject the line",
    )


def preprocessed(
    root: Path,
    settings: Settings,
    n_jobs: int,
    name: str,
    output: Path,
    alphabet: Alphabet | None = None,
) -> Corpus:
    """Clean and check every clip of a corpus. A bad clip is counted; none stops the run.

    root: the folder of the corpus, or a manifest.
    name: "korean" or "foreign". The foreign corpus's guidelines have no duals (A)/(B), so broken
        ones are repaired in the Korean corpus only.
    output: the output folder; during the run its temporary files keep the clips out of memory.
    alphabet: the characters to compare the labels with; None to skip the comparison.
    Raises DataError if no clip is usable.
    """
    listing = listed_corpus(root, output, AUDIO_SUFFIXES, OPTIONAL_KEYS, n_jobs)
    corpus = empty_corpus(name, root, asdict(settings), output, alphabet)
    choices = asdict(settings) | {"repair": name != "foreign"}
    check = partial(_checked, choices=choices, output=output, corpus=name, alphabet=alphabet)
    progress = tqdm(desc=name, total=len(listing.audio) or None, unit=" clips", delay=2)
    for tally in _in_order(check, _chunks(raw_utterances(listing)), n_jobs):
        progress.update(tally.n_clips + tally.n_rejected)
        corpus.take(tally)
    progress.close()
    corpus.n_label_files, corpus.labels_sha256 = listing.n_label_files, listing.digest.hexdigest()
    corpus.notes = listing.notes
    if listing.audio_archives and corpus.tally.reasons["no audio"]:
        corpus.notes.append(f"audio that is still packed: {unpack_hint(listing)}")
    if not corpus.tally.n_clips:
        _refuse_empty(corpus)
    corpus.notes += _notes_about_second_labels(corpus)
    return corpus


def _refuse_empty(corpus: Corpus) -> None:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in corpus.tally.reasons.most_common())
    notes = "".join(f" {note}" for note in (*corpus.tally.refused[:3], *corpus.notes))
    raise DataError(
        f"the {corpus.name} corpus {corpus.root} has no usable clip: "
        f"{reasons or 'there is no clip at all'}.{notes} "
        "Nothing was written. · 사용할 수 있는 발화가 없습니다."
    )


# --- Chunks, and the processes that check them ---


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
    check: Callable[[list[RawUtterance]], Tally],
    chunks: Iterator[list[RawUtterance]],
    n_jobs: int,
) -> Iterator[Tally]:
    """Yield the tally of each chunk, from other processes where there is more than one chunk.

    Only a few chunks are under way at a time.
    """
    first = list(islice(chunks, 2))
    # Starting processes takes longer than a thousand clips.
    if n_jobs == 1 or len(first) < 2:
        yield from map(check, chain(first, chunks))
        return
    # Spawned, not forked: the progress bar has a thread of its own.
    with ProcessPoolExecutor(n_jobs, get_context("spawn"), _end_with_parent) as pool:
        under_way: deque[Future[Tally]] = deque()
        try:
            for chunk in chain(first, chunks):
                # Ctrl-C is for the main process. A worker that starts here inherits the blocked
                # signal.
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                under_way.append(pool.submit(check, chunk))
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
                if len(under_way) > 2 * n_jobs:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this worker when the main process is killed; it would wait for work for ever."""

    def wait() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


# --- One clip ---


def _checked(
    clips: list[RawUtterance],
    choices: dict[str, Any],
    output: Path,
    corpus: str,
    alphabet: Alphabet | None,
) -> Tally:
    """Clean the text and check the audio of each clip.

    choices: the keyword arguments of clean_transcript.
    """
    tally = empty_tally(alphabet)
    utterances = []
    for clip in clips:
        outcome = _utterance(clip, choices, tally)
        if isinstance(outcome, Utterance):
            utterances.append(outcome)
            continue
        row = {"id": clip.id, "raw": clip.raw, "reason": outcome, "corpus": corpus}
        tally.add_rejected(row)
        if clip.rivals:
            tally.second_labels += _second_label(clip, choices, output)
        if outcome in REFUSED:
            why = clip.problem[:N_PROBLEM_CHARACTERS] or outcome
            tally.add_refused(printable(f"refused {clip.id[:300]}: {why}."))
    for row in manifest_rows(utterances, output):
        tally.add_row(row)
    tally.keep_extremes()
    return tally


def _utterance(clip: RawUtterance, choices: dict[str, Any], tally: Tally) -> Utterance | str:
    """Return the usable clip, or the reason to reject it; changes and conversions are counted."""
    # A clip without audio goes on: if its text is bad, that is the more useful reason.
    if clip.reason not in (None, "no audio"):
        return clip.reason
    if "\ufffd" in clip.raw:
        return "label unreadable"
    changes: list[tuple[str, str, str]] = []
    try:
        text = clean_transcript(clip.raw, **choices, changes=changes)
        if tally.outside and not tally.outside.side_auto_helps:
            tally.outside.side_auto_helps = _side_auto_helps(clip.raw, text, choices, changes)
        if clip.audio is None:
            return clip.reason
        info, offset = _judged(clip)
    except Rejected as error:
        return error.reason
    except UnreadableAudio as error:
        suffix = os.path.splitext(path_within(clip.audio))[1].lower()
        is_other = suffix in OTHER_AUDIO_SUFFIXES and str(error) == "audio unreadable"
        return f"audio is {suffix}" if is_other else str(error)
    finally:
        tally.add_changes(clip.id, changes)
    for conversion in _conversions(clip, info):
        tally.converted[conversion] += 1
    duration = round(info.duration, 4)
    if offset is not None:
        # As given, so that all scripts read the same samples by either manifest.
        duration = clip.duration or duration
    return Utterance(
        clip.id,
        clip.audio,
        duration,
        text,
        offset=offset,
        audio_offset=clip.audio_offset,
        audio_bytes=clip.audio_bytes,
        audio_index=clip.audio_index,
        **clip.facts,
    )


def _judged(clip: RawUtterance) -> tuple[AudioInfo, float | None]:
    """The clip's audio, and the offset where it is cut out of its file; None for the whole file.

    Raises UnreadableAudio.
    """
    audio = clip.audio
    if is_address(audio):
        audio = Place(audio, clip.audio_offset, clip.audio_bytes, clip.audio_index)
    if clip.offset is None:
        return audio_info(audio), None
    info = audio_info(audio, clip.offset, clip.duration or None)
    # Some programs give every clip the offset 0. A later one is never the whole file, which need
    # not be read again for each of its clips.
    if clip.offset == 0 and _is_whole(audio, info):
        return info, None
    return info, clip.offset


def _is_whole(audio: str | Place, info: AudioInfo) -> bool:
    try:
        return audio_info(audio).duration == info.duration
    except UnreadableAudio:
        # What follows the clip is damaged.
        return False


def _side_auto_helps(
    raw: str, text: str, choices: dict[str, Any], changes: list[tuple[str, str, str]]
) -> bool:
    """Whether the line has a dual that gives fewer digits and Latin letters with `--side auto`."""
    if choices["side"] == "auto" or not any(rule.startswith("dual") for rule, _, _ in changes):
        return False
    try:
        spoken = clean_transcript(raw, **choices | {"side": "auto"})
    except Rejected:
        return False
    return n_digits_and_latin(spoken) < n_digits_and_latin(text)


def _conversions(clip: RawUtterance, info: AudioInfo) -> Iterator[str]:
    """Name each conversion that the clip needs: rate, channels, header, encoding, Unicode form."""
    if info.sample_rate != SAMPLE_RATE:
        yield f"{info.sample_rate:,} Hz -> 16,000 Hz"
    if info.channels > 1:
        yield f"{info.channels} channels -> mono"
    if info.headerless:
        yield "no RIFF header -> 16-bit samples at 16,000 Hz"
    if info.overstated:
        yield "header says more than the file holds"
    if clip.encoding != "utf-8":
        yield f"{clip.encoding} label -> UTF-8"
    if not unicodedata.is_normalized("NFC", clip.raw):
        yield "NFD text -> NFC"


# --- Two labels of one clip ---


def _second_label(clip: RawUtterance, choices: dict[str, Any], output: Path) -> list[SecondLabel]:
    """What the comparison with the clip's first label needs; nothing if the text is rejected."""
    try:
        text = clean_transcript(clip.raw, **choices)
    except Rejected:
        return []
    # The path as the manifest writes it.
    (row,) = manifest_rows([Utterance(clip.id, clip.audio, 0.0, text)], output)
    return [SecondLabel(_hash(row["audio_filepath"]), _hash_of_letters(text), clip.rivals)]


def _hash(text: str) -> int:
    """A short hash that is the same in every process: a corpus may have a million second labels."""
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def _hash_of_letters(text: str) -> int:
    return _hash("".join(filter(str.isalnum, text)))


def _notes_about_second_labels(corpus: Corpus) -> list[str]:
    """Say where clips have two labels that differ in letters, and whose labels are used."""
    if not corpus.second_labels:
        return []
    seconds = defaultdict(list)
    for second in corpus.second_labels:
        seconds[second.audio].append(second)
    n_other: Counter[tuple[str, str]] = Counter()
    for line in corpus.rows:
        row = parsed_json(line)
        for second in seconds.get(_hash(row["audio_filepath"]), ()):
            if second.letters != _hash_of_letters(row["text"]):
                n_other[_without_common_end(*second.rivals)] += 1
    notes = []
    for (first, second), n in n_other.most_common(N_RIVALS_SHOWN):
        where = f"from {first}, the second from {second}"
        choice = f"move the label files of {first} out of the corpus"
        if first == second:
            where, choice = f"and the second are both in {first}", "take the first ones out of it"
        notes.append(
            f"two labels with other letters, {n:,} clips: the first is used, {where}. "
            f"To use the second, {choice}."
        )
    if len(n_other) > N_RIVALS_SHOWN:
        n_more = len(n_other) - N_RIVALS_SHOWN
        notes.append(f"and clips with two such labels in {n_more:,} other places.")
    return [printable(note) for note in notes]


def _without_common_end(one: str, other: str) -> tuple[str, str]:
    """Two paths up to where they differ: (a/spelling/01, a/sound/01) -> (a/spelling, a/sound)."""
    if one == other:
        return one, other
    parts, others = one.split("/"), other.split("/")
    while parts[-1:] == others[-1:]:
        del parts[-1], others[-1]
    return "/".join(parts), "/".join(others)
