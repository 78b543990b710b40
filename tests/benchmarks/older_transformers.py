"""Check that a model folder gives the same text in transformers 4.57, in an environment of its own.

    python tests/benchmarks/older_transformers.py [--model demo_output/wav2vec2_korean_demo]
                                                  [--venv demo_output/venv_4.57]

The first call makes the virtual environment (a few minutes). The folder's validation clips are
decoded here, by script 3's code, and there, by `pipeline("automatic-speech-recognition")` and by
the model's own classes; every text must be equal.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "model_tuning"))

OLDER = "transformers==4.57.6"
# In the versions of requirements.txt.
PINNED = ("torch", "numpy", "soundfile")
THERE = r"""
import json, sys
import soundfile, torch, transformers
from transformers import AutoModelForCTC, Wav2Vec2Processor, pipeline

folder, clips = sys.argv[1], json.load(open(sys.argv[2]))
recognise = pipeline("automatic-speech-recognition", model=folder)
processor = Wav2Vec2Processor.from_pretrained(folder)
model = AutoModelForCTC.from_pretrained(folder).eval()
by_pipeline, by_model = [], []
for path in clips:
    waveform, rate = soundfile.read(path, dtype="float32")
    by_pipeline.append(recognise({"raw": waveform, "sampling_rate": rate})["text"])
    inputs = processor(waveform, sampling_rate=rate, return_tensors="pt")
    with torch.inference_mode():
        ids = model(**inputs).logits.argmax(-1)
    by_model.append(processor.batch_decode(ids)[0])
print(json.dumps({"version": transformers.__version__, "pipeline": by_pipeline, "model": by_model}))
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--model", type=Path, default=REPOSITORY / "demo_output" / "wav2vec2_korean_demo"
    )
    parser.add_argument("--venv", type=Path, default=REPOSITORY / "demo_output" / "venv_4.57")
    arguments = parser.parse_args()
    from korean_asr.decoding import decoded
    from korean_asr.manifest import read_manifest
    from korean_asr.model import load_recogniser

    split = arguments.model / "split" / "validation.jsonl"
    if not split.is_file():
        sys.exit(f"{split} is missing. Run ./run.sh first, or pass --model.")
    clips = read_manifest(split)
    here = [
        hypothesis.text
        for hypothesis in decoded(load_recogniser(str(arguments.model)), clips).hypotheses
    ]
    there = texts_there(
        python_of(arguments.venv), arguments.model, [clip.audio_filepath for clip in clips]
    )
    print(f"transformers {there['version']}: {len(clips)} clips of {split}")
    different = 0
    for way in ("pipeline", "model"):
        wrong = [
            (ours, theirs)
            for ours, theirs in zip(here, there[way], strict=True)
            if ours != " ".join(theirs.split())
        ]
        print(f"  by {way}: {len(clips) - len(wrong)} of {len(clips)} texts are equal")
        for ours, theirs in wrong[:5]:
            print(f"    here  {ours}\n    there {theirs}")
        different += len(wrong)
    sys.exit(1 if different else 0)


def python_of(venv: Path) -> Path:
    """Python of the environment, which is made where its installation was never finished."""
    python, done = venv / "bin" / "python", venv / "installed"
    if not done.exists():
        lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
        pinned = [line.split()[0] for line in lines if line.partition("==")[0] in PINNED]
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", OLDER, *pinned], check=True)
        done.touch()
    return python


def texts_there(python: Path, model: Path, paths: list[str]) -> dict:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(paths, file)
        file.flush()
        command = [python, "-c", THERE, model.resolve(), file.name]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
