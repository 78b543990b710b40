"""Decoding under torchrun: the bundled base model, bundled speech, gloo."""

import json
import sys
from collections import Counter

import pytest
import soundfile

from korean_asr.decoding import Hypothesis, decoded
from korean_asr.manifest import REPOSITORY, Utterance
from korean_asr.model import load_recogniser

pytestmark = pytest.mark.pipeline

DEMO = REPOSITORY / "data" / "demo"
# Each process writes the result that it was returned, and the files that it read itself.
EACH_PROCESS = """
import json, sys
from dataclasses import asdict
from pathlib import Path
sys.path.insert(0, "model_tuning")
from korean_asr import decoding, inference
from korean_asr.errors import exit_status
from korean_asr.manifest import Utterance
from korean_asr.model import load_recogniser
from korean_asr.hardware import join_processes, rank

def main():
    clips = [Utterance(**row) for row in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))]
    read, read_waveform = [], inference.read_waveform
    inference.read_waveform = lambda path, *cut: read.append(str(path)) or read_waveform(path, *cut)
    join_processes()
    recogniser = load_recogniser("data/demo/base_model")
    result = decoding.decoded_by_all(recogniser, clips, with_losses=True, with_letters=True)
    output = Path(sys.argv[2]) / f"{rank()}.json"
    facts = {"audio_seconds": result.audio_seconds, "read": read}
    written = json.dumps(asdict(result) | facts, ensure_ascii=False)
    output.write_text(written, encoding="utf-8")

# exit_status leaves the other processes, as in the scripts.
sys.exit(exit_status(main))
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """22 clips of speech and one that is missing: 23, which neither 2 nor 4 divides."""
    paths = sorted((DEMO / "korean").rglob("*.flac"))
    paths = paths[:: len(paths) // 22][:22]
    speech = [
        Utterance(path.stem, str(path), soundfile.info(path).duration, "가 나 3.") for path in paths
    ]
    return [
        *speech[:5],
        Utterance("gone", str(tmp_path_factory.mktemp("clips") / "gone.flac"), 2.0, "가"),
        *speech[5:],
    ]


@pytest.fixture(scope="module")
def by_one(clips):
    recogniser = load_recogniser(str(DEMO / "base_model"))
    return decoded(recogniser, clips, with_losses=True, with_letters=True)


def times(hypothesis: Hypothesis) -> list[list]:
    """Each letter with its times; batches may change a last digit of what follows."""
    return [letter[:3] for letters in hypothesis.letters.values() for letter in letters]


@pytest.mark.parametrize("n_processes", [4])
def test_so_many_processes_write_the_same_text_and_read_each_clip_once(
    run, one_thread, clips, by_one, n_processes, tmp_path
):
    (tmp_path / "program.py").write_text(EACH_PROCESS, encoding="utf-8")
    rows = [
        {key: getattr(clip, key) for key in ("id", "audio_filepath", "duration", "text")}
        for clip in clips
    ]
    (tmp_path / "clips.json").write_text(json.dumps(rows), encoding="utf-8")
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_processes}"]
    program = [tmp_path / "program.py", tmp_path / "clips.json", tmp_path]
    run([sys.executable, *torchrun, *program], cwd=REPOSITORY, env=one_thread)
    shares = [
        json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        for rank in range(n_processes)
    ]
    assert Counter(path for share in shares for path in share["read"]) == Counter(
        clip.audio_filepath for clip in clips
    )
    counts = [len(share["read"]) for share in shares]
    assert max(counts) - min(counts) <= 1
    # Every process returns the whole result.
    for share in shares:
        hypotheses = [Hypothesis(**hypothesis) for hypothesis in share["hypotheses"]]
        assert [(h.text, h.problem, times(h)) for h in hypotheses] == [
            (h.text, h.problem, times(h)) for h in by_one.hypotheses
        ]
        assert share["audio_seconds"] == pytest.approx(by_one.audio_seconds)
        assert share["padded_seconds"] >= share["audio_seconds"]
        assert (share["n_batches"], share["seconds"]) == (
            shares[0]["n_batches"],
            shares[0]["seconds"],
        )
    assert hypotheses[5].problem == "audio missing"
