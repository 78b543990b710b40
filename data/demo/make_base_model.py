"""Train data/demo/base_model, which stands in for kresnik/wav2vec2-large-xlsr-korean.

    python data/demo/make_base_model.py            (about an hour on two cores; needs espeak-ng)

A wav2vec2-CTC of 2 M parameters is trained from scratch on synthetic speech in the demo's voices:
first on random sequences of the words in words.txt, then also on the sentences of
training_sentences.txt. No sentence of the demo corpus is among them. It writes syllables and spaces
but no punctuation, like the real base model. A killed run continues after its last epoch. The log
is printed and kept in the work folder (--work, default demo_output/base_model_training).
"""

import argparse
import json
import math
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from voices import KOREAN_VOICES, SAMPLE_RATE, spoken_waveform

HERE = Path(__file__).resolve().parent
SEED = 17
N_HELD_OUT_CLIPS = 280
WORDS_A_CLIP = (1, 2, 2, 3, 3, 3, 4, 4, 5, 6)
BATCH_SECONDS = 32.0
N_WARM_UP_UPDATES = 400
# Where `|` stands among the tokens. In the real vocabulary it is id 859 of 1,205, not at an end.
DELIMITER_SHARE = 0.713


@dataclass(frozen=True)
class Stage:
    """A part of the training: its clips, and a cosine schedule over cosine_epochs.

    The first stage was planned for 16 epochs and stopped after 10: its CER was 10 % on unseen word
    sequences but 18 % on the demo's sentences, whose words are shorter and run together. The second
    stage has more short words, and sentences.

    copies_of_short_words: how often words of one or two syllables stand in the deck.
    n_voices_a_sentence: clips of each sentence of training_sentences.txt.
    """

    n_word_clips: int
    copies_of_short_words: int
    n_voices_a_sentence: int
    n_epochs: int
    cosine_epochs: int
    peak_learning_rate: float


STAGES = (
    Stage(6_000, 1, 0, n_epochs=10, cosine_epochs=16, peak_learning_rate=1.5e-3),
    Stage(3_000, 3, 5, n_epochs=8, cosine_epochs=8, peak_learning_rate=8e-4),
)


def word_sequences(
    words: list[str], n_clips: int, seed: int, banned: set[str]
) -> list[tuple[str, str]]:
    """Draw (text, spoken) pairs: text as the model writes it, spoken with marks for intonation.

    Texts in `banned` are not drawn; the drawn texts are added to it.
    """
    rng = random.Random(seed)
    deck: list[str] = []
    pairs = []
    while len(pairs) < n_clips:
        length = rng.choice(WORDS_A_CLIP)
        # Every word is dealt before any is dealt again.
        if len(deck) < length:
            deck = rng.sample(words, len(words))
        chosen = [deck.pop() for _ in range(length)]
        text = " ".join(chosen)
        if text in banned:
            continue
        banned.add(text)
        marks = [rng.choice(["", "", "", ","]) for _ in chosen[:-1]] + [rng.choice(".?!")]
        pairs.append(
            (text, " ".join(word + mark for word, mark in zip(chosen, marks, strict=True)))
        )
    return pairs


def spoken_clips(pairs: list[tuple[str, str]], seed: int) -> list[tuple[str, np.ndarray]]:
    """Speak each pair in a random voice: (text, (n_samples,) int16 waveform)."""
    rng = random.Random(seed)
    jobs = [
        (text, spoken, rng.choice(KOREAN_VOICES), rng.uniform(0.85, 1.15), rng.randint(-5, 5))
        for text, spoken in pairs
    ]
    with ThreadPoolExecutor(2) as pool:
        waveforms = pool.map(lambda job: spoken_waveform(*job[1:]), jobs)
        return [
            (job[0], waveform)
            for job, waveform in zip(jobs, tqdm(waveforms, "speaking", len(jobs)), strict=True)
        ]


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
    return Wav2Vec2ForCTC(config)


def batch_tensors(
    clips: list[tuple[str, np.ndarray]], vocab: dict[str, int]
) -> dict[str, torch.Tensor]:
    """Inputs and labels of a batch.

    input_values: (B, T) float32 of mean 0 and variance 1, padded with 0. attention_mask: (B, T).
    labels: (B, L), padded with -100.
    """
    n_samples = max(len(waveform) for _, waveform in clips)
    n_labels = max(len(text) for text, _ in clips)
    values = torch.zeros(len(clips), n_samples)
    mask = torch.zeros(len(clips), n_samples, dtype=torch.long)
    labels = torch.full((len(clips), n_labels), -100)
    for row, (text, waveform) in enumerate(clips):
        samples = waveform.astype(np.float32)
        samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        values[row, : len(samples)] = torch.from_numpy(samples)
        mask[row, : len(samples)] = 1
        ids = [vocab["|" if character == " " else character] for character in text]
        labels[row, : len(ids)] = torch.tensor(ids)
    return {"input_values": values, "attention_mask": mask, "labels": labels}


def batches(clips: list, seed: int, by_length: bool) -> list[list]:
    """Batches of about BATCH_SECONDS of clips of similar length, in random order.

    by_length: shortest first, as in the first epoch of Deep Speech 2.
    """
    rng = random.Random(seed)
    ordered = sorted(
        clips, key=lambda clip: len(clip[1]) * (1 if by_length else rng.uniform(0.95, 1.05))
    )
    grouped, group = [], []
    for clip in ordered:
        if group and len(clip[1]) * (len(group) + 1) > BATCH_SECONDS * SAMPLE_RATE:
            grouped.append(group)
            group = []
        group.append(clip)
    grouped.append(group)
    if not by_length:
        rng.shuffle(grouped)
    return grouped


def decoded(model: Wav2Vec2ForCTC, clips: list, vocab: dict[str, int]) -> list[str]:
    tokens = {index: token for token, index in vocab.items()}
    texts = []
    model.eval()
    for start in range(0, len(clips), 8):
        inputs = batch_tensors(clips[start : start + 8], vocab)
        with torch.inference_mode():
            logits = model(inputs["input_values"], attention_mask=inputs["attention_mask"]).logits
        n_frames = model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(-1))
        for row, length in zip(logits.argmax(-1), n_frames, strict=True):
            ids = torch.unique_consecutive(row[:length]).tolist()
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


def stage_clips(
    stage: Stage, number: int, words: list[str], banned: set[str]
) -> list[tuple[str, np.ndarray]]:
    deck = [
        word for word in words for _ in range(stage.copies_of_short_words if len(word) <= 2 else 1)
    ]
    pairs = word_sequences(deck, stage.n_word_clips, SEED + 10 * (number - 1), banned)
    for spoken in (HERE / "training_sentences.txt").read_text(encoding="utf-8").splitlines():
        text = without_marks(spoken)
        if text not in banned:
            pairs += [(text, spoken)] * stage.n_voices_a_sentence
    return spoken_clips(pairs, SEED + 10 * (number - 1))


def without_marks(sentence: str) -> str:
    return "".join(character for character in sentence if character not in ".,?!")


def train_epoch(
    model, optimizer, schedule, groups: list[list], vocab: dict[str, int], title: str
) -> float:
    """Train on all batches once; return the mean loss."""
    model.train()
    losses = []
    for group in tqdm(groups, title, mininterval=10):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch_tensors(group, vocab)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return float(np.mean(losses))


def train_stage(
    model, stage: Stage, number: int, clips: list, held_out: list, vocab: dict[str, int], work: Path
) -> None:
    n_updates = stage.cosine_epochs * len(batches(clips, 0, by_length=False))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.peak_learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / N_WARM_UP_UPDATES,
            0.5 * (1 + math.cos(math.pi * min(1.0, step / n_updates))) + 1e-3,
        ),
    )
    state_file = work / f"stage_{number}.pt"
    first_epoch = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first_epoch = state["epoch"] + 1
        print(f"stage {number}: continuing after epoch {first_epoch}", flush=True)
    for epoch in range(first_epoch, stage.n_epochs):
        started = time.monotonic()
        groups = batches(clips, SEED + epoch, by_length=number == 1 and epoch == 0)
        loss = train_epoch(
            model, optimizer, schedule, groups, vocab, f"stage {number}, epoch {epoch + 1}"
        )
        cer = cer_no_space([text for text, _ in held_out], decoded(model, held_out, vocab))
        seconds = round(time.monotonic() - started)
        line = {
            "stage": number,
            "epoch": epoch + 1,
            "loss": round(loss, 4),
            "held_out_cer_no_space": round(cer, 4),
            "seconds": seconds,
        }
        print(json.dumps(line), flush=True)
        with (work / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        state = {
            "model": model.state_dict(),
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
    parser.add_argument(
        "--work", type=Path, default=HERE.parents[1] / "demo_output" / "base_model_training"
    )
    parser.add_argument("--output", type=Path, default=HERE / "base_model")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    words = (HERE / "words.txt").read_text(encoding="utf-8").split()
    banned = {
        without_marks(line.split("\t")[-1])
        for name in ("korean_sentences.tsv", "foreign_sentences.tsv")
        for line in (HERE / name).read_text(encoding="utf-8").splitlines()[1:]
    }
    vocab = vocabulary(words)
    held_out = spoken_clips(word_sequences(words, N_HELD_OUT_CLIPS, SEED + 1, banned), SEED + 1)
    n_syllables = len({character for text, _ in held_out for character in text} - {" "})
    model = new_model(vocab)
    print(f"{len(vocab)} tokens, {model.num_parameters():,} parameters; ", end="")
    print(f"held out {len(held_out)} clips with {n_syllables} distinct syllables", flush=True)
    for number, stage in enumerate(STAGES, 1):
        clips = stage_clips(stage, number, words, banned)
        hours = sum(len(waveform) for _, waveform in clips) / SAMPLE_RATE / 3600
        print(f"stage {number}: {len(clips)} clips, {hours:.2f} h", flush=True)
        train_stage(model, stage, number, clips, held_out, vocab, arguments.work)
    save(model, vocab, arguments.output)
    print(f"saved to {arguments.output}")


if __name__ == "__main__":
    sys.exit(main())
