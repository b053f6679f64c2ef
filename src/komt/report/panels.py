"""What the page draws: scores by task, models in pairs, lengths against scores, answers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from markupsafe import Markup

from komt.evaluate.show import worth
from komt.evaluate.table import title_of
from komt.judge.bradley_terry import settle_orders, win_matrix
from komt.report.compare import compare
from komt.report.plots import Line, Mark, intervals, scatter
from komt.report.read import Report, Row

_BINS = 6
_LEAST_IN_BIN = 5
_MOST_MODELS = 12
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Panel:
    """A task and metric as a plot; `by`: how choices were made; `first`: of its task."""

    title: str
    metric: str
    split: str
    by: str
    first: bool
    plot: Markup


def panels(scores: Sequence[Row], models: Sequence[str]) -> list[Panel]:
    """A panel for each task, order and metric, a line for each model."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in scores:
        found.setdefault((title_of(row), row["metric"]), []).append(row)
    shown: list[Panel] = []
    for (title, metric), rows in found.items():
        marks = [
            Mark(
                row["model"] + (f" > {row['other']}" if row.get("other") else ""),
                row["value"],
                row["low"],
                row["high"],
                models.index(row["model"]),
            )
            for row in rows
        ]
        scale = rows[0].get("scale")
        bounds = (float(scale[0]), float(scale[1])) if scale else None
        ways = sorted({str(row.get("by", "")) for row in rows} - {"", "generation"})
        drawn = intervals(marks, f"{title}, {metric}", bounds=bounds)
        first = all(panel.title != title for panel in shown)
        shown.append(Panel(title, metric, str(rows[0].get("split", "")), ", ".join(ways), first, drawn))
    return shown


@dataclass(frozen=True, slots=True)
class Cell:
    """Two models: in how many tasks the row's is better and worse, of how many; or its share of wins."""

    better: int = 0
    worse: int = 0
    tasks: int = 0
    wins: float | None = None
    n: int = 0


def matrix(report: Report, models: Sequence[str]) -> dict[tuple[str, str], Cell]:
    """For each two models, in both directions: tasks in which one is better, and shares of judged pairs."""
    cells: dict[tuple[str, str], Cell] = {}
    answering = [model for model in models if any(row["model"] == model for row in report.answers)]
    for one, other in combinations(answering[:_MOST_MODELS], 2):
        first: dict[tuple[str, str], str] = {}
        for change in compare(report, one, other).changes:
            first.setdefault((change.task, change.order), change.verdict)
        verdicts = [verdict for verdict in first.values() if verdict != "incomparable"]
        if verdicts:
            up, down = verdicts.count("better"), verdicts.count("worse")
            cells[other, one] = Cell(up, down, len(verdicts))
            cells[one, other] = Cell(down, up, len(verdicts))
    for share in win_matrix(pair_verdicts(report.judgements)):
        old = cells.get((share.model, share.other), Cell())
        cells[share.model, share.other] = Cell(old.better, old.worse, old.tasks, share.value, share.n)
    return cells


def pair_verdicts(judgements: Sequence[Row]) -> list[tuple[str, str, str, str | None]]:
    """Question, model, other and verdict of every pair that was judged, both orders as one."""
    found: dict[tuple[Any, ...], dict[str, str | None]] = {}
    for row in judgements:
        if row.get("other"):
            key = (
                row["question"],
                row["model"],
                row["other"],
                row["judge"],
                row["rubric"],
                row.get("repeat", 0),
            )
            found.setdefault(key, {})[row["order"]] = row["verdict"]
    return [
        (str(key[0]), key[1], key[2], settle_orders(orders.get("ab"), orders.get("ba")))
        for key, orders in found.items()
    ]


@dataclass(frozen=True, slots=True)
class LengthPlot:
    """How scores go with the length of answers, for one metric."""

    metric: str
    plot: Markup
    models: tuple[str, ...]


def lengths(report: Report, models: Sequence[str]) -> list[LengthPlot]:
    """Mean score of answers of about one length, by metric: of tasks' first metrics, and of judges."""
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in report.answers:
        value = worth(row)
        if value is not None and row.get("by") != "loglikelihood":
            metric = next(iter(row["scores"]))
            points.setdefault(metric, {}).setdefault(row["model"], []).append((len(row["answer"]), value))
    for row in report.judgements:
        if row.get("score") is not None and "answer" in row:
            name = f"{row['judge']}, {row['rubric']}"
            points.setdefault(name, {}).setdefault(row["model"], []).append(
                (len(row["answer"]), row["score"])
            )
    plots = []
    for metric, by_model in points.items():
        lines = [
            Line(model, _binned(by_model[model]), models.index(model))
            for model in models
            if model in by_model
        ]
        drawn = scatter(lines, f"{metric}: mean score by length of the answer", "글자 수 characters")
        if drawn and any(len(line.points) > 1 for line in lines):
            plots.append(LengthPlot(metric, drawn, tuple(line.name for line in lines)))
    return plots


def _binned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """Mean length and mean score of about equally many answers each, from short to long; ties together."""
    ordered = sorted(points)
    least = max(_LEAST_IN_BIN, -(-len(ordered) // _BINS))
    bins: list[list[tuple[int, float]]] = [[]]
    for point in ordered:
        if len(bins[-1]) >= least and point[0] != bins[-1][-1][0]:
            bins.append([])
        bins[-1].append(point)
    means = [
        (sum(length for length, _ in part) / len(part), sum(value for _, value in part) / len(part))
        for part in bins
    ]
    return means


def judge_panels(judgements: Sequence[Row], models: Sequence[str]) -> list[tuple[str, Row, int]]:
    """Of each judge and rubric: its name, counts, and how many replies could not be read."""
    found: dict[str, list[Row]] = {}
    for row in judgements:
        found.setdefault(f"{row['judge']}, {row['rubric']}", []).append(row)
    shown = []
    for name, rows in found.items():
        unread = sum(row.get("score") is None and row.get("verdict") is None for row in rows)
        tokens = sum((row.get("prompt_tokens") or 0) + (row.get("completion_tokens") or 0) for row in rows)
        cost = sum(row.get("cost") or 0.0 for row in rows)
        seconds = sum(row.get("seconds") or 0.0 for row in rows)
        about = {"calls": len(rows), "tokens": tokens, "cost": cost, "seconds": seconds}
        shown.append((name, about, unread))
    return shown


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One prompt and what each model answered."""

    prompt: str
    references: tuple[str, ...]
    answers: tuple[Row, ...]


def examples_of(answers: Sequence[Row], models: Sequence[str]) -> dict[str, list[SideBySide]]:
    """Some examples of each task, first those on which the models' scores differ most."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in answers:
        found.setdefault(title_of({"order": "", **row}), {}).setdefault(row["id"], []).append(row)
    shown = {}
    for title, by_id in found.items():
        most = max(len(rows) for rows in by_id.values())
        whole = [rows for rows in by_id.values() if len(rows) == most]
        whole.sort(key=lambda rows: -_spread(rows))  # stable: the first of equally telling ones
        shown[title] = [
            SideBySide(
                rows[0]["prompt"],
                tuple(rows[0].get("references", ())),
                tuple(sorted(rows, key=lambda row: models.index(row["model"]))),
            )
            for rows in whole[:_EXAMPLES]
        ]
    return shown


def _spread(rows: Sequence[Row]) -> float:
    values = [value for row in rows if (value := worth(row)) is not None]
    return max(values) - min(values) if values else 0.0
