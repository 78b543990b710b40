"""Fixtures: a real wav2vec2-CTC of random weights, and real audio files."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

SYLLABLES = list("가나다라마바사아자차카타파하밥국물말")
# As in the base model: `|` amid the syllables, [UNK] and [PAD] last, <s> and </s> outside the head.
TOKENS = [*SYLLABLES[:9], "|", *SYLLABLES[9:], "[UNK]", "[PAD]"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
INSTALL = (
    ["apt-get", "update"],
    ["apt-get", "install", "-y", "--no-install-recommends", "chromium"],
)


@dataclass(frozen=True)
class Demo:
    """What tests know of data/demo; renewed when its voices or its base model are.

    cer, cer_unseen: the CER without punctuation and spaces that the base model stays below, over
    all clips of natives and over those of the speakers that it never heard. punctuation_gain, gain:
    by how much fine-tuning lowers the CER of the test split at least, and that without
    punctuation. marks: that it writes then.
    """

    n_native_clips: int = 252
    n_native_speakers: int = 18
    n_learner_clips: int = 84
    n_slip_clips: int = 48
    n_learners: int = 12
    first_languages: tuple[str, ...] = (
        *("영어", "중국어", "일본어", "스페인어", "힌디어", "포르투갈어"),
    )
    unseen_speakers: tuple[str, ...] = ("K13", "K14", "K15", "K16", "K17", "K18")
    n_syllables_of_base: int = 400
    cer: float = 0.17
    cer_unseen: float = 0.22
    cer_of_the_test_split: float = 0.2
    punctuation_gain: float = 0.02
    gain: float = 0.0
    marks: str = "."


@pytest.fixture(scope="session")
def demo() -> Demo:
    return Demo()


def pytest_terminal_summary(terminalreporter):
    """Say in one line how many tests found no GPU; a row of `s` is easily overlooked."""
    skipped = terminalreporter.stats.get("skipped", [])
    n_without = sum("NOT TESTED" in str(report.longrepr) for report in skipped)
    if n_without:
        terminalreporter.write_line(
            f"NOT TESTED ON A GPU: {n_without} tests of tests/gpu were skipped, since torch sees "
            "too few GPUs here",
            yellow=True,
        )


@pytest.fixture(scope="session")
def chromium():
    """How Playwright launches a Chromium: its path and arguments.

    It is installed where it is missing and can be; where there is none, the test is skipped.
    """
    with (Path(tempfile.gettempdir()) / "korean_asr_browser.lock").open("w") as lock:
        # Of tests that run side by side one installs the browser, and the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = next(filter(None, map(shutil.which, BROWSERS)), None)
        if not found and os.geteuid() == 0 and shutil.which("apt-get"):
            for command in INSTALL:
                subprocess.run(command, capture_output=True, timeout=600)
            found = shutil.which(BROWSERS[0])
    if not found:
        names = ", ".join(BROWSERS)
        pytest.skip(f"NO BROWSER: none of {names} is on the PATH, so the page is NOT tested in one")
    # root has no sandbox.
    return {"executable_path": found, "args": ["--no-sandbox"] if os.geteuid() == 0 else []}


@pytest.fixture(scope="session", name="syllables")
def _syllables() -> list[str]:
    """The syllables that the tiny base model can write."""
    return SYLLABLES


@pytest.fixture(scope="session", name="tokens")
def _tokens() -> list[str]:
    """The tokens of the tiny base model's head, by index."""
    return TOKENS


@pytest.fixture(scope="session", name="noise")
def _noise() -> Callable[[int, int], np.ndarray]:
    """noise(n_samples, seed), below."""
    return noise


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """The folder of a base model with random weights: 2 layers of 32, a row for each token."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    folder = tmp_path_factory.mktemp("model") / "tiny_base"
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(TOKENS), pad_token_id=len(TOKENS) - 1,
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        conv_dim=(16,) * 7, conv_bias=True, feat_extract_norm="layer", do_stable_layer_norm=True,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    model = Wav2Vec2ForCTC(config)
    # Like a trained head: no two rows are alike, and it writes more than blanks.
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 1)
        model.lm_head.bias.normal_(0, 0.5)
    model.save_pretrained(folder)
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    files = {
        "vocab.json": {token: index for index, token in enumerate(TOKENS)},
        "special_tokens_map.json": special,
        "tokenizer_config.json": {
            **special, "do_lower_case": False, "word_delimiter_token": "|",
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
        },
        "preprocessor_config.json": {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True,
            "feature_size": 1, "padding_side": "right", "padding_value": 0.0,
            "return_attention_mask": True, "sampling_rate": 16_000,
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return folder


def noise(n_samples: int, seed: int) -> np.ndarray:
    """Return a wandering tone in noise, (n_samples,) float32; a random model writes text of it."""
    rng = np.random.default_rng(seed)
    pitch = np.cumsum(rng.uniform(100, 3000, n_samples // 800 + 1)).repeat(800)[:n_samples]
    tone = 0.1 * np.sin(pitch * np.arange(n_samples) / 5e6)
    return (tone + 0.05 * rng.standard_normal(n_samples)).astype(np.float32)


@pytest.fixture
def utterances(tmp_path):
    """Twelve clips of 0.5 to 2 s with texts that the tiny base can write, but for the marks."""
    from korean_asr.manifest import Utterance

    texts = [
        "가나 다라.", "밥 국, 물?", "마바사!", "아자 차카 타파", "하하 말", "국물.",
        "말 말 말", "가 나 다 라", "밥밥", "차", "타 타", "파하",
    ]  # fmt: skip
    made = []
    for number, text in enumerate(texts):
        n_samples = 8_000 + 2_111 * number
        path = tmp_path / f"clip_{number:02}.wav"
        soundfile.write(path, noise(n_samples, number), 16_000)
        made.append(Utterance(f"clip_{number:02}", str(path), n_samples / 16_000, text))
    return made
