"""A judge behind an address that speaks OpenAI's chat API: one request, and what may become of it.

On httpx2, which komt uses for every other address, and not on the client of OpenAI: that one tries again by
itself, and here each attempt must be written down before it goes out.
"""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from komt.errors import ModelError
from komt.judge.ask import BrokenError, BusyError, RefusedError
from komt.judge.call import Call, Reply

_LOCAL = ("127.0.0.1", "localhost", "::1")
_BUSY = frozenset({429, 503, 529})
_HINTS = {
    401: "give the server's key: --api-key KEY, or KOMT_API_KEY in the environment",
    402: "the account has no money left",
    403: "the key may lack the right to this model: --api-key KEY, or KOMT_API_KEY in the environment",
    404: "an address ends in /v1, as http://127.0.0.1:8000/v1; #NAME after it names the model",
}
# A key without money also answers 429, and waiting does not help.
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "insufficient_user_quota")
# What some servers refuse: what is sent instead, or nothing.
_SUBSTITUTES: Mapping[str, str] = {
    "max_tokens": "max_completion_tokens",
    "seed": "",
    "temperature": "",
    "top_p": "",
    "top_k": "",
}
_SAID_CHARACTERS = 300
_MOST_TOKENS = 1 << 40
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class HttpTransport:
    """Requests to `POST …/chat/completions`.

    Attributes:
        judge: the address and the model's name there.
        at_once: the most requests at a time.
        substituted: fields that the server did not take, and what was sent instead ("": nothing).
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        judge: str = "",
        api_key: str = "",
        at_once: int = 16,
        timeout_s: float = 600.0,
        keep: bool = True,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Args:
        address: `http(s)://HOST[:PORT]/v1`.
        model: its name there.
        judge: what it is called in the ledger; default: address and name.
        api_key: sent as a bearer token, or "".
        at_once: the most requests at a time.
        timeout_s: the longest that one reply may take, from the request to its last byte.
        keep: whether connections are used again.
        more: further fields of every request, which are no part of a call's key.
        """
        self.judge = judge or f"{address}#{model}"
        self.at_once, self._model, self._timeout_s = at_once, model, timeout_s
        self._kept, self._more = at_once if keep else 0, dict(more or {})
        self._address, self._key = address.rstrip("/"), api_key
        self._held: httpx2.AsyncClient | None = None
        self.substituted: dict[str, str] = {}

    @property
    def _client(self) -> httpx2.AsyncClient:
        """Made within the loop that uses it."""
        if self._held is None:
            self._held = httpx2.AsyncClient(
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                timeout=httpx2.Timeout(None, connect=min(20.0, self._timeout_s)),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self._kept),
                trust_env=urlsplit(self._address).hostname not in _LOCAL,
            )
        return self._held

    async def ask(self, call: Call) -> Reply:
        """One request; see `komt.judge.ask.Transport`."""
        began = time.monotonic()
        while True:
            response = await self._send(call)
            if response.status_code not in {400, 422} or not self._substitute(response):
                break
        if response.status_code != 200:
            raise self._trouble(response)
        return _reply(response, time.monotonic() - began)

    async def close(self) -> None:
        """Close the connections."""
        if self._held is not None:
            held, self._held = self._held, None
            await held.aclose()

    async def _send(self, call: Call) -> httpx2.Response:
        # The whole reply within the time: a byte now and then is no better than silence.
        try:
            request = self._client.post(f"{self._address}/chat/completions", json=self._body(call))
            return await asyncio.wait_for(request, self._timeout_s)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise BrokenError(
                f"nothing answers at {self._address}: {error}", charged=False, heard=False
            ) from error
        except (TimeoutError, asyncio.TimeoutError, httpx2.TimeoutException) as error:
            raise BrokenError(f"no whole reply within {self._timeout_s:g} s", charged=True) from error
        except (httpx2.HTTPError, RuntimeError) as error:
            raise BrokenError(
                f"the reply broke off: {error or type(error).__name__}", charged=True
            ) from error

    def _body(self, call: Call) -> dict[str, Any]:
        body = {"model": self._model, "messages": [message.as_chat() for message in call.messages]}
        body |= {**self._more, **call.settings}
        for field, instead in self.substituted.items():
            if field in body:
                value = body.pop(field)
                if instead:
                    body[instead] = value
        return body

    def _substitute(self, response: httpx2.Response) -> bool:
        """Whether the server minds a field that can be sent otherwise, or not at all."""
        said = _said(response)
        for field, instead in _SUBSTITUTES.items():
            if field not in self.substituted and f"'{field}'" in said.replace('"', "'").replace("`", "'"):
                self.substituted[field] = instead
                return True
            if field not in self.substituted and field in said and "nrecognized" in said:
                self.substituted[field] = instead
                return True
        return False

    def _trouble(self, response: httpx2.Response) -> Exception:
        status, said = response.status_code, _said(response)
        what = f"HTTP status {status}: {said}"
        if status == 402 or (status == 429 and any(word in response.text for word in _NO_MONEY)):
            return ModelError(
                f"{self._address} wants money: {said}", cure="the same command goes on once there is some"
            )
        if status in _BUSY:
            return BusyError(what, _retry_after_s(response.headers))
        if status in {401, 403, 404}:
            return ModelError(f"{self._address} answers with {what}", cure=_HINTS[status])
        if status in {408, 409, 425} or status >= 500:
            return BrokenError(what, charged=False)
        return RefusedError(what)


def _reply(response: httpx2.Response, seconds: float) -> Reply:
    try:
        answer = response.json()
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        refusal = choice["message"].get("refusal")
        reason = choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenError(
            f"nonsense instead of a reply: {response.text[:_SAID_CHARACTERS]!r}", charged=True
        ) from error
    if isinstance(text, list):  # content in parts
        text = "".join(part.get("text", "") for part in text if isinstance(part, dict))
    if text is None and (isinstance(refusal, str) or reason):
        text = refusal or ""
    if not isinstance(text, str):
        raise BrokenError(f"nonsense instead of a reply: {response.text[:_SAID_CHARACTERS]!r}", charged=True)
    usage = answer.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    return Reply(
        _HALF_PAIR.sub("\ufffd", text),  # "?" in its place would make a question of a score
        cut=reason == "length",
        prompt_tokens=_count(counted.get("prompt_tokens")),
        completion_tokens=_count(counted.get("completion_tokens")),
        seconds=seconds,
    )


def _count(value: Any) -> int | None:
    """Tokens as a server counts them; what cannot be a count, or fits in no ledger, is none."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS
    return value if known else None


def _said(response: httpx2.Response) -> str:
    try:
        error = response.json()["error"]
        said = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, LookupError, TypeError, RecursionError):
        said = response.text.strip() or response.reason_phrase
    return said[:_SAID_CHARACTERS]


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server wants to be left alone: a number, or a date (RFC 9110, 10.2.3)."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "")
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time()) if value else None
    except (ValueError, TypeError, OverflowError):
        return None
