import os
import subprocess
import sys

import pytest
import torch

from korean_asr.audio import ENCODER_LAYERS
from korean_asr.cpu_speed import convolved, with_row_encoder
from korean_asr.manifest import REPOSITORY
from korean_asr.model import load_recogniser

PACKAGES = str(REPOSITORY / "model_tuning")
SPINNING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.fixture
def model(tiny_base):
    return load_recogniser(str(tiny_base)).model.cpu()


@pytest.mark.parametrize(("kernel", "stride"), sorted({*ENCODER_LAYERS, (5, 2), (7, 3), (2, 1)}))
@pytest.mark.parametrize("n_in", [1, 6])
@pytest.mark.parametrize("n_rows", [10, 11, 12, 13, 14, 97])
def test_products_of_rows_are_the_convolution(kernel, stride, n_in, n_rows):
    torch.manual_seed(0)
    conv, rows = torch.nn.Conv1d(n_in, 8, kernel, stride), torch.randn(3, n_rows, n_in)
    with torch.inference_mode():
        expected = conv(rows.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(convolved(rows, conv), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("n_samples", [400, 719, 720, 16_000, 31_999])
def test_the_model_gives_the_same_logits_and_is_left_as_it_was(model, n_samples):
    waveforms = torch.randn(2, n_samples, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, n_samples, dtype=torch.long)
    mask[1, n_samples * 3 // 4 :] = 0
    encoder, names = model.wav2vec2.feature_extractor, list(model.state_dict())
    with torch.inference_mode():
        expected = model(waveforms, attention_mask=mask).logits
        made = with_row_encoder(model)(waveforms, attention_mask=mask).logits
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)
    assert model.wav2vec2.feature_extractor is encoder
    assert list(model.state_dict()) == names


def test_a_model_that_normalises_over_time_keeps_its_encoder(model):
    model.config.feat_extract_norm = "group"
    assert with_row_encoder(model) is model


@pytest.mark.parametrize(
    ("chosen", "spins"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "77"}, "77"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "0"),
    ],
    ids=["nothing chosen", "a count chosen", "a policy chosen"],
)
def test_threads_that_wait_soon_sleep_unless_the_user_chose_otherwise(chosen, spins):
    env = {name: value for name, value in os.environ.items() if name not in SPINNING}
    done = subprocess.run(
        [sys.executable, "-c", "import korean_asr, torch"],
        env={**env, **chosen, "PYTHONPATH": PACKAGES, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("NOT TESTED: this torch uses another library than libgomp")
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
