"""The engine over an address: any program that speaks OpenAI's chat API."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import httpx2

from komt.errors import ModelError, UsageError, did_you_mean
from komt.example import Message
from komt.serve.engine import Completion, Settings

_AT_A_TIME = 8
_TRIES = 4
_LONGEST_WAIT_S = 30.0
# Busy, or not there for a moment; asking again does no harm, since no answer has begun.
_AGAIN = frozenset({429, 502, 503, 504})
# Fields that OpenAI's own servers refuse.
_EXTENSIONS = ("top_k",)
_LOCAL = ("127.0.0.1", "localhost", "::1")
_HINTS = {
    401: "give the server's key: --api-key KEY, or KOMT_API_KEY in the environment",
    403: "the key may lack the right to this model: --api-key KEY, or KOMT_API_KEY in the environment",
    404: "an address ends in /v1, as http://127.0.0.1:8000/v1",
}


class RemoteEngine:
    """A model behind `http(s)://…/v1`; `#NAME` after the address says which, where there are several.

    Attributes:
        model: its name there.
        takes_ids: whether `generate` may ask by token ids (vLLM and llama.cpp take them; OpenAI does not).
        loglikelihood: None: the chat API tells nothing of how likely a model holds a given text.
    """

    loglikelihood = None
    takes_ids = False

    def __init__(
        self, address: str, *, api_key: str = "", wait: Callable[[float], None] = time.sleep
    ) -> None:
        """Args:
        address: `http://HOST:PORT/v1`, with `#NAME` for one of several models.
        api_key: sent as a bearer token; default: KOMT_API_KEY of the environment.
        wait: what waits before a request is tried again.

        Raises:
            UsageError: no such address, or several models and none named.
            ModelError: nothing answers there, or not as OpenAI's API does.
        """
        self._address, _, model = address.partition("#")
        parts = urlsplit(self._address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"'{address}' is no address", cure="as http://127.0.0.1:8000/v1")
        key = api_key or os.environ.get("KOMT_API_KEY", "")
        self._client = httpx2.Client(
            base_url=self._address.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(600, connect=10),
            trust_env=parts.hostname not in _LOCAL,
        )
        self._wait = wait
        self._unknown: set[str] = set()
        self.model = self._choose(model)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """None are to be had.

        Raises:
            ModelError: always: the chat API takes messages, and tells no token ids.
        """
        raise ModelError(
            f"the program at {self._address} takes messages and tells no token ids",
            cure="give the model itself (folder, catalogue name or .gguf) to a command that needs its tokens",
        )

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        batch_tokens: int = 0,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Greedy answers to token ids, where the server takes them; they carry no ids themselves.

        Raises:
            ModelError: it does not, as `prompt_ids` says; or as `answer`.
        """
        if prompts and not self.takes_ids:
            self.prompt_ids([])
        bodies = [{"prompt": [int(token) for token in prompt]} for prompt in prompts]
        return self._all("completions", bodies, max_new_tokens, on_done)

    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Greedy answers, eight at a time, in the conversations' order; they carry no token ids.

        Raises:
            ModelError: the server refuses, or is no longer there.
        """
        bodies = [{"messages": [m.as_chat() for m in messages]} for messages in conversations]
        return self._all("chat/completions", bodies, max_new_tokens, on_done)

    def _all(
        self,
        route: str,
        bodies: Sequence[dict[str, Any]],
        max_new_tokens: int,
        on_done: Callable[[int], None] | None,
    ) -> list[Completion]:
        greedy = Settings(temperature=0, top_p=1, top_k=0, max_new_tokens=max_new_tokens)

        def complete(place: int) -> Completion:
            answer = self._post(route, {**bodies[place], **self._sampling(greedy)})
            if on_done:
                on_done(place)
            return self._completion(answer)

        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            return list(pool.map(complete, range(len(bodies))))

    def stream(self, messages: Sequence[Message], *, settings: Settings | None = None) -> Iterator[str]:
        """Pieces of one answer as they come.

        Raises:
            ModelError: the server refuses, or breaks off.
        """
        body = {"messages": [m.as_chat() for m in messages], **self._sampling(settings or Settings())}
        with closing(self._asked("chat/completions", {**body, "stream": True}, stream=True)) as response:
            try:
                for line in response.iter_lines():
                    data = line[5:].strip()
                    if line.startswith("data:") and data.startswith("{"):
                        yield from self._delta(json.loads(data))
            except ValueError as error:
                raise self._strange() from error
            except httpx2.TransportError as error:
                raise ModelError(f"{self._address} broke off in the middle of an answer: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _sampling(self, settings: Settings) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
        }
        if settings.top_k:
            body["top_k"] = settings.top_k
        if settings.seed is not None:
            body["seed"] = settings.seed
        return body

    def _choose(self, wanted: str) -> str:
        response = self._request("GET", "models", None)
        try:
            names = [str(model["id"]) for model in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise self._strange() from error
        if wanted in names or (not wanted and len(names) == 1):
            return wanted or names[0]
        if not names:
            raise ModelError(f"{self._address} serves no model")
        what = (
            f"serves no model '{wanted}'{did_you_mean(wanted, names)}" if wanted else "serves several models"
        )
        raise UsageError(
            f"{self._address} {what}", cure=f"one of: {', '.join(f'{self._address}#{n}' for n in names)}"
        )

    def _post(self, route: str, body: dict[str, Any]) -> Any:
        try:
            return self._asked(route, body).json()
        except ValueError as error:
            raise self._strange() from error

    def _asked(self, route: str, body: dict[str, Any], stream: bool = False) -> httpx2.Response:
        """Ask; a field that is not in OpenAI's API is left out from then on, where the server minds it."""
        while True:
            asked = {key: value for key, value in body.items() if key not in self._unknown}
            try:
                return self._request("POST", route, asked, stream)
            except _Minds as minds:
                fields = {name for name in _EXTENSIONS if name in asked and name in str(minds)}
                if not fields:
                    raise
                self._unknown |= fields

    def _request(
        self, method: str, route: str, body: dict[str, Any] | None, stream: bool = False
    ) -> httpx2.Response:
        request = self._client.build_request(method, route, json=body)
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            try:
                response = self._client.send(request, stream=stream)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                # A refused connection is refused again; a name or network may come back.
                raise ModelError(
                    f"nothing answers at {self._address}: {error}",
                    cure="check the address, and that the server is running",
                ) from error
            except (httpx2.TransportError, RuntimeError) as error:
                raise ModelError(f"{self._address} broke off: {error}") from error
            if response.status_code == 200:
                return response
            if response.status_code not in _AGAIN or last:
                response.read()
                raise self._refusal(response)
            response.close()
            self._wait(_pause_s(response, attempt))
        raise AssertionError

    def _refusal(self, response: httpx2.Response) -> ModelError:
        try:
            error = response.json()["error"]
            said = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError):
            said = response.reason_phrase
        what = f"{self._address} answers with HTTP status {response.status_code}: {said[:500]}"
        kind = _Minds if response.status_code in {400, 422} else ModelError
        return kind(what, cure=_HINTS.get(response.status_code, ""))

    def _strange(self) -> ModelError:
        return ModelError(f"{self._address} does not answer as OpenAI's API does", cure=_HINTS[404])

    def _completion(self, answer: Any) -> Completion:
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"] if "message" in choice else choice["text"]
            return Completion((), _clean(text or ""), choice["finish_reason"] == "stop")
        except (LookupError, TypeError) as error:
            raise self._strange() from error

    def _delta(self, event: dict[str, Any]) -> Iterator[str]:
        if "error" in event:
            error = event["error"]
            said = error.get("message", error) if isinstance(error, dict) else error
            raise ModelError(f"{self._address} broke off: {said}")
        for choice in event.get("choices") or []:
            if text := _clean((choice.get("delta") or {}).get("content") or ""):
                yield text


class _Minds(ModelError):
    """The server does not take the request as it is."""


def _clean(text: Any) -> str:
    """Without what servers put in place of bytes that are no character."""
    return str(text).replace("\ufffd", "")


def _pause_s(response: httpx2.Response, attempt: int) -> float:
    try:
        asked = float(response.headers.get("retry-after", ""))
    except ValueError:
        asked = 2.0**attempt
    return min(max(asked, 0.1), _LONGEST_WAIT_S)
