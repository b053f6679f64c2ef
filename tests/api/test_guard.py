"""Whose requests are looked at. One test per line of safety."""

import hmac
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from api_client import ASKED, Client

from komt.api import guard
from komt.api.app import running
from komt.api.errors import without_paths
from komt.api.opening import Opening, open_backend
from komt.api.settings import ServerSettings
from komt.cli import main
from komt.errors import ModelError, UsageError

KEYS = ("first-key-0123456789", "second-key-0123456789")
PAGE = "https://page.example"


@pytest.fixture(scope="module")
def locked(gguf: Path) -> Iterator[Client]:
    """A server with two keys, one page's origin, and a further name."""
    settings = ServerSettings(port=0, keys=KEYS, cors=(PAGE,), hosts=("komt.example",))
    with running(str(gguf), opening=Opening(context=512), settings=settings) as address:
        yield Client(address, "tiny", headers={"Authorization": f"Bearer {KEYS[1]}"})


def root(client: Client) -> str:
    return str(client.base_url).removesuffix("/v1/")


def test_it_listens_on_loopback_unless_told_otherwise(over_llama_cpp: Client):
    assert ServerSettings().loopback
    port = over_llama_cpp.base_url.port
    assert over_llama_cpp.base_url.host == "127.0.0.1"
    with socket.socket() as other, pytest.raises(OSError):
        other.connect(("127.0.0.2", port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_elsewhere_it_is_refused_at_the_start_without_a_key(host, gguf, capsys, monkeypatch):
    monkeypatch.delenv("KOMT_API_KEY", raising=False)
    assert main(["serve", str(gguf), "--host", host]) == 2
    assert "there is no key" in capsys.readouterr().err
    assert ServerSettings(host, keys=KEYS).host == host


def test_a_key_that_no_header_can_carry_is_refused():
    for key in ("", "with space", "열쇠", "new\nline"):
        with pytest.raises(UsageError, match="key"):
            ServerSettings(keys=(key,))


def test_without_a_right_key_nothing_is_answered_but_health(locked: Client):
    for header in (
        {},
        {"Authorization": f"Bearer {KEYS[0]}x"},
        {"Authorization": KEYS[0]},
        {"x-api-key": KEYS[0]},
    ):
        with httpx2.Client(base_url=root(locked), trust_env=False, headers=header) as stranger:
            for path in ("/v1/models", "/metrics", "/v1/nothing"):
                refused = stranger.get(path)
                assert refused.status_code == 401
                assert refused.json()["error"]["code"] == "invalid_api_key"
            assert stranger.post("/v1/chat/completions", json=ASKED).status_code == 401
            assert stranger.get("/health").status_code == 200
    for key in KEYS:
        assert locked.get("/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_keys_are_compared_all_and_in_constant_time(locked: Client, monkeypatch):
    compared, real = [], hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(guard.hmac, "compare_digest", compare)
    for given in (KEYS[0], "short", "x" * 1000):
        locked.get("/models", headers={"Authorization": f"Bearer {given}"})
    # Digests of one length, whatever was given, and every key also after one that fits.
    assert compared == [(32, 32)] * 6


def test_keys_are_never_shown(locked: Client, capfd):
    for header in (KEYS[0], "wrong-key-0123456789"):
        answers = [
            locked.get("/models", headers={"Authorization": f"Bearer {header}"}),
            locked.get("/nothing", headers={"Authorization": f"Bearer {header}"}),
            locked.post("/chat/completions", content=b"{", headers={"Authorization": f"Bearer {header}"}),
        ]
        assert not any(header in answer.text or header in str(answer.headers) for answer in answers)
    assert capfd.readouterr() == ("", "")
    assert KEYS[0] not in repr(ServerSettings(keys=KEYS))


def test_no_page_may_read_answers_unless_its_origin_was_named(over_llama_cpp: Client, locked: Client):
    ask = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    for answer in (over_llama_cpp.get("/models"), over_llama_cpp.options("/models", headers=ask)):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert locked.options("/models", headers=ask).headers["access-control-allow-origin"] == PAGE
    assert locked.get("/models", headers={"Origin": PAGE}).headers["access-control-allow-origin"] == PAGE
    other = {**ask, "Origin": "https://other.example"}
    assert "access-control-allow-origin" not in locked.options("/models", headers=other).headers


def test_a_page_may_send_the_headers_that_openais_client_sends(locked: Client):
    headers = "authorization,content-type,x-stainless-lang,x-stainless-retry-count"
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    answer = locked.options("/chat/completions", headers={"Origin": PAGE, **ask})
    assert (answer.status_code, answer.headers["access-control-allow-headers"]) == (200, headers)
    other = locked.options("/chat/completions", headers={"Origin": "https://other.example", **ask})
    assert other.status_code == 400


def test_every_origin_is_allowed_only_together_with_a_key():
    with pytest.raises(UsageError, match="every web page"):
        ServerSettings(cors=("*",))
    with pytest.raises(UsageError, match="no origin"):
        ServerSettings(cors=("page.example",))
    assert ServerSettings(cors=("*",), keys=KEYS).knows_origin(PAGE, "localhost")


def test_a_name_pointed_at_this_machine_is_not_served(over_llama_cpp: Client, locked: Client):
    for host in (
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "192.168.1.5",
        "",
        "a b",
        "@localhost",
    ):
        refused = over_llama_cpp.get("/models", headers={"Host": host})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "host_not_allowed"), host
    for host in ("localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:8000"):
        assert over_llama_cpp.get("/models", headers={"Host": host}).status_code == 200, host
    assert locked.get("/models", headers={"Host": "komt.example"}).status_code == 200


def test_a_request_that_a_strange_page_sends_is_not_served(over_llama_cpp: Client):
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "file://"):
        refused = over_llama_cpp.chat_with({"Origin": origin, "Content-Type": "text/plain"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed"), origin
    own = {"Origin": root(over_llama_cpp)}
    assert over_llama_cpp.chat_with(own).status_code == 200


def test_a_doubled_header_is_refused(over_llama_cpp: Client):
    headers = [("Origin", root(over_llama_cpp)), ("Origin", "https://evil.example")]
    assert over_llama_cpp.get("/models", headers=headers).status_code == 400


def test_from_elsewhere_numbers_and_own_names_are_served():
    settings = ServerSettings("0.0.0.0", keys=KEYS, hosts=("komt.example",))
    for name in ("192.168.1.5", "[fe80::1]", "komt.example", "localhost", socket.gethostname().lower()):
        assert settings.knows_host(name), name
    assert not settings.knows_host("evil.example")


def test_no_answer_names_a_place_on_this_machine(client: Client, gguf: Path, folder: Path):
    asked = [
        client.get("/models"),
        client.get("/models/tiny"),
        client.get("/nothing"),
        client.chat(),
        client.chat(stream=True),
        client.chat(logprobs=True),
        client.complete(),
        client.complete("가" * 9000),
        client.chat(messages=[{"role": "assistant", "content": "가"}, {"role": "system", "content": "나"}]),
        client.post("/chat/completions", json={"model": str(gguf), **ASKED}),
        client.get(f"{root(client)}/health"),
        client.get(f"{root(client)}/metrics"),
    ]
    for answer in asked[:9] + asked[10:]:
        said = f"{answer.text} {answer.headers}"
        assert str(gguf.parent) not in said
        assert str(folder) not in said
        assert "secret_place" not in said
        assert "/root" not in said
    assert asked[9].status_code == 404


def test_paths_are_blotted_out_of_messages():
    told = without_paths("cannot open '/home/kim/models/a b.gguf' or C:\\Users\\kim\\b.gguf, see:/etc/passwd")
    assert "kim" not in told
    assert "passwd" not in told
    assert (
        without_paths("1/2 of https://example.org/v1/x, 예/아니요")
        == "1/2 of https://example.org/v1/x, 예/아니요"
    )


def test_a_header_without_end_is_given_up(over_llama_cpp: Client):
    place = over_llama_cpp.base_url
    sent_bytes, most_bytes = 0, 64 << 20
    with socket.create_connection((place.host, place.port)) as line, suppress(ConnectionError):
        line.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX: ")
        while sent_bytes < most_bytes:
            line.sendall(b"x" * 65536)
            sent_bytes += 65536
    assert sent_bytes < most_bytes
    assert over_llama_cpp.get("/models").status_code == 200


def test_a_template_cannot_reach_out_of_its_sandbox(folder: Path, tmp_path: Path):
    evil = tmp_path / "evil"
    shutil.copytree(folder, evil)
    (evil / "chat_template.jinja").write_text(
        "{{ cycler.__init__.__globals__.os.mkdir('%s') }}{{ messages[0].content }}<eos>" % (tmp_path / "made")
    )
    with pytest.raises(ModelError, match="template"):
        open_backend(str(evil), {}, Opening())
    assert not (tmp_path / "made").exists()
