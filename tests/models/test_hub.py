"""The hub out of reach: one sentence that says what to do; what its cache holds is used."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from komt.models.catalog import CATALOG
from komt.testing import tiny_model_folder

Python = Callable[..., "subprocess.Popen[str]"]
CODE = """
from komt.errors import ModelError
from komt.models.resolve import resolve
try:
    place = resolve("acme/tiny")
    print(place.folder, place.base, place.commit)
except ModelError as error:
    print(error)
"""


@pytest.mark.parametrize("variables", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_an_unreachable_hub_is_one_sentence(python: Python, variables: dict[str, str]) -> None:
    out, err = python(CODE, **variables).communicate(timeout=120)
    first, cure = out.strip().splitlines()
    assert first.startswith("there is no folder 'acme/tiny' here, the hub cannot be reached")
    assert "hf download acme/tiny --local-dir tiny" in cure
    assert err == ""


class Refusing(http.server.BaseHTTPRequestHandler):
    """A hub that answers everything with one status."""

    status, code = 404, "RepoNotFound"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("X-Error-Code", self.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "code", "sentence", "cure"),
    [
        (404, "RepoNotFound", "no folder 'acme/tiny' here, and no model of that name on the hub", "spelling"),
        (
            401,
            "RepoNotFound",
            "no folder 'acme/tiny' here, and no model of that name on the hub",
            "hf auth login",
        ),
        (403, "GatedRepo", "only to people who have accepted its terms", "https://huggingface.co/acme/tiny"),
        (403, "", "the hub refused 'acme/tiny' (HTTP status 403)", "hf auth login"),
        (418, "", "the hub refused 'acme/tiny' (HTTP status 418)", "try again later"),
    ],
)
def test_a_refusal_says_why(python: Python, status: int, code: str, sentence: str, cure: str) -> None:
    handler = type("Handler", (Refusing,), {"status": status, "code": code})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        out, err = python(CODE, HF_ENDPOINT=address).communicate(timeout=120)
        server.shutdown()
    assert sentence in out.splitlines()[0], out + err
    assert cure in out.splitlines()[1]
    assert err == ""


def test_the_cache_is_used_offline(python: Python, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    stored = tmp_path / "hub" / "hub" / "models--acme--tiny"
    folder = tiny_model_folder(stored / "snapshots" / commit, "llama")
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(commit)
    out, _ = python(CODE, HF_HUB_OFFLINE="1").communicate(timeout=120)
    assert out.split() == [str(folder), "acme/tiny", commit]


def test_published_models_carry_the_form_they_were_trained_on() -> None:
    entries = [CATALOG.get(name) for name in CATALOG.names()]
    published = {entry.hub: entry.template for entry in entries if entry.embedded is None}
    assert published["davidkim205/komt-llama2-7b-v1"] == "response.jinja"
    assert published["davidkim205/komt-mistral-7b-v1"] == "inst.jinja"
    assert all(entry.template_text for entry in entries if entry.embedded is None)
