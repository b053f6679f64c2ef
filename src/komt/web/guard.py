"""What stands before Gradio: hosts, routes that the page does not need, headers, the page's own first bytes.

Gradio serves uploads, files, proxied addresses and more; this page needs none of it: none is reachable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from komt.web.text import LANGUAGES, preferred

# A picture in a model's answer, or anything else, cannot make the browser ask another host.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'none'; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}
# What the page asks for, below /ko/ and /en/.
_ALLOWED = re.compile(
    r"|assets/.+|static/.+|theme\.css|favicon\.ico|manifest\.json|robots\.txt|config|svelte/.+"
    r"|gradio_api/(info|startup-events|theme\.css|queue/(join|data)|run/predict|heartbeat/\w+|component_server"
    r"|cancel|reset)/?"
)
_REMOTE_TAGS = re.compile(rb'<meta\b[^>]*(?:og:|twitter:)[^>]*>|<link rel="manifest"[^>]*>')
_ICON = (
    b'<link rel="icon" href="data:image/svg+xml,<svg xmlns=%22http://www.w3.org/2000/svg%22 '
    b"viewBox=%220 0 32 32%22><rect width=%2232%22 height=%2232%22 rx=%227%22 fill=%22%230f6b6b%22/>"
    b"<path d=%22M9 7v18M23 8 11 17l13 8%22 fill=%22none%22 stroke=%22white%22 stroke-width=%223.4%22 "
    b'stroke-linecap=%22round%22/></svg>">'
)


class Guard:
    """ASGI middleware around the page.

    Args:
        app: the pages, mounted at /ko and /en.
        hosts: names under which the page may be asked for; others are refused, so that no page of
            another site reaches this one by a name that leads here (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, refuse or redirect one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:  # The page has no use for WebSockets.
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        path = scope["path"]
        language, _, rest = path.removeprefix("/").partition("/")
        if refusal:
            await PlainTextResponse(refusal, 403)(scope, receive, send)
        elif path == "/" or (language in LANGUAGES and path == f"/{language}"):
            chosen = language or preferred(headers.get("accept-language", ""))
            answer = RedirectResponse(
                f"/{chosen}/", 307, {"vary": "accept-language", "cache-control": "no-store"}
            )
            await answer(scope, receive, send)
        elif language not in LANGUAGES or not _ALLOWED.fullmatch(rest):
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
        elif rest == "":
            await _Page(self._app, language)(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, headers: Headers) -> str:
        """Why a request is refused, or ""."""
        try:
            host = urlsplit(f"//{headers.get('host', '')}").hostname
            page = urlsplit(headers.get("origin", "")).netloc
        except ValueError:  # as of a bracket that is not closed
            return "This host is not served here."
        if host not in self._hosts:
            return "This host is not served here."
        if "origin" in headers and page != headers.get("host"):
            return "Requests from other pages are not served."
        return ""


class _Page:
    """The page itself: its language named, no addresses of other hosts in it."""

    def __init__(self, app: ASGIApp, language: str) -> None:
        self._app, self._language = app, language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        body = bytearray()
        start: dict[str, Any] = {}

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                page = self._rewritten(bytes(body))
                MutableHeaders(raw=start["headers"])["content-length"] = str(len(page))
                sending = _with_headers(send)
                await sending(start)
                await sending({"type": "http.response.body", "body": page})

        await self._app({**scope, "headers": plain}, receive, collect)

    def _rewritten(self, page: bytes) -> bytes:
        language = self._language.encode()
        # Gradio's own words (copy, edit, …) follow the browser; here they follow the page.
        script = b"<script>for (const [name, value] of [['language', '%s'], ['languages', ['%s']]]) "
        script += b"Object.defineProperty(navigator, name, { get: () => value });</script>"
        page = _REMOTE_TAGS.sub(b"", page)
        page = page.replace(b'lang="en"', b'lang="%s"' % language, 1)
        return page.replace(b"<head>", b"<head>" + _ICON + script.replace(b"%s", language), 1)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
