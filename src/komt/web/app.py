"""The page in both languages as one application, and its server on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from komt.errors import UsageError, need
from komt.web.client import Api
from komt.web.runs import Runs
from komt.web.text import LANGUAGES, Language, Words

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FONTS = [
    "Pretendard",
    "Apple SD Gothic Neo",
    "Noto Sans KR",
    "Noto Sans CJK KR",
    "Malgun Gothic",
    "NanumGothic",
    "system-ui",
    "sans-serif",
]
# As Gradio says it.
_LOST = "Connection to the server was lost. Attempting reconnection..."
_MONOSPACE = ["D2Coding", "ui-monospace", "Menlo", "Consolas", "Noto Sans Mono CJK KR", "monospace"]


def create_app(api: Api | None, runs: Runs, votes: Path, llama_page: str = "") -> Any:
    """The ASGI application: `/` leads to /ko/ or /en/, as the browser asks.

    Args:
        api: what Chat and Compare talk to; None where no model is connected.
        runs: what Data, Training and Scores show.
        votes: the file that votes are added to.
        llama_page: the address of llama.cpp's own page, which Chat leads to; "" where there is none.

    Raises:
        MissingExtra: Gradio is not installed.
    """
    # Read when Gradio is imported: it must ask nobody about itself.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    need("gradio", extra="web")
    import gradio as gr
    from fastapi import FastAPI

    from komt.web.guard import Guard

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    css = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    for language in LANGUAGES:
        words = Words(language)
        gr.mount_gradio_app(
            app,
            _page(words, api, runs, votes, llama_page),
            path=f"/{language}",
            footer_links=[],
            run_history=False,
            allowed_paths=[],
            show_error=False,
            max_file_size="1kb",
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            theme=_theme(),
            css=css,
            js=_script(words),
        )
    return Guard(app, LOOPBACK)


def _page(words: Words, api: Api | None, runs: Runs, votes: Path, llama_page: str) -> Any:
    import gradio as gr

    from komt.web.chat import chat_tab
    from komt.web.compare import compare_tab
    from komt.web.data import data_tab
    from komt.web.events import AT_ONCE
    from komt.web.scores import scores_tab
    from komt.web.training import drawn_anew, training_tab

    with gr.Blocks(title=words("title"), analytics_enabled=False, fill_width=False) as page:
        gr.HTML(_header(words), elem_id="header")
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab(words("tab.chat"), id="chat"):
                chat_tab(page, words, api, llama_page)
            with gr.Tab(words("tab.compare"), id="compare") as tab:
                compare_tab(tab, words, api, votes)
            with gr.Tab(words("tab.data"), id="data") as tab:
                data_tab(tab, words, runs)
            with gr.Tab(words("tab.training"), id="training") as tab:
                timer = training_tab(tab, words, runs)
            with gr.Tab(words("tab.scores"), id="scores") as tab:
                scores_tab(tab, words, runs)
        tabs.select(drawn_anew(words), None, [timer], **AT_ONCE)
    return page


def _script(words: Words) -> str:
    """page.js, with the names of the buttons that Gradio leaves without one, and its notices."""
    names = {
        f".{kind}-button": words(f"chat.{name}") for kind, name in (("submit", "send"), ("stop", "stop"))
    }
    names["#refresh"] = words("chat.refresh")
    notices = {"Error": words("notice.error"), _LOST: words("notice.lost")}
    script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    for place, texts in (("NAMES", names), ("NOTICES", notices)):
        script = script.replace(place, json.dumps(texts, ensure_ascii=False))
    return script


def _header(words: Words) -> str:
    other: Language = "en" if words.language == "ko" else "ko"
    link = (
        f'<a href="/{other}/" lang="{other}" hreflang="{other}" '
        f'title="{escape(words("other_language.name"))}">{escape(words("other_language"))}</a>'
    )
    return f"<header><h1>{escape(words('title'))}</h1><p>{escape(words('tagline'))}</p>{link}</header>"


def _theme() -> Any:
    import gradio as gr

    fonts = {"font": _FONTS, "font_mono": _MONOSPACE}  # of this machine: nothing is fetched
    hues = {"primary_hue": gr.themes.colors.teal, "neutral_hue": gr.themes.colors.zinc}
    return gr.themes.Base(**fonts, **hues, radius_size=gr.themes.sizes.radius_md).set(
        body_background_fill="#fafaf8",
        body_background_fill_dark="#131316",
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_500",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_text_color="white",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        block_info_text_size="*text_sm",
    )


@contextlib.contextmanager
def running(
    api: Api | None, runs: Runs, votes: Path, port: int = 0, *, llama_page: str = ""
) -> Iterator[str]:
    """The page served from a thread while the block runs; yields its address, `http://127.0.0.1:PORT/`.

    Args:
        api: as of `create_app`.
        runs: as of `create_app`.
        votes: as of `create_app`.
        port: 0 for a free one.
        llama_page: as of `create_app`.

    Raises:
        UsageError: the port is taken.
    """
    server, bound = _server(create_app(api, runs, votes, llama_page), port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    started = threading.Event()
    server.callback_started = started
    thread.start()
    try:
        started.wait()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def _server(app: Any, port: int) -> tuple[Any, socket.socket]:
    import uvicorn

    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError as error:
        bound.close()
        raise UsageError(
            f"port {port} cannot be used: {error.strerror}", cure="another one: --port 0 takes any free one"
        ) from error

    class Server(uvicorn.Server):
        """Says when it listens."""

        callback_started: threading.Event | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.callback_started:
                self.callback_started.set()

    # An open page holds a connection for events as long as it stands: the end does not wait for it.
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    return Server(config), bound
