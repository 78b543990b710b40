"""Train data/demo/base_model, which stands in for kresnik/wav2vec2-large-xlsr-korean.

    python data/demo/make_base_material.py         (first; an hour on two cores)
    python data/demo/make_base_model.py            (80 minutes on two cores)

A wav2vec2-CTC of 2 M parameters is trained from scratch on synthetic speech: random sequences of
the words in words.tsv, and the sentences of training_sentences.tsv. No sentence of the demo corpus
is among them. Its convolutions first learn to write the mel spectrum, and a second head, which is
not kept, writes jamo: without both it writes nothing but blanks for long. After three epochs of
clean clips, each epoch hears every clip at another speed, through another microphone and with
another noise. A second phase hears mostly words that are spliced in an order of their own. The
model writes syllables and spaces but no punctuation, like the real base model. A killed run
continues after its last epoch. The line of each epoch is printed and kept in the work folder.
"""

import argparse
import csv
import itertools
import json
import math
import random
import sys
import time
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from tqdm import tqdm
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "model_tuning"))

from korean_asr.hardware import fast_network  # noqa: E402

WORK = HERE.parents[1] / "demo_output"
SAMPLE_RATE = 16_000
SEED = 17
BATCH_SECONDS = 32.0
N_WARM_UP_UPDATES = 300


class Phase(NamedTuple):
    """n_epochs: that are trained; the learning rate falls as if there were n_planned_epochs.

    n_clips: the first of the material. share_spliced: of the clips that an epoch hears.
    """

    n_epochs: int
    n_planned_epochs: int
    peak_learning_rate: float
    n_clips: int
    share_spliced: float


# The first phase learns its sentences by heart: it writes its own clips with 2 % of errors, and the
# same words spliced in another order with 34 %. So the second hears mostly such. Each was
# stopped when its error on new texts hardly fell any more.
PHASES = (
    Phase(20, 24, 1e-3, 3_480, share_spliced=0.0),
    Phase(19, 20, 7e-4, 4_030, share_spliced=0.75),
)
# Clean clips are learnt first.
N_CLEAN_EPOCHS = 3
N_SPLICED_WORDS = (1, 2, 2, 3, 3, 4, 5, 6)
# Before the first epoch the convolutions learn to write the mel spectrum.
N_SPECTRUM_EPOCHS, SPECTRUM_LEARNING_RATE, N_MELS = 2, 2e-3, 40
# Resampling to another speed changes the pitch too: as another speaker.
SPEEDS = (0.85, 1.18)
# How much of the sample before is taken from each: as another microphone, bright or dull.
TILTS = (-0.4, 0.6)
NOISE_DB = (-50.0, -18.0)
# Where `|` stands among the tokens. In the real vocabulary it is id 859 of 1,205, not at an end.
DELIMITER_SHARE = 0.713

# The labels of the second head, which is not kept. In NFD an onset and a coda are two characters.
JAMO = [" ", *map(chr, (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)))]
JAMO_BLANK = len(JAMO)


class Clip(NamedTuple):
    """waveform: (n_samples,) int16 at 16 kHz."""

    text: str
    waveform: np.ndarray
    voice: str


Clips = list[Clip]


def material(folder: Path, part: str) -> Clips:
    with (folder / "material.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    chosen = [row for row in rows if row["part"] == part]
    return [
        Clip(row["text"], soundfile.read(folder / row["path"], dtype="int16")[0], row["voice"])
        for row in tqdm(chosen, f"reading {part}")
    ]


def augmented(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clip at another speed (linear interpolation), tilted, with coloured noise: float32."""
    speed = rng.uniform(*SPEEDS)
    places = np.arange(0, len(waveform) - 1, speed)
    samples = np.interp(places, np.arange(len(waveform)), waveform).astype(np.float32)
    samples[1:] -= np.float32(rng.uniform(*TILTS)) * samples[:-1]
    noise = rng.standard_normal(len(samples), dtype=np.float32)
    # Between white and brown.
    smooth = rng.uniform(0, 0.95)
    noise = np.convolve(noise, smooth ** np.arange(40, dtype=np.float32), "same")
    level = np.sqrt(np.mean(samples**2)) * 10 ** (rng.uniform(*NOISE_DB) / 20)
    return samples + noise * (level / np.sqrt(np.mean(noise**2)))


def vocabulary(words: list[str]) -> dict[str, int]:
    """Token ids as in the real model: syllables with `|` among them, `[UNK]` and `[PAD]` last."""
    syllables = sorted({syllable for word in words for syllable in word})
    random.Random(SEED).shuffle(syllables)
    syllables.insert(round(DELIMITER_SHARE * len(syllables)), "|")
    return {token: index for index, token in enumerate([*syllables, "[UNK]", "[PAD]"])}


def new_model(vocab: dict[str, int]) -> Wav2Vec2ForCTC:
    torch.manual_seed(SEED)
    config = Wav2Vec2Config(
        vocab_size=len(vocab),
        pad_token_id=vocab["[PAD]"],
        bos_token_id=1,
        eos_token_id=2,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=768,
        conv_dim=(48,) * 7,
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=64,
        num_conv_pos_embedding_groups=16,
        hidden_dropout=0.05,
        attention_dropout=0.05,
        feat_proj_dropout=0.0,
        activation_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.0,
        ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
    )
    model = Wav2Vec2ForCTC(config)
    # With dropout, torch's own attention computes in float32 on a CPU.
    model.set_attn_implementation("eager")
    return model


def batch_tensors(clips: Clips) -> dict[str, torch.Tensor]:
    """Inputs of a batch.

    input_values: (B, T) float32 of mean 0 and variance 1, padded with 0. attention_mask: (B, T).
    """
    n_samples = max(len(clip.waveform) for clip in clips)
    values = torch.zeros(len(clips), n_samples)
    mask = torch.zeros(len(clips), n_samples, dtype=torch.long)
    for row, clip in enumerate(clips):
        waveform = clip.waveform
        samples = waveform.astype(np.float32)
        samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        values[row, : len(samples)] = torch.from_numpy(samples)
        mask[row, : len(samples)] = 1
    return {"input_values": values, "attention_mask": mask}


def frames_of(model: Wav2Vec2ForCTC, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B,) The number of frames of each clip."""
    return model._get_feat_extract_output_lengths(batch["attention_mask"].sum(-1))


def ctc_loss(
    logits: torch.Tensor, labels: list[list[int]], n_frames: torch.Tensor, blank_id: int
) -> torch.Tensor:
    """The mean over clips of the CTC loss, divided by the number of labels of each.

    logits: (B, n_frames, n_tokens).
    """
    return torch.nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1),
        torch.tensor([label for of_clip in labels for label in of_clip]),
        n_frames,
        torch.tensor([len(of_clip) for of_clip in labels]),
        blank_id,
        zero_infinity=True,
    )


def batches(clips: list, seed: int, by_length: bool) -> list[list]:
    """Batches of about BATCH_SECONDS of clips of similar length, in random order.

    by_length: shortest first, as in the first epoch of Deep Speech 2.
    """
    rng = random.Random(seed)
    ordered = sorted(
        clips, key=lambda clip: len(clip.waveform) * (1 if by_length else rng.uniform(0.95, 1.05))
    )
    grouped, group = [], []
    for clip in ordered:
        if group and len(clip.waveform) * (len(group) + 1) > BATCH_SECONDS * SAMPLE_RATE:
            grouped.append(group)
            group = []
        group.append(clip)
    grouped.append(group)
    if not by_length:
        rng.shuffle(grouped)
    return grouped


def log_posteriors(model: Wav2Vec2ForCTC, clips: Clips) -> list[np.ndarray]:
    """(n_frames, n_tokens) of each clip."""
    found = []
    network = fast_network(model).eval()
    for start in range(0, len(clips), 8):
        inputs = batch_tensors(clips[start : start + 8])
        with torch.inference_mode():
            scores = network(**inputs).logits.log_softmax(-1).numpy()
        found += [one[:n] for one, n in zip(scores, frames_of(model, inputs), strict=True)]
    return found


def decoded(model: Wav2Vec2ForCTC, clips: Clips, vocab: dict[str, int]) -> list[str]:
    tokens = {index: token for token, index in vocab.items()}
    texts = []
    for scores in log_posteriors(model, clips):
        ids = [index for index, _ in itertools.groupby(scores.argmax(-1).tolist())]
        text = "".join(tokens[i] for i in ids if tokens[i] != "[PAD]").replace("|", " ")
        texts.append(" ".join(text.split()))
    return texts


def cer_no_space(references: list[str], hypotheses: list[str]) -> float:
    import jiwer

    strip = (
        [text.replace(" ", "") for text in references],
        [text.replace(" ", "") for text in hypotheses],
    )
    return jiwer.cer(*strip)


def spectrum(waveforms: torch.Tensor) -> torch.Tensor:
    """(B, T) -> (B, n_frames, N_MELS), the log mel spectrum of the frames of the convolutions."""
    import librosa

    filters = torch.from_numpy(librosa.filters.mel(sr=SAMPLE_RATE, n_fft=400, n_mels=N_MELS))
    windows = waveforms.unfold(1, 400, 320) * torch.hann_window(400)
    return (torch.fft.rfft(windows).abs().square() @ filters.T + 1e-4).log()


def learn_spectrum(model: Wav2Vec2ForCTC, clips: Clips) -> None:
    """Train the convolutions to write the spectrum, through a linear layer that is not kept."""
    parts = model.wav2vec2.feature_extractor, model.wav2vec2.feature_projection
    head = torch.nn.Linear(model.config.hidden_size, N_MELS)
    parameters = [one for part in (*parts, head) for one in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=SPECTRUM_LEARNING_RATE, betas=(0.9, 0.98))
    network = fast_network(model).train().wav2vec2
    for epoch in range(N_SPECTRUM_EPOCHS):
        losses = []
        for group in tqdm(batches(clips, epoch, by_length=False), "spectrum", mininterval=10):
            batch = batch_tensors(group)
            frames = network.feature_extractor(batch["input_values"]).transpose(1, 2)
            written = head(network.feature_projection(frames)[0])
            wanted = spectrum(batch["input_values"])
            is_speech = torch.arange(wanted.shape[1]) < frames_of(model, batch)[:, None]
            # The logarithms have a spread of about 4.
            loss = ((written - wanted / 4)[is_speech] ** 2).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        print(json.dumps({"spectrum": epoch + 1, "loss": round(float(np.mean(losses)), 4)}))


def likeliest_states(scores: np.ndarray, labels: list[int], blank_id: int) -> np.ndarray:
    """Viterbi: (n_frames,) the state of each frame; 2k + 1 is label k, an even one a blank.

    scores: (n_frames, n_tokens) log posteriors.
    """
    states = np.full(2 * len(labels) + 1, blank_id)
    states[1::2] = labels
    may_skip = np.zeros(len(states), bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states) + 2, -np.inf)
    best[2] = 0.0
    steps = np.zeros((len(scores), len(states)), int)
    for frame, row in enumerate(scores[:, states]):
        before = np.stack([best[2:], best[1:-1], np.where(may_skip, best[:-2], -np.inf)])
        steps[frame] = before.argmax(0)
        best[2:] = before.max(0) + row
    state = len(states) - 1 - int(best[-1] < best[-2])
    path = np.zeros(len(scores), int)
    for frame in range(len(scores) - 1, -1, -1):
        path[frame] = state
        state -= steps[frame, state]
    return path


def spoken_words(model: Wav2Vec2ForCTC, clips: Clips, vocab: dict[str, int]) -> list[Clip]:
    """Each word of the clips, cut out in the middle of the spaces around it."""
    words = []
    for start in tqdm(range(0, len(clips), 64), "cutting words", mininterval=10):
        some = clips[start : start + 64]
        for clip, scores in zip(some, log_posteriors(model, some), strict=True):
            labels = [vocab["|" if c == " " else c] for c in clip.text]
            path = likeliest_states(scores, labels, vocab["[PAD]"])
            spaces = [2 * place + 1 for place, c in enumerate(clip.text) if c == " "]
            cuts = [int(np.flatnonzero(path == state).mean() * 320 + 200) for state in spaces]
            parts = np.split(clip.waveform, cuts)
            words += [
                Clip(*pair, clip.voice) for pair in zip(clip.text.split(), parts, strict=True)
            ]
    return words


def spliced(words: list[Clip], n_clips: int, seed: int, banned: set[str]) -> Clips:
    """Words in an order of their own, those of a voice that says many by that voice alone.

    banned: texts that are not to be heard.
    """
    rng = random.Random(seed)
    of_voice: dict[str, list[Clip]] = {}
    for word in words:
        # A mixture says one clip alone. Its words are followed by those of others.
        of_voice.setdefault("" if word.voice.startswith("X") else word.voice, []).append(word)
    sizes = [len(those) for those in of_voice.values()]
    clips = []
    while len(clips) < n_clips:
        (those,) = rng.choices(list(of_voice.values()), sizes)
        chosen = rng.choices(those, k=rng.choice(N_SPLICED_WORDS))
        text = " ".join(word.text for word in chosen)
        if text in banned:
            continue
        clips.append(Clip(text, np.concatenate([word.waveform for word in chosen]), ""))
    return clips


def train_epoch(
    model, jamo_head, optimizer, schedule, groups: list[Clips], epoch: int, vocab, is_clean: bool
) -> dict[str, float]:
    """Train on all batches once; return the mean loss of each head."""
    rng = np.random.default_rng((SEED, epoch))
    network = fast_network(model).train()
    losses = []
    for group in tqdm(groups, f"epoch {epoch + 1}", mininterval=10):
        heard = group
        if not is_clean:
            heard = [clip._replace(waveform=augmented(clip.waveform, rng)) for clip in group]
        batch = batch_tensors(heard)
        n_frames = frames_of(model, batch)
        syllables = [[vocab["|" if c == " " else c] for c in text] for text, _, _ in heard]
        jamo = [[JAMO.index(c) for c in unicodedata.normalize("NFD", text)] for text, _, _ in heard]
        # In float32: under bfloat16 the model is slow to write anything but blanks.
        hidden = network.wav2vec2(**batch).last_hidden_state
        loss = ctc_loss(network.lm_head(hidden), syllables, n_frames, vocab["[PAD]"])
        of_jamo = ctc_loss(jamo_head(hidden), jamo, n_frames, JAMO_BLANK)
        (loss + of_jamo).backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *jamo_head.parameters()], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append((loss.item(), of_jamo.item()))
    return dict(zip(("loss", "jamo_loss"), np.mean(losses, axis=0).round(4).tolist(), strict=True))


def new_optimizer(parameters: list[torch.nn.Parameter], phase: Phase, n_updates: int):
    optimizer = torch.optim.AdamW(
        parameters, lr=phase.peak_learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / N_WARM_UP_UPDATES,
            0.5 * (1 + math.cos(math.pi * min(1.0, step / n_updates))) + 1e-3,
        ),
    )
    return optimizer, schedule


def train(
    model,
    phase: Phase,
    clips: Clips,
    held_out: dict[str, Clips],
    vocab: dict[str, int],
    work: Path,
) -> None:
    """Train one phase. held_out: name -> clips whose CER is printed after each epoch."""
    jamo_head = torch.nn.Linear(model.config.hidden_size, len(JAMO) + 1)
    number = PHASES.index(phase) + 1
    state_file = work / f"training{number}.pt"
    if number > 1:
        state = torch.load(work / f"training{number - 1}.pt", weights_only=True)
        model.load_state_dict(state["model"])
        jamo_head.load_state_dict(state["jamo_head"])
    n_spliced = round(len(clips) * phase.share_spliced)
    words = spoken_words(model, clips, vocab) if n_spliced else []
    banned = {clip.text for those in held_out.values() for clip in those}

    def heard_in(epoch: int) -> list[Clips]:
        kept = random.Random(SEED + epoch).sample(clips, len(clips) - n_spliced)
        those = kept + spliced(words, n_spliced, SEED + epoch, banned)
        return batches(those, SEED + epoch, by_length=number == 1 and epoch == 0)

    parameters = [*model.parameters(), *jamo_head.parameters()]
    n_updates = phase.n_planned_epochs * len(heard_in(1))
    optimizer, schedule = new_optimizer(parameters, phase, n_updates)
    first_epoch = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        jamo_head.load_state_dict(state["jamo_head"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first_epoch = state["epoch"] + 1
        print(f"continuing after epoch {first_epoch}", flush=True)
    elif number == 1:
        learn_spectrum(model, clips)
    n_clean = N_CLEAN_EPOCHS if number == 1 else 0
    for epoch in range(first_epoch, phase.n_epochs):
        started = time.monotonic()
        torch.manual_seed(SEED + epoch)
        groups = heard_in(epoch)
        losses = train_epoch(
            model, jamo_head, optimizer, schedule, groups, epoch, vocab, epoch < n_clean
        )
        line = {"phase": number, "epoch": epoch + 1, **losses}
        for name, those in held_out.items():
            line[f"{name}_cer_no_space"] = round(
                cer_no_space([clip.text for clip in those], decoded(model, those, vocab)), 4
            )
        line["seconds"] = round(time.monotonic() - started)
        print(json.dumps(line), flush=True)
        with (work / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        state = {
            "model": model.state_dict(),
            "jamo_head": jamo_head.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "epoch": epoch,
        }
        torch.save(state, state_file.with_suffix(".part"))
        state_file.with_suffix(".part").replace(state_file)


def save(model: Wav2Vec2ForCTC, vocab: dict[str, int], folder: Path) -> None:
    """Write the files of the real base model by hand: transformers 5 would leave out two."""
    model.save_pretrained(folder)
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    files = {
        "vocab.json": vocab,
        "special_tokens_map.json": special,
        "tokenizer_config.json": {
            **special,
            "do_lower_case": False,
            "word_delimiter_token": "|",
            "replace_word_delimiter_char": " ",
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
        },
        "preprocessor_config.json": {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "do_normalize": True,
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": True,
            "sampling_rate": SAMPLE_RATE,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(
            json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo's base model.")
    parser.add_argument("--material", type=Path, default=WORK / "base_material")
    parser.add_argument("--work", type=Path, default=WORK / "base_model_training")
    parser.add_argument("--output", type=Path, default=HERE / "base_model")
    arguments = parser.parse_args()
    if not (arguments.material / "material.tsv").exists():
        parser.error(f"{arguments.material} holds no material.tsv: run make_base_material.py first")
    arguments.work.mkdir(parents=True, exist_ok=True)
    with (HERE / "words.tsv").open(encoding="utf-8") as file:
        words = [line.split("\t")[0] for line in file.read().splitlines()[1:]]
    vocab = vocabulary(words)
    held_out = {part: material(arguments.material, part) for part in ("own", "unseen")}
    clips = material(arguments.material, "train")
    model = new_model(vocab)
    for part, those in {"train": clips, **held_out}.items():
        hours = sum(len(clip.waveform) for clip in those) / SAMPLE_RATE / 3600
        n_syllables = len({character for clip in those for character in clip.text} - {" "})
        print(f"{part}: {len(those)} clips, {hours:.2f} h, {n_syllables} syllables", flush=True)
    print(f"{len(vocab)} tokens, {model.num_parameters():,} parameters", flush=True)
    for phase in PHASES:
        train(model, phase, clips[: phase.n_clips], held_out, vocab, arguments.work)
    save(model, vocab, arguments.output)
    print(f"saved to {arguments.output}")


if __name__ == "__main__":
    sys.exit(main())
