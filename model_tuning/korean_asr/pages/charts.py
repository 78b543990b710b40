"""Charts of both pages, as lists of SVG shapes that charts.html writes.

A shape has a CSS class and no colour, so that a chart follows the page's dark mode. All lengths are
in units of the drawing. A chart is 360 units wide and shown 320 to 480 pixels wide, so that a text
of 12 units is about as large as the page's small print.
"""

import math
from dataclasses import dataclass
from typing import Any

from korean_asr.rates import shown_rate

WIDTH = 360
RIGHT = 14  # margin, with room for half of the last tick's text
CHARACTER = 6.6  # width of a Latin letter in a text of 12 units; a Hangul syllable takes two
MARK = 3.6  # radius of a circle
N_LABEL = 14  # characters of a slice's name

SLICE_HEIGHT, SLICES_TOP, SLICES_BOTTOM = 24, 6, 24
COUNT_WIDTH = 50  # room for the number of clips beside a slice's name
# CSS class of a score's marks, and their distance from the middle of a row. `cer` is the score that
# leads; see messages.LEADING.
SCORES = {"cer": -4.5, "cer_no_space": 4.5}

HISTOGRAM_HEIGHT, HISTOGRAM_LEFT, HISTOGRAM_TOP, HISTOGRAM_BOTTOM = 180, 46, 10, 22

CALIBRATION_HEIGHT, CALIBRATION_LEFT, CALIBRATION_TOP = 290, 40, 22
N_CHARACTERS_TOP, N_CHARACTERS_BOTTOM = 214, 246  # the bars below the curve


@dataclass(frozen=True)
class Shape:
    """One SVG element. Its text is what a <text> shows, or the tool tip of any other element."""

    tag: str
    style: str
    attributes: dict[str, Any]
    text: str = ""


@dataclass(frozen=True)
class Chart:
    """A drawing of WIDTH x height units; a screen reader reads its words aloud."""

    height: float
    words: str
    shapes: list[Shape]


@dataclass(frozen=True)
class Scale:
    """An axis that maps values from low to high to units from start to end."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the unit of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def _text(x: float, y: float, text: str, style: str = "") -> Shape:
    return Shape("text", style, {"x": round(x, 1), "y": round(y, 1)}, text)


def _line(style: str, *points: tuple[float, float]) -> Shape:
    return Shape("path", style, {"d": "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)})


def _bar(style: str, x: float, width: float, bottom: float, height: float, text: str) -> Shape:
    numbers = {"x": x, "y": bottom - height, "width": width, "height": height}
    return Shape("rect", style, {name: round(n, 2) for name, n in numbers.items()}, text)


def _circle(style: str, x: float, y: float) -> Shape:
    return Shape("circle", style, {"cx": round(x, 1), "cy": round(y, 1), "r": MARK})


def _square(style: str, x: float, y: float) -> Shape:
    numbers = {"x": x - 3.2, "y": y - 3.2, "width": 6.4, "height": 6.4}
    return Shape("rect", style, {name: round(n, 1) for name, n in numbers.items()})


def round_step(largest: float, n_most: int, least: float = 1) -> float:
    """Return the least of 1, 2, 5, 10, 20 … (times `least`) that fits at most n_most times."""
    power = least
    while 5 * power * n_most < largest:
        power *= 10
    return next(digit * power for digit in (1, 2, 5) if digit * power * n_most >= largest)


# Rates of slices


def rates_by_duration(slices: dict[str, Any], leading: str = "cer") -> Chart | None:
    """Chart the rates of durations in their own order; None where no slice has both rates.

    leading: the score beside the one without punctuation and spaces.
    """
    scored = _scored(slices, leading)
    return _rates(scored, "cer") if scored else None


def rates_by_first_language(slices: dict[str, Any], leading: str = "cer") -> Chart | None:
    """Chart the rates of first languages, lowest first; None for fewer than two languages.

    leading: as for rates_by_duration().
    """
    scored = _scored(slices, leading)
    order = sorted(scored, key=lambda name: scored[name]["scores"]["cer_no_space"]["rate"])
    return _rates({name: scored[name] for name in order}, "cer_no_space") if order[1:] else None


def _scored(slices: dict[str, Any], leading: str) -> dict[str, Any]:
    """Select the slices that have both rates, and those rates by their keys in SCORES."""
    names = dict(zip(SCORES, (leading, "cer_no_space"), strict=True))
    return {
        name: part | {"scores": {key: part["scores"][score] for key, score in names.items()}}
        for name, part in slices.items()
        if {*names.values()} <= (part.get("scores") or {}).keys()
    }


def _rates(slices: dict[str, Any], score: str) -> Chart:
    """Draw a row for each slice, with both rates and their intervals.

    score: the one of SCORES whose lowest and highest rate the chart's words name.
    """
    labels = [_label(name) for name in slices]
    left = 10 + COUNT_WIDTH + CHARACTER * max(map(_n_columns, labels))
    bottom = SLICES_TOP + SLICE_HEIGHT * len(slices)
    scale, shapes = _rate_axis(slices, left, bottom)
    for row, (label, part) in enumerate(zip(labels, slices.values(), strict=True)):
        y = SLICES_TOP + SLICE_HEIGHT * (row + 0.5)
        shapes.append(_text(left - COUNT_WIDTH - 4, y + 4, label, "end name"))
        shapes.append(_text(left - 8, y + 4, f"{part['n_clips']:,}", "end"))
        for name, aside in SCORES.items():
            small = " small" if part.get("small") else ""
            shapes += _rate(part["scores"][name], scale, y + aside, name + small)
    return Chart(bottom + SLICES_BOTTOM, _in_words(labels, slices, score), shapes)


def _label(name: str) -> str:
    return name if len(name) <= N_LABEL else name[:N_LABEL] + "…"


def _n_columns(label: str) -> int:
    return sum(2 if ord(character) > 0x10FF else 1 for character in label)


def _rate_axis(slices: dict[str, Any], left: float, bottom: float) -> tuple[Scale, list[Shape]]:
    """Return the scale of all rates, and its grid."""
    scores = [part["scores"][name] for part in slices.values() for name in SCORES]
    highest = max(max([score["rate"], *(score.get("interval") or [])]) for score in scores)
    step = round_step(highest, 4, least=0.001)
    n_steps = max(1, math.ceil(highest / step - 1e-9))
    scale = Scale(0, n_steps * step, left, WIDTH - RIGHT)
    shapes = []
    for i in range(n_steps + 1):
        x = scale.at(i * step)
        shapes.append(_line("grid", (x, SLICES_TOP), (x, bottom)))
        shapes.append(_text(x, bottom + 16, f"{i * step:.3g}"))
    return scale, shapes


def _rate(score: dict[str, Any], scale: Scale, y: float, style: str) -> list[Shape]:
    """Draw the rate as a circle or a square, and its interval as a line behind it."""
    mark = _square if style.startswith("cer_no_space") else _circle
    ends = [(scale.at(bound), y) for bound in score.get("interval") or ()]
    interval = [_line(style, *ends)] if ends else []
    return [*interval, mark(style, scale.at(score["rate"]), y)]


def _in_words(labels: list[str], slices: dict[str, Any], score: str) -> str:
    """Name the slices with the lowest and the highest rate."""
    rates = [part["scores"][score]["rate"] for part in slices.values()]
    low, high = rates.index(min(rates)), rates.index(max(rates))
    if len(rates) == 1:
        return f"{shown_rate(rates[0])} ({labels[0]})"
    lowest, highest = (f"{shown_rate(rates[i])} ({labels[i]})" for i in (low, high))
    return f"lowest {lowest}, highest {highest}"


# Calibration


def calibration(bins: list[dict[str, Any]]) -> Chart | None:
    """Chart accuracy over confidence, and the characters of each bin; None without characters."""
    bins = [part for part in bins if part.get("n_characters")]
    if not bins:
        return None
    lowest = min(min(part["confidence"], part["accuracy"]) for part in bins)
    low = min(0.9, math.floor(10 * lowest) / 10)
    x = Scale(low, 1, CALIBRATION_LEFT, WIDTH - RIGHT)
    y = Scale(low, 1, N_CHARACTERS_TOP - 16, CALIBRATION_TOP)
    points = [(x.at(part["confidence"]), y.at(part["accuracy"])) for part in bins]
    shapes = [
        *_calibration_grid(x, y),
        *_character_bars(bins, x),
        _line("ideal", (x.start, y.start), (x.end, y.end)),
        _line("measured", *points),
        *(_circle("measured", *point) for point in points),
    ]
    return Chart(CALIBRATION_HEIGHT, _calibration_words(bins), shapes)


def _calibration_words(bins: list[dict[str, Any]]) -> str:
    n_characters = sum(part["n_characters"] for part in bins)
    above = sum((part["confidence"] - part["accuracy"]) * part["n_characters"] for part in bins)
    points = 100 * above / n_characters
    return (
        f"confidence is {abs(points):.1f} points too {'high' if points > 0 else 'low'} on average"
    )


def _calibration_grid(x: Scale, y: Scale) -> list[Shape]:
    step = round_step(1 - x.low, 5, least=0.1)
    n_steps = math.floor((1 - x.low) / step + 1e-9)  # counted down from 1
    shapes = [
        _text(0, 12, "accuracy", "start"),
        _text((x.start + x.end) / 2, CALIBRATION_HEIGHT - 8, "confidence; bars: characters"),
    ]
    for value in (1 - i * step for i in range(n_steps + 1)):
        shapes.append(_line("grid", (x.at(value), y.end), (x.at(value), y.start)))
        shapes.append(_line("grid", (x.start, y.at(value)), (x.end, y.at(value))))
        shapes.append(_text(x.at(value), N_CHARACTERS_BOTTOM + 16, f"{value:.1f}"))
        shapes.append(_text(x.start - 8, y.at(value) + 4, f"{value:.1f}", "end"))
    return shapes


def _character_bars(bins: list[dict[str, Any]], x: Scale) -> list[Shape]:
    largest = max(part["n_characters"] for part in bins)
    heights = Scale(0, largest, 0, N_CHARACTERS_BOTTOM - N_CHARACTERS_TOP)
    shapes = []
    for part in bins:
        left, height = x.at(part["confidence"]) - 4, heights.at(part["n_characters"])
        text = f"{part['n_characters']:,} characters"
        shapes.append(_bar("characters", left, 8, N_CHARACTERS_BOTTOM, max(1.5, height), text))
    return shapes


# Histograms


def histogram(bins: dict[str, Any], unit: str) -> Chart | None:
    """Chart how many clips lie in each bin; None where there is no clip.

    bins: "counts" of equal bins of one "step" that start at 0, and how many clips lie "above".
    """
    counts, above = list(bins["counts"]), bins["above"]
    while not above and counts and not counts[-1]:
        counts.pop()
    tallest = max([*counts, above], default=0)
    if not tallest:
        return None
    edges = [f"{round(i * bins['step'], 6):,g}" for i in range(len(counts) + 1)]
    names = [f"{low} to {high} {unit}" for low, high in zip(edges, edges[1:], strict=False)]
    name_above = f"{edges[-1]} {unit} or more"
    heights, shapes = _clip_axis(tallest)
    # Leave a slot free before the bar of all that is above: its bin is not as wide as the others.
    n_slots = len(counts) + (2 if above else 0)
    slots = Scale(0, n_slots, HISTOGRAM_LEFT, WIDTH - RIGHT)
    bars = {slot: n for slot, n in enumerate(counts) if n} | ({n_slots - 1: above} if above else {})
    for slot, n in bars.items():
        name = names[slot] if slot < len(counts) else name_above
        shapes.append(_clip_bar(slots, slot, heights.at(n), f"{name}: {n:,}"))
    shapes += _edge_texts(edges, slots, bool(above))
    words = _histogram_words(counts, names, above, name_above)
    return Chart(HISTOGRAM_HEIGHT, words, shapes)


def _clip_axis(tallest: int) -> tuple[Scale, list[Shape]]:
    """Return the scale of the bars' heights, and its grid."""
    step = int(round_step(tallest, 4))
    n_steps = -(-tallest // step)
    bottom = HISTOGRAM_HEIGHT - HISTOGRAM_BOTTOM
    heights = Scale(0, n_steps * step, 0, bottom - HISTOGRAM_TOP)
    shapes = []
    for n in range(0, n_steps * step + 1, step):
        y = bottom - heights.at(n)
        shapes.append(_line("grid", (HISTOGRAM_LEFT, y), (WIDTH, y)))
        shapes.append(_text(HISTOGRAM_LEFT - 6, y + 4, short(n), "end"))
    return heights, shapes


def _clip_bar(slots: Scale, slot: int, height: float, text: str) -> Shape:
    left, right = slots.at(slot + 0.08), slots.at(slot + 0.92)
    # One clip among 100,000 must show too.
    return _bar("clips", left, right - left, HISTOGRAM_HEIGHT - HISTOGRAM_BOTTOM,
                max(1.5, height), text)  # fmt: skip


def _edge_texts(edges: list[str], slots: Scale, above: bool) -> list[Shape]:
    """Label every bin's left edge, or every second, fifth … where they are many."""
    y = HISTOGRAM_HEIGHT - 5
    ticks = [
        (slots.at(i), edges[i]) for i in range(0, len(edges), int(round_step(len(edges) - 1, 7)))
    ]
    if above:
        # Its label takes the room of the last ticks.
        ticks = [tick for tick in ticks if tick[0] < WIDTH - 60]
        ticks.append((WIDTH - 20, f"≥ {edges[-1]}"))
    return [_text(x, y, text) for x, text in ticks]


def _histogram_words(counts: list[int], names: list[str], above: int, name_above: str) -> str:
    n = sum(counts) + above
    words = [f"{n:,} clip{'s' * (n != 1)}"]
    if any(counts):
        most = max(counts)
        words.append(f"most often {names[counts.index(most)]} ({most:,})")
    if above:
        words.append(f"{above:,} of {name_above}")
    return ", ".join(words)


def short(n: int) -> str:
    """Write 500 as it is and 20,000 as 20k: an axis has room for five characters."""
    thousands = (len(str(n)) - 1) // 3
    return f"{n / 1000**thousands:g}{['', *'kMGTPE'][thousands]}"
