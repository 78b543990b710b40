"""Compare the speed of training with the Trainer of transformers, and with the original code.

    python tests/benchmarks/training_speed.py [--full] [--rounds 3] [--threads 2] [--json FILE]

Clips of 1 to 12 s, 4.4 s on average; a model of random weights with 6 layers of 512 (25 M
parameters), on the CPU. gpu.py compares the same ways on a GPU. Peers:
- "frozen": the Trainer, clips in random order, `processor.pad` as collator, float32 input values
  that `datasets.map` computed before, the convolutional encoder frozen; `bf16=True` for half
  precision;
- "grouped": the same with `group_by_length`, as on the page of the CTC example, in the precision
  that is fastest for us;
- "original": the original code: random order, nothing frozen, no attention mask, v1's values,
  batches of 4.
The speed is the audio of all updates divided by their time, with reading and collating but without
the Trainer's first batch and the cache of input values. All have the same number of clips in an
update, and the same dropouts, masks, layerdrop and optimizer, but for v1's values.
"""

import dataclasses
import itertools
import json
import math
import os
import statistics
import time
from pathlib import Path
from typing import Any

from measuring import (
    HALF,
    MEAN_S,
    REAL,
    SAMPLE_RATE,
    Row,
    benchmark,
    corpus_durations,
    in_turn,
    matrix_rate,
    of_matrix_rate,
    operations,
    peak_memory_mb,
    per_second,
    random_base,
    ratios,
    spoken,
)

from korean_asr.manifest import Utterance
from korean_asr.recipe import Recipe, batch_plan
from recipes import RECIPES

BATCH = 8
# Clips of an epoch. Our batches of similar length have 3 % padding with 1,024 clips, under 1 % with
# v3's 6,400, and 14 % with 256. More would take too long: grouping by length, the Trainer reads
# 2,048 clips for 15 s before its clock starts.
N_CLIPS = 1_024
V3_AUDIO_S = 6_400 * MEAN_S * 10
# Each process keeps its model and updates here between rounds.
kept: dict[str, Any] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    audio_per_second: float
    padding: float
    memory_mb: float


def recipe_for(
    precision: str, batch: int = BATCH, accumulation: int = 1, workers: int = 0
) -> Recipe:
    """v3's values for one process, with batch x accumulation clips in an update."""
    return dataclasses.replace(
        RECIPES["v3"],
        gpus=1,
        batch_per_gpu=batch,
        accumulation=accumulation,
        workers=workers,
        precision=precision,
    )


def original_recipe() -> Recipe:
    """v1's values, with as many clips in an update as recipe_for has by default."""
    v1 = RECIPES["v1"]
    return dataclasses.replace(v1, gpus=1, accumulation=BATCH // v1.batch_per_gpu)


def new_updater(base: str, clips: list[Utterance], recipe: Recipe) -> Any:
    """The loop.Updater of a run that starts, with its model, optimizer and loss scaler."""
    import torch

    from korean_asr.hardware import n_processes
    from korean_asr.model import expanded_base_model
    from korean_asr.training.loop import Updater, network_of, new_optimizer, prepared_job
    from korean_asr.training.progress import Progress, TrainingBar

    recogniser, _ = expanded_base_model(base, recipe)
    plan, model = batch_plan(recipe, n_processes()), recogniser.model
    job = prepared_job(recogniser, clips, [], recipe, plan, recipe.precision)
    scaler = torch.amp.GradScaler(model.device.type, enabled=recipe.precision == "fp16")
    optimizer = new_optimizer(model, recipe.learning_rate, recipe.weight_decay)
    bar = TrainingBar(Progress(), 1, 1, 1, is_first=False)
    return Updater(job, network_of(model), optimizer, scaler, bar.progress, bar)


def ours(
    base: str, clips: list[Utterance], recipe: Recipe, n_updates: int, number: int
) -> Measured:
    """Make the next updates of a run. The first, with the longest clip, does not count."""
    from korean_asr.hardware import rank
    from korean_asr.training.batches import updates_with_clips

    if number < 0:
        kept["updater"], n_updates = new_updater(base, clips, recipe), 1
        kept["updates"] = updates_with_clips(kept["updater"].job, rank(), 0)
    updater = kept["updater"]
    before, device = dataclasses.replace(updater.progress), updater.job.recogniser.model.device.type
    started = clock_now(device)
    for update in itertools.islice(kept["updates"], n_updates):
        updater.make(update)
    updater.count()
    seconds = clock_now(device) - started
    audio = updater.progress.audio_seconds - before.audio_seconds
    padding = 1 - audio / (updater.progress.padded_seconds - before.padded_seconds)
    return Measured(audio / seconds, padding, peak_memory_mb(device))


def theirs(
    base: str, rows: Path, way: str, recipe: Recipe, n_updates: int, number: int
) -> Measured:
    """Make updates by the Trainer, in another random order each round.

    The clock starts when the first batch has been read.
    """
    import transformers

    from korean_asr.hardware import device_here

    device = device_here().type
    if number < 0:
        model, processor = their_model(base, recipe)
        kept[way], n_updates = (model, processor, input_values(rows, processor)), 1
    model, processor, clips = kept[way]
    # In samples, of the clips of each batch.
    lengths: list[list[int]] = []

    def collate(clips: list[dict[str, Any]]) -> dict[str, Any]:
        inputs = [{"input_values": clip["input_values"]} for clip in clips]
        batch = processor.pad(inputs, padding=True, return_tensors="pt")
        labels = processor.pad(
            labels=[{"input_ids": clip["labels"]} for clip in clips],
            padding=True,
            return_tensors="pt",
        )
        batch["labels"] = labels["input_ids"].masked_fill(labels.attention_mask.ne(1), -100)
        if way == "original":
            batch.pop("attention_mask", None)
        # A list of ints, which stays on the CPU.
        batch["lengths"] = [len(clip["input_values"]) for clip in clips]
        return batch

    class Watched(transformers.Trainer):
        def training_step(self, model, inputs, *others):
            lengths.append(inputs.pop("lengths"))
            return super().training_step(model, inputs, *others)

    class Clock(transformers.TrainerCallback):
        def __init__(self) -> None:
            self.first, self.last = math.inf, 0.0

        def on_step_begin(self, *_, **__) -> None:
            self.first = min(self.first, clock_now(device))

        def on_step_end(self, *_, **__) -> None:
            self.last = clock_now(device)

    arguments = transformers.TrainingArguments(
        str(rows.parent / "trainer"),
        per_device_train_batch_size=recipe.batch_per_gpu,
        gradient_accumulation_steps=recipe.accumulation,
        max_steps=n_updates,
        learning_rate=recipe.learning_rate,
        warmup_steps=1,
        use_cpu=device == "cpu",
        bf16=recipe.precision == "bf16",
        fp16=recipe.precision == "fp16",
        dataloader_num_workers=recipe.workers,
        save_strategy="no",
        report_to=[],
        logging_strategy="no",
        disable_tqdm=True,
        seed=number + 1,
        remove_unused_columns=False,
        **grouped_by_length(way == "grouped"),
    )
    clock = Clock()
    trainer = Watched(model, arguments, collate, clips, callbacks=[clock])
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    audio, padded = sum(map(sum, lengths)), sum(len(batch) * max(batch) for batch in lengths)
    return Measured(
        audio / SAMPLE_RATE / (clock.last - clock.first), 1 - audio / padded, peak_memory_mb(device)
    )


def grouped_by_length(wanted: bool) -> dict[str, Any]:
    """The Trainer's option under its name in this version of transformers."""
    import transformers

    names = {field.name for field in dataclasses.fields(transformers.TrainingArguments)}
    option = (
        {"train_sampling_strategy": "group_by_length"}
        if "train_sampling_strategy" in names
        else {"group_by_length": True}
    )
    return option if wanted else {}


def rows_file(folder: Path, clips: list[Utterance]) -> Path:
    """Write the clips as JSON lines of path and text, from which input_values() reads them."""
    rows = folder / "rows.json"
    lines = [json.dumps({"path": clip.audio_filepath, "text": clip.text}) for clip in clips]
    rows.write_text("\n".join(lines), encoding="utf-8")
    return rows


def their_model(base: str, recipe: Recipe) -> tuple:
    import transformers

    model = transformers.Wav2Vec2ForCTC.from_pretrained(
        base,
        attention_dropout=recipe.attention_dropout,
        hidden_dropout=recipe.hidden_dropout,
        layerdrop=recipe.layerdrop,
        feat_proj_dropout=recipe.feat_proj_dropout,
        mask_time_prob=recipe.mask_time_prob,
        ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
    )  # fmt: skip
    # forward() takes **kwargs, from which the Trainer concludes that the loss is divided by the
    # clips of the whole update. It is not: loss and gradients would be multiplied by
    # accumulation x GPUs.
    model.accepts_loss_kwargs = False
    if recipe.freeze_feature_encoder:
        model.freeze_feature_encoder()
    return model, transformers.Wav2Vec2Processor.from_pretrained(base)


def input_values(rows: Path, processor) -> Any:
    """The CTC example's cache on disk: normalised float32 samples and label ids of every clip."""
    import datasets
    import soundfile

    datasets.disable_progress_bars()

    def prepared(row: dict[str, Any]) -> dict[str, Any]:
        waveform, _ = soundfile.read(row["path"], dtype="float32")
        values = processor(waveform, sampling_rate=SAMPLE_RATE).input_values[0]
        return {
            "input_values": values,
            "labels": processor.tokenizer(row["text"]).input_ids,
            "length": len(values),
        }

    data = datasets.load_dataset(
        "json", data_files=str(rows), split="train", cache_dir=str(rows.parent / "cache")
    )
    return data.map(prepared, remove_columns=data.column_names)


def clock_now(device: str) -> float:
    """Seconds on the clock after the GPU has finished its work."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def measured(arguments, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    import torch

    from korean_asr.hardware import has_bf16

    base = random_base(folder / "base", HALF)
    durations = corpus_durations(N_CLIPS)
    clips = spoken(folder / "clips", durations)
    rows = rows_file(folder, clips)
    # Slow ways make fewer updates, so that each takes about as long as the others.
    n_ours, n_frozen, n_original = (12, 6, 4) if arguments.full else (4, 3, 2)
    precisions = ["float32", *(["bf16"] if has_bf16(torch.device("cpu")) else [])]
    ways = {}
    for precision in precisions:
        recipe = recipe_for(precision)
        ways["ours", precision] = (ours, base, clips, recipe, n_ours)
        ways["frozen", precision] = (theirs, base, rows, "frozen", recipe, n_frozen)
        ways["matrix", precision] = (matrix_rate, "cpu", precision)
    original = (theirs, base, rows, "original", original_recipe(), n_original)
    ways["original", "float32"] = original
    grouped = (theirs, base, rows, "grouped", recipe_for(precisions[-1]), n_frozen)
    ways["grouped", precisions[-1]] = grouped
    found = in_turn(ways, arguments.rounds, arguments.threads)

    speed = {
        way: [m.audio_per_second for m in rounds]
        for way, rounds in found.items()
        if way[0] != "matrix"
    }
    best = max(
        precisions, key=lambda precision: sorted(speed["ours", precision])[arguments.rounds // 2]
    )
    their_best = max(
        precisions, key=lambda precision: sorted(speed["frozen", precision])[arguments.rounds // 2]
    )
    per_audio_second = operations(base, durations[:64], "frozen", RECIPES["v3"].layerdrop) / sum(
        durations[:64]
    )

    def row(
        what: str, mine: str, peer: tuple[str, str], target: float | None, note: str = ""
    ) -> Row:
        mine, peer = speed["ours", mine], speed[peer]
        return Row(what, per_second(mine), per_second(peer), ratios(mine, peer), target, note)

    made = [
        row(
            f"training, {precision}: Trainer, random order, encoder frozen",
            precision,
            ("frozen", precision),
            2.2,
        )
        for precision in precisions
    ]
    made += [
        row(
            f"training, {precisions[-1]}: Trainer, group_by_length, encoder frozen",
            precisions[-1],
            ("grouped", precisions[-1]),
            None,
        ),
        row(f"training, ours {best}: Trainer in float32", best, ("frozen", "float32"), None),
        row(
            f"training, each side's best: {best}, Trainer {their_best}",
            best,
            ("frozen", their_best),
            None,
        ),
        row(
            f"training, ours {best}: the original code, float32, nothing frozen",
            best,
            ("original", "float32"),
            None,
        ),
        row("training, float32: the original code", "float32", ("original", "float32"), None),
    ]
    for precision in precisions:
        rates = found["matrix", precision]
        reached = [s * per_audio_second for s in speed["ours", precision]]
        made.append(
            of_matrix_rate(f"training, {precision}", reached, rates, None, per_audio_second)
        )
    for precision in precisions:
        mine, theirs_mb = (
            max(m.memory_mb for m in found[who, precision]) for who in ("ours", "frozen")
        )
        made.append(
            Row(
                f"training, {precision}: peak memory",
                f"{mine:,.0f} MB",
                f"{theirs_mb:,.0f} MB",
                [theirs_mb / mine],
                note="ours began with the longest clips, as every run does",
            )
        )
    audio = sum(os.path.getsize(clip.audio_filepath) for clip in clips)
    cache = sum(path.stat().st_size for path in (folder / "cache").rglob("*.arrow"))
    real = (
        operations(random_shape(folder, REAL), [MEAN_S], "frozen", RECIPES["v3"].layerdrop) / MEAN_S
    )
    rate = sorted(s * per_audio_second for s in speed["ours", best])[arguments.rounds // 2]
    facts = {
        "padding": {
            name: round(statistics.median(m.padding for m in found[way]), 2)
            for name, way in (
                ("ours", ("ours", "float32")),
                ("Trainer, random order", ("frozen", "float32")),
                ("Trainer, group_by_length", ("grouped", precisions[-1])),
                ("original code", ("original", "float32")),
            )
        },
        "the Trainer's cache of input values": (
            f"{cache / 1e6:,.0f} MB, {cache / audio:.0%} of the audio; ours has none"
        ),
        "10 epochs on 6,400 clips": (
            f"{V3_AUDIO_S:,.0f} s of audio x {real / 1e9:.0f} G operations "
            f"(real size, encoder frozen) = {V3_AUDIO_S * real / 1e15:.1f} P; were it run at the "
            f"{rate / 1e9:,.0f} G a second of the small model in {best}: "
            f"{V3_AUDIO_S * real / rate / 3600:,.1f} h"
        ),
    }
    return made, facts


def random_shape(folder: Path, size) -> str:
    """A folder with a configuration alone; counting operations needs no weights."""
    from transformers import Wav2Vec2Config

    Wav2Vec2Config(
        vocab_size=1_211,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.width // 64,
        intermediate_size=4 * size.width,
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    ).save_pretrained(folder / "shape")
    return str(folder / "shape")


if __name__ == "__main__":
    benchmark(measured, __doc__)
