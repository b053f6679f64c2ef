"""Where the work of a build is done: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, Protocol, TypeVar

from komt.errors import DataError, need

Item = TypeVar("Item")
Result = TypeVar("Result")
# Items on their way per process: the next is there when one is done, and memory stays flat.
_AHEAD = 3
_RAY_WAVE = 64


class Engine(Protocol):
    """Applies a function to items, wherever; results come in the items' order, whatever finished first."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in order. The function is importable by name, and items can be pickled."""

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
    """Worker processes of this machine.

    Args:
        count: how many; default: as many as the machine has cores.
    """

    def __init__(self, count: int = 0) -> None:
        self._count = count or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As `Engine.map`; few items are on their way at a time.

        Raises:
            DataError: a worker was killed. What is finished stays finished.
        """
        if self._pool is None:
            # Not forked: a fork of a process whose libraries run threads may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, mp_context=context, initializer=_one_thread)
        waiting: deque[Future[Result]] = deque()
        rest = iter(items)
        try:
            for item in islice(rest, self._count * _AHEAD):
                waiting.append(self._pool.submit(function, item))
            while waiting:
                result = waiting.popleft().result()
                for item in islice(rest, 1):
                    waiting.append(self._pool.submit(function, item))
                yield result
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process of the build was killed, perhaps for want of memory",
                cure="run the same command again: finished parts are kept; --processes 1 needs least memory",
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Stop the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


class Ray:
    """Ray Data: one machine, or a cluster with a common file system; what a killed worker had is redone."""

    def __init__(self) -> None:
        need("ray", extra="cluster")
        import ray

        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As `Engine.map`, in waves, so that the rows of a large source are never all in memory."""
        import ray

        rest = iter(items)
        while wave := list(islice(rest, _RAY_WAVE)):
            rows = [{"place": place, "item": [item]} for place, item in enumerate(wave)]
            data = ray.data.from_items(rows, override_num_blocks=len(rows))
            done = data.map(_applied, fn_args=(function,))
            results = {int(row["place"]): row["result"][0] for row in done.iter_rows()}
            yield from (results[place] for place in range(len(wave)))

    def close(self) -> None:
        """Leave the cluster."""
        import ray

        ray.shutdown()


def _applied(row: dict[str, Any], function: Callable[[Any], Any]) -> dict[str, Any]:
    return {"place": row["place"], "result": [function(row["item"][0])]}


def _one_thread() -> None:
    """Each process is one worker: the tokenizer's own threads would only get in each other's way."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


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
