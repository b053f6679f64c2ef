"""The client of `serve.py`: what is asked of a server, and how long its answer takes."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

QUESTIONS = (
    "서울의 봄 날씨를 설명해 주세요.",
    "김치를 담그는 순서를 알려 주세요.",
    "한글이 만들어진 까닭을 말해 주세요.",
    "기차 여행의 좋은 점을 적어 주세요.",
    "바다와 산의 다른 점은 무엇인가요?",
    "아침 운동이 몸에 주는 영향을 쓰세요.",
    "도서관에서 지켜야 할 예절은 무엇인가요?",
    "고양이를 처음 기르는 사람에게 조언해 주세요.",
)
# A piece of an answer with text in it.
SAYS = re.compile(rb'"content": ?"[^"]')


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        address: with /v1.
        key: or "".
        model: what requests name.
        extras: fields of each request.
    """

    address: str
    key: str
    model: str
    extras: dict[str, Any]


def ask(server: Server, question: str, tokens: int) -> tuple[float, int]:
    """One streamed answer: seconds to its first text, and its tokens.

    By a bare socket, and read through at the end only: the client shares the cores with what is measured, and
    a general one takes about as much of them as the server does.
    """
    parts = urlsplit(server.address)
    began, first, heard = time.perf_counter(), 0.0, bytearray()
    with socket.create_connection((parts.hostname, parts.port), timeout=600) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(request(server, parts.path, question, tokens))
        while part := line.recv(1 << 16):
            heard += part
            if not first and SAYS.search(heard):
                first = time.perf_counter() - began
    return first, told(bytes(heard))


def request(server: Server, path: str, question: str, tokens: int) -> bytes:
    """The bytes that ask for an answer."""
    body = {
        "model": server.model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **server.extras,
    }
    data = json.dumps(body).encode()
    head = [
        f"POST {path}/chat/completions HTTP/1.1",
        f"Host: {urlsplit(server.address).netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        "Connection: close",
    ]
    if server.key:
        head.append(f"Authorization: Bearer {server.key}")
    return "\r\n".join([*head, "", ""]).encode() + data


def told(heard: bytes) -> int:
    """How many tokens an answer had: as the server says, else as many as it had pieces."""
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), heard[:1000]
    if b"chunked" in head.lower():
        body = b"".join(chunks(body))
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
    assert not any("error" in event for event in events), events
    count = next((n for event in events if (n := (event.get("usage") or {}).get("completion_tokens"))), 0)
    said = [choice["delta"] for event in events for choice in event.get("choices") or []]
    return int(count) or sum(bool((delta or {}).get("content")) for delta in said)


def chunks(body: bytes) -> Iterator[bytes]:
    """The chunks of a body, by HTTP/1.1."""
    size = -1
    while size:
        line, _, body = body.partition(b"\r\n")
        size = int(line, 16)
        yield body[:size]
        body = body[size + 2 :]


def asked_of(streams: int) -> list[str]:
    """What is asked by so many streams: two questions each."""
    return [f"{question} ({turn})" for turn in range(2) for question in QUESTIONS[:streams]]
