"""Several corpora in one manifest: a name for each, and clip ids that stay apart."""

import hashlib
import os
import re
import unicodedata
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from korean_asr.errors import DataError, printable
from korean_asr.preprocessing.archives import ARCHIVE_SUFFIXES

# The name of an archive or of a part of one: [1] without `.part0`, [2] without all suffixes.
_ARCHIVE = re.compile(
    rf"((.+?)(?:{'|'.join(map(re.escape, ARCHIVE_SUFFIXES))}))(?:\.part\d+)?", re.I | re.S
)


def named_corpora(roots: list[Path]) -> dict[str, Path]:
    """Return name -> root for each corpus, in the order given. The name is that of its folder.

    A manifest or an archive is named by its stem. Where two names are the same, both take one more
    parent folder.
    Raises DataError where a root was given twice, or lies inside another.
    """
    _refuse_nested(roots)
    paths = [Path(os.path.abspath(root)) for root in roots]
    stems = [_without_suffix(path) if path.is_file() else path for path in paths]
    names = [_last_parts(path, 1) for path in stems]
    for n_parts in range(2, max((len(path.parts) for path in paths), default=0) + 1):
        names = _longer_where_equal(names, [_last_parts(path, n_parts) for path in stems])
    # train.json and train.jsonl in one folder have no other difference.
    names = _longer_where_equal(names, [_last_parts(path, 2) for path in paths])
    return dict(zip(names, roots, strict=True))


def _without_suffix(path: Path) -> Path:
    archive = _ARCHIVE.fullmatch(path.name)
    return path.with_name(archive[2]) if archive else path.with_suffix("")


def _last_parts(path: Path, n_parts: int) -> str:
    # macOS may decompose Hangul; a corpus has one name on all machines.
    return unicodedata.normalize("NFC", "/".join(path.parts[-n_parts:]))


def _longer_where_equal(names: list[str], longer: list[str]) -> list[str]:
    n = Counter(names)
    return [long if n[name] > 1 else name for name, long in zip(names, longer, strict=True)]


def _refuse_nested(roots: list[Path]) -> None:
    """Two corpora that share files would give each clip twice."""
    for i, root in enumerate(roots):
        for other in roots[:i]:
            here, there = map(_place, (root, other))
            if os.path.realpath(root) == os.path.realpath(other):
                problem = f"{root} is given twice"
            elif here == there:
                problem = f"{root} and {other} are one archive"
            elif here.is_relative_to(there):
                problem = f"{root} lies inside {other}"
            elif there.is_relative_to(here):
                problem = f"{other} lies inside {root}"
            else:
                continue
            raise DataError(
                f"{printable(problem)}: each clip would be there twice. Give each corpus once. "
                "· 말뭉치마다 한 번씩만 지정하세요."
            )


def _place(root: Path) -> Path:
    """The path without links, of a part of an archive that of the whole."""
    path = Path(os.path.realpath(root))
    archive = _ARCHIVE.fullmatch(path.name)
    return path.with_name(archive[1]) if archive and path.is_file() else path


def short_hash(text: str) -> int:
    """A hash of 8 bytes that is the same in every process."""
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


class EarlierIds:
    """The ids of earlier corpora, as sorted hashes: 8 MB a million.

    Two ids of one hash do no harm: the later is renamed without need.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._of_this_corpus = array("Q")

    def add(self, ids: Iterable[str]) -> None:
        """Add ids of a corpus, which count from its end on."""
        self._of_this_corpus.extend(map(short_hash, ids))

    def end_corpus(self) -> None:
        self._hashes += self._of_this_corpus
        self._of_this_corpus = array("Q")
        # In place: a list of them would take ten times the room.
        np.frombuffer(self._hashes, dtype=np.uint64).sort()

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, name: str) -> bool:
        value = short_hash(name)
        place = bisect_left(self._hashes, value)
        return place < len(self._hashes) and self._hashes[place] == value


def renamed(corpus: str, earlier: EarlierIds) -> Callable[[str], str]:
    """Return a function from the id of a clip to an id that no earlier corpus has.

    An id that is taken gets `<corpus>/` before it. Ids of one corpus that differ stay different:
    of those that differ in this prefix alone, each takes the next place that is free.
    """
    prefix = f"{corpus}/"

    def new_id(name: str) -> str:
        n_before = 0
        while name.startswith(prefix):
            name, n_before = name[len(prefix) :], n_before + 1
        while True:
            if name not in earlier:
                if n_before == 0:
                    return name
                n_before -= 1
            name = prefix + name

    return new_id
