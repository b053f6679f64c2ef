"""What is answered: objects as OpenAI's API defines them.

Format: https://platform.openai.com/docs/api-reference/chat/object and …/chat/streaming
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from komt.api.backend import Delta, Logprob, Single, Usage
from komt.api.requests import ChatRequest

DONE = b"data: [DONE]\n\n"
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
Json = dict[str, Any]


@dataclass
class Choice:
    """One answer, gathered; of a stream the usage alone."""

    text: list[str] = field(default_factory=list)
    more: Json = field(default_factory=dict)
    logprobs: list[Logprob] = field(default_factory=list)
    finish: str = ""
    usage: Usage | None = None

    def add(self, delta: Delta) -> None:
        """Take in the next piece."""
        self.text.append(delta.text)
        self.logprobs.extend(delta.logprobs)
        self.finish = delta.finish or self.finish
        for key, value in (delta.more or {}).items():
            if key == "tool_calls":
                _add_tool_calls(self.more.setdefault(key, []), value)
            else:
                self.more[key] = self.more.get(key, "") + value


@dataclass(frozen=True)
class Reply:
    """The shape of one request's answer.

    Attributes:
        asked: the answers it holds.
        id: of the answer.
        created: seconds since 1970.
        model: the name that was asked for.
        fingerprint: what computes, for `system_fingerprint`.
    """

    asked: Sequence[Single]
    id: str
    created: int
    model: str
    fingerprint: str
    _frames: dict[int, tuple[bytes, bytes]] = field(default_factory=dict, repr=False)

    @property
    def _chat(self) -> bool:
        return isinstance(self.asked[0].asked, ChatRequest)

    def opening(self) -> bytes:
        """What a stream begins with: who speaks, or what is echoed."""
        if self._chat:
            return self._events(
                [_choice(single.place, delta={"role": "assistant", "content": ""}) for single in self.asked]
            )
        return self._events([_piece(single.place, _echo(single)) for single in self.asked if _echo(single)])

    def events(self, place: int, deltas: Sequence[Delta]) -> bytes:
        """Pieces of a choice as they stand in a stream; counts of tokens are told by `closing`."""
        found = []
        for delta in deltas:
            if delta.more or delta.logprobs or delta.finish:
                shape = _chat_piece if self._chat else _text_piece
                found.append(self._events([shape(place, delta)]))
            elif delta.text:
                # Nearly all of them: only the text is written anew.
                before, after = self._around(place)
                found += (before, dumps(delta.text), after)
        return b"".join(found)

    def _around(self, place: int) -> tuple[bytes, bytes]:
        """What stands before and after the text of a choice's piece."""
        if place not in self._frames:
            shape = _chat_piece if self._chat else _text_piece
            # The choice comes last: a model of this very name stands before it.
            before, _, after = self._events([shape(place, Delta("…"))]).rpartition(dumps("…"))
            self._frames[place] = before, after
        return self._frames[place]

    def closing(self, choices: Sequence[Choice]) -> bytes:
        """What a stream ends with."""
        if not self.asked[0].asked.wants_usage:
            return DONE
        body = {**self._head(chunk=True), "choices": [], "usage": usage_of(self.asked, choices)}
        return b"data: " + dumps(body) + b"\n\n" + DONE

    def whole(self, choices: Sequence[Choice]) -> Json:
        """The answer in one piece."""
        if self._chat:
            found = [_chat_choice(place, choice) for place, choice in enumerate(choices)]
        else:
            found = [
                _text_choice(place, choice, _echo(single))
                for place, (single, choice) in enumerate(zip(self.asked, choices, strict=True))
            ]
        return {**self._head(chunk=False), "choices": found, "usage": usage_of(self.asked, choices)}

    def _head(self, *, chunk: bool) -> Json:
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self._chat else "text_completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def _events(self, choices: Sequence[Json]) -> bytes:
        head = self._head(chunk=True)
        if self.asked[0].asked.wants_usage:
            head["usage"] = None
        return b"".join(b"data: " + dumps({**head, "choices": [choice]}) + b"\n\n" for choice in choices)


def dumps(value: Any) -> bytes:
    """JSON in UTF-8; what was no character is replaced, so that an answer never fails on it."""
    return _JSON.encode(value).encode("utf-8", "replace")


def usage_of(asked: Sequence[Single], choices: Sequence[Choice]) -> Json:
    """Counts of tokens of all answers; a prompt that is answered several times counts once."""
    each = asked[0].asked.n or 1
    told = [choice.usage or Usage(0, 0, 0) for choice in choices]
    prompt = sum(usage.prompt_tokens for usage in told[::each])
    answer = sum(usage.completion_tokens for usage in told)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": sum(usage.cached_tokens for usage in told[::each])},
    }


def _choice(place: int, **fields: Any) -> Json:
    return {"index": place, **fields, "logprobs": None, "finish_reason": None}


def _piece(place: int, text: str) -> Json:
    return _choice(place, text=text)


def _chat_piece(place: int, delta: Delta) -> Json:
    said: Json = {"content": delta.text} if delta.text else {}
    said.update(delta.more or {})
    return {
        "index": place,
        "delta": said,
        "logprobs": {"content": list(delta.logprobs), "refusal": None} if delta.logprobs else None,
        "finish_reason": delta.finish or None,
    }


def _text_piece(place: int, delta: Delta) -> Json:
    logprobs = _in_columns(delta.logprobs) if delta.logprobs else None
    return {"index": place, "text": delta.text, "logprobs": logprobs, "finish_reason": delta.finish or None}


def _chat_choice(place: int, choice: Choice) -> Json:
    text = "".join(choice.text)
    message = {
        "role": "assistant",
        "content": text if text or "tool_calls" not in choice.more else None,
        "refusal": None,
        "annotations": [],
        **choice.more,
    }
    return {
        "index": place,
        "message": message,
        "logprobs": {"content": choice.logprobs, "refusal": None} if choice.logprobs else None,
        "finish_reason": choice.finish or "stop",
    }


def _text_choice(place: int, choice: Choice, echo: str) -> Json:
    return {
        "index": place,
        "text": echo + "".join(choice.text),
        "logprobs": _in_columns(choice.logprobs) if choice.logprobs else None,
        "finish_reason": choice.finish or "stop",
    }


def _echo(single: Single) -> str:
    echoes = not isinstance(single.asked, ChatRequest) and single.asked.echo
    return single.prompt if echoes and isinstance(single.prompt, str) else ""


def _in_columns(logprobs: Sequence[Logprob]) -> Json:
    """The form of plain completions: lists side by side. Offsets count the characters of these tokens."""
    tokens = [str(one["token"]) for one in logprobs]
    return {
        "tokens": tokens,
        "token_logprobs": [one["logprob"] for one in logprobs],
        "top_logprobs": [{top["token"]: top["logprob"] for top in one["top_logprobs"]} for one in logprobs],
        "text_offset": list(accumulate(map(len, tokens[:-1]), initial=0)),
    }


def _add_tool_calls(calls: list[Json], pieces: Sequence[Mapping[str, Any]]) -> None:
    """Join streamed tool calls: names come whole, arguments in pieces."""
    for piece in pieces:
        place = piece.get("index", len(calls))
        while len(calls) <= place:
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = calls[place], piece.get("function") or {}
        call["id"] = piece.get("id") or call["id"]
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
