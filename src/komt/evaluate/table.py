"""The score table that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]


def table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print score rows: a line per task and metric, a column per model; beneath, gains with intervals."""
    console = console or Console(highlight=False)
    models = list(dict.fromkeys(row["model"] for row in rows))
    grid = Table(title="scores, with 95 % bootstrap intervals", title_justify="left")
    grid.add_column("task")
    grid.add_column("metric")
    for model in models:
        grid.add_column(model, justify="right")
    for task, metric in dict.fromkeys((row["task"], row["metric"]) for row in rows):
        chosen = {row["model"]: row for row in rows if (row["task"], row["metric"]) == (task, metric)}
        grid.add_row(task, metric, *(_cell(chosen.get(model)) for model in models))
    console.print(grid)
    for row in rows:
        for other, gain in row.get("gain", {}).items():
            line = f"{row['task']} {row['metric']}: {row['model']} − {other} = {_gain(gain)}"
            console.print(line, soft_wrap=True)
    for line in _remarks(rows):
        console.print(line, soft_wrap=True)


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    if row["value"] is None:
        return f"unscored ({row['unscored']})"
    interval = rf"\[{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}\n{interval}\nn = {row['n']:,}"


def _gain(gain: Row) -> str:
    verdict = "" if gain["low"] > 0 or gain["high"] < 0 else ": no difference shown"
    interval = rf"\[{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return f"{gain['value']:+.3f} {interval} (paired, n = {gain['n']:,}){verdict}"


def _remarks(rows: Sequence[Row]) -> list[str]:
    """What the numbers alone would hide, each once."""
    lines = []
    for row in rows:
        who = f"{row['task']}, {row['model']}"
        if row["unscored"]:
            lines.append(f"{who}: {row['unscored']:,} answers unscored by {row['metric']}")
        if row.get("off_label"):
            lines.append(f"{who}: {row['off_label']:,} answers name none of the choices (counted as wrong)")
        if not row.get("comparable", True):
            lines.append(f"{row['task']}: redivided split, not comparable with published results")
    return list(dict.fromkeys(lines))
