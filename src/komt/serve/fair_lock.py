"""A lock whose waiters get it in the order they came."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """Like `threading.Lock` in a `with` statement; taking it again and again keeps nobody out."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._line: deque[object] = deque()  # the first one has the lock

    def __enter__(self) -> None:
        me = object()
        with self._turn:
            self._line.append(me)
            try:
                self._turn.wait_for(lambda: self._line[0] is me)
            except BaseException:  # Ctrl-C while waiting: those behind must not wait for this place
                self._line.remove(me)
                self._turn.notify_all()
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._turn:
            self._line.popleft()
            self._turn.notify_all()
