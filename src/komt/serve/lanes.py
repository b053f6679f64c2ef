"""Work that an engine may do side by side: as many pieces at a time as it has lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_lanes(
    engine: Any, function: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[tuple[Job, Result]]:
    """Each job with its result as it is done; one after the other where the engine has one lane."""
    lanes = min(int(getattr(engine, "lanes", 1)), len(jobs))
    if lanes <= 1:
        for job in jobs:
            yield job, function(job)
        return
    pool = ThreadPoolExecutor(lanes)  # the threads only wait for the processes that compute
    waiting = {pool.submit(function, job): job for job in jobs}
    try:
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    finally:
        # Not waited for: whoever interrupts this closes the engine next, and that ends what still runs.
        pool.shutdown(wait=False, cancel_futures=True)
