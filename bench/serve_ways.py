"""The servers that `serve.py` compares, each a process of its own."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from serve_client import Server, asked_of

SLOTS = 8
# Gemma's end tokens are forbidden, where a server lets them be, so that all answers are of one length.
ENDLESS = {"logit_bias": {"1": -100, "106": -100}}
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
