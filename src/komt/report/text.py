"""Scores and comparisons in the terminal."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from komt.evaluate.show import show
from komt.evaluate.table import table, title_of
from komt.report.agreements import agreement_lines
from komt.report.compare import Comparison
from komt.report.judges import judge_lines
from komt.report.read import Report
from komt.report.tables import chance, published, published_cells, signed, verdict

_COLOURS = {"better": "green", "worse": "red", "unclear": "", "incomparable": "dim"}
_SHOWN = 3


def print_report(report: Report, comparison: Comparison | None, console: Console | None = None) -> None:
    """Print the score table with its flags, judges' tables, and the comparison with examples that changed."""
    console = console or Console(highlight=False)
    if report.scores:
        table(report.scores, console)
    elif not report.judgements:
        console.print("no scores yet; --out DIR writes a page with the training curves", soft_wrap=True)
    for (rubric, judge, full), rows in published(report).items():
        judged = Table(title=escape(f"judge {judge}, {rubric}: of {full:g} a question"), title_justify="left")
        for name in ("model", "sum", "average", "percentage", "questions", "unscored"):
            judged.add_column(name, justify="left" if name == "model" else "right")
        for row in rows:
            judged.add_row(*map(escape, published_cells(row)))
        console.print(judged)
    for line in (*judge_lines(report.findings), *(line for _, line in agreement_lines(report.findings))):
        console.print(escape(line), soft_wrap=True)
    if comparison:
        _print_comparison(comparison, console)


def _print_comparison(comparison: Comparison, console: Console) -> None:
    title = f"{comparison.second} against {comparison.first}, paired, with 95 % intervals"
    grid = Table(title=escape(title), title_justify="left")
    for name in ("task", "metric", "difference", ""):
        grid.add_column(name)
    for change in comparison.changes:
        colour = _COLOURS[change.verdict]
        cells = [title_of(asdict(change)), change.metric, signed(change), verdict(change)]
        grid.add_row(*map(escape, cells), style=colour)
    console.print(grid)
    console.print(escape(chance(comparison)), soft_wrap=True)
    for pairs, what in ((comparison.gained, "became right"), (comparison.lost, "became wrong")):
        console.print(f"{len(pairs):,} answers {what}", style="bold")
        if pairs:
            show([row for pair in pairs[:_SHOWN] for row in pair], console)
