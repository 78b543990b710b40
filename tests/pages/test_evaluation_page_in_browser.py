"""The page of an evaluation in a real browser, opened from a file that stands alone."""

import base64
import unicodedata

import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

from korean_asr.pages.evaluation_page import evaluation_page, experiments_page

pytestmark = pytest.mark.pipeline

LANGUAGES = ("베트남어", "중국어", "일본어")
AUDIO = "%EC%9D%8C%EC%84%B1%201.wav"  # 음성 1.wav, beside the page


def clip(number):
    """Make a row: clip 0 is correct, 7 is unreadable, the CER of others grows with the number."""
    text = f"오늘은 {number}번 문장입니다."
    return {
        "id": f"clip_{number:04}",
        "duration": (number * 7 % 120) / 10,
        "text": text,
        "pred_text": {0: text, 7: ""}.get(number, f"오늘는 {number}번 문 장입니다"),
        "problem": "audio missing" if number == 7 else None,
        "confidence": None if number == 7 else 1 - number / 1000,
        "cer": 1.0 if number == 7 else number / 4000,
        "wer": 1.0 if number == 7 else number / 3500,
        "first_language": LANGUAGES[number % 3],
        "task": "낭독",
    }


def ids(page):
    return page.locator("#rows .id").all_inner_texts()


def press(page, name):
    page.get_by_role("button", name=name).click()


@pytest.fixture(scope="session")
def folder(tmp_path_factory, foreign_summary, hostile_text):
    """Write pages of 0, 3, 120 and 3,000 clips, and one of hostile data."""
    folder = tmp_path_factory.mktemp("결과 1")
    tone = 0.1 * np.sin(np.arange(32_000) / 10)
    soundfile.write(folder / "음성 1.wav", tone, 16_000)
    data = (
        "data:audio/wav;base64," + base64.b64encode((folder / "음성 1.wav").read_bytes()).decode()
    )
    confusions = {
        "all": {
            "onset": [foreign_summary["confusions"]["all"]["onset"][0] | {"clips": ["clip_0003"]}]
        },
        "베트남어": {
            "coda": [{"reference": "ㄱ", "hypothesis": "ㅇ", "n": 2, "of": 9, "clips": []}]
        },
    }
    summary = foreign_summary | {"confusions": confusions}
    bad = summary | {
        "warning": hostile_text,
        "model": hostile_text,
        "confusions": {"all": {}, hostile_text: confusions["all"]},
    }
    bad["groups"] = {
        "first_language": dict.fromkeys(
            (hostile_text, hostile_text + "2"), foreign_summary["groups"]["duration"]["0-2 s"]
        )
    }
    rows = [clip(number) for number in range(3000)]
    bad_rows = [
        row | {"id": hostile_text + "\u202e", "text": hostile_text, "first_language": hostile_text}
        for row in rows[:5]
    ]
    for name, page in {
        "linked": evaluation_page(summary, rows[:120], [AUDIO] * 120),
        "embedded": evaluation_page(summary, rows[:3], [data] * 3, embedded=True),
        "large": evaluation_page(summary, rows, [AUDIO] * 3000),
        "hostile": evaluation_page(bad, bad_rows, [hostile_text, None, None, None, None]),
        "empty": evaluation_page({}, [], []),
    }.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture
def opened(visit, folder):
    """Open pages by name; see visit."""
    return lambda name="linked", fragment="", **options: visit(
        folder / f"{name}.html", fragment, **options
    )


def test_the_worst_clips_come_first_fifty_at_a_time(opened):
    page = opened()
    status = page.get_by_role("status")
    expect(status).to_have_text("1–50 of 120 clips")
    assert ids(page)[:3] == ["clip_0007", "clip_0119", "clip_0118"] and len(ids(page)) == 50
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    press(page, "Next")
    press(page, "Next")
    expect(status).to_have_text("101–120 of 120 clips")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    assert ids(page)[-1] == "clip_0000"
    press(page, "Previous")
    expect(status).to_have_text("51–100 of 120 clips")


@pytest.mark.parametrize(
    ("column", "first_order", "first_ids", "then_ids"),
    [
        ("clip", "ascending", ["clip_0000", "clip_0001"], ["clip_0119", "clip_0118"]),
        # 2 comes before 10.
        ("reference", "ascending", ["clip_0000", "clip_0001"], ["clip_0119", "clip_0118"]),
        # CER is descending when the page opens.
        ("CER", "ascending", ["clip_0000", "clip_0001"], ["clip_0007", "clip_0119"]),
        ("WER", "descending", ["clip_0007", "clip_0119"], ["clip_0000", "clip_0001"]),
        ("seconds", "descending", ["clip_0017", "clip_0034"], ["clip_0000", "clip_0103"]),
        # A clip without confidence comes last both ways.
        ("confidence", "descending", ["clip_0000", "clip_0001"], ["clip_0119", "clip_0118"]),
    ],
)
def test_every_column_sorts_both_ways(opened, column, first_order, first_ids, then_ids):
    page = opened()
    header = page.locator("#clips th[data-key]").filter(has_text=column).first
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", first_order)
    assert ids(page)[:2] == first_ids
    header.get_by_role("button").click()
    expect(header).to_have_attribute(
        "aria-sort", {"ascending": "descending", "descending": "ascending"}[first_order]
    )
    assert ids(page)[:2] == then_ids
    assert page.locator("[aria-sort]").count() == 1


def test_clips_are_filtered_by_what_is_known_of_them(opened):
    page = opened()
    status = page.get_by_role("status")
    page.get_by_label("First language").last.select_option(label="중국어 (40)")
    expect(status).to_have_text("1–40 of 40 clips, of 120 in all")
    assert ids(page)[0] == "clip_0007" and all(int(name[-4:]) % 3 == 1 for name in ids(page))
    page.get_by_label("CER at least").fill("2.5")  # 100 of 4000
    assert ids(page) == ["clip_0007"] + [f"clip_0{n}" for n in range(118, 99, -3)]
    page.get_by_label("Errors").select_option("problem")
    assert ids(page) == ["clip_0007"]
    expect(page.locator("#rows .badge")).to_have_text("audio missing")
    press(page, "Clear")
    expect(status).to_have_text("1–50 of 120 clips")
    page.get_by_label("Errors").select_option("correct")
    assert ids(page) == ["clip_0000"]
    assert page.locator("#filters select").count() == 2  # all clips have one task


@pytest.mark.parametrize(
    "words",
    ["clip_0023", "23번", "문 23번 장입", unicodedata.normalize("NFD", "오늘는 23번"), "CLIP_0023"],
)
def test_id_reference_and_hypothesis_are_searched(opened, words):
    page = opened()
    page.get_by_role("searchbox").fill(words)
    assert ids(page) == ["clip_0023"]
    page.get_by_role("searchbox").fill(words + " nowhere")
    expect(page.get_by_role("status")).to_have_text("No clip matches, of 120 in all")


def test_reference_and_hypothesis_are_aligned_in_two_lines(opened):
    page = opened()
    page.get_by_role("searchbox").fill("clip_0023")
    reference, hypothesis = page.locator("#rows .text").all()
    assert reference.locator("mark, del, ins").all_inner_texts() == ["은", "."]
    assert hypothesis.locator("mark, del, ins").all_inner_texts() == ["는", "␣"]
    # Each line has a gap for what only the other has, so that equal characters are aligned.
    assert (
        reference.locator(".gap").text_content() == "␣"
        and hypothesis.locator(".gap").text_content() == "."
    )
    assert reference.bounding_box()["width"] == pytest.approx(
        hypothesis.bounding_box()["width"], abs=1
    )
    # They differ without colour too.
    for name, decoration in {"mark": "wavy", "del": "line-through", "ins": "underline"}.items():
        assert decoration in page.locator(f"#rows {name}").first.evaluate(
            "e => getComputedStyle(e).textDecoration"
        )


def test_a_confusion_shows_its_language_and_leads_to_its_clip(opened):
    page = opened()
    page.get_by_role("searchbox").fill("clip_0023")
    page.get_by_role("link", name="clip clip_0003").click()
    expect(page.locator("#clip-3")).to_be_focused()
    expect(page.get_by_role("searchbox")).to_have_value("")
    page.locator("#first-languages").select_option(label="베트남어")
    assert [map.is_visible() for map in page.locator(".confusions").all()] == [False, True]


def test_an_address_may_name_a_clip(opened):
    expect(opened(fragment="#clip-2").locator("#clip-2")).to_be_focused()


@pytest.mark.parametrize("name", ["linked", "embedded"])
def test_a_clip_can_be_heard(opened, name):
    page = opened(name)
    player = page.get_by_label("audio of clip_0001" if name == "embedded" else "audio of clip_0119")
    player.focus()
    page.keyboard.press("Space")
    page.wait_for_function("player => player.currentTime > 0", arg=player.element_handle())
    other = page.locator("audio").last
    other.click(position={"x": 18, "y": 18})
    page.wait_for_function("other => other.currentTime > 0", arg=other.element_handle())
    assert player.evaluate("player => player.paused")  # one at a time


def test_three_thousand_clips_open(opened):
    page = opened("large")
    expect(page.get_by_role("status")).to_have_text("1–50 of 3,000 clips")
    assert len(ids(page)) == 50
    page.get_by_role("searchbox").fill("2999번")
    assert ids(page) == ["clip_2999"]


def test_the_keyboard_reaches_search_and_sorting(opened):
    page = opened()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the clips")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("문장")
    button = page.locator("th[data-key=wer] button")
    for _ in range(20):
        page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    assert button.evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("th[data-key=wer]")).to_have_attribute("aria-sort", "descending")


@pytest.mark.parametrize("name", ["linked", "hostile", "empty"])
def test_a_phone_shows_the_page_without_scrolling_sideways(opened, name):
    page = opened(name, viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("scripted", [True, False])
def test_a_caption_stays_in_sight_while_its_table_scrolls(opened, scripted):
    page = opened(viewport={"width": 390, "height": 740}, java_script_enabled=scripted)
    tables = page.locator(".wide:has(caption)").all()
    assert len(tables) >= 2
    for wide in tables:
        caption = wide.locator("caption")
        for end in ("0", "e.scrollWidth"):
            wide.evaluate(f"e => e.scrollTo({end}, 0)")
            box = caption.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 390, caption.inner_text()


@pytest.mark.parametrize(("width", "is_hinted"), [(390, [True, False]), (1200, [False, False])])
def test_the_page_of_experiments_says_where_a_table_scrolls(
    visit, experiments, tmp_path, width, is_hinted
):
    (block,) = experiments["blocks"]
    narrow = {**block, "columns": block["columns"][:2], "rows": [row[:2] for row in block["rows"]]}
    content = experiments_page(experiments | {"blocks": [block, narrow]})
    (tmp_path / "experiments.html").write_text(content, encoding="utf-8")
    page = visit(tmp_path / "experiments.html", "", viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    tables = page.locator(".wide").all()
    hints = [table.evaluate("e => getComputedStyle(e, '::before').display") for table in tables]
    assert [hint != "none" for hint in hints] == is_hinted
    content = tables[0].evaluate("e => getComputedStyle(e, '::before').content")
    assert "scroll sideways · 옆으로 밀어서 보기" in content


def test_the_page_is_dark_where_the_reader_wants_it(opened):
    colours = {}
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        text = page.evaluate("getComputedStyle(document.querySelector('figure text')).fill")
        colours[scheme] = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, text)]
    assert colours["light"][0] > 700 and colours["dark"][0] < 100
    assert colours["light"][1] < colours["dark"][1]  # a chart follows


def test_hostile_data_do_nothing(opened, hostile_text):
    page = opened("hostile")
    assert len(ids(page)) == 5 and ids(page)[0] == hostile_text + "U+202E"
    assert (
        page.locator("script").count() == 3
        and page.locator("b:not(.map b):not(.most b)").count() == 0
    )
    expect(page.locator("svg text").filter(has_text="<script>alert(").first).to_be_visible()


def test_without_javascript_all_but_the_clips_can_be_read(opened):
    page = opened(java_script_enabled=False)
    expect(page.get_by_text("The table of clips needs JavaScript")).to_be_visible()
    expect(page.locator("#clips table")).to_be_hidden()
    assert [map.is_visible() for map in page.locator(".confusions").all()] == [True, True]


def test_a_page_without_clips_opens(opened):
    expect(opened("empty").get_by_role("status")).to_have_text("No clip matches")
