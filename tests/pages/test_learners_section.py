"""The section about learners on the page of script 4."""

import copy
import re

import pytest

from korean_asr.pages.evaluation_page import evaluation_page

AUDIO = ["a.wav", None]
RATES = {
    "n": 1040,
    "kept": 31,
    "repaired": 1006,
    "else": 3,
    "rate": 0.9673,
    "interval": [0.95, 0.98],
    "n_clips": 900,
    "drawn": "41 speakers",
    "n_other_sentences": 2,
    "n_other_writing": 1,
}
NO_RATE = RATES | {"n": 0, "rate": None, "interval": None}
SLIP = {"id": "clip_a", "prompt": "었", "label": "어", "model": "었"}
JAMO = {
    "jamo": "ㅓ",
    "n": 4,
    "of": 9,
    "natives": {"n": 1, "of": 50},
    "clips": [
        {"id": "clip_b", "syllable": "먹", "start": 0.5, "end": 0.56, "score": -4.2},
        {"id": "elsewhere", "syllable": "서", "start": 0.1, "end": 0.2, "score": -3.0},
    ],
}
SHARES = {
    "n": 830,
    "below": 200,
    "share": 0.241,
    "interval": [0.2, 0.28],
    "drawn": "41 speakers",
    "n_unknown": 3,
    "positions": {
        "onset": [],
        "nucleus": [JAMO],
        "coda": [JAMO | {"jamo": "", "natives": {"n": 0, "of": 0}}],
    },
}
SOUND = {
    "position": "coda",
    "reference": "ㄹ",
    "n": 3,
    "of": 8,
    "rate": 0.375,
    "heard_as": [["ㄴ", 2], ["", 1]],
    "clips": ["clip_a", "elsewhere"],
    "natives": {"n": 2, "of": 100, "rate": 0.02},
}
CARD = {
    "speaker": "VN0001",
    "first_language": "베트남어",
    "topik_level": "4",
    "n_clips": 6,
    "errors": 5,
    "reference_length": 41,
    "rate": 0.122,
    "interval": [0.05, 0.2],
    "drawn": "6 clips",
    "sounds": [SOUND, SOUND | {"natives": None}],
}
LEARNERS = {
    "repair": RATES | {"slips": {"kept": [], "repaired": [SLIP], "else": [SLIP | {"model": None}]}},
    "syllables": {
        "threshold": -1.25,
        "natives": {"n": 9000, "below": 449, "share": 0.0499, "n_clips": 800, "manifest": "t"},
        "all": SHARES,
        "first_languages": {"베트남어": SHARES, "중국어": SHARES | {"n": 0, "positions": {}}},
    },
    "report_cards": {
        "min_clips": 5,
        "score": "cer_no_punctuation",
        "n_speakers": 7,
        "natives": {"n_clips": 800, "manifest": "t"},
        "cards": [CARD, CARD | {"speaker": "VN0002", "sounds": []}],
    },
}


@pytest.fixture
def learners(summary):
    """A foreign.json with all that is said of learners, to be changed."""
    for name, part in summary["groups"]["first_language"].items():
        part["repair"] = copy.deepcopy(RATES if name == "베트남어" else NO_RATE)
    return summary | copy.deepcopy(LEARNERS)


def section_of(page):
    return page.partition('<section id="learners">')[2].partition("</section>")[0]


@pytest.mark.parametrize(
    "shown",
    [
        "Repair rate 교정률",
        "all 전체 1,040 31 1,006 3 0.9673 0.9500–0.9800 베트남어 1,040 31",
        "Draws of 41 speakers.",
        "Repaired 제시문대로 교정 : 1,006",
        "었 어 었 clip_a",
        "Left out: 2 clips with another sentence, 1 difference of writing",
        "is below -1.25, as it is for 5.0 % of the 9,000 syllables of natives.",
        "베트남어 830 200 0.2410 0.2000–0.2800",
        "Nucleus 중성 below 미만 natives 한국어 화자 hear 듣기 ㅓ 44.4 % 4 of 9 2.0 % 1 of 50 먹",
        "∅ 44.4 % 4 of 9 — 먹",
        "Speakers of at least 5 clips, most errors first: CER without punctuation",
        "VN0001 베트남어 0.1220 0.0500–0.2000 · 6 clips",
        "ㄹ coda 종성 ㄴ 2 ∅ 1 37.5 % 3 of 8 2.0 % 2 of 100 1",
        "ㄹ coda 종성 ㄴ 2 ∅ 1 37.5 % 3 of 8 — 1",
        "Every sound was heard as it is.",
    ],
)
def test_the_page_shows_what_is_known_of_learners(learners, rows, words, shown):
    assert shown in words("<body>" + section_of(evaluation_page(learners, rows, AUDIO)))


def test_clips_of_the_page_are_linked_and_others_are_not(learners, rows):
    section = section_of(evaluation_page(learners, rows, AUDIO))
    assert set(re.findall('href="#(clip-[^"]*)"', section)) == {"clip-0", "clip-1"}
    assert 'data-start="0.5" data-end="0.56"' in section and "elsewhere" not in section


def test_of_clips_with_one_id_the_first_is_linked(learners, rows):
    section = section_of(evaluation_page(learners, [rows[0], *rows], [None, *AUDIO]))
    assert set(re.findall('href="#(clip-[^"]*)"', section)) == {"clip-0", "clip-2"}


def test_a_language_without_slips_or_syllables_has_no_row(learners, rows):
    assert "중국어" not in section_of(evaluation_page(learners, rows, AUDIO))


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("repair", NO_RATE, "No clip has a prompt that its label differs from"),
        (
            "syllables",
            {"threshold": None, "unknown": "no natives"},
            "Unknown. Run script 3 on this model first.",
        ),
        (
            "report_cards",
            LEARNERS["report_cards"] | {"natives": None},
            "Natives' rates are unknown",
        ),
        ("report_cards", LEARNERS["report_cards"] | {"cards": []}, "No speaker has so many clips."),
    ],
)
def test_what_is_not_known_is_said(learners, rows, words, key, value, shown):
    page = evaluation_page(learners | {key: value}, rows, AUDIO)
    assert shown in words("<body>" + section_of(page))


def test_a_page_about_korean_speakers_has_no_such_section(summary, rows):
    page = evaluation_page(summary, rows, AUDIO)
    assert "learners" not in page.partition("</style>")[2].partition("<script type")[0]


@pytest.mark.parametrize("key", ["repair", "syllables", "report_cards"])
def test_each_part_may_be_missing(learners, rows, parsed, key):
    del learners[key]
    page = evaluation_page(learners, rows, AUDIO)
    assert section_of(page) and parsed(page).wrong == []


def test_hostile_text_of_every_field_stays_text(learners, rows, hostile, hostile_text, parsed):
    poisoned = {key: hostile(learners[key]) for key in LEARNERS}
    # Names of first languages are keys.
    for part in (poisoned["syllables"]["first_languages"], learners["groups"]["first_language"]):
        part[hostile_text] = part["베트남어"]
    rows = [row | {"id": hostile_text + row["id"]} for row in rows]
    page = evaluation_page(learners | poisoned, rows, AUDIO)
    section, found = section_of(page), parsed(page)
    assert found.wrong == [] and "<script" not in section and '<b "' not in section
    assert section.count("alert(1)") > 30
    assert [name for name, _ in found.attributes if name.startswith("on")] == []
    assert page.count("<script") == 3


def test_numbers_that_are_no_numbers_do_not_break_the_page(learners, rows, parsed):
    learners["repair"]["rate"] = learners["syllables"]["all"]["share"] = None
    assert parsed(evaluation_page(learners, rows, AUDIO)).wrong == []
