"""A user's mistake ends a script with one clear line and the right exit status."""

import pytest

from korean_asr.manifest import REPOSITORY

pytestmark = pytest.mark.pipeline

KOREAN = REPOSITORY / "data" / "demo" / "korean"
FOREIGN = REPOSITORY / "data" / "demo" / "foreign"
BASE = REPOSITORY / "data" / "demo" / "base_model"


@pytest.mark.parametrize(
    ("number", "arguments", "status", "message"),
    [
        (1, ["--korean", "nowhere"], 1, "nowhere does not exist"),
        (1, ["--korean", str(KOREAN / "1.Training" / "2.원천데이터")], 1, "no *scripts.txt"),
        (1, ["--korean", str(BASE)], 1, "has no usable clip: unknown label"),
        (1, ["--korean", str(KOREAN), "--base-model", "nowhere"], 1, "no model folder nowhere"),
        (
            1,
            ["--korean", str(KOREAN), "--output", "/proc/x"],
            1,
            "/proc cannot be used: no file can be made here",
        ),
        (1, ["--korean", str(KOREAN), "--text-key", "a.b"], 1, "--text-key a.b is in no label of"),
        (1, ["--korean", str(FOREIGN), "--audio-key", "a"], 1, "only together with --text-key"),
        (1, ["--korean", str(BASE), "--text-key", "a.b"], 1, "--text-key a.b is none of them"),
        (1, ["--korean", ".", "--text-key", "a..b"], 2, "--text-key: 'a..b' is no key"),
        (1, [], 2, "--korean"),
        (1, ["--korean", ".", "--jobs", "0"], 2, "--jobs 0"),
        (1, ["--korean", ""], 2, "argument --korean: '' is empty"),
        (1, ["--korean", ".", "--output", " "], 2, "argument --output: ' ' is empty"),
        (1, ["--korean", "a", "--korean", "./a"], 1, "a is given twice: each clip would be there"),
        (1, ["--korean", "a", "--foreign=b", "--foreign", "b/c"], 1, "b/c lies inside b: each"),
        (1, ["--korean", str(KOREAN), "--korean", "nowhere"], 1, "nowhere does not exist"),
        (4, ["--model", ""], 2, "argument --model: '' is empty"),
        (3, ["--rescore", ""], 2, "argument --rescore: '' is empty"),
        (4, ["--model", "a", "--output", ""], 2, "argument --output: '' is empty"),
        (3, ["--model", "a", "--manifest", "b", "--manifest", "c"], 2, "it was given twice"),
        (4, ["--model", "a", "--manifest", "b", "--manifest", "c"], 2, "it was given twice"),
        (
            3,
            ["--model", str(BASE), "--manifest", "processed/korean.jsonl", "--output", "/proc/x"],
            1,
            "/proc cannot be used: no file can be made here",
        ),
        (2, ["--data", "nowhere"], 1, "Run 'model_tuning/1. script_preprocessing.py' first"),
        (2, ["--recipe", "v33"], 2, "Did you mean 'v3'?"),
        (2, ["--learnin-rate", "1"], 2, "Did you mean '--learning-rate'?"),
        (2, ["--learning-rate", "fast"], 2, "a number is wanted"),
        (3, ["--model", "nowhere"], 1, "Run script 2 first"),
        (
            3,
            ["--model", str(KOREAN), "--manifest", "processed/korean.jsonl"],
            1,
            "lacks config.json",
        ),
        (
            4,
            ["--model", str(BASE), "--manifest", "processed/nothing.jsonl"],
            1,
            "nothing.jsonl is missing",
        ),
        (3, [], 2, "give either --model MODEL or --rescore RESULTS.jsonl"),
        (
            3,
            ["--model", "a", "--rescore", "b"],
            2,
            "give either --model MODEL or --rescore RESULTS.jsonl",
        ),
        (3, ["--experiments", "nowhere"], 1, "nowhere does not exist. --experiments wants the"),
        (3, ["--experiments", "processed"], 1, "no folder in processed is a model"),
        (3, ["--experiments", str(BASE)], 1, "base_model is itself a model"),
        (4, ["--experiments", "."], 2, "unrecognized arguments: --experiments"),
        (3, ["--rescore", "nothing.jsonl"], 1, "nothing.jsonl is missing"),
        (4, ["--rescore", "processed/foreign.jsonl"], 1, "foreign.jsonl, line 1: no result"),
        (4, ["--rescore", "x.jsonl", "--with-base"], 2, "--with-base goes with --model"),
        (4, ["--rescore", "x.jsonl", "--manifest", "y.jsonl"], 2, "--manifest goes with --model"),
        (
            3,
            ["--model", str(BASE), "--with-base", "--manifest", "processed/korean.jsonl"],
            1,
            "does not say which base model",
        ),
        (
            3,
            ["--model", str(BASE), "--precision", "fp16", "--manifest", "processed/korean.jsonl"],
            2,
            "fp16",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_exit_status(
    command, run, work, processed, number, arguments, status, message
):
    assert processed[0] == work / "processed"
    printed = run(command(number, *arguments), status, cwd=work)
    assert message in printed
    assert "Traceback" not in printed
