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
{% if final.shares and not final.base_share %}

No share of the base model lowers the sum of both errors, so nothing is blended.
{% elif final.shares %}

They are blended with the base's (weight interpolation, Wortsman et al. 2022): {{
final.base_share }} × base + {{ (1 - final.base_share)|round(6) }} × fine-tuned. The rows of new
tokens{{ "" if recipe.head == "resize" else ", here the whole head," }} are not blended.
{% endif %}
{% if final.shares %}

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
