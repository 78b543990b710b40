"""What the READMEs say about scores, files, options and the code is true."""

import dataclasses
import re
from collections import Counter

import pytest

from korean_asr.manifest import REPOSITORY
from korean_asr.metrics import panel_counts
from korean_asr.recipe import Recipe

PACKAGE = REPOSITORY / "model_tuning" / "korean_asr"
STAGES = ("preprocessing", "training", "evaluation", "listening")
READMES = {
    name: (REPOSITORY / name).read_text(encoding="utf-8")
    for name in (
        "README.md", "README.ko.md", "data/demo/README.md", "wav2vec2_korean_v3/NOTE.md",
        "tests/benchmarks/README.md", "tests/benchmarks/NOTES.md",
        "model_tuning/korean_asr/README.md",
        *(f"model_tuning/korean_asr/{stage}/README.md" for stage in STAGES),
    )
}  # fmt: skip
ENGLISH, KOREAN = READMES["README.md"], READMES["README.ko.md"]
EXAMPLE = re.compile(r"^\| `([^`]+)` \|[^|]*\| ([^|]+) \| ([^|]+) \| (\d\.\d{4}) \|$", re.M)
EXAMPLES = EXAMPLE.findall(READMES["model_tuning/korean_asr/evaluation/README.md"])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
# Options of torchrun and Slurm, which the pages about several machines name.
OPTIONS_OF_OTHERS = {
    "--nproc_per_node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id",
    "--nodes", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task",
    "--exclude", "--private",
}  # fmt: skip


def headings(text):
    return re.findall(r"^#+ .*$", BLOCK.sub("", text), re.M)


def anchors(text):
    """What GitHub names the headings of a page by; the second of one name ends with -1."""
    n_times, found = Counter(), set()
    for heading in headings(text):
        # Of a link in a heading its text counts.
        title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.lstrip("#").strip())
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.add(f"{slug}-{n_times[slug]}" if n_times[slug] else slug)
        n_times[slug] += 1
    return found


def test_headings_are_named_as_github_names_them():
    page = """# `audio.py`, in *Hz*
## A_b: 1,000 clips — [see](x.md)
## 화자 · 발화
## Again
```sh
# no heading
```
## Again
"""
    assert anchors(page) == {
        "audiopy-in-hz", "a_b-1000-clips--see", "화자--발화", "again", "again-1",
    }  # fmt: skip


@pytest.mark.parametrize("name", READMES)
def test_every_link_to_a_heading_finds_it(name):
    links = re.findall(r"\]\(([^)#]*)#([^)]+)\)", BLOCK.sub("", READMES[name]))
    pages = {
        page: (REPOSITORY / name).parent / page if page else REPOSITORY / name
        for page, _ in links
        if "://" not in page
    }
    known = {page: anchors(path.read_text(encoding="utf-8")) for page, path in pages.items()}
    assert [f"{page}#{to}" for page, to in links if to not in known.get(page, {to})] == []


def test_an_example_of_every_score_is_shown():
    assert {name for name, *_ in EXAMPLES} == set(panel_counts("", ""))


@pytest.mark.parametrize(("name", "reference", "hypothesis", "rate"), EXAMPLES)
def test_a_worked_example_is_what_the_code_gives(name, reference, hypothesis, rate):
    assert f"{panel_counts(reference, hypothesis)[name].rate:.4f}" == rate


@pytest.mark.parametrize("name", READMES)
def test_every_path_and_link_leads_to_a_file_of_the_repository(name):
    text, folder = READMES[name], (REPOSITORY / name).parent
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    # Until script 2 has run, wav2vec2_korean_v3/ holds a note alone, and data/ the demo.
    paths = re.findall(r"(?:model_tuning|tests|data/demo)/[\w./]*\w\.(?:py|md|tsv|txt|html)", text)
    paths += re.findall(r"model_tuning/\d\. \w+\.py", text)
    assert [link for link in links if not (folder / link).exists()] == []
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("name", READMES)
def test_every_option_that_is_named_exists(name):
    sources = [*(REPOSITORY / "model_tuning").rglob("*.py"), REPOSITORY / "run.sh"]
    sources += (REPOSITORY / "tests" / "benchmarks").glob("*.py")
    options = OPTIONS_OF_OTHERS | {
        "--" + field.name.replace("_", "-") for field in dataclasses.fields(Recipe)
    }
    for path in sources:
        options |= set(re.findall(r"--[a-z][a-z_-]+[a-z]", path.read_text(encoding="utf-8")))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z_-]+[a-z]", READMES[name])) - options == set()


@pytest.mark.parametrize("name", READMES)
def test_nothing_is_left_to_be_filled_in_and_no_word_of_the_workshop_is_left(name):
    for words in ("@@", "TODO", "the seeds", "sister project"):
        assert words not in READMES[name], words


def test_the_map_names_every_module_and_no_other():
    names = re.findall(
        r"`([\w/]+\.(?:py|html|css|js))`", READMES["model_tuning/korean_asr/README.md"]
    )
    suffixes = {".py", ".html", ".css", ".js"}
    files = [path for path in PACKAGE.rglob("*") if path.suffix in suffixes]
    present = {path.relative_to(PACKAGE).as_posix() for path in files if path.stem != "__init__"}
    assert set(names) - {"tests/core/test_imports.py"} == present


def test_the_readme_is_short_and_goes_from_running_to_limits():
    assert ENGLISH.count("\n") <= 170
    assert headings(ENGLISH)[1:] == [
        "## Run the demo", "## Transcribe a recording", "## Use the model",
        "## Your data in four commands", "## Change something", "## Read the results",
        "## When it stops", "## Where things are", "## Limits", "## Links",
    ]  # fmt: skip


def test_the_readme_is_in_english_but_for_names_and_output():
    prose = BLOCK.sub("", ENGLISH).replace("한국어 안내", "")
    assert len(re.findall("[가-힣]", prose)) < 100


def test_the_korean_readme_is_the_whole_of_the_english_one():
    english, korean = BLOCK.findall(ENGLISH), BLOCK.findall(KOREAN)
    # The tree has Korean words in it; commands, output and code are the same.
    assert [block for block in korean if block[0] != "text"] == [
        block for block in english if block[0] != "text"
    ]
    trees = [
        [line.split("  ")[0] for line in text.splitlines()]
        for language, text in english + korean
        if language == "text"
    ]
    assert len(trees) == 2 and trees[0] == trees[1]
    for sign in (r"^#+", r"^\| ", r"^- "):
        assert re.findall(sign, KOREAN, re.M) == re.findall(sign, ENGLISH, re.M), sign
    links = [set(re.findall(r"\]\(([^)]+)\)", text)) for text in (ENGLISH, KOREAN)]
    assert links[0] - {"README.ko.md"} == links[1] - {"README.md"}


@pytest.mark.slow
def test_the_five_lines_that_use_the_model_write_what_is_said_without_ffmpeg(monkeypatch, capsys):
    demo = REPOSITORY / "data" / "demo"
    monkeypatch.setenv("PATH", "")  # no ffmpeg to be found
    code = next(text for language, text in BLOCK.findall(ENGLISH) if language == "python")
    assert len([line for line in code.splitlines() if line]) == 5
    (recording,) = demo.rglob("dialog_00000003.flac")
    code = code.replace("wav2vec2_korean_v3", str(demo / "base_model"))
    exec(code.replace("recording.wav", str(recording)), {})
    assert capsys.readouterr().out.strip() == "시험이 끝나면 실컷 잘 거야"
