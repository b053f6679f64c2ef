from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("starlette")
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from komt.web.guard import Guard

PAGE = (
    '<!doctype html><html lang="en"><head><meta property="og:image" content="https://raw.example/x.jpg" />'
    "</head><body></body></html>"
)


@pytest.fixture
def client() -> TestClient:
    async def inside(request: Request) -> Any:
        return HTMLResponse(PAGE) if request.url.path in {"/ko/", "/en/"} else PlainTextResponse("inside")

    routes = [Route("/{path:path}", inside, methods=["GET", "POST", "HEAD"])]
    app = Guard(Starlette(routes=routes), ["127.0.0.1"])
    return TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False)


def test_the_first_page_is_in_the_language_that_the_browser_asks_for(client: TestClient) -> None:
    korean = client.get("/", headers={"accept-language": "ko-KR,ko;q=0.9"})
    english = client.get("/", headers={"accept-language": "de"})
    assert (korean.status_code, korean.headers["location"]) == (307, "/ko/")
    assert english.headers["location"] == "/en/"
    assert client.get("/ko").headers["location"] == "/ko/"


def test_the_page_names_its_language_and_no_other_host(client: TestClient) -> None:
    page = client.get("/ko/").text
    assert '<html lang="ko">' in page
    assert "raw.example" not in page
    assert "'language', 'ko'" in page


def test_nothing_of_other_hosts_is_allowed_in_the_page(client: TestClient) -> None:
    headers = client.get("/ko/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert client.get("/ko/config").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7860", "", "[", "[::1"]
)
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/ko/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://["])
def test_other_pages_are_refused(client: TestClient, origin: str) -> None:
    asked = client.post("/ko/gradio_api/queue/join", headers={"origin": origin}, json={})
    assert asked.status_code == 403


def test_the_page_itself_is_served(client: TestClient) -> None:
    own = {"origin": "http://127.0.0.1:7860"}
    for way in ("queue/join", "run/predict"):
        assert client.post(f"/ko/gradio_api/{way}", headers=own, json={}).text == "inside"


@pytest.mark.parametrize(
    "path",
    [
        "/ko/gradio_api/file=/etc/passwd",
        "/ko/gradio_api/upload",
        "/ko/gradio_api/proxy=http://evil.example/",
        "/ko/gradio_api/stream/x",
        "/ko/gradio_api/run/send",
        "/ko/gradio_api/call/send",
        "/ko/gradio_api/mcp/",
        "/ko/monitoring",
        "/ko/login",
        "/ko/gradio_api/vibe-edit",
        "/docs",
        "/ko/../etc/passwd",
        "/fr/",
    ],
)
def test_what_the_page_does_not_need_is_not_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.post(path).status_code == 404
