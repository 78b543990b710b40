import pytest

from korean_asr import messages
from korean_asr.pages import html


@pytest.mark.parametrize(
    ("text", "marked_up"),
    [
        ("rate · 오류율", 'rate <span lang="ko">오류율</span>'),
        ("a · b · 셋", 'a · b <span lang="ko">셋</span>'),
        ("CER", "CER"),
        ("run `a <b>`", "run <code>a &lt;b&gt;</code>"),
        ("a\u200bb", "a<samp>U+200B</samp>b"),
    ],
)
def test_a_title_in_two_languages_marks_the_korean_half(text, marked_up):
    assert html.both(text) == marked_up


def test_a_capital_at_the_start_leaves_the_rest_of_a_title():
    titles = [html.capital(messages.english(title)) for title in messages.SLICES.values()]
    assert "First language" in titles and "TOPIK level" in titles
    assert html.capital("") == ""


def test_a_long_text_is_cut_and_says_so():
    assert html.cut("가나다", 3) == "가나다"
    assert html.cut("가나다라", 3) == "가나다…"


def test_a_page_finds_its_styles_and_its_script_beside_its_template():
    assert "--paper" in html.source("base.css")
    assert "</script" not in html.source("evaluation.js")
    assert "</style" not in html.source("base.css") + html.source("evaluation.css")
