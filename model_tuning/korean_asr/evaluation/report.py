"""Format the printed report of an evaluation; write its JSON, JSON lines, HTML and Excel files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korean_asr.audio_container import with_remedy
from korean_asr.evaluation.comparison import names_apart
from korean_asr.evaluation.learner_report import learner_lines
from korean_asr.evaluation.pictures import pictures
from korean_asr.evaluation.result_files import stems_of
from korean_asr.evaluation.spreadsheet import workbook
from korean_asr.files import whole_file, write_json, write_json_lines
from korean_asr.messages import (
    CORPORA,
    FEW_CLIPS,
    INTERVAL,
    JAMO_POSITIONS,
    LEADING,
    LOWEST_CER,
    REPAIR_RATE,
    SCORES,
    SEEN_IN_TRAINING,
    SLICES,
    SPACING,
    TOO_CLOSE,
    english,
    table,
)
from korean_asr.model_kinds import WAV2VEC2
from korean_asr.pages.evaluation_page import evaluation_page
from korean_asr.pages.players import players
from korean_asr.rates import shown_bounds, shown_rate

# Learners' labels have no punctuation, so only these scores are fair to them.
FAIR = ("cer_no_punctuation", "wer_no_punctuation", "cer_no_space", "swer")
N_WORST, N_HEARD = 10, 5
N_PRINTED = 1_000  # characters of a text


@dataclass(frozen=True, slots=True)
class Report:
    """What is shown of one evaluation."""

    summary: dict[str, Any]  # the content of the .json
    rows: list[dict[str, Any]]  # of the .jsonl, a clip each
    counts: list[dict[str, int]]  # of each clip: errors and reference length for every error rate


def report_lines(report: Report) -> list[str]:
    """Lines of one model's report.

    A warning about clips of the training data is its first line. `CER: 0.0702` and `WER: 0.2091`
    stand alone on their lines, for people and for grep.
    """
    summary = report.summary
    scores = summary["scores"]
    lines = [
        _warning_line(summary["warning"]),
        *_heading_lines(summary),
        f"CER: {shown_rate(scores['cer']['rate'])}",
        f"WER: {shown_rate(scores['wer']['rate'])}",
        *_leading_lines(summary),
        "",
        *_error_rate_lines(scores),
        "",
        *_hit_rate_lines(scores),
        *_condition_lines(summary),
        *_seen_lines(summary),
    ]
    if summary["corpus"] == "foreign":
        lines += ["", *_fair_lines(scores), "", *_gap_lines(summary["gap_to_korean"])]
        lines += learner_lines(summary)
    for key, parts in summary["groups"].items():
        lines += ["", *_slice_lines(SLICES[key], parts, summary["intervals"]["resampled"])]
    return [*lines, "", *_heard_lines(summary["confusions"]), "", *_worst_clips(report)]


def _warning_line(warning: str | None) -> str:
    if not warning:
        return ""
    return f"WARNING · 경고: {warning}: these scores say nothing about new speech."


def _heading_lines(summary: dict[str, Any]) -> list[str]:
    """What was scored: model, manifest, clips, and the clips that could not be decoded."""
    recipe = f" (recipe {summary['recipe']})" if summary["recipe"] else ""
    title = f"{CORPORA[summary['corpus']]} · {summary['model']}{recipe} · rule {summary['rule']}"
    clips = [
        f"Clips: {summary['n_clips']:,}",
        f"Minutes: {_minutes(summary['duration'])}",
        f"Unreadable: {summary['n_unreadable']}",
    ]
    if summary["n_not_scored"]:
        clips.append(f"Not scored: {summary['n_not_scored']}")
    if summary["n_silent"]:
        clips.append(f"Silent: {summary['n_silent']}")
    problems = summary["problems"].items()
    return [
        f"=== {title} ===",
        f"Manifest: {summary['manifest']}",
        *(f"Note: {note}" for note in summary["notes"]),
        "  ".join(clips),
        *(f"  {with_remedy(problem)}: {n:,}, counted as all deletions" for problem, n in problems),
    ]


def _leading_lines(summary: dict[str, Any]) -> list[str]:
    """The score that is fair to learners, told below the first lines, which are of their labels."""
    leading = LEADING[summary["corpus"]]
    if leading == "cer":
        return []
    # Not `CER: ` again, which users find with grep.
    rate = _named_rate(leading, summary["scores"])
    return [
        f"fair to learners, whose labels have no punctuation: {rate} "
        "· 전사에 문장 부호가 없으므로 이 점수로 비교하세요."
    ]


def _minutes(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds / 60:.1f}"


def _error_rate_lines(scores: dict[str, Any]) -> list[str]:
    """Error rates with their counts, those of jamo for each position too."""
    titled = {english(title): scores[name] for name, title in SCORES.items()}
    for position, title in JAMO_POSITIONS.items():
        titled[f"  {title}"] = scores["jamo"][position]
    rows = [["score", "rate", INTERVAL, "S", "D", "I", "reference"]]
    for title, row in titled.items():
        counts = ("substitutions", "deletions", "insertions", "reference_length")
        edits = [f"{row[name]:,}" for name in counts]
        rows.append([title, _rate(row["rate"]), shown_bounds(row["interval"]), *edits])
    return table(rows, "<><>>>>")


def _hit_rate_lines(scores: dict[str, Any]) -> list[str]:
    """F1, precision and recall of word boundaries and punctuation marks."""
    titled = {SPACING: scores["spacing"]}
    titled |= {f"punctuation {mark}": row for mark, row in scores["punctuation"].items()}
    rows = [["", "F1", INTERVAL, "precision", "recall", "reference"]]
    for title, row in titled.items():
        rates = [_rate(row[name]) for name in ("f1", "precision", "recall")]
        rates.insert(1, shown_bounds(row["interval"]))
        rows.append([title, *rates, f"{row['reference']:,}"])
    return table(rows, "<><>>>")


def _condition_lines(summary: dict[str, Any]) -> list[str]:
    """How intervals were drawn, what the vocabulary allows, how clips were decoded."""
    drawn, decoding = summary["intervals"], summary["decoding"]
    lines = [f"intervals: {drawn['draws']:,} draws of {drawn['drawn']}"]
    if summary["lowest_reachable_cer"] is not None:
        # Not `CER: ` again: users find the headline rate by it with grep.
        lowest = f"{english(LOWEST_CER)} with this model's characters"
        lines.append(f"{lowest}: {shown_rate(summary['lowest_reachable_cer'])}")
    if decoding:
        lines.append(
            f"decoded in {decoding['precision']}, {decoding['n_processes']} process(es): "
            f"{decoding['rtfx']:.1f} seconds of audio a second, "
            f"{decoding['n_batches']:,} batches, {decoding['padding_waste']:.1%} padding"
        )
    language = (decoding or {}).get("language")
    if language or summary["kind"] not in (None, WAV2VEC2):
        told = f", language {language}" if language else ""
        lines.append(f"kind of model · 모델 종류: {summary['kind']}{told}")
    if summary["calibration"]:
        error = summary["calibration"]["error"]
        lines.append(f"calibration error of the model's confidence: {shown_rate(error)}")
    return lines


def _seen_lines(summary: dict[str, Any]) -> list[str]:
    """How many clips were seen in training, by kind, and the scores without them."""
    seen = summary["seen_in_training"]
    if all(n is None for n in seen.values()):
        return [
            "seen in training: unknown, because the model has no split/train.jsonl "
            "· 학습 데이터를 알 수 없습니다."
        ]
    known = ", ".join(f"{kind} {'unknown' if n is None else f'{n:,}'}" for kind, n in seen.items())
    lines = [f"{SEEN_IN_TRAINING}: {known}"]
    for kind, part in summary["without_seen"].items():
        rates = ", ".join(_named_rate(name, part["scores"]) for name in ("cer", "wer"))
        lines.append(
            f"  without clips whose {kind} was in training: {part['n_clips']:,} clips, {rates}"
        )
    return lines


def _fair_lines(scores: dict[str, Any]) -> list[str]:
    raw = ", ".join(_named_rate(name, scores) for name in ("cer", "wer"))
    fair = ", ".join(_named_rate(name, scores) for name in FAIR)
    return [
        f"raw, against the label as it is · 전사 그대로: {raw}",
        f"fair, without punctuation and tags on either side · 문장 부호와 태그를 뺀 점수: {fair}",
    ]


def _gap_lines(gap: dict[str, Any] | None) -> list[str]:
    """The same model's error rates on Korean speakers, and how much higher these are."""
    if not gap:
        return [
            "gap to Korean speakers: unknown. Run script 3 on this model first. "
            "· 3번 스크립트를 먼저 실행하면 한국어 화자와의 차이를 출력합니다."
        ]
    rows = [["gap to Korean speakers · 한국어 화자와의 차이", "Korean", "foreign", "gap", INTERVAL]]
    for name, row in gap["scores"].items():
        rates = [shown_rate(row["korean"]), shown_rate(row["foreign"])]
        rates.append(shown_rate(row["difference"], "+"))
        rows.append([english(SCORES[name]), *rates, shown_bounds(row["interval"])])
    korean = gap["korean"]
    # Results that an older version wrote do not say it.
    drawn = f", draws of {korean['drawn']}" if "drawn" in korean else ""
    return [
        *table(rows, "<>>><"),
        f"  Korean: {korean['n_clips']:,} clips of {korean['manifest']}{drawn}",
    ]


def _slice_lines(title: str, parts: dict[str, dict[str, Any]], resampled: str) -> list[str]:
    """A table of slices; one whose draws are not of the report's `resampled` says of what."""
    rows = [[title, "clips", "CER", INTERVAL, "CER no space", INTERVAL]]
    for name, part in parts.items():
        cells = [f"  {name}", f"{part['n_clips']:,}"]
        for score in ("cer", "cer_no_space"):
            row = part["scores"][score]
            cells += [_rate(row["rate"]), shown_bounds(row["interval"])]
        remarks = [FEW_CLIPS] if part["small"] else []
        if part["resampled"] != resampled:
            remarks.append(f"draws of {part['resampled']}")
        rows.append([*cells, f"({', '.join(remarks)})"] if remarks else cells)
    return table(rows, "<>><><<")


def _heard_lines(found: dict[str, dict[str, list[dict[str, Any]]]]) -> list[str]:
    """The most frequent confusions of each first language, or of all clips."""
    rows = []
    for group, positions in found.items():
        # With several groups, those of all clips are on the page and in the JSON.
        if group == "all" and len(found) > 1:
            continue
        for position, confusions in positions.items():
            heard = ", ".join(_confusion(row) for row in confusions[:N_HEARD] if row["n"] > 1)
            if heard:
                rows.append([group, JAMO_POSITIONS[position], heard])
    return [
        "what a Korean listener hears instead, times of all; ∅ nothing "
        "· 다르게 들린 소리 (횟수/전체)",
        *table(rows, "<<<", indent="  "),
    ]


def _confusion(row: dict[str, Any]) -> str:
    """`ㅓ→ㅗ 4/9`; without the 9 where the reference has no coda to count."""
    of = f"/{row['of']}" if row["of"] else ""
    return f"{row['reference'] or '∅'}→{row['hypothesis'] or '∅'} {row['n']}{of}"


def _worst_clips(report: Report) -> list[str]:
    """The clips with the highest CER; of equal ones those with more errors come first."""

    def badness(row: dict[str, Any]) -> tuple[float, int, str]:
        return row["cer_errors"] / (row["cer_reference_length"] or 1), row["cer_errors"], row["id"]

    worst = sorted(report.rows, key=badness, reverse=True)
    worst = [row for row in worst if row["cer_errors"]][:N_WORST]
    lines = [f"Worst clips · 오류가 많은 발화 ({len(worst)})"]
    for row in worst:
        problem = f"  ({row['problem']})" if row.get("problem") else ""
        lines += [
            f"  {badness(row)[0]:.2f}  {row['id']}{problem}",
            f"        reference   {_cut(row['text'])}",
            f"        hypothesis  {_cut(row['pred_text'])}",
        ]
    return lines


def _cut(text: str) -> str:
    return text if len(text) <= N_PRINTED else f"{text[:N_PRINTED]}…"


def comparison_lines(reports: list[Report], comparisons: list[dict[str, Any]]) -> list[str]:
    """Rates of several models on the same clips, side by side, and differences from the first.

    comparisons: comparison() of the first and each other model.
    """
    names = names_apart([report.summary["model"] for report in reports])
    rows = [["", *names]]
    for score, title in SCORES.items():
        rates = [_rate(report.summary["scores"][score]["rate"]) for report in reports]
        rows.append([english(title), *rates])
    rows += _repair_rows([report.summary.get("repair") or {} for report in reports])
    lines = ["", "Side by side · 모델 비교", *table(rows, "<" + ">" * len(names))]
    n_draws = reports[0].summary["intervals"]["draws"]
    for name, compared in zip(names[1:], comparisons, strict=True):
        rates = compared["differences"].items()
        verdicts = [[english(SCORES[score]), verdict(name, row)] for score, row in rates]
        draws = f"the same {n_draws:,} draws of {compared['drawn']}"
        lines += ["", f"{name} against {names[0]}, on {draws}"]
        if repair := compared.get("repair_rate"):
            told = verdict(name, repair)
            if repair["drawn"] != compared["drawn"]:
                # The clips with slips alone.
                told += f", draws of {repair['drawn']}"
            verdicts.append([english(REPAIR_RATE), told])
        lines += table(verdicts, "<<", indent="  ")
    return lines


def _repair_rows(repairs: list[dict[str, Any]]) -> list[list[str]]:
    """The repair rate of each model, and of how many slips; no row where none has slips."""
    if not any(repair.get("n") for repair in repairs):
        return []
    rows = [[english(REPAIR_RATE), *(_rate(repair.get("rate")) for repair in repairs)]]
    for outcome in ("repaired", "kept"):
        shown = [
            f"{repair[outcome]:,}/{repair['n']:,}" if repair.get("n") else _rate(None)
            for repair in repairs
        ]
        rows.append([f"  {outcome}, of slips", *shown])
    return rows


def verdict(name: str, difference: dict[str, Any]) -> str:
    """`B is lower by 0.8 points, 95 % interval 0.2 to 1.4`, or too close to call.

    A point is 0.01. A difference that is shown as 0.00 has no direction.
    """
    low, high = difference["interval"] or (0.0, 0.0)
    # The four digits that the tables show.
    digits = (shown_rate(value) for value in (difference["lower_by"], low, high))
    points, low, high = (100 * float(shown) for shown in digits)
    direction = "lower"
    if difference["lower_by"] < 0:
        direction, points, low, high = "higher", -points, -high, -low
    # Adding 0 turns -0.0 into 0.0, which is written without a sign.
    shown, low, high = (f"{round(value, 2) + 0:.2f}" for value in (points, low, high))
    told = "equal" if shown == "0.00" else f"{direction} by {shown} points"
    line = f"{name} is {told}, {INTERVAL} {low} to {high}"
    return line if difference["decided"] else f"{TOO_CLOSE}: {line}"


def _named_rate(score: str, scores: dict[str, Any]) -> str:
    return f"{english(SCORES[score])} {shown_rate(scores[score]['rate'])}"


def _rate(rate: float | None) -> str:
    return "–" if rate is None else shown_rate(rate)


def write_reports(
    reports: list[Report],
    folder: Path,
    owner: int = 0,
    embed_audio: bool = False,
    experiments: Any = None,
    stems: Sequence[str] = (),
) -> list[Path]:
    """Write korean.{json,jsonl,html,xlsx}, or foreign.*, and return the paths.

    owner: index of the model whose files get the plain names. Other files carry their model's name.
    experiments: a ShownExperiments for the owner's page, or None.
    stems: the names of the files of each report, if not these.
    """
    written: list[Path] = []
    stems = stems or stems_of([report.summary for report in reports], owner)
    for index, (report, stem) in enumerate(zip(reports, stems, strict=True)):
        tables = experiments if index == owner else None
        others = [other for other in reports if other is not report]
        written += _write_report(report, others, folder, stem, embed_audio, tables)
    return written


def _write_report(
    report: Report,
    others: list[Report],
    folder: Path,
    stem: str,
    embed_audio: bool,
    experiments: Any,
) -> list[Path]:
    """Write the files of one model; its page has the texts of the others too."""
    paths = [folder / f"{stem}.{suffix}" for suffix in ("json", "jsonl", "html", "xlsx")]
    audio = players(report.rows, folder, embed_audio)
    # Clips in archives are embedded in any case.
    is_embedded = any((url or "").startswith("data:") for url in audio)
    write_json(paths[0], report.summary)
    write_json_lines(paths[1], report.rows)
    with whole_file(paths[2]) as file:
        file.write(
            evaluation_page(
                report.summary,
                report.rows,
                audio,
                embed_audio or is_embedded,
                [(other.summary["model"], other.rows) for other in others],
                pictures(report.rows, folder),
                experiments,
            )
        )
    counted = [row | counts for row, counts in zip(report.rows, report.counts, strict=True)]
    with whole_file(paths[3]) as file:
        file.buffer.write(workbook(report.summary, counted))
    return paths
