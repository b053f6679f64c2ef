"""Who is next: answers are computed so many at a time, in the order in which they were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

import anyio

from komt.api.backend import Backend, Delta, Single
from komt.api.errors import ApiError


class Gate:
    """Lets a number of answers through at a time; the others wait in line.

    Attributes:
        waiting, running: how many there are now.
    """

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self._places, self._most = anyio.Semaphore(at_once), most_waiting
        self.waiting = self.running = 0

    async def __aenter__(self) -> None:
        if self.waiting >= self._most:
            raise ApiError(
                429,
                "too many requests are waiting; try again in a moment",
                kind="rate_limit_error",
                code="queue_full",
                headers={"Retry-After": "5"},
            )
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.running += 1

    async def __aexit__(self, *_: object) -> None:
        self.running -= 1
        self._places.release()


# A choice's place, and what has come of it.
Pieces = AsyncGenerator[tuple[int, list[Delta]], None]


async def answer_all(backend: Backend, gate: Gate, asked: Sequence[Single]) -> Pieces:
    """Pieces of all answers as they come, each with its place; closing it stops them all."""
    if len(asked) == 1:
        async with gate, aclosing(backend.answer(asked[0])) as pieces:
            async for deltas in pieces:
                yield asked[0].place, deltas
        return
    ready: asyncio.Queue[tuple[int, list[Delta]] | BaseException | None] = asyncio.Queue(maxsize=16)

    async def run(single: Single) -> None:
        try:
            async with gate, aclosing(backend.answer(single)) as pieces:
                async for deltas in pieces:
                    await ready.put((single.place, deltas))
        except Exception as error:
            await ready.put(error)
        else:
            await ready.put(None)

    tasks = [asyncio.create_task(run(single)) for single in asked]
    try:
        left = len(tasks)
        while left:
            found = await ready.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
