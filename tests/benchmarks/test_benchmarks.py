"""The table in tests/benchmarks/README.md is what ./run.sh bench wrote, and counts right."""

import json
import sys

import pytest

from korean_asr.manifest import REPOSITORY

BENCHMARKS = REPOSITORY / "tests" / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import bench
    import measuring

    return bench, measuring


def test_the_readme_shows_the_table_that_the_benchmarks_wrote(benchmarks):
    record = json.loads((BENCHMARKS / "results" / "cpu.json").read_text(encoding="utf-8"))
    assert benchmarks[0].report(record) in (BENCHMARKS / "README.md").read_text(encoding="utf-8")


def test_a_row_is_met_by_its_median_and_says_so_where_it_is_not(benchmarks):
    _, measuring = benchmarks
    rows = [
        measuring.Row("a", "4 s", "2 s", [1.0, 2.0, 9.0], target).record()
        for target in (2.0, 2.1, None)
    ]
    lines = measuring.table(rows).splitlines()[2:]
    assert lines[0] == "| a | 4 s | 2 s | 2.00 (1.00 to 9.00) | 2 | met |"
    assert lines[1].endswith("| 2.1 | **not met** |")
    assert lines[2].endswith("|  |  |")


def test_clips_are_as_long_as_the_corpus_and_the_same_every_time(benchmarks):
    durations = benchmarks[1].corpus_durations(512)
    assert durations == benchmarks[1].corpus_durations(512)
    assert (min(durations) >= 1.0, max(durations) <= 12.0, sum(durations) / 512) == (
        True,
        True,
        pytest.approx(4.4, 0.02),
    )


@pytest.mark.slow
def test_operations_are_counted_as_by_hand(benchmarks, tmp_path):
    """The counted parts are 24 layers, attention, head, position convolution and the encoder.

    A layer has 12 x 1,024^2 products a frame; the encoder has 2.45 G a second.
    """
    from transformers import Wav2Vec2Config

    config = Wav2Vec2Config(
        vocab_size=1_211,
        hidden_size=1_024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4_096,
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    config.save_pretrained(tmp_path)
    # The frames of one second.
    frames = 49
    layers = 24 * (12 * 1_024**2 * frames + 2 * 1_024 * frames**2)
    others = frames * (512 * 1_024 + 1_024 * 1_211) + (frames + 1) * 1_024 * 64 * 128
    encoder = 512 * 10 * 3_199 + 512 * 512 * (3 * (1_599 + 799 + 399 + 199) + 2 * (99 + 49))
    forward, frozen, whole = (
        benchmarks[1].operations(str(tmp_path), [1.0], trained)
        for trained in (None, "frozen", "all")
    )
    assert forward == pytest.approx(2 * (layers + others + encoder), rel=0.001)
    assert (frozen, whole) == pytest.approx((3 * forward - 4 * encoder, 3 * forward))
    dropped = benchmarks[1].operations(str(tmp_path), [1.0], "all", layerdrop=0.5)
    assert dropped == pytest.approx(3 * (forward - layers), rel=0.001)
