"""The file to edit: every value of an experiment, and why it is what it is.

A value that a recipe does not name has the default of korean_asr/recipe.py, which also tells what
each value means, as `--help` of script 2 does. An option of script 2 replaces one for a single run.
"""

from dataclasses import replace

from korean_asr.recipe import Recipe

KRESNIK = "kresnik/wav2vec2-large-xlsr-korean"

# The first experiment, as the original code ran it. It adds no token, so `. , ? !` become [UNK].
V1 = Recipe(
    name="v1",
    # The original code splits all clips, then takes the first so many of each split.
    split_caps=(12_000, 1_500, 1_500),
    # The tokenizer is larger than the trained head, and ignore_mismatched_sizes starts it anew.
    head="reinitialise",
    # The original code trains the convolutional encoder too.
    freeze_feature_encoder=False,
    # A head that starts at random has more to learn than v3's, which takes 10.
    epochs=20.0,
    # 4 x 4 x 4 GPUs = 64 clips an update, as v3 has with 8 x 2 x 4.
    batch_per_gpu=4,
    accumulation=4,
    # Three times v3's, for the head that starts at random.
    learning_rate=3e-4,
    # A head that starts at random would disturb the trained layers below it.
    warmup_steps=300,
    # The Trainer draws clips at random unless it is asked for more.
    length_grouping=False,
    # The original code saves the model as it stands after the last update.
    final_model="last",
)

# The second experiment repeated the first.
V2 = replace(V1, name="v2")

# Experiment 2: punctuation becomes part of the vocabulary, every trained row of the head is kept.
V3 = Recipe(
    name="v3",
    # 6,400 of them for training, half of v1's: the trained head is kept.
    clips_before_split=8_000,
    # Corpora repeat sentences, and a repeated one in the test split would be known by heart.
    group_by="sentence",
    # The marks that Korean transcripts hold and the base model cannot write.
    added_tokens=".,?!",
    # 100 updates each, 1,000 in all, as in the original code.
    epochs=10.0,
    # 8 x 2 x 4 GPUs = 64 clips an update. Script 2 keeps the 64 on another number of GPUs.
    batch_per_gpu=8,
    accumulation=2,
    gpus=4,
    # A third of v1's, whose head starts at random.
    learning_rate=1e-4,
    # 50 of 1,000 updates: the head is trained already, so a short warm-up is enough.
    warmup_ratio=0.05,
    # Faster than float32 on a GPU, and smaller. Without a GPU script 2 uses float32.
    precision="fp16",
    # Processes that read ahead, so that the GPU does not wait for the disk.
    workers=4,
    # Half as much regularisation as v1 (masks: four fifths), for half as many epochs.
    attention_dropout=0.05,
    hidden_dropout=0.05,
    layerdrop=0.05,
    mask_time_prob=0.04,
    # Every second epoch: an epoch has 100 updates.
    eval_steps=200,
    save_steps=200,
    # The last three, and the best besides.
    checkpoints_kept=3,
)

# What the original code did under v3's name. training/README.md tells why v3 differs from it.
V3_AS_RUN = replace(
    V3,
    name="v3-as-run",
    # Sentences fall into splits as they are drawn.
    group_by="none",
    # The head was made anew at the new size, so the trained rows were lost.
    head="reinitialise",
    # The encoder was trained.
    freeze_feature_encoder=False,
    # Clips were drawn at random.
    length_grouping=False,
    # The model after the last update was saved.
    final_model="last",
)

# The best of another project on the same base (validation CER 0.070), with v3's tokens and head.
V7 = replace(
    V3,
    name="v7",
    # Nearly five times v3's clips, and twice its epochs.
    clips_before_split=38_000,
    epochs=20.0,
    # 4 x 8 x 4 GPUs = 128 clips an update.
    batch_per_gpu=4,
    accumulation=8,
    # Twice v3's, for twice its clips an update.
    learning_rate=2e-4,
    # Twice the epochs could overfit: a little decay holds against it.
    weight_decay=0.005,
)

# v3's data and tokens with what lowers the error of both kinds of speakers: the table in
# tests/benchmarks/NOTES.md has each change alone. It needs learners' clips, which choose with the
# natives' how much of the base model stays.
LISTENER = replace(
    V3,
    name="listener",
    # An hour of learners' speech: enough to choose by, and script 4 scores all others.
    learner_validation=800,
    # Each clip is heard slower, faster or as it is: more voices than the corpus has.
    speeds=(0.9, 1.0, 1.1),
    # Fine-tuning forgets voices that the corpus lacks, and the base remembers them.
    base_share="choose",
)

# v3 scaled to the bundled corpus, whose 192 training clips would make 30 updates by v3's values.
DEMO = replace(
    V3,
    name="demo",
    # 24 updates an epoch, 192 in all: a minute on two cores.
    epochs=8.0,
    batch_per_gpu=8,
    accumulation=1,
    gpus=1,
    # A model of 2 million parameters takes a larger one than one of 317 million. With 5e-4 it
    # forgets how to recognise what 192 clips do not hold.
    learning_rate=2e-4,
    # Four times in a run.
    eval_steps=48,
    save_steps=48,
    # Starting processes would take longer than reading 192 short clips.
    workers=0,
)

# The recipe listener, scaled in the same way.
DEMO_LISTENER = replace(
    DEMO,
    name="demo-listener",
    # A third of the demo's learners, speakers kept whole.
    learner_validation=28,
    speeds=LISTENER.speeds,
    base_share=LISTENER.base_share,
)

RECIPES = {
    recipe.name: recipe for recipe in (V1, V2, V3, V3_AS_RUN, V7, LISTENER, DEMO, DEMO_LISTENER)
}
