"""The picture and the card of a training run."""

from pathlib import Path
from typing import Any

import jinja2

from korean_asr.files import whole_file


def draw_training_curve(log: list[dict[str, Any]], path: Path) -> None:
    """Loss and learning rate over updates, validation CER and WER below them, as a PNG."""
    from matplotlib.figure import (
        Figure,
    )  # takes a second to import; only the end of script 2 needs it

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
