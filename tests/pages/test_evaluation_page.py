import copy
import json
import re

import pytest
from reading import HOSTILE, Balance, hostile, words

from korean_asr.pages.evaluation_page import aligned, evaluation_page


def counts(rate, interval=None):
    edits = {"substitutions": 1201, "deletions": 302, "insertions": 43, "reference_length": 22_019}
    return {"rate": rate, "interval": interval} | edits


MARKS = {
    "precision": 0.9412,
    "recall": 0.9023,
    "f1": 0.9213,
    "hits": 4101,
    "reference": 4545,
    "hypothesis": 4357,
}
SCORES = {
    "cer": counts(0.0702, [0.0661, 0.0754]),
    "wer": counts(0.2091, [0.1987, 0.2203]),
    "cer_no_punctuation": counts(0.0611),
    "wer_no_punctuation": counts(0.1811),
    "cer_no_space": counts(0.0522, [0.0489, 0.0561]),
    "swer": counts(0.1433),
    "spacing": MARKS | {"interval": [0.9107, 0.9304]},
    "punctuation": {".": MARKS | {"f1": 0.8807}, "?": MARKS | {"f1": 0.7706, "interval": None}},
    "jamo": counts(0.0322)
    | {
        "onset": counts(0.0311),
        "nucleus": counts(0.0244),
        "coda": counts(0.0455),
        "interval": None,
    },
}


def part(n_clips, rate, small=False):
    scores = {"cer": counts(rate, [rate - 0.01, rate + 0.01]), "cer_no_space": counts(rate / 2)}
    return {"n_clips": n_clips, "small": small, "scores": scores}


SUMMARY = {
    "warning": "3 clips were in the training data. · 학습에 쓰인 음성이 3개 있습니다.",
    "rule": "ko-1",
    "corpus": "foreign",
    "model": "wav2vec2_korean_v3",
    "recipe": "v3",
    "manifest": "data/processed/foreign.jsonl",
    "checksums": {"weights": "ab" * 32},
    "versions": {"torch": "2.13.0"},
    "n_clips": 3002,
    "n_unreadable": 2,
    "problems": {"audio missing": 2},
    "duration": 13_110.0,
    "seen_in_training": {"id": 0, "audio": 0, "sentence": 7, "speaker": None},
    "without_seen": {"sentence": {"n_clips": 2995, "scores": {"cer": counts(0.0709), "wer": counts(0.2102)}}},
    "decoding": {"precision": "bfloat16", "rtfx": 61.24, "seconds": 214.1, "n_batches": 187, "padding_waste": 0.0613,
                 "n_processes": 4},
    "lowest_reachable_cer": 0.0123,
    "intervals": {"resampled": "speakers", "n_units": 52, "draws": 1000, "level": 0.95},
    "scores": SCORES,
    "groups": {
        "duration": {"0-2 s": part(401, 0.1234), "2-4 s": part(19, 0.0678, small=True)},
        "first_language": {"베트남어": part(1500, 0.0831), "중국어": part(1502, 0.0612)},
        "gender": {},
        "task": {"낭독": part(3002, 0.0702)},
    },
    "confusions": {
        "all": {
            "onset": [
                {"reference": "ㄹ", "hypothesis": "ㄴ", "n": 31, "of": 310, "kind": "liquid heard as nasal",
                 "clips": ["clip_b", "elsewhere"]},
                {"reference": "ㄷ", "hypothesis": "ㄸ", "n": 12, "of": 480, "kind": None, "clips": ["clip_a"]},
            ],
            "nucleus": [{"reference": "ㅓ", "hypothesis": "ㅗ", "n": 9, "of": 90, "clips": []}],
            "coda": [],
        },
        "베트남어": {"onset": [], "nucleus": [], "coda": []},
    },
    "calibration": {
        "bins": [
            {"confidence": 0.6, "accuracy": 0.5, "n_clips": 10, "n_characters": 100},
            {"confidence": 0.95, "accuracy": 0.9, "n_clips": 90, "n_characters": 900},
        ],
        "error": 0.0551,
    },
    "gap_to_korean": {"scores": {"cer_no_space": {"korean": 0.0311, "foreign": 0.0522, "difference": 0.0211,
                                                  "interval": [0.0177, 0.0246]}}},
    "notes": ["A sample of 3,002. · 3,002개를 뽑았습니다."],
}  # fmt: skip
ROWS = [
    {"id": "clip_a", "audio_filepath": "a.wav", "duration": 1.234, "text": "밥을 먹었다.", "pred_text": "밤을 먹었다",
     "confidence": 0.91234, "cer": 0.285714, "wer": 1.0, "first_language": "중국어", "gender": "여", "speaker": "S1"},
    {"id": "clip_b", "audio_filepath": "b.wav", "duration": 2.0, "text": "가자", "pred_text": "", "problem": "audio missing",
     "cer": 1.0, "wer": 1.0, "first_language": "베트남어", "gender": None, "speaker": "S2"},
]  # fmt: skip
AUDIO = ["audio/%EA%B0%80.wav", None]


@pytest.fixture
def summary():
    return copy.deepcopy(SUMMARY)


@pytest.fixture
def rows():
    return copy.deepcopy(ROWS)


@pytest.fixture(scope="module")
def page():
    return evaluation_page(SUMMARY, ROWS, AUDIO)


def data_of(page):
    """What the page's script reads."""
    return json.loads(
        re.search('<script type="application/json" id="data">(.*?)</script>', page, re.S)[1]
    )


def labels(page):
    return [value for name, value in Balance(page).attributes if name == "aria-label"]


def test_silent_clips_are_counted_where_there_are_some(summary, rows):
    assert "무음" not in evaluation_page(summary | {"n_silent": 0}, rows, AUDIO)
    words = re.sub("<[^>]*>", " ", evaluation_page(summary | {"n_silent": 3}, rows, AUDIO)).split()
    assert words[words.index("무음") + 1] == "3"


@pytest.mark.parametrize(
    ("reference", "hypothesis", "pieces"),
    [
        ("가자", "가자", ["가자"]),
        ("밥을 먹었다.", "밤을 먹었다", [["밥", "밤"], "을 먹었다", [".", ""]]),
        ("가다", "가나다", ["가", ["", "나"], "다"]),
        ("할 수 있다", "할수 있다", ["할", [" ", ""], "수 있다"]),
        ("국물", "궁문", [["국물", "궁문"]]),
        ("가자", "", [["가자", ""]]),
        ("", "가자", [["", "가자"]]),
        ("", "", []),
        ("  가\t자 ", "가 자", ["가 자"]),  # as CER counts it: NFC, and runs of space are one
        ("\u1100\u1161", "가", ["가"]),
    ],
)
def test_both_texts_are_aligned_as_cer_counts_them(reference, hypothesis, pieces):
    assert aligned(reference, hypothesis) == pieces


@pytest.mark.parametrize(
    "shown",
    [
        "Warning: 3 clips were in the training data. 학습에 쓰인 음성이 3개 있습니다. Foreign speakers of Korean",
        "wav2vec2_korean_v3 · recipe v3 · rule ko-1", "data/processed/foreign.jsonl",
        "CER 글자 오류율 0.0702 95 %: 0.0661–0.0754", "WER 어절 오류율 0.2091 95 %: 0.1987–0.2203",
        "fair CER 공정 CER 0.0522 95 %: 0.0489–0.0561",
        "clips 음성 3,002", "minutes 분 218.5", "unreadable 읽지 못한 음성 2", "최저 CER 0.0123", "정밀도 bfloat16", "속도 61.2",
        "95 %, bootstrap of 1,000 draws over 52 speakers", "214.1 s, 187 batches, 6.1 % padding, on 4 processes",
        "audio missing 2 clips", "A sample of 3,002. 3,002개를 뽑았습니다.",
        "문장 부호 제외 0.0611 1,201 302 43 22,019", "sWER: WER with the reference's spacing",
        "word boundaries 어절 경계 0.9412 0.9023 0.9213 0.9107–0.9304 4,101 4,545 4,357", ". 0.9412 0.9023 0.8807", "0.7706",
        "all jamo 모든 자모 0.0322", "Onset 초성 0.0311", "Nucleus 중성 0.0244", "Coda 종성 0.0455 1,201",
        "0.0311 0.0522 0.0211 0.0177–0.0246",
        "sentence 문장 : 7 clips, without them CER 0.0709 , WER 0.2102 on 2,995 clips", "speaker 화자 : not known",
        "0-2 s 401 0.1234 0.1134–0.1334 0.0617", "2-4 s small 적음 19 0.0678", "베트남어 1,500 0.0831", "낭독 3,002",
        "ㄹ 310 31", "ㄹ heard as ㄴ liquid heard as nasal 31 of 310, 10.0 %", "ㅓ heard as ㅗ 9 of 90, 10.0 %",
        "Calibration error: 0.0551", "ab" * 32, "2.13.0",
    ],
)  # fmt: skip
def test_every_number_is_shown(page, shown):
    assert shown in words(page)


def test_the_script_gets_every_clip(page):
    data = data_of(page)
    assert data["fields"] == ["first_language", "gender", "speaker"]
    assert data["values"] == [["베트남어", "중국어"], ["여"], ["S1", "S2"]]
    pieces = [["밥", "밤"], "을 먹었다", [".", ""]]
    assert data["clips"] == [
        ["clip_a", "audio/%EA%B0%80.wav", 1.23, 0.2857, 1.0, 0.912, None, pieces, [1, 0, 0]],
        ["clip_b", None, 2.0, 1.0, 1.0, None, "audio missing", [["가자", ""]], [0, -1, 1]],
    ]


def test_a_field_of_one_value_is_no_filter(page):
    fields = re.findall('<select data-field="(.)">', page)
    assert fields == ["0", "2"]  # all clips with a gender have the same


def test_a_confusion_leads_to_its_clips(page):
    assert re.findall('<a href="#clip-(.*?)"[^>]*>(.*?)</a>', page) == [
        ("1", "1"),
        ("0", "1"),
    ]  # "elsewhere" is no clip here


def test_the_charts_say_their_message(page):
    assert (
        [label for label in labels(page) if ":" in label]
        == [
            "CER by duration: lowest 0.0678 (2-4 s), highest 0.1234 (0-2 s)",
            "Fair CER by first language: lowest 0.0306 (중국어), highest 0.0415 (베트남어)",
            "Accuracy by confidence: confidence is 5.5 points too high on average, 2 bins",  # (10 x 100 + 5 x 900) / 1000
        ]
    )


def test_a_chart_takes_its_colours_from_the_page(page):
    drawings = re.findall("<svg.*?</svg>", page, re.S)
    assert len(drawings) == 3
    for drawing in drawings:
        assert "var(--accent)" in drawing and not re.search("#[0-9a-f]{6}", drawing)


def test_every_tag_is_closed_in_its_order_and_every_id_is_there_once(page):
    parsed = Balance(page)
    assert parsed.wrong == []
    ids = [value for name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {
        value[1:]
        for name, value in parsed.attributes
        if name.endswith("href") and value.startswith("#")
    }
    assert {target for target in targets if not target.startswith("clip-")} <= set(ids)


def test_the_page_asks_for_no_other_file_and_runs_no_script_but_its_own(page):
    links = [
        value
        for name, value in Balance(page).attributes
        if name in ("src", "href", "srcset", "data")
    ]
    assert [link for link in links if not link.startswith("#")] == [
        "data:,"
    ]  # no icon is asked for
    assert not re.search("@import|https?:|//[a-z]+[.]", page)
    assert "innerHTML" not in page and re.search(
        "default-src 'none'.*script-src 'sha256-[^']+' 'sha256-[^']+'; ", page
    )


def test_the_same_results_give_the_same_page_and_are_left_as_they_were(summary, rows):
    assert evaluation_page(summary, rows, AUDIO) == evaluation_page(summary, rows, AUDIO)
    assert (summary, rows) == (SUMMARY, ROWS)


@pytest.mark.parametrize("absent", [None, "missing"])
@pytest.mark.parametrize("key", sorted(SUMMARY))
def test_any_key_may_be_missing(summary, rows, key, absent):
    summary[key] = None
    if absent == "missing":
        del summary[key]
    page = evaluation_page(summary, rows, AUDIO)
    assert Balance(page).wrong == [] and len(data_of(page)["clips"]) == 2
    assert not re.search(r"\bNone\b", words(page))


@pytest.mark.parametrize("key", sorted(SCORES))
def test_any_score_may_be_missing(summary, rows, key):
    del summary["scores"][key]
    for parts in summary["groups"].values():
        for sliced in parts.values():
            sliced["scores"].pop(key, None)
    assert Balance(evaluation_page(summary, rows, AUDIO)).wrong == []


def test_scores_without_intervals_are_shown_without(summary, rows):
    summary |= {"intervals": None, "calibration": {"bins": [], "error": 0.0}}
    for scores in (
        summary["scores"],
        *(sliced["scores"] for sliced in summary["groups"]["duration"].values()),
    ):
        for score in scores.values():
            score["interval"] = None
    text = words(evaluation_page(summary, rows, AUDIO))
    assert "CER 글자 오류율 0.0702 WER 어절 오류율 0.2091" in text and "bootstrap" not in text
    assert "Calibration" not in text


def test_a_page_without_clips_says_so():
    page = evaluation_page({}, [], [])
    assert "There is no clip." in words(page) and data_of(page) == {
        "fields": [],
        "values": [],
        "clips": [],
    }


def test_the_korean_page_has_no_chart_of_first_languages_nor_a_fair_headline(summary, rows):
    summary |= {"corpus": "korean", "gap_to_korean": None}
    del summary["groups"]["first_language"]
    page = evaluation_page(summary, rows, AUDIO)
    assert page.count('role="img"') == 2 and "Korean speakers 한국어 화자" in words(page)
    assert "fair CER 공정 CER 0.0522" not in words(page)


@pytest.mark.parametrize("embedded", [False, True])
def test_embedded_audio_comes_with_its_licence(summary, rows, embedded):
    text = words(evaluation_page(summary, rows, ["data:audio/wav;base64,AAAA", None], embedded))
    assert ("The corpus' licence applies to it: do not pass the page on." in text) == embedded
    assert ("말뭉치의 이용 약관이 적용됩니다" in text) == embedded


def test_text_from_the_data_stays_text(summary, rows):
    bad, bad_rows = hostile(summary) | {"corpus": "foreign"}, hostile(rows)
    for key in ("duration", "first_language", "task"):
        bad["groups"][key] = {name: part(5, 0.1) for name in (HOSTILE, '" id="x" $a_1$', "#010204")}
    bad["groups"][HOSTILE] = {HOSTILE: part(5, 0.1)}
    bad["confusions"][HOSTILE] = bad["confusions"]["all"]
    for key in ("problems", "checksums", "versions", "seen_in_training"):
        bad[key] = dict.fromkeys([HOSTILE], [*bad[key].values()][-1])
    bad["gap_to_korean"] = {
        "scores": dict.fromkeys([HOSTILE], [*bad["gap_to_korean"]["scores"].values()][-1])
    }
    page, clean = evaluation_page(bad, bad_rows, AUDIO), evaluation_page(summary, rows, AUDIO)
    assert Balance(page).wrong == []
    assert {name for name, _ in Balance(page).attributes} == {
        name for name, _ in Balance(clean).attributes
    }
    assert page.count("<script") == clean.count("<script") == 3 and "<b \"'>" not in page
    assert data_of(page)["clips"][0][0] == HOSTILE + "clip_a"
    # In a chart too: no attribute, no formula, no colour, and cut to its room.
    charts = "".join(re.findall("<svg.*?</svg>", page, re.S))
    for name in ('" id="x" $a_1$', "#010204", "&lt;script&gt;alert(…"):
        assert charts.count(f">{name}</text>") == 1 and charts.count(f">{name}  5</text>") == 1


def test_what_cannot_be_seen_is_shown_by_its_code_and_the_page_is_utf_8(summary, rows):
    # A file name of unknown bytes has lone surrogates; U+202E turns what follows it round; U+3164 is blank, and a letter.
    summary |= {
        "manifest": "/data/\udcc7",
        "model": "v3\u202e",
        "warning": "\ud800",
        "problems": {"\x00": 1},
    }
    summary["groups"]["first_language"] = {"어\u3164\udcc8": part(5, 0.1), "\ufeff": part(5, 0.2)}
    rows[0] |= {
        "id": "\udcff\u2028</script>",
        "text": "가\u200b\U000e0001나",
        "pred_text": "가",
        "first_language": "\u3164",
    }
    page = evaluation_page(summary, rows, AUDIO)
    page.encode()
    for code in ("DCC7", "202E", "D800", "0000", "3164", "DCC8", "FEFF"):
        assert f"<samp>U+{code}</samp>" in page
    assert all(character.isprintable() or character == "\n" for character in page)
    clip = data_of(page)["clips"][0]
    assert clip[0] == "\udcff\u2028</script>" and clip[7][0] == "가"


def test_a_number_that_json_does_not_know_is_none(summary, rows):
    rows[0] |= {"cer": float("nan"), "wer": None, "confidence": float("inf"), "duration": "1.0"}
    assert data_of(evaluation_page(summary, rows, AUDIO))["clips"][0][2:6] == [None] * 4


def test_a_table_names_its_columns_and_rows_and_a_chart_its_content(page):
    assert not re.search("<th(?! scope=)[ >]", page)
    assert page.count('role="img" aria-label="') == page.count("<svg ") == 3
    assert page.count("<html lang=") == 1


def test_another_models_difference_is_told_with_its_verdict(summary, rows):
    summary["compared_with"] = {
        "model": "wav2vec2_korean_v3",
        "differences": {
            "cer": {"lower_by": 0.0081, "interval": [0.0022, 0.0143], "decided": True},
            "wer": {"lower_by": -0.0312, "interval": [-0.0501, -0.0104], "decided": True},
            "swer": {"lower_by": 0.0011, "interval": [-0.0031, 0.0055], "decided": False},
        },
    }
    text = words(evaluation_page(summary, rows, [None] * len(rows)))
    assert "the same draws 다른 모델보다 낮은 정도 : wav2vec2_korean_v3" in text
    for told in (
        "0.0081 0.0022–0.0143 lower",
        "-0.0312 -0.0501–-0.0104 higher",
        "0.0011 -0.0031–0.0055 too close to call",
    ):
        assert told in text, told
