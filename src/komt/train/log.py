"""The training log (JSON Lines) and the progress line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from komt.files import write_atomic
from komt.train.step_lines import whole_lines

# Steps between two checkpoints are seldom more.
_REMEMBERED = 10_000


class TrainLog:
    """Appends one line per step to `log.jsonl` and shows progress on the terminal.

    Args:
        path: the log; lines after `start` (of a run that was killed) are removed.
        start: steps already done.
        total: steps in all.
        quiet: no progress line.
    """

    def __init__(self, path: Path, start: int, total: int, *, quiet: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in whole_lines(path) if line["step"] <= start]
        write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")
        self._losses = deque([float(line["loss"]) for line in kept], maxlen=_REMEMBERED)
        self._progress = None if quiet else _progress()
        self._bar = (
            self._progress.add_task("train", total=total, completed=start, loss="–", speed="")
            if self._progress
            else None
        )

    def __enter__(self) -> TrainLog:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._progress:
            self._progress.stop()

    def step(
        self,
        step: int,
        loss: float,
        lr: float,
        task_loss: dict[str, float],
        examples_s: float,
        measures: dict[str, float] | None = None,
    ) -> None:
        """Record one optimiser step; loss in nats per target, weighted; `measures` are further columns."""
        line = {
            "step": step,
            "time": round(time.time(), 3),
            "loss": loss,
            "lr": lr,
            "task_loss": task_loss,
            "examples_s": round(examples_s, 3),
            **(measures or {}),
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        self._losses.append(loss)
        if self._progress and self._bar is not None:
            self._progress.update(
                self._bar, completed=step, loss=f"{loss:.4f}", speed=f"{examples_s:.1f} examples/s"
            )

    def say(self, text: str) -> None:
        """A line above the progress."""
        if self._progress:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def recent_loss(self, steps: int) -> float:
        """Mean loss of the last so many steps, also of those before a resumption."""
        last = list(self._losses)[-steps:]
        return sum(last) / len(last)

    def sync(self) -> None:
        """Flush to the disk: a checkpoint must not be older news than its log."""
        os.fsync(self._file.fileno())


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
    )
