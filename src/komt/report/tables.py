"""Scores and comparisons as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from komt.evaluate.table import interval, remarks, title_of
from komt.judge.published_table import PublishedRow, published_table
from komt.report.agreements import agreement_lines
from komt.report.compare import Change, Comparison
from komt.report.judges import judge_lines
from komt.report.read import Report, Row

_COLUMNS = (
    "model",
    "task",
    "order",
    "split",
    "shots",
    "metric",
    "by",
    "value",
    "low",
    "high",
    "n",
    "unscored",
)
_MORE = ("limit", "contaminated", "folder", "judge", "other")
_VERDICTS = {
    "better": "better",
    "worse": "worse",
    "unclear": "no difference shown",
    "incomparable": "not paired",
}


def cell(row: Row | None) -> str:
    """A score with its interval and number, on one line; "" where there is none."""
    if row is None:
        return ""
    if row["value"] is None:
        return f"unscored ({row['unscored']:,})"
    bounds = f" {interval(row)}" if row["low"] is not None else ""
    return f"{row['value']:.3f}{bounds} (n = {row['n']:,})"


def grid(scores: Sequence[Row]) -> tuple[list[str], list[tuple[str, str, list[Row | None]]]]:
    """The models, and for each task, order and metric its title, its metric and a row for each model."""
    models = list(dict.fromkeys(str(row["model"]) for row in scores))
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in scores:
        lines.setdefault((title_of(row), row["metric"]), {})[row["model"]] = row
    return models, [
        (title, metric, [found.get(model) for model in models]) for (title, metric), found in lines.items()
    ]


def signed(change: Change) -> str:
    """A paired difference with its interval."""
    if change.value is None:
        return "–"
    return f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}] (n = {change.n:,})"


def verdict(change: Change) -> str:
    """What the difference says, in words."""
    return _VERDICTS[change.verdict] + ("" if change.alike else ", not asked alike")


def chance(comparison: Comparison) -> str:
    """How many differences would look real by chance alone."""
    n = sum(change.verdict != "incomparable" for change in comparison.changes)
    return (
        f"{n} paired comparisons: of as many where nothing differs about {n * 0.05:.1f} "
        "would leave out 0 by chance"
    )


def as_markdown(report: Report, comparison: Comparison | None) -> str:
    """Tables for a README or an issue."""
    parts = ["# Scores", ""]
    if report.scores:
        models, lines = grid(report.scores)
        parts += _markdown_table(
            ["task", "metric", *models], [[t, m, *map(cell, row)] for t, m, row in lines]
        )
        parts += ["", "Values with 95 % bootstrap intervals; n: examples.", ""]
    parts += [f"- {line}" for line in remarks(report.scores)]
    for (rubric, judge, full), rows in published(report).items():
        parts += ["", f"## Judge {judge}, {rubric}", ""]
        parts += _markdown_table(
            ["model", "sum", "average", "percentage", "questions", "unscored"],
            [published_cells(row) for row in rows],
        )
        parts += ["", f"Full marks: {full:g} a question. The unscored count neither for nor against a model."]
    if judges := judge_lines(report.findings):
        parts += ["", "## Judges", "", *(f"- {line}" for line in judges)]
    if agreements := agreement_lines(report.findings):
        parts += ["", "## Agreement", "", *(f"- {line}" for _, line in agreements)]
    if comparison:
        parts += ["", f"# {comparison.second} against {comparison.first}", ""]
        parts += _markdown_table(
            ["task", "metric", comparison.first, comparison.second, "difference, paired", "verdict"],
            [
                [
                    title_of(asdict(one)),
                    one.metric,
                    _plain(one.first),
                    _plain(one.second),
                    signed(one),
                    verdict(one),
                ]
                for one in comparison.changes
            ],
        )
        parts += ["", f"{chance(comparison)}."]
        parts += [f"{len(comparison.gained)} answers became right, {len(comparison.lost)} wrong."]
    return "\n".join(parts).rstrip() + "\n"


def published(report: Report) -> dict[tuple[str, str, float], tuple[PublishedRow, ...]]:
    """The published table by rubric that scores from 0, judge and full marks."""
    scales = {
        (row["task"].partition(":")[2], row.get("judge", "")): row["scale"]
        for row in report.scores
        if row.get("scale")
    }
    tables = {}
    for (rubric, judge), (low, high) in scales.items():
        if low != 0:
            continue
        marks: dict[str, list[tuple[str, int, float | None]]] = {}
        for row in report.judgements:
            if (row["rubric"], row["judge"]) == (rubric, judge) and not row.get("other"):
                mark = str(row["question"]), int(row.get("turn") or 1), row["score"]
                marks.setdefault(row["model"], []).append(mark)
        if marks:
            tables[rubric, judge, float(high)] = published_table(marks, full=float(high))
    return tables


def published_cells(row: PublishedRow) -> list[str]:
    """A row of the published table as texts."""
    if row.total is None or row.average is None or row.percentage is None:
        return [row.model, "–", "–", "–", "0", str(row.unscored)]
    figures = [
        f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]{unit}"
        for figure, digits, unit in ((row.total, 1, ""), (row.average, 2, ""), (row.percentage, 2, " %"))
    ]
    return [row.model, *figures, f"{row.n:,}", f"{row.unscored:,}"]


def as_csv(report: Report) -> str:
    """A line a score."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*_COLUMNS, *_MORE, "flags"])
    for row in report.scores:
        values = [row.get(name, "") for name in (*_COLUMNS, *_MORE)]
        writer.writerow(
            ["" if value is None else value for value in values] + [" ".join(row.get("flags", ()))]
        )
    return file.getvalue()


def as_json(report: Report, comparison: Comparison | None) -> str:
    """All of it, for programs."""
    found: dict[str, Any] = {
        "scores": report.scores,
        "remarks": remarks(report.scores),
        "published": [
            {"rubric": rubric, "judge": judge, "full": full, "rows": [asdict(row) for row in rows]}
            for (rubric, judge, full), rows in published(report).items()
        ],
    }
    if judges := report.findings:
        found["judges"] = asdict(judges)
    if comparison:
        found["comparison"] = asdict(comparison)
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(one.replace("|", "\\|").replace("\n", " ") for one in cells) + " |"

    return [line(head), line(["---"] * len(head)), *map(line, rows)]


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
