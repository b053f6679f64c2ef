"""The client of servers behind the API, against a bare socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from komt.api.upstream import GoneError, Upstream, _unchunked


def talk(answer: bytes, ask: Callable[[Upstream], object]) -> tuple[object, bytes]:
    """Ask a server that gives these bytes and hangs up; returns what came of it, and what the server read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(1 << 16))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        told = ask(Upstream(f"http://127.0.0.1:{server.getsockname()[1]}/prefix", "the-key"))
        thread.join()
    return told, heard[0]


def read(upstream: Upstream) -> tuple[int, bytes]:
    async def run() -> tuple[int, bytes]:
        async with upstream.ask("POST", "/v1/x", {"질문": "가"}) as answer:
            return answer.status, await answer.whole()

    return asyncio.run(run())


def test_a_request_is_sent_as_json_with_the_key_and_the_answer_read_whole():
    chunked = b"HTTP/1.1 418 Teapot\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    told, heard = talk(chunked, read)
    assert told == (418, b"abcde")
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /prefix/v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Authorization: Bearer the-key" in head
    assert body == b'{"\\uc9c8\\ubb38": "\\uac00"}'


def test_chunks_are_joined_wherever_the_network_parts_them():
    data = b"3\r\nabc\r\nA;x=y\r\n0\r\n\r\n45678\r\n1 \r\n!\r\n0\r\nTrailer: x\r\n\r\n"
    for size in range(1, len(data) + 1):
        found, rest, ended = b"", b"", False
        for place in range(0, len(data), size):
            if not ended:
                part, rest, ended = _unchunked(rest + data[place : place + size])
                found += part
        assert (found, ended) == (b"abc0\r\n\r\n45678!", True)


def test_an_answer_without_a_length_ends_with_the_connection():
    assert talk(b"HTTP/1.1 200 OK\r\n\r\nall of it", read)[0] == (200, b"all of it")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 9999,
    ],
)
def test_a_server_that_breaks_off_is_gone(answer: bytes):
    with pytest.raises(GoneError):
        talk(answer, read)


def test_where_nobody_listens_nobody_is():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(GoneError):
        read(Upstream(f"http://127.0.0.1:{port}"))


def test_a_cancellation_that_comes_with_the_connection_is_not_lost(monkeypatch: pytest.MonkeyPatch):
    """asyncio.wait_for loses it up to Python 3.11, and an answer that nobody takes would go on."""
    connect = asyncio.open_connection

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def run() -> bool:
        async def connect_and_leave(*where: Any, **how: Any) -> Any:
            pair = await connect(*where, **how)
            asking.cancel()
            return pair

        async def ask(upstream: Upstream) -> bytes:
            async with upstream.ask("GET", "/") as found:
                return await found.whole()

        monkeypatch.setattr(asyncio, "open_connection", connect_and_leave)
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            asking = asyncio.ensure_future(ask(Upstream(f"http://127.0.0.1:{port}")))
            await asyncio.wait({asking})
            return asking.cancelled()

    assert asyncio.run(run())
