"""Scores -> terminal, JSON, HTML; and the picture and the card of a training run."""

import base64
import io
import os
import unicodedata
import urllib.parse
from pathlib import Path
from typing import Any

import soundfile

from korean_asr.audio import UnreadableAudio, read_samples
from korean_asr.errors import printable
from korean_asr.evaluation.comparison import differences
from korean_asr.evaluation.intervals import N_DRAWS
from korean_asr.evaluation.scores import Evaluation
from korean_asr.files import whole_file, write_json, write_json_lines
from korean_asr.messages import CORPORA
from korean_asr.metrics import JAMO_POSITIONS, MARKS, RULE
from korean_asr.pages.evaluation_page import evaluation_page

SCORE_TITLES = {
    "cer": "CER",
    "wer": "WER",
    "cer_no_punctuation": "CER without punctuation",
    "wer_no_punctuation": "WER without punctuation",
    "cer_no_space": "CER without punctuation and spaces",
    "swer": "sWER (spacing of the reference)",
    "jamo": "jamo error rate",
}
FAIR = (
    "cer_no_punctuation",
    "wer_no_punctuation",
    "cer_no_space",
    "swer",
)  # learners' labels have no punctuation
SLICE_TITLES = {
    "first_language": "first language · 모국어",
    "topik_level": "TOPIK level · 토픽 등급",
    "task": "task · 과제",
    "country": "country · 국가",
    "gender": "gender · 성별",
    "age": "age · 나이",
    "residence": "residence · 지역",
    "quality": "quality · 음질",
    "theme": "theme · 주제",
    "duration": "duration · 길이",
}
POSITION_TITLES = {"onset": "onset · 초성", "nucleus": "nucleus · 중성", "coda": "coda · 종성"}
N_WORST, N_HEARD = 10, 5
EMBEDDED_TYPES = {".wav": "audio/wav", ".flac": "audio/flac"}


def show(
    evaluations: list[Evaluation], folder: Path | None, owner: int = 0, embed_audio: bool = False
) -> None:
    """Write the files where a folder is given, then print each report and the comparison: `| head` must not lose them."""
    written = write_results(evaluations, folder, owner, embed_audio) if folder else []
    for evaluation in evaluations:
        print(printed_report(evaluation))
    if len(evaluations) > 1:
        print(printed_comparison(evaluations))
    for path in written:
        print(f"wrote {path}")


def printed_report(evaluation: Evaluation) -> str:
    """One model's report. `CER: 0.0702` and `WER: 0.2091` stand alone on their lines, for people and for grep.

    A warning about clips of the training data is its first line.
    """
    summary = evaluation.summary
    scores, made_by = (
        summary["scores"],
        f" (recipe {summary['recipe']})" if summary["recipe"] else "",
    )
    lines = [
        f"WARNING · 경고: {summary['warning']}: these scores say nothing about new speech."
        if summary["warning"]
        else "",
        f"=== {CORPORA[evaluation.corpus]} · {evaluation.model}{made_by} · rule {RULE} ===",
        f"Manifest: {evaluation.manifest}",
        *(f"Note: {note}" for note in evaluation.notes),
        f"Clips: {summary['n_clips']:,}  Minutes: {summary['duration'] / 60:.1f}  Unreadable: {summary['n_unreadable']}"
        + (f"  Silent: {summary['n_silent']}" if summary["n_silent"] else ""),
        *(
            f"  {problem}: {n:,}, counted as all deletions"
            for problem, n in summary["problems"].items()
        ),
        f"CER: {scores['cer']['rate']:.4f}",
        f"WER: {scores['wer']['rate']:.4f}",
        "",
        *_score_lines(summary),
        *_seen_lines(summary),
    ]
    if evaluation.corpus == "foreign":
        lines += ["", *_fair_lines(scores)]
        lines += ["", *_gap_lines(summary["gap_to_korean"])]
    for key, parts in summary["groups"].items():
        lines += ["", *_slice_lines(SLICE_TITLES[key], parts)]
    lines += ["", *_heard_lines(summary["confusions"])]
    return "\n".join([*lines, *_worst_clips(evaluation)])


def _score_lines(summary: dict[str, Any]) -> list[str]:
    """The table of scores, and where its intervals come from."""
    scores, drawn = summary["scores"], summary["intervals"]
    lines = [
        f"{'score':<36}{'rate':>8}  {'95 % interval':<17}{'S':>7}{'D':>7}{'I':>7}{'reference':>11}"
    ]
    rows = {**{title: scores[name] for name, title in SCORE_TITLES.items()},
            **{f"  {POSITION_TITLES[position]}": scores["jamo"][position] for position in JAMO_POSITIONS}}  # fmt: skip
    for title, row in rows.items():
        edits = f"{row['substitutions']:>7,}{row['deletions']:>7,}{row['insertions']:>7,}{row['reference_length']:>11,}"
        lines.append(
            f"{_padded(title, 36)}{row['rate']:>8.4f}  {_bounds(row['interval']):<17}{edits}"
        )
    lines += [
        "",
        f"{'':<36}{'F1':>8}  {'95 % interval':<17}{'precision':>10}{'recall':>8}{'reference':>11}",
    ]
    marks = {f"punctuation {mark}": scores["punctuation"][mark] for mark in MARKS}
    for title, row in {"spacing · 띄어쓰기": scores["spacing"], **marks}.items():
        f1, precision, recall = (_rate(row[key]) for key in ("f1", "precision", "recall"))
        bounds = f"{_bounds(row['interval']):<17}{precision:>10}{recall:>8}{row['reference']:>11,}"
        lines.append(f"{_padded(title, 36)}{f1:>8}  {bounds}")
    lines.append(
        f"intervals: {drawn['draws']:,} draws of {drawn['n_units']:,} {drawn['resampled']}"
        + ("" if drawn["resampled"] == "speakers" else " (fewer than 20 speakers are known)")
    )
    if summary["lowest_reachable_cer"] is not None:
        lines.append(
            f"lowest reachable CER with this model's characters: {summary['lowest_reachable_cer']:.4f}"
        )
    if made := summary["decoding"]:
        lines.append(
            f"decoded in {made['precision']}, {made['n_processes']} process(es): {made['rtfx']:.1f} seconds of audio a second, "
            f"{made['n_batches']:,} batches, {made['padding_waste']:.1%} padding"
        )
    if summary["calibration"]:
        lines.append(
            f"calibration error of the model's confidence: {summary['calibration']['error']:.4f}"
        )
    return lines


def _seen_lines(summary: dict[str, Any]) -> list[str]:
    """What of the clips was in training, and the scores without them."""
    seen = summary["seen_in_training"]
    if all(n is None for n in seen.values()):
        return [
            "seen in training: unknown, since no split/train.jsonl of the model is known · 학습 데이터를 알 수 없습니다"
        ]
    lines = [
        "seen in training · 학습과 겹침: "
        + ", ".join(f"{kind} {'unknown' if n is None else f'{n:,}'}" for kind, n in seen.items())
    ]
    for kind, part in summary["without_seen"].items():
        rates = ", ".join(
            f"{SCORE_TITLES[name]} {part['scores'][name]['rate']:.4f}" for name in ("cer", "wer")
        )
        lines.append(
            f"  without clips whose {kind} was in training: {part['n_clips']:,} clips, {rates}"
        )
    return lines


def _fair_lines(scores: dict[str, Any]) -> list[str]:
    rates = {name: f"{SCORE_TITLES[name]} {scores[name]['rate']:.4f}" for name in SCORE_TITLES}
    return [
        f"raw, against the label as it is · 전사 그대로: {rates['cer']}, {rates['wer']}",
        "fair, without punctuation and tags on either side · 문장 부호와 태그를 뺀 점수: "
        + ", ".join(rates[name] for name in FAIR),
    ]


def _gap_lines(gap: dict[str, Any] | None) -> list[str]:
    if not gap:
        return [
            "gap to Korean speakers: unknown. Run script 3 on this model first. · 3번을 먼저 실행하면 차이를 보여 줍니다"
        ]
    korean, gaps = gap["korean"], gap["scores"]
    lines = [
        f"{'gap to Korean speakers · 한국어 화자와의 차이':<36}{'Korean':>8}{'foreign':>9}{'gap':>9}  95 % interval"
    ]
    lines.append(f"  Korean: {korean['n_clips']:,} clips of {korean['manifest']}")
    for name, gap in gaps.items():
        numbers = f"{gap['korean']:>8.4f}{gap['foreign']:>9.4f}{gap['difference']:>+9.4f}"
        lines.append(f"{SCORE_TITLES[name]:<36}{numbers}  {_bounds(gap['interval'])}")
    return lines


def _slice_lines(title: str, parts: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        f"{_padded(title, 26)}{'clips':>8}{'CER':>9}  {'95 % interval':<17}{'CER no space':>13}  95 % interval"
    ]
    for name, part in parts.items():
        cer, fair = part["scores"]["cer"], part["scores"]["cer_no_space"]
        small = "  (few clips)" if part["small"] else ""
        lines.append(
            f"  {_padded(printable(name), 24)}{part['n_clips']:>8,}{cer['rate']:>9.4f}  {_bounds(cer['interval']):<17}"
            f"{fair['rate']:>13.4f}  {_bounds(fair['interval'])}{small}"
        )
    return lines


def _heard_lines(found: dict[str, dict[str, list[dict[str, Any]]]]) -> list[str]:
    """For each first language, or for all, what a listener hears instead most often."""
    lines = [
        "what a Korean listener hears instead, times of all; ∅ nothing · 다르게 들린 소리 (횟수/전체)"
    ]
    for group, positions in found.items():
        if group == "all" and len(found) > 1:
            continue  # on the page and in the JSON
        for position, rows in positions.items():
            heard = ", ".join(
                f"{row['reference'] or '∅'}→{row['hypothesis'] or '∅'} {row['n']}"
                + (f"/{row['of']}" if row["of"] else "")
                for row in rows[:N_HEARD]
                if row["n"] > 1
            )
            if heard:
                lines.append(
                    f"  {_padded(printable(group), 12)}{_padded(POSITION_TITLES[position], 18)}{heard}"
                )
    return lines


def _worst_clips(evaluation: Evaluation) -> list[str]:
    """The clips with the highest CER, the more errors first among equals."""
    counts = [each["cer"] for each in evaluation.per_utterance]
    ids = [utterance.id for utterance in evaluation.utterances]
    order = sorted(
        range(len(ids)), key=lambda i: (counts[i].rate, counts[i].errors, ids[i]), reverse=True
    )
    worst = [place for place in order if counts[place].errors][:N_WORST]
    lines = ["", f"Worst clips · 오류가 많은 음성 ({len(worst)})"]
    for place in worst:
        utterance, hypothesis = evaluation.utterances[place], evaluation.hypotheses[place]
        problem = f"  ({hypothesis.problem})" if hypothesis.problem else ""
        lines += [
            f"  {counts[place].rate:.2f}  {printable(utterance.id)}{problem}",
            f"        reference   {printable(utterance.text)}",
            f"        hypothesis  {printable(hypothesis.text)}",
        ]
    return lines


def printed_comparison(evaluations: list[Evaluation]) -> str:
    """The rates of several models on the same clips, and whether each of the others differs from the first."""
    first, names = evaluations[0], [evaluation.model for evaluation in evaluations]
    if len(set(names)) < len(names):  # two files of one name, or two folders
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    width = max(12, *(len(name) + 2 for name in names))
    lines = [
        "",
        "Side by side · 나란히",
        f"{'':<36}" + "".join(f"{name:>{width}}" for name in names),
    ]
    for score, title in SCORE_TITLES.items():
        rates = "".join(
            f"{evaluation.totals[score].rate:>{width}.4f}" for evaluation in evaluations
        )
        lines.append(f"{title:<36}{rates}")
    for name, other in zip(names[1:], evaluations[1:], strict=True):
        lines += ["", f"{name} against {names[0]}, on the same {N_DRAWS:,} draws"]
        lines += [
            f"  {SCORE_TITLES[score]:<36}{verdict(name, row)}"
            for score, row in differences(first, other).items()
        ]
    return "\n".join(lines)


def verdict(name: str, difference: dict[str, Any]) -> str:
    """`B is lower by 0.8 points, 95 % interval 0.2 to 1.4`, or that it is too close to call. A point is 0.01."""
    points = 100 * difference["lower_by"]
    low, high = (100 * bound for bound in difference["interval"] or (0.0, 0.0))
    if not difference["decided"]:
        return f"too close to call: {name} is lower by {points:.2f} points, 95 % interval {low:.2f} to {high:.2f}"
    if points > 0:
        return f"{name} is lower by {points:.2f} points, 95 % interval {low:.2f} to {high:.2f}"
    return f"{name} is higher by {-points:.2f} points, 95 % interval {-high:.2f} to {-low:.2f}"


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.4f}"


def _bounds(bounds: list[float] | None) -> str:
    return "–" if bounds is None else f"{bounds[0]:.4f}–{bounds[1]:.4f}"


def _padded(text: str, width: int) -> str:
    """Left-aligned in terminal columns, of which a Hangul syllable takes two."""
    columns = sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
    return text + " " * max(1, width - columns)


def write_results(
    evaluations: list[Evaluation], folder: Path, owner: int = 0, embed_audio: bool = False
) -> list[Path]:
    """korean.{json,jsonl,html} or foreign.* of the owner, other models' with their names; returns what was written."""
    written: list[Path] = []
    for number, evaluation in enumerate(evaluations):
        stem = (
            evaluation.corpus
            if number == owner
            else f"{evaluation.corpus}.{evaluation.model.rpartition('/')[2]}"
        )
        if folder / f"{stem}.json" in written:  # two models of one name
            stem += f".{number + 1}"
        summary, rows = evaluation.summary, evaluation.rows(folder)
        if number != owner:
            compared = differences(evaluations[owner], evaluation)
            summary = {
                **summary,
                "compared_with": {"model": evaluations[owner].model, "differences": compared},
            }
        paths = [clip.audio_filepath for clip in evaluation.utterances]
        audio = [
            embedded_audio(path) if embed_audio else linked_audio(path, folder) for path in paths
        ]
        write_json(folder / f"{stem}.json", summary)
        write_json_lines(folder / f"{stem}.jsonl", rows)
        with whole_file(folder / f"{stem}.html") as file:
            file.write(evaluation_page(summary, rows, audio, embed_audio))
        written += [folder / f"{stem}.{suffix}" for suffix in ("json", "jsonl", "html")]
    return written


def linked_audio(path: str, folder: Path) -> str | None:
    """The way from the folder of a page to a clip's file, as a link; None for what no browser plays."""
    if Path(path).suffix.lower() not in EMBEDDED_TYPES:
        return None
    return urllib.parse.quote(os.fsencode(os.path.relpath(path, folder.resolve())))


def embedded_audio(path: str) -> str | None:
    """The clip itself as a data: address: a file that browsers play as it is, others as 16-bit WAV; None if unreadable."""
    try:
        kind = EMBEDDED_TYPES.get(Path(path).suffix.lower())
        content = Path(path).read_bytes() if kind else b""
        if content[:4] not in (b"RIFF", b"fLaC"):
            samples, buffer = read_samples(path), io.BytesIO()
            soundfile.write(
                buffer, samples.values, samples.sample_rate, format="WAV", subtype="PCM_16"
            )
            kind, content = "audio/wav", buffer.getvalue()
    except (UnreadableAudio, OSError, ValueError):
        return None
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
