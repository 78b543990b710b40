"""Several corpora in one manifest: names, ids, and counts apart by corpus."""

import json
from collections import Counter

import numpy as np
import pytest
import soundfile

from korean_asr.errors import DataError
from korean_asr.preprocessing import cleaning
from korean_asr.preprocessing.cleaning import RULE_SENTENCES, Settings, preprocessed
from korean_asr.preprocessing.corpus_names import EarlierIds, named_corpora, renamed
from korean_asr.preprocessing.counts import Alphabet, printed_group
from korean_asr.preprocessing.outputs import write_outputs


def corpus(root, *lines):
    """A corpus of these (clip, text), each with a second of sound of its own; gives its folder."""
    root.mkdir(parents=True)
    text = "".join(f"/{clip}.wav :: {text}\n" for clip, text in lines)
    (root / "x_scripts.txt").write_text(text, encoding="utf-8")
    for clip, _ in lines:
        (root / clip).parent.mkdir(exist_ok=True)
        soundfile.write(root / f"{clip}.wav", np.full(16_000, 0.1), 16_000)
    return root


def group_of(tmp_path, *roots, output="out", n_jobs=1, alphabet=None):
    roots = named_corpora(list(roots))
    return preprocessed(roots, Settings(), n_jobs, "korean", tmp_path / output, alphabet)


def written(tmp_path, group, output="out", alphabet=None):
    write_outputs(tmp_path / output, [group], RULE_SENTENCES, alphabet)
    return tmp_path / output


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def two(tmp_path):
    first = corpus(tmp_path / "대화", ("a", "밥."), ("b", "국."), ("c", "###"))
    second = corpus(tmp_path / "ksponspeech", ("a", "물."), ("d", "b/ 술."), ("c", "떡."))
    return first, second


def test_all_corpora_are_in_one_manifest_and_each_row_names_its_own(tmp_path, two):
    folder = written(tmp_path, group_of(tmp_path, *two))
    assert [(row["id"], row["text"], row["corpus"]) for row in rows(folder / "korean.jsonl")] == [
        ("a", "밥.", "대화"),
        ("b", "국.", "대화"),
        # Its id is free: the first corpus's clip was rejected.
        ("c", "떡.", "ksponspeech"),
        ("d", "술.", "ksponspeech"),
        ("ksponspeech/a", "물.", "ksponspeech"),
    ]
    assert rows(folder / "rejected.jsonl") == [
        {"id": "c", "raw": "###", "reason": "masked", "corpus": "korean", "source": "대화"}
    ]


def test_the_counts_are_added_up_and_are_there_apart_by_corpus(tmp_path, two):
    alphabet = Alphabet("base", frozenset("밥국물떡"), ".")
    group = group_of(tmp_path, *two, alphabet=alphabet)
    folder = written(tmp_path, group, alphabet=alphabet)
    summary = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))["korean"]
    parts = summary["corpora"]
    assert list(parts) == ["대화", "ksponspeech"]
    assert (summary["n_clips"], summary["n_rejected"], summary["hours"]) == (5, 1, 0.0014)
    assert [(part["n_clips"], part["n_rejected"]) for part in parts.values()] == [(2, 1), (3, 0)]
    assert [part["folder"] for part in parts.values()] == [str(root) for root in two]
    assert summary["folder"] == f"{two[0]}, {two[1]}"
    assert summary["labels"]["n_files"] == 2
    assert summary["rules"] == Counter(parts["대화"]["rules"]) + Counter(
        parts["ksponspeech"]["rules"]
    )
    assert [read["vocabulary"]["n_outside"] for read in (summary, *parts.values())] == [1, 0, 1]
    # A corpus that is read alone counts the same.
    alone = written(
        tmp_path,
        group_of(tmp_path, two[0], output="alone", alphabet=alphabet),
        "alone",
        alphabet,
    )
    one = json.loads((alone / "preprocessing.json").read_text(encoding="utf-8"))["korean"]
    assert one.pop("sha256") and one == parts["대화"]
    page = (folder / "preprocessing.html").read_text(encoding="utf-8")
    assert page.count("<article") == 3 and '<a href="#corpus-3">' in page


def test_the_printed_report_has_a_paragraph_for_each_corpus_and_their_sum(tmp_path, two):
    lines = printed_group("Korean", group_of(tmp_path, *two)).splitlines()
    assert [line for line in lines if "Korean" in line or " usable" in line] == [
        f"Korean: {two[0]}",
        "  3 clips, 2 usable (0.00 h), 1 rejected",
        f"Korean: {two[1]}",
        "  3 clips, 3 usable (0.00 h), 0 rejected",
        "Korean: 2 corpora",
        "  6 clips, 5 usable (0.00 h), 1 rejected",
    ]


def test_several_processes_and_other_chunks_give_the_same_bytes(tmp_path, two, monkeypatch):
    before = written(tmp_path, group_of(tmp_path, *two))
    monkeypatch.setattr(cleaning, "CHUNK_CLIPS", 1)
    after = written(tmp_path, group_of(tmp_path, *two, output="again", n_jobs=2), "again")
    for path in before.iterdir():
        assert path.read_bytes() == (after / path.name).read_bytes(), path.name


def test_ids_are_compared_with_those_of_earlier_corpora_alone_however_many_chunks_there_are(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(cleaning, "CHUNK_CLIPS", 1)
    soundfile.write(tmp_path / "a.wav", np.full(1_600, 0.1), 16_000)
    for name in ("one", "two", "three"):
        lines = (
            {"id": f"c{n:03}", "audio_filepath": "a.wav", "text": "밥", "offset": n / 10_000}
            for n in range(1, 200)
        )
        text = "".join(json.dumps(line | {"duration": 0.05}) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    roots = [tmp_path / f"{name}.jsonl" for name in ("one", "two", "three")]
    ids = [
        row["id"] for row in rows(written(tmp_path, group_of(tmp_path, *roots)) / "korean.jsonl")
    ]
    names = [f"c{n:03}" for n in range(1, 200)]
    assert ids == sorted(f"{prefix}{name}" for prefix in ("", "two/", "three/") for name in names)


def test_a_row_of_a_manifest_that_names_its_corpus_keeps_it(tmp_path, two):
    folder = written(tmp_path, group_of(tmp_path, *two))
    again = written(tmp_path, group_of(tmp_path, folder / "korean.jsonl", output="2"), "2")
    assert (again / "korean.jsonl").read_bytes() == (folder / "korean.jsonl").read_bytes()


def test_a_second_label_has_the_new_id_of_its_clip(tmp_path, two):
    third = corpus(tmp_path / "third", ("a", "죽."), ("e", "알."))
    with (third / "x_scripts.txt").open("a", encoding="utf-8") as file:
        file.write("/a.wav :: 콩.\n")
    group = group_of(tmp_path, *two, third)
    folder = written(tmp_path, group)
    assert rows(folder / "rejected.jsonl")[-1] == {
        "id": "third/a",
        "raw": "콩.",
        "reason": "duplicate id",
        "corpus": "korean",
        "source": "third",
    }
    assert (
        len(group.notes) == 1 and "1 clip has two labels that differ in letters" in group.notes[0]
    )


def test_a_corpus_of_several_without_a_usable_clip_stops_the_run_by_name(tmp_path, two):
    empty = corpus(tmp_path / "empty", ("a", "###"))
    with pytest.raises(DataError, match="the korean corpus .*empty has no usable clip: masked 1"):
        group_of(tmp_path, *two, empty)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a"], ["a"]),
        (["x/a", "y/b"], ["a", "b"]),
        (["x/a", "y/a", "y/b"], ["x/a", "y/a", "b"]),
        (["1/x/a", "2/x/a"], ["1/x/a", "2/x/a"]),
        (["x/a.jsonl", "y/b.v2"], ["a", "b.v2"]),
        (["x/a.json", "x/a.jsonl"], ["x/a.json", "x/a.jsonl"]),
        (["x/1. a.tar.gz", "y/b.zip.part0", "y/c.v2.ZIP"], ["1. a", "b", "c.v2"]),
        (["x/a.tar", "x/a.zip", "x/.zip"], ["x/a.tar", "x/a.zip", ".zip"]),
        (["x/../y/a"], ["a"]),
        # Hangul that macOS has decomposed
        (["\u1112\u1161\u11ab"], ["\ud55c"]),
    ],
)
def test_a_corpus_is_named_by_its_folder_and_by_more_parents_where_that_repeats(
    tmp_path, paths, names
):
    for path in paths:
        if path.lower().endswith((".json", ".jsonl", ".tar", ".gz", ".zip", ".part0")):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text("")
        else:
            (tmp_path / path).mkdir(parents=True, exist_ok=True)
    roots = [tmp_path / path for path in paths]
    assert list(named_corpora(roots).items()) == list(zip(names, roots, strict=True))


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert [*named_corpora([type(tmp_path)()])] == ["mine"]


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["a", "a"], "a is given twice"),
        (["a", "b", "b/../a"], r"a is given twice"),
        (["a", "link"], "link is given twice"),
        (["a", "a/b"], "a/b lies inside .*/a:"),
        (["a/b", "a"], "a/b lies inside .*/a:"),
        (["a", "a/m.jsonl"], "a/m.jsonl lies inside .*/a:"),
        (["x.zip.part0", "x.zip.part9"], "x.zip.part9 and .*/x.zip.part0 are one archive: each"),
        (["x.zip.part0", "x.zip.part0"], "x.zip.part0 is given twice"),
    ],
)
def test_corpora_that_share_files_are_refused_by_name(tmp_path, paths, problem):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    for name in ("a/m.jsonl", "x.zip.part0", "x.zip.part9"):
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(DataError, match=problem):
        named_corpora([tmp_path / path for path in paths])


@pytest.mark.parametrize(
    ("earlier", "names", "expected"),
    [
        ("", "x y", "x y"),
        ("x", "x y", "B/x y"),
        # Ids of the corpus, or of an earlier one, that look like new ones
        ("x", "x B/x", "B/x B/B/x"),
        ("x", "B/x", "B/B/x"),
        ("x B/x", "x y B/x", "B/B/x y B/B/B/x"),
        ("B/x", "x B/x B/B/x", "x B/B/x B/B/B/x"),
        ("C/x", "x B/x B/y", "x B/x B/y"),
    ],
)
def test_an_id_that_is_taken_gets_the_name_of_its_corpus_and_no_id_is_there_twice(
    earlier, names, expected
):
    ids = EarlierIds()
    ids.add(earlier.split())
    ids.end_corpus()
    new_id = renamed("B", ids)
    assert [new_id(name) for name in names.split()] == expected.split()


def test_many_ids_are_found_again_and_no_other():
    ids = EarlierIds()
    for first in range(0, 3_000, 1_000):
        ids.add(f"clip_{number}" for number in range(first, first + 1_000))
        ids.end_corpus()
    assert len(ids) == 3_000
    assert [f"clip_{number}" in ids for number in range(3_100)] == [True] * 3_000 + [False] * 100
