"""What both pages share: the templates, and text that is safe to show in them.

Text comes from corpora and file names, so every character of it must show as what it is.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from korean_asr import messages
from korean_asr.pages import charts
from korean_asr.rates import shown_rate

FOLDER = Path(__file__).parent
N_SHOWN = 200  # characters of one text; a line of a corpus may be as long as a file

# Python calls these printable and fonts draw nothing for them: Hangul fillers, the Braille blank,
# a joiner, variation selectors.
_BLANK = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0") | {
    chr(code) for code in range(0xFE00, 0xFE10)
}
_UNUSUAL = re.compile("[^ -~가-힣]")


def page(template: str, **values: Any) -> str:
    """Render one of this folder's templates; the result can always be written as UTF-8."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
        undefined=jinja2.ChainableUndefined,  # a record may lack a key that holds a record
    )
    environment.filters |= {
        "between": between,
        "both": both,
        "capital": capital,
        "counted": counted,
        "cut": cut,
        "english": messages.english,
        "korean": messages.korean,
        "number": "{:,}".format,
        "percent": percent,
        "plain": plain,
        "rate": rate,
        "sha256": sha256,
    }
    environment.globals |= {"charts": charts, "messages": messages, "source": source}
    return environment


def source(name: str) -> Markup:
    """Return the text of a file of this folder, such as a style sheet, to be put into the page."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def visible(value: Any) -> Any:
    """Escape text and name invisible characters; return other values unchanged."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    # The tag has no quotes, so that it cannot end an attribute either.
    return Markup(_named(str(Markup.escape(value)), "<samp>U+{:04X}</samp>"))


def plain(value: Any) -> str:
    """Name invisible characters without a tag, for attributes, options and SVG."""
    return _named(str(value), "U+{:04X}")


def _named(text: str, name: str) -> str:
    return _UNUSUAL.sub(
        lambda match: match[0] if can_be_seen(match[0]) else name.format(ord(match[0])), text
    )


def can_be_seen(character: str) -> bool:
    """Tell whether fonts draw something for a character."""
    return character.isprintable() and character not in _BLANK


def both(text: str) -> Markup:
    """Mark up `English · 한국어`: the second half as Korean, and text in backquotes as code."""
    english, dot, korean = text.rpartition(" · ")
    html = str(visible(text))
    if dot:
        html = f'{visible(english)} <span lang="ko">{visible(korean)}</span>'
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", html))


def capital(title: str) -> str:
    """Start a title with a capital letter and leave the rest: TOPIK stays TOPIK."""
    return title[:1].upper() + title[1:]


def cut(text: str, n_shown: int = N_SHOWN) -> str:
    """Cut a long text, and end it with `…`."""
    return text if len(text) <= n_shown else text[:n_shown] + "…"


def counted(n: int, noun: str) -> str:
    """Write a number with its noun: `1 clip`, `2,000 clips`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def percent(n: int, whole: int) -> float:
    """Return n as a percentage of a whole; 0 if the whole is 0."""
    return 100 * n / whole if whole else 0.0


def rate(value: Any) -> str:
    """Write a rate to four digits, or a dash for anything but a number."""
    return shown_rate(value) if isinstance(value, int | float) else "—"


def between(interval: list[float] | None) -> Markup:
    """Write both ends of an interval, which may break between them."""
    return Markup("{}–<wbr>{}").format(*map(shown_rate, interval)) if interval else Markup()


def sha256(script: str) -> str:
    """Hash a script for the Content-Security-Policy, so that a browser runs no other script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
