"""Many clients, clients that leave, and the end of a server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_client import ASKED, Client, events

from komt.api.app import create_app, running
from komt.api.opening import Opening, open_backend
from komt.api.passthrough import PassThrough
from komt.api.server import bound, serving
from komt.api.settings import ServerSettings

# No end token, so that an answer lasts as long as it may: thousands of tokens.
ENDLESS = {"logit_bias": {"1": -100}, "max_tokens": 3900}


@pytest.fixture(scope="module")
def behind(gguf: Path) -> PassThrough:
    """One slot of llama.cpp."""
    backend = open_backend(str(gguf), {}, Opening(slots=1, context=4096))
    assert isinstance(backend, PassThrough)
    return backend


@pytest.fixture(scope="module")
def one_slot(behind: PassThrough) -> Iterator[Client]:
    with bound(ServerSettings(port=0)) as listener, serving(create_app([behind]), listener) as address:
        yield Client(address, "tiny")


def knock(client: Client, **fields: Any) -> socket.socket:
    """Ask, and do not wait for the answer."""
    body = json.dumps({"model": "tiny", **ASKED, **fields}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    asking = socket.create_connection((client.base_url.host, client.base_url.port))
    asking.sendall(head.encode() + body)
    return asking


def metric(client: Client, name: str) -> float:
    page = client.get(str(client.base_url).removesuffix("/v1/") + "/metrics").text
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    assert found, page
    return float(found[1])


def wait_for(client: Client, name: str, value: float, *, or_more: bool = False) -> None:
    """Until a gauge reads so."""
    limit = time.monotonic() + 300
    while (found := metric(client, name)) != value and not (or_more and found > value):
        assert time.monotonic() < limit, f"{name} stays {found}, not {value}"


def predicted_tokens(behind: PassThrough) -> int:
    """Tokens that llama.cpp has computed so far, as it counts them itself."""
    page = httpx2.get(f"{behind.address}/metrics", headers={"Authorization": f"Bearer {behind.key}"}).text
    found = re.search(r"^llamacpp:tokens_predicted_total (\d+)", page, re.MULTILINE)
    assert found, page
    return int(found[1])


def test_200_streams_at_once_queue_and_all_are_answered(client: Client):
    alone = client.chat(temperature=0, max_tokens=6).json()["choices"][0]["message"]["content"]
    with ThreadPoolExecutor(200) as pool:
        together = threading.Barrier(200)

        def ask(_: int) -> str:
            together.wait()
            told = events(client.chat(temperature=0, max_tokens=6, stream=True))
            assert told[-1] == "[DONE]"
            return "".join(event["choices"][0]["delta"].get("content", "") for event in told[:-1])

        answers = list(pool.map(ask, range(200)))
    assert answers == [alone] * 200
    assert metric(client, "komt_answers_running") == metric(client, "komt_answers_waiting") == 0


def test_a_client_that_leaves_frees_its_slot(one_slot: Client, behind: PassThrough):
    left, before = metric(one_slot, "komt_clients_left_total"), predicted_tokens(behind)
    for stream in (True, False, True, False):
        with knock(one_slot, stream=stream, **ENDLESS) as asking:
            wait_for(one_slot, "komt_answers_running", 1)
            if stream:
                asking.recv(100)
        assert one_slot.chat(max_tokens=1).status_code == 200
        wait_for(one_slot, "komt_answers_running", 0)
    assert metric(one_slot, "komt_clients_left_total") == left + 4
    assert predicted_tokens(behind) - before < 4 * ENDLESS["max_tokens"] / 2


def test_a_client_of_komts_own_engine_that_leaves_frees_its_place(over_transformers: Client):
    long = {"max_tokens": 3900, "temperature": 2, "top_p": 1, "top_k": 0}
    with knock(over_transformers, n=8, **long):
        wait_for(over_transformers, "komt_answers_running", 4)
        wait_for(over_transformers, "komt_answers_waiting", 4)
    wait_for(over_transformers, "komt_answers_waiting", 0)
    wait_for(over_transformers, "komt_answers_running", 0)
    assert over_transformers.chat(max_tokens=1).status_code == 200


def test_requests_that_never_end_hold_nobody_up(one_slot: Client):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    beginnings = (b"", head[:30], head, head + b'Content-Length: 100000\r\n\r\n{"model": "tiny"')
    place = (one_slot.base_url.host, one_slot.base_url.port)
    with ExitStack() as opened:
        for number in range(200):
            opened.enter_context(socket.create_connection(place)).sendall(beginnings[number % 4])
        assert one_slot.chat(max_tokens=1).status_code == 200
    assert one_slot.chat(max_tokens=1).status_code == 200


def test_a_client_that_leaves_the_line_is_not_answered(one_slot: Client, behind: PassThrough):
    before = predicted_tokens(behind)
    with knock(one_slot, stream=True, **ENDLESS) as first:
        first.recv(100)
        with knock(one_slot, n=8, **ENDLESS):
            wait_for(one_slot, "komt_answers_waiting", 1, or_more=True)
        wait_for(one_slot, "komt_answers_waiting", 0)
    wait_for(one_slot, "komt_answers_running", 0)
    # The first one, and what had left the line for a slot by then: of nine answers, never more than half.
    assert predicted_tokens(behind) - before < 9 * ENDLESS["max_tokens"] / 2
    assert one_slot.chat(max_tokens=1).status_code == 200


def test_a_client_that_takes_nothing_of_its_answer_is_given_up(behind: PassThrough):
    settings = ServerSettings(port=0, stalled_s=0.5)
    # The line of another server before the same engine, whose client asks for more than any buffer holds.
    backend = PassThrough("llama.cpp", behind.address, behind.models, 2, behind.key, behind.defaults)
    with bound(settings) as listener, serving(create_app([backend], settings), listener) as address:
        client = Client(address, "tiny")
        with knock(client, n=30, stream=True, **ENDLESS):
            wait_for(client, "komt_clients_left_total", 1)
            wait_for(client, "komt_answers_running", 0)
        assert client.chat(max_tokens=1).status_code == 200


def test_a_request_of_which_nothing_comes_any_more_is_given_up(behind: PassThrough):
    settings = ServerSettings(port=0, stalled_s=0.5)
    backend = PassThrough("llama.cpp", behind.address, behind.models, 2, behind.key, behind.defaults)
    with bound(settings) as listener, serving(create_app([backend], settings), listener) as address:
        place = Client(address, "tiny").base_url
        with socket.create_connection((place.host, place.port), 60) as asking:
            asking.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            assert asking.recv(12) == b"HTTP/1.1 408"


def test_beyond_the_longest_line_requests_are_sent_away(gguf: Path):
    settings = ServerSettings(port=0, most_waiting=1)
    with running(str(gguf), opening=Opening(slots=1, context=512), settings=settings) as address:
        refused = Client(address, "tiny").chat(n=20, max_tokens=400)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "5"
    assert refused.json()["error"]["code"] == "queue_full"


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_sigterm_lets_running_streams_finish_and_exits_0(gguf: Path):
    words = [
        sys.executable,
        "-m",
        "komt",
        "serve",
        str(gguf),
        "--port",
        "0",
        "--slots",
        "2",
        "--context",
        "4096",
    ]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        ready = process.stderr.readline()
        client = Client(re.findall(r"http://\S+/v1", ready)[0], "tiny")
        asked = {"model": "tiny", **ASKED, **ENDLESS, "stream": True}
        with client.stream("POST", "/chat/completions", json=asked) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert '"finish_reason":"length"' in rest[-2]
        assert len(rest) > 1000
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_an_engine_that_dies_is_told_as_such(gguf: Path):
    backend = open_backend(str(gguf), {}, Opening(context=512))
    with bound(ServerSettings(port=0)) as listener, serving(create_app([backend]), listener) as address:
        client = Client(address, "tiny")
        assert client.chat().status_code == 200
        backend.on_close()
        refused = client.chat()
        assert (refused.status_code, refused.json()["error"]["code"]) == (502, "engine_gone")
        assert client.get(f"{address.removesuffix('/v1')}/health").status_code == 503
