"""The score table that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from komt.evaluate.intervals import differs

Row = dict[str, Any]
_MOST_NAMES = 6
_ORDERS = {"passage_first": "passage first", "instruction_first": "instruction first"}


def table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print score rows: a line per task, order and metric, a column per model; beneath, gains and flags."""
    console = console or Console(highlight=False)
    rows = told_apart(rows)
    models = list(dict.fromkeys(row["model"] for row in rows))
    grid = Table(title="scores, with 95 % bootstrap intervals", title_justify="left")
    grid.add_column("task")
    grid.add_column("metric")
    for model in models:
        grid.add_column(escape(model), justify="right")
    for key in dict.fromkeys(map(_key, rows)):
        chosen = {row["model"]: row for row in rows if _key(row) == key}
        task, metric, *parts = key
        name = "\n".join([task, *(f"({_ORDERS.get(part, part)})" for part in parts if part)])
        by = "\nby likelihood" if any(row.get("by") == "loglikelihood" for row in chosen.values()) else ""
        grid.add_row(escape(name), f"{metric}{by}", *(_cell(chosen.get(model)) for model in models))
    # Too many models for the width: a line each is longer, but nothing of it is cut off.
    unbound = console.options.update_width(10_000)
    fits = Measurement.get(console, unbound, grid).maximum <= console.width
    console.print(grid if fits else _line_by_line(rows))
    for row in rows:
        for other, gain in row.get("gain", {}).items():
            line = f"{title_of(row)} {row['metric']}: {row['model']} − {other} = {gain_text(gain)}"
            console.print(escape(line), soft_wrap=True)
    for line in remarks(rows):
        console.print(escape(line), soft_wrap=True)


def _line_by_line(rows: Sequence[Row]) -> Table:
    grid = Table(title="scores, with 95 % bootstrap intervals", title_justify="left")
    for name in ("task", "metric", "model"):
        grid.add_column(name, overflow="fold")
    grid.add_column("score", justify="right")
    for row in rows:
        by = "\nby likelihood" if row.get("by") == "loglikelihood" else ""
        grid.add_row(escape(title_of(row)), f"{row['metric']}{by}", escape(row["model"]), _cell(row))
    return grid


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows with `about`: the judge where a task has several, the opponent where a model has several."""
    judges: dict[str, set[str]] = {}
    others: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        judges.setdefault(row["task"], set()).add(str(row.get("judge", "")))
        others.setdefault((row["task"], row["model"]), set()).add(str(row.get("other", "")))
    contested = {task for (task, _), names in others.items() if len(names) > 1}
    found = []
    for row in rows:
        judge = f"by {row['judge']}" if row.get("judge") and len(judges[row["task"]]) > 1 else ""
        other = f"against {row['other']}" if row.get("other") and row["task"] in contested else ""
        about = ", ".join(filter(None, (other, judge)))
        found.append({**row, "about": about} if about else row)
    return found


def _key(row: Row) -> tuple[str, str, str, str]:
    return row["task"], row["metric"], row.get("order", ""), row.get("about", "")


def title_of(row: Row) -> str:
    """A row's task, with its order of passage and instruction, and its opponent and judge (`told_apart`)."""
    parts = [_ORDERS.get(part, part) for part in (row.get("order", ""), row.get("about", "")) if part]
    return " ".join([str(row["task"]), *(f"({part})" for part in parts)])


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    if row["value"] is None:
        return f"unscored ({row['unscored']})"
    if row["low"] is None:
        return f"{row['value']:.3f}\nn = {row['n']:,}"
    return f"{row['value']:.3f}\n{escape(interval(row))}\nn = {row['n']:,}"


def interval(row: Row) -> str:
    """[low, high]."""
    return f"[{row['low']:.3f}, {row['high']:.3f}]"


def gain_text(gain: Row) -> str:
    """A paired difference with its interval, and whether it shows any."""
    verdict = "" if differs(gain["low"], gain["high"], gain["n"]) else ": no difference shown"
    bounds = f"[{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return f"{gain['value']:+.3f} {bounds} (paired, n = {gain['n']:,}){verdict}"


def remarks(rows: Sequence[Row]) -> list[str]:
    """What the numbers alone would hide, each once; flags (resplit, contaminated, limited) come last."""
    lines = []
    for row in rows:
        who = f"{title_of(row)}, {row['model']}"
        if row["unscored"]:
            lines.append(f"{who}: {row['unscored']:,} answers unscored by {row['metric']}")
        if row.get("off_label"):
            what = "name none of the choices, or have nothing of the form asked for"
            lines.append(f"{who}: {row['off_label']:,} answers {what} (counted as wrong)")
    return list(dict.fromkeys([*lines, *_by_remarks(rows), *_flags(rows)]))


def _by_remarks(rows: Sequence[Row]) -> Iterator[str]:
    """Tasks whose models were not asked in the same way."""
    ways: dict[str, set[str]] = {}
    for row in rows:
        if "by" in row:
            ways.setdefault(title_of(row), set()).add(row["by"])
    for task, found in ways.items():
        if len(found) > 1:
            yield f"{task}: chosen by log-likelihood here, by generation there: not alike"


def _flags(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if not row.get("comparable", True) or "resplit" in row.get("flags", ()):
            yield f"resplit: {row['task']}: redivided split, not comparable with published results"
    for row in rows:
        if row.get("contaminated"):
            line = f"contaminated: {title_of(row)}, {row['model']}: "
            line += f"{row['contaminated']:,} examples stand in its training data"
            if clean := row.get("clean"):
                line += f"; without them {row['metric']} is {clean['value']:.3f} {interval(clean)}"
            yield line
    limits: dict[int, dict[str, None]] = {}
    for row in rows:
        if row.get("limit"):
            limits.setdefault(row["limit"], {})[row["task"]] = None
    for limit, tasks in limits.items():
        names = list(tasks)
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        yield f"limited: {limit:,} rows each, not all there are: {', '.join(names[:_MOST_NAMES])}{more}"
