"""In front of everything: whose request it is, and whether it may be looked at."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from komt.api.errors import ApiError
from komt.api.replies import dumps
from komt.api.settings import ServerSettings

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?")
# Says only whether the server lives.
_OPEN = ("/health",)
# Of a body that is too long so much is still taken in, so that its sender reads the answer.
_DRAINED_BYTES = 64 << 20


class Guard:
    """Middleware: Host, Origin and key are checked before a request is read.

    Host and Origin are what a page of a strange site cannot forge: a name that was pointed at this machine
    (DNS rebinding) shows in the one, a request across sites in the other.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings
        self._keys = [_digest(key) for key in settings.keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except ApiError as error:
            await send_error(error, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        host = _only(scope, b"host")
        match = _HOST.fullmatch(host or "")
        if not match or not self._settings.knows_host(match["name"].lower()):
            raise ApiError(
                403,
                "the Host header does not name this server; "
                "if it is reached by another name, start it with --allow-host NAME",
                code="host_not_allowed",
            )
        origin = _only(scope, b"origin")
        if origin is not None and not self._settings.knows_origin(origin, host or ""):
            raise ApiError(
                403,
                "pages of this origin may not use this server; to allow them, start it with --cors ORIGIN",
                code="origin_not_allowed",
            )
        preflight = scope["method"] == "OPTIONS" and origin is not None
        if self._keys and not preflight and scope["path"] not in _OPEN:
            self._check_key(_only(scope, b"authorization") or "")

    def _check_key(self, header: str) -> None:
        scheme, _, given = header.partition(" ")
        digest = _digest(given.strip() if scheme.lower() == "bearer" else "")
        # Every key is compared, each in the same time whatever it is.
        same = [hmac.compare_digest(digest, key) for key in self._keys]
        if not any(same):
            raise ApiError(
                401,
                "the API key is missing or wrong; send it as the header Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


async def send_error(error: ApiError, send: Send) -> None:
    """Answer with an error."""
    await send_json(error.status, error.body(), send, error.headers)


async def send_json(
    status: int,
    value: object,
    send: Callable[[Message], Awaitable[None]],
    headers: dict[str, str] | None = None,
) -> None:
    """Answer with JSON."""
    body = dumps(value)
    found = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *((name.lower().encode(), text.encode("latin-1")) for name, text in (headers or {}).items()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive, most_bytes: int, stalled_s: float) -> bytes | None:
    """A request's body, or None where its sender left.

    Raises:
        ApiError: 413, it is too long; 408, nothing came of it for so many seconds.
    """
    chunks, size = [], 0
    while True:
        message = await _next(receive, stalled_s)
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= most_bytes:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body") or size > _DRAINED_BYTES:
            break
    if size > most_bytes:
        raise ApiError(
            413,
            f"the request is longer than the {most_bytes:,} bytes this server takes",
            code="body_too_large",
        )
    return b"".join(chunks)


async def _next(receive: Receive, stalled_s: float) -> Message:
    """What comes next of a request: one that never ends would hold up the end of the server."""
    try:
        with anyio.fail_after(stalled_s):
            return await receive()
    except TimeoutError:
        raise ApiError(
            408, f"nothing of the request came for {stalled_s:g} seconds", code="request_timeout"
        ) from None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _only(scope: Scope, name: bytes) -> str | None:
    """A header that may stand once.

    Raises:
        ApiError: it stands there several times.
    """
    found = [value for key, value in scope["headers"] if key == name]
    if len(found) > 1:
        raise ApiError(
            400, f"the header {name.decode()} stands there {len(found)} times", code="invalid_header"
        )
    return found[0].decode("latin-1") if found else None
