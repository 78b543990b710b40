"""The page of listen.py without a browser: whom it answers, and which uploads it keeps."""

import asyncio
import signal
import subprocess
import sys

import pytest

from korean_asr.listening.page import POLICY, OwnPageOnly, Uploads
from korean_asr.manifest import REPOSITORY

starlette = pytest.importorskip("starlette", reason="gradio, which brings it, is optional")


def answer(host, origin=None):
    """Status and headers of the answer to a request."""
    from starlette.responses import PlainTextResponse

    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(OwnPageOnly(PlainTextResponse("heard"))(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "localhost:8000"])
def test_the_page_itself_is_answered_under_both_names_and_a_forwarded_port(host):
    for origin in (None, f"http://{host}"):
        status, headers = answer(host, origin)
        assert status == 200 and headers[b"content-security-policy"] == POLICY.encode()


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:7860", "http://elsewhere.example"),
        ("127.0.0.1:7860", "http://127.0.0.1:3000"),
        ("127.0.0.1:7860", "http://localhost:7860"),
        ("127.0.0.1:7860", "https://127.0.0.1:7860"),
        ("127.0.0.1:7860", "null"),
        ("127.0.0.1:7860", ""),
        # A name of somebody else's that was made to point at this machine.
        ("elsewhere.example:7860", "http://elsewhere.example:7860"),
        ("elsewhere.example:7860", None),
        ("localhost.elsewhere.example", None),
    ],
)
def test_another_page_is_refused_even_one_of_this_machine(host, origin):
    status, headers = answer(host, origin)
    assert status == 403 and b"frame-ancestors 'none'" in headers[b"content-security-policy"]


def test_an_upload_is_deleted_when_its_tab_holds_another_or_is_closed(tmp_path):
    uploads, first, second = Uploads(None, "float32"), tmp_path / "a.wav", tmp_path / "b.wav"
    for path in (first, second):
        path.write_bytes(b"sound")
    uploads.hold("tab", str(first))
    uploads.hold("tab", str(first))
    assert first.exists()
    uploads.hold("tab", str(second))
    assert not first.exists() and second.exists()
    uploads.hold("tab", None)
    assert not second.exists() and uploads.held == {}


def test_an_upload_that_two_tabs_hold_is_deleted_with_the_last(tmp_path):
    uploads, path = Uploads(None, "float32"), tmp_path / "same.wav"
    path.write_bytes(b"sound")
    for tab in ("one", "two"):
        uploads.hold(tab, str(path))
    uploads.hold("one", None)
    assert path.exists()
    uploads.hold("two", None)
    assert not path.exists()


def test_listening_holds_the_upload_of_its_tab_alone(tiny_recogniser, recordings, tmp_path):
    uploads, path = Uploads(tiny_recogniser, "float32"), tmp_path / "mine.wav"
    path.write_bytes(recordings[0].read_bytes())
    assert 'class="letter' in uploads.heard(str(path), "", "tab")
    assert path.exists() and uploads.held == {"tab": str(path)}
    assert "There is no recording yet" in uploads.heard(None, "", "tab")
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_in_order_when_interrupted_stopped_or_its_terminal_is_closed(number):
    code = f"""
import os, sys, threading
sys.path.insert(0, "model_tuning")
from korean_asr.listening.page import _wait_for_the_end
threading.Timer(0.3, os.kill, (os.getpid(), {int(number)})).start()
_wait_for_the_end()
print("ended")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended\n")
