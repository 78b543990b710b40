"""Script 2 of 4: manifests -> split, tokens, fine-tuned model. · 분할, 토큰 추가, 미세조정

    torchrun --nproc_per_node=4 "model_tuning/2. model2_experiment_2.py" [--data data/processed] [--recipe v3]

Every value of the recipe can be given as an option: --learning-rate 2e-4. Recipes are in korean_asr/recipes.py.
Stopped and run again with the same command, it goes on from its last checkpoint.
"""

import argparse
import shlex
import sys
from pathlib import Path

from korean_asr.errors import exit_status
from korean_asr.files import file_checksum, write_json, write_json_lines
from korean_asr.hardware import (
    from_first,
    is_first,
    join_processes,
    n_processes,
    on_one_gpu_unless_torchrun,
)
from korean_asr.manifest import read_manifest
from korean_asr.model import expanded_base_model, n_parameters, save_recogniser
from korean_asr.overlap import overlaps, printed_earlier, printed_overlap, trained_on
from korean_asr.recipe import OPTIONS, batch_plan, chosen_recipe, overrides
from korean_asr.training import checkpoints, clip_checks, loop, model_checks
from korean_asr.training.model_card import draw_training_curve, write_model_card
from korean_asr.training.splits import printed_split, split_utterances
from korean_asr.vocabulary import (
    outside_record,
    outside_vocabulary,
    printed_outside_of_parts,
    writable_characters,
)
from recipes import KRESNIK, RECIPES


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Split the clips, expand the tokenizer, fine-tune, save the model.",
        epilog="Every value of the recipe is an option too: " + ", ".join(OPTIONS),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data/processed"), help="folder that script 1 wrote"
    )
    parser.add_argument("--recipe", default="v3", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--base-model", default=KRESNIK, help="a hub name or a local folder")
    parser.add_argument(
        "--output", type=Path, help="model folder; wav2vec2_korean_<recipe> if not given"
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=Path("wav2vec2_finetune_ko"),
        help="folder of checkpoints",
    )
    parser.add_argument(
        "--check", action="store_true", help="look at all inputs, name every finding, write nothing"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start over; the old folders are renamed, not deleted"
    )
    arguments, values = parser.parse_known_args()
    recipe = chosen_recipe(RECIPES, arguments.recipe, overrides(values, vars(arguments)))
    output = arguments.output or Path(f"wav2vec2_korean_{recipe.name}")
    plan = batch_plan(recipe, n_processes())
    say = print if is_first() else lambda *_: None

    # 1. The split: sorted, shuffled by the seed, selected, cut 8:1:1.
    say(f"recipe {recipe.name}, {n_processes()} process(es)")
    if note := on_one_gpu_unless_torchrun():
        say(note)
    precision, precision_note = loop.precision_here(recipe)
    manifest = arguments.data / "korean.jsonl"
    split = split_utterances(read_manifest(manifest), recipe)
    manifest_sha256 = file_checksum(manifest)
    if note := loop.changed_since_preprocessing(manifest, manifest_sha256):
        say(note)
    say(printed_split(split))

    # 2. The base model, its tokenizer with new tokens, its head resized; and what it still cannot write.
    say(f"loading {arguments.base_model}")
    texts = {name: [utterance.text for utterance in part] for name, part in split.parts().items()}
    recogniser, added = expanded_base_model(arguments.base_model, recipe, texts["train"])
    n_labels = recogniser.model.config.vocab_size
    say(
        f"tokens added: {' '.join(added) or 'none'}; the head has {n_labels:,} labels ({recipe.head})"
    )
    writable = writable_characters(recogniser.tokenizer)
    outside = {name: outside_vocabulary(labels, writable) for name, labels in texts.items()}
    say("\n".join(printed_outside_of_parts(outside)))

    # 3. Everything that can go wrong later, tried now. Training leaves bad clips out; validation and test keep every clip.
    # One process looks, the others wait for what it found.
    found = step_0 = checkpoint = finished = None
    identity = checkpoints.run_identity(recipe, split, recogniser, n_processes())
    if is_first():
        if not arguments.check:
            checkpoints.refuse_another_experiment(
                output, arguments.checkpoints, identity, arguments.fresh
            )
        found = clip_checks.checked_inputs(split.parts(), recipe.max_duration_s, writable)
        say("\n".join(clip_checks.printed_checks(found, limit=None if arguments.check else 3)))
        split = split.with_sounds(found.sounds)
        overlap = overlaps(split.parts())
        earlier = trained_on(arguments.base_model) or []
        say(
            "\n".join(
                [
                    printed_overlap(overlap),
                    *printed_earlier(arguments.base_model, earlier, split.test),
                ]
            )
        )
        needed = clip_checks.disk_needed(*n_parameters(recogniser.model), recipe.checkpoints_kept)
        written_over = 0 if arguments.fresh else checkpoints.bytes_on_disk(arguments.checkpoints)
        say(clip_checks.refuse_full_disk(arguments.checkpoints, needed, written_over))
        if recipe.head == "resize":
            # The other processes get these biases when the weights are shared out, before the first update.
            model_checks.start_new_tokens(
                recogniser, added, clip_checks.sample_waveforms(split.train)
            )
        sample = clip_checks.sample_waveforms(split.validation)
        step_0 = model_checks.step_0(arguments.base_model, recogniser, recipe.head, sample)
        say(model_checks.printed_step_0(step_0))
        if not arguments.check:
            notes = checkpoints.open_experiment(
                output, arguments.checkpoints, identity, split, arguments.fresh, earlier
            )
            checkpoint, half_written = checkpoints.last_complete_checkpoint(arguments.checkpoints)
            finished = checkpoints.is_finished(output)
            notes += [f"{path} is only half written, so it is not used." for path in half_written]
            for note in notes:
                say(note)
    join_processes()
    found, checkpoint, finished = from_first((found, checkpoint, finished))
    if finished:
        say(
            f"{output} holds this very experiment, finished. Scripts 3 and 4 are next. · 이미 끝난 실험입니다."
        )
        return
    train_clips = clip_checks.usable_training_clips(split.train, found)
    job = loop.Job(recogniser, train_clips, split.validation, recipe, plan, precision)
    say(f"precision: {precision_note}")
    say("\n".join(loop.printed_batches(job)))
    say(loop.try_longest_batch(job))
    if arguments.check:
        say("all inputs are usable; nothing was written (--check). · 점검 완료")
        return

    # 4. Training, from the last complete checkpoint if there is one.
    if checkpoint:
        say(f"continuing from {checkpoint} · 이어서 학습합니다")
    run = loop.train(job, arguments.checkpoints, output / "training_log.jsonl", checkpoint)

    # 5. The model folder: seven files that transformers loads, and the record of how they came to be.
    if is_first():
        save_recogniser(recogniser, output)
        sample = clip_checks.sample_waveforms(split.validation)
        n_reloaded = model_checks.saved_model(recogniser, output, sample)
        facts = {
            "name": output.name,
            "base_model_source": loop.public_command([arguments.base_model])[0],
            "command": shlex.join(
                ["model_tuning/2. model2_experiment_2.py", *loop.public_command(sys.argv[1:])]
            ),
            "precision": precision_note,
            "tokens_added": added,
            "step_0": step_0.record(),
            "checks": clip_checks.checks_record(found),
            "left_out_of_training": found.left_out,
            "manifest_sha256": manifest_sha256,
            "overlap": overlap,
            "outside_vocabulary": {name: outside_record(part) for name, part in outside.items()},
            "same_text_after_reload": n_reloaded,
        }
        record = loop.experiment_record(identity, split, run, **facts)
        write_json_lines(output / "training_log.jsonl", run.progress.log)
        draw_training_curve(run.progress.log, output / "training_curve.png")
        write_model_card(output / "README.md", record)
        write_json(output / checkpoints.EXPERIMENT_FILE, record)
        rates, updates = run.validation, f"update {run.final_update:,} of {run.progress.update:,}"
        say(
            f"final model: {updates} ({recipe.final_model}), validation CER {rates['cer']:.4f}  WER {rates['wer']:.4f}"
        )
        say(
            f"saved to {output}; loaded again, it gives the same text for {n_reloaded} of {n_reloaded} clips"
        )


if __name__ == "__main__":
    sys.exit(exit_status(main))
