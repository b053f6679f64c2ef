"""A server that already speaks this API, behind komt's guard: llama.cpp's, vLLM's, or any other."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from komt.api.backend import SHORT_COMPLETION_TOKENS, Delta, Logprob, Single, Usage, finite
from komt.api.errors import ApiError, gone, too_long, without_paths
from komt.api.grammar import ANY_OBJECT, Grammars
from komt.api.requests import ChatMessage, ChatRequest, CompletionRequest
from komt.api.syllables import Syllables
from komt.api.tools import check_tools, fields_of
from komt.api.upstream import GoneError, Upstream
from komt.serve.engine import GREEDY_BELOW, Settings

Json = dict[str, Any]
_ROUTES = {True: "/v1/chat/completions", False: "/v1/completions"}
_UNREADABLE = "output that does not match the expected"
_BROKEN = "\ufffd"
_BROKEN_BYTES = _BROKEN.encode()
# Nearly every event of llama.cpp's: a piece of text with nothing to unescape. To read it as JSON would take
# longer than all else that is done with it.
_PIECE = re.compile(
    rb'data: \{"choices":\[\{"finish_reason":null,"index":0,"delta":\{"content":"([^"\\]+)"\}\}\],"created"'
)
# Of more llama.cpp takes the lower 32 bits: one token where four billion were allowed.
_MOST_TOKENS = (1 << 31) - 1
# Fields of a message that hold text of the answer's beside its content.
_BESIDE = ("tool_calls", "reasoning_content")


@dataclass
class PassThrough:
    """Requests go on to another server, answers come back tidied.

    Attributes:
        engine: what computes there.
        address: without the `/v1`.
        models: for each name served here, the fields that choose it there.
        at_once: how many answers are computed at the same time.
        key: what the other server wants as `Authorization: Bearer …`, or "".
        defaults: how an answer is sampled where the request does not say, or None: as the other server likes.
        extras: fields that every request is sent with.
        tools: whether it understands `tools`.
        on_close: frees what stands behind the address.
    """

    engine: str
    address: str
    models: Mapping[str, Json]
    at_once: int
    key: str = ""
    defaults: Settings | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    tools: bool = True
    on_close: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self._grammars = Grammars(self._first_token)

    @property
    def _upstream(self) -> Upstream:
        return Upstream(self.address, self.key)

    @property
    def names(self) -> list[str]:
        """The models, as requests name them."""
        return list(self.models)

    def check(self, asked: ChatRequest | CompletionRequest) -> None:
        """Refuse what the server there would leave out in silence."""
        if isinstance(asked, ChatRequest):
            check_tools(asked, known=self.tools, forms=self.engine != "llama.cpp")

    async def answer(self, single: Single) -> AsyncGenerator[list[Delta], None]:
        """Pieces of an answer as they come; closing it closes the connection, which frees the slot there."""
        route = _ROUTES[isinstance(single.asked, ChatRequest)]
        try:
            body = self._body(single) | await self._form(single.asked)
            async with self._upstream.ask("POST", route, body) as answer:
                if answer.status != 200:
                    raise self._refusal(answer.status, await answer.whole(), single)
                rest, syllables = b"", Syllables()
                async with aclosing(answer.parts()) as parts:
                    async for part in parts:
                        *lines, rest = (rest + part).split(b"\n")
                        told = (delta for line in lines for delta in self._deltas(line, single))
                        if deltas := [whole for delta in told if (whole := syllables.add(delta))]:
                            yield deltas
                if (
                    not syllables.ended
                ):  # broken off, or no stream at all: never a short answer that looks whole
                    raise gone()
        except (GoneError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise gone() from error

    async def alive(self) -> bool:
        """Whether the server behind answers."""
        try:
            async with self._upstream.ask("GET", "/v1/models") as answer:
                return answer.status == 200
        except GoneError:
            return False

    async def close(self) -> None:
        """Free what stands behind the address."""
        self.on_close()

    def _body(self, single: Single) -> Json:
        asked = single.asked
        body: Json = {"stream": True, "stream_options": {"include_usage": True}}
        body |= _sampling(single, self.defaults)
        if isinstance(asked, ChatRequest):
            if self.engine == "vllm" and asked.limit is None:
                del body["max_tokens"]  # it refuses a limit that the context has no room for
            body["messages"] = [_message(part) for part in single.prompt if isinstance(part, ChatMessage)]
            if asked.logprobs:
                # llama.cpp tells none at all when asked for none beside the token itself.
                body |= {"logprobs": True, "top_logprobs": max(asked.top_logprobs or 0, 1)}
            body |= fields_of(asked, by_name=self.engine != "llama.cpp")
        else:
            body["prompt"] = single.prompt
            if asked.logprobs is not None:
                body["logprobs"] = max(asked.logprobs, 1)
        return body | dict(self.extras) | self.models[asked.model]

    async def _form(self, asked: ChatRequest | CompletionRequest) -> Json:
        """The form of an answer; for llama.cpp JSON as a grammar, see `komt.api.grammar`.

        Raises:
            ApiError: 400, the schema cannot be followed.
        """
        if not isinstance(asked, ChatRequest) or not (form := asked.form):
            return {}
        if self.engine != "llama.cpp":
            return {"response_format": form.model_dump(by_alias=True, exclude_none=True)}
        schema = form.json_schema if form.type == "json_schema" else None
        return {"grammar": await self._grammars.of(schema.schema_ if schema else ANY_OBJECT)}

    async def _first_token(self, fields: Json) -> str:
        async with self._upstream.ask("POST", "/completion", fields) as answer:
            told = json.loads(await answer.whole())
            if answer.status >= 500:
                raise gone()
            # A refusal holds no token: of a grammar, the only thing to refuse.
            return str(told.get("content", "x"))

    def _deltas(self, line: bytes, single: Single) -> list[Delta]:
        """What a line of a stream tells."""
        if (piece := _PIECE.match(line)) and _BROKEN_BYTES not in piece[1]:
            return [Delta(piece[1].decode())]
        data = line[5:].strip()
        if not line.startswith(b"data:") or not data or data == b"[DONE]":
            return []
        event = json.loads(data)
        if not isinstance(event, dict):
            raise gone()
        if "error" in event:
            raise self._fault(event["error"], 500, single)
        found = [_delta(choice, single) for choice in event.get("choices") or [] if isinstance(choice, dict)]
        if usage := event.get("usage"):
            found.append(Delta(usage=_usage(usage)))
        return found

    def _refusal(self, status: int, body: bytes, single: Single) -> ApiError:
        try:
            error = json.loads(body)["error"]
        except (ValueError, KeyError, TypeError):
            error = body[:200].decode("utf-8", "replace")
        return self._fault(error, status, single)

    def _fault(self, error: Any, status: int, single: Single) -> ApiError:
        told = error if isinstance(error, dict) else {"message": str(error)}
        if told.get("type") == "exceed_context_size_error":
            return too_long(
                int(told.get("n_prompt_tokens", 0)), int(told.get("n_ctx", 0)), single.prompt_field
            )
        message = without_paths(str(told.get("message", "the engine refuses the request")))
        if self.engine == "llama.cpp" and _UNREADABLE in message:
            # Nothing is wrong with the request. As OpenAI's API says it.
            return ApiError(
                500,
                "the model produced invalid content: the call of a tool, or its thoughts, cannot be read; "
                "ask again with another seed or temperature, or leave 'tools' out",
                kind="model_error",
            )
        # llama.cpp calls it a failure of its own when a template or a schema refuses what was asked.
        if self.engine == "llama.cpp" or (400 <= status < 500 and status not in {401, 403}):
            kept = status if status in {404, 413, 422, 429} else 400
            # As vLLM says it.
            too_much = "context_length_exceeded" if "maximum context length" in message else None
            return ApiError(
                kept, message, param=_word(told.get("param")), code=_word(told.get("code")) or too_much
            )
        return ApiError(502, f"the engine behind this server failed: {message}", kind="server_error")


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _sampling(single: Single, defaults: Settings | None) -> Json:
    asked, chat = single.asked, isinstance(single.asked, ChatRequest)
    heat, share, limit = asked.temperature, asked.top_p, asked.limit
    body: Json = {
        # Next to nothing is no number any more where logits are divided by it.
        "temperature": 0 if heat is not None and heat < GREEDY_BELOW else heat,
        "top_p": None if share is None else max(share, 1e-6),  # vLLM takes no 0, which means the same
        "top_k": asked.top_k,
        "seed": single.seed,
        "stop": list(asked.stops) or None,
        "max_tokens": None if limit is None else min(limit, _MOST_TOKENS),
        "frequency_penalty": asked.frequency_penalty,
        "presence_penalty": asked.presence_penalty,
        "logit_bias": asked.logit_bias,
    }
    if defaults:
        own = {
            "temperature": defaults.temperature,
            "top_p": defaults.top_p,
            "top_k": defaults.top_k,
            "max_tokens": defaults.max_new_tokens if chat else SHORT_COMPLETION_TOKENS,
        }
        body = own | {key: value for key, value in body.items() if value is not None}
    return {key: value for key, value in body.items() if value is not None}


def _message(message: ChatMessage) -> Json:
    role = "system" if message.role == "developer" else message.role
    said: Json = {"role": role, "content": message.text if message.content is not None else None}
    for key in ("name", "tool_calls", "tool_call_id"):
        if value := getattr(message, key):
            said[key] = value
    return said


def _delta(choice: Json, single: Single) -> Delta:
    said = choice.get("delta") or {}
    # Bytes that never became a character come as a mark in their place.
    text = (said.get("content") or choice.get("text") or "").replace(_BROKEN, "")
    more = {key: said[key] for key in _BESIDE if said.get(key)}
    finish = choice.get("finish_reason") or ""
    return Delta(text, more or None, _logprobs(choice.get("logprobs"), single.asked.likeliest), finish)


def _logprobs(told: Any, likeliest: int | None) -> tuple[Logprob, ...]:
    """Log-probabilities in the form of chat, whatever form they come in."""
    if not isinstance(told, dict) or likeliest is None:
        return ()
    if told.get("content") is None and told.get("tokens"):
        return _from_columns(told, likeliest)
    return tuple(
        {**_token(one), "top_logprobs": [_token(top) for top in one.get("top_logprobs", [])[:likeliest]]}
        for one in told.get("content") or []
    )


def _token(told: Json) -> Json:
    """A token; one of bytes that are no character alone reads as OpenAI writes it, `bytes:\\xeb\\xb7`."""
    text, data = told["token"], told.get("bytes")
    if _BROKEN in text and data:
        text = "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
    return {"token": text, "logprob": finite(told["logprob"]), "bytes": data}


def _from_columns(told: Json, likeliest: int) -> tuple[Logprob, ...]:
    tops = told.get("top_logprobs") or [{}] * len(told["tokens"])
    return tuple(
        {
            "token": token,
            "logprob": finite(logprob),
            "bytes": list(token.encode("utf-8", "replace")),
            "top_logprobs": [
                {"token": other, "logprob": finite(value), "bytes": list(other.encode("utf-8", "replace"))}
                for other, value in list((top or {}).items())[:likeliest]
            ],
        }
        for token, logprob, top in zip(told["tokens"], told["token_logprobs"], tops, strict=False)
    )


def _usage(told: Json) -> Usage:
    details = told.get("prompt_tokens_details") or {}
    return Usage(
        int(told.get("prompt_tokens") or 0),
        int(details.get("cached_tokens") or 0),
        int(told.get("completion_tokens") or 0),
    )
