"""Script 3 of 4: model x Korean speakers -> CER/WER report. · 한국어 화자 평가

    python "model_tuning/3. model_test_ko.py" --model wav2vec2_korean_v3 [--model OTHER ...] [--with-base]
    python "model_tuning/3. model_test_ko.py" --rescore wav2vec2_korean_v3/results/korean.jsonl

The clips are the test split of the first model that has one, or those of --manifest. Clips that a model was trained on are
refused. Several models are scored on the same clips and compared. `torchrun` deals the clips to all GPUs.
"""

import sys

from korean_asr.errors import exit_status
from korean_asr.evaluation.command_line import evaluation_arguments, evaluation_options
from korean_asr.evaluation.report import show
from korean_asr.evaluation.rescoring import rescored
from korean_asr.evaluation.scores import evaluate
from korean_asr.files import refuse_unusable_place
from korean_asr.hardware import is_first, on_one_gpu_unless_torchrun
from korean_asr.manifest import read_manifest
from korean_asr.model_folder import base_of, default_manifest, owner, results_folder


def main() -> None:
    parser = evaluation_options(
        "Score models on Korean speakers.", None, "clips; the model's split/test.jsonl if not given"
    )
    arguments = evaluation_arguments(parser)

    # 1. No model: the numbers of texts that were decoded before. Written only where --output says.
    if arguments.rescore:
        if is_first():
            evaluations = [rescored(path, "korean") for path in arguments.rescore]
            show(evaluations, arguments.output, embed_audio=arguments.embed_audio)
        return

    # 2. The clips, and where the results go.
    models = arguments.model + ([base_of(arguments.model[0])] if arguments.with_base else [])
    manifest = arguments.manifest or default_manifest(models)
    results = arguments.output or results_folder(models)
    refuse_unusable_place(results)
    if note := on_one_gpu_unless_torchrun():
        print(note)

    # 3. The guard, decoding, scores.
    evaluations = evaluate(
        models,
        manifest,
        read_manifest(manifest),
        "korean",
        (),
        arguments.precision,
        arguments.allow_overlap,
    )
    if is_first():
        show(evaluations, results, owner(models), arguments.embed_audio)


if __name__ == "__main__":
    sys.exit(exit_status(main))
