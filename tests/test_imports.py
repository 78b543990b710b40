import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from korean_asr.manifest import REPOSITORY

PACKAGE = REPOSITORY / "model_tuning/korean_asr"
SCRIPTS = sorted((REPOSITORY / "model_tuning").glob("[0-9]. *.py"))
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
# design.md §1, from the bottom up: a row imports from itself and from the rows before it.
ROWS = [
    {"files", "errors", "archives", "audio_index", "page_text", "alignment", "bootstrap", "options"},
    {"transcripts", "manifest", "splits", "audio", "vocabulary", "hub", "metrics", "recipes", "checks", "confusions"}
    | {"guard", "model_place"},
    {"model", "batches", "decoding", "encoder", "frames", "precision", "corpora", "processes", "checkpoints"}
    | {"preprocessing_page", "evaluation_page"},
    {"preprocessing", "training", "proofs", "evaluation", "results", "comparison", "report"},
]
LIGHT = sorted(ROWS[0] | ROWS[1] | {"corpora", "preprocessing", "preprocessing_page", "evaluation_page"})
IMPORT_EACH = """
import importlib, sys
sys.path.insert(0, "model_tuning")
for name in sys.argv[1:]:
    importlib.import_module("korean_asr." + name)
    heavy = {"torch", "transformers", "datasets", "matplotlib", "pandas"} & sys.modules.keys()
    if heavy:
        sys.exit(f"{name} loads {', '.join(sorted(heavy))}")
"""
IMPORT_ALL = """
import importlib, sys
sys.path.insert(0, "model_tuning")
for name in sys.argv[1:]:
    importlib.import_module("korean_asr." + name)
"""


def run(code, modules):
    return subprocess.run(
        [sys.executable, "-c", code, *modules], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )


def imported(path):
    """The modules of the package that a file imports, at whatever depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("korean_asr")]
            found |= {name.split(".")[1] for name in names if "." in name}
        elif isinstance(node, ast.ImportFrom):
            module = "korean_asr." * node.level + (node.module or "")
            parts = module.rstrip(".").split(".")
            if parts[0] == "korean_asr":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found & {*MODULES}


def row(name):
    return next(number for number, names in enumerate(ROWS) if name in names)


def test_what_needs_no_model_loads_neither_torch_nor_transformers():
    result = run(IMPORT_EACH, LIGHT)  # one process: the first that loads one is named
    assert (result.returncode, result.stderr) == (0, "")


def test_importing_prints_nothing():
    result = run(IMPORT_ALL, MODULES)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_module_has_its_row():
    assert sorted(set().union(*ROWS)) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_its_row_and_below(name):
    above = {other for other in imported(PACKAGE / f"{name}.py") if row(other) > row(name)}
    assert above == set()


def test_no_two_modules_import_each_other_by_any_way_round():
    # Raises CycleError, which names the circle.
    order = list(TopologicalSorter({name: imported(PACKAGE / f"{name}.py") for name in MODULES}).static_order())
    assert sorted(order) == MODULES


def test_there_are_four_scripts_and_nothing_imports_them():
    assert [script.name[:2] for script in SCRIPTS] == ["1.", "2.", "3.", "4."]
    assert all(imported(script) for script in SCRIPTS)


@pytest.mark.parametrize("word", ["utils", "common", "helpers", "datasets", "evaluate", "tokenizers"])
def test_no_module_is_named_for_nothing_or_for_a_library(word):
    assert word not in MODULES
