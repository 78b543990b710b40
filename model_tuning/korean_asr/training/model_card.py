"""The model card."""

from typing import Any

import jinja2


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
