"""The picture of a training run and the model card."""

from pathlib import Path
from typing import Any

import jinja2


def draw_training_curve(log: list[dict[str, Any]], path: Path) -> None:
    """Draw loss and learning rate over updates, and validation CER and WER below, as a PNG."""
    # It takes a second to import, and only the end of script 2 needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _draw_loss(above, [row for row in log if "loss" in row])
    _draw_rates(below, [row for row in log if "eval_cer" in row])
    below.set_xlabel("updates")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, dpi=110, format="png")
    part.replace(path)


def _draw_loss(axes, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["loss"] for row in rows], label="training loss")
    axes.set_ylabel("CTC loss per label")
    axes.set_ylim(bottom=0)
    right = axes.twinx()
    rates = [row["learning_rate"] for row in rows]
    right.plot(steps, rates, color="0.6", linestyle="--", label="learning rate")
    right.set_ylabel("learning rate")
    right.set_ylim(bottom=0)
    axes.legend(handles=[*axes.lines, *right.lines], loc="upper right")


def _draw_rates(axes, rows: list[dict[str, Any]]) -> None:
    axes.set_ylabel("error rate")
    if not rows:
        return
    steps = [row["step"] for row in rows]
    for name in ("wer", "cer"):
        rates = [row[f"eval_{name}"] for row in rows]
        axes.plot(steps, rates, marker="o", label=f"validation {name.upper()}")
    axes.set_ylim(bottom=0)
    axes.legend()


def model_card(experiment: dict[str, Any]) -> str:
    """Write README.md of the model folder: scores, data, recipe, and the command that made it."""
    return _CARD.render(**experiment)


_CARD = jinja2.Environment(
    trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
).from_string("""\
---
language: ko
pipeline_tag: automatic-speech-recognition
library_name: transformers
base_model: {{ base_model.name }}
---
# {{ name }}

wav2vec2-CTC for Korean, fine-tuned from `{{ base_model.name }}` by recipe `{{ recipe.name }}`.
{% if tokens_added %}
The tokenizer gained `{{ tokens_added|join("` `") }}`{{
"; every trained row of the head was kept" if recipe.head == "resize" }}.
{% endif %}

{% if final.averaged %}
The mean of {{ final.averaged|length }} checkpoints, updates {{ final.averaged|join(", ") }} of {{
updates }}, has a validation CER of {{ "%.4f"|format(final.average) }}, the best of them alone {{
"%.4f"|format(final.best) }}.
{% endif %}
{% if final_update is none %}
The weights are that mean.
{% else %}
The weights are those of update {{ final_update }} of {{ updates }}, {{
"the last" if recipe.final_model == "last" else "the checkpoint of the lowest validation CER" }}.
{% endif %}
{% if final.shares %}

They are blended with the base's (weight interpolation, Wortsman et al. 2022): {{
final.base_share }} × base + {{ (1 - final.base_share)|round(6) }} × fine-tuned. The rows of new
tokens{{ "" if recipe.head == "resize" else ", here the whole head," }} are not blended.

| base's share | natives' CER | learners' CER without punctuation |
|---|---|---|
{% for row in final.shares %}
{% set learners = row.learner_cer_no_punctuation %}
| {{ row.share }} | {{ "%.4f"|format(row.cer) }} | {{
"–" if learners is none else "%.4f"|format(learners) }} |
{% endfor %}
{% endif %}

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

{{ updates }} updates, {{ precision }}.
The clips are listed in `split/`, every value in `experiment.json`.

| recipe value | |
|---|---|
{% for key, value in recipe.items() %}
| {{ key }} | {{ value }} |
{% endfor %}

```
{{ command }}
```
""")
