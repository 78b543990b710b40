"""Report cards of learners, and their print."""

import argparse
import time
from pathlib import Path

import numpy as np
import pytest

from korean_asr.evaluation.command_line import reports_of, show_rescored
from korean_asr.evaluation.intervals import N_DRAWS, SEED, drawn_rates, units_of
from korean_asr.evaluation.learners import summary_with_learners
from korean_asr.evaluation.natives import rescored
from korean_asr.evaluation.report import report_lines
from korean_asr.evaluation.report_cards import N_SOUNDS, report_cards


def cards_of(evaluation, natives=None):
    evaluation.facts["natives"] = natives
    return summary_with_learners(evaluation, by_speaker=True)["report_cards"]


def test_a_speaker_of_five_clips_has_a_card(scored):
    speakers = ["A"] * 5 + ["B"] * 4 + [None] * 6
    evaluation = scored([("가", "가")] * 15, "foreign", clips={"speaker": speakers})
    found = cards_of(evaluation)
    assert [(card["speaker"], card["n_clips"]) for card in found["cards"]] == [("A", 5)]
    assert (found["n_speakers"], found["natives"]) == (2, None)
    assert summary_with_learners(evaluation)["report_cards"] is None


def test_the_three_sounds_heard_otherwise_most_often_come_with_natives_rates(scored):
    # ㅓ→ㅗ three times, the coda ㄹ→ㄴ twice, ㄱ→ㅋ and ㄷ→ㅌ once; ㄷ is rarer than ㄱ.
    pairs = [("서", "소"), ("서", "소"), ("서", "소"), ("말", "만"), ("물", "문")]
    pairs += [("가", "카"), ("가", "가"), ("다", "타"), ("아", "안")]
    natives = scored([("서", "소"), ("서", "서"), ("서", "서"), ("서", "서"), ("말", "말")])
    values = {"speaker": ["A"] * 9, "first_language": ["영어"] * 9}
    (card,) = cards_of(scored(pairs, "foreign", clips=values), natives)["cards"]
    sounds = [(row["position"], row["reference"], row["n"], row["of"]) for row in card["sounds"]]
    assert sounds == [("nucleus", "ㅓ", 3, 3), ("coda", "ㄹ", 2, 2), ("onset", "ㄷ", 1, 1)]
    assert len(sounds) == N_SOUNDS
    assert [row["natives"] for row in card["sounds"]] == [
        {"n": 1, "of": 4, "rate": 0.25},
        {"n": 0, "of": 1, "rate": 0.0},
        {"n": 0, "of": 0, "rate": None},
    ]
    assert card["sounds"][0]["heard_as"] == [["ㅗ", 3]]
    assert card["sounds"][1]["clips"] == ["c3", "c4"]
    assert card["first_language"] == "영어"


def test_the_error_of_a_card_is_that_of_its_slice(scored):
    pairs = [("가나다.", "가나라"), ("마바", "마바")] * 3 + [("사", "아")] * 5
    speakers = ["A"] * 6 + ["B"] * 5
    evaluation = scored(pairs, "foreign", clips={"speaker": speakers})
    worst, better = cards_of(evaluation)["cards"]
    assert (worst["speaker"], worst["rate"]) == ("B", 1.0)
    score = evaluation.part(list(range(6)))["scores"]["cer_no_punctuation"]
    assert (better["rate"], better["interval"]) == (score["rate"], score["interval"])
    assert (better["errors"], better["reference_length"]) == (3, 15)
    assert better["drawn"] == "2 sentences (fewer than 20 speakers are known, and sentences repeat)"


def test_results_that_are_scored_again_find_natives_beside_them(scored, write_results, tmp_path):
    facts = {"weights_sha256": "w"}
    learners = scored([("서", "소")] * 5, "foreign", clips={"speaker": ["A"] * 5}, facts=facts)
    write_results([learners], tmp_path)
    assert rescored(tmp_path / "foreign.jsonl", "foreign").facts["natives"] is None
    write_results([scored([("서", "서")] * 3, facts=facts)], tmp_path)
    again = rescored(tmp_path / "foreign.jsonl", "foreign")
    (card,) = summary_with_learners(again, by_speaker=True)["report_cards"]["cards"]
    assert card["sounds"][0]["natives"] == {"n": 0, "of": 3, "rate": 0.0}


def test_results_that_are_scored_again_find_natives_in_the_other_folders(
    scored, write_results, tmp_path, capsys
):
    def learners(model):
        facts, clips = {"weights_sha256": model}, {"speaker": ["A"] * 5}
        return scored([("서", "소")] * 5, "foreign", clips=clips, model=model, facts=facts)

    for model in "ab":
        write_results([learners(model)], tmp_path / model / "results")
    natives = [
        scored([("서", "서")] * 3, model=model, facts={"weights_sha256": model}) for model in "ab"
    ]
    write_results(natives, tmp_path / "a" / "results")
    paths = [tmp_path / model / "results" / "foreign.jsonl" for model in "ab"]
    # A link to results finds what lies beside them.
    (tmp_path / "link.jsonl").symlink_to(paths[0])
    (tmp_path / "link.json").symlink_to(paths[0].with_suffix(".json"))
    assert rescored(tmp_path / "link.jsonl", "foreign").facts["natives"].model == "a"
    assert rescored(paths[1], "foreign").facts["natives"] is None
    for rescore, output in ((paths, None), (paths[1:], tmp_path / "a" / "results")):
        arguments = argparse.Namespace(rescore=rescore, output=output, embed_audio=False)
        show_rescored(arguments, "foreign", by_speaker=True)
        assert capsys.readouterr().out.count("-ㅓ- 5/5 (0.0000)") == len(rescore)


def test_an_added_coda_is_no_sound_of_the_reference(scored):
    evaluation = scored([("바", "밥")] * 5, "foreign", clips={"speaker": ["A"] * 5})
    assert cards_of(evaluation)["cards"][0]["sounds"] == []


def test_cards_are_printed_shortly(scored):
    values = {"speaker": [f"S{n // 5:02}" for n in range(60)]}
    evaluation = scored([("서울", "소울")] * 60, "foreign", clips=values)
    evaluation.facts["natives"] = scored([("서", "소"), ("서", "서")])
    text = "\n".join(report_lines(reports_of([evaluation], Path(), by_speaker=True)[0]))
    assert "report cards · 화자별 결과: 12 of 12 speakers have at least 5 clips" in text
    assert "S00" in text and "S09" in text and "S10" not in text
    assert "-ㅓ- 5/5 (0.5000)" in text and "2 more with fewer errors are on the page" in text


def test_a_report_without_a_card_says_how_to_get_one(scored):
    evaluation = scored([("가", "나")] * 4, "foreign", clips={"speaker": ["A"] * 4})
    text = "\n".join(report_lines(reports_of([evaluation], Path(), by_speaker=True)[0]))
    assert "0 of 1 speakers have at least 5 clips. Score more clips of each: --all" in text


def test_draws_that_are_kept_are_the_same_draws(scored):
    ratios = np.arange(24.0).reshape(6, 2, 2)
    units = units_of([None] * 6, ["가"] * 6)
    rng = np.random.default_rng(SEED)
    sums = [ratios[rng.integers(0, 6, 6)].sum(axis=0) for _ in range(N_DRAWS)]
    assert (drawn_rates(ratios, units) == np.array(sums)[:, :, 0] / np.array(sums)[:, :, 1]).all()


@pytest.mark.slow
def test_five_hundred_cards_take_some_seconds(scored):
    pairs = [("친구를 만나서 같이 요리해요", "칭구를 만나서 가치 요리해여")] * 3000
    evaluation = scored(pairs, "foreign", clips={"speaker": [f"S{n % 500}" for n in range(3000)]})
    natives = scored(pairs[:80])
    assert evaluation.totals and evaluation.confused  # counted for the scores in any case
    start = time.process_time()
    assert len(report_cards(evaluation, natives)["cards"]) == 500
    assert time.process_time() - start < 5
