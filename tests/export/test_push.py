"""Pushing to a local server that plays the hub: terms first, then every file, byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from komt.errors import UsageError
from komt.export.card import SourceFacts
from komt.export.push import (
    PushError,
    check_acknowledged,
    check_reachable,
    check_repository,
    files_of,
    terms_of,
    upload,
)

TOKEN = "hf_of_a_test"


class Hub(ThreadingHTTPServer):
    """So much of the hub as an upload needs: https://huggingface.co/docs/hub/api."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.created: list[dict[str, Any]] = []
        self.blobs: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.refusal = 0


class _Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if self.path != "/api/whoami-v2":
            self._send({"error": "no such repository"}, 404)
            return
        self._send(
            {"name": "tester", "type": "user", "orgs": []} if known else {"error": "who?"},
            200 if known else 401,
        )

    def do_PUT(self) -> None:
        data = self._body()
        self.server.blobs[hashlib.sha256(data).hexdigest()] = data
        self._send({})

    def do_POST(self) -> None:
        hub, body = self.server, self._body()
        if self.path == "/api/repos/create":
            if hub.refusal:
                self._send({"error": "refused"}, hub.refusal)
                return
            hub.created.append(json.loads(body))
            self._send({"url": f"{hub.address}/team/model"})
        elif self.path == "/api/validate-yaml":
            self._send({"errors": [], "warnings": []})
        elif self.path == "/api/models/team/model/preupload/main":
            self._send({"files": [_mode(file) for file in json.loads(body)["files"]]})
        elif self.path == "/team/model.git/info/lfs/objects/batch":
            self._send(
                {"transfer": "basic", "objects": [self._action(one) for one in json.loads(body)["objects"]]}
            )
        elif self.path == "/api/models/team/model/commit/main":
            self._commit(body)
            self._send({"commitUrl": f"{hub.address}/team/model/commit/1", "commitOid": "1" * 40})
        else:
            self._send({"error": self.path}, 404)

    def _action(self, one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "actions": {"upload": {"href": f"{self.server.address}/blob"}}}

    def _commit(self, body: bytes) -> None:
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.server.files[value["path"]] = self.server.blobs[value["oid"]]


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    large = file["path"].endswith(".safetensors")
    return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("---\nlicense: gemma\n---\n\n# 모델\n", encoding="utf-8")
    (tmp_path / "out" / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    return tmp_path / "out"


def test_every_file_arrives_byte_for_byte_in_a_private_repository(hub: Hub, folder: Path) -> None:
    assert check_reachable() == "tester"
    assert upload(folder, "team/model") == f"{hub.address}/team/model"
    assert hub.files == {name: (folder / name).read_bytes() for name, _ in files_of(folder)}
    assert hub.created[0].get("visibility") == "private" or hub.created[0].get("private") is True
    assert (hub.created[0]["organization"], hub.created[0]["name"]) == ("team", "model")


def test_every_file_is_listed_with_its_size(folder: Path) -> None:
    assert files_of(folder) == [("README.md", 33), ("model.safetensors", 10240)]


def test_without_a_login_nothing_is_sent(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(PushError, match="hf auth login"):
        check_reachable()


def test_a_refusal_tells_how_to_send_the_files_later(hub: Hub, folder: Path) -> None:
    hub.refusal = 403
    with pytest.raises(PushError) as caught:
        upload(folder, "team/model")
    assert f"hf upload team/model {folder}" in str(caught.value)
    assert "token with the right to write" in str(caught.value)
    assert hub.files == {}


def test_offline_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PushError, match="HF_HUB_OFFLINE is set: nothing was sent"):
        check_reachable()


def test_an_unreachable_hub_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(PushError, match=r"cannot be reached at http://127\.0\.0\.1:9"):
        check_reachable()


def source(licence: str, terms: str = "") -> SourceFacts:
    return SourceFacts("s", "S", ("s.t",), 10, "native", licence, terms)


@pytest.mark.parametrize("licence", ["CC0-1.0", "CC BY-SA 4.0", "Apache-2.0", "MIT"])
def test_open_licences_ask_for_no_word(licence: str) -> None:
    assert terms_of([source(licence)], tuned=True, known=True) == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (source("AI Hub terms of use", "may not be handed on"), "may not be handed on"),
        (source("CC BY-NC-ND 4.0"), "not openly licensed: CC BY-NC-ND 4.0"),
        (source("MIT (README: for non-commercial experiments only)"), "not openly licensed: MIT (README"),
        (source("not stated"), "not openly licensed: not stated"),
        (source("own"), "own data: its terms are known to its owner alone"),
    ],
)
def test_any_other_term_must_be_answered_for(given: SourceFacts, reason: str) -> None:
    terms = terms_of([given], tuned=True, known=True)
    with pytest.raises(UsageError) as caught:
        check_acknowledged(terms, acknowledged=False)
    assert f"s: {reason}" in str(caught.value)
    check_acknowledged(terms, acknowledged=True)


def test_unknown_data_must_be_answered_for_and_an_untuned_model_has_none() -> None:
    assert terms_of([], tuned=True, known=False)[0].source == "training data"
    assert terms_of([], tuned=False, known=False) == []
    check_acknowledged([], acknowledged=False)


@pytest.mark.parametrize("name", ["model", "a/b/c", "../x", "org/", "https://huggingface.co/a/b"])
def test_a_repository_is_named_org_and_name(name: str) -> None:
    check_repository("team/model-1.0")
    with pytest.raises(UsageError, match="ORG/NAME"):
        check_repository(name)
