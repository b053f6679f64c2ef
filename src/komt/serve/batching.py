"""Continuous batching: all open streams are computed together, by one thread, as they come and go."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol

from torch import Tensor

from komt.errors import KomtError, ModelError, one_line
from komt.serve.answer import Answer
from komt.serve.engine import Piece, Request
from komt.serve.fair_lock import FairLock
from komt.serve.sampling import Sampler
from komt.serve.token_tree import Path

# Tokens of prompts that are computed in one step: fewer while others wait for their next token.
_PROMPT_TOKENS, _PROMPT_TOKENS_BESIDE = 512, 128
# Requests come in flocks: one that comes a moment after the first would wait for a whole step.
_FLOCK_S = 0.004
# Steps that one adapter's streams take before those of another have their turn.
_TURN_STEPS = 16


class Row(Protocol):
    """What computes the streams over one set of weights."""

    def enter(self, ids: Sequence[int]) -> Path: ...

    def grow(self, path: Path, token: int) -> None: ...

    def leave(self, path: Path) -> None: ...

    def compute(self, paths: Sequence[Path], budget: int) -> dict[Path, Tensor]: ...


class BatchStream:
    """An answer that the scheduler works on."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.prompt_tokens, self.cached_tokens = len(request.ids), 0
        self.cancelled = False
        self._pieces: SimpleQueue[Piece | KomtError | None] = SimpleQueue()
        self._notify: Callable[[], None] | None = None

    def __iter__(self) -> Iterator[Piece]:
        """Pieces as they come; a loop that ends early cancels the answer."""
        try:
            while (piece := self._pieces.get()) is not None:
                if isinstance(piece, KomtError):
                    raise piece
                yield piece
                if piece.finish:
                    return
        finally:
            self.cancel()

    def on_piece(self, notify: Callable[[], None]) -> None:
        """Call back, from the scheduler's thread, whenever `take` may have something new."""
        self._notify = notify
        if not self._pieces.empty():
            notify()

    def take(self) -> list[Piece]:
        """The pieces there are by now, without waiting.

        Raises:
            ModelError: the answer cannot go on.
        """
        found: list[Piece] = []
        while not self._pieces.empty():
            piece = self._pieces.get()
            if isinstance(piece, KomtError):
                raise piece
            if piece is not None:
                found.append(piece)
        return found

    def cancel(self) -> None:
        """Stop computing the answer; from any thread, any number of times."""
        self.cancelled = True
        self._pieces.put(None)

    def put(self, piece: Piece | KomtError | None) -> None:
        """Hand a piece, an error or the end (None) to whoever listens."""
        self._pieces.put(piece)
        if self._notify:
            self._notify()


@dataclass(eq=False)
class _Open:
    """A stream that is being computed."""

    stream: BatchStream
    path: Path
    sampler: Sampler
    answer: Answer
    left: int


@dataclass
class _Group:
    """Streams over one adapter."""

    row: Row
    waiting: deque[BatchStream] = field(default_factory=deque)
    open: list[_Open] = field(default_factory=list)


class Scheduler:
    """Runs the streams of one model in a thread of its own.

    Streams over one adapter form a group, which is computed as one row; groups take turns.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        new_row: Callable[[], Row],
        use: Callable[[str], None],
        stop: frozenset[int],
        context_tokens: int,
        most_streams: int,
        lock: FairLock,
    ) -> None:
        """Args:
        tokenizer: of the model.
        new_row: makes the row of a group.
        use: switches the model to an adapter ("" is the bare base).
        stop: tokens that end an answer.
        context_tokens: the most tokens of a prompt and its answer.
        most_streams: how many of a group are computed at a time; others wait in line.
        lock: held while the model is used.
        """
        self._tokenizer, self._new_row, self._use, self._stop = tokenizer, new_row, use, stop
        self._context, self._most, self._lock = context_tokens, most_streams, lock
        self._groups: dict[str, _Group] = {}
        self._news = threading.Condition()
        self._arrived: deque[tuple[str, BatchStream]] = deque()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, stream: BatchStream, adapter: str) -> None:
        """Put a stream in line; returns at once.

        Raises:
            ModelError: the engine is closed.
        """
        with self._news:
            if self._closed:
                raise _closed()
            self._arrived.append((adapter, stream))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="komt streams", daemon=True)
                self._thread.start()
            self._news.notify()

    def close(self) -> None:
        """End all streams with an error, and the thread."""
        with self._news:
            self._closed = True
            thread = self._thread
            self._news.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while self._take_news():
            for adapter, group in list(self._groups.items()):
                if group.open or group.waiting:
                    self._turn(adapter, group)
        for group in self._groups.values():
            for stream in [*(one.stream for one in group.open), *group.waiting]:
                stream.put(_closed())
        self._groups.clear()

    def _take_news(self, wait: bool = True) -> bool:
        """Sort what has arrived into groups; waits for something to do. False: closed."""
        with self._news:
            idle = wait and not self._is_busy()
            while idle and not self._closed and not self._arrived:
                self._news.wait()
            while idle and not self._closed and len(self._arrived) < self._most:
                if not self._news.wait(_FLOCK_S):
                    break
            while self._arrived:
                adapter, stream = self._arrived.popleft()
                if adapter not in self._groups:
                    self._groups[adapter] = _Group(self._new_row())
                self._groups[adapter].waiting.append(stream)
            return not self._closed

    def _is_busy(self) -> bool:
        return any(group.open or group.waiting for group in self._groups.values())

    def _turn(self, adapter: str, group: _Group) -> None:
        """Some steps of one group; a failure ends its open streams, and those in line get their chance."""
        with self._lock:
            try:
                self._use(adapter)
                for _ in range(_TURN_STEPS):
                    if not (group.open or group.waiting) or not self._take_news(wait=False):
                        return
                    self._step(group)
            except Exception as error:
                failed, group.open = group.open, []
                group.row = self._new_row()
                for one in failed:
                    one.stream.put(_explain(error))

    def _step(self, group: _Group) -> None:
        """Let streams leave and join, and compute a token for each whose prompt is done."""
        for one in [one for one in group.open if one.stream.cancelled]:
            self._leave(group, one, None)
        while group.waiting and len(group.open) < self._most:
            stream = group.waiting.popleft()
            if stream.cancelled:
                stream.put(None)
            else:
                self._join(group, stream)
        if not group.open:
            return
        beside = any(one.answer.started for one in group.open)
        budget = (_PROMPT_TOKENS_BESIDE if beside else _PROMPT_TOKENS) + len(group.open)
        logits = group.row.compute([one.path for one in group.open], budget)
        for one in [one for one in group.open if one.path in logits]:
            self._draw(group, one, logits[one.path])

    def _join(self, group: _Group, stream: BatchStream) -> None:
        request = stream.request
        path = group.row.enter(request.ids)
        stream.cached_tokens = path.cached
        left = min(request.settings.max_new_tokens, self._context - len(request.ids))
        answer = Answer(self._tokenizer, request.stop, request.logprobs)
        group.open.append(_Open(stream, path, Sampler(request.settings), answer, left))

    def _draw(self, group: _Group, one: _Open, logits: Tensor) -> None:
        token = one.sampler.draw(logits)
        if token in self._stop:
            self._leave(group, one, one.answer.end("stop"))
            return
        one.left -= 1
        piece = one.answer.add(token, logits)
        if piece is not None and piece.finish:
            self._leave(group, one, piece)
            return
        if piece is not None:
            one.stream.put(piece)
        if one.left:
            group.row.grow(one.path, token)
        else:
            self._leave(group, one, one.answer.end("length"))

    def _leave(self, group: _Group, one: _Open, last: Piece | None) -> None:
        group.row.leave(one.path)
        group.open.remove(one)
        one.stream.put(last)


def _closed() -> ModelError:
    return ModelError("the engine is closed")


def _explain(error: Exception) -> KomtError:
    if isinstance(error, KomtError):
        return error
    return ModelError(
        f"computing the answers failed: {one_line(error)}",
        cure="memory may have run out: fewer streams at a time, or shorter prompts",
    )
