"""Print the table of experiments; write experiments.md, experiments.xlsx and experiments.html."""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korean_asr.arguments import GivenOnce, given_path
from korean_asr.errors import UsageError, printable
from korean_asr.evaluation.experiment_table import SCORES_OF, ExperimentTable, experiment_table
from korean_asr.evaluation.experiments import experiments_in, experiments_of_models
from korean_asr.evaluation.intervals import N_DRAWS
from korean_asr.evaluation.scores import Evaluation
from korean_asr.evaluation.spreadsheet import workbook_of
from korean_asr.files import whole_file
from korean_asr.lock import lock
from korean_asr.messages import (
    CORPORA,
    DIFFERENCE,
    EXPERIMENTS,
    INTERVAL,
    OUTCOMES,
    REPAIR_RATE,
    SCORES,
    TOO_CLOSE,
    english,
    table,
)
from korean_asr.metrics import RULE
from korean_asr.pages.evaluation_page import experiments_page
from korean_asr.rates import shown_bounds, shown_rate
from korean_asr.recipe import VALUES

UNKNOWN = "–"
NAME = "experiments"  # of the files, without their suffixes
MODEL = "model · 모델"
# The tables of scores: two scores each, so that a line fits a terminal.
SCORE_BLOCKS = (
    (CORPORA["korean"], "korean", ("cer", "wer")),
    (CORPORA["foreign"], "foreign", ("cer", "wer")),
    (
        "Foreign speakers of Korean, without punctuation · 외국인 화자, 문장 부호 제외",
        "foreign",
        ("cer_no_punctuation", "wer_no_punctuation"),
    ),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the table as it is shown; titles are `English · 한국어`.

    columns: titles, the first one of the names in the first cells. rows: as many cells each.
    notes: what the numbers are.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownExperiments:
    """The table as it is printed, written and put on the page."""

    blocks: list[Block]
    notes: list[str]


def add_experiments_option(parser: argparse.ArgumentParser) -> None:
    """Give script 3 the option that compares a folder of models."""
    parser.add_argument(
        "--experiments",
        type=given_path,
        action=GivenOnce,
        metavar="FOLDER",
        help="compare all models in this folder by their records and results, without decoding",
    )


def compared_experiments(
    sources: list[str], evaluations: list[Evaluation], results: Path
) -> ExperimentTable | None:
    """What each of several scored models brought; None for one, and but in the first process.

    The arguments are those of experiments_of_models.
    """
    if int(os.environ.get("RANK", "0")) or len(evaluations) < 2:
        return None
    return experiment_table(experiments_of_models(sources, evaluations, results))


def show_experiments(folder: Path, output: Path | None) -> None:
    """Compare the models of a folder, and write the files into `output`, else into the folder.

    Raises UsageError under torchrun, and DataError as experiments_in does.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "--experiments decodes nothing: run it with python instead of torchrun. "
            "· torchrun 대신 python으로 실행하세요."
        )
    output = output or folder
    found = experiments_in(folder)
    lock(output, NAME)
    compared = experiment_table(found)
    written = write_experiments(compared, output)
    page = output / f"{NAME}.html"
    with whole_file(page) as file:
        file.write(experiments_page(shown_experiments(compared)))
    for line in [*experiment_lines(compared), *(f"wrote {path}" for path in [*written, page])]:
        print(printable(line))


def write_experiments(compared: ExperimentTable, folder: Path) -> list[Path]:
    """Write experiments.md and experiments.xlsx, and return their paths."""
    paths = [folder / f"{NAME}.md", folder / f"{NAME}.xlsx"]
    with whole_file(paths[0]) as file:
        file.writelines(f"{line}\n" for line in _markdown(compared))
    with whole_file(paths[1]) as file:
        file.buffer.write(workbook_of(_sheets(compared)))
    return paths


# What people read


def experiment_lines(compared: ExperimentTable) -> list[str]:
    """The lines that are printed."""
    lines = ["", f"=== {EXPERIMENTS} · rule {RULE} ==="]
    for block in shown_experiments(compared).blocks:
        rows = [[english(title) for title in block.columns]]
        # A cell may hold a name with ` · `, and only the verdict is in two languages.
        rows += [[_in_english(cell) for cell in row] for row in block.rows]
        align = "<" + ">" * (len(block.columns) - 1)
        lines += ["", block.title, *table(rows, align, indent="  ")]
        lines += [f"  {note}" for note in block.notes]
    return [
        *lines,
        *([""] if compared.notes else []),
        *(f"Note: {note}" for note in compared.notes),
    ]


def _in_english(cell: str) -> str:
    return english(cell) if cell == TOO_CLOSE else cell


def _markdown(compared: ExperimentTable) -> list[str]:
    lines = [f"# {EXPERIMENTS}", "", f"Rule {RULE}."]
    for block in shown_experiments(compared).blocks:
        ruler = ["---", *["--:"] * (len(block.columns) - 1)]
        rows = [[_in_english(cell) for cell in row] for row in block.rows]
        cells = [[english(title) for title in block.columns], ruler, *rows]
        lines += ["", f"## {block.title}", ""]
        lines += [f"| {' | '.join(map(_escaped, row))} |" for row in cells]
        for note in block.notes:
            lines += ["", _escaped(note)]
    if compared.notes:
        lines += ["", *(f"- {_escaped(note)}" for note in compared.notes)]
    return lines


def _escaped(cell: str) -> str:
    """A text that cannot end a cell or a line of Markdown, nor become HTML."""
    return printable(cell).replace("|", r"\|").replace("<", "&lt;")


def shown_experiments(compared: ExperimentTable) -> ShownExperiments:
    """Cut the table into blocks that fit a terminal; one without any value is left out."""
    parts = [
        _recipe_block(compared),
        _training_block(compared),
        *(_score_block(compared, *block) for block in SCORE_BLOCKS),
        _repair_block(compared),
        _first_code_block(compared),
    ]
    return ShownExperiments([part for part in parts if part], compared.notes)


def _recipe_block(compared: ExperimentTable) -> Block | None:
    """Recipe values that differ; the longer side of the table runs down the page."""
    n_recipes = sum(row["recipe"] is not None for row in compared.rows)
    if not n_recipes:
        return None
    none_differs = n_recipes > 1 and not compared.values
    notes = ("every value is equal · 모든 값이 같습니다",) if none_differs else ()
    cells = [
        [row["model"], row["recipe"] or UNKNOWN, *(_value(row, name) for name in compared.values)]
        for row in compared.rows
    ]
    columns = [MODEL, "recipe · 레시피", *compared.values]
    if len(columns) > len(cells) + 1:
        titles = ["recipe value · 레시피 값", *map(english, columns[1:])]
        columns, *cells = map(list, zip(titles, *cells, strict=True))
    return Block("Recipe values that differ · 서로 다른 레시피 값", columns, cells, notes)


def _value(row: dict[str, Any], name: str) -> str:
    """A recipe value as it is typed on the command line."""
    values = row["values"]
    return shown_value(name, values[name]) if name in values else UNKNOWN


def shown_value(name: str, value: Any) -> str:
    """A recipe value of experiment.json as it is typed on the command line."""
    if value is None:
        # JSON has no infinity, so a record holds null for it.
        is_unlimited = name in VALUES and VALUES[name].metadata["unlimited"]
        return "inf" if is_unlimited else "none"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, bool | dict) else str(value)


def _training_block(compared: ExperimentTable) -> Block | None:
    """Training data and work; the base models too where they differ."""
    columns: dict[str, tuple[str, Callable[[float], str]]] = {
        "train_clips": ("training clips · 학습 발화", "{:,}".format),
        "train_hours": ("their hours · 시간", _hours),
        "updates": ("updates · 업데이트", "{:,}".format),
        "training_hours": ("hours of training · 학습에 걸린 시간", _hours),
    }
    if len({row["base_model"] for row in compared.rows} - {None}) > 1:
        columns = {"base_model": ("base model · 기본 모델", str), **columns}
    if all(row[key] is None for row in compared.rows for key in columns):
        return None
    rows = [
        [
            row["model"],
            *(
                UNKNOWN if row[key] is None else form(row[key])
                for key, (_, form) in columns.items()
            ),
        ]
        for row in compared.rows
    ]
    titles = [MODEL, *(title for title, _ in columns.values())]
    return Block("Training · 학습", titles, rows)


def _hours(hours: float) -> str:
    """Two decimals; two digits of less than an hour."""
    return f"{hours:,.2f}" if hours >= 1 else f"{hours:.2g}"


def _score_block(
    compared: ExperimentTable, title: str, corpus: str, scores: tuple[str, ...]
) -> Block | None:
    """Two scores of each model on a corpus, with intervals and differences."""
    known = [row["corpora"][corpus] for row in compared.rows if corpus in row["corpora"]]
    if not known:
        return None
    columns = [MODEL, "clips · 발화"]
    for score in scores:
        # The block's title says that it is without punctuation.
        columns += [SCORES[score.removesuffix("_no_punctuation")], INTERVAL, DIFFERENCE]
    rows = []
    for row in compared.rows:
        scored = row["corpora"].get(corpus)
        cells = [f"{scored['n_clips']:,}" if scored else UNKNOWN]
        for score in scores:
            cells += _score_cells(scored["scores"][score]) if scored else [UNKNOWN] * 3
        rows.append([row["model"], *cells])
    notes = [f"clips of {', '.join(dict.fromkeys(scored['manifest'] for scored in known))}"]
    if any(score["difference"] for scored in known for score in scored["scores"].values()):
        notes.append(
            f"difference: from {compared.first}, on the same {N_DRAWS:,} draws of "
            f"{known[0]['drawn']}; below 0 is better "
            "· 첫 모델과의 차이이며 0보다 작으면 더 좋습니다"
        )
    return Block(title, columns, rows, tuple(notes))


def _repair_block(compared: ExperimentTable) -> Block | None:
    """Learners' CER, and beside it how many of their slips each model repaired."""
    known = [(row["model"], row["corpora"].get("foreign")) for row in compared.rows]
    repairs = [scored["repair"] for _, scored in known if scored and scored["repair"]["n"]]
    if not repairs:
        return None
    rows = []
    for model, scored in known:
        if not scored or not scored["repair"]["n"]:
            rows.append([model, *[UNKNOWN] * 6])
            continue
        repair, cer = scored["repair"], shown_rate(scored["scores"]["cer_no_punctuation"]["rate"])
        counts = [f"{repair[name]:,}/{repair['n']:,}" for name in ("kept", "repaired")]
        rows.append([model, cer, *counts, *_score_cells(repair)])
    columns = [MODEL, "CER · 글자 오류율", OUTCOMES["kept"], OUTCOMES["repaired"]]
    notes = ["CER without punctuation; a listener keeps slips, a corrector repairs them"]
    if drawn := next((row["difference"]["drawn"] for row in repairs if row["difference"]), None):
        notes.append(
            f"difference: from {compared.first}, on the same {N_DRAWS:,} draws of {drawn}; below "
            "0 is the better listener · 첫 모델과의 차이이며 0보다 작으면 더 좋습니다"
        )
    return Block(
        "Foreign speakers of Korean, slips of readers · 외국인 화자, 제시문과 다르게 읽은 부분",
        [*columns, REPAIR_RATE, INTERVAL, DIFFERENCE],
        rows,
        tuple(notes),
    )


def _score_cells(score: dict[str, Any]) -> list[str]:
    rate, bounds = shown_rate(score["rate"]), shown_bounds(score["interval"])
    difference = score["difference"]
    return [rate, bounds, _difference(difference) if difference else UNKNOWN]


def _difference(difference: dict[str, Any]) -> str:
    """`-0.0551 (-0.0812 to -0.0301)`, or too close to call."""
    if not difference["decided"]:
        return TOO_CLOSE
    low, high = (-bound for bound in reversed(difference["interval"]))
    return "{} ({} to {})".format(
        *(shown_rate(value, "+") for value in (-difference["lower_by"], low, high))
    )


def _first_code_block(compared: ExperimentTable) -> Block | None:
    names = list(dict.fromkeys(name for row in compared.rows for name in row["first_code"]))
    if not names:
        return None
    rows = []
    for row in compared.rows:
        rates = row["first_code"]
        shown = [shown_rate(rates[name]) if name in rates else UNKNOWN for name in names]
        rows.append([row["model"], *shown])
    return Block(
        "Korean speakers, as the original code counts · 한국어 화자, 원래 코드의 방식",
        [MODEL, *names],
        rows,
        (
            "for comparison with figures that this code printed, not of models with each other: "
            "each reference lacks the letters that its model cannot write · 원래 코드로 발표된 "
            "수치와 비교할 때만 사용하세요. 모델마다 출력할 수 없는 글자가 정답에서 빠지므로 "
            "모델끼리는 비교할 수 없습니다",
        ),
    )


# What programs read


def _sheets(compared: ExperimentTable) -> dict[str, list[dict[str, Any]]]:
    """A row for each model, with numbers as numbers; then where they come from; then the notes."""
    return {
        "experiments": [_flat(row, compared) for row in compared.rows],
        "sources": [
            {"model": row["model"], "corpus": corpus, "rule": RULE}
            | {key: value for key, value in scored.items() if key not in ("scores", "repair")}
            for row in compared.rows
            for corpus, scored in row["corpora"].items()
        ],
        "notes": [{"note": note} for note in compared.notes],
    }


def _flat(row: dict[str, Any], compared: ExperimentTable) -> dict[str, Any]:
    """A row of the sheet: the same columns for every model, empty where nothing is known."""
    flat = {key: value for key, value in row.items() if not isinstance(value, dict)}
    for name in compared.values:
        value = row["values"].get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        flat[name] = value if is_number or name not in row["values"] else shown_value(name, value)
    for corpus, scores in SCORES_OF.items():
        scored = row["corpora"].get(corpus, {}).get("scores", {})
        for score in scores:
            flat |= _flat_score(f"{corpus}_{score}", scored.get(score) or {})
    repair = row["corpora"].get("foreign", {}).get("repair", {})
    flat |= _flat_score("repair_rate", repair)
    flat |= {f"repair_rate_{key}": repair.get(key) for key in ("n", "kept", "repaired")}
    return flat | row["first_code"]


def _flat_score(name: str, score: dict[str, Any]) -> dict[str, Any]:
    """`korean_cer`, its bounds `korean_cer_low` and `korean_cer_high`, and its difference's."""
    low, high = score.get("interval") or (None, None)
    difference = score.get("difference") or {}
    bounds = difference.get("interval") or (None, None)
    high_less, low_less = (None if bound is None else -bound for bound in bounds)
    return {
        name: score.get("rate"),
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_difference": -difference["lower_by"] if difference else None,
        f"{name}_difference_low": low_less,
        f"{name}_difference_high": high_less,
        f"{name}_decided": difference.get("decided"),
    }
