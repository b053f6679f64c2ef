"""One request to another server, and its answer as it comes.

On asyncio and h11 (which uvicorn brings) alone: a general client spends several times as long on each of the
many small pieces of a stream, and that is what passing through costs.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import h11

_CONNECT_S = 10.0
_TooLong = asyncio.LimitOverrunError  # headers without end
_READ_BYTES = 1 << 16
# The line before a chunk: its size, and what may be said of it besides.
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_SIZE_BYTES = 4096


class GoneError(Exception):
    """The server does not answer, or breaks off."""


@dataclass(frozen=True)
class Upstream:
    """A server that speaks HTTP.

    Attributes:
        address: `http(s)://HOST[:PORT][/PREFIX]`.
        key: sent as `Authorization: Bearer …`, or "".
    """

    address: str
    key: str = ""

    @asynccontextmanager
    async def ask(self, method: str, route: str, body: Any = None) -> AsyncIterator[Answer]:
        """Send a request on a connection of its own; leaving the block closes it, which ends the work there.

        Args:
            method: GET, POST, …
            route: below the address, as `/v1/models`.
            body: sent as JSON, or None.

        Raises:
            GoneError: nobody answers, or the answer breaks off (within the block, too).
        """
        parts = urlsplit(self.address)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        try:
            # Not by asyncio.wait_for: up to Python 3.11 it loses a cancellation that comes as the connection
            # does, and an answer that nobody takes would stand in its place for ever.
            with anyio.fail_after(_CONNECT_S):
                reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None)
            try:
                connection = h11.Connection(h11.CLIENT)
                writer.write(_request(connection, self, method, parts.path.rstrip("/") + route, body))
                answer = Answer(connection, reader)
                await answer.begin()
                yield answer
            finally:
                writer.close()
        except (OSError, EOFError, asyncio.TimeoutError, _TooLong, h11.ProtocolError) as error:
            raise GoneError(str(error) or type(error).__name__) from error


class Answer:
    """What a server answers.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, connection: h11.Connection, reader: asyncio.StreamReader) -> None:
        self._connection, self._reader = connection, reader
        self.status = 0
        self._chunked, self._length = False, -1

    async def begin(self) -> None:
        """Read up to the end of the headers."""
        while not self.status:
            self._connection.receive_data(await self._reader.readuntil(b"\r\n\r\n"))
            event = self._connection.next_event()
            if isinstance(event, h11.Response):
                headers = dict(event.headers)
                self._chunked = headers.get(b"transfer-encoding") == b"chunked"
                self._length = int(headers.get(b"content-length", -1))
                self.status = event.status_code

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes: what one network read brought is one part."""
        read, rest, ended = self._reader.read, b"", False
        while self._chunked and not ended:
            data = await read(_READ_BYTES)
            if not data:
                raise h11.RemoteProtocolError("the answer breaks off")
            # By h11 this would take longer than all else that is done with a piece.
            part, rest, ended = _unchunked(rest + data if rest else data)
            if part:
                yield part
        left = 0 if self._chunked else self._length
        while left and (data := await read(_READ_BYTES)):
            left -= len(data)
            yield data
        if left > 0:
            raise h11.RemoteProtocolError("the answer breaks off")

    async def whole(self) -> bytes:
        """The body in one piece."""
        return b"".join([part async for part in self.parts()])


def _unchunked(data: bytes) -> tuple[bytes, bytes, bool]:
    """The chunks at the start of a chunked body, what follows them, and whether the body has ended.

    Raises:
        h11.RemoteProtocolError: it is no chunked body.
    """
    found: list[bytes] = []
    place = 0
    while size := _SIZE.match(data, place):
        begin, length = size.end(), int(size[1], 16)
        end = begin + length
        if not length:
            # Trailers may follow; the connection is closed behind them in any case.
            return b"".join(found), b"", True
        if len(data) < end + 2:
            break
        if data[end : end + 2] != b"\r\n":
            raise h11.RemoteProtocolError("a chunk is longer than it says")
        found.append(data[begin:end])
        place = end + 2
    rest = data[place:]
    if not size and (len(rest) > _SIZE_BYTES or b"\n" in rest):
        raise h11.RemoteProtocolError("the size of a chunk cannot be read")
    return found[0] if len(found) == 1 else b"".join(found), rest, False


def _request(connection: h11.Connection, server: Upstream, method: str, target: str, body: Any) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    headers = [
        ("Host", urlsplit(server.address).netloc.rpartition("@")[2]),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(data))),
    ]
    if server.key:
        headers.append(("Authorization", f"Bearer {server.key}"))
    events = (
        h11.Request(method=method, target=target, headers=headers),
        h11.Data(data=data),
        h11.EndOfMessage(),
    )
    return b"".join(connection.send(event) or b"" for event in events)
