"""Answers to read: prompt, answer, what was right, and the score, in colour; of a finished folder too."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from komt.errors import DataError

Row = dict[str, Any]
Which = Literal["wrong", "right", "all", "unscored"]
WHICH: tuple[Which, ...] = get_args(Which)
_RIGHT = 0.5


def read_answers(folder: Path) -> list[Row]:
    """All lines of a folder's `answers-MODEL.jsonl`, each with its `model`.

    Args:
        folder: an --out folder, or a run with one at `report`.

    Raises:
        DataError: no answers there, or a broken file.
    """
    place = folder if any(folder.glob("answers-*.jsonl")) else folder / "report"
    files = sorted(place.glob("answers-*.jsonl"))
    if not files:
        raise DataError(
            f"no answers in {folder}",
            cure="komt eval MODEL --tasks NAMES --out DIR leaves scores.json and answers-MODEL.jsonl there",
        )
    return [row for file in files for row in _lines(file)]


def has_answers(folder: Path) -> bool:
    """Whether a folder holds answers of an evaluation."""
    return folder.is_dir() and any(any(at.glob("answers-*.jsonl")) for at in (folder, folder / "report"))


def _lines(file: Path) -> Iterator[Row]:
    model = file.stem.removeprefix("answers-")
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not _is_answer(row):
                    raise ValueError
            except (ValueError, RecursionError) as error:
                raise DataError(
                    "not a line of an evaluation's answers", where=f"{file}, line {number}"
                ) from error
            yield {"model": model, **row}


def _is_answer(row: Any) -> bool:
    """Whether a line has what tables and comparisons need, each of its kind."""
    if not isinstance(row, dict) or not {"id", "task", "prompt", "answer", "scores"} <= set(row):
        return False
    texts = ("task", "prompt", "answer", "order", "by", "template")
    kinds: dict[str, Any] = {
        "id": str | int,
        "group": str | int,
        "references": list,
        "details": dict,
        "scores": dict,
    }
    kinds |= dict.fromkeys(texts, str)
    if not all(isinstance(row[key], kind) for key, kind in kinds.items() if key in row):
        return False
    numbers = [value for value in row["scores"].values() if value is not None]
    return all(isinstance(value, int | float) and math.isfinite(value) for value in numbers) and all(
        isinstance(details, dict) and isinstance(details.get("parts", []), list)
        for details in row.get("details", {}).values()
    )


def worth(row: Row) -> float | None:
    """The value by a row's first metric; None where it is unscored."""
    value = next(iter(row["scores"].values()), None)
    return None if value is None else float(value)


def chosen(rows: Sequence[Row], which: Which, count: int | None = None) -> list[Row]:
    """Rows that are wrong (below 0.5 by their first metric), right, unscored, or all; the worst first.

    Args:
        rows: lines of answers.
        which: of these.
        count: at most so many of each task and model.
    """
    kept = [row for row in rows if _fits(worth(row), which)]
    if which == "wrong":
        kept.sort(key=lambda row: (row["task"], worth(row) or 0.0))
    left: dict[tuple[str, str], int] = {}
    shown = []
    for row in kept:
        key = row.get("model", ""), row["task"]
        left[key] = left.get(key, 0) + 1
        if count is None or left[key] <= count:
            shown.append(row)
    return shown


def _fits(value: float | None, which: Which) -> bool:
    if which == "all":
        return True
    if which == "unscored" or value is None:
        return which == "unscored" and value is None
    return (value >= _RIGHT) == (which == "right")


def show(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print answers to read; a prompt that several of them answer in turn once."""
    console = console or Console(highlight=False)
    asked = ""
    for row in rows:
        value = worth(row)
        colour = "yellow" if value is None else "green" if value >= _RIGHT else "red"
        title = Text.assemble((row.get("model", ""), "bold"), f"  {row['id']}  ({row.get('template', '')})")
        console.print(Rule(title, align="left", style="dim"))
        if row["prompt"] != asked:
            console.print(Text(row["prompt"], style="dim"))
        asked = row["prompt"]
        console.print(Text.assemble(("answer  ", "bold"), (row["answer"] or "(empty)", colour)))
        right = " | ".join(row.get("references", ())) or "(none)"
        console.print(Text.assemble(("right   ", "bold"), (right, "green" if colour != "green" else "")))
        console.print(Text(_line(row), style=colour))
    if not rows:
        console.print("nothing to show")


def _line(row: Row) -> str:
    """Scores, and what else is to be known about an answer."""
    parts = [
        f"{metric} {'unscored' if value is None else f'{value:.3f}'}"
        for metric, value in row["scores"].items()
    ]
    if row.get("by") == "loglikelihood":
        parts.append("the likeliest choice")
    elif not row.get("ended", True):
        parts.append("cut at the length limit")
    if row.get("contaminated"):
        parts.append("stands in the training data")
    return ", ".join(parts)
