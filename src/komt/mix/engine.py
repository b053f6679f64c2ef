"""Where the work of a build is done: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, Protocol, TypeVar

from komt.errors import DataError, KomtError, need
from komt.files import data_root, home
from komt.process import collect_seldom, collecting_seldom, end_with_parent

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

        It may be called twice for an item, when a worker was killed: what it writes appears whole or not at
        all, and is the same each time. One map at a time.
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


class Processes:
    """Worker processes of this machine. What a killed one had is done again.

    Args:
        count: how many; default: as many as the machine has cores.
    """

    def __init__(self, count: int = 0) -> None:
        self._count = count or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As `Engine.map`; few items are on their way at a time.

        Raises:
            DataError: workers were killed again and again. What is finished stays finished.
        """
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        rest = iter(items)
        killed = 0
        try:
            while True:
                for item in islice(rest, self._count * _AHEAD - len(waiting)):
                    waiting.append((item, self._submit(function, item)))
                if not waiting:
                    return
                try:
                    result = waiting[0][1].result()
                except BrokenProcessPool as error:
                    self.close()
                    if (killed := killed + 1) > _TRIES:
                        raise _killed() from error
                    for place, (item, future) in enumerate(waiting):
                        if future.cancelled() or isinstance(future.exception(), BrokenProcessPool):
                            waiting[place] = item, self._submit(function, item)
                    continue
                killed = 0
                waiting.popleft()
                yield result
        finally:
            for _, future in waiting:
                future.cancel()

    def _submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        if self._pool is None:
            # Not forked: a fork of a process whose libraries run threads may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, mp_context=context, initializer=_begin_worker)
        try:
            return self._pool.submit(function, item)
        except BrokenProcessPool as error:
            future: Future[Result] = Future()
            future.set_exception(error)
            return future

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
    count = processes or min(os.cpu_count() or 1, items)
    return Processes(count) if count > 1 else InProcess()
