"""Script 4 of 4: model x foreign speakers of Korean -> CER/WER report. · 외국인 화자 평가

    python "model_tuning/4. model_test_fo.py" --model wav2vec2_korean_v3 [--model OTHER ...] [--limit 3000 | --all]

The clips are data/processed/foreign.jsonl, of which a seeded 3,000 are drawn, spread over first languages, then speakers.
Learners' labels carry no punctuation, so `CER without punctuation` is the fair number here.
"""

import argparse
import sys
from pathlib import Path

from korean_asr.errors import exit_status
from korean_asr.evaluation import evaluate, owner, results_folder, spread_sample
from korean_asr.manifest import read_manifest
from korean_asr.processes import is_first, on_one_gpu_unless_torchrun
from korean_asr.report import printed_comparison, printed_report, write_results


def main() -> None:
    parser = argparse.ArgumentParser(description="Score models on foreign speakers of Korean.")
    parser.add_argument("--model", action="append", required=True, help="model folder or hub name; may be repeated")
    parser.add_argument("--manifest", type=Path, default=Path("data/processed/foreign.jsonl"), help="clips to score")
    parser.add_argument("--output", type=Path, help="folder for the results; the model's results/ if not given")
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument(
        "--limit", type=int, default=3000, help="clips to draw, spread over first languages and speakers"
    )
    how_many.add_argument("--all", action="store_true", help="score every clip")
    arguments = parser.parse_args()
    if arguments.limit < 1:
        parser.error(f"--limit {arguments.limit}: it must be at least 1")

    results = arguments.output or results_folder(arguments.model)
    utterances, notes = read_manifest(arguments.manifest), ()
    if not arguments.all and len(utterances) > arguments.limit:
        notes = (
            f"{arguments.limit:,} of {len(utterances):,} clips, spread over first languages, then speakers (--all scores all)",
        )
        utterances = spread_sample(utterances, arguments.limit)

    if note := on_one_gpu_unless_torchrun():
        print(note)
    evaluations = evaluate(arguments.model, arguments.manifest, utterances, "foreign", notes)

    if is_first():
        for evaluation in evaluations:
            print(printed_report(evaluation))
        if len(evaluations) > 1:
            print(printed_comparison(evaluations))
        for path in write_results(evaluations, results, owner(arguments.model)):
            print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
