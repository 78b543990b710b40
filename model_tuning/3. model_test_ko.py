"""Script 3 of 4: model x Korean speakers -> CER/WER report. · 한국어 화자 평가

    python "model_tuning/3. model_test_ko.py" --model wav2vec2_korean_v3 [--model OTHER ...]

The clips are the test split of the first model that has one, or those of --manifest. Clips that a model was trained on are
refused. Several models are scored on the same clips and printed side by side.
"""

import argparse
import sys
from pathlib import Path

from korean_asr.errors import exit_status
from korean_asr.evaluation import default_manifest, evaluate, owner, results_folder
from korean_asr.manifest import read_manifest
from korean_asr.processes import is_first, on_one_gpu_unless_torchrun
from korean_asr.report import printed_comparison, printed_report, write_results


def main() -> None:
    parser = argparse.ArgumentParser(description="Score models on Korean speakers.")
    parser.add_argument("--model", action="append", required=True, help="model folder or hub name; may be repeated")
    parser.add_argument("--manifest", type=Path, help="clips to score; the model's split/test.jsonl if not given")
    parser.add_argument("--output", type=Path, help="folder for the results; the model's results/ if not given")
    arguments = parser.parse_args()

    manifest = arguments.manifest or default_manifest(arguments.model)
    results = arguments.output or results_folder(arguments.model)
    if note := on_one_gpu_unless_torchrun():
        print(note)
    evaluations = evaluate(arguments.model, manifest, read_manifest(manifest), "korean")

    if is_first():
        for evaluation in evaluations:
            print(printed_report(evaluation))
        if len(evaluations) > 1:
            print(printed_comparison(evaluations))
        for path in write_results(evaluations, results, owner(arguments.model)):
            print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
