"""News of many streams to one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

from komt.api.bell import Bell


class Loop:
    """A loop that is woken by hand, or is at its end."""

    def __init__(self, ended: bool = False) -> None:
        self.ended = ended
        self.calls: list[Callable[[], None]] = []

    def call_soon_threadsafe(self, call: Callable[[], None]) -> None:
        if self.ended:
            raise RuntimeError("Event loop is closed")
        self.calls.append(call)


def bell_of(loop: Loop) -> Bell:
    return Bell(cast(Any, loop))


def test_the_news_of_a_step_come_by_one_waking():
    loop, events = Loop(), [asyncio.Event() for _ in range(3)]
    bell = bell_of(loop)
    for event in events:
        bell.ring(event)
    assert len(loop.calls) == 1
    assert not any(event.is_set() for event in events)
    loop.calls.pop()()
    assert all(event.is_set() for event in events)
    later = asyncio.Event()
    bell.ring(later)
    loop.calls.pop()()
    assert later.is_set()


def test_no_news_are_lost_between_threads():
    rounds = 2000

    async def run() -> None:
        bell, events = Bell(asyncio.get_running_loop()), [asyncio.Event() for _ in range(4)]
        heard = [threading.Semaphore(0) for _ in events]

        def ring(place: int) -> None:
            for _ in range(rounds):
                bell.ring(events[place])
                assert heard[place].acquire(timeout=60)

        async def listen(place: int) -> None:
            for _ in range(rounds):
                await asyncio.wait_for(events[place].wait(), 60)
                events[place].clear()
                heard[place].release()

        threads = [threading.Thread(target=ring, args=(place,)) for place in range(len(events))]
        for thread in threads:
            thread.start()
        await asyncio.gather(*map(listen, range(len(events))))
        for thread in threads:
            thread.join()

    asyncio.run(run())


def test_a_loop_that_has_ended_is_left_alone():
    event = asyncio.Event()
    bell_of(Loop(ended=True)).ring(event)
    assert not event.is_set()
