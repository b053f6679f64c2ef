"""The scores tab: the reports of one or more runs, with intervals and paired differences."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from komt.report.compare import verdict_of
from komt.web.events import AT_ONCE
from komt.web.html import alert, render, told
from komt.web.runs import BROKEN, Runs, Unreadable
from komt.web.text import Words

Changes = dict[Any, Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """A score on its axis: places in percent of the axis; None where there is no score."""

    name: str
    row: Row
    at: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One metric of one task: its axis and what all models reached."""

    task: str
    metric: str
    about: str
    axis: tuple[str, str, str]
    marks: list[Mark]


def scores_tab(tab: Any, words: Words, runs: Runs) -> None:
    """Fill the scores tab of the page that is being built."""
    with gr.Row(elem_classes="tight"):
        chosen = gr.Dropdown(
            [], label=words("scores.run"), interactive=True, multiselect=True, elem_id="scores-run", scale=4
        )
        refresh = gr.Button(words("runs.refresh"), size="sm", scale=0, min_width=96)
    message = gr.HTML("", elem_classes="told")
    shown = gr.HTML("", elem_id="scores-shown")
    events = ScoresEvents(words, runs, (chosen, message, shown))
    for trigger in (tab.select, refresh.click):
        trigger(events.opened, [chosen], [chosen, message, shown], **AT_ONCE)
    chosen.input(events.chosen, [chosen], [message, shown], **AT_ONCE)


class ScoresEvents:
    """The events of the scores tab.

    Args:
        words: of the page's language; runs: what may be shown.
        parts: the dropdown of runs, the message, what is shown.
    """

    def __init__(self, words: Words, runs: Runs, parts: tuple[Any, ...]) -> None:
        self.words, self.runs = words, runs
        self.run, self.message, self.shown = parts

    async def opened(self, names: list[str] | None) -> Changes:
        """The tab was opened: the list of reports is looked up again."""
        known = await asyncio.to_thread(self.runs.names, "scores")
        if not known:
            nothing = alert(self.words("runs.none.scores", root=self.runs.root))
            return {self.run: gr.Dropdown([], value=[]), self.message: nothing, self.shown: ""}
        chosen = [name for name in names or [] if name in known] or known[:1]
        return {self.run: gr.Dropdown(known, value=chosen)} | await self.chosen(chosen)

    async def chosen(self, names: list[str] | None) -> Changes:
        """Reports were chosen."""
        return await asyncio.to_thread(self._chosen, names or [])

    def _chosen(self, names: list[str]) -> Changes:
        try:
            reports = {name: read_scores(self.runs, name) for name in names}
            html = scores_html(self.words, reports) if reports else ""
        except Unreadable as error:
            return {self.message: told(self.words, error), self.shown: ""}
        except BROKEN:
            broken = Unreadable("runs.broken", path="scores.json")
            return {self.message: told(self.words, broken), self.shown: ""}
        return {self.message: "", self.shown: html}


def read_scores(runs: Runs, name: str) -> list[Row]:
    """The rows of a run's report/scores.json.

    Raises:
        Unreadable: none there, or it is broken.
    """
    path = runs.file(name, "scores")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        for row in rows:
            if not {"model", "task", "metric", "value", "low", "high", "n"} <= set(row):
                raise KeyError(row)
            for key in ("value", "low", "high"):
                if row[key] is not None:
                    row[key] = float(row[key])
    except BROKEN as error:
        raise Unreadable("runs.broken", path=path.name) from error
    return list(rows)


def scores_html(words: Words, reports: Mapping[str, list[Row]]) -> str:
    """Panels with intervals, a table, the paired differences, and what the numbers alone would hide."""
    rows = [(name, row) for name, report in reports.items() for row in report]
    return render(
        "scores",
        words,
        panels=panels(words, rows, several=len(reports) > 1),
        gains=_gains(words, rows, several=len(reports) > 1),
        remarks=_remarks(words, [row for _, row in rows]),
        metric=lambda name: words.named(f"metric.{name}", name),
    )


def panels(words: Words, rows: list[tuple[str, Row]], *, several: bool) -> list[Panel]:
    """A panel per task and metric. Fractions stand on an axis from 0 to 1, others on one that holds them."""
    found: dict[tuple[str, str, str], list[tuple[str, Row]]] = {}
    for run, row in rows:
        found.setdefault((row["task"], row["metric"], _about(words, row)), []).append((run, row))
    shown = []
    for (task, metric, about), members in found.items():
        numbers = [row[key] for _, row in members for key in ("value", "low", "high") if _is_number(row[key])]
        low, high = _scale(members[0][1]) or _axis(numbers)
        marks = [_mark(_model(words, run, row, several), row, low, high) for run, row in members]
        axis = tuple(f"{value:.3g}" for value in (low, (low + high) / 2, high))
        shown.append(Panel(task, metric, about, (axis[0], axis[1], axis[2]), marks))
    return shown


def _about(words: Words, row: Row) -> str:
    """What sets rows of one task and metric apart: split, way of scoring, judge, what stands first."""
    judge = words("scores.judged", judge=row["judge"]) if row.get("judge") else ""
    by = words.named(f"scores.by.{row.get('by')}", "")
    order = words.named(f"scores.order.{row.get('order')}", "")
    return " · ".join(part for part in (str(row.get("split") or ""), by, judge, order) if part)


def _scale(row: Row) -> tuple[float, float] | None:
    """The ends of a judge's scale."""
    ends = row.get("scale")
    if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, (int, float)) for end in ends):
        low, high = float(ends[0]), float(ends[1])
        return (low, high) if low < high else None
    return None


def _axis(numbers: list[float]) -> tuple[float, float]:
    if not numbers or (min(numbers) >= 0 and max(numbers) <= 1):
        return 0.0, 1.0
    low, high = min(0.0, *numbers), max(numbers)
    power = 10.0 ** math.floor(math.log10(max(high - low, 1e-9)))
    return low, low + math.ceil((high - low) / power) * power


def _mark(name: str, row: Row, low: float, high: float) -> Mark:
    def place(value: Any) -> float:
        return min(100.0, max(0.0, float((value - low) / (high - low) * 100)))

    if not _is_number(row["value"]):
        return Mark(name, row, None, 0.0, 0.0)
    at = place(row["value"])
    bounds = [place(row[key]) if _is_number(row[key]) else at for key in ("low", "high")]
    return Mark(name, row, at, bounds[0], bounds[1])


def _gains(words: Words, rows: list[tuple[str, Row]], *, several: bool) -> list[Row]:
    gains = []
    for run, row in rows:
        for other, gain in (row.get("gain") or {}).items():
            verdict = verdict_of(row["metric"], gain["low"], gain["high"], gain["n"])
            names = {
                "about": _about(words, row),
                "model": _model(words, run, row, several),
                "other": words.named(f"model.{other}", other),
            }
            gains.append({"row": row, "gain": gain, "verdict": verdict, "names": names})
    return gains


def _remarks(words: Words, rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        flags, task = row.get("flags") or (), row["task"]
        model = words.named(f"model.{row['model']}", str(row["model"]))
        if not row.get("comparable", True) or "resplit" in flags:
            lines.append(words("scores.not_comparable", task=task))
        counted = {"off_label": row.get("off_label"), "contaminated": row.get("contaminated")}
        counted["limited"] = row["n"] if "limited" in flags else None
        lines += [words(f"scores.{key}", task=task, model=model, n=n) for key, n in counted.items() if n]
    return list(dict.fromkeys(lines))


def _model(words: Words, run: str, row: Row, several: bool) -> str:
    name = words.named(f"model.{row['model']}", str(row["model"]))
    return f"{run}: {name}" if several else name


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
