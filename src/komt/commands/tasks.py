"""What is asked: list the tasks, show rendered examples, or check every template on real rows.

`check` exits with 1 when it finds a fault: a wrong or fixed particle, doubled punctuation, stray spaces, a
prompt that shows its answer, a missing or empty field.

Example:
  komt tasks list
  komt tasks list --mixtures
  komt tasks show sample.qa -n 3
  komt tasks check korquad.qa korquad.question
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komt.example import Example
    from komt.tasks import Task, Template
    from komt.tasks.check import Finding

    Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt tasks`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | show | check")
    listing = actions.add_parser("list", help="every task: family, source, kinds, metrics")
    listing.add_argument(
        "--mixtures", action="store_true", help="the mixtures of tasks that a recipe can name, instead"
    )
    show = actions.add_parser("show", help="rendered examples of a task")
    show.add_argument("name", help="a task's name, as `komt tasks list` prints it")
    show.add_argument(
        "-n", type=int, default=1, metavar="N", help="how many examples of each phrasing (default: 1)"
    )
    check = actions.add_parser("check", help="render every template on real rows and look for faults")
    check.add_argument("names", nargs="*", metavar="NAME", help="tasks (default: all)")
    for sub in (listing, show, check):
        sub.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Run `komt tasks`: over the catalogue, and what lies in ./sources and ./tasks."""
    from pathlib import Path

    from komt.tasks import add_folder_beside

    add_folder_beside(Path.cwd())
    actions = {"list": _list, "show": _show, "check": _check}
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from komt.sources import present
    from komt.tasks import TASKS, load_task

    if args.mixtures:
        return _list_mixtures(args)
    rows: list[dict[str, Any]] = [
        {
            "name": task.name,
            "family": task.family,
            "source": task.source,
            "kinds": list(task.kinds),
            "templates": len(task.templates),
            "metrics": list(task.metrics),
            "present": present(task.rows_from),
        }
        for task in map(load_task, TASKS.names())
    ]
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return 0
    from rich.table import Column, Table

    from komt.commands._console import table_console

    name = Column("task", no_wrap=True)
    table = Table(name, "here", "family", "source", "phrasings", "metrics", box=None, pad_edge=False)
    for row in rows:
        here = "yes" if row["present"] else "no"
        metrics = ", ".join(row["metrics"])
        table.add_row(row["name"], here, row["family"], row["source"], str(row["templates"]), metrics)
    table_console().print(table)
    return 0


def _list_mixtures(args: argparse.Namespace) -> int:
    from komt.mix import MIXTURES
    from komt.mix.named import tasks_of

    rows = [
        {"name": name, "title": MIXTURES.get(name).title, "tasks": [task for task, _ in tasks_of(name)]}
        for name in MIXTURES.names()
    ]
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return 0
    from rich.table import Column, Table

    from komt.commands._console import table_console

    table = Table(Column("mixture", no_wrap=True), box=None, pad_edge=False)
    table.add_column("tasks", justify="right")
    table.add_column("what it holds")
    for row in rows:
        table.add_row(str(row["name"]), str(len(row["tasks"])), str(row["title"]))
    table_console().print(table)
    return 0


def _show(args: argparse.Namespace) -> int:
    from komt.errors import UsageError
    from komt.sources import Rejected, present, read_rows, train_missing
    from komt.tasks import load_task

    if args.n < 1:
        raise UsageError(f"-n {args.n}: at least 1")
    task = load_task(args.name)
    source = task.rows_from
    split = next((split for split in source.splits if present(source, split)), "")
    if not split:
        raise train_missing(source)
    rows = [row for row in read_rows(source, split) if not isinstance(row, Rejected)]
    examples = [
        example for template in task.templates for example in _examples(task, template, rows, split, args.n)
    ]
    if args.json:
        print(json.dumps([example.as_record() for example in examples], ensure_ascii=False, indent=1))
        return 0
    _print_examples(examples)
    return 0


def _examples(task: Task, template: Template, rows: list[Row], split: str, count: int) -> list[Example]:
    """Examples of one phrasing, of rows that it fits, from all over the source."""
    from komt.tasks import UnusableRow, render, with_derived

    found: list[Example] = []
    step = max(1, len(rows) // (3 * count))
    # A stride over all rows first, then, should too few of these fit, the rows in between.
    for row in (row for start in range(step) for row in rows[start::step]):
        with suppress(UnusableRow):
            if template.fits(with_derived(task, row)):
                found.append(render(task, row, 0, split=split, template=template))
        if len(found) == count:
            break
    return found


def _print_examples(examples: list[Any]) -> None:
    from rich.console import Console
    from rich.rule import Rule

    # Lines stay as they are: a row that is shown with further breaks would look like another row.
    console = Console(highlight=False, soft_wrap=True)
    for example in examples:
        console.print(Rule(f"{example.template} ({example.kind})  {example.id}", align="left", style="dim"))
        for message in example.messages:
            console.print(f"[{message.role}]", style="bold", markup=False)
            console.print(message.content, style="green" if message.supervised else None, markup=False)
        if example.rejected:
            console.print("[rejected]", style="bold", markup=False)
            console.print(example.rejected, style="red", markup=False)
        console.print()


def _unknown_metrics(task: Task) -> list[Finding]:
    from komt.errors import did_you_mean
    from komt.evaluate.metrics import METRICS
    from komt.tasks.check import Finding

    unknown = [metric for metric in task.metrics if metric not in METRICS]
    return [
        Finding(task.name, "metrics", f"unknown metric{did_you_mean(metric, METRICS.names())}", metric)
        for metric in unknown
    ]


def _check(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from komt.sources import present
    from komt.tasks import TASKS, load_task
    from komt.tasks.check import check_task

    tasks = [load_task(name) for name in args.names or TASKS.names()]
    findings = [finding for task in tasks for finding in (*_unknown_metrics(task), *check_task(task))]
    unread = [task.name for task in tasks if not present(task.rows_from)]
    if args.json:
        report = {
            "tasks": len(tasks),
            "unread": unread,
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return 1 if findings else 0
    for finding in findings:
        print(f"{finding.task}, {finding.template}: {finding.what}: {finding.instance!r}")
    if unread:
        print(f"only the templates' text was checked, since the rows are not here: {', '.join(unread)}")
    print(f"{len(tasks)} tasks checked, {len(findings)} faults")
    return 1 if findings else 0
