import base64
import dataclasses
import io
import json
import os
import re
from pathlib import Path

import pytest
import soundfile

from korean_asr.evaluation.command_line import evaluate, reports_of, show
from korean_asr.evaluation.comparison import comparison
from korean_asr.evaluation.report import comparison_lines, verdict
from korean_asr.messages import n_columns
from korean_asr.pages.players import embedded_audio, linked_audio


def test_headline_rates_stand_alone_on_their_lines(evaluation, printed):
    lines = printed(evaluation).splitlines()
    totals = evaluation.totals
    assert lines.count(f"CER: {totals['cer'].rate:.4f}") == 1
    assert lines.count(f"WER: {totals['wer'].rate:.4f}") == 1
    assert "rule ko-1 ===" in lines[1]
    # A grep for the headline rate finds one line.
    assert [sum(f"{name}: " in line for line in lines) for name in ("CER", "WER")] == [1, 1]


def test_below_the_first_lines_of_learners_stands_the_score_that_is_fair_to_them(scored, printed):
    pairs = [("밥 먹었어", "밥 먹었어.")] * 4
    lines = printed(scored(pairs, "foreign")).splitlines()
    start = lines.index("CER: 0.2000")
    assert lines[start + 1] == "WER: 0.5000"
    assert "no punctuation: CER without punctuation 0.0000 · " in lines[start + 2]
    # A grep for the headline rate finds one line.
    assert [sum(f"{name}: " in line for line in lines) for name in ("CER", "WER")] == [1, 1]
    assert "fair" not in printed(scored(pairs))


def test_every_rate_is_printed_with_its_interval_and_counts(scored, printed):
    lines = printed(scored([("밥 먹었어?", "법 먹었어.")], "korean")).splitlines()
    row = next(line for line in lines if line.startswith("CER without punctuation and spaces"))
    assert row.split()[5:] == ["0.2500", "0.2500–0.2500", "1", "0", "0", "4"]
    assert any(line.startswith("punctuation ?") and line.split()[2] == "0.0000" for line in lines)
    assert any(
        line.startswith("punctuation !") and line.split()[2:4] == ["–", "–"] for line in lines
    )
    assert "intervals: 1,000 draws of 1 clip (fewer than 20 speakers are known)" in lines


def test_slices_say_where_their_draws_are_of_something_else(
    scored, printed, write_results, tmp_path
):
    texts = ["가나", "다라", "가나", "다라", "마바"]
    evaluation = scored([(t, t) for t in texts], clips={"gender": [*"FFMMM"]})
    report = printed(evaluation)
    assert "1,000 draws of 3 sentences (fewer than 20 speakers are known, and sentences" in report
    gender = report.partition("gender ·")[2].splitlines()[1:3]
    assert all(line.endswith("(few clips · 표본 적음, draws of clips)") for line in gender)
    write_results([evaluation], tmp_path)
    page = " ".join((tmp_path / "korean.html").read_text(encoding="utf-8").split())
    assert "1,000 draws of 3 sentences (fewer than 20 speakers are known, and sentences" in page
    assert '<span class="badge">draws of clips <span lang="ko">발화</span></span>' in page


def test_a_clip_that_is_too_long_is_listed_and_its_text_is_not_printed_whole(scored, printed):
    report = printed(scored([("가" * 30_000, "나"), ("가나", "가나")]))
    assert "Unreadable: 0  Not scored: 1" in report
    assert "  more than 20,000 characters, not scored: 1, counted as all deletions" in report
    assert "  1.00  c0  (more than 20,000 characters, not scored)" in report
    assert "reference   " + "가" * 1_000 + "…\n" in report


def test_durations_whose_sum_is_infinite_are_an_unknown_duration(
    scored, printed, write_results, tmp_path
):
    endless = scored([("가", "가")] * 2, clips={"duration": [1.5e308] * 2})
    assert "Minutes: unknown" in printed(endless)
    write_results([endless], tmp_path)
    for name in ("korean.json", "korean.jsonl"):
        assert "Infinity" not in (tmp_path / name).read_text(encoding="utf-8")


def test_a_warning_is_the_first_line(scored, printed):
    warned = scored([("가", "가")], warning="1 of 1 clips are in the training data of m (1 by id)")
    first = printed(warned).splitlines()[0]
    assert first.startswith("WARNING · 경고: 1 of 1 clips are in the training data of m")


def test_the_ten_worst_clips_are_shown_with_reference_and_hypothesis(evaluation, printed):
    report = printed(evaluation)
    rates = [
        float(line.split()[0])
        for line in report.partition("Worst clips")[2].splitlines()
        if line.startswith("  0.")
    ]
    assert rates == sorted(rates, reverse=True)
    assert report.count("        reference   ") == report.count("        hypothesis  ") == 10


def test_learners_have_raw_and_fair_scores_and_what_a_listener_hears(scored, printed):
    pairs, languages = [("서울에 서요", "소울에 소요")] * 2, {"first_language": ["베트남어"] * 2}
    report = printed(scored(pairs, "foreign", clips=languages))
    assert "raw, against the label as it is · 전사 그대로: CER 0.3333, WER 1.0000" in report
    assert "CER without punctuation and spaces 0.4000" in report.partition("fair, without")[2]
    assert "ㅓ→ㅗ 4/4" in report
    assert "(few clips · 표본 적음)" in report


def test_the_gap_to_korean_speakers_is_printed_under_an_aligned_header(scored, printed):
    evaluation = scored([("가나", "가다")], "foreign")
    assert "gap to Korean speakers: unknown. Run script 3" in printed(evaluation)
    rates = {"korean": 0.1, "foreign": 0.5, "difference": 0.4, "interval": [0.3, 0.45]}
    gap = {
        "korean": {"manifest": "test.jsonl", "n_clips": 24},
        "scores": {"cer_no_space": rates, "jamo": rates},
    }
    lines = printed(
        scored([("가나", "가다")], "foreign", facts={"gap_to_korean": gap})
    ).splitlines()
    header = next(line for line in lines if line.startswith("gap to Korean speakers"))
    first = lines[lines.index(header) + 1]
    assert first.split()[-4:] == ["0.1000", "0.5000", "+0.4000", "0.3000–0.4500"]
    for title, cell in (("Korean  ", "0.1000"), ("foreign", "0.5000"), ("gap  ", "+0.4000")):
        right = header.rindex(title.strip() + "  ") + len(title.strip())
        end = first.index(cell) + len(cell)
        assert n_columns(header[:right]) == n_columns(first[:end])
    assert "  Korean: 24 clips of test.jsonl" in lines


def test_names_cannot_write_to_the_terminal(scored, capsys):
    names = {"first_language": ["\x1b[1m"], "id": ["a\nb"]}
    hostile = scored([("가\x1b[2J", "나\x07")], "foreign", clips=names, model="m\x1b]0;")
    show([hostile], None)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\x07" not in printed
    assert "a?b" in printed


@pytest.mark.parametrize(
    ("lower_by", "interval", "decided", "line"),
    [
        (0.008, [0.002, 0.014], True, "B is lower by 0.80 points, 95 % interval 0.20 to 1.40"),
        (-0.008, [-0.014, -0.002], True, "B is higher by 0.80 points, 95 % interval 0.20 to 1.40"),
        (
            0.001,
            [-0.002, 0.004],
            False,
            "too close to call · 뚜렷한 차이 없음: "
            "B is lower by 0.10 points, 95 % interval -0.20 to 0.40",
        ),
        (
            -0.0002,
            [-0.0041, 0.0030],
            False,
            "too close to call · 뚜렷한 차이 없음: "
            "B is higher by 0.02 points, 95 % interval -0.30 to 0.41",
        ),
        # No zero has a sign.
        (
            -0.00001,
            [-0.00004, 0.0],
            False,
            "too close to call · 뚜렷한 차이 없음: B is equal, 95 % interval 0.00 to 0.00",
        ),
        (
            -0.5,
            None,
            False,
            "too close to call · 뚜렷한 차이 없음: "
            "B is higher by 50.00 points, 95 % interval 0.00 to 0.00",
        ),
    ],
)
def test_a_difference_is_told_in_points(lower_by, interval, decided, line):
    assert verdict("B", {"lower_by": lower_by, "interval": interval, "decided": decided}) == line


@pytest.fixture
def compared():
    """A function that prints two evaluations side by side."""

    def printed_side_by_side(first, other):
        reports = reports_of([first, other], Path())
        return "\n".join(comparison_lines(reports, [comparison(first, other)]))

    return printed_side_by_side


def test_two_models_are_printed_side_by_side_and_compared(scored, compared):
    texts = ["가나다라", "마바사아", "자차카타"] * 10
    bad = scored([(t, t[1:]) for t in texts], model="bad")
    good = scored([(t, t) for t in texts], model="good")
    report = compared(bad, good)
    assert any(line.split() == ["CER", "0.2500", "0.0000"] for line in report.splitlines())
    assert "good against bad, on the same 1,000 draws of 3 sentences (fewer" in report
    assert "good is lower by 25.00 points" in report


def test_results_of_two_models_of_one_name_do_not_overwrite_each_other(
    plan, write_results, tmp_path
):
    clips = plan.utterances[:2]
    three = evaluate(dataclasses.replace(plan, models=plan.models * 3, utterances=clips))
    written = write_results(three, tmp_path / "results")
    assert len(set(written)) == 12
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        path.name for path in written
    }
    assert {
        "korean.json",
        "korean.jsonl",
        "korean.html",
        "korean.xlsx",
        "korean.tiny_base.json",
        "korean.tiny_base.xlsx",
    } <= {path.name for path in written}
    beside = json.loads(
        (tmp_path / "results" / "korean.tiny_base.json").read_text(encoding="utf-8")
    )["compared_with"]
    assert beside["model"] == "tiny_base" and beside["differences"]["cer"]["lower_by"] == 0.0


def test_models_of_one_name_are_told_apart_by_their_number(scored, compared):
    one, two = scored([("가나", "가")]), scored([("가나", "가나")])
    assert "m (2) against m (1), on the same 1,000 draws of 1 clip (" in compared(one, two)


def test_files_are_written_before_anything_is_printed(scored, tmp_path, monkeypatch):
    # As `| head` does, once it has its lines.
    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    with pytest.raises(BrokenPipeError):
        show([scored([("가", "가")])], tmp_path / "results")
    assert len(list((tmp_path / "results").iterdir())) == 4


def test_without_a_folder_nothing_is_written(scored, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    show([scored([("가", "가")])], None)
    assert "CER: 0.0000" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_page_links_to_each_clip_from_its_own_folder(evaluation, write_results, tmp_path):
    write_results([evaluation], tmp_path / "results")
    page = (tmp_path / "results" / "korean.html").read_text(encoding="utf-8")
    assert "../clip_00.wav" in page and str(tmp_path) not in page.replace(evaluation.manifest, "")


def test_a_link_is_quoted_and_what_no_browser_plays_has_none(tmp_path):
    assert (
        linked_audio(str(tmp_path / "a b#?한.wav"), tmp_path / "results")
        == "../a%20b%23%3F%ED%95%9C.wav"
    )
    assert linked_audio(str(tmp_path / "a.pcm"), tmp_path) is None
    assert linked_audio(str(tmp_path / "\ud800.wav"), tmp_path) is None


def test_of_a_longer_file_the_player_has_the_part_that_the_clip_is(plan, write_results, tmp_path):
    clip = plan.utterances[8]
    cut = dataclasses.replace(clip, id="cut", offset=0.5, duration=0.25)
    evaluation = evaluate(dataclasses.replace(plan, utterances=[clip, cut]))[0]
    write_results([evaluation], tmp_path / "results")
    page = (tmp_path / "results" / "korean.html").read_text(encoding="utf-8")
    assert '"audio":["../clip_08.wav","../clip_08.wav#t=0.5000,0.7500"]' in page
    rows = (tmp_path / "results" / "korean.jsonl").read_text(encoding="utf-8").splitlines()
    assert ["offset" in json.loads(row) for row in rows] == [False, True]
    # To the end of the file, where the manifest has no duration.
    assert linked_audio(str(tmp_path / "a.wav"), tmp_path, 2.5) == "a.wav#t=2.5000"
    write_results([evaluation], tmp_path / "embedded", embed_audio=True)
    page = (tmp_path / "embedded" / "korean.html").read_text(encoding="utf-8")
    whole, part = re.findall(r'"data:audio/wav;base64,([^"]*)"', page)
    assert base64.b64decode(whole) == Path(clip.audio_filepath).read_bytes()
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(part)), dtype="int16")
    wanted, _ = soundfile.read(clip.audio_filepath, dtype="int16")
    assert samples.tolist() == wanted[8_000:12_000].tolist()


def test_embedded_audio_is_the_clip(utterances, tmp_path):
    path = utterances[0].audio_filepath
    kind, _, content = embedded_audio(path).partition(";base64,")
    assert kind == "data:audio/wav"
    assert base64.b64decode(content) == Path(path).read_bytes()
    samples, _ = soundfile.read(path, dtype="int16")
    samples.tofile(tmp_path / "raw.pcm")
    kind, _, content = embedded_audio(str(tmp_path / "raw.pcm")).partition(";base64,")
    again, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="int16")
    assert (rate, again.tolist()) == (16_000, samples.tolist())
    assert embedded_audio("/nowhere/a.wav") is None


def test_a_pipe_is_not_embedded_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    (tmp_path / "b.flac").symlink_to(tmp_path / "a.wav")
    for name in ("a.wav", "b.flac", "a\0.wav", "\ud800.wav", "a" * 300 + ".wav"):
        assert embedded_audio(str(tmp_path / name)) is None


@pytest.mark.parametrize(("name", "kind"), [("a.mp3", "audio/wav"), ("a.ogg", "audio/ogg")])
def test_mp3_and_ogg_have_a_player(tmp_path, name, kind):
    soundfile.write(tmp_path / name, [0.0, 0.1] * 8_000, 16_000)
    assert linked_audio(str(tmp_path / name), tmp_path) == name
    assert embedded_audio(str(tmp_path / name)).startswith(f"data:{kind};base64,")


def test_the_page_of_each_model_has_the_texts_of_all_and_pictures(plan, write_results, tmp_path):
    first = evaluate(dataclasses.replace(plan, utterances=plan.utterances[:3]))[0]
    second = dataclasses.replace(first, model="second")
    write_results([first, second], tmp_path / "results")
    for name, other in (("korean", second), ("korean.second", first)):
        page = (tmp_path / "results" / f"{name}.html").read_text(encoding="utf-8")
        assert f'"others":[{{"name":"{other.model}"' in page
        assert '"spectrogram":"data:image/png;base64,' in page and 'id="comparison"' in page
