"""What every program of komt does around its work: threads that wait quietly, one message, an exit status."""

from __future__ import annotations

import ctypes
import errno
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from komt.errors import KomtError

_FULL_DISK = (
    "no space left on the disk; nothing half-written was kept\n"
    "  to mend it: free some space, or point KOMT_HOME and --out to another disk"
)

_WAIT_POLICY = "OMP_WAIT_POLICY"
# Not as a person would write it (upper and lower case are one to OpenMP), so that theirs is told from ours.
_OURS = "Passive"


def cores() -> int:
    """How many cores this process may use, where the system tells; else how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def guarded(work: Callable[[], int]) -> int:
    """Do the work; a mistake becomes one message and exit status 1 or 2, without a traceback."""
    # Threads that spin while they wait make torch several times slower when anything else uses the CPU.
    # Read when torch is first imported, so set here.
    if _WAIT_POLICY not in os.environ:
        os.environ[_WAIT_POLICY] = _OURS
    try:
        with _terminable():
            status = work()
        sys.stdout.flush()
        return status
    except KomtError as error:
        print(f"komt: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt as error:
        kept = str(error) or "finished stages are kept, nothing is half-written"
        print(f"\nkomt: interrupted; {kept}", file=sys.stderr)
        return 128 + signal.SIGTERM if isinstance(error, _Terminated) else 1
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone: not a failure, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"komt: {_explain_os_error(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if not _is_full_disk(error):
            raise
        print(f"komt: {_FULL_DISK}", file=sys.stderr)
        return 1


class _Terminated(KeyboardInterrupt):
    """SIGTERM: the work ends as it does on Ctrl-C."""


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM lets the work clean up behind itself; a second one ends the program at once.

    Work that has a handler of its own (training, serving) sets it meanwhile.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


@contextmanager
def spinning_threads() -> Iterator[None]:
    """A library that is first loaded in the block lets its threads spin for a moment, as OpenMP does itself.

    llama.cpp needs that: its threads wait for each other some hundred times a token. Once torch is loaded it
    has decided for both, and a choice of the person's own stays.
    """
    ours = os.environ.get(_WAIT_POLICY) == _OURS
    if ours:
        del os.environ[_WAIT_POLICY]
    try:
        yield
    finally:
        if ours:
            os.environ[_WAIT_POLICY] = _OURS


def spin_before_sleep() -> None:
    """Before torch is imported: threads spin for less than a millisecond before they sleep.

    Decoding a token takes hundreds of short parallel steps, each of which would wake every thread anew.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "200000")


def end_with_parent() -> None:
    """From now on this worker process ends as soon as the one that started it, whatever it is at."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        # A parent that was killed cannot stop its workers; they would go on, or wait for work for ever.
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def share_heaps() -> None:
    """Threads that come from now on share two heaps, where the C library is glibc.

    It gives every thread one of up to eight a core, and what lies free in one serves no other: the memory of
    a server with many threads grows for hours.
    """
    arena_max = -8  # M_ARENA_MAX of malloc.h
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(arena_max, 2)


def give_back_memory() -> None:
    """Give the system what lies free in the C library's heap, where that is glibc.

    What tensors of one work leave behind does not always suit the next: the process would grow beside it.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _explain_os_error(error: OSError) -> str:
    where = f"\n  where: {error.filename}" if error.filename else ""
    if _is_full_disk(error):
        return f"{_FULL_DISK}{where}"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        cure = "choose a place you may write to (--out, KOMT_HOME)"
        return f"not allowed: {error.strerror}{where}\n  to mend it: {cure}"
    return f"{error.strerror or error}{where}"


def reason_of(error: Exception) -> str:
    """Why a file could not be written, in a few words."""
    if _is_full_disk(error):
        return "no space left on the disk"
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or repr(error)


def _is_full_disk(error: Exception) -> bool:
    """Also where a library wraps the system's error in one of its own (safetensors, torch, shutil)."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return True
    text = str(error)
    return "os error 28" in text or "[Errno 28]" in text or "No space left on device" in text


def collect_seldom() -> None:
    """`collecting_seldom` for the rest of the process."""
    gc.set_threshold(100_000, 50, 100)


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Look for cycles of objects less often: for work that makes many small objects and no cycles.

    Python looks through all of them again and again while lists of rows grow; that takes half the time of
    rendering and encoding.
    """
    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
