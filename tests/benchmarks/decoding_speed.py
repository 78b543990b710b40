"""How fast clips become text: ours, transformers' pipeline and a plain loop, on a CPU, in float32 and bf16.

    python tests/benchmarks/decoding_speed.py [--rounds 3] [--clips 16] [--threads 2] [--json FILE]

A model of wav2vec2-base's size, 94 M parameters, with random weights and 1,211 labels; clips of 1 to 12 s of seeded noise.
After a warm-up every way decodes all clips in every round, in turn, so that a busy machine is busy for all of them. Each
has a process of its own, so that what one tells the C library helps no other. Reading audio counts. Four minutes on two cores.
Fails unless ours in float32 writes the very text of the plain loop.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers
from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "model_tuning"))

from korean_asr.audio import read_waveform  # noqa: E402
from korean_asr.decoding import decoded, greedy_text  # noqa: E402
from korean_asr.manifest import Utterance  # noqa: E402
from korean_asr.model import Recogniser, Wav2Vec2ForCTC  # noqa: E402
from korean_asr.precision import has_bf16, in_precision  # noqa: E402
from korean_asr.vocabulary import token_texts  # noqa: E402

N_LABELS, SHORTEST_S, LONGEST_S, PIPELINE_BATCH = 1_211, 1.0, 12.0, 8
CPU = torch.device("cpu")


def random_recogniser(folder: Path) -> Recogniser:
    """The size and normalisations of a large-vocabulary wav2vec2-base; its texts are nonsense, but as long as real ones."""
    syllables = [chr(ord("가") + 7 * number) for number in range(N_LABELS - 3)]
    vocabulary = {token: number for number, token in enumerate([*syllables, "|", "[UNK]", "[PAD]"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"), unk_token="[UNK]", pad_token="[PAD]", word_delimiter_token="|", do_lower_case=False
    )
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=N_LABELS, pad_token_id=N_LABELS - 1, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True
        )
    )  # fmt: skip
    return Recogniser("random", model.eval(), tokenizer, Wav2Vec2FeatureExtractor(return_attention_mask=True), "")


def random_clips(folder: Path, n_clips: int) -> list[Utterance]:
    """In an order of their own: neither sorted nor of like lengths side by side, as a test set comes."""
    rng = np.random.default_rng(0)
    clips = []
    for number, seconds in enumerate(rng.uniform(SHORTEST_S, LONGEST_S, n_clips)):
        path = folder / f"{number:03}.wav"
        loudness = np.repeat(rng.uniform(0, 0.3, int(seconds * 10) + 1), 1_600)[: int(seconds * 16_000)]
        soundfile.write(path, loudness * rng.standard_normal(len(loudness)), 16_000)
        clips.append(Utterance(path.stem, str(path), len(loudness) / 16_000, ""))
    return clips


def ours(recogniser: Recogniser, clips: list[Utterance], precision: str) -> list[str]:
    return [hypothesis.text for hypothesis in decoded(recogniser, clips, precision=precision).hypotheses]


def plain_loop(recogniser: Recogniser, clips: list[Utterance], precision: str) -> list[str]:
    """One clip at a time, no mask."""
    texts = token_texts(recogniser.tokenizer)
    written = []
    for clip in clips:
        inputs = recogniser.feature_extractor(
            read_waveform(clip.audio_filepath), sampling_rate=16_000, return_tensors="pt"
        )
        with torch.inference_mode(), in_precision(CPU, precision):
            ids = recogniser.model(inputs["input_values"]).logits[0].argmax(-1)
        written.append(greedy_text(ids, N_LABELS - 1, texts))
    return written


def by_pipeline(recogniser: Recogniser, clips: list[Utterance], precision: str) -> list[str]:
    recognise = transformers.pipeline(
        "automatic-speech-recognition", model=recogniser.model, tokenizer=recogniser.tokenizer,
        feature_extractor=recogniser.feature_extractor, device="cpu",
    )  # fmt: skip
    arrays = ({"raw": read_waveform(clip.audio_filepath), "sampling_rate": 16_000} for clip in clips)
    with in_precision(CPU, precision):
        return [result["text"] for result in recognise(arrays, batch_size=PIPELINE_BATCH)]


WAYS = {"pipeline": by_pipeline, "plain loop": plain_loop, "ours": ours}
made: dict[str, Recogniser] = {}  # by a process for itself


def prepare(folder: Path, n_threads: int) -> None:
    torch.set_num_threads(n_threads)
    made["recogniser"] = random_recogniser(folder)


def timed(way: str, precision: str, clips: list[Utterance]) -> tuple[float, list[str]]:
    """Seconds and texts; runs in the way's own process."""
    started = time.perf_counter()
    texts = WAYS[way](made["recogniser"], clips, precision)
    return time.perf_counter() - started, texts


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):5.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="where the numbers are written, too")
    arguments = parser.parse_args()
    precisions = ["float32"] + ["bf16"] * has_bf16(CPU)
    seconds: dict[tuple[str, str], list[float]] = {(way, precision): [] for way in WAYS for precision in precisions}
    texts: dict[tuple[str, str], list[str]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        clips = random_clips(Path(name), arguments.clips)
        processes = {}
        for way in WAYS:
            folder = Path(name) / way
            folder.mkdir()
            process = ProcessPoolExecutor(1, get_context("spawn"), prepare, (folder, arguments.threads))
            processes[way] = stack.enter_context(process)
        for way, precision in seconds:
            processes[way].submit(timed, way, precision, clips[:3]).result()
        for _ in range(arguments.rounds):
            for way, precision in seconds:
                spent, texts[way, precision] = processes[way].submit(timed, way, precision, clips).result()
                seconds[way, precision].append(spent)
    report(arguments, clips, seconds)
    if texts["ours", "float32"] != texts["plain loop", "float32"]:
        sys.exit("ours in float32 does not write the text of the plain loop")
    print(
        f"float32: ours writes the very text of the plain loop, {sum(map(len, texts['ours', 'float32'])):,} characters"
    )


def report(arguments: argparse.Namespace, clips: list[Utterance], seconds: dict[tuple[str, str], list[float]]) -> None:
    """A line for each way: seconds of audio a second, and how many times the pipeline's in its precision and in float32."""
    audio = sum(clip.duration for clip in clips)
    print(
        f"{len(clips)} clips, {audio:.0f} s of audio, {arguments.threads} threads, {arguments.rounds} rounds, "
        f"torch {torch.__version__}, transformers {transformers.__version__}; medians (lowest to highest)"
    )
    print(f"{'way':<11}{'precision':<10}{'audio s/s':>21}{'x pipeline':>22}{'x pipeline float32':>22}")
    rows = []
    for (name, precision), spent in seconds.items():
        speeds = [audio / s for s in spent]
        same, float32 = (
            [theirs / mine for theirs, mine in zip(seconds["pipeline", p], spent, strict=True)]
            for p in (precision, "float32")
        )  # of each round by itself: its rivals ran beside it
        print(f"{name:<11}{precision:<10}{spread(speeds):>21}{spread(same):>22}{spread(float32):>22}")
        rows.append({"way": name, "precision": precision, "seconds": spent, "audio_seconds_per_second": speeds,
                     "times_pipeline": same, "times_pipeline_float32": float32})  # fmt: skip
    if arguments.json:
        record = {"audio_seconds": audio, "threads": arguments.threads, "torch": torch.__version__,
                  "transformers": transformers.__version__, "ways": rows}  # fmt: skip
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
