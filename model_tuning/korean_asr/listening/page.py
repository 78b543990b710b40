"""The page of listen.py: record or choose a recording, see its letters coloured, hear each.

It is served to this machine alone and keeps nothing: no usage data, no font or script from
elsewhere, no link to share, and the folder of uploads is deleted at the end.
"""

import os
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from korean_asr.audio import UnreadableAudio, audio_info
from korean_asr.errors import DataError
from korean_asr.listening.heard import heard_in, told_problem
from korean_asr.listening.sentence import UnusableSentence, cleaned_sentence
from korean_asr.listening.shown import shown_recording
from korean_asr.pages.heard import heard_html, message_html
from korean_asr.pages.html import source
from korean_asr.pages.players import embedded_audio

HOST = "127.0.0.1"
# The page holds the audio itself, 4 MB a minute.
LONGEST_S = 600.0
MAX_FILE = "500mb"
# Even a mistake in a library can load nothing from elsewhere, and send nothing there.
# No other page may show it in a frame.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
TITLE = "What the listener hears · 들리는 대로"


def serve_page(recogniser: Any, precision: str) -> None:
    """Serve the page until the process is interrupted or terminated.

    recogniser: a model.Recogniser. Raises DataError where no port is free.
    """
    with tempfile.TemporaryDirectory(prefix="listen_") as folder:
        # Read when gradio is imported. A proxy would not find this machine's own address.
        os.environ |= {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": folder,
            "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), HOST, "localhost"])),
        }
        page = _blocks(Uploads(recogniser, precision))
        try:
            _, url, _ = page.launch(**_settings())
        except OSError as error:
            raise DataError(
                f"no port is free for the page ({error}). Set one: GRADIO_SERVER_PORT=7999. "
                "· 사용할 수 있는 포트가 없습니다."
            ) from None
        print(
            f"the page: {url}  It is for this machine alone; Ctrl-C ends it and deletes what was "
            "recorded. · 브라우저에서 이 주소를 여세요. Ctrl-C를 누르면 끝나고 녹음은 삭제됩니다.",
            flush=True,
        )
        _wait_for_the_end()
        page.close(verbose=False)


def refuse_missing_gradio() -> None:
    """Raise DataError, with the remedy, where gradio is not installed."""
    # Not imported yet: it reads its settings then.
    if not find_spec("gradio"):
        raise DataError(
            "--page needs gradio. Run ./run.sh listen --page, which installs it, or "
            f"{sys.executable} -m pip install -r requirements-optional.txt. "
            "· gradio를 설치하세요."
        )


def _wait_for_the_end() -> None:
    """Return at Ctrl-C, and where the process is asked to end."""
    ended = threading.Event()
    # The last is that of a terminal which is closed.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


def too_long(path: str) -> float | None:
    """The duration in seconds of a recording that is too long for the page, else None."""
    try:
        seconds = audio_info(path).duration
    except UnreadableAudio:
        return None
    return seconds if seconds > LONGEST_S else None


class Uploads:
    """Listens to uploads, one at a time, and deletes those that no tab of a browser holds."""

    def __init__(self, recogniser: Any, precision: str) -> None:
        self.recogniser, self.precision = recogniser, precision
        self.held: dict[str, str] = {}  # path by the tab's session

    def hold(self, session: str, path: str | None) -> None:
        """Note the upload of a tab, and delete its earlier one. path: None where it holds none."""
        earlier = self.held.pop(session, None)
        if path:
            self.held[session] = path
        # Uploads of equal bytes have one path.
        if earlier and earlier not in self.held.values():
            Path(earlier).unlink(missing_ok=True)

    def heard(self, path: str | None, sentence: str, session: str) -> str:
        """The HTML of what was heard in an upload, or of why nothing was."""
        self.hold(session, path)
        if path is None:
            return message_html(
                "There is no recording yet, or it is still being sent. Record one, or choose a "
                "file. · 녹음이 없거나 아직 전송 중입니다. 녹음하거나 파일을 선택하세요."
            )
        try:
            meant = cleaned_sentence(sentence) if sentence.strip() else None
        except UnusableSentence as error:
            return message_html(str(error))
        recogniser = self.recogniser
        if seconds := too_long(path):
            return message_html(
                f"The page takes recordings of up to {LONGEST_S / 60:g} minutes; this one has "
                f"{seconds / 60:.1f}. Pass it to listen.py on the command line. "
                "· 긴 녹음은 명령줄에서 listen.py로 처리하세요."
            )
        (heard,) = heard_in(recogniser, [Path(path)], meant, self.precision)
        if heard.hypothesis.problem:
            # Not the path, which is none that the user has seen.
            return message_html(told_problem(replace(heard, name=Path(path).name)))
        outside = recogniser.outside([meant or ""]).most_frequent()
        unwritable = [letter for letter, _ in outside]
        return heard_html(shown_recording(heard, embedded_audio(path), unwritable))


def _blocks(uploads: Uploads) -> Any:
    import gradio

    def heard(path: str | None, sentence: str, request: gradio.Request) -> str:
        return uploads.heard(path, sentence or "", request.session_hash)

    def chosen(path: str | None, request: gradio.Request) -> None:
        uploads.hold(request.session_hash, path)

    def left(request: gradio.Request) -> None:
        uploads.hold(request.session_hash, None)

    with gradio.Blocks(title=TITLE, analytics_enabled=False) as page:
        gradio.Markdown(f"# {TITLE}")
        recording = gradio.Audio(
            label="Recording · 녹음",
            sources=["microphone", "upload"],
            type="filepath",
            buttons=[],
        )
        sentence = gradio.Textbox(
            label="The sentence that was meant, if there is one · 읽은 문장 (선택)", max_lines=4
        )
        button = gradio.Button("Listen · 들어 보기", variant="primary")
        result = gradio.HTML()
        gradio.on(
            [button.click, sentence.submit],
            heard,
            [recording, sentence],
            result,
            api_visibility="private",
            concurrency_limit=1,
        )
        # Also what is never listened to is deleted once its tab is closed.
        recording.change(chosen, recording, api_visibility="private", show_progress="hidden")
        page.unload(left)
    return page


def _settings() -> dict[str, Any]:
    """The options of gradio's launch()."""
    import gradio
    from starlette.middleware import Middleware

    fonts = ["system-ui", "Noto Sans KR", "Noto Sans CJK KR", "sans-serif"]
    return {
        "server_name": HOST,
        "share": False,
        "inbrowser": False,
        "quiet": True,
        "prevent_thread_lock": True,
        "ssr_mode": False,
        "enable_monitoring": False,
        "mcp_server": False,
        "footer_links": [],
        "max_file_size": MAX_FILE,
        "app_kwargs": {"middleware": [Middleware(OwnPageOnly)]},
        "theme": gradio.themes.Base(font=fonts, font_mono=["monospace"]),
        "css": source("heard.css"),
        "head": f"<script>{source('sound.js')}</script>",
    }


class OwnPageOnly:
    """Answers this page alone, and adds POLICY to each answer (ASGI).

    Gradio lets pages of other programs on this machine read it and send to it, any page send to it,
    and a page whose name was made to point at this machine do both.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                header = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        if scope["type"] in ("http", "websocket") and not _is_own(dict(scope["headers"])):
            from starlette.responses import PlainTextResponse

            refusal = PlainTextResponse("This page is for this machine alone.", status_code=403)
            await refusal(scope, receive, sent)
            return
        await self.app(scope, receive, sent)


def _is_own(headers: dict[bytes, bytes]) -> bool:
    """Whether a request is for this machine by name, and comes from no other page.

    The port may be another: `ssh -L` forwards one.
    """
    host, origin = headers.get(b"host", b""), headers.get(b"origin")
    is_here = host.partition(b":")[0] in (HOST.encode(), b"localhost")
    return is_here and origin in (None, b"http://" + host)
