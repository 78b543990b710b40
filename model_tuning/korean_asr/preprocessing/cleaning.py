"""Raw utterances -> cleaned texts and checked audio, each clip counted as usable or rejected.

Clips pass in chunks, through several processes where there are many, and their lines go to disk, so
that memory does not grow with the corpus.
"""

import os
import signal
import threading
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from korean_asr.archive_file import Place, is_address
from korean_asr.audio import AUDIO_SUFFIXES, SAMPLE_RATE, AudioInfo, UnreadableAudio, audio_info
from korean_asr.audio_container import with_remedy
from korean_asr.errors import DataError, printable
from korean_asr.manifest import OPTIONAL_KEYS, PLACE_KEYS, Utterance, manifest_rows
from korean_asr.preprocessing.archives import unpack_hint
from korean_asr.preprocessing.corpora import RawUtterance, raw_utterances
from korean_asr.preprocessing.corpus_names import EarlierIds, renamed
from korean_asr.preprocessing.counts import (
    Alphabet,
    Corpus,
    Group,
    Tally,
    empty_group,
    empty_tally,
)
from korean_asr.preprocessing.json_labels import NO_KEYS, LabelKeys
from korean_asr.preprocessing.listing import Listing, listed_corpus
from korean_asr.preprocessing.second_labels import notes_about_second_labels, second_label
from korean_asr.progress_line import ProgressLine
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
    roots: dict[str, Path],
    settings: Settings,
    n_jobs: int,
    name: str,
    output: Path,
    alphabet: Alphabet | None = None,
    keys: LabelKeys = NO_KEYS,
    split: str | None = None,
) -> Group:
    """Clean and check every clip of the corpora of one manifest. A bad clip is counted.

    roots: name of a corpus -> its folder, or a manifest. Ids of a later one that an earlier one
        has get `<corpus>/` before them.
    name: "korean" or "foreign". The foreign corpus's guidelines have no duals (A)/(B), so broken
        ones are repaired in the Korean corpus only.
    output: the output folder; during the run its temporary files keep the clips out of memory.
    alphabet: the characters to compare the labels with; None to skip the comparison.
    keys: those of tables and of labels of no known corpus, as the user names them.
    split: of tables; None for all.
    Raises DataError if no clip of a corpus is usable.
    """
    group = empty_group(name, asdict(settings), output)
    earlier = EarlierIds() if len(roots) > 1 else None
    for corpus, root in roots.items():
        folder = f"{name}/{corpus}"
        listed = partial(
            listed_corpus, root, output, AUDIO_SUFFIXES, OPTIONAL_KEYS, folder, keys, split, n_jobs
        )
        group.corpora.append(Corpus(corpus, root, empty_tally(alphabet)))
        # The `corpus` of rejected.jsonl has been the manifest's name from the start.
        origin = {"corpus": name} | ({"source": corpus} if len(roots) > 1 else {})
        check = partial(
            _checked,
            choices=asdict(settings) | {"repair": name != "foreign"},
            output=output,
            corpus=corpus,
            origin=origin,
            alphabet=alphabet,
        )
        # In a function of its own: the names of a million files are dropped before the next corpus.
        _read_last_corpus(group, listed, check, n_jobs, earlier)
    return group


def _read_last_corpus(
    group: Group,
    listed: Callable[[], Listing],
    check: Callable[[list[RawUtterance]], Tally],
    n_jobs: int,
    earlier: EarlierIds | None,
) -> None:
    corpus = group.corpora[-1]
    listing = listed()
    clips = _with_new_ids(raw_utterances(listing), corpus.name, earlier)
    progress = ProgressLine(corpus.name, len(listing.audio) or None)
    for tally in _in_order(check, _chunks(clips), n_jobs):
        progress.update(tally.n_clips + tally.n_rejected)
        group.take(tally)
        if earlier is not None:
            earlier.add(name for name, _ in tally.rows)
    progress.close()
    if earlier is not None:
        earlier.end_corpus()
    _complete(group, listing)


def _with_new_ids(
    clips: Iterator[RawUtterance], corpus: str, earlier: EarlierIds | None
) -> Iterator[RawUtterance]:
    if not earlier:
        yield from clips
        return
    new_id = renamed(corpus, earlier)
    for clip in clips:
        clip.id = new_id(clip.id)
        yield clip


def _complete(group: Group, listing: Listing) -> None:
    """Add what is known once all clips of the last corpus are read."""
    corpus = group.corpora[-1]
    corpus.n_label_files, corpus.labels_sha256 = listing.n_label_files, listing.digest.hexdigest()
    corpus.notes = listing.notes
    is_keyed = bool(listing.n_keyed or listing.tables)
    corpus.lacks_keys = any(listing.keys) and listing.has_labels and not is_keyed
    if listing.only and corpus.tally.reasons["no audio"] and not len(listing.audio):
        corpus.notes.append(
            "No audio was found in it: pass the folder that holds the archive of its audio too. "
            "· 음성 압축 파일도 함께 든 폴더를 지정하세요."
        )
    if listing.audio_archives and corpus.tally.reasons["no audio"]:
        corpus.notes.append(f"audio that is still packed: {unpack_hint(listing.audio_archives)}")
    if listing.n_keyed and not listing.keys.audio and corpus.tally.reasons["no audio"]:
        corpus.notes.append(
            "Audio was looked for by the names of the label files: if a key holds its name, add "
            "--audio-key. · 음성 파일명이 든 키는 --audio-key로 지정하세요."
        )
    if not corpus.tally.n_clips:
        _refuse_empty(group.name, corpus)
    corpus.notes += notes_about_second_labels(corpus, group.rows)


def _refuse_empty(name: str, corpus: Corpus) -> None:
    counts = corpus.tally.reasons.most_common()
    reasons = ", ".join(f"{with_remedy(reason)} {n:,}" for reason, n in counts)
    notes = "".join(f" {note}" for note in (*corpus.tally.refused[:3], *corpus.notes))
    raise DataError(
        f"the {name} corpus {corpus.root} has no usable clip: "
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
    origin: dict[str, str],
    alphabet: Alphabet | None,
) -> Tally:
    """Clean the text and check the audio of each clip.

    choices: the keyword arguments of clean_transcript.
    corpus: the value of `corpus` in the rows. origin: where a line of rejected.jsonl comes from.
    """
    tally = empty_tally(alphabet)
    utterances = []
    for clip in clips:
        outcome = _utterance(clip, choices, tally, corpus)
        if isinstance(outcome, Utterance):
            utterances.append(outcome)
            continue
        row = {"id": clip.id, "raw": clip.raw, "reason": outcome, **origin}
        tally.add_rejected(row, _audio(clip, output) if tally.lacks_examples(outcome) else None)
        if clip.rivals:
            tally.second_labels += second_label(clip, choices, output)
        if outcome in REFUSED:
            why = clip.problem[:N_PROBLEM_CHARACTERS] or outcome
            tally.add_refused(printable(f"refused {clip.id[:300]}: {why}."))
    for row in manifest_rows(utterances, output):
        tally.add_row(row)
    tally.keep_extremes()
    return tally


def _utterance(
    clip: RawUtterance, choices: dict[str, Any], tally: Tally, corpus: str
) -> Utterance | str:
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
        return str(error)
    finally:
        tally.add_changes(clip.id, changes)
    for conversion in _conversions(clip, info):
        tally.converted[conversion] += 1
    duration = round(info.duration, 4)
    if offset is not None:
        # As given, so that all scripts read the same samples by either manifest.
        duration = clip.duration or duration
    # A row of a manifest may name its corpus.
    facts = {"corpus": corpus} | clip.facts
    if "prompt" in facts:
        facts["prompt"] = _prompt(facts["prompt"], choices)
    return Utterance(
        clip.id,
        clip.audio,
        duration,
        text,
        offset=offset,
        audio_offset=clip.audio_offset,
        audio_bytes=clip.audio_bytes,
        audio_index=clip.audio_index,
        **facts,
    )


def _audio(clip: RawUtterance, output: Path) -> dict[str, Any] | None:
    """Where a rejected clip's audio lies, in the keys of a manifest in `output`; None without."""
    if clip.audio is None:
        return None
    place = clip.audio_offset, clip.audio_bytes, clip.audio_index
    utterance = Utterance(
        clip.id,
        clip.audio,
        clip.duration or 0.0,
        "",
        offset=clip.offset,
        **dict(zip(PLACE_KEYS, place, strict=True)),
    )
    row = manifest_rows([utterance], output)[0]
    cut = ("offset", "duration") if clip.offset is not None else ()
    return {key: row[key] for key in ("audio_filepath", *cut, *PLACE_KEYS) if key in row}


def _prompt(raw: str, choices: dict[str, Any]) -> str | None:
    """What the reader was given, cleaned like the text; None if it would be rejected."""
    try:
        return clean_transcript(raw, **choices)
    except Rejected:
        return None


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
