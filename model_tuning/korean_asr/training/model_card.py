"""The model card that script 2 writes: metadata for the model hub, and text."""

import json
from functools import partial
from typing import Any

import jinja2

from korean_asr.card_file import (
    TASK,
    CardResult,
    license_block,
    license_values,
    model_index,
    new_card,
    scores_block,
)
from korean_asr.model_folder import is_hub_name
from korean_asr.rates import shown_rate

TAGS = ["wav2vec2", "ctc", "korean", "speech-recognition"]


def model_card(experiment: dict[str, Any]) -> str:
    """Write README.md of the model folder: usage, scores, data, recipe, and the command.

    experiment: the content of experiment.json.
    """
    name, base = experiment["name"], experiment["base_model"]["name"]
    n_clips = experiment["clips"]["validation"]["n_clips"]
    validation = CardResult(
        "korean", "split/validation.jsonl", n_clips, dict(experiment["validation"])
    )
    index = model_index(name, [validation])
    hub_ids = [corpus["hub_id"] for corpus in experiment["corpora"] if corpus["hub_id"]]
    metadata = {
        "language": "ko",
        **license_values(experiment["license"]),
        "library_name": "transformers",
        "pipeline_tag": TASK,
        "base_model": base if is_hub_name(base) else None,
        "datasets": hub_ids or None,
        "tags": TAGS,
        "metrics": ["cer", "wer"],
        "model-index": index,
    }
    text = _CARD.render(
        **experiment, scores=scores_block(index), license_text=license_block(experiment["license"])
    )
    return new_card(metadata, text)


_ENVIRONMENT = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
_ENVIRONMENT.filters |= {"rate": shown_rate, "quoted": partial(json.dumps, ensure_ascii=False)}
_CARD = _ENVIRONMENT.from_string("""\
# {{ name }}

wav2vec2-CTC for Korean, fine-tuned from `{{ base_model.name }}` by recipe `{{ recipe.name }}`. It
writes what a Korean listener hears, slips of learners too, without a language model.
{% if tokens_added %}
The tokenizer gained `{{ tokens_added|join("` `") }}`{{
"; every trained row of the head was kept" if recipe.head == "resize" }}.
{% endif %}

## Use the model

The recording must be mono at 16 kHz. On the model hub the name has its owner: `owner/{{ name }}`.

```python
import soundfile
from transformers import pipeline

listener = pipeline("automatic-speech-recognition", model={{ name|quoted }})
samples, sampling_rate = soundfile.read("recording.wav")
print(listener({"raw": samples, "sampling_rate": sampling_rate})["text"])
```

## Scores

Learners' labels have no punctuation, so the score without it is the fair one for them.

{{ scores }}

{% if final.averaged %}
The mean of {{ final.averaged|length }} checkpoints, updates {{ final.averaged|join(", ") }} of {{
updates }}, has a validation CER of {{ final.average|rate }}, the best of them alone {{
final.best|rate }}.
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
| {{ row.share }} | {{ row.cer|rate }} | {{ "–" if learners is none else learners|rate }} |
{% endfor %}
{% endif %}

| validation, rule {{ rule }} | rate |
|---|---|
{% for score, rate in validation.items() %}
| {{ score }} | {{ rate|rate }} |
{% endfor %}

## Data

{% if corpora %}
Trained and validated on clips of: {% for corpus in corpora %}{{
"" if loop.first else ", " }}`{{ corpus.hub_id or corpus.name }}`{% endfor %}.
{% else %}
The manifest does not name the corpora of its clips.
{% endif %}

{{ license_text }}

| split | clips | hours |
|---|---|---|
{% for part, size in clips.items() %}
| {{ part }} | {{ size.n_clips }} | {{ "%.2f"|format(size.hours) }} |
{% endfor %}

{% for reason, n in left_out_of_training.items() %}
- left out of training: {{ n }} clips, {{ reason }}
{% endfor %}

## How it was made

{{ updates }} updates, {{ precision }}.
Every value is in `experiment.json`. The clips are listed in `split/`, with paths and texts of the
corpora: it is not for publication.

| recipe value | |
|---|---|
{% for key, value in recipe.items() %}
| {{ key }} | {{ value }} |
{% endfor %}

```
{{ "torchrun --nproc_per_node=%d"|format(n_processes) if n_processes > 1 else "python"
}} {{ command }}
```
""")
