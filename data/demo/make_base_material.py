"""Speak what make_base_model.py trains on: word sequences and sentences in many voices.

    python data/demo/make_base_material.py [--processes 2]            (about an hour on two cores)

Users of the pipeline never run this. Needs data/demo/requirements.txt. No sentence of the demo is
among the texts. Clips that are there are not made again; the same seed gives the same clips. Writes
clips and material.tsv to --work, default demo_output/base_material.
"""

import argparse
import csv
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import soundfile
from tqdm import tqdm

from phonemes import spoken_phonemes
from voices import BASE_VOICES, KOREAN_VOICES, MIXABLE, SAMPLE_RATE, Voice, spoken_waveform

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[1] / "demo_output" / "base_material"
SEED = 17
N_WORD_CLIPS, N_COPIES_OF_A_SENTENCE = 2_400, 3
# Behind the others, so that those which were spoken before stay as they are.
N_MORE_WORD_CLIPS = 550
# New texts are spoken in the voices of training and again in those that it leaves out.
N_HELD_OUT_WORD_CLIPS, N_HELD_OUT_SENTENCES = 240, 60
WORDS_A_CLIP = (1, 2, 2, 3, 3, 3, 4, 4, 5, 6)
# Words of the demo's sentences are short and run together.
COPIES_OF_SHORT_WORDS = 2
# Of the clips of training, by voices that nobody else has. More voices are what a model needs to
# understand one that it has not heard.
SHARE_OF_MIXTURES = 0.5


class Clip(NamedTuple):
    """number: of the file. part: train, own or unseen. text: as the model writes it."""

    number: int
    part: str
    text: str
    pronunciation: str
    voice: Voice


def table(name: str) -> list[list[str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def without_marks(sentence: str) -> str:
    return "".join(character for character in sentence if character not in ".,?!")


def word_sequences(n_clips: int, rng: random.Random, banned: set[str]) -> Iterator[tuple[str, str]]:
    """Draw (text, pronunciation) pairs; marks are for the intonation.

    Texts in `banned` are not drawn; the drawn texts are added to it.
    """
    words = [
        (word, pronunciation)
        for word, pronunciation in table("words.tsv")
        for _ in range(COPIES_OF_SHORT_WORDS if len(word) <= 2 else 1)
    ]
    deck: list[tuple[str, str]] = []
    while n_clips:
        length = rng.choice(WORDS_A_CLIP)
        # Every word is dealt before any is dealt again.
        if len(deck) < length:
            deck = rng.sample(words, len(words))
        chosen = [deck.pop() for _ in range(length)]
        text = " ".join(word for word, _ in chosen)
        if text in banned:
            continue
        banned.add(text)
        n_clips -= 1
        marks = [rng.choice(["", "", "", ","]) for _ in chosen[:-1]] + [rng.choice(".?!")]
        spoken = zip((pronunciation for _, pronunciation in chosen), marks, strict=True)
        yield text, " ".join(pronunciation + mark for pronunciation, mark in spoken)


def mixture(number: int, rng: random.Random) -> Voice:
    """One voice, or a mixture of two or three, in a place that no other clip has."""
    names = rng.sample(MIXABLE, rng.choice((1, 2, 2, 3)))
    return Voice(
        f"X{number:06}",
        {name: rng.uniform(0.2, 1.0) for name in names},
        rng.uniform(0.85, 1.15),
        rng.uniform(-30.0, -18.0),
        rng.choice((0.0, 0.0, 0.1, 0.2, 0.3)),
        rng.uniform(-72.0, -48.0),
        "",
    )


def clips() -> list[Clip]:
    """All clips; those of training in random order, so that a part of them is of use."""
    rng = random.Random(SEED)
    banned = {
        without_marks(dict(zip(header, row, strict=True))["spoken"])
        for name in ("korean_sentences.tsv", "foreign_sentences.tsv")
        for header, *lines in [read_with_header(name)]
        for row in lines
    }
    sentences = [
        (without_marks(spoken), pronunciation)
        for spoken, pronunciation in table("training_sentences.tsv")
        if without_marks(spoken) not in banned
    ]
    rng.shuffle(sentences)
    held_out = sentences[:N_HELD_OUT_SENTENCES]
    held_out += word_sequences(N_HELD_OUT_WORD_CLIPS, rng, banned)
    trained = sentences[N_HELD_OUT_SENTENCES:] * N_COPIES_OF_A_SENTENCE
    trained += word_sequences(N_WORD_CLIPS, rng, banned)
    rng.shuffle(trained)
    trained += word_sequences(N_MORE_WORD_CLIPS, random.Random(SEED + 1), banned)
    own = [voice for voice in KOREAN_VOICES if voice.name in BASE_VOICES]
    unseen = [voice for voice in KOREAN_VOICES if voice.name not in BASE_VOICES]
    found = []
    for part, voices in (("own", own), ("unseen", unseen)):
        for place, (text, pronunciation) in enumerate(held_out):
            voice = voices[place % len(voices)]
            found.append(Clip(len(found), part, text, pronunciation, voice))
    for text, pronunciation in trained:
        is_mixture = rng.random() < SHARE_OF_MIXTURES
        voice = mixture(len(found), rng) if is_mixture else rng.choice(own)
        found.append(Clip(len(found), "train", text, pronunciation, voice))
    return found


def read_with_header(name: str) -> list[list[str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def path_of(clip: Clip, work: Path) -> Path:
    return work / f"{clip.number // 1000:03}" / f"{clip.number:06}.flac"


def speak(clip: Clip, work: Path) -> None:
    path = path_of(clip, work)
    if path.exists():
        return
    factor = random.Random(f"{SEED} {clip.number}").uniform(0.9, 1.1)
    phonemes = spoken_phonemes(clip.pronunciation)
    waveform = spoken_waveform(phonemes, clip.voice, factor, clip.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    soundfile.write(part, waveform, SAMPLE_RATE, format="FLAC", compression_level=0.5)
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    made = clips()
    arguments.work.mkdir(parents=True, exist_ok=True)
    with (arguments.work / "material.tsv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
        rows.writerow(["path", "part", "voice", "text"])
        for clip in made:
            path = path_of(clip, arguments.work).relative_to(arguments.work)
            rows.writerow([path, clip.part, clip.voice.name, clip.text])
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        spoken = pool.map(partial(speak, work=arguments.work), made, chunksize=16)
        for _ in tqdm(spoken, "speaking", len(made), mininterval=10):
            pass


if __name__ == "__main__":
    main()
