"""A client of an OpenAI-style API, over HTTP: the names of its models, and answers as they are written."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2

from komt.errors import UsageError

_CONNECT_S = 5.0
_SILENCE_S = 600.0  # A long prompt on a slow machine, or a long queue: a person can stop it any time.
_DETAIL_CHARACTERS = 600
Kind = Literal["unreachable", "cut", "silent", "refused", "too_long", "not_an_api"]
# As komt and OpenAI, llama.cpp, and vLLM call a prompt that is longer than the model's context.
_TOO_LONG = ("context_length_exceeded", "exceed_context_size_error", "maximum context length")


class ApiFault(Exception):
    """The API did not answer as it should.

    Attributes:
        kind: unreachable (no connection), cut (ended in the middle), silent (no word for ten minutes),
            refused (it said no), too_long (it said no to a prompt of this length), not_an_api (something else
            answers there).
        detail: what it said itself, or "".
    """

    def __init__(self, kind: Kind, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail = kind, detail


@dataclass(frozen=True)
class Ask:
    """What is asked for.

    Attributes:
        model: one of `Api.models()`; messages: role and content, the last one a user's.
        settings: further fields of the request, such as temperature, top_p, max_tokens, seed.
    """

    model: str
    messages: Sequence[Mapping[str, str]]
    settings: Mapping[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A piece of an answer; the last ones say why it ended and, where the API counts, its tokens."""

    text: str = ""
    finish: str = ""
    prompt_tokens: int | None = None
    tokens: int | None = None


class Api:
    """An OpenAI-style API.

    Args:
        address: ends in /v1, as in http://127.0.0.1:8000/v1.
        key: sent as a bearer token; "" for none. It never reaches the browser.

    Raises:
        UsageError: no http address.
    """

    def __init__(self, address: str, key: str = "") -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(
                f"not an http address: '{address}'", cure="such as --api http://127.0.0.1:8000/v1"
            )
        self.address = address.rstrip("/")
        # A proxy of the environment is for the world outside, not for a server on this machine.
        self._outside = parts.hostname not in {"127.0.0.1", "localhost", "::1"}
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def models(self) -> list[str]:
        """The names of the models, in the API's order.

        Raises:
            ApiFault: none there, or no such list.
        """
        async with self._client() as client:
            try:
                response = await client.get(f"{self.address}/models", timeout=_CONNECT_S * 4)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise _fault(error) from error
        _check(response.status_code, response.text)
        try:
            return [str(model["id"]) for model in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ApiFault("not_an_api", _short(response.text)) from error

    async def stream(self, ask: Ask) -> AsyncGenerator[Part, None]:
        """The answer in pieces. Closing the iterator closes the connection, by which the API frees its slot.

        Raises:
            ApiFault: at any piece.
        """
        body = {
            "model": ask.model,
            "messages": [dict(message) for message in ask.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **ask.settings,
        }
        try:
            async with (
                self._client() as client,
                client.stream("POST", f"{self.address}/chat/completions", json=body) as response,
            ):
                if response.status_code != 200:
                    _check(response.status_code, (await response.aread()).decode("utf-8", "replace"))
                async with aclosing(_parts(response)) as parts:
                    async for part in parts:
                        yield part
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            raise _fault(error) from error

    def _client(self) -> httpx2.AsyncClient:
        timeout = httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S)
        return httpx2.AsyncClient(timeout=timeout, headers=self._headers, trust_env=self._outside)


async def _parts(response: httpx2.Response) -> AsyncGenerator[Part, None]:
    """The events of an answer up to [DONE]; one that ends before it, without a reason to end, was cut."""
    ended = False
    async for event in httpx2.EventSource(response):
        if event.data.strip() == "[DONE]":
            return
        try:
            record = json.loads(event.data)
        except ValueError as error:
            raise ApiFault("not_an_api", _short(event.data)) from error
        if not isinstance(record, dict):
            raise ApiFault("not_an_api", _short(event.data))
        if "error" in record:
            raise ApiFault("cut", _said(record))
        try:
            part = _part(record)
        except (AttributeError, LookupError, TypeError) as error:
            raise ApiFault("not_an_api", _short(event.data)) from error
        ended = ended or bool(part.finish)
        yield part
    if not ended:
        raise ApiFault("cut")


def _part(record: dict[str, Any]) -> Part:
    choices = record.get("choices") or [{}]
    usage = record.get("usage") or {}
    text = (choices[0].get("delta") or {}).get("content") or ""
    if not isinstance(text, str):
        raise TypeError
    return Part(
        text=text,
        finish=choices[0].get("finish_reason") or "",
        prompt_tokens=usage.get("prompt_tokens"),
        tokens=usage.get("completion_tokens"),
    )


def _fault(error: Exception) -> ApiFault:
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.InvalidURL)):
        return ApiFault("unreachable")
    if isinstance(error, httpx2.SSEError):
        return ApiFault("not_an_api", _short(str(error)))
    if isinstance(error, httpx2.TimeoutException):
        return ApiFault("silent")
    return ApiFault("cut")


def _check(status: int, text: str) -> None:
    """Do nothing for an answer that is one.

    Raises:
        ApiFault: with what the API said, where it said it in its own way.
    """
    if status == 200:
        return
    try:
        said = _said(json.loads(text))
    except ValueError:
        said = ""
    if said:
        raise ApiFault("too_long" if any(sign in text for sign in _TOO_LONG) else "refused", said)
    raise ApiFault("not_an_api" if status in {404, 405} else "refused", f"HTTP {status}")


def _said(record: Any) -> str:
    """The message of an OpenAI-style error, or ""."""
    error = record.get("error") if isinstance(record, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return _short(message) if isinstance(message, str) else ""


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _DETAIL_CHARACTERS else f"{text[:_DETAIL_CHARACTERS]} …"
