"""What foreign.json says of learners beyond the scores: repairs, syllables, report cards."""

from typing import Any

from korean_asr.evaluation.repair import listed_slips, repair_rate, slips_of
from korean_asr.evaluation.report_cards import report_cards
from korean_asr.evaluation.scores import Evaluation, slices
from korean_asr.evaluation.syllables import syllable_shares


def summary_with_learners(evaluation: Evaluation, by_speaker: bool = False) -> dict[str, Any]:
    """The summary of an evaluation of foreign speakers, with `repair`, `syllables`, `report_cards`.

    Each first language has a `repair` of its own. The evaluation on Korean speakers, which is the
    yardstick, is the fact `natives`. by_speaker: make report cards; they are None otherwise.
    The summary of Korean speakers is returned as it is.
    """
    summary = evaluation.summary
    if evaluation.corpus != "foreign":
        return summary
    natives = evaluation.facts.get("natives")
    languages = slices(evaluation.utterances, "foreign").get("first_language", {})
    found = slips_of(evaluation)
    everybody = repair_rate(evaluation, found, range(len(found)))
    groups = summary["groups"]
    if languages:
        parts = {
            name: part | {"repair": repair_rate(evaluation, found, languages[name])}
            for name, part in groups["first_language"].items()
        }
        groups = groups | {"first_language": parts}
    return summary | {
        "groups": groups,
        "repair": everybody | {"slips": listed_slips(evaluation, found)},
        "syllables": syllable_shares(evaluation, natives, languages),
        "report_cards": report_cards(evaluation, natives) if by_speaker else None,
    }
