"""Untrusted text -> text and HTML of a page that show every character of it; and what the pages call the corpora."""

import re
from typing import Any

from markupsafe import Markup

TITLES = {
    "korean": "Korean speakers · 한국어 화자",
    "foreign": "Foreign speakers of Korean · 외국인 화자",
}
N_SHOWN = 200  # characters of one text: a line may be as long as a file

# What Python calls printable and no font shows: Hangul fillers, the Braille blank, a joiner, variation selectors.
_BLANK = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0") | {
    chr(code) for code in range(0xFE00, 0xFE10)
}
_UNUSUAL = re.compile("[^ -~가-힣]")


def visible(value: Any) -> Any:
    """A text, escaped, with its invisible characters and lone surrogates by name; what is no text as it is."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    # No quotes in the tag: even in an attribute it would break nothing.
    return Markup(_named(str(Markup.escape(value)), "<samp>U+{:04X}</samp>"))


def plain(value: Any) -> str:
    """The same without a tag and not escaped, for what holds no tags: an attribute, an <option>, a chart."""
    return _named(str(value), "U+{:04X}")


def _named(text: str, name: str) -> str:
    return _UNUSUAL.sub(
        lambda match: match[0] if can_be_seen(match[0]) else name.format(ord(match[0])), text
    )


def can_be_seen(character: str) -> bool:
    return character.isprintable() and character not in _BLANK


def both(text: str) -> Markup:
    """`English · 한국어` with the second half marked as Korean, for fonts and screen readers, and its `code` as such."""
    english, dot, korean = text.rpartition(" · ")
    html = (
        f'{visible(english)} <span lang="ko">{visible(korean)}</span>'
        if dot
        else str(visible(text))
    )
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", html))


def cut(text: str, n_shown: int = N_SHOWN) -> str:
    return text if len(text) <= n_shown else text[:n_shown] + "…"


def counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def percent(n: int, whole: int) -> float:
    return 100 * n / whole if whole else 0.0
