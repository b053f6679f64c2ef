"""Writing below KOMT_DATA: one process at a time, and a clear word where nothing may be written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from komt.errors import DataError
from komt.files import data_root, hash_of, home


@contextlib.contextmanager
def alone(target: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Nobody else makes `target` meanwhile; `waiting` is called where somebody does.

    The lock lies in KOMT_HOME/locks: data folders hold data only.

    Raises:
        DataError: KOMT_HOME cannot be written to.
    """
    folder = home() / "locks"
    lock = FileLock(str(folder / f"{target.name}-{hash_of(str(target.resolve()))[:16]}.lock"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
    except OSError as error:
        raise DataError(
            f"no lock can be made in KOMT_HOME: {error.strerror or error}",
            where=str(folder),
            cure="choose a KOMT_HOME that you may write to",
        ) from error
    try:
        yield
    finally:
        lock.release()


def refuse_read_only(target: Path) -> None:
    """Do nothing where a file may be written: neither it nor its folder is kept from writing for everybody.

    The system would let its administrator overwrite both.

    Raises:
        DataError: one of the two is read-only.
    """
    folder = next((above for above in target.parents if above.exists()), target.parent)
    for path in (target, folder):
        if path.exists() and not path.stat().st_mode & 0o222:
            raise not_writable(path, OSError(errno.EROFS, f"{path.name} is read-only"))


def not_writable(folder: Path, error: OSError) -> DataError:
    """The error for a data folder that nothing can be written into."""
    cure = "choose a KOMT_HOME that you may write to"
    if os.environ.get("KOMT_DATA"):
        cure = (
            "KOMT_DATA points there: unset it (files then go to KOMT_HOME/data), "
            "or set it to a folder you may write to"
        )
    return DataError(
        f"nothing can be written below {data_root()}: {error.strerror or error}", where=str(folder), cure=cure
    )
