"""Fixtures: corpora written by hand, and read."""

import pytest

from korean_asr.audio import AUDIO_SUFFIXES
from korean_asr.manifest import OPTIONAL_KEYS
from korean_asr.preprocessing.corpora import raw_utterances
from korean_asr.preprocessing.listing import listed_corpus


@pytest.fixture(scope="session")
def written():
    """A function that writes files (name -> text or bytes) and returns their folder."""

    def write(root, files):
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return write


@pytest.fixture(scope="session")
def listing_of():
    """A function that lists the corpus of a folder."""
    return lambda root: listed_corpus(
        root, root.parent / "processed", AUDIO_SUFFIXES, OPTIONAL_KEYS
    )


@pytest.fixture(scope="session")
def utterances_of(listing_of):
    """A function that reads the corpus of a folder to its end."""
    return lambda root: list(raw_utterances(listing_of(root)))
