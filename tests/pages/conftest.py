"""Fixtures of the page tests: records to show, and ways to read a page."""

import copy
import html
import re
from html.parser import HTMLParser

import pytest
from playwright.sync_api import sync_playwright

VOID = {"br", "meta", "link", "input", "wbr"}
HOSTILE = "<script>alert(1)</script><b \"'>&amp;"


class Balance(HTMLParser):
    """Collect all attributes, and the tags that are closed in the wrong order or never."""

    def __init__(self, page):
        super().__init__()
        self.open, self.wrong, self.attributes = [], [], []
        self.feed(page)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += attributes

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="session")
def parsed():
    """Return a function that parses a page: its `wrong` tags, and all its `attributes`."""
    return Balance


@pytest.fixture(scope="session")
def words():
    """Return a function that gives the text of a page as it is read."""

    def text_of(page):
        # A tag inside a word is nothing, any other a space; runs of space are one.
        text = re.sub("<script.*?</script>", "", page.partition("<body>")[2], flags=re.S)
        text = re.sub("</?(del|ins|samp|code|wbr)>", "", text)
        return " ".join(html.unescape(re.sub("<[^>]*>", " ", text)).split())

    return text_of


@pytest.fixture(scope="session")
def hostile_text():
    """Return a text that would break a page which does not escape it."""
    return HOSTILE


@pytest.fixture(scope="session")
def hostile():
    """Return a function that puts hostile text before every text of a record but its keys."""

    def poisoned(value):
        if isinstance(value, str):
            return HOSTILE + value
        if isinstance(value, list):
            return [poisoned(item) for item in value]
        if isinstance(value, dict):
            return {key: poisoned(item) for key, item in value.items()}
        return value

    return poisoned


@pytest.fixture(scope="session")
def browser(chromium):
    """Return a Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**chromium)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open files; no error may have occurred in them, and no request left the machine."""
    contexts, complaints, requests = [], [], []

    def visited(path, fragment="", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + fragment)
        return page

    yield visited
    for context in contexts:
        context.close()
    assert complaints == []
    assert (
        requests
        and [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    )


# An evaluation of foreign speakers


def counts(rate, interval=None):
    edits = {"substitutions": 1201, "deletions": 302, "insertions": 43, "reference_length": 22_019}
    return {"rate": rate, "interval": interval} | edits


MARKS = {
    "precision": 0.9412,
    "recall": 0.9023,
    "f1": 0.9213,
    "hits": 4101,
    "reference": 4545,
    "hypothesis": 4357,
}
SCORES = {
    "cer": counts(0.0702, [0.0661, 0.0754]),
    "wer": counts(0.2091, [0.1987, 0.2203]),
    "cer_no_punctuation": counts(0.0611),
    "wer_no_punctuation": counts(0.1811),
    "cer_no_space": counts(0.0522, [0.0489, 0.0561]),
    "swer": counts(0.1433),
    "spacing": MARKS | {"interval": [0.9107, 0.9304]},
    "punctuation": {".": MARKS | {"f1": 0.8807}, "?": MARKS | {"f1": 0.7706, "interval": None}},
    "jamo": counts(0.0322)
    | {
        "onset": counts(0.0311),
        "nucleus": counts(0.0244),
        "coda": counts(0.0455),
        "interval": None,
    },
}


def scored_slice(n_clips, rate, small=False):
    scores = {"cer": counts(rate, [rate - 0.01, rate + 0.01]), "cer_no_space": counts(rate / 2)}
    return {"n_clips": n_clips, "small": small, "scores": scores}


FOREIGN = {
    "warning": "3 clips were in the training data. · 학습에 쓰인 음성이 3개 있습니다.",
    "rule": "ko-1",
    "corpus": "foreign",
    "model": "wav2vec2_korean_v3",
    "recipe": "v3",
    "manifest": "data/processed/foreign.jsonl",
    "checksums": {"weights": "ab" * 32},
    "versions": {"torch": "2.13.0"},
    "n_clips": 3002,
    "n_unreadable": 2,
    "n_not_scored": 1,
    "problems": {"audio missing": 2},
    "duration": 13_110.0,
    "seen_in_training": {"id": 0, "audio": 0, "sentence": 7, "speaker": None},
    "without_seen": {
        "sentence": {"n_clips": 2995, "scores": {"cer": counts(0.0709), "wer": counts(0.2102)}}
    },
    "decoding": {
        "precision": "bfloat16",
        "rtfx": 61.24,
        "seconds": 214.1,
        "n_batches": 187,
        "padding_waste": 0.0613,
        "n_processes": 4,
    },
    "lowest_reachable_cer": 0.0123,
    "intervals": {
        "resampled": "speakers",
        "n_units": 55,
        "drawn": "41 speakers and 14 clips of unknown speakers",
        "draws": 1000,
        "level": 0.95,
    },
    "scores": SCORES,
    "groups": {
        "duration": {
            "0-2 s": scored_slice(401, 0.1234),
            "2-4 s": scored_slice(19, 0.0678, small=True),
        },
        "first_language": {
            "베트남어": scored_slice(1500, 0.0831),
            "중국어": scored_slice(1502, 0.0612),
        },
        "gender": {},
        "task": {"낭독": scored_slice(3002, 0.0702)},
    },
    "confusions": {
        "all": {
            "onset": [
                {
                    "reference": "ㄹ",
                    "hypothesis": "ㄴ",
                    "n": 31,
                    "of": 310,
                    "kind": "liquid heard as nasal",
                    "clips": ["clip_b", "elsewhere"],
                },
                {
                    "reference": "ㄷ",
                    "hypothesis": "ㄸ",
                    "n": 12,
                    "of": 480,
                    "kind": None,
                    "clips": ["clip_a"],
                },
            ],
            "nucleus": [{"reference": "ㅓ", "hypothesis": "ㅗ", "n": 9, "of": 90, "clips": []}],
            "coda": [],
        },
        "베트남어": {"onset": [], "nucleus": [], "coda": []},
    },
    "calibration": {
        "bins": [
            {"confidence": 0.6, "accuracy": 0.5, "n_clips": 10, "n_characters": 100},
            {"confidence": 0.95, "accuracy": 0.9, "n_clips": 90, "n_characters": 900},
        ],
        "error": 0.0551,
    },
    "gap_to_korean": {
        "scores": {
            "cer_no_space": {
                "korean": 0.0311,
                "foreign": 0.0522,
                "difference": 0.0211,
                "interval": [0.0177, 0.0246],
            }
        }
    },
    "notes": ["A sample of 3,002. · 3,002개를 뽑았습니다."],
}
ROWS = [
    {
        "id": "clip_a",
        "audio_filepath": "a.wav",
        "duration": 1.234,
        "text": "밥을 먹었다.",
        "pred_text": "밤을 먹었다",
        "confidence": 0.91234,
        "cer": 0.285714,
        "wer": 1.0,
        "first_language": "중국어",
        "gender": "여",
        "speaker": "S1",
    },
    {
        "id": "clip_b",
        "audio_filepath": "b.wav",
        "duration": 2.0,
        "text": "가자",
        "pred_text": "",
        "problem": "audio missing",
        "cer": 1.0,
        "wer": 1.0,
        "first_language": "베트남어",
        "gender": None,
        "speaker": "S2",
    },
]


@pytest.fixture(scope="session")
def foreign_summary():
    """Return what a foreign.json holds; not to be changed."""
    return FOREIGN


@pytest.fixture(scope="session")
def foreign_rows():
    """Return two clips of a foreign.jsonl, the second unreadable; not to be changed."""
    return ROWS


@pytest.fixture
def summary():
    """Return what a foreign.json holds, to be changed."""
    return copy.deepcopy(FOREIGN)


@pytest.fixture
def rows():
    """Return two clips of a foreign.jsonl, the second unreadable, to be changed."""
    return copy.deepcopy(ROWS)


@pytest.fixture(scope="session")
def slice_of():
    """Return a function (n_clips, rate, small) that makes a slice of a summary."""
    return scored_slice


@pytest.fixture
def experiments():
    """Return what the page shows of several models, to be changed."""
    block = {
        "title": "Korean speakers · 한국어 화자",
        "columns": ["model · 모델", "CER · 글자 오류율", "95 % interval", "difference · 차이"],
        "rows": [
            ["wav2vec2_korean_v3", "0.0702", "0.0661–0.0754", "–"],
            ["v7", "0.0699", "0.0650–0.0741", "too close to call · 뚜렷한 차이 없음"],
            ["v1", "0.0902", "0.0850–0.0955", "+0.0200 (+0.0150 to +0.0250)"],
        ],
        "notes": ["clips of split/test.jsonl", "below 0 is better · 0보다 작으면 더 좋습니다"],
    }
    return {"blocks": [block], "notes": ["v9 has no results. · v9의 결과가 없습니다."]}
