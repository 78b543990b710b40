"""preprocessing.json as one page for people: what became of every line and clip, with charts and examples."""

import difflib
import os
from typing import Any

import jinja2
from markupsafe import Markup

from korean_asr.pages.html import N_SHOWN, TITLES, both, counted, cut, percent, visible
from korean_asr.vocabulary import ADVICE, WORTH_ADVICE

# An earlier script 1 wrote none of these: what needs them is left out, and one note says so.
LATER_KEYS = (
    "labels", "examples", "durations", "rates", "speakers", "first_languages", "vocabulary", "fastest", "slowest",
)  # fmt: skip
N_BEFORE = 60  # of them, in front of the change in a longer line
N_COMPARED = (
    3 * N_SHOWN
)  # more than is shown, so that the end of the cut does not look like a change

# An SVG of 360 units is shown 320 to 480 pixels wide, so its text of 12 units is about as large as the page's small print.
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 360, 180, 46, 10, 22


def preprocessing_page(
    summary: dict[str, dict[str, Any]], reasons: dict[str, str], rules: dict[str, str]
) -> str:
    """One self-contained page about the corpora of a preprocessing.json; it can always be written as UTF-8.

    summary: corpus name -> what script 1 wrote of it.
    reasons: reason of a rejection -> its explanation, "English · 한국어".
    rules: name of a rule -> its sentence, "English · 한국어".
    """
    return _PAGE.render(summary=summary, reasons=reasons, rules=rules)


def _marked(before: str, after: str) -> list[Markup]:
    """Both texts around their first change, with <del> and <ins> about what differs."""
    start = len(os.path.commonprefix([before, after]))
    end = len(os.path.commonprefix([before[start:][::-1], after[start:][::-1]]))
    old, new = (text[start : len(text) - end][:N_COMPARED] for text in (before, after))
    head, tail = before[:start], before[len(before) - end :]
    if len(before) > N_SHOWN and start > N_BEFORE:
        head = "…" + head[-N_BEFORE:]
    changes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    deleted = [("del" * (kind != "equal"), old[i:j]) for kind, i, j, _, _ in changes]
    inserted = [("ins" * (kind != "equal"), new[i:j]) for kind, _, _, i, j in changes]
    return [_pieces([("", head), *middle, ("", tail)]) for middle in (deleted, inserted)]


def _pieces(pieces: list[tuple[str, str]]) -> Markup:
    """(tag or nothing, text) in a row, cut to N_SHOWN characters."""
    html, room = Markup(), N_SHOWN
    for tag, text in pieces:
        if text and room >= 0:
            shown = visible(text[:room] + "…" * (len(text) > room))
            html += Markup(f"<{tag}>{shown}</{tag}>") if tag else shown
            room -= len(text)
    return html


def _histogram(bins: dict[str, Any], unit: str) -> dict[str, Any] | None:
    """Where the bars, lines and ticks of a histogram lie, in units of the SVG, and its words; None where all is 0."""
    step, counts, above = bins["step"], [*bins["counts"]], bins.get("above", 0)
    while not above and counts and not counts[-1]:
        counts.pop()
    tallest = max([*counts, above], default=0)
    if not tallest:
        return None
    edges = [f"{round(i * step, 6):,g}" for i in range(len(counts) + 1)]
    bars = [
        (place, n, f"{edges[place]} to {edges[place + 1]} {unit}")
        for place, n in enumerate(counts)
        if n
    ]
    most = max(bars, key=lambda bar: bar[1], default=None)
    words = [counted(sum(counts) + above, "clip")] + (
        [f"most often {most[2]} ({most[1]:,})"] if most else []
    )
    slots = len(counts) + (2 if above else 0)  # the bar of those above stands apart
    width = (WIDTH - LEFT - 14) / slots
    ticks = [
        (LEFT + i * width, edges[i]) for i in range(0, len(edges), _round_number(len(counts), 7))
    ]
    if above:
        bars.append((slots - 1, above, f"{edges[-1]} {unit} or more"))
        words.append(f"{above:,} of {bars[-1][2]}")
        ticks = [tick for tick in ticks if tick[0] < WIDTH - 60] + [(WIDTH - 20, f"≥ {edges[-1]}")]
    between = _round_number(tallest, 4)  # clips from one line to the next
    height = (HEIGHT - TOP - BOTTOM) / (-(-tallest // between) * between)  # of one clip
    return {
        # One clip among 100,000 is to be seen too.
        "bars": [
            (LEFT + (i + 0.08) * width, 0.84 * width, max(1.5, n * height), f"{text}: {n:,}")
            for i, n, text in bars
        ],
        "lines": [
            (HEIGHT - BOTTOM - n * height, _short(n)) for n in range(0, tallest + between, between)
        ],
        "ticks": ticks,
        "words": ", ".join(words),
    }


def _round_number(whole: int, n_most: int) -> int:
    """The least of 1, 2, 5, 10, 20 … that goes into `whole` at most n_most times."""
    power = 1
    while 5 * power * n_most < whole:
        power *= 10
    return next(digit * power for digit in (1, 2, 5) if digit * power * n_most >= whole)


def _short(n: int) -> str:
    """500 as it is, 20,000 as 20k: there is room for five characters beside an axis."""
    thousands = (len(str(n)) - 1) // 3
    return f"{n / 1000**thousands:g}{['', *'kMGTPE'][thousands]}"


_ENVIRONMENT = jinja2.Environment(
    autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=visible
)
_ENVIRONMENT.filters |= {
    "both": both, "counted": counted, "cut": cut, "histogram": _histogram, "marked": _marked,
    "number": "{:,}".format, "percent": percent,
}  # fmt: skip
_ENVIRONMENT.globals |= {
    "advice": ADVICE, "later_keys": LATER_KEYS, "titles": TITLES,
    "worth_advice": WORTH_ADVICE, "size": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "bottom": BOTTOM},
}  # fmt: skip
_PAGE = _ENVIRONMENT.from_string("""\
{% macro bar(n, whole) %}
<svg class="bar" aria-hidden="true"><rect width="100%" height="100%"/><rect height="100%" \
width="{{ "%.2f"|format([n|percent(whole), 100]|min) }}%"/></svg>
{% endmacro %}
{##}
{% macro bars(counts, whole=0) %}
<ul class="bars">
{% for name, n in counts.items() %}
<li><span lang="ko">{{ name }}</span><span class="number">{{ n|number }}</span>
{{ bar(n, whole or counts.values()|max) }}</li>
{% endfor %}
</ul>
{% endmacro %}
{##}
{% macro explained(counts, whole, columns, explanations, examples) %}
<table>
<thead><tr>{% for title in columns %}<th scope="col"{% if not loop.first %} class="number"{% endif %}>{{ title|both }}</th>
{% endfor %}</tr></thead>
{% for name, n in counts.items() %}
<tbody>
<tr><th scope="rowgroup"><strong>{{ name }}</strong></th>
<td class="number">{{ n|number }}</td><td class="number">{{ "%.1f"|format(n|percent(whole)) }} %</td></tr>
<tr><td colspan="3" class="more small">{{ bar(n, whole) }}{{ explanations.get(name, "")|both }}</td></tr>
{% for example in examples.get(name, []) %}
<tr><td colspan="3" class="more">
{% if "raw" in example %}
<p class="text" lang="ko">{{ example.raw|cut or "—" }}</p>
{% else %}
{% set before, after = example.before|marked(example.after) %}
<p class="text" lang="ko">{{ before or "—" }}</p>
<p class="text after" lang="ko">{{ after or "—" }}</p>
{% endif %}
<p class="small">{{ example.id|cut }}</p></td></tr>
{% endfor %}
</tbody>
{% endfor %}
</table>
{% endmacro %}
{##}
{% macro histogram(title, bins, unit) %}
{% set chart = bins|histogram(unit) %}
<figure>
<h3>{{ title|both }}</h3>
{% if chart %}
<svg viewBox="0 0 {{ size.width }} {{ size.height }}" role="img" aria-label="{{ chart.words }}">
{% for y, text in chart.lines %}
<path d="M{{ size.left }} {{ "%.1f"|format(y) }}H{{ size.width }}"/>
<text class="end" x="{{ size.left - 6 }}" y="{{ "%.1f"|format(y + 4) }}">{{ text }}</text>
{% endfor %}
{% for x, width, height, text in chart.bars %}
<rect x="{{ "%.2f"|format(x) }}" y="{{ "%.2f"|format(size.height - size.bottom - height) }}" \
width="{{ "%.2f"|format(width) }}" height="{{ "%.2f"|format(height) }}"><title>{{ text }}</title></rect>
{% endfor %}
{% for x, text in chart.ticks %}
<text x="{{ "%.1f"|format(x) }}" y="{{ size.height - 5 }}">{{ text }}</text>
{% endfor %}
</svg>
{% endif %}
<figcaption class="small">{{ chart.words if chart else "No clip was counted. · 음성이 없습니다."|both }}</figcaption>
</figure>
{% endmacro %}
{##}
{% macro characters(rows) %}
<ul class="characters">
{% for row in rows %}
<li><b lang="ko">{{ row.character }}</b><span>{{ row.n_clips|counted("clip") }}
<span class="small">{{ row.n|counted("time") }}</span></span></li>
{% endfor %}
</ul>
{% endmacro %}
{##}
{% macro clips(title, rows) %}
<table>
<caption>{{ title|both }}</caption>
<thead><tr><th scope="col">{{ "clip · 음성"|both }}</th><th scope="col" class="number">{{ "char./s · 글자/초"|both }}</th>
<th scope="col" class="number">{{ "seconds · 초"|both }}</th></tr></thead>
{% for clip in rows %}
<tbody><tr><th scope="row"><p class="text" lang="ko">{{ clip.text|cut or "—" }}</p><p class="small">{{ clip.id|cut }}</p></th>
<td class="number">{{ "%.2f"|format(clip.rate) }}</td><td class="number">{{ "%.2f"|format(clip.duration) }}</td></tr></tbody>
{% endfor %}
</table>
{% endmacro %}
{##}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Preprocessing · 전처리</title>
<style>
:root { color-scheme: light; --paper: #fff; --ink: #1b1f23; --quiet: #59626b; --line: #d5dade; --tint: #f0f2f4;
  --accent: #1c6e8c }
@media screen and (prefers-color-scheme: dark) { :root {
  color-scheme: dark; --paper: #15191c; --ink: #e4e8eb; --quiet: #a3adb5; --line: #394147; --tint: #22282d;
  --accent: #6cbbd6 } }
* { box-sizing: border-box }
body { font: 1rem/1.5 system-ui, "Noto Sans KR", "Noto Sans CJK KR", sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: auto; padding: 1rem; overflow-wrap: anywhere; -webkit-text-size-adjust: 100% }
h1, h2, h3 { line-height: 1.3; break-after: avoid }
h1 { font-size: 1.75rem; margin: 0 }
h2 { font-size: 1.5rem; margin: 2.5rem 0 1rem; padding-top: .75rem; border-top: 3px solid var(--accent) }
h3 { font-size: 1.125rem; margin: 2.25rem 0 .5rem }
p, ul, dl { margin: .5rem 0; padding: 0 }
a, ins { color: var(--accent) }
[lang=ko] { word-break: keep-all }
.small, thead, dt { font-size: .875rem }
.small, thead, dt, del, :is(h1, h2, h3) [lang=ko] { color: var(--quiet); font-weight: normal }
thead [lang=ko], dt [lang=ko], .characters .small { display: block }
.more > span::before { content: "· " }
code, samp { font: .875em ui-monospace, monospace }
samp { border: 1px solid; border-radius: 3px; padding: 0 2px; white-space: nowrap }
.headline { display: flex; flex-wrap: wrap; gap: .5rem 2rem }
.headline dd { margin: 0; font-size: 1.75rem; line-height: 1.2 }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem }
caption { text-align: left; font-weight: 600 }
th, td { padding: .4rem 0 .4rem 1rem; text-align: left; vertical-align: top; font-weight: normal }
th:first-child, td:first-child { padding-left: 0; width: 100% }
thead, tbody { border-bottom: 1px solid var(--line) }
td p, th p { margin: 0 }
.number { text-align: right; font-variant-numeric: tabular-nums }
thead .number, td.number { white-space: nowrap }
.more { padding-top: 0 }
.more .text { background: var(--tint); padding: .1rem .5rem }
.text { white-space: pre-wrap; unicode-bidi: isolate }
.after::before { content: "→ " }
.bar { display: block; width: 100%; height: 6px; margin: 3px 0 }
.bar rect { fill: var(--line) }
.bar rect + rect, figure rect { fill: var(--accent) }
figure, .pair > * { margin: 0; min-width: 0 }
figure svg { display: block; width: 100% }
figure text { font-size: 12px; fill: var(--quiet); text-anchor: middle }
figure .end { text-anchor: end }
figure path { stroke: var(--line) }
.pair, .bars, .characters { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0 2.5rem }
.bars { grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: .25rem 2rem }
.characters { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .5rem }
.bars, .characters { list-style: none }
.bars li { display: flex; flex-wrap: wrap; justify-content: space-between; align-content: end; column-gap: 1rem }
.characters li { display: flex; align-items: start; gap: .5rem }
.characters b { min-width: 2rem; padding: 0 .25rem; flex: none; text-align: center; background: var(--tint) }
li, figure, tr, tbody, dl { break-inside: avoid }
h3 + p { break-after: avoid }
@page { margin: 15mm }
@media print {
  html { font-size: 10pt }
  body { max-width: none; padding: 0 }
  article + article { break-before: page }
  nav { display: none }
}
</style>
</head>
<body>
<h1>{{ "Preprocessing · 전처리"|both }}</h1>
<p class="small">What script 1 made of every line and every clip: <code>preprocessing.json</code> as a page. Each rejected clip
is in <code>rejected.jsonl</code>. <span lang="ko">1번 스크립트가 전사와 음성을 어떻게 처리했는지 보여 줍니다.</span></p>
{% if summary|length > 1 %}
<nav>
{% for name in summary %}
<p><a href="#corpus-{{ loop.index }}">{{ titles.get(name, name)|both }}</a></p>
{% endfor %}
</nav>
{% endif %}
{% for name, corpus in summary.items() %}
{% set n_lines = corpus.n_clips + corpus.n_rejected %}
{% set examples = corpus.examples or {} %}
<article id="corpus-{{ loop.index }}">
<h2>{{ titles.get(name, name)|both }}</h2>
<dl class="headline">
<div><dt>{{ "usable clips · 사용할 음성"|both }}</dt><dd>{{ corpus.n_clips|number }}</dd></div>
<div><dt>{{ "hours · 시간"|both }}</dt><dd>{{ "{:,.2f}".format(corpus.hours) }}</dd></div>
<div><dt>{{ "rejected · 제외한 음성"|both }}</dt><dd>{{ corpus.n_rejected|number }} \
<span class="small">{{ "%.1f"|format(corpus.n_rejected|percent(n_lines)) }} %</span></dd></div>
</dl>
<p class="small">{{ corpus.folder }}<br>
<code>{% for key, value in corpus.settings.items() %}--{{ key|replace("_", "-") }} {{ value }} {% endfor %}</code><br>
{% if corpus.labels %}
{{ corpus.labels.n_files|counted("label file") }}, SHA-256 <code>{{ corpus.labels.sha256 }}</code><br>
{% endif %}
{{ name }}.jsonl, SHA-256 <code>{{ corpus.sha256 }}</code></p>
{% for note in corpus.notes %}
<p>{{ note|both }}</p>
{% endfor %}
{% set missing = later_keys|reject("in", corpus)|map("replace", "_", " ")|list %}
{% if missing %}
<p>{{ ("An earlier version of script 1 wrote this, without " ~ missing|join(", ") ~ ": run it again to see them. · "
~ "이전 버전의 결과입니다. 1번을 다시 실행하면 모두 볼 수 있습니다.")|both }}</p>
{% endif %}
{##}
<h3>{{ "Rejected, and why · 제외한 음성과 이유"|both }}</h3>
{% if corpus.reasons %}
{{ explained(corpus.reasons, corpus.n_rejected, ("reason · 이유", "clips · 음성", "of them · 비율"), reasons,
examples.reasons or {}) }}
{% else %}
<p>{{ "No clip was rejected. · 제외한 음성이 없습니다."|both }}</p>
{% endif %}
{##}
<h3>{{ "What the rules changed · 규칙이 고친 전사"|both }}</h3>
{% if corpus.rules %}
{{ explained(corpus.rules, n_lines, ("rule · 규칙", "lines · 줄", "of all · 비율"), rules, examples.rules or {}) }}
{% else %}
<p>{{ "No line was changed. · 고친 줄이 없습니다."|both }}</p>
{% endif %}
{##}
<h3>{{ "Converted when it is read · 읽을 때 변환"|both }}</h3>
{% if corpus.converted %}
{{ bars(corpus.converted, corpus.n_clips) }}
{% else %}
<p>{{ "Nothing: every clip is used as it is. · 변환할 음성이 없습니다."|both }}</p>
{% endif %}
{##}
<div class="pair">
{% if corpus.durations %}
{{ histogram("Duration in seconds · 길이(초)", corpus.durations, "s") }}
{% endif %}
{% if corpus.rates %}
{{ histogram("Characters per second · 초당 글자 수", corpus.rates, "a second") }}
{% endif %}
</div>
{##}
{% if corpus.speakers %}
{% set speakers = corpus.speakers %}
<h3>{{ "Clips per speaker · 화자별 음성"|both }}</h3>
{% if speakers.n %}
<p>{{ speakers.n|counted("speaker") }}\
{% if speakers.clips|length < speakers.n %}; the {{ speakers.clips|length }} with the most clips are shown{% endif %}\
{% if speakers.n_unknown %}; {{ speakers.n_unknown|counted("clip") }} without a speaker{% endif %}</p>
{{ bars(speakers.clips) }}
{% else %}
<p>{{ "The corpus does not name its speakers. · 화자 정보가 없는 데이터입니다."|both }}</p>
{% endif %}
{% endif %}
{##}
{% if corpus.first_languages %}
<h3>{{ "First languages · 모국어"|both }}</h3>
{{ bars(corpus.first_languages) }}
{% endif %}
{##}
{% if "vocabulary" in corpus %}
{% set vocabulary = corpus.vocabulary %}
<h3>{{ "Characters that the base model cannot write · 기본 모델이 쓸 수 없는 글자"|both }}</h3>
{% if not vocabulary %}
<p>{{ "With --base-model, script 1 shows them here. · 1번에 --base-model을 주면 여기에 보입니다."|both }}</p>
{% else %}
{% set outside = vocabulary.characters|rejectattr("added")|list %}
<p><code>{{ vocabulary.base_model }}</code>
{% if vocabulary.n_outside %}
cannot write {{ vocabulary.n_outside|number }} of {{ vocabulary.n_characters|counted("character") }}
({{ vocabulary.n_kinds|counted("kind") }}), in {{ vocabulary.n_touched|number }} of {{ vocabulary.n_labels|counted("label") }}
({{ "%.1f"|format(vocabulary.n_touched|percent(vocabulary.n_labels)) }} %).
{% else %}
can write all {{ vocabulary.n_characters|counted("character") }} of {{ vocabulary.n_labels|counted("label") }}.
{% endif %}
Lowest reachable CER: <strong>{{ "%.4f"|format(vocabulary.lowest_cer) }}</strong></p>
{% if vocabulary.lowest_cer > worth_advice %}
<p>{{ advice|both }}</p>
{% endif %}
{{ characters(outside) }}
{% if vocabulary.n_kinds > outside|length %}
<p class="small">The {{ outside|length }} most frequent are shown.</p>
{% endif %}
{% if vocabulary.added %}
<p>{{ ("Not counted, since the recipe adds them: `" ~ vocabulary.added ~ "` · 추가하는 글자라 세지 않았습니다.")|both }}</p>
{{ characters(vocabulary.characters|selectattr("added")) }}
{% endif %}
{% endif %}
{% endif %}
{##}
{% if corpus.fastest or corpus.slowest %}
<h3>{{ "Fastest and slowest clips · 가장 빠른 음성과 가장 느린 음성"|both }}</h3>
<p>{{ ("Listen to them first: a wrong rate is the quickest sign of a label that belongs to another clip. · "
~ "속도가 이상하면 다른 음성의 전사일 수 있으니 먼저 들어 보세요.")|both }}</p>
<div class="pair">
<div>{{ clips("Fastest · 빠른 음성", corpus.fastest or []) }}</div>
<div>{{ clips("Slowest · 느린 음성", corpus.slowest or []) }}</div>
</div>
{% endif %}
</article>
{% endfor %}
</body>
</html>
""")
