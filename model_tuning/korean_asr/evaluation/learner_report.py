"""Print what foreign.json says of learners beyond the scores, and make sheets of it."""

from collections.abc import Iterator
from typing import Any

from korean_asr.messages import (
    BELOW_THRESHOLD,
    INTERVAL,
    NO_SHARES,
    NO_SLIPS,
    OUTCOMES,
    REPAIR_RATE,
    REPORT_CARDS,
    SCORES,
    SLICES,
    english,
    placed,
    table,
)
from korean_asr.rates import shown_bounds, shown_rate

# Cards that are printed, and jamo of each position.
N_CARDS, N_JAMO = 10, 2

Row = dict[str, Any]


def learner_lines(summary: Row) -> list[str]:
    """Lines on repairs, syllables and report cards; none where the summary has none."""
    lines: list[str] = []
    if repair := summary.get("repair"):
        lines += ["", *_repair_lines(repair, summary["groups"].get("first_language") or {})]
    if syllables := summary.get("syllables"):
        lines += ["", *_syllable_lines(syllables)]
    if cards := summary.get("report_cards"):
        lines += ["", *_card_lines(cards)]
    return lines


def _repair_lines(repair: Row, languages: dict[str, Row]) -> list[str]:
    if repair["n"]:
        counts = ", ".join(f"{repair[name]:,} {name}" for name in OUTCOMES)
        lines = [
            f"{REPAIR_RATE}: {shown_rate(repair['rate'])} ({shown_bounds(repair['interval'])}), "
            f"{repair['n']:,} slips in {repair['n_clips']:,} clips: {counts}; "
            f"draws of {repair['drawn']}"
        ]
    else:
        lines = [f"{REPAIR_RATE}: {NO_SLIPS}"]
    left_out = {
        "clips whose reader said another sentence": repair["n_other_sentences"],
        "differences of writing, such as 3시 and 세 시": repair["n_other_writing"],
    }
    lines += [f"  left out: {n:,} {what}" for what, n in left_out.items() if n]
    rows = [[SLICES["first_language"], "slips", *OUTCOMES, english(REPAIR_RATE), INTERVAL]]
    for name, part in languages.items():
        row = part["repair"]
        if row["n"]:
            counts = [f"{row[key]:,}" for key in ("n", *OUTCOMES)]
            rates = [shown_rate(row["rate"]), shown_bounds(row["interval"])]
            rows.append([f"  {name}", *counts, *rates])
    return lines + (table(rows, "<>>>>><") if len(rows) > 1 else [])


def _syllable_lines(found: Row) -> list[str]:
    if found["threshold"] is None:
        return [f"{english(BELOW_THRESHOLD)}: {NO_SHARES[found['unknown']]}"]
    natives = found["natives"]
    rows = [["", "syllables", "below", "share", INTERVAL, "jamo of most, times of all"]]
    for name, part in {"all": found["all"], **found["first_languages"]}.items():
        if part["n"]:
            counts = [f"{part['n']:,}", f"{part['below']:,}", shown_rate(part["share"])]
            rows.append([f"  {name}", *counts, shown_bounds(part["interval"]), _jamo_of_most(part)])
    return [
        BELOW_THRESHOLD,
        f"  threshold {found['threshold']:.2f}: {natives['below']:,} of {natives['n']:,} syllables "
        f"of natives lie below it, {natives['n_clips']:,} clips of {natives['manifest']}",
        *table(rows, "<>>><<"),
    ]


def _jamo_of_most(part: Row) -> str:
    """`ㄲ- 3/3, -ㅓ- 4/8, -∅ 5/9`."""
    return ", ".join(
        f"{placed(position, row['jamo'])} {row['n']}/{row['of']}"
        for position, rows in part["positions"].items()
        for row in rows[:N_JAMO]
    )


def _card_lines(found: Row) -> list[str]:
    cards = found["cards"]
    title = (
        f"{REPORT_CARDS}: {len(cards):,} of {found['n_speakers']:,} speakers have at least "
        f"{found['min_clips']} clips"
    )
    if not cards:
        return [f"{title}. Score more clips of each: --all, or a larger --limit."]
    error = english(SCORES[found["score"]])
    rows = [["speaker · 화자", "clips", error, INTERVAL, "heard otherwise, times of all (natives)"]]
    for card in cards[:N_CARDS]:
        language = f" ({card['first_language']})" if card["first_language"] else ""
        sounds = ", ".join(_sound(sound) for sound in card["sounds"])
        rate, bounds = shown_rate(card["rate"]), shown_bounds(card["interval"])
        rows.append([f"  {card['speaker']}{language}", f"{card['n_clips']}", rate, bounds, sounds])
    lines = [title, *table(rows, "<>><<")]
    if not found["natives"]:
        lines.append("  natives' rates are unknown: run script 3 on this model first")
    if len(cards) > N_CARDS:
        lines.append(f"  {len(cards) - N_CARDS:,} more with fewer errors are on the page")
    return lines


def _sound(sound: Row) -> str:
    """`ㄲ- 3/3 (0.0210)`."""
    natives = sound["natives"]
    usual = f" ({shown_rate(natives['rate'])})" if natives and natives["rate"] is not None else ""
    return f"{placed(sound['position'], sound['reference'])} {sound['n']}/{sound['of']}{usual}"


# Sheets


def learner_sheets(summary: Row) -> dict[str, list[Row]]:
    """The sheets `repair`, `syllables` and `cards`; without those that the summary lacks."""
    sheets = {}
    if summary.get("repair"):
        sheets["repair"] = list(_repair_rows(summary))
    if (syllables := summary.get("syllables")) and syllables["threshold"] is not None:
        sheets["syllables"] = list(_syllable_rows(syllables))
    if summary.get("report_cards"):
        sheets["cards"] = list(_card_rows(summary["report_cards"]))
    return sheets


def _repair_rows(summary: Row) -> Iterator[Row]:
    """A row for everybody and for each first language."""
    languages = summary["groups"].get("first_language") or {}
    parts = {"all": summary["repair"]} | {name: part["repair"] for name, part in languages.items()}
    for name, row in parts.items():
        yield {"first_language": name, **_flat(row), "draws_of": row["drawn"]}


def _syllable_rows(found: Row) -> Iterator[Row]:
    """A row for each part and for each of its jamo; natives come first."""
    natives = found["natives"]
    yield {"first_language": "natives", "threshold": found["threshold"], **_flat(natives)}
    for name, part in {"all": found["all"], **found["first_languages"]}.items():
        key = {"first_language": name, "threshold": found["threshold"]}
        yield {**key, **_flat(part), "draws_of": part["drawn"]}
        for position, rows in part["positions"].items():
            for row in rows:
                yield {
                    **key,
                    "n": row["of"],
                    "below": row["n"],
                    "share": round(row["n"] / row["of"], 6),
                    "position": position,
                    "jamo": row["jamo"] or "∅",
                    "natives_n": row["natives"]["of"],
                    "natives_below": row["natives"]["n"],
                    "clips": " ".join(clip["id"] for clip in row["clips"]),
                }


def _card_rows(found: Row) -> Iterator[Row]:
    """A row for each sound of each speaker; one row for a speaker without any."""
    for card in found["cards"]:
        own = {key: card[key] for key in ("speaker", "first_language", "topik_level", "n_clips")}
        own |= {"score": found["score"], **_flat(card), "draws_of": card["drawn"]}
        for sound in card["sounds"] or [{}]:
            natives = sound.get("natives") or {}
            heard = ", ".join(f"{jamo or '∅'} {n}" for jamo, n in sound.get("heard_as", ()))
            yield {
                **own,
                "position": sound.get("position"),
                "jamo": sound.get("reference"),
                "heard_otherwise": sound.get("n"),
                "of": sound.get("of"),
                "heard_as": heard or None,
                "natives_heard_otherwise": natives.get("n"),
                "natives_of": natives.get("of"),
                "clips": " ".join(sound.get("clips", ())) or None,
            }


def _flat(row: Row) -> Row:
    """The numbers of a row, and both ends of its interval if it has one."""
    numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
    if "interval" in row:
        numbers["interval_low"], numbers["interval_high"] = row["interval"] or (None, None)
    return numbers
