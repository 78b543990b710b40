import pytest

from korean_asr.pages import charts


def of_tag(chart, tag):
    return [shape for shape in chart.shapes if shape.tag == tag]


def texts(chart):
    return [shape.text for shape in of_tag(chart, "text")]


@pytest.mark.parametrize(
    ("largest", "n_most", "least", "step"),
    [
        (1, 4, 1, 1),
        (4, 4, 1, 1),
        (5, 4, 1, 2),
        (9, 4, 1, 5),
        (21, 4, 1, 10),
        (10**16, 4, 1, 5 * 10**15),
        (0.4, 4, 0.001, 0.1),
        (0.41, 4, 0.001, 0.2),
        (0.0, 4, 0.001, 0.001),
    ],
)
def test_a_step_is_the_least_round_number_that_fits(largest, n_most, least, step):
    assert charts.round_step(largest, n_most, least) == pytest.approx(step)


@pytest.mark.parametrize(
    ("n", "written"),
    [(0, "0"), (999, "999"), (1000, "1k"), (2500, "2.5k"), (20_000, "20k"), (3 * 10**15, "3P")],
)
def test_a_number_beside_an_axis_is_short(n, written):
    assert charts.short(n) == written


@pytest.mark.parametrize("n_bins", [0, 1, 7, 20, 60])
@pytest.mark.parametrize("above", [0, 1, 10**16])
def test_bars_and_ticks_stay_inside_their_chart(n_bins, above):
    bins = {"step": 0.5, "counts": [10**15] * n_bins, "above": above}
    chart = charts.histogram(bins, "s")
    if not n_bins and not above:
        assert chart is None
        return
    bars = [shape.attributes for shape in of_tag(chart, "rect")]
    assert len(bars) == n_bins + bool(above)
    for bar in bars:
        assert 0 <= bar["x"] < bar["x"] + bar["width"] <= charts.WIDTH
        assert 0 <= bar["y"] < bar["y"] + bar["height"] <= chart.height
    ticks = [t.attributes["x"] for t in of_tag(chart, "text") if t.style == ""]
    assert all(right - left >= 20 for left, right in zip(ticks, ticks[1:], strict=False))
    assert all(10 <= x <= charts.WIDTH - 10 for x in ticks) and len(ticks) <= 9


def test_a_single_clip_among_many_has_a_bar_that_shows():
    chart = charts.histogram({"step": 1.0, "counts": [100_000, 1], "above": 0}, "s")
    heights = [bar.attributes["height"] for bar in of_tag(chart, "rect")]
    assert heights == [148, 1.5]


def test_first_languages_are_sorted_by_their_rate_and_durations_are_not(slice_of):
    slices = {"b": slice_of(20, 0.3), "a": slice_of(10, 0.1), "c": slice_of(5, 0.2)}
    by_duration = charts.rates_by_duration(slices)
    by_language = charts.rates_by_first_language(slices)
    assert [text for text in texts(by_duration) if text in slices] == ["b", "a", "c"]
    assert [text for text in texts(by_language) if text in slices] == ["a", "c", "b"]
    assert by_duration.words == "lowest 0.1000 (a), highest 0.3000 (b)"
    assert by_language.words == "lowest 0.0500 (a), highest 0.1500 (b)"


def test_a_slice_without_both_rates_is_not_drawn(slice_of):
    broken = {"n_clips": 3, "scores": {"cer": {"rate": 0.1}}}
    assert "broken" not in texts(
        charts.rates_by_duration({"a": slice_of(3, 0.1), "broken": broken})
    )
    assert charts.rates_by_duration({"broken": broken}) is None
    assert charts.rates_by_first_language({"a": slice_of(3, 0.1), "broken": broken}) is None


def test_a_small_slice_has_hollow_marks_and_only_known_intervals_are_drawn(slice_of):
    chart = charts.rates_by_duration({"0-2 s": slice_of(5, 0.1, small=True)})
    marks = [s.style for s in chart.shapes if s.tag in ("circle", "rect")]
    assert marks == ["cer small", "cer_no_space small"]
    # slice_of gives CER alone an interval.
    assert [s.style for s in of_tag(chart, "path") if s.style != "grid"] == ["cer small"]


def test_every_mark_and_interval_lies_between_the_ends_of_the_axis(slice_of):
    chart = charts.rates_by_duration({"a": slice_of(5, 1.7), "b": slice_of(5, 0.02)})
    assert texts(chart)[:3] == ["0", "0.5", "1"]
    left, right = (
        [s for s in of_tag(chart, "text") if s.style == ""][i].attributes["x"] for i in (0, -1)
    )
    for circle in of_tag(chart, "circle"):
        assert left <= circle.attributes["cx"] <= right


def test_rates_of_nothing_but_zero_are_drawn(slice_of):
    part = slice_of(5, 0.0)
    part["scores"]["cer"]["interval"] = [0.0, 0.0]
    assert charts.rates_by_duration({"a": part}).words == "0.0000 (a)"


@pytest.mark.parametrize(
    ("bins", "words"),
    [
        ([(0.9, 0.8, 100)], "confidence is 10.0 points too high on average"),
        # (-10 x 300 + 10 x 100) / 400
        ([(0.6, 0.7, 300), (0.9, 0.8, 100)], "confidence is 5.0 points too low on average"),
        ([(1.0, 1.0, 5)], "confidence is 0.0 points too low on average"),
    ],
)
def test_calibration_is_said_in_points_weighted_by_characters(bins, words):
    keys = ("confidence", "accuracy", "n_characters")
    chart = charts.calibration([dict(zip(keys, values, strict=True)) for values in bins])
    assert chart.words == words
    assert len(of_tag(chart, "circle")) == len(of_tag(chart, "rect")) == len(bins)


def test_bins_without_characters_are_left_out_of_the_calibration():
    empty = {"confidence": 0.5, "accuracy": 0.5, "n_characters": 0}
    assert charts.calibration([empty]) is None
    assert charts.calibration([]) is None
