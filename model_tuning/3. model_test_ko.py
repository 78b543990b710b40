"""Script 3 of 4: score models on Korean speakers. · 한국어 화자 평가

    python "model_tuning/3. model_test_ko.py" --model wav2vec2_korean_v3 [--model OTHER ...]
    python "model_tuning/3. model_test_ko.py" --rescore wav2vec2_korean_v3/results/korean.jsonl
    python "model_tuning/3. model_test_ko.py" --experiments FOLDER

The clips are the test split of the first model that has one, or those of --manifest. Clips that a
model was trained on are refused. Several models are scored on the same clips and compared, also by
what each was trained with. --experiments compares all models of a folder by their results alone.
`torchrun` deals the clips to all GPUs.
"""

import sys

from korean_asr.errors import exit_status
from korean_asr.evaluation.command_line import (
    evaluate,
    evaluation_arguments,
    evaluation_options,
    evaluation_plan,
    show,
    show_rescored,
)
from korean_asr.evaluation.experiment_report import (
    add_experiments_option,
    compared_experiments,
    show_experiments,
)
from korean_asr.evaluation.model_cards import renew_cards


def main() -> None:
    # 1. The command line. Torch is imported after it, so that --help answers at once.
    parser = evaluation_options(
        "Score models on Korean speakers.",
        manifest_help="clips; the model's split/test.jsonl if not given",
    )
    add_experiments_option(parser)
    arguments = evaluation_arguments(parser)

    # 2. With --rescore or --experiments no model is needed: the texts were decoded before.
    if arguments.rescore:
        show_rescored(arguments, "korean")
        return
    if arguments.experiments:
        show_experiments(arguments.experiments, arguments.output)
        return

    # 3. Models and clips. A results folder that cannot be written is refused here.
    plan = evaluation_plan(arguments, "korean")

    # 4. Refuse clips of the training data, decode, score.
    evaluations = evaluate(plan)

    # 5. With several models: recipe, training and scores of each in one table.
    experiments = compared_experiments(plan.models, evaluations, plan.results)

    # 6. Write results/korean.{json,jsonl,html,xlsx}, then print.
    show(evaluations, plan.results, plan.owner, arguments.embed_audio, experiments=experiments)

    # 7. The cards of models that script 2 made tell the new scores.
    renew_cards(plan.models, evaluations, plan.manifest, plan.results)


if __name__ == "__main__":
    sys.exit(exit_status(main))
