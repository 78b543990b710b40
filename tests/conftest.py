"""Fixtures: a real wav2vec2-CTC of random weights, and real audio files."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
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

LONGEST = "test_the_demo_ends"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
INSTALL = (
    ["apt-get", "update"],
    ["apt-get", "install", "-y", "--no-install-recommends", "chromium"],
)
# With a child, as a run has workers.
LOCK_HOLDER = """
import os, sys
sys.path.insert(0, "model_tuning")
from pathlib import Path
from korean_asr.lock import lock
lock(Path(sys.argv[1]), *sys.argv[2:])
child = 0 if os.fork() else sys.stdin.read() or os._exit(0)
print(os.getpid(), flush=True)
sys.stdin.readline()
"""


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


def pytest_collection_modifyitems(items):
    """Begin with the longest test, or at the end one worker runs it and the others wait."""
    items.sort(key=lambda item: not item.name.startswith(LONGEST))


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


@pytest.fixture(scope="session")
def other_ctc(tiny_base, tmp_path_factory):
    """other_ctc(kind, norm, **settings): a tiny CTC model of another kind, with the same tokens.

    kind: a model_type. norm: its feat_extract_norm. settings: of its configuration.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCTC

    def made(kind, norm="layer", **settings):
        folder = tmp_path_factory.mktemp("other") / f"tiny_{kind}"
        config = json.loads((tiny_base / "config.json").read_text(encoding="utf-8"))
        for name in ("architectures", "model_type", "transformers_version"):
            config.pop(name, None)
        torch.manual_seed(1)
        settings = config | {"feat_extract_norm": norm} | settings
        model = AutoModelForCTC.from_config(AutoConfig.for_model(kind, **settings))
        with torch.no_grad():
            model.lm_head.weight.normal_(0, 1)
            model.lm_head.bias.normal_(0, 0.5)
        model.save_pretrained(folder)
        for path in tiny_base.glob("*.json"):
            if path.name != "config.json":
                shutil.copy(path, folder)
        return folder

    return made


@pytest.fixture(scope="session")
def tiny_mms(other_ctc):
    """The folder of a wav2vec2 with adapters for Korean and English, as MMS has them.

    The weights of model.safetensors write English; each language has a head of its own size.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import Wav2Vec2ForCTC

    special = ["<pad>", "<s>", "</s>", "<unk>", "|"]
    vocabularies = {"eng": [*special, *"abcdefg"], "kor": [*special, *SYLLABLES]}
    folder = other_ctc("wav2vec2", adapter_attn_dim=4, vocab_size=12, pad_token_id=0)
    for language, tokens in vocabularies.items():
        torch.manual_seed(len(tokens))
        model = Wav2Vec2ForCTC.from_pretrained(folder)
        model.init_adapter_layers()
        model.lm_head = torch.nn.Linear(32, len(tokens))
        torch.nn.init.normal_(model.lm_head.weight)
        weights = {name: values.detach() for name, values in model._get_adapters().items()}
        weights |= {f"lm_head.{name}": v.detach() for name, v in model.lm_head.named_parameters()}
        # Adapters start as nothing; these change what is heard.
        weights = {name: v + 0.3 * torch.randn_like(v) for name, v in weights.items()}
        save_file(weights, folder / f"adapter.{language}.safetensors", metadata={"format": "pt"})
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    nested = {name: {t: i for i, t in enumerate(tokens)} for name, tokens in vocabularies.items()}
    settings = {"word_delimiter_token": "|", "tokenizer_class": "Wav2Vec2CTCTokenizer"}
    for name, content in (
        ("vocab.json", nested),
        ("special_tokens_map.json", special),
        ("tokenizer_config.json", special | settings | {"target_lang": "eng"}),
    ):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


LANGUAGES, TASKS = ("en", "ko"), ("translate", "transcribe")
WHISPER_TOKENS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{name}|>" for name in (*LANGUAGES, *TASKS)),
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory):
    """The folder of a multilingual Whisper with random weights that writes syllables."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    folder = tmp_path_factory.mktemp("whisper") / "tiny_whisper"
    bytes_and_pairs = ByteLevelBPETokenizer()
    words = [f"{a}{b} {b}{a}" for a in SYLLABLES for b in SYLLABLES]
    bytes_and_pairs.train_from_iterator(words, vocab_size=400, show_progress=False)
    saved = json.loads(bytes_and_pairs.to_str())["model"]
    tokenizer = WhisperTokenizer(saved["vocab"], [tuple(pair) for pair in saved["merges"]])
    tokenizer.add_tokens([*WHISPER_TOKENS], special_tokens=True)
    tokenizer.add_tokens([f"<|{0.02 * step:.2f}|>" for step in range(1501)])
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    ids = tokenizer.get_vocab()
    start, end = ids["<|startoftranscript|>"], ids["<|endoftext|>"]
    special = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    torch.manual_seed(2)
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_target_positions=24, decoder_start_token_id=start, **special,
        begin_suppress_tokens=None, suppress_tokens=None,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for name, values in model.named_parameters():
            # What it writes depends on what it hears.
            if "encoder_attn." in name or "conv" in name or "embed_tokens" in name:
                values.mul_(12)
        model.model.encoder.layer_norm.weight.mul_(20)
        # Timestamps would be the likeliest of so many random tokens.
        model.proj_out.weight[ids["<|0.00|>"] :] = 0
    texts = {index: tokenizer.decode([index]) for index in saved["vocab"].values()}
    parts = [index for index, text in texts.items() if {*text.strip()} - {*SYLLABLES}]
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start, **special, max_length=24, is_multilingual=True,
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES},
        task_to_id={task: ids[f"<|{task}|>"] for task in TASKS},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        # Bytes, which are parts of characters.
        suppress_tokens=[*parts, *(ids[name] for name in WHISPER_TOKENS[1:])],
    )  # fmt: skip
    model.save_pretrained(folder)
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


@pytest.fixture
def holder():
    """holder(folder, *part): a process, with a child, that holds a lock until its stdin closes."""
    started, repository = [], Path(__file__).parents[1]

    def start(*arguments):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", LOCK_HOLDER, *map(str, arguments)]
        process = subprocess.Popen(command, cwd=repository, **pipes)
        assert process.stdout.readline() == f"{process.pid}\n"
        started.append(process)
        return process

    yield start
    for process in started:
        process.stdin.close()
        process.stdout.close()
        process.wait()
