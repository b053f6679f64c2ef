"""One training at a time in a folder: two would write one log, and take each other's checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from komt.errors import UsageError
from komt.files import locked
from komt.train.processes import by_main, is_main


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """No other komt trains in `out` during the block; the processes of one training count as one.

    The system lets go of the lock however the process ends.

    Raises:
        UsageError: another one is training there.
    """
    lock = locked(out)
    by_main(lambda: _take(lock, out))
    try:
        yield
    finally:
        if is_main():
            lock.release()


def _take(lock: FileLock, out: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            "another komt is training in this folder",
            where=str(out),
            cure="wait until it has ended, or choose another --out",
        ) from None
