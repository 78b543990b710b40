"""Script 4 of 4: score models on foreign speakers of Korean. · 외국인 화자 평가

    python "model_tuning/4. model_test_fo.py" --model wav2vec2_korean_v3 [--limit 3000 | --all]
    python "model_tuning/4. model_test_fo.py" --rescore wav2vec2_korean_v3/results/foreign.jsonl

The clips are data/processed/foreign.jsonl, or the model's split/foreign_test.jsonl where a part of
them was used for training. 3,000 are drawn with a fixed seed, spread over first languages, then
speakers. Learners' labels have no punctuation, so the scores without it are the fair ones here. Run
script 3 first: its results on Korean speakers are the yardstick.
"""

import sys
from pathlib import Path

from korean_asr.errors import exit_status
from korean_asr.evaluation.command_line import (
    add_gaps_to_korean,
    evaluate,
    evaluation_arguments,
    evaluation_options,
    evaluation_plan,
    sampled,
    show,
    show_rescored,
)
from korean_asr.evaluation.model_cards import renew_cards

MANIFEST = Path("data/processed/foreign.jsonl")


def main() -> None:
    # 1. The command line. Torch is imported after it, so that --help answers at once.
    parser = evaluation_options(
        "Score models on foreign speakers of Korean.",
        manifest_help=f"clips; the model's split/foreign_test.jsonl, or {MANIFEST}, if not given",
    )
    n_clips = parser.add_mutually_exclusive_group()
    limit_help = "clips to draw, spread over first languages and speakers; 3000 if not given"
    n_clips.add_argument("--limit", type=int, default=3000, help=limit_help)
    n_clips.add_argument("--all", action="store_true", help="score every clip")
    speaker_help = "a report card of each speaker of at least five clips"
    parser.add_argument("--by-speaker", action="store_true", help=speaker_help)
    arguments = evaluation_arguments(parser)
    if arguments.limit < 1:
        parser.error(f"--limit {arguments.limit}: it must be at least 1")

    # 2. With --rescore no model is needed: the texts were decoded before.
    if arguments.rescore:
        show_rescored(arguments, "foreign", arguments.by_speaker)
        return

    # 3. Models and clips. A results folder that cannot be written is refused here.
    plan = evaluation_plan(arguments, "foreign", MANIFEST)
    if not arguments.all:
        plan = sampled(plan, arguments.limit)

    # 4. Refuse clips of the training data, decode, score.
    evaluations = evaluate(plan)

    # 5. Compare with the same models' results on Korean speakers.
    add_gaps_to_korean(plan, evaluations)

    # 6. Write results/foreign.{json,jsonl,html,xlsx}, then print.
    show(evaluations, plan.results, plan.owner, arguments.embed_audio, arguments.by_speaker)

    # 7. The cards of models that script 2 made tell the new scores.
    renew_cards(plan.models, evaluations, plan.manifest, plan.results)


if __name__ == "__main__":
    sys.exit(exit_status(main))
