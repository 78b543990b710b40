"""Clips that have two labels: where the two differ, and whose is used."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from korean_asr.errors import printable
from korean_asr.files import SortedLines, parsed_json
from korean_asr.manifest import Utterance, manifest_rows
from korean_asr.pages.html import counted
from korean_asr.preprocessing.corpora import RawUtterance
from korean_asr.preprocessing.corpus_names import short_hash
from korean_asr.preprocessing.counts import Corpus, SecondLabel
from korean_asr.transcripts import Rejected, clean_transcript

# Pairs of places with labels of the same clips, of which so many are named.
N_RIVALS_SHOWN = 3
KOREAN = "· 한 발화의 두 라벨이 서로 다르면 첫 번째를 사용합니다."


def second_label(clip: RawUtterance, choices: dict[str, Any], output: Path) -> list[SecondLabel]:
    """What the comparison with the clip's first label needs; nothing if the text is rejected."""
    try:
        text = clean_transcript(clip.raw, **choices)
    except Rejected:
        return []
    # The path as the manifest writes it.
    (row,) = manifest_rows([Utterance(clip.id, clip.audio, 0.0, text)], output)
    return [SecondLabel(short_hash(row["audio_filepath"]), _hash_of_letters(text), clip.rivals)]


def _hash_of_letters(text: str) -> int:
    return short_hash("".join(filter(str.isalnum, text)))


def notes_about_second_labels(corpus: Corpus, rows: SortedLines) -> list[str]:
    """Say where clips have two labels that differ in letters, and whose labels are used."""
    if not corpus.second_labels:
        return []
    seconds = defaultdict(list)
    for second in corpus.second_labels:
        seconds[second.audio].append(second)
    n_other: Counter[tuple[str, str]] = Counter()
    for line in rows:
        row = parsed_json(line)
        for second in seconds.get(short_hash(row["audio_filepath"]), ()):
            if second.letters != _hash_of_letters(row["text"]):
                n_other[_without_common_end(*second.rivals)] += 1
    notes = []
    for (first, second), n in n_other.most_common(N_RIVALS_SHOWN):
        clips = f"{counted(n, 'clip')} {'has' if n == 1 else 'have'}"
        choice = (
            f": the one in {first} is used, not the one in {second}. To use that one, move the "
            f"labels in {first} out of the corpus."
        )
        if first == second:
            choice = f", both in {first}: the first is used. To use the second, take the first out."
        notes.append(f"{clips} two labels that differ in letters{choice} {KOREAN}")
    if len(n_other) > N_RIVALS_SHOWN:
        n_more = len(n_other) - N_RIVALS_SHOWN
        notes.append(f"and clips with two such labels in {counted(n_more, 'other place')}.")
    return [printable(note) for note in notes]


def _without_common_end(one: str, other: str) -> tuple[str, str]:
    """Two paths up to where they differ: (a/spelling/01, a/sound/01) -> (a/spelling, a/sound)."""
    if one == other:
        return one, other
    parts, others = one.split("/"), other.split("/")
    while parts[-1:] == others[-1:]:
        del parts[-1], others[-1]
    return "/".join(parts), "/".join(others)
