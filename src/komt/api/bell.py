"""From the thread that computes to the event loop that sends."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress


class Bell:
    """Tells an event loop, from other threads, which of its events have come: woken once for all of a step.

    Each waking costs a system call, and takes the interpreter from the thread that computes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._rung: deque[asyncio.Event] = deque()
        self._woken = False

    def ring(self, event: asyncio.Event) -> None:
        """Set an event of the loop; from any thread."""
        # In this order, and in the other one below: an event is never left behind.
        self._rung.append(event)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended, and nobody listens any more
                self.loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._woken = False
        while self._rung:
            self._rung.popleft().set()
