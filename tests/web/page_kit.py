"""A visit to the page, and a small OpenAI-style API that can be slow, say no, and die while it answers."""

from __future__ import annotations

import json
import select
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LONGEST_WAIT_S = 30


class TinyApi:
    """What a test's API was asked, and what it waits for.

    A question with 끊어 is answered in part, then the connection is closed (바로 끊어: before that); one with
    천천히 in part, then the client must leave or `go_on` be set; one with 거절 is refused, by `refusal`; one
    with 길게 is cut at its longest length; every other one is answered by `answers`.
    """

    def __init__(self) -> None:
        self._news = threading.Condition()
        self.reset()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """As it was at first, for the next test."""
        self.models: tuple[str, ...] = ("sample", "gemma-3-270m")
        self.answers: tuple[str, ...] = ("안녕하세요. ", "저는 ", "**작은** ", "모델입니다.")
        self.refusal = {"message": "the template has no system role"}
        self.asked: list[dict[str, Any]] = []
        self.go_on, self.client_left = threading.Event(), threading.Event()

    def hear(self, body: dict[str, Any]) -> None:
        with self._news:
            self.asked.append(body)
            self._news.notify_all()

    def heard(self, times: int) -> list[str]:
        """The last message of all requests, once there are so many of them."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.asked) >= times, LONGEST_WAIT_S)
        return [body["messages"][-1]["content"] for body in self.asked]

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


def _handler(api: TinyApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._json(200, {"data": [{"id": name} for name in api.models]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            api.hear(body)
            question = body["messages"][-1]["content"]
            if "거절" in question:
                self._json(400, {"error": api.refusal})
                return
            if "바로 끊어" in question:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            pieces = [f"[{body['model']}] ", *api.answers]
            for place, piece in enumerate(pieces):
                if place == 3 and "끊어" in question:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if place == 3 and "천천히" in question and self._client_leaves():
                    return
                self._event({"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
            finish = "length" if "길게" in question else "stop"
            self._event({"choices": [{"delta": {}, "finish_reason": finish}]})
            self._event({"choices": [], "usage": {"prompt_tokens": 21, "completion_tokens": len(pieces)}})
            self.wfile.write(b"data: [DONE]\n\n")

        def _client_leaves(self) -> bool:
            """Whether the client closed the connection before the test let the answer go on."""
            go_on, client_left = api.go_on, api.client_left  # of this test, not of the next one
            for _ in range(LONGEST_WAIT_S * 20):
                if select.select([self.connection], [], [], 0)[0]:
                    client_left.set()
                    return True
                if go_on.wait(0.05):
                    return False
            return True

        def _event(self, record: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(record, ensure_ascii=False)}\n\n".encode())

        def _json(self, status: int, record: dict[str, Any]) -> None:
            data = json.dumps(record).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: object) -> None:
            pass

    return Handler


class Site:
    """A page that several tests visit, one after the other: its API, its folder of runs, its votes."""

    def __init__(self, api: TinyApi, place: Path, address: str) -> None:
        self.api, self.place, self.address = api, place, address
        self.runs, self.votes = place / "runs", place / "votes.jsonl"

    def reset(self) -> None:
        """As it was at first, for the next test."""
        self.api.reset()
        shutil.rmtree(self.runs, ignore_errors=True)
        self.votes.unlink(missing_ok=True)


class Visit:
    """A browser's visit to a page, with all that it asked for and all that went wrong in it."""

    def __init__(self, browser: Any, address: str, language: str = "ko-KR", **options: Any) -> None:
        self.address = address
        self.context = browser.new_context(locale=language, **options)
        self.context.set_default_timeout(LONGEST_WAIT_S * 1000)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.context.on(
            "console", lambda line: self.errors.append(line.text) if line.type == "error" else None
        )
        self.page = self.open()

    def open(self) -> Any:
        """Another tab, with the page in it, ready."""
        page = self.context.new_page()
        page.goto(self.address)
        page.get_by_role("tab").first.wait_for()
        return page

    def hosts(self) -> set[str]:
        """The hosts that were asked; addresses inside the page (data:, blob:) have none."""
        return {urlsplit(url).hostname or "" for url in self.requests} - {""}
