import re
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from korean_asr.errors import UsageError
from korean_asr.recipe import BatchPlan, batch_plan, chosen_recipe, overrides
from recipes import RECIPES, V1, V2, V3

# design.md §4, row by row.
TABLE = {
    "clips_before_split": (None, 8_000),
    "split_caps": ((12_000, 1_500, 1_500), None),
    "seed": (42, 42),
    "added_tokens": ("", ".,?!"),
    "extra_tokens": (None, None),
    "head": ("reinitialise", "resize"),
    "freeze_feature_encoder": (False, True),
    "epochs": (20, 10),
    "batch_per_gpu": (4, 8),
    "accumulation": (4, 2),
    "gpus": (4, 4),
    "learning_rate": (3e-4, 1e-4),
    "warmup_steps": (300, 0),
    "warmup_ratio": (0, 0.05),
    "precision": ("float32", "fp16"),
    "length_grouping": (False, True),
    "max_batch_seconds": (None, None),
    "gradient_checkpointing": (False, False),
    "final_model": ("last", "best"),
    "attention_dropout": (0.1, 0.05),
    "hidden_dropout": (0.1, 0.05),
    "feat_proj_dropout": (0.0, 0.0),
    "layerdrop": (0.1, 0.05),
    "mask_time_prob": (0.05, 0.04),
    "eval_steps": (100, 200),
    "save_steps": (100, 200),
    "checkpoints_kept": (2, 3),
    "workers": (0, 4),
    "group_by": ("none", "sentence"),
    "max_duration_s": (20, 20),
    "weight_decay": (0, 0),
}


@pytest.mark.parametrize(
    ("key", "early", "late"), [(key, *values) for key, values in TABLE.items()]
)
def test_a_recipe_holds_the_value_of_the_table(key, early, late):
    assert [getattr(chosen_recipe(RECIPES, name, {}), key) for name in ("v1", "v2", "v3")] == [
        early,
        early,
        late,
    ]


def test_the_table_names_every_value_of_a_recipe():
    assert set(TABLE) == set(asdict(V3)) - {"name"}


def test_the_recipes_are_named_as_they_are_called():
    assert list(RECIPES) == ["v1", "v2", "v3", "v7", "demo"]
    assert all(found.name == name for name, found in RECIPES.items())
    assert replace(V2, name="v1") == V1


def test_a_recipe_cannot_change_by_accident():
    with pytest.raises(FrozenInstanceError):
        V3.epochs = 1


def test_the_demo_differs_from_v3_only_in_what_its_size_asks_for():
    demo, v3 = asdict(RECIPES["demo"]), asdict(V3)
    changed = {key for key in demo if demo[key] != v3[key]}
    assert changed <= {"name", "epochs", "batch_per_gpu", "accumulation", "gpus", "learning_rate",
                       "eval_steps", "save_steps", "workers"}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_stands_up_to_its_own_checks(name):
    assert chosen_recipe(RECIPES, name, {}) == RECIPES[name]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], {}),
        (["--learning-rate", "2e-4"], {"learning_rate": "2e-4"}),
        (["--learning-rate=2e-4"], {"learning_rate": "2e-4"}),
        (["--learning_rate=2e-4"], {"learning_rate": "2e-4"}),
        (
            ["--epochs", "3", "--precision=bf16", "--seed", "1"],
            {"epochs": "3", "precision": "bf16", "seed": "1"},
        ),
        (["--epochs", "3", "--epochs=4"], {"epochs": "4"}),
        (["--added-tokens="], {"added_tokens": ""}),
        (["--added-tokens", ".,?!="], {"added_tokens": ".,?!="}),
        (["--learning-rate", "-1"], {"learning_rate": "-1"}),
    ],
)
def test_options_are_read_in_either_form(options, wanted):
    assert overrides(options) == wanted


def test_a_misspelt_option_of_the_script_is_told_its_own_name():
    with pytest.raises(
        UsageError, match="no option or recipe value '--chekpoints'. Did you mean '--checkpoints'?"
    ):
        overrides(["--chekpoints", "x"], ("checkpoints", "base_model"))
    with pytest.raises(UsageError, match="Did you mean '--base-model'?"):
        overrides(["--basemodel", "x"], ("checkpoints", "base_model"))


@pytest.mark.parametrize(
    ("key", "text"), [("epochs", "1e308"), ("batch_per_gpu", "9" * 20), ("workers", "5000")]
)
def test_a_value_far_above_sense_is_told_instead_of_running_out_of_numbers(key, text):
    with pytest.raises(UsageError, match="it must be at most"):
        chosen_recipe(RECIPES, "v3", {key: text})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--learnin-rate", "1"],
            "no option or recipe value '--learnin-rate'. Did you mean '--learning-rate'?",
        ),
        (
            ["--eval-step=1"],
            "no option or recipe value '--eval-step'. Did you mean '--eval-steps'?",
        ),
        (["--name", "v4"], "no option or recipe value '--name'. Did you mean '--final-model'?"),
        (["--zzz"], "no option or recipe value '--zzz'."),
        (["--"], "no option or recipe value '--'."),
        (["3"], "'3' belongs to no option."),
        (["--epochs", "3", "4"], "'4' belongs to no option."),
        (["--epochs"], "--epochs wants a value."),
        (["--precision", "--epochs", "3"], "--precision wants a value."),
        (
            ["--precison=bf16"],
            "no option or recipe value '--precison'. Did you mean '--precision'?",
        ),
    ],
)
def test_an_option_that_is_none_is_wrong_usage_and_names_the_nearest(options, told):
    with pytest.raises(UsageError) as failure:
        overrides(options)
    assert str(failure.value) == told


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(UsageError) as failure:
        chosen_recipe(RECIPES, "dem", {})
    assert (
        str(failure.value)
        == "no recipe 'dem'. There are: v1, v2, v3, v7, demo. Did you mean 'demo'?"
    )


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("learning_rate", "2e-4", 2e-4),
        ("epochs", "3", 3.0),
        ("epochs", "0.5", 0.5),
        ("seed", "0", 0),
        ("length_grouping", "false", False),
        ("gradient_checkpointing", "True", True),
        ("precision", "bf16", "bf16"),
        ("final_model", "last", "last"),
        ("max_batch_seconds", "40", 40.0),
        ("max_batch_seconds", "none", None),
        ("added_tokens", "", ""),
        ("added_tokens", ".", "."),
        ("clips_before_split", "100", 100),
        ("clips_before_split", "none", None),
        ("split_caps", "80,10,10", (80, 10, 10)),
        ("split_caps", "None", None),
        ("group_by", "none", "none"),
        ("group_by", "speaker", "speaker"),
        ("extra_tokens", "5", 5),
        ("extra_tokens", "none", None),
        ("head", "reinitialise", "reinitialise"),
        ("layerdrop", "0", 0.0),
        ("max_duration_s", "inf", float("inf")),
    ],
)
def test_a_value_given_as_text_replaces_that_of_the_recipe_alone(key, text, value):
    changed = chosen_recipe(RECIPES, "v3", {key: text})
    assert getattr(changed, key) == value and type(getattr(changed, key)) is type(value)
    assert changed == replace(V3, **{key: value})


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("learning_rate", "fast", "--learning-rate fast: a number is wanted."),
        ("learning_rate", "", "--learning-rate : a number is wanted."),
        ("epochs", "1,5", "--epochs 1,5: a number is wanted."),
        ("batch_per_gpu", "8.0", "--batch-per-gpu 8.0: a whole number is wanted."),
        ("clips_before_split", "all", "--clips-before-split all: a whole number is wanted."),
        ("length_grouping", "yes", "--length-grouping yes: true or false is wanted."),
        ("precision", "fp61", "--precision fp61: one of float32, fp16, bf16 is wanted. Did you mean 'fp16'?"),
        ("group_by", "sentnce", "--group-by sentnce: one of none, sentence, speaker is wanted. Did you mean 'sentence'?"),
        ("max_batch_seconds", "0", "--max-batch-seconds 0.0: it must be above 0."),
        ("max_batch_seconds", "many", "--max-batch-seconds many: a number is wanted."),
        ("save_steps", "300",
         "--save-steps 300 is no multiple of --eval-steps 200: every checkpoint must be scored, so that the best one is "
         "known. Change one of them, or pass --final-model last."),
        ("freeze_feature_encoder", "1", "--freeze-feature-encoder 1: true or false is wanted."),
        ("split_caps", "80,10", "--split-caps 80,10: three numbers: 80,10,10 is wanted."),
        ("split_caps", "a,b,c", "--split-caps a,b,c: three numbers: 80,10,10 is wanted."),
        ("epochs", "0", "--epochs 0.0: it must be above 0."),
        ("learning_rate", "-1", "--learning-rate -1.0: it must be above 0."),
        ("learning_rate", "nan", "--learning-rate nan: a number is wanted."),
        ("accumulation", "0", "--accumulation 0: it must be above 0."),
        ("eval_steps", "0", "--eval-steps 0: it must be above 0."),
        ("layerdrop", "1", "--layerdrop 1.0: it must be from 0 to below 1."),
        ("mask_time_prob", "-0.1", "--mask-time-prob -0.1: it must be from 0 to below 1."),
        ("warmup_ratio", "5", "--warmup-ratio 5.0: it must be from 0 to below 1."),
        ("seed", "-1", "--seed -1: it must not be negative."),
        ("workers", "-1", "--workers -1: it must not be negative."),
        ("group_by", "theme", "--group-by theme: one of none, sentence, speaker is wanted."),
        ("extra_tokens", "0", "--extra-tokens 0: how often a character is seen must be at least 1."),
        ("extra_tokens", "all", "--extra-tokens all: a whole number is wanted."),
        ("head", "new", "--head new: one of resize, reinitialise is wanted."),
        ("clips_before_split", "9", "--clips-before-split: at least 10 are wanted, so that 8:1:1 leaves no split empty."),
        ("split_caps", "80,0,10", "--split-caps: at least 1 clip is wanted in each split."),
        ("split_caps", "80,10,-1", "--split-caps: at least 1 clip is wanted in each split."),
        ("checkpoints_kept", "1",
         "--checkpoints-kept: at least 2 are wanted, so that one is whole while the next is written."),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_wrong_usage_and_says_what_is_wanted(key, text, told):
    with pytest.raises(UsageError) as failure:
        chosen_recipe(RECIPES, "v3", {key: text})
    assert str(failure.value) == told


@pytest.mark.parametrize(
    ("n_processes", "per_device", "accumulation"),
    [(1, 8, 8), (2, 8, 4), (4, 8, 2), (8, 8, 1), (16, 4, 1), (32, 2, 1), (64, 1, 1)],
)
def test_v3_updates_by_64_clips_on_any_number_of_gpus(n_processes, per_device, accumulation):
    assert batch_plan(V3, n_processes) == BatchPlan(per_device, accumulation, n_processes)
    assert per_device * accumulation * n_processes == V3.global_batch == 64


@pytest.mark.parametrize(
    ("n_processes", "per_device", "accumulation"), [(1, 4, 16), (4, 4, 4), (8, 4, 2), (16, 4, 1)]
)
def test_v1_updates_by_64_clips_too(n_processes, per_device, accumulation):
    assert batch_plan(V1, n_processes) == BatchPlan(per_device, accumulation, n_processes)


def test_a_batch_that_is_no_power_of_two_is_dealt_whole():
    values = chosen_recipe(RECIPES, "v3", {"batch_per_gpu": "6", "accumulation": "5", "gpus": "1"})
    assert batch_plan(values, 3) == BatchPlan(
        5, 2, 3
    )  # 10 clips each: at most 6 at a time, and 5 divides 10
    assert batch_plan(values, 1) == BatchPlan(6, 5, 1)


@pytest.mark.parametrize("n_processes", [3, 5, 7, 48, 65, 128])
def test_processes_that_do_not_divide_the_batch_are_wrong_usage(n_processes):
    with pytest.raises(UsageError) as failure:
        batch_plan(V3, n_processes)
    assert str(failure.value) == (
        f"{n_processes} processes do not divide the global batch of 64 clips (8 x 2 x 4). "
        "Use --nproc_per_node 1, 2, 4, 8, 16, 32, 64, or change --batch-per-gpu."
    )


def test_v7_is_the_sister_projects_best_with_our_head():
    v7 = RECIPES["v7"]
    assert (v7.clips_before_split, v7.epochs, v7.batch_per_gpu, v7.accumulation) == (
        38_000,
        20,
        4,
        8,
    )
    assert (v7.learning_rate, v7.weight_decay, v7.length_grouping, v7.head) == (
        2e-4,
        0.005,
        True,
        "resize",
    )
    assert replace(v7, **{key: getattr(V3, key) for key in (
        "name", "clips_before_split", "epochs", "batch_per_gpu", "accumulation", "learning_rate", "weight_decay",
    )}) == V3  # fmt: skip


def test_checkpoints_need_no_score_where_the_last_is_the_final_model():
    assert (
        chosen_recipe(RECIPES, "v3", {"save_steps": "300", "final_model": "last"}).save_steps == 300
    )


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("learning_rate", "2e-4", "float"),
        ("epochs", None, "float"),
        ("batch_per_gpu", 8.0, "int"),
        ("workers", True, "int"),
        ("freeze_feature_encoder", 1, "bool"),
        ("added_tokens", [".", ","], "str"),
        ("clips_before_split", 8e3, "int"),
        ("split_caps", (80, 10), "tuple"),
    ],
)
def test_a_value_of_another_type_in_an_edited_recipe_is_wrong_usage(
    monkeypatch, key, value, wanted
):
    monkeypatch.setitem(RECIPES, "v3", replace(V3, **{key: value}))
    with pytest.raises(UsageError, match=re.escape(f"{value!r} of recipe v3: ") + f".*{wanted}"):
        chosen_recipe(RECIPES, "v3", {})


def test_a_whole_number_is_a_number():
    assert replace(V3, epochs=3) == chosen_recipe(RECIPES, "v3", {"epochs": "3"})
