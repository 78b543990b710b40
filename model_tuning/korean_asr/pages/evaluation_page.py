"""The results of one model on one manifest as one page for people: scores, charts, confusions, and every clip to hear."""

import base64
import hashlib
import io
import json
import math
import re
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from rapidfuzz.distance import Levenshtein

from korean_asr.metrics import normalised
from korean_asr.pages.html import TITLES, both, can_be_seen, counted, cut, percent, plain, visible

SCORES = {
    "cer": "CER · 글자 오류율",
    "wer": "WER · 어절 오류율",
    "cer_no_punctuation": "CER without punctuation · 문장 부호 제외",
    "wer_no_punctuation": "WER without punctuation · 문장 부호 제외",
    "cer_no_space": "Fair CER: without punctuation and spaces · 문장 부호와 띄어쓰기 제외",
    "swer": "sWER: WER with the reference's spacing · 정답 띄어쓰기를 따른 어절 오류율",
}
# What a manifest may know of a clip, in the order in which it is shown.
SLICES = {
    "duration": "Duration · 길이",
    "first_language": "First language · 모국어",
    "topik_level": "TOPIK level · 토픽 등급",
    "gender": "Gender · 성별",
    "age": "Age · 나이",
    "residence": "Residence · 지역",
    "country": "Country · 국가",
    "task": "Task · 과제",
    "theme": "Theme · 주제",
    "quality": "Audio quality · 음질",
    "speaker": "Speaker · 화자",
}
POSITIONS = {"onset": "Onset · 초성", "nucleus": "Nucleus · 중성", "coda": "Coda · 종성"}
KINDS = {
    "id": "clip · 음성 이름",
    "audio": "audio · 음성",
    "sentence": "sentence · 문장",
    "speaker": "speaker · 화자",
}
JAMO = "ㄱㄲㄳㄴㄵㄶㄷㄸㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅃㅄㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
N_CONFUSIONS = 10  # of one position, in the list beside its map
N_LABEL = 14  # characters of one label of a chart

# A chart is drawn in colours that nothing else uses; the page puts its own in their place, which follow the dark mode.
INK, QUIET, LINE, ACCENT, SECOND = "#010201", "#010202", "#010203", "#010204", "#010205"
COLOURS = {
    INK: "var(--ink)", QUIET: "var(--quiet)", LINE: "var(--line)", ACCENT: "var(--accent)", SECOND: "var(--second)",
}  # fmt: skip
CHART_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "korean_asr",  # text stays text, and the same chart has the same ids
    "text.parse_math": False,  # a first language named $x$ is a name
    "font.size": 10, "font.family": "DejaVu Sans", "text.color": QUIET, "axes.labelcolor": QUIET, "axes.edgecolor": LINE,
    "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": QUIET, "ytick.labelcolor": QUIET, "grid.color": LINE,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "grid.linewidth": 0.6,
}  # fmt: skip
# Inches of 72 units. A chart of 360 units is shown 320 to 480 pixels wide, so its text is about as large as small print.
WIDTH = 5.0


def evaluation_page(
    summary: dict[str, Any],
    rows: list[dict[str, Any]],
    audio: list[str | None],
    embedded: bool = False,
) -> str:
    """One self-contained page about a korean.json or foreign.json; it can always be written as UTF-8.

    summary: what the file holds; what is missing of it is left out.
    rows: a clip each, as in the .jsonl beside it: id, duration in seconds, text, pred_text, cer, wer, and what is known.
    audio: a URL for each clip's player, or None; data: URIs where embedded, and then the page tells of their licence.
    """
    places = {str(row.get("id", "")): place for place, row in reversed([*enumerate(rows)])}
    slices = _slices(rows)
    return _template().render(
        summary=summary,
        scores=summary.get("scores") or {},
        fair="cer_no_space" if summary.get("corpus") == "foreign" else "cer",
        groups={key: slices for key, slices in (summary.get("groups") or {}).items() if slices},
        duration_chart=_duration_chart(summary),
        first_language_chart=_first_language_chart(summary),
        calibration_chart=_calibration_chart(summary.get("calibration")),
        confusions=_confusions(summary.get("confusions") or {}, places),
        n_rows=len(rows),
        has_confidence=any(_number(row.get("confidence"), 3) is not None for row in rows),
        filters=slices,
        data=_json({"fields": [*slices], "values": [[*counts] for counts in slices.values()],
                    "clips": _clips(rows, audio, slices)}),
        embedded=embedded,
    )  # fmt: skip


# Clips


def aligned(reference: str, hypothesis: str) -> list[str | list[str]]:
    """Both texts in pieces, in order, by the alignment that CER counts.

    A piece is a string where the texts are equal, else [reference, hypothesis]: of one length where characters are
    substituted; ["가", ""] is a deletion, ["", "가"] an insertion.
    """
    reference, hypothesis = normalised(reference), normalised(hypothesis)
    return [
        reference[i:j] if kind == "equal" else [reference[i:j], hypothesis[k:m]]
        for kind, i, j, k, m in Levenshtein.opcodes(reference, hypothesis)
    ]


def _slices(rows: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Field -> how many clips have each of its values, the fields without any left out: what the clips are filtered by."""
    counts = {
        key: Counter(sorted(filter(None, (_known(row, key) for row in rows)))) for key in SLICES
    }
    return {key: values for key, values in counts.items() if values and key != "duration"}


def _known(row: dict[str, Any], key: str) -> str | None:
    value = row.get(key)
    return None if value is None or value == "" else str(value)


def _clips(
    rows: list[dict[str, Any]], audio: list[str | None], slices: dict[str, Counter[str]]
) -> list[list[Any]]:
    """One list a clip, since its keys would weigh more than its values; the script names them again."""
    numbers = {
        key: {value: number for number, value in enumerate(counts)}
        for key, counts in slices.items()
    }
    return [
        [
            str(row.get("id", "")),
            url,
            _number(row.get("duration"), 2),
            _number(row.get("cer"), 4),
            _number(row.get("wer"), 4),
            _number(row.get("confidence"), 3),
            _known(row, "problem"),
            aligned(row.get("text") or "", row.get("pred_text") or ""),
            [numbers[key].get(_known(row, key), -1) for key in slices],
        ]
        for row, url in zip(rows, audio, strict=True)
    ]


def _number(value: Any, n_digits: int) -> float | None:
    """Rounded; None where it is none, or one that JSON does not know."""
    known = isinstance(value, int | float) and math.isfinite(value)
    return round(value, n_digits) if known else None


def _json(value: Any) -> Markup:
    """JSON for a <script>: nothing in it ends the element, and what cannot be seen or encoded is an escape sequence."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(re.sub("[^ -~가-힣]|[<\x7f]", lambda match: _escape_sequence(match[0]), text))


def _escape_sequence(character: str) -> str:
    if can_be_seen(character) and character != "<":
        return character
    return re.sub("....", r"\\u\g<0>", character.encode("utf-16-be", "surrogatepass").hex())


# Confusions


def _confusions(
    confusions: dict[str, Any], places: dict[str, int]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """(first language, the maps of its positions), all speakers first."""
    names = sorted(confusions, key=lambda name: name != "all")
    return [
        (
            name,
            [
                _map(key, confusions[name][key], places)
                for key in POSITIONS
                if confusions[name].get(key)
            ],
        )
        for name in names
    ]


def _map(position: str, pairs: list[dict[str, Any]], places: dict[str, int]) -> dict[str, Any]:
    """Rows and columns of a heat map with its cells, and the most frequent pairs with the places of their clips."""
    rows, columns = (
        sorted({pair[side] for pair in pairs}, key=_alphabetical)
        for side in ("reference", "hypothesis")
    )
    cells = {(pair["reference"], pair["hypothesis"]): pair for pair in pairs}
    strongest = max(percent(pair["n"], pair["of"]) for pair in pairs) or 1
    return {
        "title": POSITIONS[position],
        "columns": columns,
        "rows": [(jamo, [cells.get((jamo, heard)) for heard in columns]) for jamo in rows],
        "strongest": strongest,
        "most": [
            pair
            | {"clips": [(str(clip), places.get(str(clip))) for clip in pair.get("clips") or []]}
            for pair in pairs[:N_CONFUSIONS]
        ],
    }


def _alphabetical(jamo: str) -> tuple[int, str]:
    return (JAMO.find(jamo) % (len(JAMO) + 1), jamo)  # what is no jamo comes last


# Charts


def _duration_chart(summary: dict[str, Any]) -> Markup | None:
    slices = _scored_slices(summary, "duration")
    return (
        _drawn("duration", _rates_upright, slices, words=_in_words("CER by duration", slices))
        if slices
        else None
    )


def _first_language_chart(summary: dict[str, Any]) -> Markup | None:
    slices = _scored_slices(summary, "first_language")
    if len(slices) < 2:
        return None
    slices = dict(
        sorted(slices.items(), key=lambda item: item[1]["scores"]["cer_no_space"]["rate"])
    )
    words = _in_words("Fair CER by first language", slices, "cer_no_space")
    return _drawn("first-language", _rates_lying, slices, words=words)


def _scored_slices(summary: dict[str, Any], key: str) -> dict[str, Any]:
    """The slices that have both rates that a chart shows."""
    slices = (summary.get("groups") or {}).get(key) or {}
    return {
        name: part
        for name, part in slices.items()
        if {"cer", "cer_no_space"} <= (part.get("scores") or {}).keys()
    }


def _in_words(title: str, slices: dict[str, Any], score: str = "cer") -> str:
    rates = {name: part["scores"][score]["rate"] for name, part in slices.items()}
    best, worst = min(rates, key=rates.get), max(rates, key=rates.get)
    words = f"{title}: lowest {rates[best]:.4f} ({cut(best, N_LABEL)}), highest {rates[worst]:.4f} ({cut(worst, N_LABEL)})"
    return words if len(rates) > 1 else f"{title}: {rates[best]:.4f} ({cut(best, N_LABEL)})"


# Score, name in the legend, colour, marker, and how far from the middle of its place.
_SERIES = (("cer", "CER", ACCENT, "o", -0.16), ("cer_no_space", "fair CER", SECOND, "s", 0.16))


def _rates_upright(slices: dict[str, Any]) -> Any:
    """A figure with the slices from left to right."""
    figure, axes = _axes(2.9, left=0.46, bottom=0.5, top=0.32)
    _dots(axes, slices, lying=False)
    axes.set_xticks(range(len(slices)), [_label(name) for name in slices])
    for place, part in enumerate(
        slices.values()
    ):  # a text apart: of two lines in one, only matplotlib finds the middle
        axes.annotate(
            f"{part['n_clips']:,}",
            (place, 0),
            (0, -26),
            ("data", "axes fraction"),
            "offset points",
            ha="center",
        )
    axes.set_xlim(-0.5, len(slices) - 0.5)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    return figure


def _rates_lying(slices: dict[str, Any]) -> Any:
    """A figure with the slices from top to bottom: names of any length fit."""
    names = [f"{_label(name)}  {part['n_clips']:,}" for name, part in slices.items()]
    left = 0.15 + 0.085 * max(sum(2 if ord(c) > 0x10FF else 1 for c in name) for name in names)
    figure, axes = _axes(0.7 + 0.31 * len(slices), left=left, bottom=0.32, top=0.32)
    _dots(axes, slices, lying=True)
    axes.set_yticks(range(len(slices)), names)
    axes.set_ylim(len(slices) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="x")
    return figure


def _dots(axes: Any, slices: dict[str, Any], lying: bool) -> None:
    for score, title, colour, marker, aside in _SERIES:
        axes.plot([], [], marker, color=colour, markersize=6, label=title)
        for place, part in enumerate(slices.values()):
            rate, interval = part["scores"][score]["rate"], part["scores"][score].get("interval")
            at, strength = place + aside, 0.45 if part.get("small") else 1
            if interval:
                ends = axes.hlines if lying else axes.vlines
                ends(at, *interval, color=colour, linewidth=2, alpha=strength)
            point = (rate, at) if lying else (at, rate)
            face = "none" if part.get("small") else colour
            axes.plot(
                *point, marker, color=colour, markerfacecolor=face, markersize=6, clip_on=False
            )
    _legend(axes)


def _calibration_chart(calibration: dict[str, Any] | None) -> Markup | None:
    bins = [part for part in (calibration or {}).get("bins") or [] if part.get("n_characters")]
    if not bins:
        return None
    n_characters = sum(part["n_characters"] for part in bins)
    above = (
        sum((part["confidence"] - part["accuracy"]) * part["n_characters"] for part in bins)
        / n_characters
    )
    words = f"Accuracy by confidence: confidence is {100 * abs(above):.1f} points too {'high' if above > 0 else 'low'}"
    return _drawn(
        "calibration", _reliability, bins, words=f"{words} on average, {counted(len(bins), 'bin')}"
    )


def _reliability(bins: list[dict[str, Any]]) -> Any:
    """A figure of accuracy over confidence, and how many characters there are of each."""
    figure, axes = _axes(3.4, left=0.5, bottom=1.05, top=0.32)
    confidences = [part["confidence"] for part in bins]
    low = math.floor(10 * min(min(part["confidence"], part["accuracy"]) for part in bins)) / 10
    axes.plot([low, 1], [low, 1], "--", color=QUIET, linewidth=1, label="as sure as right")
    axes.plot(
        confidences,
        [part["accuracy"] for part in bins],
        "o-",
        color=ACCENT,
        linewidth=1.5,
        label="measured",
    )
    below = figure.add_axes(
        [axes.get_position().x0, 0.42 / 3.4, axes.get_position().width, 0.5 / 3.4], sharex=axes
    )
    below.vlines(confidences, 0, [part["n_characters"] for part in bins], color=SECOND, linewidth=7)
    below.set_ylim(bottom=0)
    below.set_yticks([])
    below.set_xlabel("confidence; bars: characters", labelpad=2)
    axes.tick_params(labelbottom=False)
    axes.set_ylabel("accuracy", labelpad=3)
    axes.set_xlim(low - 0.03, 1.03)
    axes.set_ylim(low - 0.03, 1.03)
    axes.grid()
    _legend(axes)
    return figure


def _axes(height: float, left: float, bottom: float, top: float) -> tuple[Any, Any]:
    """A figure of WIDTH x height inches, and its axes with these margins in inches: a browser's font is not measured."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    inside = [
        left / WIDTH,
        bottom / height,
        (WIDTH - left - 0.12) / WIDTH,
        (height - bottom - top) / height,
    ]
    return figure, figure.add_axes(inside)


def _legend(axes: Any) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        frameon=False,
        borderaxespad=0,
        handletextpad=0.4,
        handlelength=1.4,
    )


def _label(name: str) -> str:
    return plain(cut(name, N_LABEL))


def _drawn(name: str, figure_of: Any, content: Any, words: str) -> Markup:
    """The SVG of a figure as an element of the page: named by `words`, with ids of its own and the page's colours."""
    import matplotlib

    # A label in Hangul is no glyph of the font that matplotlib measures with; the browser has one.
    with matplotlib.rc_context(CHART_STYLE), warnings.catch_warnings(), io.StringIO() as file:
        warnings.simplefilter("ignore")
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure_of(content).savefig(file, format="svg", transparent=True, metadata=nothing)
        drawing = file.getvalue()
    drawing = re.sub(
        "<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.S
    )
    box = re.search('viewBox="(.*?)"', drawing)[1]
    inner = drawing[drawing.index(">", drawing.index("<svg")) + 1 :]
    # Only within tags: a text may read like an attribute, and holds no < or > of its own.
    inner = re.sub("<[^>]*>", lambda tag: _owned(tag[0], name), inner)
    return Markup(
        f'<svg viewBox="{box}" role="img" aria-label="{Markup.escape(plain(words))}">{inner}'
    )


def _owned(tag: str, name: str) -> str:
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    return re.sub("#01020[1-5]", lambda colour: COLOURS[colour[0]], tag)


# The page


def _rate(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "—"


def _between(interval: list[float] | None) -> Markup:
    return Markup("{:.4f}–<wbr>{:.4f}").format(*interval) if interval else Markup()


def _sha256(script: str) -> str:
    """Of the page's own script, as a browser wants it: it runs no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
        undefined=jinja2.ChainableUndefined,
    )
    environment.filters |= {
        "between": _between, "both": both, "counted": counted, "cut": cut, "number": "{:,}".format, "percent": percent,
        "plain": plain, "rate": _rate, "sha256": _sha256,
    }  # fmt: skip
    environment.globals |= {
        "kinds": KINDS, "positions": POSITIONS, "score_titles": SCORES, "slice_titles": SLICES, "titles": TITLES,
    }  # fmt: skip
    return environment.from_string(
        Path(__file__).with_name("evaluation.html").read_text(encoding="utf-8")
    )
