"""Whatever is asked: no failure of the server, always an answer of the right form, and no memory kept."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from api_client import Client
from fuzzing import Fuzzed, fuzzed


def ask(client: httpx2.Client, request: Fuzzed) -> int:
    answer = client.request(request.method, request.path, content=request.body, headers=request.headers)
    shown = f"{request}: {answer.status_code} {answer.text[:500]}"
    assert answer.status_code < 500, shown
    if answer.status_code != 200 and request.method not in {"HEAD"}:
        assert set(json.loads(answer.text)["error"]) == {"message", "type", "param", "code"}, shown
    assert "\ufffd" not in answer.text.replace("\\ufffd", ""), shown
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        assert answer.text.endswith("data: [DONE]\n\n"), shown
        assert '"error"' not in answer.text, shown
    return answer.status_code


def storm(client: Client, numbers: range) -> list[int]:
    root = str(client.base_url).removesuffix("/v1/")
    # Some ask for as many tokens as the context holds, several times over, and others wait behind them.
    with httpx2.Client(base_url=root, trust_env=False, timeout=600) as asking, ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda number: ask(asking, fuzzed(number)), numbers))


def test_300_random_requests_never_make_it_fail(client: Client):
    statuses = storm(client, range(300))
    # The generator reaches both sides: what is answered, and what is refused.
    assert statuses.count(200) > 50
    assert statuses.count(400) > 50
    assert client.chat(max_tokens=1).status_code == 200


@contextmanager
def process_of(model: Path, *options: str) -> Iterator[tuple[Client, psutil.Process]]:
    """`komt serve` in a process of its own: nothing but the server is in its memory."""
    words = [sys.executable, "-m", "komt", "serve", str(model), "--name", "tiny", "--port", "0", *options]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            found = next(re.search(r"http://\S+/v1", line) for line in process.stderr if "/v1" in line)
            assert found
            # A full pipe would hold up the server.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield Client(found[0], "tiny"), psutil.Process(process.pid)
        finally:
            process.terminate()


def with_context(folder: Path, tokens: int, place: Path) -> Path:
    """The model with a shorter context: some requests ask for all of it, several times over."""
    shutil.copytree(folder, place)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    (place / "config.json").write_text(json.dumps({**config, "max_position_embeddings": tokens}))
    return place


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["llama.cpp", "transformers"])
def test_10000_random_requests_leave_the_memory_flat(engine: str, gguf: Path, folder: Path, tmp_path: Path):
    model = gguf if engine == "llama.cpp" else with_context(folder, 1024, tmp_path / "tiny")
    # Little is remembered, so that it is soon as much as it may be.
    with process_of(model, "--context", "1024", "--bits", "32", "--slots", "4", "--cache", "2") as (
        client,
        process,
    ):
        # After these every thread has worked once.
        storm(client, range(1000, 3000))
        before = process.memory_info().rss
        storm(client, range(3000, 11_000))
        after = process.memory_info().rss
        assert after < before * 1.05, f"{before / 2**20:.1f} to {after / 2**20:.1f} MiB"
        assert client.chat(max_tokens=1).status_code == 200
