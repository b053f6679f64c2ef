"""An engine of this process behind the API: all its answers are computed as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from komt.api.backend import SHORT_COMPLETION_TOKENS, Delta, Logprob, Single, Usage, finite
from komt.api.bell import Bell
from komt.api.errors import ApiError, refused, too_long, unsupported, without_paths
from komt.api.requests import ChatMessage, ChatRequest, CompletionRequest
from komt.errors import KomtError
from komt.example import Message
from komt.serve.engine import Piece, Request, Settings, TokenLogprob

if TYPE_CHECKING:
    from komt.serve.transformers_engine import TransformersEngine


@dataclass
class Local:
    """Answers by `engine.submit`.

    Attributes:
        inner: the engine.
        models: for each name served, the adapter that a Request asks for (None: the engine's own, "": none).
        at_once: how many answers are computed at the same time.
        defaults: how an answer is sampled where the request does not say.
    """

    inner: TransformersEngine
    models: Mapping[str, str | None]
    at_once: int
    defaults: Settings
    engine: str = "transformers"
    _rung: Bell | None = None

    @property
    def names(self) -> list[str]:
        """The models, as requests name them."""
        return list(self.models)

    def check(self, asked: ChatRequest | CompletionRequest) -> None:
        """Refuse what this engine does not compute, rather than leave it out in silence."""
        cure = "serve the model with --engine llama.cpp"
        for name in ("frequency_penalty", "presence_penalty", "logit_bias"):
            if getattr(asked, name):
                raise unsupported(name, cure)
        if not isinstance(asked, ChatRequest):
            return
        if asked.response_format and asked.response_format.type != "text":
            raise unsupported("response_format", cure)
        if asked.tools:
            raise unsupported("tools", cure)
        for place, message in enumerate(asked.messages):
            if message.role in {"tool", "function"} or message.tool_calls:
                raise unsupported(f"messages[{place}]", "this engine knows no tools")

    async def answer(self, single: Single) -> AsyncGenerator[list[Delta], None]:
        """Pieces of an answer as they come; closing it stops the computation."""
        ids = await anyio.to_thread.run_sync(self._ids, single)
        try:
            stream = self.inner.submit(self._request(single, ids))
        except KomtError as error:
            raise refused(error, single.prompt_field) from error
        news, tokens = asyncio.Event(), 0
        try:
            stream.on_piece(partial(self._bell().ring, news))
            while True:
                await news.wait()
                news.clear()
                pieces = stream.take()
                tokens += sum(piece.tokens for piece in pieces)
                deltas = [_delta(piece) for piece in pieces]
                if pieces and pieces[-1].finish:
                    deltas.append(Delta(usage=Usage(stream.prompt_tokens, stream.cached_tokens, tokens)))
                    yield deltas
                    return
                if deltas:
                    yield deltas
        except KomtError as error:
            raise ApiError(500, without_paths(error.what), kind="server_error") from error
        finally:
            stream.cancel()

    def _bell(self) -> Bell:
        """That of the loop that runs."""
        loop = asyncio.get_running_loop()
        if self._rung is None or self._rung.loop is not loop:
            self._rung = Bell(loop)
        return self._rung

    async def alive(self) -> bool:
        """It lives with this process."""
        return True

    async def close(self) -> None:
        """End the engine."""
        await anyio.to_thread.run_sync(self.inner.close)

    def _ids(self, single: Single) -> tuple[int, ...]:
        """The prompt's tokens.

        Raises:
            ApiError: it is empty, too long, of unknown tokens, or the model's template refuses it.
        """
        tokenizer = self.inner.tokenizer
        if isinstance(single.asked, ChatRequest):
            try:
                ids = self.inner.prompt_ids([_message(part) for part in single.asked.messages])
            except KomtError as error:
                raise refused(error, "messages") from error
        elif isinstance(single.prompt, str):
            ids = tokenizer(single.prompt)["input_ids"]
        else:
            ids = [part for part in single.prompt if isinstance(part, int)]
            if max(ids, default=0) >= len(tokenizer):
                raise ApiError(
                    400,
                    f"prompt: there is no token {max(ids)}; this model has {len(tokenizer)}",
                    param="prompt",
                    code="invalid_value",
                )
        if not ids:
            raise ApiError(400, "the prompt is empty", param=single.prompt_field, code="invalid_value")
        if len(ids) >= self.inner.context_tokens:
            raise too_long(len(ids), self.inner.context_tokens, single.prompt_field)
        return tuple(ids)

    def _request(self, single: Single, ids: tuple[int, ...]) -> Request:
        asked, defaults = single.asked, self.defaults
        chat = isinstance(asked, ChatRequest)
        settings = Settings(
            temperature=defaults.temperature if asked.temperature is None else asked.temperature,
            # 0 means the same as next to nothing: the likeliest token.
            top_p=defaults.top_p if asked.top_p is None else max(asked.top_p, 1e-6),
            top_k=defaults.top_k if asked.top_k is None else max(asked.top_k, 0),
            max_new_tokens=asked.limit or (defaults.max_new_tokens if chat else SHORT_COMPLETION_TOKENS),
            seed=single.seed,
        )
        return Request(ids, settings, asked.stops, asked.likeliest, self.models[asked.model])


def _message(message: ChatMessage) -> Message:
    return Message("system" if message.role == "developer" else message.role, message.text)


def _delta(piece: Piece) -> Delta:
    return Delta(piece.text, None, tuple(map(_logprob, piece.logprobs)), piece.finish)


def _logprob(token: TokenLogprob) -> Logprob:
    top = [_told(*one) for one in token.top]
    return {**_told(token.token, token.bytes, token.logprob), "top_logprobs": top}


def _told(text: str, data: bytes, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": finite(logprob), "bytes": list(data)}
