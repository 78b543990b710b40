"""Write what script 1 has counted: manifests, rejected.jsonl, preprocessing.json and its page."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from korean_asr.errors import DataError, printable
from korean_asr.files import file_checksum, parsed_json, read_json, whole_file, write_json
from korean_asr.pages.preprocessing_page import preprocessing_page
from korean_asr.preprocessing.counts import (
    DURATION_STEP_S,
    N_DURATION_BINS,
    N_RATE_BINS,
    RATE_STEP,
    REASONS,
    Alphabet,
    Corpus,
    Group,
    Tally,
    by_number,
)
from korean_asr.rates import stored_rate
from korean_asr.vocabulary import advice

N_SPEAKERS_SHOWN, N_CHARACTERS_SHOWN = 50, 100
# Those of the outputs that a user could pass as a manifest.
JSON_OUTPUTS = ("korean.jsonl", "foreign.jsonl", "rejected.jsonl", "preprocessing.json")


def refuse_inputs_among_outputs(folder: Path, roots: Iterable[Path]) -> None:
    """Raise DataError where a corpus is a file that this script writes into the folder.

    It would be replaced, and the labels as they stood be lost.
    """
    for root in roots:
        for output in (folder / name for name in JSON_OUTPUTS):
            # Whatever links lead to it: the new file takes the place of the old one.
            if all(map(os.path.exists, (root, output))) and os.path.samefile(root, output):
                raise DataError(
                    f"{printable(f'{root} would be replaced: script 1 writes {output}')} itself. "
                    "Pass another --output. · 입력 파일을 덮어쓰게 됩니다. 출력 폴더를 따로 "
                    "지정하세요."
                )


def write_outputs(
    folder: Path, groups: list[Group], rules: dict[str, str], alphabet: Alphabet | None = None
) -> list[Path]:
    """Write manifests, rejected.jsonl, preprocessing.json and .html; return their paths.

    The results of another corpus, from an earlier run, are kept.
    rules: name of a rule -> its sentence for users.
    """
    manifests = [folder / f"{group.name}.jsonl" for group in groups]
    rejected, record, page = (
        folder / name for name in ("rejected.jsonl", "preprocessing.json", "preprocessing.html")
    )
    summary = _earlier_summary(folder, {group.name for group in groups})
    for group, path in zip(groups, manifests, strict=True):
        with whole_file(path) as file:
            file.writelines(f"{line}\n" for line in group.rows)
    with whole_file(rejected) as file:
        file.writelines(_earlier_rejected(folder, set(summary)))
        for group in groups:
            file.writelines(f"{line}\n" for line in group.rejected)
    for group, path in zip(groups, manifests, strict=True):
        summary[group.name] = _summary_of_group(group, file_checksum(path), alphabet)
    summary = dict(sorted(summary.items(), reverse=True))
    write_json(record, summary)
    with whole_file(page) as file:
        file.write(preprocessing_page(summary, REASONS, rules, folder))
    return [*manifests, rejected, record, page]


def _summary_of_group(
    group: Group, manifest_sha256: str, alphabet: Alphabet | None
) -> dict[str, Any]:
    """Return the part of preprocessing.json about one manifest; the page shows it too.

    `corpora`, the same counts apart by corpus, is there only for several.
    """
    summary = _summary(group, group.settings, alphabet) | {"sha256": manifest_sha256}
    if len(group.corpora) > 1:
        summary["corpora"] = {
            corpus.name: _summary(corpus, group.settings, alphabet) for corpus in group.corpora
        }
    return summary


def _summary(
    read: Group | Corpus, settings: dict[str, str], alphabet: Alphabet | None
) -> dict[str, Any]:
    tally = read.tally
    named = Counter({speaker: n for speaker, n in tally.speakers.items() if speaker})
    return {
        "folder": read.folder,
        "settings": settings,
        "labels": {"n_files": read.n_label_files, "sha256": read.labels_sha256},
        "n_clips": tally.n_clips,
        "hours": round(tally.hours, 4),
        "n_rejected": tally.n_rejected,
        "reasons": dict(by_number(tally.reasons)),
        "rules": dict(by_number(tally.rules)),
        "converted": dict(by_number(tally.converted)),
        "examples": {"reasons": tally.reason_examples, "rules": tally.rule_examples},
        "durations": _histogram(tally.durations, DURATION_STEP_S, N_DURATION_BINS),
        "rates": _histogram(tally.rates, RATE_STEP, N_RATE_BINS),
        "speakers": {
            "n": len(named),
            "n_unknown": tally.speakers[None],
            "clips": dict(by_number(named)[:N_SPEAKERS_SHOWN]),
        },
        "first_languages": dict(by_number(tally.first_languages)),
        "vocabulary": _vocabulary(tally, alphabet) if alphabet else None,
        "fastest": [asdict(clip) for clip in tally.fastest],
        "slowest": [asdict(clip) for clip in tally.slowest],
        "notes": read.notes,
    }


def _histogram(counts: Counter[int], step: float, n_bins: int) -> dict[str, Any]:
    return {"step": step, "counts": [counts[i] for i in range(n_bins)], "above": counts[n_bins]}


def _vocabulary(tally: Tally, alphabet: Alphabet) -> dict[str, Any]:
    outside, base = tally.outside, tally.outside_base
    return {
        "base_model": alphabet.base_model,
        "added": alphabet.added,
        "n_labels": outside.n_labels,
        "n_touched": outside.n_touched,
        "n_characters": outside.n_characters,
        "n_outside": outside.n_outside,
        "lowest_cer": stored_rate(outside.lowest_cer),
        "advice": advice([outside]),
        "n_kinds": len(outside.characters),
        "characters": [
            {"character": c, "n": n, "n_clips": base.touched[c], "added": c in alphabet.added}
            for c, n in base.most_frequent()[:N_CHARACTERS_SHOWN]
        ],
    }


def _earlier_summary(folder: Path, names: set[str]) -> dict[str, Any]:
    """Return the earlier summaries of corpora that this run did not read."""
    try:
        summary = read_json(folder / "preprocessing.json")
        kept = {
            name: part
            for name, part in summary.items()
            if name not in names and (folder / f"{name}.jsonl").is_file()
        }
    except (OSError, ValueError, AttributeError):
        # This is the first run, or the file is something else.
        return {}
    for name in kept:
        print(
            f"{folder / name}.jsonl is from an earlier run and was not changed. "
            "· 이전 결과를 그대로 둡니다."
        )
    return kept


def _earlier_rejected(folder: Path, names: set[str]) -> Iterator[str]:
    """Yield the lines of rejected.jsonl that belong to these corpora."""
    try:
        with (folder / "rejected.jsonl").open(encoding="utf-8", newline="\n") as file:
            for line in file if names else ():
                if parsed_json(line)["corpus"] in names:
                    yield line
    except (OSError, ValueError, KeyError, TypeError):
        # This is the first run, or the file is something else.
        return
