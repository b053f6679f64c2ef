"""A route that answers: reads the request, lets the engine work, and stops it when the client leaves."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import anyio.to_thread
from starlette.types import Receive, Scope, Send

from komt import __version__
from komt.api.backend import Backend, Delta, Single, singles
from komt.api.errors import ApiError, failed, unknown_model
from komt.api.gate import Gate, Pieces, answer_all
from komt.api.guard import read_body, send_error, send_json
from komt.api.metrics import Metrics
from komt.api.replies import Choice, Reply, dumps
from komt.api.requests import ChatRequest, CompletionRequest, parse
from komt.api.settings import ServerSettings

_LONG_BYTES = 64 << 10
_LOG = logging.getLogger("komt.api")


@dataclass(frozen=True)
class Served:
    """A backend and the line before it."""

    backend: Backend
    gate: Gate


class Answering:
    """One of the two routes that answer, as an ASGI application.

    Attributes:
        kind: what is asked there.
        route: its name in the metrics.
        served: who answers, by model name.
    """

    def __init__(
        self,
        kind: type[ChatRequest] | type[CompletionRequest],
        served: Mapping[str, Served],
        settings: ServerSettings,
        metrics: Metrics,
    ) -> None:
        self._kind, self._served, self._settings, self._metrics = kind, served, settings, metrics
        self._route = "chat" if kind is ChatRequest else "completions"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        model = ""
        try:
            body = await read_body(receive, self._settings.body_bytes, self._settings.stalled_s)
            if body is None:
                self._metrics.left()
                return
            # A long one must not hold up everybody's streams.
            long = len(body) > _LONG_BYTES
            asked = await anyio.to_thread.run_sync(self._parse, body) if long else self._parse(body)
            model = asked.model
            self._served[model].backend.check(asked)
        except ApiError as error:
            self._metrics.answered(self._route, model, error.status)
            await send_error(error, send)
            return
        await self._unless_left(asked, receive, send)

    def _parse(self, body: bytes) -> ChatRequest | CompletionRequest:
        asked: ChatRequest | CompletionRequest
        asked = parse(ChatRequest, body) if self._kind is ChatRequest else parse(CompletionRequest, body)
        if asked.model not in self._served:
            raise unknown_model(asked.model, list(self._served))
        return asked

    async def _unless_left(
        self, asked: ChatRequest | CompletionRequest, receive: Receive, send: Send
    ) -> None:
        """Answer; a client that leaves, or takes nothing more, frees its place in line or at the engine."""
        sending = self._sending(asked, send)
        work = asyncio.ensure_future(self._answer(asked, sending))
        leaving = asyncio.ensure_future(_left(receive))
        stalling = asyncio.ensure_future(sending.stalled(self._settings.stalled_s))
        try:
            await asyncio.wait({work, leaving, stalling}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                self._metrics.left()
        finally:
            for task in (work, leaving, stalling):
                task.cancel()
            await asyncio.wait({work, leaving, stalling})

    def _sending(self, asked: ChatRequest | CompletionRequest, send: Send) -> _Sending:
        answers = singles(asked)
        reply = Reply(
            answers,
            f"{'chatcmpl' if self._route == 'chat' else 'cmpl'}-{secrets.token_hex(12)}",
            int(time.time()),
            asked.model,
            f"komt-{__version__}-{self._served[asked.model].backend.engine}",
        )
        return _Sending(reply, send, [Choice() for _ in answers])

    async def _answer(self, asked: ChatRequest | CompletionRequest, sending: _Sending) -> None:
        served = self._served[asked.model]
        status = 200
        try:
            async with aclosing(answer_all(served.backend, served.gate, sending.asked)) as pieces:
                await (sending.stream(pieces) if asked.stream else sending.whole(pieces))
        except ApiError as error:
            status = error.status
            await sending.error(error)
        except Exception:
            _LOG.exception("a request failed")
            status = 500
            await sending.error(failed())
        self._metrics.answered(self._route, asked.model, status)
        sending.count(self._metrics)


class _Sending:
    """The way of one answer to its client."""

    def __init__(self, reply: Reply, send: Send, choices: list[Choice]) -> None:
        self._reply, self._send, self._choices = reply, send, choices
        self._began = time.perf_counter()
        self._pushing_since: float | None = None
        self._first: float | None = None
        self._started = False

    @property
    def asked(self) -> Sequence[Single]:
        """The answers that are sent."""
        return self._reply.asked

    async def stalled(self, most_s: float) -> None:
        """Return when the client has taken nothing of its answer for so long."""
        # A look now and then costs less than a timer around each piece.
        while self._pushing_since is None or time.perf_counter() - self._pushing_since < most_s:
            await asyncio.sleep(most_s / 4)

    async def stream(self, pieces: Pieces) -> None:
        """Events as they come; the status goes out with the first one: an error before it has its own."""
        async for place, deltas in pieces:
            events = self._reply.events(place, deltas)
            self._note(place, deltas)
            if not self._started:
                await self._start()
                events = self._reply.opening() + events
            if events:
                await self._push(events)
        await self._push(self._reply.closing(self._choices), more=False)

    async def whole(self, pieces: Pieces) -> None:
        """All of it at the end."""
        async for place, deltas in pieces:
            self._note(place, deltas)
            for delta in deltas:
                self._choices[place].add(delta)
        self._started = True
        await send_json(200, self._reply.whole(self._choices), self._send)

    async def error(self, error: ApiError) -> None:
        """An error in place of the answer, or as a stream's last event."""
        if self._started:
            await self._push(b"data: " + dumps(error.body()) + b"\n\n", more=False)
        else:
            await send_error(error, self._send)

    def count(self, metrics: Metrics) -> None:
        """Tell the metrics what was computed."""
        for choice in self._choices:
            if choice.usage:
                metrics.counted(self._reply.model, choice.usage)
        if self._first is not None:
            metrics.timed(self._first - self._began, time.perf_counter() - self._began)

    def _note(self, place: int, deltas: list[Delta]) -> None:
        if self._first is None:
            self._first = time.perf_counter()
        for delta in deltas:
            if delta.usage:
                self._choices[place].usage = delta.usage

    async def _start(self) -> None:
        self._started = True
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _push(self, data: bytes, *, more: bool = True) -> None:
        self._pushing_since = time.perf_counter()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._pushing_since = None


async def _left(receive: Receive) -> None:
    """Return when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
