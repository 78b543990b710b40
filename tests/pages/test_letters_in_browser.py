"""Letters, pictures, several models and the CSV file of the page, in a real browser."""

import csv
import io

import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

from korean_asr.pages.evaluation_page import evaluation_page

pytestmark = pytest.mark.pipeline

SCORES = (6.5, 1.0, -1.0, -3.25)  # one for each shade
LATE_S = 0.4  # a busy machine stops a player late
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAA"
    "AABJRU5ErkJggg=="
)
CONTRAST = """letter => {
  const luminance = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number)
    .map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const style = getComputedStyle(letter);
  const [low, high] = [style.color, style.backgroundColor].map(luminance).sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}"""


def timed(text, values):
    """Each letter takes 0.1 s, and they start half a second apart."""
    characters = [character for character in text if character != " "]
    return [
        [character, n / 2, n / 2 + 0.1, values[n % len(values)]]
        for n, character in enumerate(characters)
    ]


def clip(number, text="가나 다라", pred_text="가나 나라.", cer=0.5):
    return {
        "id": f"clip_{number}",
        "duration": 3.0,
        "text": text,
        "pred_text": pred_text,
        "cer": cer - number / 100_000,
        "wer": cer,
        "letters": {
            "reference": timed(text, SCORES),
            "hypothesis": timed(pred_text, (0.912,)),
        },
    }


def other(row, pred_text, cer):
    letters = row["letters"] | {"hypothesis": timed(pred_text, (0.5,))}
    return row | {"pred_text": pred_text, "cer": cer, "letters": letters}


@pytest.fixture(scope="session")
def pages(tmp_path_factory, hostile_text):
    """Write a page of one model, of two, of 3,000 clips, and of hostile data."""
    folder = tmp_path_factory.mktemp("letters")
    soundfile.write(folder / "a.wav", 0.1 * np.sin(np.arange(160_000) / 10), 16_000)
    # The second clip is cut out of the same file at 5 s.
    rows = [clip(number) for number in range(60)]
    audio = ["a.wav", "a.wav#t=5.0000,8.0000", *["a.wav"] * 58]
    picture = {"duration": 3.0, "spectrogram": PIXEL, "waveform": [0, 100, 50]}
    summary = {"corpus": "korean", "model": "mine"}
    others = [other(row, "가나 나라." if n else "가나 다라", 0.6) for n, row in enumerate(rows)]
    bad_name = hostile_text + "</script>\u2028\u202e=cmd"
    bad = [clip(n, bad_name, "=2+5\"'</script>\u2028") | {"id": bad_name} for n in range(3)]
    many = [clip(n, "가나다라마바사 " * 3, "가나다라마바 " * 3) for n in range(3000)]
    for name, page in {
        "one": evaluation_page(summary, rows, audio, pictures={0: picture, 1: picture}),
        "two": evaluation_page(summary, rows, audio, False, [("other", others)], {0: picture}),
        "many": evaluation_page(summary, many, ["a.wav"] * 3000),
        "bad": evaluation_page(
            summary | {"model": bad_name},
            bad,
            [bad_name] * 3,
            False,
            [(bad_name, bad)],
            {0: picture},
        ),
    }.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture
def opened(visit, pages):
    return lambda name="one", **options: visit(pages / f"{name}.html", **options)


def letter(page, number, line=0, row=0):
    return page.locator(f"#clip-{row} .text").nth(line).locator(".letter").nth(number)


def stopped(page, row=0):
    player = page.locator(f"#clip-{row} audio").element_handle()
    page.wait_for_function("player => player.currentTime > 0 && player.paused", arg=player)
    return player.evaluate("player => player.currentTime")


@pytest.mark.parametrize(
    ("row", "line", "number", "starts", "ends"),
    [
        (0, 0, 2, 0.9, 1.2),  # the third letter of the reference, 0.1 s around 1.0-1.1 s
        (0, 1, 1, 0.4, 0.7),
        (0, 0, 0, 0.0, 0.2),
        (1, 0, 2, 5.9, 6.2),  # of a clip that is cut out of a file
    ],
)
def test_a_click_on_a_letter_plays_it_and_no_more(opened, row, line, number, starts, ends):
    page = opened()
    page.evaluate(
        """() => { window.sought = []; document.addEventListener(
        "seeking", (event) => sought.push(event.target.currentTime), true); }"""
    )
    letter(page, number, line, row).click()
    assert ends - 0.05 < stopped(page, row) < ends + LATE_S
    if starts:
        assert page.evaluate("sought[0]") == pytest.approx(starts, abs=0.02)


def test_with_shift_playing_goes_on(opened):
    page = opened()
    letter(page, 1).click(modifiers=["Shift"])
    player = page.locator("#clip-0 audio").element_handle()
    page.wait_for_function("player => player.currentTime > 1.2", arg=player)
    assert not player.evaluate("player => player.paused")
    # What is heard is marked, in the picture too.
    page.wait_for_function("() => document.querySelectorAll('.now').length === 4")
    letter(page, 0).click()
    assert stopped(page) < 0.2 + LATE_S


def test_a_letter_of_a_picture_plays_too(opened):
    page = opened()
    page.locator(".picture .letter").nth(1).click()
    assert 0.65 < stopped(page) < 0.7 + LATE_S


def test_a_letter_says_its_times_and_its_score(opened):
    page = opened()
    titles = [letter(page, number).get_attribute("title") for number in range(4)]
    assert titles[0] == "가 · 0.00–0.10 s · listener's score 6.50"
    assert titles[3] == "라 · 1.50–1.60 s · listener's score −3.25"
    assert letter(page, 0, 1).get_attribute("title") == "가 · 0.00–0.10 s · posterior 0.912"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shades_can_be_told_apart_and_read(opened, scheme):
    page = opened(color_scheme=scheme)
    legend = page.locator(".scores .letter")
    for letters in (page.locator("#clip-0 .text").first.locator(".letter"), legend):
        shades = [one.get_attribute("data-shade") for one in letters.all()]
        assert shades == ["0", "1", "2", "3"]
        shaded = letters.all()[1:]
        assert all(one.evaluate(CONTRAST) >= 4.5 for one in shaded)
        looks = [
            one.evaluate("e => getComputedStyle(e).backgroundColor + getComputedStyle(e).boxShadow")
            for one in letters.all()
        ]
        assert len(set(looks)) == 4


def test_both_models_stand_below_each_other_and_can_be_compared(opened):
    page = opened("two")
    assert page.locator("#clip-0 .lines > .small").all_inner_texts() == ["ref", "A", "B"]
    lines = page.locator("#clip-0 .text")
    assert [line.locator(".letter").count() for line in lines.all()] == [4, 5, 4]
    # A wrote a full stop; the others have a gap there.
    assert [line.locator(".gap").count() for line in lines.all()] == [1, 0, 1]
    status = page.get_by_role("status")
    page.get_by_label("Models").select_option("differ")
    expect(status).to_have_text("1–1 of 1 clips, of 60 in all")
    page.get_by_label("Models").select_option("better")
    expect(status).to_have_text("1–50 of 60 clips")
    page.get_by_label("Models").select_option("worse")
    expect(status).to_have_text("No clip matches, of 60 in all")


def test_a_picture_has_each_letter_at_its_time(opened):
    page = opened(viewport={"width": 1200, "height": 900})
    picture = page.locator(".picture").first
    sound = picture.locator("image").bounding_box()
    for number, name in enumerate("가나다라"):
        shown = picture.locator(".letter").nth(number)
        assert shown.locator("text").text_content() == name
        box = shown.locator("text").bounding_box()
        middle = box["x"] + box["width"] / 2
        assert middle == pytest.approx(sound["x"] + sound["width"] * (number / 2 + 0.05) / 3, abs=2)


@pytest.mark.parametrize(("width", "is_hinted"), [(390, True), (1200, False)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_picture_scrolls_by_itself_and_says_so(opened, width, is_hinted, scheme):
    for name in ("one", "two", "bad"):
        page = opened(name, viewport={"width": width, "height": 800}, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
    picture = opened(viewport={"width": width, "height": 800}).locator(".picture").first
    picture.scroll_into_view_if_needed()
    hint = picture.evaluate("e => getComputedStyle(e, '::before').content")
    assert ("scroll sideways" in hint) == is_hinted
    assert picture.evaluate("e => e.scrollWidth > e.clientWidth + 1") == is_hinted


def test_what_is_chosen_is_saved_for_excel(opened):
    page = opened("two")
    page.get_by_role("searchbox").fill("clip_5")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    assert download.value.suggested_filename == "korean_clips.csv"
    content = download.value.path().read_bytes()
    assert content.startswith(b"\xef\xbb\xbf") and content.endswith(b"\r\n")
    head, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    assert head[:6] == ["id", "reference", "hypothesis A: mine", "hypothesis B: other"] + [
        "cer A: mine",
        "cer B: other",
    ]
    # In the order of the table, and of all its pages.
    assert [row[0] for row in rows] == ["clip_5", *(f"clip_{n}" for n in range(50, 60))]
    assert rows[0][1:4] == ["가나 다라", "가나 나라.", "가나 나라."]


def test_no_cell_of_the_csv_file_is_a_formula(opened, hostile_text):
    page = opened("bad")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    rows = list(csv.reader(io.StringIO(download.value.path().read_text(encoding="utf-8-sig"))))
    assert rows[1][1] == hostile_text + "</script>\u2028\u202e=cmd"
    assert rows[1][2] == "'=2+5\"'</script>\u2028"
    values = ["=1", "+1", "-1", "@a", "\t=1", " =1", "＝1", "a=1", 1, None]
    cells = page.evaluate("values => values.map((value) => csv.fileOf([[value]]))", values)
    shown = [next(csv.reader([cell.removeprefix("\ufeff")]))[0:1] for cell in cells]
    assert shown == [["'=1"], ["'+1"], ["'-1"], ["'@a"], ["'\t=1"], ["' =1"]] + [
        ["'＝1"],
        ["a=1"],
        ["1"],
        [],
    ]


@pytest.mark.parametrize(("following", "previous"), ["jk", "ㅓㅏ"])
def test_j_and_k_go_through_the_clips_and_space_plays(opened, following, previous):
    page = opened()
    press = """key => document.activeElement.dispatchEvent(
        new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }))"""
    page.evaluate(press, following)
    expect(page.locator("#clip-0")).to_be_focused()
    page.evaluate(press, following)
    page.evaluate(press, following)
    page.evaluate(press, previous)
    expect(page.locator("#clip-1")).to_be_focused()
    page.keyboard.press("Space")
    player = page.locator("#clip-1 audio").element_handle()
    page.wait_for_function("player => player.currentTime > 5", arg=player)
    page.keyboard.press("Space")
    assert player.evaluate("player => player.paused")
    # The page turns behind its last clip.
    for _ in range(49):
        page.evaluate(press, following)
    expect(page.locator("#clip-50")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("51–60 of 60 clips")
    # In a field the keys write.
    page.get_by_role("searchbox").fill("")
    page.get_by_role("searchbox").press("j")
    expect(page.get_by_role("searchbox")).to_have_value("j")


def test_arrows_go_through_the_letters_and_enter_plays(opened):
    page = opened()
    letter(page, 0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(letter(page, 2)).to_be_focused()
    page.keyboard.press("Enter")
    assert 1.15 < stopped(page) < 1.2 + LATE_S
    # Of each line one letter is on the way of the Tab key.
    assert page.locator("#clip-0 .text [tabindex='0']").count() == 2


def test_three_thousand_clips_with_letters_open_within_two_seconds(opened, pages):
    assert (pages / "many.html").stat().st_size < 15_000_000
    page = opened("many")
    # Script, style and layout, at the best of three: other programs slow them too.
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    work = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
    totals = []
    for _ in range(3):
        page.reload()
        expect(page.get_by_role("status")).to_have_text("1–50 of 3,000 clips")
        metrics = session.send("Performance.getMetrics")["metrics"]
        totals.append(sum(metric["value"] for metric in metrics if metric["name"] in work))
    assert 0 < min(totals) < 2


def test_hostile_letters_and_names_stay_text(opened, hostile_text):
    page = opened("bad")
    assert page.locator("script").count() == 3
    assert page.locator("#clips b:not(.models b)").count() == 0
    shown = page.locator("#clip-0 .text").first.text_content()
    assert "<script>alert(1)</script>" in shown and "U+2028" in shown
    assert hostile_text in page.locator(".models").text_content()
    assert "U+202E" in letter(page, len(hostile_text.replace(" ", "")) + 10).get_attribute("title")
