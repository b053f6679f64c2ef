"""llama.cpp's server inside the process."""

import os
import signal
import socket
import struct
import sys
from pathlib import Path

import httpx2
import pytest

from komt.errors import ModelError
from komt.models.gguf_header import read_header
from komt.models.llama_cpp import start
from komt.testing import tiny_gguf


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_gguf(tmp_path_factory.mktemp("gguf") / "작은 모델.gguf")


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir())) if sys.platform == "linux" else 0


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    sum(range(1000))  # Python sees to signals between instructions


def complete(server, **body):
    asked = {"prompt": [2, 20, 21, 22], "temperature": 0, "n_predict": 8, "return_tokens": True, **body}
    return server.post("/completion", asked)


def test_a_server_answers_ids_with_ids_and_streams_the_same(tiny):
    with start(tiny, context=256, slots=2, threads=1) as server:
        whole = complete(server)
        body = {"prompt": [2, 20, 21, 22], "temperature": 0, "n_predict": 8, "return_tokens": True}
        events = list(server.stream("/completion", body))
        assert 0 < len(whole["tokens"]) <= 8
        assert events[-1]["tokens_predicted"] == len(whole["tokens"])
        assert whole["content"].startswith("".join(event["content"] for event in events))
        assert server.context_tokens == 256
        assert server.get("/props")["total_slots"] == 2


def test_it_listens_on_loopback_with_a_key_of_its_own_and_names_no_path(tiny):
    with start(tiny, context=256, threads=1) as server, start(tiny, context=256, threads=1) as other:
        assert server.address.startswith("http://127.0.0.1:")
        assert server.key != other.key
        assert len(server.key) >= 32
        assert httpx2.get(f"{server.address}/props").status_code == 401
        headers = {"Authorization": f"Bearer {server.key}", "Origin": "https://example.org"}
        answer = httpx2.get(f"{server.address}/v1/models", headers=headers)
        assert answer.status_code == 200
        assert answer.headers.get("access-control-allow-origin", "") == ""  # which no browser takes
        assert str(tiny.parent) not in answer.text


def test_closing_frees_port_and_threads_and_says_so_to_later_callers(tiny):
    before = threads()
    server = start(tiny, context=256, threads=1)
    port = int(server.address.rpartition(":")[2])
    server.close()
    server.close()
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))
    assert threads() <= before + 1
    with pytest.raises(ModelError, match="no longer answers"):
        server.get("/props")
    with pytest.raises(ModelError, match="no longer answers"):
        list(server.stream("/completion", {"prompt": "a"}))


def test_signals_stay_with_python(tiny):
    found = []
    before = signal.signal(signal.SIGTERM, lambda *_: found.append("term"))
    # A shell's background job ignores SIGINT, and hands that on.
    interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with start(tiny, context=256, threads=1) as server:
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt):
                interrupt()
            assert complete(server)["tokens"]
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupted)
    assert found == ["term"]


def test_a_server_is_silent(tiny, capfd):
    with start(tiny, context=256, threads=1) as server:
        complete(server)
        with pytest.raises(ModelError, match="refuses"):
            complete(server, prompt=[5] * 400)
    assert capfd.readouterr() == ("", "")


def test_requests_that_are_refused_say_why(tiny):
    with start(tiny, context=256, threads=1) as server:
        with pytest.raises(ModelError, match="context"):
            complete(server, prompt=[5] * 400)
        with pytest.raises(ModelError, match="context"):
            list(server.stream("/completion", {"prompt": [5] * 400}))
        with pytest.raises(ModelError, match="adapters here: none"):
            server.lora("x")
        assert server.lora(None) == []


def write_broken(tiny, path, fault):
    data = bytearray(tiny.read_bytes())
    if fault == "page":
        data = bytearray(b"<!doctype html>")
    elif fault == "short":
        data = data[:-1000]
    elif fault == "head":
        data = data[:300]
    elif fault == "version":
        data[4:8] = struct.pack("<I", 9)
    elif fault == "architecture":
        data = data.replace(b"llama", b"lumma")
    elif fault == "tensors":
        data = data.replace(b"blk.0.attn_q.weight", b"blk.0.attn_u.weight")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("page", "not a GGUF file: it begins with b'<!do'"),
        ("short", r"cut off or damaged: [\d,]+ bytes of [\d,]+"),
        ("head", "its head is not whole"),
        ("version", "GGUF of version 9"),
        ("architecture", "does not know the architecture 'lumma'"),
        ("tensors", r"cannot load the model: .*attn_q"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_named_with_the_reason(tiny, tmp_path, fault, message, capfd):
    path = write_broken(tiny, tmp_path / "broken.gguf", fault)
    with pytest.raises(ModelError, match=message) as caught:
        start(path, context=256, threads=1)
    assert str(path) in caught.value.where
    assert caught.value.cure
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_a_plain_error(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        start(tmp_path / "none.gguf")


def test_a_model_is_no_adapter(tiny):
    with pytest.raises(ModelError, match="is a whole model, and an adapter is wanted"):
        start(tiny, adapters={"x": tiny})


def test_the_header_tells_architecture_context_and_cache(tiny):
    header = read_header(tiny)
    assert (header.architecture, header.kind, header.context_tokens) == ("llama", "model", 4096)
    assert header.cache_bytes == 3 * 2 * (8 + 8) * 2
    assert header.values["tokenizer.ggml.tokens"] > 400
