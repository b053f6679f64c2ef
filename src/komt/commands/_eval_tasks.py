"""The tasks that `komt eval` is asked for, by name, family, or all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.recipe import Recipe
    from komt.tasks import Task

_FAMILY = "family:"


def named_tasks(names: str, recipe: Recipe | None, split: str) -> list[Task]:
    """The tasks that are named, each once; of `all` and of families those whose rows are here."""
    from komt.errors import UsageError
    from komt.evaluate.metrics import METRICS
    from komt.tasks import load_task

    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted:
        raise UsageError("--tasks names no task", cure="for example --tasks sample.qa,sample.sentiment")
    found: dict[str, Task] = {}
    for name in wanted:
        if name == "all" or name.startswith(_FAMILY):
            found |= {task.name: task for task in _present(name, recipe, split)}
        else:
            found[name] = load_task(name, recipe)
    for task in found.values():
        for metric in task.metrics:
            METRICS.get(metric)
    return list(found.values())


def _present(name: str, recipe: Recipe | None, split: str) -> list[Task]:
    """The tasks of a family, or all, whose evaluation rows are here; says how many are not."""
    from komt.errors import UsageError, did_you_mean
    from komt.sources import present
    from komt.tasks import TASKS, load_task, own_tasks

    known = [*(own_tasks(recipe).values() if recipe else ()), *map(load_task, TASKS.names())]
    if name != "all":
        families = sorted({task.family for task in known})
        family = name.removeprefix(_FAMILY)
        if family not in families:
            what = f"no task is of the family '{family}'{did_you_mean(family, families)}"
            raise UsageError(what, cure=f"one of: {', '.join(families)}")
        known = [task for task in known if task.family == family]
    resplit = recipe.data.resplit if recipe else False
    here = [task for task in known if present(task.rows_from, split or source_split(task, resplit))]
    absent = [task.name for task in known if task not in here]
    if absent:
        line = f"skipped, for their evaluation rows are not here: {len(absent)} tasks ({_few(absent)})"
        print(f"{line}; komt sources list says what there is", file=sys.stderr)
    if not here:
        raise UsageError(
            f"{name}: of no such task the evaluation rows are here", cure="komt sources fetch NAME"
        )
    return here


def source_split(task: Task, resplit: bool) -> str:
    """The split whose files hold the rows that are scored."""
    from komt.sources import RESPLIT, divided_split

    split = task.evaluation_split(resplit)
    return divided_split(task.rows_from) if split == RESPLIT else split


def _few(names: Sequence[str], most: int = 4) -> str:
    more = f", … {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def each_once(tasks: Sequence[Task]) -> list[Task]:
    """The tasks, of which no two may have one name."""
    from komt.errors import UsageError

    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two tasks are called '{name}'", cure="give the file of pairs another name")
    return list(tasks)
