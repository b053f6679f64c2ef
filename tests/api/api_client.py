"""A client of the API under test, and what it asks unless it is told otherwise."""

from __future__ import annotations

import json
from typing import Any

import httpx2

ASKED = {
    "messages": [{"role": "user", "content": "고양이는 왜 물을 싫어하나요?"}],
    "max_tokens": 12,
    "seed": 7,
}


class Client(httpx2.Client):
    """A client of one server.

    Attributes:
        model: the first model it serves.
        engine: what computes there.
    """

    def __init__(self, address: str, model: str, engine: str = "llama.cpp", **more: Any) -> None:
        super().__init__(base_url=address, trust_env=False, timeout=120, **more)
        self.model, self.engine = model, engine

    def chat(self, **fields: Any) -> httpx2.Response:
        return self.post("/chat/completions", json={"model": self.model, **ASKED, **fields})

    def chat_with(self, headers: dict[str, str]) -> httpx2.Response:
        return self.post("/chat/completions", json={"model": self.model, **ASKED}, headers=headers)

    def complete(self, prompt: Any = "서울은 대한민국의", **fields: Any) -> httpx2.Response:
        asked = {"model": self.model, "prompt": prompt, "max_tokens": 12, "seed": 7}
        return self.post("/completions", json={**asked, **fields})


def events(response: httpx2.Response) -> list[Any]:
    """The events of a stream; the last one is "[DONE]"."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = [line[6:] for line in response.text.split("\n") if line]
    assert all(line.startswith("data: ") for line in response.text.split("\n") if line)
    return [data if data == "[DONE]" else json.loads(data) for data in found]
