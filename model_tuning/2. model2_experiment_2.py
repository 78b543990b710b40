"""Script 2 of 4: manifests -> split, tokens, fine-tuned model. · 분할, 토큰 추가, 미세조정

    torchrun --nproc_per_node=4 "model_tuning/2. model2_experiment_2.py" [--recipe v3]

Recipes are in model_tuning/recipes.py; each value is an option too: --learning-rate 2e-4.
Run again after a stop, the same command continues from the last checkpoint.
"""

import sys

from korean_asr.errors import exit_status
from korean_asr.recipe import batch_plan
from korean_asr.recipe_options import training_command
from recipes import KRESNIK, RECIPES


def main() -> None:
    command, recipe = training_command(sys.argv[1:], RECIPES, KRESNIK)
    # Imported here: torch takes seconds, and --help and wrong usage are answered without it.
    from korean_asr import hardware
    from korean_asr.hardware import from_first, is_first
    from korean_asr.model import SEVEN_FILES, base_identity, expanded_base_model
    from korean_asr.training import experiment, inspection, loop, record, trial, watching

    source, say = command.base_model, print if is_first() else lambda *_: None
    plan = batch_plan(recipe, hardware.n_processes())
    note = hardware.on_one_gpu_unless_torchrun() or ""
    say(f"recipe {recipe.name}, {plan.n_processes} process(es) {note}".rstrip())
    precision, precision_note = hardware.precision_here(recipe.precision)

    # 1. The split: sorted, shuffled by the seed, selected, cut 8:1:1.
    data = experiment.read_data(command.data / "korean.jsonl", recipe)
    split, base = data.split, base_identity(source)
    say("\n".join(data.lines))
    this = experiment.identified(command, recipe, split, base, plan.n_processes)
    hardware.join_processes()
    if from_first(is_first() and this.is_finished(SEVEN_FILES)):
        say(f"{this.output} holds this very experiment, finished. · 이미 끝난 실험입니다.")
        return record.renew_license(this)

    # 2. The base model, tokens for what it cannot write, a head as large as the tokenizer.
    say(f"loading {source}")
    recogniser, added = expanded_base_model(source, recipe, split.training_texts)
    say(inspection.printed_tokens(recogniser, added, recipe.head))

    # 3. Inspection: one process looks at all clips and at the model, and all get its record.
    found = from_first(is_first() and inspection.inspected(this, recipe, split, recogniser, added))
    validation, learners = split.validation, split.foreign_validation
    job = loop.prepared_job(recogniser, found.train, validation, recipe, plan, precision, learners)
    say("\n".join([f"precision: {precision_note}", *job.printed()]))
    say(trial.try_unless_trained(job, this.is_trained))
    if command.check:
        say("all inputs are usable; nothing was written (--check). · 점검을 마쳤습니다.")
        return

    # 4. Training, from the last complete checkpoint if there is one.
    checkpoint = from_first(this.opened(found.split_files) if is_first() else None)
    run = loop.train(job, this.checkpoints, watching.Watch(this.output, recipe), checkpoint)

    # 5. The model folder: seven files that transformers loads, and the record of how it was made.
    if is_first():
        recogniser.save(this.output)
        saved = inspection.facts_of_saved(recogniser, this.output, split.validation)
        record.write_record(this, data, run, {**found.facts, "precision": precision_note, **saved})
        n_same = saved["same_text_after_reload"]
        say(f"saved to {this.output}; loaded again, it gives the same text for all {n_same} clips")


if __name__ == "__main__":
    sys.exit(exit_status(main))
