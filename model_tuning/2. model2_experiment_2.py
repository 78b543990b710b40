"""Script 2 of 4: manifests -> split, tokens, fine-tuned model. · 분할, 토큰 추가, 미세조정

    torchrun --nproc_per_node=4 "model_tuning/2. model2_experiment_2.py" [--data data/processed] [--recipe v3]

Every value of the recipe can be given as an option: --learning-rate 2e-4. Recipes are in korean_asr/recipes.py.
Stopped and run again with the same command, it goes on from its last checkpoint.
"""

import argparse
import shlex
import sys
from pathlib import Path

from korean_asr import recipes
from korean_asr.errors import exit_status
from korean_asr.files import file_checksum, write_json, write_json_lines
from korean_asr.manifest import read_manifest
from korean_asr.model import expanded_base_model, save_recogniser
from korean_asr.processes import is_first, n_processes, on_one_gpu_unless_torchrun
from korean_asr.report import draw_training_curve, write_model_card
from korean_asr.splits import overlaps, printed_split, split_utterances
from korean_asr.training import (
    EXPERIMENT_FILE,
    changed_since_preprocessing,
    experiment_record,
    is_finished,
    last_complete_checkpoint,
    open_experiment,
    precision_note,
    run_identity,
    train,
    trainable,
    training_arguments,
)
from korean_asr.vocabulary import outside_record, outside_vocabulary, printed_outside_of_parts, writable_characters


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Split the clips, expand the tokenizer, fine-tune, save the model.",
        epilog="Every value of the recipe is an option too: " + ", ".join(recipes.OPTIONS),
        allow_abbrev=False,
    )
    parser.add_argument("--data", type=Path, default=Path("data/processed"), help="folder that script 1 wrote")
    parser.add_argument("--recipe", default="v3", help=f"one of {', '.join(recipes.RECIPES)}")
    parser.add_argument("--base-model", default=recipes.KRESNIK, help="a hub name or a local folder")
    parser.add_argument("--output", type=Path, help="model folder; wav2vec2_korean_<recipe> if not given")
    parser.add_argument("--checkpoints", type=Path, default=Path("wav2vec2_finetune_ko"), help="folder of checkpoints")
    parser.add_argument("--check", action="store_true", help="look at all inputs, then stop before training")
    arguments, values = parser.parse_known_args()
    recipe = recipes.recipe(arguments.recipe, recipes.overrides(values))
    output = arguments.output or Path(f"wav2vec2_korean_{recipe.name}")
    plan = recipes.batch_plan(recipe, n_processes())
    say = print if is_first() else lambda *_: None

    # 1. The split: sorted, shuffled by the seed, selected, cut 8:1:1.
    say(f"recipe {recipe.name}, {n_processes()} process(es)")
    if note := on_one_gpu_unless_torchrun():
        say(note)
    manifest = arguments.data / "korean.jsonl"
    split = split_utterances(read_manifest(manifest), recipe)
    manifest_sha256 = file_checksum(manifest)
    if note := changed_since_preprocessing(manifest, manifest_sha256):
        say(note)
    overlap = overlaps(split) if is_first() else {}  # it reads audio, and one process prints it
    say(printed_split(split, overlap))

    # 2. The base model, its tokenizer with new tokens, its head resized; and what it still cannot write.
    say(f"loading {arguments.base_model}")
    texts = {name: [utterance.text for utterance in part] for name, part in split.parts().items()}
    recogniser, added = expanded_base_model(arguments.base_model, recipe, texts["train"])
    say(
        f"tokens added: {' '.join(added) or 'none'}; the head has {recogniser.model.config.vocab_size:,} labels ({recipe.head})"
    )
    writable = writable_characters(recogniser.tokenizer)
    outside = {name: outside_vocabulary(labels, writable) for name, labels in texts.items()}
    for line in printed_outside_of_parts(outside):
        say(line)

    # 3. What training can use. Validation and test keep every clip.
    train_clips, left_out = trainable(split.train, recipe)
    for reason, n_clips in left_out.items():
        say(f"left out of training: {n_clips:,} clips, {reason}")
    say(f"precision: {precision_note(recipe)}")
    say(
        f"batch: {plan.per_device} clips x {plan.accumulation} accumulation x {n_processes()} = {recipe.global_batch} an update"
    )
    if (plan.per_device, plan.accumulation) != (recipe.batch_per_gpu, recipe.accumulation):
        say(
            f"  (the recipe's {recipe.batch_per_gpu} x {recipe.accumulation} x {recipe.gpus}, for another number of processes)"
        )
    if arguments.check:
        say("all inputs are usable; nothing was written (--check). · 점검 완료")
        return

    # 4. Training, from the last complete checkpoint if there is one.
    identity = run_identity(recipe, split, recogniser, n_processes())
    open_experiment(output, arguments.checkpoints, identity, split)
    if is_finished(output):
        say(f"{output} holds this very experiment, finished. Scripts 3 and 4 are next. · 이미 끝난 실험입니다.")
        return
    checkpoint, half_written = last_complete_checkpoint(arguments.checkpoints)
    for path in half_written:
        say(f"{path} is only half written, so it is not used.")
    if checkpoint:
        say(f"continuing from {checkpoint} · 이어서 학습합니다")
    trainer_arguments = training_arguments(recipe, plan, len(train_clips), arguments.checkpoints)
    run = train(recogniser, train_clips, split.validation, trainer_arguments, checkpoint)

    # 5. The model folder: seven files that transformers loads, and the record of how they came to be.
    if is_first():
        save_recogniser(recogniser, output)
        facts = {
            "name": output.name,
            "command": shlex.join(["model_tuning/2. model2_experiment_2.py", *sys.argv[1:]]),
            "precision": precision_note(recipe),
            "tokens_added": added,
            "left_out_of_training": left_out,
            "manifest_sha256": manifest_sha256,
            "overlap": overlap,
            "outside_vocabulary": {name: outside_record(part) for name, part in outside.items()},
        }
        record = experiment_record(identity, split, run, **facts)
        write_json_lines(output / "training_log.jsonl", run.log)
        draw_training_curve(run.log, output / "training_curve.png")
        write_model_card(output / "README.md", record)
        write_json(output / EXPERIMENT_FILE, record)
        say(f"validation CER {run.validation['cer']:.4f}  WER {run.validation['wer']:.4f}  ({run.n_updates:,} updates)")
        say(f"saved to {output}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
