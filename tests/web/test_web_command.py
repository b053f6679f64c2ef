"""`komt web` through the real command line, and over a model that komt serves itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("gradio")
from built import run
from page_kit import Visit

from komt.cli import main
from komt.testing import tiny_gguf


@contextmanager
def komt_web(*words: str) -> Iterator[tuple[str, str]]:
    """The program, once it has said its address; yields that, and what it said before."""
    command = [sys.executable, "-m", "komt", "web", "--port", "0", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
        assert program.stdout
        line = before = program.stdout.readline()
        if not line.startswith("the page: "):
            line = program.stdout.readline()
        try:
            yield line.strip().removeprefix("the page: "), before
        finally:
            program.send_signal(signal.SIGINT)
            assert program.wait(30) == 0


def test_it_says_where_the_page_is_and_ends_quietly(tmp_path: Path) -> None:
    with komt_web("--runs", str(tmp_path)) as (address, _):
        assert address.startswith("http://127.0.0.1:")
        page = httpx2.get(address, headers={"accept-language": "ko"}, follow_redirects=True)
        assert (page.status_code, page.url.path) == (200, "/ko/")
        assert '<html\n\tlang="ko"' in page.text
        # What Gradio would serve besides.
        for path in ("gradio_api/file=/etc/passwd", "gradio_api/upload", "monitoring"):
            assert httpx2.get(f"{address}ko/{path}").status_code == 404
        assert httpx2.get(address, headers={"host": "evil.example"}).status_code == 403


def test_llama_cpp_s_own_page_stands_beside_it(tmp_path: Path) -> None:
    model = tiny_gguf(tmp_path / "tiny.gguf")
    with komt_web(str(model), "--runs", str(tmp_path)) as (address, before):
        there = before.removeprefix("llama.cpp's own page: ").split()[0]
        assert there != address
        page = httpx2.get(there, headers={"accept-encoding": "gzip"})
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert httpx2.get(f"{there}v1/models").status_code in {200, 401}
        assert httpx2.post(f"{there}v1/chat/completions", json={}).status_code == 401
        key = before.rstrip(")\n").rpartition(" ")[2]
        models = httpx2.get(f"{there}v1/models", headers={"authorization": f"Bearer {key}"}).json()
        assert models["data"][0]["id"] == "tiny"
        ours = httpx2.get(address, headers={"accept-language": "en"}, follow_redirects=True).text
        assert f'href=\\"{there}\\"' in ours


def test_nobody_is_asked_about_gradio_itself(tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "asked = []\n"
        "real = socket.getaddrinfo\n"
        "socket.getaddrinfo = lambda host, *a, **k: asked.append(host) or real(host, *a, **k)\n"
        "from pathlib import Path\n"
        "from komt.web.app import running\n"
        "from komt.web.runs import Runs\n"
        f"with running(None, Runs(Path({str(tmp_path)!r})), Path('v')): pass\n"
        "print(sorted(set(map(str, asked)) - {'127.0.0.1', 'localhost'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["web", "--runs", str(tmp_path), "--port", str(port)]) == 2
    assert f"port {port} cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["x", "--api", "http://127.0.0.1:1/v1"], "a model and --api were both given"),
        (["--api", "127.0.0.1:8000"], "not an http address"),
        (["--port", "70000"], "--port 70000: 0 to 65535"),
    ],
)
def test_wrong_words_are_told(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["web", *words]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.browser
def test_a_model_that_komt_serves_answers_in_the_page(browser: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    model = tiny_gguf(tmp_path / "tiny.gguf")
    run(tmp_path / "runs" / "first")
    with komt_web(str(model), "--runs", str(tmp_path / "runs")) as (address, _):
        visit = Visit(browser, address)
        page = visit.page
        expect(page.get_by_label("모델", exact=True)).to_have_value("tiny")
        page.get_by_role("button", name="설정").click()
        page.locator("#setting-max_tokens input[type=number]").fill("16")
        page.locator("#setting-max_tokens input[type=number]").press("Tab")
        page.get_by_label("보낼 글").fill("안녕?")
        page.get_by_label("보낼 글").press("Enter")
        expect(page.locator("#counts")).to_contain_text("답 16토큰")
        expect(page.locator("#counts")).to_contain_text("최대 길이에 이르러 끊겼습니다")
        visit.context.close()
    assert visit.errors == []
    assert visit.hosts() == {"127.0.0.1"}
