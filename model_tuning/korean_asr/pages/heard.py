"""The result on the page of listen.py: what was heard in a recording, letter by letter."""

from dataclasses import dataclass

from markupsafe import Markup

from korean_asr.pages.html import page


@dataclass(frozen=True, slots=True)
class ShownLetter:
    """A letter of a line.

    start, end: seconds, or None for one that has no time and cannot be heard. shade: 0 for a sure
    letter to 3. kind: "mark" for a letter that was heard otherwise, "del" for one that was not
    heard, "ins" for one that is not in the sentence, else "". title: what a pointer shows.
    """

    text: str
    is_spaced: bool  # whether a space stands before it
    start: float | None = None
    end: float | None = None
    shade: int = 0
    kind: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class ShownRecording:
    """A recording and its lines. audio: a data: URI, or None where there is nothing to play.

    lines: title and letters, the sentence before what was heard. notes: sentences about them.
    differing: rows of the table, as texts: time, meant, heard, score; None without a sentence.
    """

    audio: str | None
    lines: list[tuple[str, list[ShownLetter]]]
    notes: list[str]
    differing: list[tuple[str, str, str, str]] | None


def heard_html(recording: ShownRecording) -> Markup:
    """Render what was heard; every text of it is escaped."""
    return Markup(page("heard.html", recording=recording))


def message_html(message: str) -> Markup:
    """Render a sentence in place of a result."""
    return Markup(page("heard.html", message=message))
