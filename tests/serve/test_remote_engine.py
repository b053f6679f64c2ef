"""Addresses as engines: a real server's answers, and what befalls a client of a poor one."""

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from komt.errors import ModelError, UsageError
from komt.example import Message
from komt.models.llama_cpp import start
from komt.serve.engine import Settings
from komt.serve.llama_cpp_engine import LlamaCppEngine
from komt.serve.loading import load_engine
from komt.serve.remote_engine import RemoteEngine
from komt.testing import tiny_gguf

ASK = (Message("user", "고양이는 왜 물을 싫어하나요?"),)
MODELS = {"data": [{"id": "하나"}]}


def chat(text, finish="stop"):
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}]}


@pytest.fixture
def poor():
    """A server that answers as it is told: (status, JSON or bytes, headers) in turn."""
    answers: deque = deque()
    asked: list = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            self.do_POST()

        def do_POST(self):
            size = int(self.headers.get("content-length") or 0)
            asked.append(
                (
                    self.path,
                    json.loads(self.rfile.read(size) or "null"),
                    {name.lower(): value for name, value in self.headers.items()},
                )
            )
            status, body, headers = answers.popleft()
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/v1"

    def tell(status, body, **headers):
        answers.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    yield address, tell, asked
    server.shutdown()
    server.server_close()


def connected(poor, **options) -> RemoteEngine:
    address, tell, _ = poor
    tell(200, MODELS)
    return RemoteEngine(address, **options)


def test_answers_and_streams_are_those_of_the_server(tmp_path):
    with start(tiny_gguf(tmp_path / "작은.gguf"), context=512, slots=2, threads=1) as server:
        here = LlamaCppEngine(server)
        engine = load_engine(f"{server.address}/v1", api_key=server.key)
        assert engine.model == "작은"
        [expected] = here.answer([ASK], max_new_tokens=12)
        done: list[int] = []
        found = engine.answer([ASK, ASK], max_new_tokens=12, on_done=done.append)
        assert {(answer.text, answer.ended) for answer in found} == {(expected.text, expected.ended)}
        assert sorted(done) == [0, 1]
        settings = Settings(temperature=0, max_new_tokens=12)
        assert "".join(engine.stream(ASK, settings=settings)) == "".join(here.stream(ASK, settings=settings))
        engine.takes_ids = True
        assert engine.generate([here.prompt_ids(ASK)], max_new_tokens=12)[0].text == expected.text
        with pytest.raises(ModelError, match="status 401"):
            load_engine(f"{server.address}/v1")
        with pytest.raises(UsageError, match="serves no model '큰'"):
            load_engine(f"{server.address}/v1#큰", api_key=server.key)
        engine.close()


def test_the_key_comes_from_the_environment_and_is_never_shown(poor, monkeypatch):
    _, tell, asked = poor
    monkeypatch.setenv("KOMT_API_KEY", "geheim-123")
    engine = connected(poor)
    tell(401, {"error": {"message": "no"}})
    with pytest.raises(ModelError, match="status 401: no") as caught:
        engine.answer([ASK], max_new_tokens=3)
    assert "--api-key" in caught.value.cure
    assert "geheim" not in str(caught.value)
    assert [headers["authorization"] for *_, headers in asked] == ["Bearer geheim-123"] * 2


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(poor):
    _, tell, asked = poor
    waited: list[float] = []
    engine = connected(poor, wait=waited.append)
    tell(429, {"error": "busy"}, retry_after="3")
    tell(503, b"")
    tell(200, chat("예"))
    [answer] = engine.answer([ASK], max_new_tokens=3)
    assert (answer.text, answer.ended, waited) == ("예", True, [3.0, 2.0])
    for _ in range(4):
        tell(503, b"gone")
    with pytest.raises(ModelError, match="status 503"):
        list(engine.stream(ASK))
    before = len(asked)
    tell(500, {"error": {"message": "kaputt"}})
    with pytest.raises(ModelError, match="status 500: kaputt"):
        engine.answer([ASK], max_new_tokens=3)
    assert len(asked) == before + 1


def test_a_field_that_a_server_refuses_is_left_out_from_then_on(poor):
    _, tell, asked = poor
    engine = connected(poor)
    tell(400, {"error": {"message": "Unrecognized request argument supplied: top_k"}})
    stream = b'data: {"choices": [{"delta": {"content": "\xea\xb0\x80"}}]}\n\ndata: [DONE]\n\n'
    tell(200, stream)
    tell(200, stream)
    assert list(engine.stream(ASK)) == list(engine.stream(ASK)) == ["가"]
    assert ["top_k" in body for _, body, _ in asked[1:]] == [True, False, False]
    tell(400, {"error": {"message": "max_tokens is too large"}})
    with pytest.raises(ModelError, match="too large"):
        list(engine.stream(ASK))


def test_events_are_read_however_they_are_spaced(poor):
    engine = connected(poor)
    poor[1](200, b'data:{"choices":[{"delta":{"content":"\xea\xb0\x80"}}]}\r\n\r\ndata:[DONE]\r\n\r\n')
    assert list(engine.stream(ASK)) == ["가"]


def test_broken_answers_are_plain_errors(poor):
    address, tell, _ = poor
    for status, body, message in (
        (200, b"<html>", "does not answer as OpenAI"),
        (200, {"object": "list"}, "does not answer as OpenAI"),
        (404, b"nothing", "status 404"),
        (200, {"data": []}, "serves no model"),
    ):
        tell(status, body)
        with pytest.raises(ModelError, match=message):
            RemoteEngine(address)
    tell(200, {"data": [{"id": "하나"}, {"id": "둘"}]})
    with pytest.raises(UsageError, match="several models") as caught:
        RemoteEngine(address)
    assert f"{address}#둘" in caught.value.cure
    engine = connected(poor)
    tell(200, b'data: {"error": {"message": "out of memory"}}\n\n')
    with pytest.raises(ModelError, match="broke off: out of memory"):
        list(engine.stream(ASK))
    tell(200, b'data: {"choices": []}\n\n', content_length="999")
    with pytest.raises(ModelError, match="in the middle of an answer"):
        list(engine.stream(ASK))
    tell(200, b'data: {"choices": [}\n\n')
    with pytest.raises(ModelError, match="does not answer as OpenAI"):
        list(engine.stream(ASK))
    tell(200, {"choices": []})
    with pytest.raises(ModelError, match="does not answer as OpenAI"):
        engine.answer([ASK], max_new_tokens=2)


def test_what_an_address_cannot_do_is_said(poor):
    engine = connected(poor)
    with pytest.raises(ModelError, match="tells no token ids"):
        engine.prompt_ids(ASK)
    with pytest.raises(ModelError, match="tells no token ids"):
        engine.generate([[5]], max_new_tokens=2)
    assert engine.loglikelihood is None
    address = poor[0]
    with pytest.raises(UsageError, match="is an address, which the engine transformers does not take"):
        load_engine(address, engine="transformers")
    with pytest.raises(UsageError, match="takes no adapters"):
        load_engine(address, adapters={"a": "b"})
    with pytest.raises(UsageError, match="no address"):
        RemoteEngine("http://")
    with pytest.raises(ModelError, match=r"nothing answers at http://127\.0\.0\.1:1/v1"):
        RemoteEngine("http://127.0.0.1:1/v1")
