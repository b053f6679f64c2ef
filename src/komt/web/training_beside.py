"""What stands beside a training log: held-out figures by task, and the model's answers on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from komt.report.curves import Curve, plot, spark
from komt.web.runs import BROKEN, Stamp, Unreadable, stamp
from komt.web.text import Words

HELD_OUT, SAMPLES = "held_out.jsonl", "samples.jsonl"
Line = dict[str, Any]
_FIGURES = ("loss", "accuracy", "perplexity")


@dataclass(frozen=True)
class TaskRow:
    """A task's held-out figures: its loss at first and now, a small curve of it, and the others now."""

    name: str
    curve: Any
    first: float
    loss: float
    accuracy: float
    perplexity: float


@dataclass(frozen=True)
class Sample:
    """A held-out prompt with the right answer and what the model answered, the latest first."""

    task: str
    prompt: str
    reference: str
    answers: tuple[tuple[int, str], ...]


def beside(log: Path, name: str) -> Stamp | None:
    """The stamp of a file beside a log, where there is one."""
    path = log.with_name(name)
    return stamp(path) if path.is_file() else None


def held_out_plots(words: Words, log: Path) -> list[tuple[str, Any]]:
    """Titles and curves of loss and accuracy over all tasks together.

    Raises:
        Unreadable: the file is broken.
    """
    lines = [line for line in held_out_lines(log) if line["task"] == ""]
    steps = [float(line["step"]) for line in lines]
    if not lines:
        return []
    return [
        (title, plot([Curve(steps, [line[key] for line in lines])], title, words("training.x")))
        for key, title in (
            ("loss", words("training.held_out.loss")),
            ("accuracy", words("training.held_out.accuracy.title")),
        )
    ]


def held_out_rows(words: Words, log: Path) -> list[TaskRow]:
    """Figures by task, all together first.

    Raises:
        Unreadable: the file is broken.
    """
    by_task: dict[str, list[Line]] = {}
    for line in held_out_lines(log):
        by_task.setdefault(line["task"], []).append(line)
    return [
        TaskRow(
            task or words("training.held_out.all"),
            spark([line["loss"] for line in lines]),
            lines[0]["loss"],
            *(lines[-1][key] for key in _FIGURES),
        )
        for task, lines in sorted(by_task.items())
    ]


def held_out_lines(log: Path) -> list[Line]:
    """The lines of the file with numbers for figures; [] where there is none.

    Raises:
        Unreadable: another line is none of it.
    """
    file = beside(log, HELD_OUT)
    try:
        return [
            {"step": int(line["step"]), "task": str(line["task"])}
            | {key: float(line[key]) for key in _FIGURES}
            for line in (_lines(file) if file else ())
        ]
    except BROKEN as error:
        raise Unreadable("runs.broken", path=HELD_OUT) from error


def samples(log: Path) -> list[Sample]:
    """The prompts in their order, with all answers so far.

    Raises:
        Unreadable: the file is broken.
    """
    file = beside(log, SAMPLES)
    found: dict[tuple[str, str, str], list[tuple[int, str]]] = {}
    try:
        for line in _lines(file) if file else ():
            key = str(line["task"]), str(line["prompt"]), str(line["reference"])
            found.setdefault(key, []).append((int(line["step"]), str(line["answer"])))
    except BROKEN as error:
        raise Unreadable("runs.broken", path=SAMPLES) from error
    return [Sample(*key, tuple(reversed(answers))) for key, answers in found.items()]


@lru_cache(maxsize=8)
def _lines(file: Stamp) -> tuple[Line, ...]:
    """Whole lines; one that is still being written, at the end, is left out."""
    try:
        texts = file.path.read_text(encoding="utf-8", errors="replace").split("\n")
        return tuple(json.loads(text) for text in texts[:-1])
    except BROKEN as error:
        raise Unreadable("runs.broken", path=file.path.name) from error
