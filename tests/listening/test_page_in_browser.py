"""The page of listen.py in a real browser, with a microphone that plays a clip of the demo."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect, sync_playwright

from korean_asr.audio import read_waveform
from korean_asr.manifest import REPOSITORY

pytestmark = pytest.mark.pipeline

BASE = REPOSITORY / "data" / "demo" / "base_model"
SPOKEN = next((REPOSITORY / "data" / "demo" / "korean").rglob("*.flac"))
LATE_S = 0.5  # a busy machine stops a player late
HOSTILE = "가<img src=x onerror=alert(1)>나${alert(2)}{{alert(3)}}"


@pytest.fixture(scope="module", autouse=True)
def patience():
    """A busy machine takes long to listen."""
    expect.set_options(timeout=30_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of a page that runs, and the folders of temporary and of other files."""
    folder = tmp_path_factory.mktemp("served")
    temporary, home = folder / "temporary", folder / "home"
    temporary.mkdir()
    home.mkdir()
    process = subprocess.Popen(
        [sys.executable, REPOSITORY / "model_tuning" / "listen.py", "--model", BASE, "--page"],
        cwd=home,
        env={**os.environ, "TMPDIR": str(temporary), "HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    assert line.startswith("the page: http://127.0.0.1:"), line + process.stderr.read()
    yield line.split()[2], temporary, home
    # It ends as it should, and nothing stays.
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    kept = [path for path in (*temporary.rglob("*"), *home.rglob("*")) if path.is_file()]
    # matplotlib caches its list of fonts.
    assert [path for path in kept if "matplotlib" not in path.parts] == []


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    """A Chromium whose microphone plays a clip of the demo again and again."""
    wav = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    soundfile.write(wav, read_waveform(str(SPOKEN)), 16_000)
    microphone = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={wav}",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**chromium | {"args": chromium["args"] + microphone})
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, served):
    """opened(**options): the page; it may load nothing from elsewhere, and complain of nothing."""
    contexts, requests, complaints = [], [], []

    def visited(**options):
        contexts.append(browser.new_context(permissions=["microphone"], **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.goto(served[0])
        return page

    yield visited
    for context in contexts:
        context.close()
    assert complaints == []
    own = (served[0], "data:", "blob:")
    assert requests and [url for url in requests if not url.startswith(own)] == []


def listen(page):
    page.get_by_role("button", name="Listen").click()


def choose(page, path):
    page.get_by_label("Upload file").click()
    page.locator("input[type=file]").set_input_files(path)
    # It is there once the file has been sent.
    expect(page.get_by_label("Clear").first).to_be_visible()


@pytest.fixture(scope="module")
def text():
    """What the base model hears in the clip."""
    from korean_asr.decoding import decoded
    from korean_asr.manifest import Utterance
    from korean_asr.model import load_recogniser

    clip = Utterance("spoken", str(SPOKEN), 0.0, "")
    (made,) = decoded(load_recogniser(str(BASE)), [clip]).hypotheses
    return made.text


def letters(page, line):
    return page.locator(".heard .text").nth(line)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
def test_a_recording_is_heard_and_each_letter_of_it_can_be_played(opened, text, width, scheme):
    page = opened(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(4_000)
    # The player shows before the recording is sent; once it is, the page notes it.
    with page.expect_response("**/gradio_api/queue/join*"):
        page.locator("button.stop-button").click()
    expect(page.get_by_label("Clear").first).to_be_visible()
    listen(page)
    expect(letters(page, 0)).to_be_visible()
    # The microphone plays the clip from somewhere on, so a part of its text is there.
    # A busy machine drops parts of it.
    heard, said = (words.replace(" ", "") for words in (letters(page, 0).inner_text(), text))
    assert any(said[start : start + 2] in heard for start in range(len(said) - 1)), (heard, said)
    letter = letters(page, 0).locator(".letter").nth(2)
    ends = float(letter.get_attribute("data-to"))
    player = page.locator(".heard audio").element_handle()
    letter.click()
    page.wait_for_function("player => player.currentTime > 0 && player.paused", arg=player)
    assert ends < player.evaluate("player => player.currentTime") < ends + 0.1 + LATE_S
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_chosen_file_is_compared_with_a_sentence_letter_by_letter(opened, text):
    page = opened()
    choose(page, SPOKEN)
    said = text.replace(text[0], "힘", 1)
    page.get_by_role("textbox").first.fill(said)
    listen(page)
    expect(letters(page, 0)).to_have_text(said)
    expect(letters(page, 1)).to_have_text(text)
    changed = letters(page, 0).locator(".letter").first
    assert "mark" in changed.get_attribute("class") and changed.get_attribute("data-shade") != "0"
    expect(page.locator(".heard .differing tbody tr").first).to_contain_text(text[0])
    # The same recording with another sentence.
    page.get_by_role("textbox").first.fill(text)
    listen(page)
    expect(letters(page, 0)).to_have_text(text)
    expect(page.locator(".heard .mark")).to_have_count(0)


def test_of_no_recording_and_of_a_broken_silent_or_long_one_the_page_says_so(opened, tmp_path):
    page = opened()
    listen(page)
    message = page.locator(".heard .message")
    expect(message).to_contain_text("There is no recording yet")
    (tmp_path / "broken.wav").write_bytes(b"no audio at all" * 100)
    choose(page, tmp_path / "broken.wav")
    listen(page)
    expect(message).to_contain_text("broken.wav cannot be read")
    page.get_by_label("Clear").first.click()
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    choose(page, tmp_path / "silent.wav")
    listen(page)
    expect(page.locator(".heard .note").nth(1)).to_contain_text("Every sample is equal")
    page.get_by_label("Clear").first.click()
    soundfile.write(tmp_path / "long.wav", np.zeros(4_000 * 606), 4_000)
    choose(page, tmp_path / "long.wav")
    listen(page)
    expect(message).to_contain_text("up to 10 minutes; this one has 10.1")


def test_a_hostile_sentence_is_refused_or_shown_as_text(opened):
    page = opened()
    choose(page, SPOKEN)
    for sentence in (HOSTILE, "(", "..."):
        page.get_by_role("textbox").first.fill(sentence)
        listen(page)
        expect(page.locator(".heard").first).to_be_visible()
    expect(page.locator(".heard .message")).to_contain_text("holds no letter")
    assert page.locator(".heard img").count() == 0


def test_the_page_is_served_to_this_machine_alone_and_forgets_what_it_was_sent(opened, served):
    address, temporary, _ = served
    port = int(address.rstrip("/").rpartition(":")[2])
    others = {one[4][0] for one in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for other in others - {"127.0.0.1"}:
        with socket.socket() as tried:
            tried.settimeout(2)
            assert tried.connect_ex((other, port)) != 0
    with urllib.request.urlopen(address) as answer:
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    page = opened()
    for _ in range(2):
        choose(page, SPOKEN)
        listen(page)
        expect(letters(page, 0)).to_be_visible()
        page.get_by_label("Clear").first.click()
    listen(page)
    expect(page.locator(".heard .message")).to_contain_text("There is no recording yet")
    sent = [path for path in temporary.rglob("*.flac") if path.is_file()]
    assert sent == []


def test_what_was_never_listened_to_is_deleted_once_its_tab_is_closed(opened, served):
    page = opened()
    with page.expect_response("**/gradio_api/queue/join*"):
        choose(page, SPOKEN)
    page.wait_for_timeout(500)
    assert [*served[1].rglob("*.flac")] != []
    page.close()
    end = time.monotonic() + 30
    while [*served[1].rglob("*.flac")] and time.monotonic() < end:
        time.sleep(0.1)
    assert [*served[1].rglob("*.flac")] == []
