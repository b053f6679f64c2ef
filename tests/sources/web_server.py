"""A real web server in a thread, which misbehaves as told."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Act = Callable[["Handler"], None]
_STALL_S = 30


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        with self.server.site.lock:
            self.server.site.asked.append((self.path, dict(self.headers)))
            acts = self.server.site.acts.get(self.path, [status(404)])
            act = acts.pop(0) if len(acts) > 1 else acts[0]
        act(self)

    def head(self, code: int, length: int | None, **headers: str) -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if length is None or "Connection" in headers:
            self.close_connection = True
        self.end_headers()

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        return


class Server(ThreadingHTTPServer):
    daemon_threads = True
    site: Site

    def handle_error(self, request: object, client_address: object) -> None:
        return


@dataclass
class Site:
    """What each path does, request by request (the last act repeats), and what was asked."""

    url: str = ""
    acts: dict[str, list[Act]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def ranges(self, path: str) -> list[str | None]:
        """The Range header of every request for a path."""
        return [headers.get("Range") for asked, headers in self.asked if asked == path]


def etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:8]}"'


def serve(data: bytes, *, ranges: bool = True, tag: str | None = None, cut: int = 0) -> Act:
    """The file, or the part asked for; `cut`: the connection ends after so many bytes."""

    def act(to: Handler) -> None:
        mark = etag(data) if tag is None else tag
        headers = {"ETag": mark} if mark else {}
        asked = to.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and ranges else 0
        if start and to.headers.get("If-Range", mark) != mark:
            start = 0
        if start >= len(data) > 0:
            return to.head(416, 0, Content_Range=f"bytes */{len(data)}")
        code = 206 if start else 200
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        to.head(code, len(data) - start, **headers)
        to.wfile.write(data[start : start + cut] if cut else data[start:])
        if cut:
            to.hang_up()

    return act


def stall(data: bytes, after: int) -> Act:
    """So many bytes, and then silence until the test is over."""

    def act(to: Handler) -> None:
        to.head(200, len(data), ETag=etag(data))
        to.wfile.write(data[:after])
        to.wfile.flush()
        to.server.site.over.wait(_STALL_S)
        to.close_connection = True

    return act


def status(code: int, body: bytes = b"", **headers: str) -> Act:
    def act(to: Handler) -> None:
        to.head(code, len(body), **headers)
        to.wfile.write(body)

    return act


def raw(code: int, body: bytes, length: int | None, **headers: str) -> Act:
    """Any answer; the length announced may be another than that of the body."""

    def act(to: Handler) -> None:
        to.head(code, length, **headers)
        to.wfile.write(body)
        to.hang_up()

    return act


@contextlib.contextmanager
def website() -> Iterator[Site]:
    """A server on a free port of this machine; it is down when the block ends."""
    server = Server(("127.0.0.1", 0), Handler)
    server.site = Site(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.site
    finally:
        server.site.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
