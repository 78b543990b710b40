"""Slips of readers: which the model kept, and which it repaired."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.alignment import aligned
from korean_asr.evaluation.command_line import reports_of
from korean_asr.evaluation.comparison import comparison
from korean_asr.evaluation.learners import summary_with_learners
from korean_asr.evaluation.natives import rescored
from korean_asr.evaluation.repair import N_LISTED, Slip, clip_slips
from korean_asr.evaluation.report import comparison_lines
from korean_asr.manifest import REPOSITORY
from korean_asr.metrics import MAX_CHARACTERS, NOT_SCORED, Hypothesis

README = REPOSITORY / "model_tuning" / "korean_asr" / "evaluation" / "README.md"
SECTION = README.read_text(encoding="utf-8").partition("## Repair rate")[2].partition("\n## ")[0]
ROW = re.compile(r"^\| (.*?) ?\| (.*?) ?\| (.*?) ?\| (.*→.*) \|$", re.M)
EXAMPLES = [row for row in ROW.findall(SECTION) if not row[0].startswith("prompt")]
NOT_COUNTED = SECTION.partition("What does not count:")[2]
LEFT_OUT = re.findall(r"^\| ([^|]*?) ?\| ([^|]*) \| ([^|]*) \|$", NOT_COUNTED, re.M)[1:]


def shown(slip):
    texts = [text or "∅" for text in (slip.prompt, slip.label, slip.model)]
    return "{}→{}: {}, {}".format(*texts, slip.outcome)


def test_the_readme_has_examples():
    assert (len(EXAMPLES), len(LEFT_OUT)) == (14, 5)


@pytest.mark.parametrize(("prompt", "label", "model", "wanted"), EXAMPLES)
def test_a_worked_example_is_what_the_code_gives(prompt, label, model, wanted):
    found = clip_slips(prompt, label, model)
    assert "; ".join(map(shown, found.slips)) == wanted
    assert not found.n_writing and not found.is_other_sentence


@pytest.mark.parametrize(("prompt", "label", "why"), LEFT_OUT)
def test_what_does_not_count_is_left_out_and_counted(prompt, label, why):
    found = clip_slips(prompt, label, label)
    assert found.slips == ()
    assert found.n_writing == ("n_other_writing" in why)
    assert found.is_other_sentence == ("n_other_sentences" in why)


@pytest.mark.parametrize(
    ("prompt", "label", "slips", "n_writing", "is_other"),
    [
        (None, "가나다", "", 0, False),
        # Exactly half of the letters is still the same sentence.
        ("가나다라", "가나마바", "다라→마바", 0, False),
        ("가나다라", "가마바사", "", 0, True),
        ("가나", "가나다라마", "", 0, True),
        ("가나다", "", "", 0, True),
        # Both numbers are written in digits, so another number was said.
        ("3시에 가요", "4시에 가요", "3→4", 0, False),
        # Side A beside side B, and the other way round: never a slip, however much it covers.
        ("삼십 퍼센트", "30%", "", 1, False),
        ("케이팝을 좋아해요", "K팝을 조아해요", "좋→조", 1, False),
        # Runs that touch are one slip; letters that are equal part two.
        ("가나다라마바", "사나자라마바", "가→사; 다→자", 0, False),
    ],
)
def test_edges_of_prompts_and_labels(prompt, label, slips, n_writing, is_other):
    found = clip_slips(prompt, label, label)
    assert "; ".join(f"{slip.prompt}→{slip.label}" for slip in found.slips) == slips
    assert (found.n_writing, found.is_other_sentence) == (n_writing, is_other)


def test_a_prompt_too_long_to_be_aligned_is_another_sentence():
    assert clip_slips("가" * (MAX_CHARACTERS + 1), "가", "가").is_other_sentence


def slow_slips(prompt, label, model):
    """The definition word by word: walk over the operations, then search for the neighbours."""
    runs, run = [], None
    i = j = 0
    for a, b in aligned(prompt, label):
        if a is not None and b is not None and prompt[a] == label[b]:
            run = None
        elif run is None:
            run = [i, i, j, j]
            runs.append(run)
        i, j = i + (a is not None), j + (b is not None)
        if run:
            run[1], run[3] = i, j
    heard = {a: b for a, b in aligned(label, model) if a is not None and b is not None}
    slips = []
    for first, last, start, end in runs:
        before = [heard[a] for a in range(start) if a in heard]
        behind = [heard[a] for a in range(end, len(label)) if a in heard]
        text = model[before[-1] + 1 if before else 0 : behind[0] if behind else len(model)]
        slips.append(Slip(prompt[first:last], label[start:end], text))
    return tuple(slips)


letters = st.text("가나다", min_size=1, max_size=8)


@settings(derandomize=True, database=None, max_examples=300)
@given(letters, letters, st.text("가나다", max_size=8))
def test_slips_are_those_of_the_definition_word_by_word(prompt, label, model):
    found = clip_slips(prompt, label, model)
    if not found.is_other_sentence:
        assert found.slips == slow_slips(prompt, label, model)


SLIP = ("밥을 먹어어요", "밥을 먹었어요", "밥을 먹오어요")  # label, and two other hypotheses


def repair_of(evaluation):
    return summary_with_learners(evaluation)["repair"]


def test_rates_of_all_and_of_each_first_language(scored):
    pairs = [(SLIP[0], SLIP[0]), (SLIP[0], SLIP[1]), (SLIP[0], SLIP[2]), (SLIP[0], SLIP[1])]
    clips = {"prompt": [SLIP[1]] * 3 + [None], "first_language": ["영어", "영어", "중국어", "영어"]}
    summary = summary_with_learners(scored(pairs, "foreign", clips=clips))
    repair = summary["repair"]
    counts = {"n": 3, "kept": 1, "repaired": 1, "else": 1, "rate": 0.333333}
    assert counts.items() <= repair.items() and repair["n_clips"] == 3
    low, high = repair["interval"]
    assert low == 0 < repair["rate"] < high <= 1
    parts = summary["groups"]["first_language"]
    assert (
        parts["영어"]["repair"].items() >= {"n": 2, "kept": 1, "repaired": 1, "rate": 0.5}.items()
    )
    assert parts["중국어"]["repair"].items() >= {"n": 1, "else": 1, "rate": 0.0}.items()
    assert repair["slips"]["repaired"] == [
        {"id": "c1", "prompt": "었", "label": "어", "model": "었"}
    ]


def test_speakers_are_drawn_where_twenty_have_slips(scored):
    clips = {"prompt": [SLIP[1]] * 40, "speaker": [f"s{n % 20}" for n in range(40)]}
    pairs = [(SLIP[0], SLIP[n % 2]) for n in range(40)]
    assert repair_of(scored(pairs, "foreign", clips=clips))["drawn"] == "20 speakers"
    # Each speaker repairs always or never: half of twenty, not of forty.
    low, high = repair_of(scored(pairs, "foreign", clips=clips))["interval"]
    assert high - low == pytest.approx(0.45, abs=0.06)


def test_without_a_slip_there_is_no_rate(scored, printed):
    evaluation = scored([("가나", "가나")], "foreign", clips={"prompt": ["가 나."]})
    repair = repair_of(evaluation)
    assert (repair["n"], repair["rate"], repair["interval"]) == (0, None, None)
    assert "repair rate · 교정률: no clip has a `prompt`" in printed(evaluation)


def test_tags_are_no_slips(scored):
    pairs = [("un/ 밥을 먹어어요", "밥을 먹어어요")]
    repair = repair_of(scored(pairs, "foreign", clips={"prompt": [SLIP[1]]}))
    assert (repair["n"], repair["kept"]) == (1, 1)


def test_a_clip_that_was_not_decoded_keeps_and_repairs_nothing(scored):
    # The label's side is empty, and so is the hypothesis: it would be kept.
    evaluation = scored([("김치개", "")], "foreign", clips={"prompt": ["김치찌개"]})
    evaluation.hypotheses[0] = Hypothesis("", problem="audio missing")
    assert repair_of(evaluation)["else"] == 1
    evaluation = scored([("김치개", "")], "foreign", clips={"prompt": ["김치찌개"]})
    evaluation.hypotheses[0] = Hypothesis("가" * (MAX_CHARACTERS + 1))
    assert evaluation.problems == [NOT_SCORED] and repair_of(evaluation)["n"] == 0


def test_of_very_many_slips_the_first_are_listed(scored):
    n = N_LISTED + 1
    repair = repair_of(scored([(SLIP[0], SLIP[0])] * n, "foreign", clips={"prompt": [SLIP[1]] * n}))
    assert repair["kept"] == n and len(repair["slips"]["kept"]) == N_LISTED


def test_another_systems_file_has_its_rate_too(tmp_path):
    rows = [{"text": SLIP[0], "pred_text": text, "prompt": SLIP[1]} for text in SLIP]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "theirs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    repair = repair_of(rescored(tmp_path / "theirs.jsonl", "foreign"))
    assert [repair[name] for name in ("n", "kept", "repaired", "else")] == [3, 1, 1, 1]


def test_the_report_prints_rates_and_what_was_left_out(scored, printed):
    pairs = [(SLIP[0], SLIP[1]), ("세 시에 가요", "세 시에 가요"), ("저는 학생", "저는 학생")]
    prompts = [SLIP[1], "3시에 가요", "오늘 비가 와요"]
    clips = {"prompt": prompts, "first_language": ["영어"] * 3}
    text = printed(scored(pairs, "foreign", clips=clips))
    assert "repair rate · 교정률: 1.0000 (0.0250–1.0000), 1 slips in 1 clips: 0 kept, 1 rep" in text
    assert "left out: 1 clips whose reader said another sentence" in text
    assert "left out: 1 differences of writing" in text
    assert re.search(r"  영어 +1 +0 +1 +0 +1\.0000  0\.0250–1\.0000", text)


def test_korean_speakers_have_no_such_keys(scored):
    assert (
        not {"repair", "syllables", "report_cards"}
        & summary_with_learners(scored([("가", "가")])).keys()
    )


# What 20 readers of one slip each wrote: a listener keeps 18 and repairs 1, a corrector repairs 15.
LISTENER = [SLIP[0]] * 18 + [SLIP[1], SLIP[2]]
CORRECTOR = [SLIP[1]] * 15 + [SLIP[0]] * 4 + [SLIP[2]]


@pytest.fixture
def results_file(tmp_path):
    """A function that writes another system's file: a hypothesis a reader of SLIP, and no slip."""

    def write(name, hypotheses, with_prompt=True):
        prompt = {"prompt": SLIP[1]} if with_prompt else {}
        rows = [{"text": SLIP[0], "pred_text": text} | prompt for text in hypotheses]
        rows.append({"text": "가나다", "pred_text": "가나라", "prompt": "가나다"})
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return tmp_path / f"{name}.jsonl"

    return write


@pytest.fixture
def side(results_file):
    """A function that makes the lines that compare two systems, and their reports."""

    def compared(*systems):
        evaluations = [rescored(results_file(*system), "foreign") for system in systems]
        reports = reports_of(evaluations, Path())
        others = [comparison(evaluations[0], other) for other in evaluations[1:]]
        return "\n".join(comparison_lines(reports, others)), reports

    return compared


def test_two_systems_files_are_compared_by_repair_rate_too(side):
    text, reports = side(("whisper", CORRECTOR), ("listener", LISTENER))
    assert re.search(r"^repair rate +0\.7500 +0\.0500$", text, re.M)
    assert re.search(r"^  repaired, of slips +15/20 +1/20$", text, re.M)
    assert re.search(r"^  kept, of slips +4/20 +18/20$", text, re.M)
    (line,) = re.findall(r"^  repair rate  .*$", text, re.M)
    assert "listener is lower by 70.00 points, 95 % interval" in line and "too close" not in line
    assert line.endswith(", draws of 20 clips (fewer than 20 speakers are known)")
    rows = reports[0].summary["side_by_side"]
    assert rows == reports[1].summary["side_by_side"]
    assert [row["model"] for row in rows] == ["whisper", "listener"]
    assert [row["repair"]["rate"] for row in rows] == [0.75, 0.05]
    assert rows[0]["differences"] == {}
    difference = rows[1]["differences"]["repair_rate"]
    assert difference["lower_by"] == 0.7 and difference["decided"]
    low, high = difference["interval"]
    assert 0.4 <= low < 0.7 < high <= 0.95
    assert reports[1].summary["compared_with"]["repair_rate"] == difference


def test_the_pair_is_drawn_together(side):
    # Both repair the same clips: the difference is nothing in every draw.
    _, reports = side(("one", CORRECTOR), ("two", CORRECTOR))
    difference = reports[1].summary["compared_with"]["repair_rate"]
    assert (difference["lower_by"], difference["interval"]) == (0.0, [0.0, 0.0])
    # As many, but others.
    text, _ = side(("one", CORRECTOR), ("two", CORRECTOR[::-1]))
    assert re.search(r"^  repair rate +too close to call · .*two is equal, 95 %", text, re.M)


def test_no_repair_in_a_few_slips_is_no_proof(side):
    _, reports = side(("kept", [SLIP[0]] * 8), ("corrected", [SLIP[1]] * 8))
    kept, corrected = (report.summary["repair"] for report in reports)
    assert (kept["rate"], corrected["rate"]) == (0.0, 1.0)
    assert kept["interval"] == pytest.approx([0.0, 0.369], abs=5e-4)
    assert corrected["interval"] == pytest.approx([0.631, 1.0], abs=5e-4)


def test_two_files_of_one_name_are_numbered_side_by_side(side, tmp_path):
    (tmp_path / "other").mkdir()
    _, reports = side(("one", CORRECTOR), ("other/one", LISTENER))
    rows = reports[0].summary["side_by_side"]
    assert [row["model"] for row in rows] == ["one (1)", "one (2)"]


def test_a_slip_that_only_one_file_tells_is_drawn_too(scored):
    first, other = (
        scored([SLIP[:1] * 2] * 2, "foreign", clips={"prompt": prompts})
        for prompts in ([SLIP[1], SLIP[0]], [SLIP[0], SLIP[1]])
    )
    # Each kept the one slip that it knows of.
    found = comparison(first, other)["repair_rate"]
    assert found["lower_by"] == 0.0 and found["drawn"].startswith("2 clips")


@pytest.mark.parametrize("knowing", [0, 1])
def test_speakers_that_only_one_file_knows_are_drawn_whichever_it_is(scored, knowing):
    pairs, prompts = [SLIP[:1] * 2] * 21, {"prompt": [SLIP[1]] * 21}
    speakers = {"speaker": [f"s{n}" for n in range(20)] + ["s0"]}
    both = [
        scored(pairs, "foreign", clips=prompts | (speakers if number == knowing else {}))
        for number in range(2)
    ]
    found = comparison(*both)
    assert found["drawn"] == found["repair_rate"]["drawn"] == "20 speakers"


def test_repair_rates_are_of_learners_alone(scored):
    natives = scored([SLIP[:1] * 2] * 2, "korean", clips={"prompt": [SLIP[1]] * 2})
    assert "repair_rate" not in comparison(natives, natives)


def test_a_file_without_prompts_has_no_rate_to_be_compared(side):
    text, reports = side(("ours", LISTENER), ("theirs", CORRECTOR, False))
    assert re.search(r"^repair rate +0\.0500 +–$", text, re.M)
    assert re.search(r"^  kept, of slips +18/20 +–$", text, re.M)
    assert "repair_rate" not in reports[1].summary["compared_with"]
    text, reports = side(("ours", LISTENER, False), ("theirs", CORRECTOR, False))
    assert "repair rate" not in text and reports[0].summary["side_by_side"] == []
