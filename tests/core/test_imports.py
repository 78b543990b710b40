"""Which module may import which: rules of the design that cannot be checked by eye."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from korean_asr.manifest import REPOSITORY

ROOT = REPOSITORY / "model_tuning"
FILES = sorted(ROOT.rglob("*.py"))
SCRIPTS = [path for path in FILES if re.match(r"\d\. ", path.name)]
STAGES = ("preprocessing", "training", "evaluation", "listening")
# These load neither torch nor transformers, so that script 1 and the tests of text start at once.
LIGHT = {
    "transcripts",
    "transcript_patterns",
    "transcript_rewrites",
    "manifest",
    "audio",
    "vocabulary",
    "metrics",
    "alignment",
    "forced_alignment",
    "letters",
    "recipe",
    "recipe_options",
    "progress_line",
    "overlap",
    "messages",
    "arguments",
    "files",
    "lock",
    "errors",
    "model_folder",
    "rates",
    "card_file",
    "model_kinds",
}
HEAVY = {"torch", "transformers", "datasets", "librosa", "matplotlib", "pandas"}
IMPORT_EACH = f"""
import importlib, sys
sys.path.insert(0, "model_tuning")
for name in sys.argv[1:]:
    importlib.import_module(name)
    if heavy := {HEAVY!r} & sys.modules.keys():
        sys.exit(f"{{name}} loads {{', '.join(sorted(heavy))}}")
"""
IMPORT_ALL = """
import importlib, sys
sys.path.insert(0, "model_tuning")
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}
PACKAGE = sorted(name for name in MODULES if name.startswith("korean_asr"))


def imported(path):
    """The modules of the project that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in found & MODULES.keys() if name != "korean_asr"}


def layer(name):
    """The layer of a module: scripts, recipes, a stage, pages, or shared."""
    parts = name.split(".")
    if parts[0] != "korean_asr":
        return "recipes" if name == "recipes" else "scripts"
    return parts[1] if len(parts) > 1 and parts[1] in (*STAGES, "pages") else "shared"


# A layer may import from itself (but scripts) and from these.
ALLOWED = {
    "scripts": {"recipes", *STAGES, "shared"},
    "recipes": {"shared"},
    "preprocessing": {"pages", "shared"},
    "training": {"shared"},
    "evaluation": {"pages", "shared"},
    "listening": {"pages", "shared"},
    "pages": {"shared"},
    "shared": set(),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_file_imports_only_from_the_layers_below(name):
    own = layer(name)
    allowed = ALLOWED[own] | ({own} - {"scripts"})
    assert {other for other in imported(MODULES[name]) if layer(other) not in allowed} == set()


@pytest.mark.parametrize("name", PACKAGE)
def test_every_import_of_the_package_is_absolute(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    assert [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level
    ] == []


def test_no_module_imports_itself_through_others():
    # Raises CycleError, which names the circle.
    order = TopologicalSorter(
        {name: imported(path) for name, path in MODULES.items()}
    ).static_order()
    assert {*order} == MODULES.keys()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_read_in_one_sitting(name):
    source = MODULES[name].read_text(encoding="utf-8")
    assert source.count("\n") <= 420
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, functions)]
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in nodes}
    assert {name: length for name, length in lengths.items() if length > 50} == {}


def run(code, modules):
    command = [sys.executable, "-c", code, *modules]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def test_what_needs_no_model_loads_neither_torch_nor_another_heavy_package():
    light = [
        name for name in PACKAGE if name.rpartition(".")[2] in LIGHT and layer(name) == "shared"
    ]
    light += [name for name in PACKAGE if layer(name) == "preprocessing"] + ["recipes"]
    # In one process, which stops at the first module that loads a heavy package.
    result = run(IMPORT_EACH, light)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow  # torch, transformers and the rest, in a process of its own
def test_importing_prints_nothing():
    result = run(IMPORT_ALL, PACKAGE)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_there_are_four_numbered_scripts():
    assert [script.name[:2] for script in SCRIPTS] == ["1.", "2.", "3.", "4."]


@pytest.mark.parametrize(
    "word", ["utils", "common", "helpers", "datasets", "evaluate", "tokenizers"]
)
def test_no_module_has_an_empty_name_or_that_of_a_library(word):
    assert word not in {name.rpartition(".")[2] for name in MODULES}
