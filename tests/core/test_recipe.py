import re
from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path

import pytest

from korean_asr.errors import UsageError
from korean_asr.recipe import VALUES, WITHOUT_LEARNERS, BatchPlan, batch_plan
from korean_asr.recipe_options import chosen_recipe, training_command
from recipes import KRESNIK, RECIPES, V1, V2, V3, V3_AS_RUN

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
    "head_learning_rate": (None, None),
    "warmup_steps": (300, 0),
    "warmup_ratio": (0, 0.05),
    "precision": ("float32", "fp16"),
    "length_grouping": (False, True),
    "max_batch_seconds": (None, None),
    "gradient_checkpointing": (False, False),
    "final_model": ("last", "best"),
    "base_share": (0, 0),
    "attention_dropout": (0.1, 0.05),
    "hidden_dropout": (0.1, 0.05),
    "feat_proj_dropout": (0.0, 0.0),
    "layerdrop": (0.1, 0.05),
    "mask_time_prob": (0.05, 0.04),
    "mask_feature_prob": (0.0, 0.0),
    "speeds": ((1.0,), (1.0,)),
    "gains": (None, None),
    "eval_steps": (100, 200),
    "save_steps": (100, 200),
    "checkpoints_kept": (2, 3),
    "workers": (0, 4),
    "group_by": ("none", "sentence"),
    "max_duration_s": (20, 20),
    "learner_validation": (0, 0),
    "learner_train": (0, 0),
    "weight_decay": (0, 0),
    "report_to": ("none", "none"),
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
    assert list(RECIPES) == [
        *("v1", "v2", "v3", "v3-as-run", "v7", "listener", "demo", "demo-listener"),
    ]
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


def test_the_listeners_differ_from_v3_and_the_demo_in_the_same_values():
    def changed(name, other):
        values, others = asdict(RECIPES[name]), asdict(RECIPES[other])
        return {key: values[key] for key in values if values[key] != others[key]}

    real, demo = changed("listener", "v3"), changed("demo-listener", "demo")
    assert real.keys() == demo.keys()
    # The demo has fewer learners.
    assert real | {"name": 0, "learner_validation": 0} == demo | {
        "name": 0,
        "learner_validation": 0,
    }


def test_v3_as_run_is_what_the_original_code_did_under_the_name_v3():
    differences = {
        "group_by": "none",
        "head": "reinitialise",
        "freeze_feature_encoder": False,
        "length_grouping": False,
        "final_model": "last",
    }
    assert replace(V3, name="v3-as-run", **differences) == V3_AS_RUN


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_stands_up_to_its_own_checks(name):
    assert chosen_recipe(RECIPES, name, {}) == RECIPES[name]


def command(*words):
    return training_command(words, RECIPES, KRESNIK)


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ([], {}),
        (["--learning-rate", "2e-4"], {"learning_rate": 2e-4}),
        (["--learning-rate=2e-4"], {"learning_rate": 2e-4}),
        (["--learning_rate=2e-4"], {"learning_rate": 2e-4}),
        (
            ["--epochs", "3", "--precision=bf16", "--seed", "1"],
            {"epochs": 3.0, "precision": "bf16", "seed": 1},
        ),
        (["--epochs", "3", "--epochs=4"], {"epochs": 4.0}),
        (["--added-tokens="], {"added_tokens": ""}),
        (["--gains", "-6,6"], {"gains": (-6.0, 6.0)}),
        (["--added-tokens", ".,?!="], {"added_tokens": ".,?!="}),
        (["--added-tokens", "-,.?"], {"added_tokens": "-,.?"}),
    ],
)
def test_options_are_read_in_either_form(words, changed):
    assert command(*words)[1] == replace(V3, **changed)


def test_a_negative_value_is_read_as_a_value_of_its_option():
    with pytest.raises(UsageError, match="--learning-rate -1.0: it must be above 0"):
        command("--learning-rate", "-1")


@pytest.mark.parametrize(
    ("words", "output", "checkpoints"),
    [
        ([], "wav2vec2_korean_v3", "wav2vec2_finetune_ko"),
        (["--recipe", "v7"], "wav2vec2_korean_v7", "wav2vec2_finetune_ko_v7"),
        (
            ["--recipe", "v3-as-run"],
            "wav2vec2_korean_v3-as-run",
            "wav2vec2_finetune_ko_v3-as-run",
        ),
        (["--recipe", "v7", "--checkpoints", "c", "--output", "o"], "o", "c"),
    ],
)
def test_the_default_folders_carry_the_name_of_the_recipe(words, output, checkpoints):
    options, _ = command(*words)
    assert (options.output, options.checkpoints) == (Path(output), Path(checkpoints))


def test_the_options_of_the_script_have_their_defaults():
    options, _ = command()
    assert (options.data, options.base_model) == (Path("data/processed"), KRESNIK)
    assert (options.check, options.fresh, options.words) == (False, False, [])


def test_help_shows_the_meaning_and_the_default_of_each_value(capsys):
    with pytest.raises(SystemExit) as end:
        command("--help")
    assert end.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for key, value in VALUES.items():
        assert f"--{key.replace('_', '-')} " in shown
        assert value.metadata["help"] in shown
    assert "split them 8:1:1; none: all (default 8000)" in shown
    assert "characters that become tokens (default .,?!)" in shown
    assert "--head resize|reinitialise" in shown


def test_a_misspelt_option_of_the_script_is_told_its_own_name():
    with pytest.raises(
        UsageError, match="no option or recipe value '--chekpoints'. Did you mean '--checkpoints'?"
    ):
        command("--chekpoints", "x")
    with pytest.raises(UsageError, match="Did you mean '--base-model'?"):
        command("--basemodel", "x")


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
        (["--name", "v4"], "no option or recipe value '--name'."),
        (["--zzz"], "no option or recipe value '--zzz'."),
        (["3"], "'3' belongs to no option."),
        (["--epochs", "3", "4"], "'4' belongs to no option."),
        (["--epochs"], "--epochs wants a value."),
        (["--output", ""], "--output: '' is empty, and a path or a name is wanted."),
        (["--output", "a/\udcff"], "--output a/\udcff: it must be text in UTF-8."),
        (["--checkpoints", "\udcff"], "--checkpoints \udcff: it must be text in UTF-8."),
        (["--data="], "--data: '' is empty, and a path or a name is wanted."),
        (["--checkpoints", " "], "--checkpoints: ' ' is empty, and a path or a name is wanted."),
        (["--base-model", ""], "--base-model: '' is empty, and a path or a name is wanted."),
        (["--data", "a", "--data", "a"], "--data: it was given twice, and takes one value."),
        (["--learning-rate", "-1e-4"], "--learning-rate -0.0001: it must be above 0."),
        (["--check=1"], "--check takes no value."),
        (["--precision", "--epochs", "3"], "--precision wants a value."),
        (
            ["--precison=bf16"],
            "no option or recipe value '--precison'. Did you mean '--precision'?",
        ),
    ],
)
def test_an_option_that_is_none_is_wrong_usage_and_names_the_nearest(options, told):
    with pytest.raises(UsageError) as failure:
        command(*options)
    assert str(failure.value) == told


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(UsageError) as failure:
        chosen_recipe(RECIPES, "dem", {})
    assert str(failure.value) == (
        "no recipe 'dem'. There are: v1, v2, v3, v3-as-run, v7, listener, demo, demo-listener. "
        "Did you mean 'demo'?"
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
        ("final_model", "average", "average"),
        ("base_share", "0.35", 0.35),
        ("base_share", "1", 1.0),
        ("max_batch_seconds", "40", 40.0),
        ("max_batch_seconds", "none", None),
        ("added_tokens", "", ""),
        ("added_tokens", ".", "."),
        ("clips_before_split", "100", 100),
        ("clips_before_split", "none", None),
        ("split_caps", "80,10,10", (80, 10, 10)),
        ("split_caps", "None", None),
        ("speeds", "0.9,1,1.1", (0.9, 1.0, 1.1)),
        ("speeds", "1", (1.0,)),
        ("gains", "-6,0.5", (-6.0, 0.5)),
        ("gains", "none", None),
        ("head_learning_rate", "1e-3", 1e-3),
        ("head_learning_rate", "none", None),
        ("mask_feature_prob", "0.1", 0.1),
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
        ("precision", "fp61",
         "--precision fp61: one of float32, fp16, bf16 is wanted. Did you mean 'fp16'?"),
        ("group_by", "sentnce",
         "--group-by sentnce: one of none, sentence, speaker is wanted. Did you mean 'sentence'?"),
        ("max_batch_seconds", "0", "--max-batch-seconds 0.0: it must be above 0."),
        ("max_batch_seconds", "many", "--max-batch-seconds many: a number is wanted."),
        ("save_steps", "300",
         "--save-steps 300 is no multiple of --eval-steps 200: every checkpoint must be scored, "
         "so that the best one is known. Change one of them, or pass --final-model last."),
        ("freeze_feature_encoder", "1", "--freeze-feature-encoder 1: true or false is wanted."),
        ("split_caps", "80,10", "--split-caps 80,10: three numbers: 80,10,10 is wanted."),
        ("split_caps", "a,b,c", "--split-caps a,b,c: three numbers: 80,10,10 is wanted."),
        ("speeds", "", "--speeds : a list of numbers: 0.9,1,1.1 is wanted."),
        ("speeds", "none", "--speeds none: a list of numbers: 0.9,1,1.1 is wanted."),
        ("speeds", "1,inf", "--speeds 1,inf: a list of numbers: 0.9,1,1.1 is wanted."),
        ("speeds", "1,0", "--speeds 1.0,0.0: at least one is wanted, each from 0.5 to 2."),
        ("gains", "6", "--gains 6: two numbers: -6,6 is wanted."),
        ("gains", "-6,0,6", "--gains -6,0,6: two numbers: -6,6 is wanted."),
        ("gains", "6,-6",
         "--gains 6.0,-6.0: the lowest and the highest are wanted, from -40 to 40."),
        ("mask_feature_prob", "1", "--mask-feature-prob 1.0: it must be from 0 to below 1."),
        ("head_learning_rate", "0", "--head-learning-rate 0.0: it must be above 0."),
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
        ("extra_tokens", "0",
         "--extra-tokens 0: how often a character is seen must be at least 1."),
        ("extra_tokens", "all", "--extra-tokens all: a whole number is wanted."),
        ("head", "new", "--head new: one of resize, reinitialise is wanted."),
        ("clips_before_split", "9",
         "--clips-before-split 9: at least 10 are wanted, so that 8:1:1 leaves no split empty."),
        ("split_caps", "80,0,10", "--split-caps 80,0,10: at least 1 clip is wanted in each split."),
        ("split_caps", "80,10,-1",
         "--split-caps 80,10,-1: at least 1 clip is wanted in each split."),
        ("added_tokens", ".\udcb9", "--added-tokens .\udcb9: it must be text in UTF-8."),
        ("added_tokens", "\ud800", "--added-tokens \ud800: it must be text in UTF-8."),
        ("final_model", "mean", "--final-model mean: one of best, last, average is wanted."),
        ("base_share", "half", "--base-share half: a number or choose is wanted."),
        ("base_share", "nan", "--base-share nan: a number or choose is wanted."),
        ("base_share", "1.5", "--base-share 1.5: it must be from 0 to 1."),
        ("base_share", "-0.1", "--base-share -0.1: it must be from 0 to 1."),
        ("base_share", "choose", WITHOUT_LEARNERS),
        ("base_share", "CHOOSE", WITHOUT_LEARNERS),
        ("checkpoints_kept", "1",
         "--checkpoints-kept 1: at least 2 are wanted, so that one is whole while the next is "
         "written."),
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


def test_v7_is_another_projects_best_with_the_head_of_v3():
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
        "name", "clips_before_split", "epochs", "batch_per_gpu", "accumulation",
        "learning_rate", "weight_decay",
    )}) == V3  # fmt: skip


def test_an_average_needs_every_checkpoint_scored_as_the_best_does():
    with pytest.raises(UsageError, match="every checkpoint must be scored"):
        chosen_recipe(RECIPES, "v3", {"save_steps": "300", "final_model": "average"})


def test_a_share_to_choose_wants_learners_and_names_the_option():
    with pytest.raises(UsageError, match="Pass --learner-validation with a number of clips"):
        command("--base-share", "choose")


def test_help_shows_that_a_share_is_a_number_or_a_word(capsys):
    with pytest.raises(SystemExit):
        command("--help")
    assert "--base-share X|choose" in capsys.readouterr().out


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
        ("learning_rate", float("nan"), "float"),
        ("speeds", 0.9, "tuple"),
        ("speeds", ("0.9",), "tuple"),
        ("gains", (0, 3, 6), "tuple"),
        ("base_share", "half", r"float \| str"),
        ("base_share", None, r"float \| str"),
    ],
)
def test_a_value_of_another_type_in_an_edited_recipe_is_wrong_usage(
    monkeypatch, key, value, wanted
):
    monkeypatch.setitem(RECIPES, "v3", replace(V3, **{key: value}))
    with pytest.raises(UsageError, match=re.escape(f"{value!r} of recipe v3: ") + f".*{wanted}"):
        chosen_recipe(RECIPES, "v3", {})


def test_every_value_has_a_meaning_and_every_default_is_within_its_bounds():
    for key, value in VALUES.items():
        assert value.metadata["help"], key
        assert value.default is None or all(
            bound.holds(value.default) for bound in value.metadata["bounds"]
        ), key


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("learning_rate", 0.0, "--learning-rate 0.0: it must be above 0."),
        ("head", "resized", "--head resized: one of resize, reinitialise is wanted. Did you mean"),
        ("split_caps", (80, 10, 0), "--split-caps 80,10,0: at least 1 clip"),
        ("speeds", (), "--speeds : at least one is wanted"),
    ],
)
def test_a_value_out_of_bounds_in_an_edited_recipe_is_wrong_usage(monkeypatch, key, value, told):
    monkeypatch.setitem(RECIPES, "v3", replace(V3, **{key: value}))
    with pytest.raises(UsageError, match=re.escape(told)):
        chosen_recipe(RECIPES, "v3", {})


def test_the_learning_rate_warms_up_and_falls_in_straight_lines():
    # 1,000 updates, of which 5 % warm up.
    rates = [V3.learning_rate_at(update, 1_000) for update in (0, 25, 50, 525, 999, 1_000)]
    assert rates == pytest.approx([0, 5e-5, 1e-4, 5e-5, 1e-4 / 950, 0])
    assert [V1.learning_rate_at(update, 3_750) for update in (150, 300)] == pytest.approx(
        [1.5e-4, 3e-4]
    )
    still = replace(V3, warmup_ratio=0.0)
    assert still.learning_rate_at(0, 10) == pytest.approx(1e-4)


def test_a_whole_number_is_a_number():
    assert replace(V3, epochs=3) == chosen_recipe(RECIPES, "v3", {"epochs": "3"})
