"""What this process holds in memory, held at most, and may hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch


def bytes_now(device: torch.device) -> tuple[float, float]:
    """What this process holds of its own, and of files mapped into memory (weights, once they were read).

    On a GPU what torch holds there, and 0.
    """
    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device)), 0.0
    held = psutil.Process().memory_info()
    mapped = float(getattr(held, "shared", 0))
    return float(held.rss) - mapped, mapped


def bytes_there(device: torch.device) -> float:
    """What this process may hold in all: its own and what is free, within the container's limit."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return float(free + torch.cuda.memory_reserved(device))
    available = float(psutil.virtual_memory().available)
    limit, used = (_number(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        available = min(available, limit - used)
    return available + float(psutil.Process().memory_info().rss)


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return None


@contextmanager
def peak_of(device: torch.device) -> Iterator[list[float]]:
    """The most that this process holds during the block, in bytes, appended to the list at its end."""
    peak: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.append(float(torch.cuda.max_memory_allocated(device)))
        return
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets VmHWM
    except OSError:
        yield peak
        return
    yield peak
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    peak.append(float(line.split()[1]) * 1024)
