"""Random requests: valid ones, some with wrong values, some with broken bytes."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

_TEXTS = (
    "가",
    "고양이는 왜 물을 싫어하나요?",
    "",
    " ",
    "\u0000",
    "한" * 300,
    "👩‍👩‍👧‍👦",
    "漢字",
    "ᄒ\u1161ᆫ",
    "<eos>",
    "{{ 7 * 7 }}",
    "\u2028",
)
_NUMBERS = (0, 1, -1, 2, 5, 0.5, 1.0, 1e-9, 1e300, -0.0, 1 << 31, 1 << 63, 1 << 80, -(1 << 63))
_ODD: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"a": {}}, "가", *_NUMBERS)
_PATHS = ("/v1/chat/completions", "/v1/completions")
_STRANGE_PATHS = (
    "/",
    "/v1",
    "/v1/embeddings",
    "/v1//models",
    "/v1/models/%00",
    "/../etc/passwd",
    "/v1/chat",
    "/props",
)
_FIELDS = (
    "model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k",
    "seed", "stop", "n", "stream", "stream_options", "frequency_penalty", "presence_penalty", "logit_bias",
    "logprobs", "top_logprobs", "response_format", "tools", "tool_choice", "echo", "suffix", "best_of",
)  # fmt: skip


@dataclass(frozen=True)
class Fuzzed:
    """One request."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


def fuzzed(seed: int) -> Fuzzed:
    """The request of a number; the same each time."""
    dice = random.Random(seed)
    headers = {"Content-Type": dice.choice(("application/json", "text/plain", "multipart/form-data"))}
    if dice.random() < 0.03:
        name = dice.choice(("Host", "Origin", "Authorization", "Accept", "Content-Encoding"))
        headers[name] = dice.choice(("", "x", "null", "evil.example", "Bearer " + "k" * 500, "gzip"))
    if dice.random() < 0.05:
        method = dice.choice(("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"))
        return Fuzzed(
            method,
            dice.choice((*_PATHS, *_STRANGE_PATHS)),
            b"" if method in {"GET", "HEAD"} else b"{}",
            headers,
        )
    path = dice.choice(_PATHS)
    value = _valid(dice, chat="chat" in path)
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 4))):
        value = _bent(dice, value)
    body = json.dumps(value).encode()
    if dice.random() < 0.1:
        body = _broken(dice, body)
    return Fuzzed("POST", path, body, headers)


def _valid(dice: random.Random, chat: bool) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": "tiny", "max_tokens": dice.randint(1, 6)}
    if chat:
        turns = dice.randint(1, 4)
        roles = ("system", "user", "assistant", "developer")
        asked["messages"] = [
            {"role": dice.choice(roles), "content": dice.choice(_TEXTS)} for _ in range(turns)
        ]
    else:
        ids = [dice.randint(0, 700) for _ in range(dice.randint(1, 9))]
        asked["prompt"] = dice.choice((dice.choice(_TEXTS), list(_TEXTS[:3]), ids, [ids, ids]))
    options: dict[str, Any] = {
        "temperature": dice.choice((0, 0.7, 2)),
        "top_p": dice.choice((0, 0.5, 1)),
        "seed": dice.choice(_NUMBERS),
        "n": dice.randint(1, 3),
        "stop": dice.choice(("가", ["a", "b"], [])),
        "stream": dice.random() < 0.5,
        "logprobs": (True if chat else dice.randint(0, 3)),
        "response_format": {"type": dice.choice(("text", "json_object"))},
        "logit_bias": {str(dice.randint(0, 900)): dice.choice((-100, 0, 3))},
    }
    for name in dice.sample(sorted(options), dice.randint(0, 4)):
        if chat or name != "response_format":
            asked[name] = options[name]
    return asked


def _bent(dice: random.Random, value: Any) -> Any:
    """The value with something odd somewhere in it."""
    if isinstance(value, dict) and value and dice.random() < 0.8:
        key = dice.choice((*value, *_FIELDS)) if "model" in value else dice.choice(list(value))
        bent = dict(value)
        if dice.random() < 0.2:
            bent.pop(key, None)
        else:
            bent[key] = (
                _bent(dice, value.get(key)) if key in value and dice.random() < 0.5 else dice.choice(_ODD)
            )
        return bent
    if isinstance(value, list) and value and dice.random() < 0.8:
        place = dice.randrange(len(value))
        return [*value[:place], _bent(dice, value[place]), *value[place + 1 :]]
    return dice.choice(_ODD)


def _broken(dice: random.Random, body: bytes) -> bytes:
    """The bytes cut, doubled, or with others among them."""
    place = dice.randrange(len(body) + 1)
    noise = dice.choice(
        (b"", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"}", b"[" * 2000, b"\\ud800", body)
    )
    return body[:place] + noise + (body[place:] if dice.random() < 0.7 else b"")
