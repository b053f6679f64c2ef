"""The command line of `komt serve`."""

import socket
import unicodedata

import pytest

from komt.api.opening import Opening, open_backend, short_name
from komt.api.server import bound
from komt.api.settings import ServerSettings
from komt.cli import main
from komt.commands.serve import _host
from komt.errors import ModelError, UsageError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x.gguf", "korquad"], "'korquad' is not NAME=ADAPTER"),
        (["x.gguf", "a=b", "a=c"], "two adapters are called 'a'"),
        (["x.gguf", "--port", "70000"], "--port is 0 to 65535"),
        (["x.gguf", "--max-tokens", "0"], "--max-tokens at least 1"),
        (["x.gguf", "--cors", "*"], "every web page"),
        (["x.gguf", "--api-key", ""], "a key is empty"),
        (["x.gguf", "--allow-host", "[fd00"], "--allow-host [fd00: no name of a host"),
        (["gemma-3-27om"], "did you mean 'gemma-3-270m'"),
        (["x.gguf", "--engine", "transformers"], "a GGUF file"),
        (["http://127.0.0.1:9/v1", "a=b"], "has its own adapters"),
        (["http://127.0.0.1:9/v1", "--engine", "vllm"], "has its own engine"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_loaded(words, said, capsys):
    assert main(["serve", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Komt.Example", "komt.example"),
        ("komt.example:8443", "komt.example"),
        ("https://komt.example/v1", "komt.example"),
        ("[fd00::1]:80", "[fd00::1]"),
    ],
)
def test_a_further_name_may_be_written_with_a_port_or_as_an_address(word, name):
    assert ServerSettings(hosts=(_host(word),)).knows_host(name)


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "gemma-3-270m", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err


def test_connections_find_out_when_their_client_is_gone_without_a_word():
    with bound(ServerSettings(port=0)) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            connection, _ = listener.accept()
            with connection:
                assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                if hasattr(socket, "TCP_KEEPIDLE"):
                    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


def test_an_address_where_nothing_answers_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ModelError, match="no model answers there"):
        open_backend(f"http://127.0.0.1:{port}/v1", {}, Opening())


def test_a_model_is_called_by_the_last_part_of_its_path(tmp_path, monkeypatch):
    (tmp_path / "runs" / "sample").mkdir(parents=True)
    (tmp_path / "my-Q4_K_M.gguf").touch()
    monkeypatch.chdir(tmp_path / "runs" / "sample")
    assert short_name(".") == "sample"
    assert short_name("../../runs/sample/") == "sample"
    assert short_name(str(tmp_path / "my-Q4_K_M.gguf")) == "my-Q4_K_M"
    assert short_name("gemma-3-270m") == "gemma-3-270m"
    assert short_name("org/name") == "org/name"
    (tmp_path / unicodedata.normalize("NFD", "내것")).mkdir()
    assert short_name(str(tmp_path / unicodedata.normalize("NFD", "내것"))) == "내것"


def test_another_server_of_this_api_is_passed_through_with_its_own_key(gguf, monkeypatch):
    from api_client import Client

    from komt.api.app import running

    settings = ServerSettings(port=0, keys=("upstream-key",))
    with running(str(gguf), opening=Opening(context=512), settings=settings) as inner:
        with pytest.raises(ModelError, match="KOMT_UPSTREAM_KEY"):
            open_backend(inner, {}, Opening())
        monkeypatch.setenv("KOMT_UPSTREAM_KEY", "upstream-key")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # of no use here, first or later
        with running(inner, opening=Opening(name="outer")) as address:
            client = Client(address, "outer")
            answer = client.chat(temperature=0, n=2).json()
            assert answer["model"] == "outer"
            assert answer["usage"]["completion_tokens"] == 24
            assert len(client.complete(logprobs=2).json()["choices"][0]["logprobs"]["top_logprobs"][0]) == 2
            refused = client.chat(messages=[{"role": "user", "content": "가나다라 " * 900}])
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
        with pytest.raises(UsageError, match="no model 'x' there"):
            open_backend(f"{inner}#x", {}, Opening())
