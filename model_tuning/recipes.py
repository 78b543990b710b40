"""v1, v2, v3, v7 and demo: every value of an experiment, as data. A value on the command line replaces one of these."""

from dataclasses import replace

from korean_asr.recipe import Recipe

KRESNIK = "kresnik/wav2vec2-large-xlsr-korean"

# The first experiments, as their authors ran them: no new token, so `. , ? !` become [UNK], and a head that is initialised
# anew because the tokenizer is larger than it (ignore_mismatched_sizes alone).
V1 = Recipe(
    name="v1",
    split_caps=(12_000, 1_500, 1_500),
    head="reinitialise",
    freeze_feature_encoder=False,
    epochs=20.0,
    batch_per_gpu=4,
    accumulation=4,
    learning_rate=3e-4,
    warmup_steps=300,
    length_grouping=False,
    final_model="last",
)
V2 = replace(V1, name="v2")

# Experiment 2: punctuation becomes part of the alphabet and every trained row of the head is kept.
V3 = Recipe(
    name="v3",
    clips_before_split=8_000,
    group_by="sentence",
    added_tokens=".,?!",
    warmup_ratio=0.05,
    precision="fp16",
    workers=4,
    attention_dropout=0.05,
    hidden_dropout=0.05,
    layerdrop=0.05,
    mask_time_prob=0.04,
    eval_steps=200,
    save_steps=200,
    checkpoints_kept=3,
)

# The best of a sister project (validation CER 0.070), with v3's tokens and head: nearly five times the clips, twice the epochs.
V7 = replace(
    V3,
    name="v7",
    clips_before_split=38_000,
    epochs=20.0,
    batch_per_gpu=4,
    accumulation=8,
    learning_rate=2e-4,
    weight_decay=0.005,
)

# v3 scaled to the bundled corpus: at v3's own values its 192 training clips would make 30 updates. A model of 2 M parameters
# takes, and needs, a larger learning rate than one of 317 M.
DEMO = replace(
    V3,
    name="demo",
    epochs=12.0,
    batch_per_gpu=8,
    accumulation=1,
    gpus=1,
    learning_rate=5e-4,
    eval_steps=72,
    save_steps=72,
    workers=0,
)

RECIPES = {recipe.name: recipe for recipe in (V1, V2, V3, V7, DEMO)}
