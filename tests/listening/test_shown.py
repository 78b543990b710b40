"""What the page of listen.py shows of a recording, and that no text of it is read as HTML."""

import re
from html.parser import HTMLParser

import pytest

from korean_asr.listening.heard import Heard
from korean_asr.listening.shown import shown_recording
from korean_asr.metrics import Hypothesis
from korean_asr.pages.heard import heard_html, message_html

HOSTILE = "<img src=x onerror=alert(1)>\"'${alert(2)}{{ 7 * 7 }}"


def letters(text, value):
    """Each character but spaces takes 0.1 s, from 0, 0.5, 1.0 s on; value: of each, or None."""
    characters = [character for character in text if character != " "]
    values = value if isinstance(value, list) else [value] * len(characters)
    return [
        [one, None, None, None] if score is None else [one, n / 2, n / 2 + 0.1, score]
        for n, (one, score) in enumerate(zip(characters, values, strict=True))
    ]


def heard(text, sentence=None, scores=3.0, posteriors=0.95, **facts):
    found = {
        "reference": letters(sentence or "", scores),
        "hypothesis": letters(text, posteriors),
    }
    confidence = 0.9 if text else None
    made = Hypothesis(text, confidence=confidence, letters=found, **facts)
    return Heard("a.wav", 5.2, made, sentence)


def shown(one, unwritable=()):
    return shown_recording(one, "data:audio/wav;base64,AA==", list(unwritable))


def kinds(line):
    return [(letter.text, letter.kind) for letter in line[1]]


def test_without_a_sentence_one_line_has_the_letters_and_their_spaces():
    ((title, line),) = shown(heard("가 나다.")).lines
    assert title.startswith("heard")
    assert [(one.text, one.is_spaced) for one in line] == [
        *(("가", True), ("나", True), ("다", False), (".", False))
    ]
    assert [(one.start, one.end) for one in line] == [(0, 0.1), (0.5, 0.6), (1, 1.1), (1.5, 1.6)]
    assert shown(heard("가")).differing == []


@pytest.mark.parametrize(
    ("sentence", "text", "meant", "found"),
    [
        ("가나", "가나", [("가", ""), ("나", "")], [("가", ""), ("나", "")]),
        ("가나", "가다", [("가", ""), ("나", "mark")], [("가", ""), ("다", "mark")]),
        ("가나", "가", [("가", ""), ("나", "del")], [("가", "")]),
        ("가", "가나", [("가", "")], [("가", ""), ("나", "ins")]),
        # Marks are not heard, so they are neither wrong nor missing.
        ("가.", "가", [("가", ""), (".", "")], [("가", "")]),
        ("가", "가.", [("가", "")], [("가", ""), (".", "")]),
    ],
)
def test_letters_that_differ_from_the_sentence_are_marked(sentence, text, meant, found):
    first, second = shown(heard(text, sentence)).lines
    assert (kinds(first), kinds(second)) == (meant, found)


def test_letters_are_shaded_by_the_score_and_by_the_posterior():
    made = shown(heard("가나다라", "가나다라", [2.0, 1.9, -0.1, -2.1], [0.9, 0.89, 0.69, 0.49]))
    assert [[one.shade for one in line] for _, line in made.lines] == [[0, 1, 2, 3]] * 2
    assert made.lines[0][1][2].title == "score -0.10"


def test_the_table_has_what_was_heard_otherwise_and_what_was_nearly_so():
    made = shown(heard("가다마", "가나마", [1.0, -3.25, -0.5]))
    assert made.differing == [
        ("0:00.50", "나", "다", "-3.25"),
        ("0:01.00", "마", "마", "-0.50"),
    ]
    assert not any("Every letter" in note for note in made.notes)
    assert any("Every letter" in note for note in shown(heard("가", "가")).notes)


def test_a_letter_that_the_model_cannot_write_has_no_button_and_is_named():
    made = shown(heard("가", "가힣", [1.0, None]), ["힣"])
    assert any("cannot write 힣" in note for note in made.notes)
    html = heard_html(made)
    assert len(re.findall("<button", html)) == 2 and '<span class="silent del"' in html


def test_a_sentence_that_does_not_fit_and_a_silent_file_are_told():
    assert any("does not fit" in note for note in shown(heard("", "가나", None)).notes)
    notes = shown(heard("", is_silent=True)).notes
    assert "nothing heard" in notes[0] and any("Every sample is equal" in one for one in notes)


class Elements(HTMLParser):
    """The names of all tags and attributes."""

    def __init__(self, html):
        super().__init__()
        self.names = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.names |= {tag, *(name for name, _ in attributes)}


def test_no_text_is_read_as_html():
    usual = shown(heard("가나", "가다", [1.0, -1.0]), ["힣"])
    hostile = shown(heard(HOSTILE.replace(" ", ""), HOSTILE, -1.0), [HOSTILE])
    names = Elements(heard_html(usual)).names
    assert {"button", "data-from", "title", "src"} <= names
    assert Elements(heard_html(hostile)).names <= names | {"samp"}
    assert Elements(message_html(HOSTILE)).names <= {"div", "p", "class", "lang", "role", "samp"}
