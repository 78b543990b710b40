"""The table in tests/benchmarks/README.md is what ./run.sh bench wrote, and counts right."""

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import pytest

from korean_asr.manifest import REPOSITORY

BENCHMARKS = REPOSITORY / "tests" / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import bench
    import measuring

    return bench, measuring


@pytest.fixture
def gpu(benchmarks):
    """gpu.py and its sections."""
    import gpu
    import gpu_sections

    return gpu, gpu_sections


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


def test_the_readme_shows_what_every_card_wrote_or_that_there_was_none(gpu):
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    cards = [path for path in (BENCHMARKS / "results").glob("*.json") if path.stem != "cpu"]
    assert ("Not yet run on a GPU." in readme) == (not cards)
    for path in cards:
        assert gpu[0].report(json.loads(path.read_text(encoding="utf-8"))) in readme


def test_a_section_that_fails_leaves_the_finished_ones_and_the_next_run_adds_to_them(
    gpu, monkeypatch, tmp_path, capsys
):
    program, _ = gpu

    def failing(bench):
        raise RuntimeError("no memory")

    sections = {"first": lambda _: ([{"ms": 1.0}], []), "second": failing}
    sections["third"] = lambda _: ([{"ms": 3.0}], ["a note"])
    monkeypatch.setattr(program, "SECTIONS", sections)
    path, here = tmp_path / "card.json", {"date": "today", "commit": "1", "gpu": "a card"}
    record = program.record_of(path, here, program.TINY)
    assert program.run_sections(list(sections), None, record, path) == ["second"]
    assert "no memory" in capsys.readouterr().err
    sections["second"] = lambda _: ([{"ms": 2.0}], [])
    record = program.record_of(path, here, program.TINY)
    assert set(record["sections"]) == {"first", "third"}
    assert program.run_sections(["second"], None, record, path) == []
    written = json.loads(path.read_text(encoding="utf-8"))["sections"]
    found = {name: made["rows"][0]["ms"] for name, made in written.items()}
    assert found == {"first": 1.0, "second": 2.0, "third": 3.0}


@pytest.mark.parametrize(
    ("operator", "part"),
    [
        ("aten::_ctc_loss_backward", "CTC loss"),
        ("aten::_log_softmax", "CTC loss"),
        ("aten::_softmax", "attention"),
        ("aten::_scaled_dot_product_efficient_attention_backward", "attention"),
        ("aten::cudnn_convolution", "convolutions"),
        ("aten::convolution_backward", "convolutions"),
        ("aten::addmm", "linear layers"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::_amp_foreach_non_finite_check_and_unscale_", "optimizer"),
        ("aten::native_layer_norm_backward", "normalisation, GELU, dropout"),
        ("aten::copy_", "copies and casts"),
        ("aten::add_", "everything else"),
    ],
)
def test_the_time_of_an_operator_goes_to_its_part(gpu, operator, part):
    from torch.autograd import DeviceType

    def event(key, kind, own_us):
        return SimpleNamespace(
            key=key, device_type=kind, self_device_time_total=own_us, self_cpu_time_total=7e6,
            cpu_time_total=9e6,
        )  # fmt: skip

    loader = event("enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__", None, 0)
    loader.device_type = DeviceType.CPU
    events = [
        event(operator, DeviceType.CPU, 2e6),
        # A kernel, which its operator has counted.
        event("ampere_sgemm", DeviceType.CUDA, 2e6),
        event("cudaStreamSynchronize", DeviceType.CPU, 0),
        loader,
    ]
    spent = gpu[1].time_by_part(events, "cuda")
    assert {name: seconds for name, seconds in spent.items() if seconds} == {
        part: 2.0,
        "host: synchronisation": 7.0,
        "host: waiting for the loader": 9.0,
    }


def test_padding_is_counted_batch_by_batch(gpu):
    # 3 + 3 and 2 computed seconds for 3 + 1 and 2 of audio.
    assert gpu[1].padding_in_order([3.0, 1.0, 2.0], 2) == pytest.approx(1 - 6 / 8)


@pytest.mark.slow
def test_every_section_of_the_gpu_benchmark_runs_on_a_cpu(gpu, tmp_path):
    """All rows have finite numbers, but for the Trainer's where its packages are missing."""
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--tiny"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "cpu-tiny.json").read_text(encoding="utf-8"))
    # Precisions x ways; parts and the sum; precisions x ways; precisions, twice.
    n_rows = {name: len(made["rows"]) for name, made in record["sections"].items()}
    assert n_rows == {"training": 6, "profile": 12, "decoding": 12, "memory": 6}
    for name, made in record["sections"].items():
        assert gpu[0].section_report(name, made) in done.stdout
        for row in made["rows"]:
            if "not measured" in row.values():
                assert row["way"].startswith("Trainer")
                assert "is not installed" in made["notes"][-1]
            else:
                assert all(math.isfinite(v) for v in row.values() if not isinstance(v, str))
                assert all(isinstance(value, float) for value in list(row.values())[2:])


@pytest.mark.slow
def test_without_a_gpu_its_benchmark_names_the_command_that_tries_it():
    command = [sys.executable, str(BENCHMARKS / "bench.py"), "--device", "cuda"]
    environment = {"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, "--device cpu --tiny" in done.stderr) == (2, True)
