"""What the README states about scores, files and recipes is true."""

import re
from pathlib import Path

import pytest

from korean_asr.metrics import panel_counts

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^\| `([^`]+)` \|[^|]*\| ([^|]+) \| ([^|]+) \| (\d\.\d{4}) \|$", re.M)


def test_the_readme_shows_an_example_of_every_score():
    assert {name for name, *_ in EXAMPLE.findall(README)} == set(panel_counts("", ""))


@pytest.mark.parametrize(("name", "reference", "hypothesis", "rate"), EXAMPLE.findall(README))
def test_a_worked_example_of_the_readme_is_what_the_code_gives(name, reference, hypothesis, rate):
    assert f"{panel_counts(reference, hypothesis)[name].rate:.4f}" == rate


def test_no_place_is_left_to_be_filled_in():
    for name in ("README.md", "data/demo/README.md"):
        assert "@@" not in (Path(__file__).resolve().parents[2] / name).read_text(
            encoding="utf-8"
        ), name


def test_every_path_that_the_readme_names_in_the_repository_exists():
    paths = set(
        re.findall(
            r"model_tuning/(?:korean_asr/)?\w+\.py|data/demo/[\w.]+|model_tuning/\d\. \w+\.py",
            README,
        )
    )
    assert len(paths) >= 7
    for path in paths:
        assert (Path(__file__).resolve().parents[2] / path).exists(), path
