"""An answer while it is written: its text so far, its counts, its end; to be stopped at any moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal

from komt.web.client import Api, ApiFault, Ask, Part

_BETWEEN_LOOKS_S = 0.04
_SHORTEST_S = 0.05  # Under it a speed says nothing.


@dataclass(frozen=True)
class Answer:
    """An answer so far.

    Attributes:
        ended: "" while it is written; stop, length, stopped (by the reader) or fault.
        prompt_tokens, tokens: as the API counts them; None where it did not say.
        pieces: number of pieces the text came in, about one a token.
        first_s, seconds: from the question to the first piece and to the latest one.
        finish: why the API says it ended.
        fault: what went wrong, with ended = fault.
    """

    text: str = ""
    ended: Literal["", "stop", "length", "stopped", "fault"] = ""
    prompt_tokens: int | None = None
    tokens: int | None = None
    pieces: int = 0
    first_s: float = 0.0
    seconds: float = 0.0
    finish: str = ""
    fault: ApiFault | None = None

    @property
    def speed(self) -> float | None:
        """Tokens a second, from the first one on; None for fewer than three of them."""
        tokens = self.tokens if self.tokens is not None else self.pieces
        seconds = self.seconds - self.first_s
        return (tokens - 1) / seconds if tokens > 2 and seconds > _SHORTEST_S else None

    def as_turn(self) -> dict[str, str | int | float]:
        """What a conversation keeps of it."""
        counts = {"prompt_tokens": self.prompt_tokens, "tokens": self.tokens}
        speed = self.speed
        return {
            "content": self.text,
            "ended": self.ended,
            **{key: value for key, value in counts.items() if value is not None},
            "pieces": self.pieces,
            "first_s": round(self.first_s, 3),
            "seconds": round(self.seconds, 3),
            **({"speed": round(speed, 2)} if speed else {}),
        }


async def write(api: Api, ask: Ask, stop: asyncio.Event) -> AsyncGenerator[Answer, None]:
    """The answer, again and again while it grows, at most 25 times a second; the last one has `ended`.

    Nothing is raised for a fault of the API: the last answer carries it, with the text that had come.
    """
    arrived: asyncio.Queue[Part | ApiFault | None] = asyncio.Queue()
    reader = asyncio.create_task(_read(api, ask, arrived))
    halted = asyncio.create_task(stop.wait())
    halted.add_done_callback(lambda _: arrived.put_nowait(None))
    start, answer = time.monotonic(), Answer()
    try:
        while not answer.ended:
            item = await arrived.get()
            answer = _grown(answer, item, time.monotonic() - start, stop.is_set())
            while not answer.ended and not arrived.empty():
                answer = _grown(answer, arrived.get_nowait(), time.monotonic() - start, stop.is_set())
            yield answer
            if not answer.ended:
                await asyncio.sleep(_BETWEEN_LOOKS_S)
    finally:
        halted.cancel()
        reader.cancel()
        await asyncio.gather(reader, halted, return_exceptions=True)


async def _read(api: Api, ask: Ask, arrived: asyncio.Queue[Part | ApiFault | None]) -> None:
    try:
        async with aclosing(api.stream(ask)) as parts:
            async for part in parts:
                arrived.put_nowait(part)
        arrived.put_nowait(None)
    except ApiFault as fault:
        arrived.put_nowait(fault)
    except Exception as error:  # Whatever it is, neither the reader of the queue nor the page waits for ever.
        arrived.put_nowait(ApiFault("cut", f"{type(error).__name__}: {error}"))


def _grown(answer: Answer, item: Part | ApiFault | None, seconds: float, halted: bool) -> Answer:
    """The answer with the next piece, or ended by None (no more), a fault, or the reader's stop."""
    if halted:
        return replace(answer, ended="stopped")
    if isinstance(item, ApiFault):
        return replace(answer, ended="fault", fault=item)
    if item is None:
        return replace(answer, ended="length" if answer.finish == "length" else "stop")
    return replace(
        answer,
        text=answer.text + item.text,
        pieces=answer.pieces + bool(item.text),
        first_s=answer.first_s if answer.pieces or not item.text else seconds,
        seconds=seconds if item.text else answer.seconds,
        prompt_tokens=item.prompt_tokens if item.prompt_tokens is not None else answer.prompt_tokens,
        tokens=item.tokens if item.tokens is not None else answer.tokens,
        finish=item.finish or answer.finish,
    )


async def write_all(api: Api, asks: Sequence[Ask], stop: asyncio.Event) -> AsyncGenerator[list[Answer], None]:
    """Several answers at once, all of them each time one has grown."""
    answers = [Answer() for _ in asks]
    grown: asyncio.Queue[int] = asyncio.Queue()

    async def follow(place: int, ask: Ask) -> None:
        async with aclosing(write(api, ask, stop)) as growing:
            async for answers[place] in growing:
                grown.put_nowait(place)

    writers = [asyncio.create_task(follow(place, ask)) for place, ask in enumerate(asks)]
    try:
        shown = list(answers)
        while not all(answer.ended for answer in shown):
            await grown.get()
            while not grown.empty():
                grown.get_nowait()
            shown = list(answers)  # The answers may go on growing while these are looked at.
            yield shown
    finally:
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
