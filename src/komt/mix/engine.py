"""Where the work of a build is done: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from komt.errors import DataError, KomtError, need
from komt.files import data_root, home
from komt.process import collect_seldom, collecting_seldom, cores, end_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")
# Items on their way per process: the next is there when one is done, and memory stays flat.
_AHEAD = 3
# How often in a row the work is done again after a worker was killed.
_TRIES = 3
_ONE_THREAD = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


class Engine(Protocol):
    """Applies a function to items, wherever; results come in the items' order, whatever finished first."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in order. The function is importable by name, and items and results can be pickled.

        Work may begin before the first result is asked for, and another map before the last one is. It may
        be called twice for an item, when a worker was killed: what it writes appears whole or not at all,
        and is the same each time.
        """

    def close(self) -> None:
        """Let the workers go."""


class InProcess:
    """One item after the other, here: for small data, where starting a process would take longer."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As `Engine.map`."""
        return map(function, items)

    def close(self) -> None:
        """Nothing to let go."""


@dataclass(frozen=True, slots=True)
class _Sent(Generic[Item, Result]):
    """An item that was sent to worker processes, and its result to come."""

    item: Item
    pool: ProcessPoolExecutor
    future: Future[Result]

    @property
    def lost(self) -> bool:
        """Whether there is no result to come, since a worker was killed."""
        future = self.future
        return future.cancelled() or (future.done() and isinstance(future.exception(), BrokenProcessPool))


class Processes:
    """Worker processes of this machine. What a killed one had is done again.

    Args:
        count: how many; default: as many as this process may use cores.
    """

    def __init__(self, count: int = 0) -> None:
        self._count = count or cores()
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As `Engine.map`; the first items are sent out at once, and few are on their way at a time.

        Raises:
            DataError: workers were killed again and again. What is finished stays finished.
        """
        sent, rest = deque[_Sent[Item, Result]](), iter(items)
        self._send(function, sent, rest)
        return self._results(function, sent, rest)

    def _send(
        self, function: Callable[[Item], Result], sent: deque[_Sent[Item, Result]], rest: Iterator[Item]
    ) -> None:
        for item in islice(rest, self._count * _AHEAD - len(sent)):
            sent.append(self._submit(function, item))

    def _results(
        self, function: Callable[[Item], Result], sent: deque[_Sent[Item, Result]], rest: Iterator[Item]
    ) -> Iterator[Result]:
        killed = 0
        try:
            while sent:
                try:
                    result = sent[0].future.result()
                except (BrokenProcessPool, CancelledError) as error:
                    if (killed := killed + 1) > _TRIES:
                        raise _killed() from error
                    # Another map may have begun with new processes already.
                    if sent[0].pool is self._pool:
                        self.close()
                    for place, old in enumerate(sent):
                        if old.lost:
                            sent[place] = self._submit(function, old.item)
                    continue
                killed = 0
                sent.popleft()
                yield result
                self._send(function, sent, rest)
        finally:
            for one in sent:
                one.future.cancel()

    def _submit(self, function: Callable[[Item], Result], item: Item) -> _Sent[Item, Result]:
        if self._pool is None:
            # Not forked: a fork of a process whose libraries run threads may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, mp_context=context, initializer=_begin_worker)
        try:
            future = self._pool.submit(function, item)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        return _Sent(item, self._pool, future)

    def close(self) -> None:
        """Stop the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _killed() -> DataError:
    return DataError(
        f"a worker process was killed {_TRIES + 1} times at the same work, perhaps for want of memory",
        cure="run the same command again: finished parts are kept; --processes 1 needs least memory",
    )


def _begin_worker() -> None:
    """Each process is one worker, without threads in the way of the others; it ends with its parent."""
    import pyarrow as pa

    # Ctrl-C reaches every process of a terminal: the first one stops the others, between two parts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(_ONE_THREAD)
    collect_seldom()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    end_with_parent()


class Ray:
    """Ray Data: one machine, or a cluster with a common file system; what a killed worker had is done again.

    The cluster is the one this process is connected to, that of RAY_ADDRESS, or else a local one.
    """

    def __init__(self) -> None:
        need("ray.data", extra="cluster")
        import ray

        self._own = not ray.is_initialized()
        if self._own:
            ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        logging.getLogger("ray.data").setLevel(logging.ERROR)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As `Engine.map`, in waves, so that the rows of a large source are never all in memory."""
        import ray

        ray.data.DataContext.get_current().enable_progress_bars = False
        # Workers on other machines find models and stages where this process does.
        folders = {"KOMT_HOME": str(home().resolve()), "KOMT_DATA": str(data_root().resolve())}
        environment = {"env_vars": {**_ONE_THREAD, **folders}}
        wave_items = max(8, 4 * int(ray.cluster_resources().get("CPU", 1)))
        rest = iter(items)
        while wave := [{"place": n, "item": pickle.dumps(i)} for n, i in enumerate(islice(rest, wave_items))]:
            data = ray.data.from_items(wave, override_num_blocks=len(wave))
            done = data.map(_applied, fn_args=(function,), runtime_env=environment)
            results = {int(row["place"]): row["result"] for row in done.iter_rows()}
            for place in range(len(wave)):
                # Written by a worker of this very program.
                result = pickle.loads(results[place])
                if isinstance(result, _Failed):
                    raise result.error
                yield result

    def close(self) -> None:
        """Leave the cluster."""
        import ray

        if self._own:
            ray.shutdown()


class _Failed:
    """What a worker says instead of a result: Ray would wrap the error in its own, with its own words."""

    def __init__(self, error: KomtError) -> None:
        self.error = error


def _applied(row: dict[str, Any], function: Callable[[Any], Any]) -> dict[str, Any]:
    try:
        with collecting_seldom():
            result = function(pickle.loads(row["item"]))
    except KomtError as error:
        result = _Failed(error)
    return {"place": row["place"], "result": pickle.dumps(result)}


def engine_named(name: str, processes: int, items: int) -> Engine:
    """The engine of a recipe's build.

    Args:
        name: local or ray.
        processes: of the local engine; 0 for as many as there are cores, where there is work for them.
        items: how many pieces of work there are at least.
    """
    if name == "ray":
        return Ray()
    count = processes or min(cores(), items)
    return Processes(count) if count > 1 else InProcess()
