"""Script 4 of 4: model x foreign speakers of Korean -> CER/WER report. · 외국인 화자 평가

    python "model_tuning/4. model_test_fo.py" --model wav2vec2_korean_v3 [--model OTHER ...] [--limit 3000 | --all]
    python "model_tuning/4. model_test_fo.py" --rescore wav2vec2_korean_v3/results/foreign.jsonl

The clips are data/processed/foreign.jsonl, of which a seeded 3,000 are drawn, spread over first languages, then speakers.
Learners' labels carry no punctuation, so the scores without it are the fair ones here. Run script 3 first: its result on
Korean speakers is what the gap is measured against.
"""

import sys
from pathlib import Path

from korean_asr.errors import exit_status
from korean_asr.evaluation.command_line import evaluation_arguments, evaluation_options
from korean_asr.evaluation.comparison import gap_to_korean
from korean_asr.evaluation.report import show
from korean_asr.evaluation.rescoring import rescored
from korean_asr.evaluation.scores import evaluate, spread_sample
from korean_asr.files import refuse_unusable_place
from korean_asr.hardware import is_first, on_one_gpu_unless_torchrun
from korean_asr.manifest import read_manifest
from korean_asr.model_folder import base_of, owner, results_folder

MANIFEST = Path("data/processed/foreign.jsonl")


def main() -> None:
    parser = evaluation_options(
        "Score models on foreign speakers of Korean.", MANIFEST, f"clips; {MANIFEST} if not given"
    )
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument(
        "--limit",
        type=int,
        default=3000,
        help="clips to draw, spread over first languages and speakers",
    )
    how_many.add_argument("--all", action="store_true", help="score every clip")
    arguments = evaluation_arguments(parser)
    if arguments.limit < 1:
        parser.error(f"--limit {arguments.limit}: it must be at least 1")

    # 1. No model: the numbers of texts that were decoded before. Written only where --output says.
    if arguments.rescore:
        if is_first():
            evaluations = [rescored(path, "foreign") for path in arguments.rescore]
            show(evaluations, arguments.output, embed_audio=arguments.embed_audio)
        return

    # 2. The clips, and where the results go.
    models = arguments.model + ([base_of(arguments.model[0])] if arguments.with_base else [])
    results = arguments.output or results_folder(models)
    utterances, notes = read_manifest(arguments.manifest), ()
    if not arguments.all and len(utterances) > arguments.limit:
        drawn = f"{arguments.limit:,} of {len(utterances):,} clips, spread over first languages, then speakers"
        notes = (f"{drawn} (--all scores all)",)
        utterances = spread_sample(utterances, arguments.limit)
    refuse_unusable_place(results)
    if note := on_one_gpu_unless_torchrun():
        print(note)

    # 3. The guard, decoding, scores; and how far from the same model's score on Korean speakers.
    evaluations = evaluate(
        models,
        arguments.manifest,
        utterances,
        "foreign",
        notes,
        arguments.precision,
        arguments.allow_overlap,
    )
    if is_first():
        for model, evaluation in zip(models, evaluations, strict=True):
            evaluation.facts["gap_to_korean"] = gap_to_korean(
                evaluation, [results, results_folder([model])]
            )
        show(evaluations, results, owner(models), arguments.embed_audio)


if __name__ == "__main__":
    sys.exit(exit_status(main))
