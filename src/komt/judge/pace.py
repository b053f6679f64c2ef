"""How many requests run at once: more while all goes well, half when the server is busy (AIMD).

Source: Chiu and Jain, Analysis of the Increase and Decrease Algorithms for Congestion Avoidance (1989).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_FIRST = 4.0
_LONGEST_PAUSE_S = 120.0


class Pace:
    """A gate for requests.

    Attributes:
        limit: how many may run at a time now, from 1 to `most`.
        lowest: the smallest that `limit` has been.
        running: how many do.
    """

    def __init__(self, most: int, *, first_pause_s: float = 0.5) -> None:
        self._most = float(most)
        self.limit = self.lowest = min(_FIRST, self._most)
        self.running = 0
        self._not_before = 0.0
        self._slowed = 0.0
        self._busy_in_a_row = 0
        self._random, self._first_pause_s = random.Random(), first_pause_s
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a turn; the block gets the time when it began (for `busy`)."""
        async with self._changed:
            while True:
                await self._changed.wait_for(lambda: self.running < int(self.limit))
                wait = self._not_before - time.monotonic()
                if wait <= 0:
                    break
                self._changed.release()
                try:
                    await asyncio.sleep(wait)
                finally:
                    await self._changed.acquire()
            self.running += 1
        try:
            yield time.monotonic()
        finally:
            self.running -= 1
            async with self._changed:
                self._changed.notify_all()

    def went_well(self) -> None:
        """A reply came: one more at a time for every round of them."""
        self._busy_in_a_row = 0
        self.limit = min(self._most, self.limit + 1 / self.limit)

    def busy(self, began: float, retry_after_s: float | None) -> None:
        """The server is busy: half as many from now on, and none before it asks for them again.

        Requests that were under way when the limit was last halved say nothing new.

        Args:
            began: when the request was sent, as `turn` gave it.
            retry_after_s: what the server asks for, or None: then a pause that doubles, with jitter.
        """
        now = time.monotonic()
        if began >= self._slowed:
            self._slowed = now
            self._busy_in_a_row += 1
            self.limit = max(1.0, self.limit / 2)
            self.lowest = min(self.lowest, self.limit)
        pause = retry_after_s
        if pause is None:
            pause = backoff_s(self._busy_in_a_row, self._random, first=self._first_pause_s)
        self._not_before = max(self._not_before, now + min(pause, _LONGEST_PAUSE_S))


def backoff_s(attempt: int, random_: random.Random, *, first: float = 0.5, most: float = 30.0) -> float:
    """A pause before trying again: the longest doubles each time, and a random part of it is taken.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (equal jitter).

    Args:
        attempt: from 1 on.
        random_: where the jitter comes from.
        first: seconds, the longest pause after the first attempt.
        most: seconds, the longest of all.
    """
    ceiling = min(most, first * 2.0 ** min(attempt - 1, 20))
    return ceiling / 2 + random_.random() * ceiling / 2
