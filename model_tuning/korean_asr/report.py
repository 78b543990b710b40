"""Scores -> terminal, JSON, HTML; and the picture and the card of a training run."""

import unicodedata
from pathlib import Path
from typing import Any

import jinja2

from .evaluation import Evaluation, result_rows, summary
from .files import whole_file, write_json, write_json_lines
from .metrics import RULE

TITLES = {"korean": "Korean speakers · 한국어 화자", "foreign": "Foreign speakers of Korean · 외국인 화자"}
SCORE_TITLES = {
    "cer": "CER",
    "wer": "WER",
    "cer_no_punctuation": "CER without punctuation",
    "wer_no_punctuation": "WER without punctuation",
    "cer_no_space": "CER without punctuation and spaces",
}


def printed_report(evaluation: Evaluation) -> str:
    """One model's report. `CER: 0.0702` and `WER: 0.2091` stand alone on their lines, for people and for grep."""
    totals = evaluation.totals
    made_by = f" (recipe {evaluation.recipe})" if evaluation.recipe else ""
    lines = [
        "",
        f"=== {TITLES[evaluation.corpus]} · {evaluation.model}{made_by} · rule {RULE} ===",
        f"Manifest: {evaluation.manifest}",
        *(f"Note: {note}" for note in evaluation.notes),
        f"Clips: {len(evaluation.utterances):,}  Minutes: {evaluation.duration / 60:.1f}  "
        f"Unreadable: {evaluation.n_unreadable}",
        f"CER: {totals['cer'].rate:.4f}",
        f"WER: {totals['wer'].rate:.4f}",
        "",
        f"{'score':<36}{'rate':>8}{'S':>8}{'D':>8}{'I':>8}{'reference':>11}",
    ]
    for name, count in totals.items():
        edits = f"{count.substitutions:>8,}{count.deletions:>8,}{count.insertions:>8,}{count.reference_length:>11,}"
        lines.append(f"{SCORE_TITLES[name]:<36}{count.rate:>8.4f}{edits}")
    for slices in summary(evaluation)["groups"].values():
        lines += ["", f"{'first language · 모국어':<20}{'clips':>8}{'CER':>9}{'CER no space':>14}"]
        for name, part in slices.items():
            rates = [part["scores"][score]["rate"] for score in ("cer", "cer_no_space")]
            lines.append(f"{_padded(name, 23)}{part['n_clips']:>8}{rates[0]:>9.4f}{rates[1]:>14.4f}")
    return "\n".join([*lines, *_worst_clips(evaluation)])


def _worst_clips(evaluation: Evaluation) -> list[str]:
    worst = evaluation.worst()
    lines = ["", f"Worst clips · 오류가 많은 음성 ({len(worst)})"]
    for place in worst:
        utterance, hypothesis = evaluation.utterances[place], evaluation.hypotheses[place]
        problem = f"  ({hypothesis.problem})" if hypothesis.problem else ""
        lines += [
            f"  {evaluation.per_utterance[place]['cer'].rate:.2f}  {utterance.id}{problem}",
            f"        reference   {utterance.text}",
            f"        hypothesis  {hypothesis.text}",
        ]
    return lines


def printed_comparison(evaluations: list[Evaluation]) -> str:
    """The rates of several models on the same clips, side by side."""
    width = max(12, *(len(evaluation.model) + 2 for evaluation in evaluations))
    lines = ["", "Side by side · 나란히", f"{'':<36}" + "".join(f"{e.model:>{width}}" for e in evaluations)]
    for name, title in SCORE_TITLES.items():
        rates = "".join(f"{evaluation.totals[name].rate:>{width}.4f}" for evaluation in evaluations)
        lines.append(f"{title:<36}{rates}")
    return "\n".join(lines)


def _padded(text: str, width: int) -> str:
    """Left-aligned in terminal columns, of which a Hangul syllable takes two."""
    columns = sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
    return text + " " * max(1, width - columns)


def write_results(evaluations: list[Evaluation], folder: Path, owner: int = 0) -> list[Path]:
    """korean.{json,jsonl,html} or foreign.* of the owner, other models' with their names; returns what was written."""
    written = []
    for number, evaluation in enumerate(evaluations):
        stem = evaluation.corpus if number == owner else f"{evaluation.corpus}.{evaluation.model.rpartition('/')[2]}"
        if folder / f"{stem}.json" in written:  # two models of one name
            stem += f".{number + 1}"
        write_json(folder / f"{stem}.json", summary(evaluation))
        write_json_lines(folder / f"{stem}.jsonl", result_rows(evaluation, folder))
        with whole_file(folder / f"{stem}.html") as file:
            file.write(html_report(evaluation))
        written += [folder / f"{stem}.{suffix}" for suffix in ("json", "jsonl", "html")]
    return written


def html_report(evaluation: Evaluation) -> str:
    """One self-contained page: the scores, and every clip with reference and hypothesis, worst first."""
    order = sorted(range(len(evaluation.utterances)), key=lambda place: -evaluation.per_utterance[place]["cer"].rate)
    return _PAGE.render(
        title=TITLES[evaluation.corpus],
        evaluation=evaluation,
        rule=RULE,
        scores=[(SCORE_TITLES[name], count) for name, count in evaluation.totals.items()],
        groups=summary(evaluation)["groups"],
        clips=[
            (evaluation.utterances[i], evaluation.hypotheses[i], evaluation.per_utterance[i]["cer"].rate) for i in order
        ],
    )


_PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="ko">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} · {{ evaluation.model }}</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, "Noto Sans KR", sans-serif; max-width: 60rem; margin: auto; padding: 1rem }
table { border-collapse: collapse; width: 100% }
th, td { padding: .3rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid #8884 }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.headline { font-size: 2rem; margin: 0 }
small { opacity: .7; overflow-wrap: anywhere }
p { margin: 0 }
</style>
<h1>{{ title }}</h1>
<p class="headline">CER {{ "%.4f"|format(evaluation.totals.cer.rate) }} · WER {{ "%.4f"|format(evaluation.totals.wer.rate) }}</p>
<p>{{ evaluation.model }}{% if evaluation.recipe %} · recipe {{ evaluation.recipe }}{% endif %} · rule {{ rule }} ·
{{ evaluation.utterances|length }} clips · {{ "%.1f"|format(evaluation.duration / 60) }} minutes ·
{{ evaluation.n_unreadable }} unreadable</p>
{% for note in evaluation.notes %}
<p>{{ note }}</p>
{% endfor %}
<h2>Scores · 점수</h2>
<table>
<tr><th>score<th class="number">rate<th class="number">S<th class="number">D<th class="number">I<th class="number">reference
{% for name, count in scores %}
<tr><td>{{ name }}<td class="number">{{ "%.4f"|format(count.rate) }}<td class="number">{{ count.substitutions }}
<td class="number">{{ count.deletions }}<td class="number">{{ count.insertions }}<td class="number">{{ count.reference_length }}
{% endfor %}
</table>
{% for key, slices in groups.items() %}
<h2>First language · 모국어</h2>
<table>
<tr><th><th class="number">clips<th class="number">CER<th class="number">CER without punctuation and spaces
{% for name, part in slices.items() %}
<tr><td>{{ name }}<td class="number">{{ part.n_clips }}<td class="number">{{ "%.4f"|format(part.scores.cer.rate) }}
<td class="number">{{ "%.4f"|format(part.scores.cer_no_space.rate) }}
{% endfor %}
</table>
{% endfor %}
<h2>Clips, worst first · 오류가 많은 순서</h2>
<table>
<tr><th class="number">CER<th>reference, then hypothesis · 정답, 인식 결과
{% for utterance, hypothesis, rate in clips %}
<tr><td class="number">{{ "%.2f"|format(rate) }}
<td><p lang="ko">{{ utterance.text }}</p><p lang="ko">{{ hypothesis.text or "—" }}</p>
<small>{{ utterance.id }}{% if hypothesis.problem %} · {{ hypothesis.problem }}{% endif %}</small>
{% endfor %}
</table>
</html>
""")


def draw_training_curve(log: list[dict[str, Any]], path: Path) -> None:
    """Loss and learning rate over updates, validation CER and WER below them, as a PNG."""
    from matplotlib.figure import Figure  # takes a second to import; only the end of script 2 needs it

    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    losses = [(row["step"], row["loss"], row["learning_rate"]) for row in log if "loss" in row]
    if losses:
        steps, loss, rate = zip(*losses, strict=True)
        above.plot(steps, loss, label="training loss")
        above.set_ylabel("CTC loss per label")
        above.set_ylim(bottom=0)
        right = above.twinx()
        right.plot(steps, rate, color="0.6", linestyle="--", label="learning rate")
        right.set_ylabel("learning rate")
        right.set_ylim(bottom=0)
        above.legend(handles=[*above.lines, *right.lines], loc="upper right")
    scores = [(row["step"], row["eval_cer"], row["eval_wer"]) for row in log if "eval_cer" in row]
    if scores:
        steps, cer, wer = zip(*scores, strict=True)
        below.plot(steps, wer, marker="o", label="validation WER")
        below.plot(steps, cer, marker="o", label="validation CER")
        below.set_ylim(bottom=0)
        below.legend()
    below.set_xlabel("updates")
    below.set_ylabel("error rate")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, dpi=110, format="png")
    part.replace(path)


def write_model_card(path: Path, experiment: dict[str, Any]) -> None:
    """README.md of the model folder: what it is, its scores, its data, its recipe and the command that made it."""
    with whole_file(path) as file:
        file.write(_CARD.render(**experiment))


_CARD = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True).from_string("""\
---
language: ko
pipeline_tag: automatic-speech-recognition
library_name: transformers
base_model: {{ base_model.name }}
---
# {{ name }}

wav2vec2-CTC for Korean, fine-tuned from `{{ base_model.name }}` by recipe `{{ recipe.name }}`.
{% if tokens_added %}
The tokenizer gained `{{ tokens_added|join("` `") }}`{{ "; every trained row of the head was kept" if recipe.head == "resize" }}.
{% endif %}

The weights are those of update {{ final_update }} of {{ updates }}, {{
"the checkpoint of the lowest validation CER" if recipe.final_model == "best" else "the last" }}.

| validation, rule {{ rule }} | rate |
|---|---|
{% for score, rate in validation.items() %}
| {{ score }} | {{ "%.4f"|format(rate) }} |
{% endfor %}

| split | clips | hours |
|---|---|---|
{% for part, size in clips.items() %}
| {{ part }} | {{ size.n_clips }} | {{ "%.2f"|format(size.hours) }} |
{% endfor %}

{% for reason, n in left_out_of_training.items() %}
- left out of training: {{ n }} clips, {{ reason }}
{% endfor %}

{{ updates }} updates, {{ precision }}. The clips are listed in `split/`, every value in `experiment.json`.

| recipe value | |
|---|---|
{% for key, value in recipe.items() %}
| {{ key }} | {{ value }} |
{% endfor %}

```
{{ command }}
```
""")
