"""preprocessing.json as a page: what became of every line and clip, with charts and examples."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rapidfuzz.distance import Indel

from korean_asr.archive_file import Place
from korean_asr.pages.html import N_SHOWN, page, visible
from korean_asr.pages.players import audio_of, embedded_audio, linked_audio

N_BEFORE = 60  # characters shown before the change in a line that is cut
# More than is shown is compared, so that the end of the cut does not look like a change.
N_COMPARED = 3 * N_SHOWN
MAX_EMBEDDED = 16 << 20  # characters of audio


def preprocessing_page(
    summary: dict[str, dict[str, Any]],
    reasons: dict[str, str],
    rules: dict[str, str],
    folder: Path | None = None,
) -> str:
    """Render one self-contained page about a preprocessing.json; it can be written as UTF-8.

    summary: manifest, "korean" or "foreign" -> what script 1 wrote about it.
    reasons, rules: name -> its explanation, "English · 한국어".
    folder: that of the page, where relative paths of audio start; None for a page without players.
    """
    return page(
        "preprocessing.html",
        articles=_articles(summary),
        reasons=reasons,
        rules=rules,
        marked=marked,
        player=_player_in(folder),
    )


def _player_in(folder: Path | None) -> Callable[[str, dict[str, Any]], str | None]:
    """Return a function that gives what the player of a rejected example plays.

    A browser opens no file in an archive, so such clips are embedded until the page is large.
    """
    n_left = MAX_EMBEDDED

    def player(reason: str, example: dict[str, Any]) -> str | None:
        nonlocal n_left
        try:
            audio, *cut = audio_of(example["audio"], folder)
            if not isinstance(audio, Place):
                return linked_audio(audio, folder, *cut) if os.path.isfile(audio) else None
            # The page may be passed on, and this audio names people.
            if reason == "masked" or n_left <= 0:
                return None
            url = embedded_audio(audio, *cut)
        except (KeyError, TypeError, ValueError, AttributeError):
            # An earlier version wrote no audio, and the file may have been edited.
            return None
        n_left -= len(url or "")
        return url

    return player


def _articles(summary: dict[str, dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """(manifest, corpus or "" for the whole manifest, its counts), several corpora one by one."""
    articles = []
    for name, whole in summary.items():
        articles.append((name, "", whole))
        articles += [(name, corpus, part) for corpus, part in whole.get("corpora", {}).items()]
    return articles


def marked(before: str, after: str) -> tuple[Markup, Markup]:
    """Return both texts from around their first change, with changes in <del> and <ins>."""
    start = len(os.path.commonprefix([before, after]))
    n_same = len(os.path.commonprefix([before[start:][::-1], after[start:][::-1]]))
    head, tail = before[:start], before[len(before) - n_same :]
    if len(before) > N_SHOWN and start > N_BEFORE:
        head = "…" + head[-N_BEFORE:]
    old = before[start : len(before) - n_same][:N_COMPARED]
    new = after[start : len(after) - n_same][:N_COMPARED]
    # difflib takes seconds for a text that repeats itself.
    changes = Indel.opcodes(old, new)
    deleted = [(_tag(kind, "del"), old[i:j]) for kind, i, j, _, _ in changes]
    inserted = [(_tag(kind, "ins"), new[i:j]) for kind, _, _, i, j in changes]
    return _line(head, deleted, tail), _line(head, inserted, tail)


def _tag(kind: str, tag: str) -> str:
    return "" if kind == "equal" else tag


def _line(head: str, changed: list[tuple[str, str]], tail: str) -> Markup:
    """Join (tag or "", text) pieces to one line of at most N_SHOWN characters."""
    line, room = Markup(), N_SHOWN
    for tag, text in [("", head), *changed, ("", tail)]:
        if text and room >= 0:
            shown = visible(text if len(text) <= room else text[:room] + "…")
            line += Markup(f"<{tag}>{shown}</{tag}>") if tag else shown
            room -= len(text)
    return line
