import copy
import html
import json
import re

import pytest

from korean_asr.pages.clips import aligned
from korean_asr.pages.evaluation_page import evaluation_page, experiments_page

AUDIO = ["audio/%EA%B0%80.wav", None]


@pytest.fixture(scope="module")
def page(foreign_summary, foreign_rows):
    return evaluation_page(foreign_summary, foreign_rows, AUDIO)


def data_of(page):
    """What the page's script reads."""
    return json.loads(
        re.search('<script type="application/json" id="data">(.*?)</script>', page, re.S)[1]
    )


def test_kind_and_language_of_another_recogniser_stand_beside_its_name(summary, rows, words):
    summary = {**summary, "kind": "whisper", "recipe": None, "model": "whisper-base"}
    summary["decoding"] |= {"language": "ko"}
    assert "whisper-base · whisper (ko) · rule ko-1" in words(evaluation_page(summary, rows, AUDIO))


def test_silent_clips_are_counted_where_there_are_some(summary, rows, words):
    assert "무음" not in evaluation_page(summary | {"n_silent": 0}, rows, AUDIO)
    assert "silent 무음 3" in words(evaluation_page(summary | {"n_silent": 3}, rows, AUDIO))


def test_of_a_clip_that_is_too_long_the_start_of_the_reference_is_shown():
    assert aligned("가" * 30_000, "나") == [["가" * 1_000 + "…", ""]]
    assert aligned("가나", "다" * 30_000) == [["가나", ""]]


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
    ],
)
def test_both_texts_are_aligned_as_cer_counts_them(reference, hypothesis, pieces):
    assert aligned(reference, hypothesis) == pieces


@pytest.mark.parametrize(
    "shown",
    [
        "Warning: 3 clips were in the training data. 학습에 쓰인 음성이 3개 있습니다. Foreign",
        "wav2vec2_korean_v3 · recipe v3 · rule ko-1",
        "data/processed/foreign.jsonl",
        "CER 글자 오류율 0.0702 95 %: 0.0661–0.0754",
        "WER 어절 오류율 0.2091 95 %: 0.1987–0.2203",
        "문장 부호·띄어쓰기 제외 CER 0.0522 95 %: 0.0489–0.0561",
        "clips 발화 3,002",
        "minutes 분 218.5",
        "unreadable 읽지 못한 발화 2",
        "최저 CER 0.0123",
        "number format 수치 형식 bfloat16",
        "속도 61.2",
        "bootstrap of 1,000 draws of 41 speakers and 14 clips of unknown speakers.",
        "구간은 화자 단위로 재표본한 부트스트랩 신뢰 구간이며",
        "not scored 채점하지 못한 발화 1",
        "214.1 s, 187 batches, 6.1 % padding, on 4 processes",
        "audio missing 2 clips",
        "A sample of 3,002. 3,002개를 뽑았습니다.",
        "문장 부호 제외 CER 0.0611 1,201 302 43 22,019",
        "sWER (spacing of the reference)",
        "word boundaries 어절 경계 0.9412 0.9023 0.9213 0.9107–0.9304 4,101 4,545 4,357",
        ". 0.9412 0.9023 0.8807",
        "0.7706",
        "all jamo 모든 자모 0.0322",
        "onset 초성 0.0311",
        "nucleus 중성 0.0244",
        "coda 종성 0.0455 1,201",
        "0.0311 0.0522 0.0211 0.0177–0.0246",
        "sentence 문장 : 7 clips, without them CER 0.0709 , WER 0.2102 on 2,995 clips",
        "speaker 화자 : not known",
        "0-2 s 401 0.1234 0.1134–0.1334 0.0617",
        "2-4 s small 표본 적음 19 0.0678",
        "베트남어 1,500 0.0831",
        "낭독 3,002",
        "ㄹ 310 31",
        "ㄹ heard as ㄴ liquid heard as nasal 31 of 310, 10.0 %",
        "ㅓ heard as ㅗ 9 of 90, 10.0 %",
        "Calibration error: 0.0551",
        "ab" * 32,
        "2.13.0",
    ],
)
def test_every_number_is_shown(page, shown, words):
    assert shown in words(page)


def test_the_script_gets_every_clip(page):
    assert data_of(page)["columns"] == {
        "id": ["clip_a", "clip_b"],
        "audio": ["audio/%EA%B0%80.wav", None],
        "duration": [1.23, 2.0],
        "cer": [0.2857, 1.0],
        "wer": [1.0, 1.0],
        "confidence": [0.912, None],
        "problem": [None, "audio missing"],
        "pieces": [[["밥", "밤"], "을 먹었다", [".", ""]], [["가자", ""]]],
        "letters": [None, None],
    }


def test_the_script_gets_the_slices_of_every_clip(page):
    assert data_of(page)["slices"] == {
        "first_language": {"values": ["베트남어", "중국어"], "clips": [1, 0]},
        "gender": {"values": ["여"], "clips": [0, -1]},
        "speaker": {"values": ["S1", "S2"], "clips": [0, 1]},
    }


def test_a_field_of_one_value_is_no_filter(page):
    # All clips with a gender have the same.
    assert re.findall('<select data-field="(.*?)">', page) == ["first_language", "speaker"]


def test_a_confusion_leads_to_its_clips(page):
    # The page has no clip "elsewhere".
    links = re.findall('<a href="#clip-(.*?)"[^>]*>(.*?)</a>', page)
    assert links == [("1", "1"), ("0", "1")]


def test_jamo_are_in_the_order_of_a_dictionary_and_other_letters_last(summary, rows):
    pairs = [("t", "ㅆ"), ("ㅎ", "ㄱ"), ("ㅅ", ""), ("", "ㅅ"), ("ㄲ", "ㅅ")]
    summary["confusions"]["all"]["onset"] = [
        {"reference": reference, "hypothesis": hypothesis, "n": 1, "of": 2, "clips": []}
        for reference, hypothesis in pairs
    ]
    table = evaluation_page(summary, rows, AUDIO).partition('<table class="map">')[2]
    jamo = re.findall('<b lang="ko">(.*?)</b>', table.partition("</table>")[0])
    assert jamo == [*"∅ㄱㅅㅆ", *"∅ㄲㅅㅎt"]


def test_the_charts_say_their_message(page):
    assert re.findall('role="img"\\s+aria-label="(.*?)"', page) == [
        "Error by duration, CER: lowest 0.0678 (2-4 s), highest 0.1234 (0-2 s)",
        "Error by first language, CER without punctuation and spaces: "
        "lowest 0.0306 (중국어), highest 0.0415 (베트남어)",
        # (10 x 100 + 5 x 900) / 1000
        "Accuracy by confidence: confidence is 5.5 points too high on average",
    ]


def test_a_chart_takes_its_colours_from_the_page(page):
    drawings = re.findall('<svg class="chart".*?</svg>', page, re.S)
    assert len(drawings) == 3
    for drawing in drawings:
        assert not re.search("#[0-9a-f]{6}|(fill|stroke|color|style)=", drawing)
        assert re.search('class="(cer|measured)', drawing)


def test_every_tag_is_closed_in_its_order_and_every_id_is_there_once(page, parsed):
    balance = parsed(page)
    assert balance.wrong == []
    ids = [value for name, value in balance.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {
        value[1:]
        for name, value in balance.attributes
        if name.endswith("href") and value.startswith("#")
    }
    assert {target for target in targets if not target.startswith("clip-")} <= set(ids)


def test_the_page_asks_for_no_other_file_and_runs_no_script_but_its_own(page, parsed):
    links = [
        value
        for name, value in parsed(page).attributes
        if name in ("src", "href", "srcset", "data")
    ]
    assert [link for link in links if not link.startswith("#")] == [
        "data:,"
    ]  # no icon is asked for
    assert not re.search("@import|https?:|//[a-z]+[.]", page)
    assert "innerHTML" not in page and re.search(
        "default-src 'none';.*script-src 'sha256-[^']+' 'sha256-[^']+';", page, re.S
    )


def test_the_same_results_give_the_same_page_and_are_left_as_they_were(
    summary, rows, foreign_summary, foreign_rows
):
    assert evaluation_page(summary, rows, AUDIO) == evaluation_page(summary, rows, AUDIO)
    assert (summary, rows) == (foreign_summary, foreign_rows)


@pytest.mark.parametrize("absent", ["null", "missing"])
def test_any_key_may_be_missing(foreign_summary, rows, absent, parsed, words):
    for key in foreign_summary:
        summary = foreign_summary | {key: None}
        if absent == "missing":
            del summary[key]
        page = evaluation_page(summary, rows, AUDIO)
        assert parsed(page).wrong == [], key
        assert len(data_of(page)["columns"]["id"]) == 2, key
        assert not re.search(r"\bNone\b", words(page)), key


def test_any_score_may_be_missing(foreign_summary, rows, parsed):
    for key in foreign_summary["scores"]:
        summary = copy.deepcopy(foreign_summary)
        del summary["scores"][key]
        for parts in summary["groups"].values():
            for sliced in parts.values():
                sliced["scores"].pop(key, None)
        assert parsed(evaluation_page(summary, rows, AUDIO)).wrong == [], key


def test_scores_without_intervals_are_shown_without(summary, rows, words):
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


def test_a_page_without_clips_says_so(words):
    page = evaluation_page({}, [], [])
    assert "There is no clip." in words(page)
    data = data_of(page)
    assert data["slices"] == {} and not any(data["columns"].values())


def test_the_korean_page_has_no_chart_of_first_languages_nor_a_third_headline(summary, rows, words):
    summary |= {"corpus": "korean", "gap_to_korean": None}
    del summary["groups"]["first_language"]
    page = evaluation_page(summary, rows, AUDIO)
    assert page.count('role="img"') == 2 and "Korean speakers 한국어 화자" in words(page)
    assert "제외 CER 0.0522 95 %" not in words(page)


def test_the_score_without_punctuation_leads_the_page_of_learners(
    summary, rows, words, foreign_summary
):
    scores = foreign_summary["scores"]["cer_no_punctuation"]
    for parts in summary["groups"].values():
        for part in parts.values():
            part["scores"]["cer_no_punctuation"] = {"rate": 0.4321, "interval": None}
    page = evaluation_page(summary, rows, AUDIO)
    text = words(page)
    first = f"CER without punctuation 문장 부호 제외 CER {scores['rate']:.4f}"
    assert text.index(first) < text.index("CER 글자 오류율 0.0702") < text.index("WER 어절 오류율")
    assert "Learners' labels have no punctuation, so compare models by the first score." in text
    assert "0-2 s 401 0.4321 0.0617" in text
    assert "Error by duration, CER without punctuation: lowest 0.4321" in page
    of_natives = words(evaluation_page(summary | {"corpus": "korean"}, rows, AUDIO))
    assert "Learners' labels" not in of_natives and "0-2 s 401 0.1234" in of_natives
    assert first not in of_natives.partition("Sections")[0].partition("Scores 점수")[0]


@pytest.mark.parametrize("embedded", [False, True])
def test_embedded_audio_comes_with_its_licence(summary, rows, embedded, words):
    text = words(evaluation_page(summary, rows, ["data:audio/wav;base64,AAAA", None], embedded))
    assert ("The corpus' licence applies to it: do not pass the page on." in text) == embedded
    assert ("말뭉치의 이용 약관이 적용됩니다" in text) == embedded


def test_text_from_the_data_stays_text(summary, rows, parsed, hostile, hostile_text, slice_of):
    bad, bad_rows = hostile(summary) | {"corpus": "foreign"}, hostile(rows)
    for key in ("duration", "first_language", "task"):
        bad["groups"][key] = {
            name: slice_of(5, 0.1) for name in (hostile_text, '" id="x" $a_1$', "#010204")
        }
    bad["groups"][hostile_text] = {hostile_text: slice_of(5, 0.1)}
    bad["confusions"][hostile_text] = bad["confusions"]["all"]
    for key in ("problems", "checksums", "versions", "seen_in_training"):
        bad[key] = dict.fromkeys([hostile_text], [*bad[key].values()][-1])
    bad["gap_to_korean"] = {
        "scores": dict.fromkeys([hostile_text], [*bad["gap_to_korean"]["scores"].values()][-1])
    }
    page, clean = evaluation_page(bad, bad_rows, AUDIO), evaluation_page(summary, rows, AUDIO)
    assert parsed(page).wrong == []
    assert {name for name, _ in parsed(page).attributes} == {
        name for name, _ in parsed(clean).attributes
    }
    assert page.count("<script") == clean.count("<script") == 3 and "<b \"'>" not in page
    assert data_of(page)["columns"]["id"][0] == hostile_text + "clip_a"
    # In both charts too, where it is cut to its room.
    names = [html.unescape(text) for text in re.findall("<text.*?>(.*?)</text>", page)]
    for name in ('" id="x" $a_1$', "#010204", hostile_text[:14] + "…"):
        assert names.count(name) == 2, name


def test_what_cannot_be_seen_is_shown_by_its_code_and_the_page_is_utf_8(summary, rows, slice_of):
    # A file name of unknown bytes has lone surrogates; U+202E reverses the text behind it; U+3164
    # is blank, and a letter.
    summary |= {
        "manifest": "/data/\udcc7",
        "model": "v3\u202e",
        "warning": "\ud800",
        "problems": {"\x00": 1},
    }
    summary["groups"]["first_language"] = {
        "어\u3164\udcc8": slice_of(5, 0.1),
        "\ufeff": slice_of(5, 0.2),
    }
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
    columns = data_of(page)["columns"]
    assert columns["id"][0] == "\udcff\u2028</script>" and columns["pieces"][0][0] == "가"


def test_a_number_that_json_does_not_know_is_none(summary, rows):
    rows[0] |= {"cer": float("nan"), "wer": None, "confidence": float("inf"), "duration": "1.0"}
    columns = data_of(evaluation_page(summary, rows, AUDIO))["columns"]
    for name in ("duration", "cer", "wer", "confidence"):
        assert columns[name][0] is None, name


def test_a_table_names_its_columns_and_rows_and_a_chart_its_content(page):
    assert not re.search("<th(?! scope=)[ >]", page)
    assert len(re.findall('role="img"\\s+aria-label="', page)) == page.count("<svg ") == 3
    assert page.count("<html lang=") == 1


def test_the_difference_to_another_model_is_shown_with_its_verdict(summary, rows, words):
    summary["compared_with"] = {
        "model": "wav2vec2_korean_v3",
        "drawn": "19 sentences",
        "differences": {
            "cer": {"lower_by": 0.0081, "interval": [0.0022, 0.0143], "decided": True},
            "wer": {"lower_by": -0.0312, "interval": [-0.0501, -0.0104], "decided": True},
            "swer": {"lower_by": 0.0011, "interval": [-0.0031, 0.0055], "decided": False},
        },
    }
    text = words(evaluation_page(summary, rows, [None] * len(rows)))
    assert (
        "the same draws 다른 모델보다 낮은 정도 : wav2vec2_korean_v3, draws of 19 sentences" in text
    )
    for shown in (
        "0.0081 0.0022–0.0143 lower",
        "-0.0312 -0.0501–-0.0104 higher",
        "0.0011 -0.0031–0.0055 too close to call",
    ):
        assert shown in text, shown


@pytest.fixture
def corrector_and_listener():
    """The rows `side_by_side` of a model that repairs 15 of 20 slips and of one that repairs 1."""
    cer = {"rate": 0.3, "interval": [0.2, 0.4]}
    repaired = {"n": 20, "kept": 4, "repaired": 15, "rate": 0.75, "interval": [0.55, 0.9]}
    kept = {"n": 20, "kept": 18, "repaired": 1, "rate": 0.05, "interval": [0.0, 0.15]}
    close = {"lower_by": 0.01, "interval": [-0.1, 0.1], "decided": False}
    differences = {
        "cer": close,
        "cer_no_punctuation": {"lower_by": -0.1, "interval": [-0.2, -0.05], "decided": True},
        "repair_rate": {"lower_by": 0.7, "interval": [0.4, 0.9], "decided": True, "drawn": "x"},
    }
    one = {"cer": cer, "cer_no_punctuation": cer, "differences": {}}
    return [
        one | {"model": "whisper", "repair": repaired},
        one | {"model": "listener", "repair": kept, "differences": differences},
    ]


def test_the_repair_rate_of_each_model_stands_beside_its_cer(
    summary, rows, words, parsed, corrector_and_listener, hostile
):
    summary["side_by_side"] = corrector_and_listener
    page = evaluation_page(summary, rows, AUDIO)
    assert parsed(page).wrong == [] and not re.search("<th(?! scope=)[ >]", page)
    text = words(page)
    for shown in (
        "whisper listener CER 글자 오류율 0.3000 0.2000–0.4000 0.3000 0.2000–0.4000 too close",
        "0.3000 0.2000–0.4000 higher 더 높음 0.1000, 0.0500–0.2000",
        "repair rate 교정률 0.7500 0.5500–0.9000 0.0500 0.0000–0.1500 lower 더 낮음 "
        "0.7000, 0.4000–0.9000",
        "repaired 제시문대로 교정 15 of 20 1 of 20 kept 말한 대로 인식 4 of 20 18 of 20",
    ):
        assert shown in text, shown
    summary["side_by_side"] = hostile(corrector_and_listener)
    assert parsed(evaluation_page(summary, rows, AUDIO)).wrong == []
    summary["side_by_side"] = []
    assert 'side-by-side"' not in evaluation_page(summary, rows, AUDIO)


def test_the_difference_in_repair_rate_is_shown_with_its_verdict(summary, rows, words):
    lower = {"lower_by": 0.7, "interval": [0.4, 0.9], "decided": True, "drawn": "20 clips"}
    summary["compared_with"] = {"model": "m", "differences": {}, "repair_rate": lower}
    text = words(evaluation_page(summary, rows, AUDIO))
    assert "repair rate 교정률 0.7000 0.4000–0.9000 lower 더 낮음" in text


def test_several_models_have_a_section_that_the_page_of_one_lacks(
    summary, rows, experiments, words, parsed
):
    alone = evaluation_page(summary, rows, AUDIO)
    assert 'id="experiments"' not in alone and "#experiments" not in alone
    page = evaluation_page(summary, rows, AUDIO, experiments=experiments)
    assert parsed(page).wrong == [] and page.count('href="#experiments"') == 1
    assert not re.search("<th(?! scope=)[ >]", page)
    for shown in (words(page), words(experiments_page(experiments))):
        for text in (
            "What each experiment brought 실험별 결과",
            "wav2vec2_korean_v3 0.0702 0.0661–0.0754 – v7 0.0699",
            "0.0650–0.0741 too close to call 뚜렷한 차이 없음 v1",
            "0.0850–0.0955 +0.0200 (+0.0150 to +0.0250) clips of split/test.jsonl",
            "below 0 is better 0보다 작으면 더 좋습니다",
            "v9 has no results. v9의 결과가 없습니다.",
        ):
            assert text in shown


def test_the_page_of_experiments_stands_alone_and_text_in_it_stays_text(
    experiments, hostile, parsed
):
    clean, page = experiments_page(experiments), experiments_page(hostile(experiments))
    page.encode()
    assert parsed(page).wrong == [] and "<script" not in page and "<b \"'>" not in page
    assert {name for name, _ in parsed(page).attributes} == {
        name for name, _ in parsed(clean).attributes
    }
    assert not re.search("@import|https?:|src=", page) and "default-src 'none'" in page


def test_more_models_than_letters_get_two(summary, rows, words):
    others = [(f"model {n}", rows) for n in range(1, 28)]
    shown = words(evaluation_page(summary, rows, AUDIO, others=others))
    for title in ("Z model 25", "AA model 26", "AB model 27", "CER Z", "CER AA", "CER AB"):
        assert title in shown, title
