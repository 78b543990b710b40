import copy
import re
import tarfile
import time
import unicodedata

import pytest
import soundfile

from korean_asr.pages.preprocessing_page import marked, preprocessing_page

REASONS = {"masked": "personal data is masked · 비식별", "empty": "no text is left · 글자 없음"}
KOREAN = {
    "folder": "/data/한국어",
    "settings": {"side": "A", "order": "spelling-first", "speaker": "A", "mixed_turns": "select"},
    "labels": {"n_files": 17, "sha256": "ab" * 32},
    "n_clips": 24_188,
    "hours": 31.1523,
    "n_rejected": 812,
    "reasons": {"masked": 609, "empty": 203},
    "rules": {"tag": 3001, "dual": 1250},
    "converted": {"8,000 Hz -> 16,000 Hz": 404},
    "examples": {
        "reasons": {
            "masked": [{"id": "dialog_1", "raw": "@이름1 씨가 왔어"}],
            "empty": [{"id": "dialog_2", "raw": ""}],
        },
        "rules": {
            "tag": [{"id": "dialog_3", "before": "b/ 자 가자", "after": " 자 가자"}],
            "dual": [{"id": "dialog_4", "before": "(3월)/(삼 월)에 가", "after": "3월에 가"}],
        },
    },
    "durations": {"step": 1.0, "counts": [0, 407, 2033, 0], "above": 21},
    "rates": {"step": 0.5, "counts": [1, 0, 62, 505, 0, 0], "above": 0},
    "speakers": {"n": 61, "n_unknown": 77, "clips": {"VN0001": 140, "VN0002": 35}},
    "first_languages": {"베트남어": 140, "중국어": 36},
    "vocabulary": {
        "base_model": "kresnik/wav2vec2-large-xlsr-korean",
        "added": ".,?!",
        **{
            "n_labels": 240,
            "n_touched": 31,
            "n_characters": 4100,
            "n_outside": 60,
            "lowest_cer": 0.0146,
            "advice": "Try --side auto. · --side auto를 사용해 보세요.",
            "n_kinds": 23,
        },
        "characters": [
            {"character": "꿇", "n": 12, "n_clips": 10, "added": False},
            {"character": "?", "n": 93, "n_clips": 88, "added": True},
        ],
    },
    "fastest": [
        {"id": "dialog_5", "duration": 1.47, "rate": 16.83, "text": "공항까지 얼마나 걸릴까?"}
    ],
    "slowest": [{"id": "dialog_6", "duration": 19.2, "rate": 0.52, "text": "응."}],
    "notes": ["1 archive was read. · 압축 파일 1개"],
    "sha256": "cd" * 32,
}
RULES = {
    "tag": "Tags of breath and noise are removed · 숨소리 태그를 지웁니다.",
    "dual": "One side of `(A)/(B)` is kept · 한쪽 전사만 남깁니다.",
}


@pytest.fixture
def korean():
    return copy.deepcopy(KOREAN)


def page_of(corpus, name="korean"):
    return page_of_all({name: corpus})


def page_of_all(summary):
    return preprocessing_page(summary, REASONS, RULES)


def test_the_page_needs_no_other_file_and_no_script(korean, parsed):
    page = page_of(korean)
    links = [
        value
        for name, value in parsed(page).attributes
        if name in ("src", "href", "srcset", "data")
    ]
    assert links == []
    assert not re.search("<script|<link|@import|url\\(|https?:", page)


def test_every_tag_is_closed_in_its_order_and_every_id_is_there_once(korean, parsed, hostile_text):
    balance = parsed(page_of_all({"korean": korean, "foreign": korean, hostile_text: korean}))
    assert balance.wrong == []
    ids = [value for name, value in balance.attributes if name == "id"]
    assert ids == ["corpus-1", "corpus-2", "corpus-3"]
    assert [value for name, value in balance.attributes if name == "href"] == [
        f"#{name}" for name in ids
    ]


def test_the_same_summary_gives_the_same_page_and_is_left_as_it_was(korean):
    assert page_of(korean) == page_of(korean)
    assert korean == KOREAN


@pytest.mark.parametrize(
    "shown",
    [
        "24,188",
        "31.15",
        "812 3.2 %",  # 812 of 25,000
        "--side A --order spelling-first --speaker A --mixed-turns select",
        "17 label files",
        "ab" * 32,
        "cd" * 32,
        "1 archive was read. 압축 파일 1개",
        "masked 609 75.0 %",
        "personal data is masked 비식별",
        "empty 203 25.0 %",
        "@이름1 씨가 왔어",
        "— dialog_2",
        "tag 3,001 12.0 % Tags of breath and noise are removed 숨소리 태그를 지웁니다.",
        "dual 1,250 5.0 % One side of (A)/(B) is kept 한쪽 전사만 남깁니다.",
        "b/ 자 가자 자 가자 dialog_3",
        "(3월)/(삼 월)에 가 3월에 가 dialog_4",
        "8,000 Hz -> 16,000 Hz 404",
        "1 to 2 s: 407",
        "2 to 3 s: 2,033",
        "4 s or more: 21",
        "2,461 clips, most often 2 to 3 s (2,033), 21 of 4 s or more",
        "0 to 0.5 a second: 1",
        "1 to 1.5 a second: 62",
        "568 clips, most often 1.5 to 2 a second (505)",
        "61 speakers; the 2 with the most clips are shown; 77 clips without a speaker",
        "VN0001 140",
        "VN0002 35",
        "베트남어 140",
        "중국어 36",
        "kresnik/wav2vec2-large-xlsr-korean cannot write 60 of 4,100 characters (23 kinds), in 31",
        "of 240 labels (12.9 %)",
        "Lowest reachable CER: 0.0146",
        "--side auto",
        "꿇 10 clips 12 times",
        "The 1 most frequent are shown",
        "the recipe adds them: .,?!",
        "? 88 clips 93 times",
        "공항까지 얼마나 걸릴까? dialog_5 16.83 1.47",
        "응. dialog_6 0.52 19.20",
    ],
)
def test_every_number_and_every_example_is_shown(korean, shown, words):
    assert shown in words(page_of(korean))


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("b/ 자 가자", " 자 가자", ("<del>b/</del> 자 가자", " 자 가자")),
        (
            "(3월)/(삼 월)에 가",
            "3월에 가",
            ("<del>(</del>3월<del>)/(삼 월)</del>에 가", "3월에 가"),
        ),
        ("글쎄... 몰라", "글쎄  몰라", ("글쎄<del>...</del> 몰라", "글쎄<ins> </ins> 몰라")),
        ("전기\u200b차", "전기차", ("전기<del><samp>U+200B</samp></del>차", "전기차")),
        # Decomposed Hangul looks the same; what differs is marked.
        (unicodedata.normalize("NFD", "각"), "각", ("<del>각</del>", "<ins>각</ins>")),
        ("b/", "", ("<del>b/</del>", "—")),
    ],
)
def test_what_a_rule_changed_is_marked(korean, before, after, shown):
    korean["examples"]["rules"] = {"tag": [{"id": "x", "before": before, "after": after}]}
    lines = re.findall('<p class="text[ a-z]*" lang="ko">(.*)</p>\n', page_of(korean))
    assert [
        line if before[0] != "\u1100" else unicodedata.normalize("NFC", line) for line in lines[2:4]
    ] == [*shown]


def test_a_long_line_is_cut_to_about_200_characters_around_its_change(korean):
    before, after = "가" * 5000 + "b/" + "나" * 5000, "가" * 5000 + "나" * 5000
    korean["examples"]["rules"] = {"tag": [{"id": "i" * 5000, "before": before, "after": after}]}
    korean["examples"]["reasons"] = {"masked": [{"id": "x", "raw": "다" * 5000}]}
    page = page_of(korean)
    assert f">…{'가' * 60}<del>b/</del>{'나' * 137}…</p>" in page  # 200 with the first …
    assert f">…{'가' * 60}{'나' * 139}…</p>" in page
    assert f">{'다' * 200}…</p>" in page and f">{'i' * 200}…</p>" in page


def test_a_text_that_repeats_itself_is_marked_at_once():
    started = time.process_time()
    marked("나 " * 1000, "나" * 1000)
    # It takes 3 ms; with difflib it took 2 s.
    assert time.process_time() - started < 0.5


def test_text_from_the_corpus_stays_text(korean, parsed, hostile, hostile_text):
    corpus = hostile(korean)
    for key in ("reasons", "rules", "converted", "first_languages"):
        corpus[key][hostile_text] = 5
    corpus["speakers"]["clips"][hostile_text] = 5
    corpus["settings"][hostile_text] = hostile_text
    page = page_of(corpus, hostile_text)
    assert parsed(page).wrong == []
    assert {name for name, _ in parsed(page).attributes} == {
        name for name, _ in parsed(page_of(korean)).attributes
    }
    assert "<script" not in page and "<b \"'>" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 25


def test_what_cannot_be_seen_is_shown_by_its_code_and_the_page_is_utf_8(korean):
    # A file name of unknown bytes has lone surrogates; U+202E reverses the text behind it; U+3164
    # is blank, and a letter.
    korean["folder"] = "/data/\udcc7\ud800"
    korean["speakers"]["clips"] = {"화자\u202e\u3164": 1}
    korean["fastest"][0] |= {"id": "a\x00b\n", "text": "\ufeff밥\u00a0밥"}
    page = page_of(korean, "korean\udcff")
    page.encode()
    for code in ("DCC7", "D800", "DCFF", "202E", "3164", "0000", "000A", "FEFF", "00A0"):
        assert f"<samp>U+{code}</samp>" in page
    assert all(character.isprintable() or character == "\n" for character in page)


def test_without_a_base_model_the_page_says_how_to_see_its_missing_characters(korean, words):
    korean["vocabulary"] = None
    text = words(page_of(korean))
    assert "With --base-model, script 1 shows them here." in text
    assert "Lowest reachable CER" not in text


def test_advice_is_given_where_the_record_holds_one(korean):
    del korean["vocabulary"]["advice"]  # as in a record of an earlier version
    assert "--side auto" not in page_of(korean)
    korean["vocabulary"]["advice"] = None
    assert "--side auto" not in page_of(korean)


def test_nothing_of_a_kind_is_said_in_a_sentence(korean, words):
    korean |= {
        "reasons": {},
        "rules": {},
        "converted": {},
        "first_languages": {},
        "fastest": [],
        "slowest": [],
    }
    korean["durations"] = {"step": 1.0, "counts": [0, 0], "above": 0}
    korean["rates"] = {"step": 0.5, "counts": [], "above": 0}
    korean["speakers"] = {"n": 0, "n_unknown": 5, "clips": {}}
    korean["vocabulary"] |= {
        "n_outside": 0,
        "n_touched": 0,
        "n_kinds": 0,
        "lowest_cer": 0.0,
        "characters": [],
    }
    text = words(page_of(korean | {"n_clips": 0, "n_rejected": 0, "hours": 0.0}))
    for sentence in (
        "No clip was rejected.",
        "No line was changed.",
        "Nothing: every clip is used as it is.",
        "No clip was counted.",
        "The corpus does not name its speakers.",
        "can write all 4,100 characters of 240 labels.",
    ):
        assert sentence in text
    assert "First languages" not in text and "Fastest" not in text


def test_a_table_names_its_columns_and_rows_and_a_chart_its_content(korean):
    page = page_of(korean)
    assert not re.search("<th(?! scope=)[ >]", page)
    assert (
        len(re.findall('role="img"\\s+aria-label="', page)) == page.count('<svg class="chart') == 2
    )
    assert page.count("<html lang=") == 1


# Rejected clips that can be heard


def players_of(page):
    return re.findall('<audio controls preload="none" src="(.*?)"', page)


def with_audio(corpus, reason, **audio):
    examples = {"reasons": {reason: [{"id": "a", "raw": "가", "audio": audio}]}, "rules": {}}
    return {"korean": corpus | {"examples": examples}}


def page_in(folder, summary):
    return preprocessing_page(summary, REASONS, RULES, folder)


def test_a_rejected_clip_can_be_heard_where_its_audio_is_there(korean, tmp_path):
    name = "\"'><script>alert(1)<\u2028.wav"
    soundfile.write(tmp_path / name, [0.0] * 800, 16_000)
    page = page_in(tmp_path, with_audio(korean, "masked", audio_filepath=name))
    link = "%22%27%3E%3Cscript%3Ealert%281%29%3C%E2%80%A8.wav"
    assert players_of(page) == [link]
    cut = {"audio_filepath": name, "offset": 0.01, "duration": 0.02}
    page = page_in(tmp_path, with_audio(korean, "masked", **cut))
    assert players_of(page) == [link + "#t=0.0100,0.0300"]
    assert "media-src 'self' file: data:" in page and "<script" not in page


@pytest.mark.parametrize(
    "audio",
    [
        {"audio_filepath": "moved.wav"},
        {"audio_filepath": 5},
        {"audio_filepath": "a.wav", "audio_offset": "x"},
        {},
        {"audio_filepath": "tar://a.wav::moved.tar", "audio_offset": 0, "audio_bytes": 9},
    ],
)
def test_a_rejected_clip_without_its_audio_has_no_player(korean, tmp_path, audio):
    assert players_of(page_in(tmp_path, with_audio(korean, "empty", **audio))) == []


@pytest.mark.parametrize(("reason", "n_players"), [("empty", 1), ("masked", 0)])
def test_a_clip_in_an_archive_is_embedded_unless_it_may_name_people(
    korean, tmp_path, reason, n_players
):
    soundfile.write(tmp_path / "a.wav", [0.0] * 800, 16_000)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "a.wav", "a.wav")
    with tarfile.open(tmp_path / "x.tar") as archive:
        (member,) = archive
    summary = with_audio(
        korean,
        reason,
        audio_filepath="tar://a.wav::x.tar",
        audio_offset=member.offset_data,
        audio_bytes=member.size,
    )
    players = players_of(page_in(tmp_path, summary))
    assert len(players) == n_players
    assert all(player.startswith("data:audio/wav;base64,UklGR") for player in players)
