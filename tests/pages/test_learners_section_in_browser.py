"""The section about learners in a real browser, on a phone."""

import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

from korean_asr.pages.evaluation_page import evaluation_page

pytestmark = pytest.mark.pipeline

LATE_S = 0.4  # a busy machine stops a player late
# Ids of a corpus are long, and have no place to break.
IDS = [name + "_20210809" * 4 for name in ("clip_a", "clip_b")]
CLIP = {"id": IDS[1], "syllable": "자", "start": 0.5, "end": 0.56, "score": -4.2}
JAMO = {"jamo": "ㅈ", "n": 4, "of": 9, "natives": {"n": 1, "of": 50}, "clips": [CLIP]}
PART = {"n": 830, "below": 200, "share": 0.241, "interval": [0.2, 0.28], "drawn": "41 speakers"}
RATES = {"n": 60, "kept": 31, "repaired": 26, "else": 3, "rate": 0.4333, "interval": [0.3, 0.5]}
SOUND = {
    "position": "onset",
    "reference": "ㅈ",
    "n": 3,
    "of": 8,
    "heard_as": [["ㅉ", 2], ["ㅊ", 1]],
    "clips": [IDS[0]],
    "natives": {"n": 2, "of": 100},
}
CARD = {"first_language": "베트남어", "n_clips": 6, "rate": 0.122, "interval": [0.05, 0.2]}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, foreign_summary, foreign_rows, hostile_text):
    """A page with a player for each clip, and five hundred report cards."""
    folder = tmp_path_factory.mktemp("learners")
    soundfile.write(folder / "a.wav", 0.1 * np.sin(np.arange(32_000) / 10), 16_000)
    rows = [row | {"id": name} for row, name in zip(foreign_rows, IDS, strict=True)]
    long_text = hostile_text + "가나다라마바사" * 30
    slips = [{"id": row["id"], "prompt": long_text, "label": "", "model": "가"} for row in rows]
    positions = dict.fromkeys(("onset", "nucleus", "coda"), [JAMO] * 10)
    part = PART | {"positions": positions}
    speakers = ["VN0001", hostile_text, *(f"VN{n:04}" for n in range(2, 500))]
    close = {"lower_by": 0.01, "interval": [-0.1, 0.1], "decided": False}
    side = {"cer": RATES, "cer_no_punctuation": RATES, "repair": RATES}
    summary = foreign_summary | {
        "side_by_side": [
            side | {"model": "whisper", "differences": {}},
            side | {"model": hostile_text, "differences": dict.fromkeys(("cer",), close)},
        ],
        "compared_with": {"model": "whisper", "differences": {"cer": close, "swer": close}},
        "repair": RATES | {"slips": {"repaired": slips}},
        "syllables": {
            "threshold": -1.25,
            "natives": {"n": 9000, "share": 0.0499},
            "all": part,
            "first_languages": dict.fromkeys(("베트남어", hostile_text, long_text), part),
        },
        "report_cards": {
            "min_clips": 5,
            "score": "cer_no_punctuation",
            "natives": {},
            "cards": [CARD | {"speaker": name, "sounds": [SOUND] * 3} for name in speakers],
        },
    }
    (folder / "page.html").write_text(
        evaluation_page(summary, rows, ["a.wav", "a.wav"]), encoding="utf-8"
    )
    return folder / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_learners_and_plays_their_clips(browser, page_file, scheme):
    complaints = []
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.goto(page_file.as_uri())
    section = page.locator("#learners")
    expect(section.get_by_role("heading", name="Repair rate")).to_be_visible()
    # No table makes the whole page wider than the phone.
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # A card is closed until somebody opens it.
    assert section.locator(".card").count() == 500
    link = section.locator(".card").first.get_by_role("link", name="clip clip_a_").first
    expect(link).to_be_hidden()
    section.locator(".card summary").first.tap()
    expect(link).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    link.tap()
    expect(page.locator("#clip-0")).to_be_focused()
    player = page.locator("#clip-0 audio").element_handle()
    player.evaluate("player => player.play()")
    page.wait_for_function("player => player.currentTime > 0", arg=player)
    syllable = section.locator(".jamo").first.get_by_role("link", name="자, clip clip_b_").first
    syllable.tap()
    expect(page.locator("#clip-1")).to_be_focused()
    # The syllable alone, 0.5-0.56 s and 0.1 s around it.
    player = page.locator("#clip-1 audio").element_handle()
    page.wait_for_function("player => player.currentTime > 0 && player.paused", arg=player)
    assert 0.6 < player.evaluate("player => player.currentTime") < 0.66 + LATE_S
    assert complaints == []
    context.close()
