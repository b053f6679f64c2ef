"""A judge computed by an engine of this process: as many replies at a time as the engine batches."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from komt.errors import ModelError
from komt.judge.ask import RefusedError
from komt.judge.call import Call, Reply
from komt.serve.engine import Request, Settings, Stream, SubmittingEngine


class EngineTransport:
    """Requests to an engine's `submit`.

    Attributes:
        judge: the model and its revision.
        at_once: how many the engine computes together.
    """

    def __init__(self, engine: SubmittingEngine, judge: str, at_once: int) -> None:
        self.judge, self.at_once, self._engine = judge, at_once, engine
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="judge")

    async def ask(self, call: Call) -> Reply:
        """One request; see `komt.judge.ask.Transport`."""
        began = time.monotonic()
        try:
            ids = tuple(self._engine.prompt_ids(call.messages))
            if len(ids) + call.max_tokens > self._engine.context_tokens:
                raise RefusedError(
                    f"a prompt of {len(ids):,} tokens and {call.max_tokens:,} for the reply do not fit into "
                    f"the context of {self._engine.context_tokens:,}"
                )
            stream = self._engine.submit(Request(ids, settings_of(call)))
        except ModelError as error:
            raise RefusedError(error.what) from error
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _read, stream, began)
        finally:
            stream.cancel()

    async def close(self) -> None:
        """End the engine."""
        self._engine.close()
        self._pool.shutdown()


def settings_of(call: Call) -> Settings:
    """How a call is sampled."""
    given = call.settings
    return Settings(
        temperature=float(given.get("temperature", 0)),
        top_p=float(given.get("top_p", 1)),
        top_k=int(given.get("top_k", 0)),
        max_new_tokens=call.max_tokens,
        seed=given.get("seed"),
    )


def _read(stream: Stream, began: float) -> Reply:
    text, tokens, finish = [], 0, ""
    for piece in stream:
        text.append(piece.text)
        tokens += piece.tokens
        finish = piece.finish
    return Reply("".join(text), finish == "length", stream.prompt_tokens, tokens, time.monotonic() - began)
