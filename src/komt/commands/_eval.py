"""The work of `komt eval`: tasks chosen, rows chosen, answers got, scores made."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komt.evaluate import Answered
    from komt.evaluate.asked import Asked, Order
    from komt.evaluate.recorded import RecordedEngine
    from komt.recipe import Recipe
    from komt.serve.engine import LoadedEngine
    from komt.tasks import Task

Row = dict[str, Any]
_FAMILY = "family:"
# Examples from which on starting more processes takes less time than it saves.
_WORTH_PROCESSES = 256


def evaluate(args: argparse.Namespace) -> tuple[list[Row], list[Answered]]:
    """Rows of `scores.json`, and the answers to komt's own tasks."""
    from komt.errors import UsageError

    _check(args)
    recipe = _recipe_of(args.model)
    tasks = _tasks(args.tasks, recipe, args.split) if args.tasks else []
    if not tasks and not args.harness:
        raise UsageError(
            "no task is named", cure="for example --tasks sample.qa,sample.sentiment, or --tasks all"
        )
    asked = _asked(args, recipe, tasks)
    flags = _contaminated(args, asked)
    name = _name(args)
    engine = recorded_engine(args, _processes(args, sum(len(one.examples) for one in asked)))
    with closing(engine):
        answered = _answers(args, engine, asked, name, flags) if asked else []
        scores = _scores(asked, answered)
        if args.harness:
            scores += _harness(args, engine, name)
    return scores, answered


def _check(args: argparse.Namespace) -> None:
    from komt.errors import UsageError

    for option in ("limit", "max_new_tokens"):
        if (value := getattr(args, option)) is not None and value < 1:
            raise UsageError(f"--{option.replace('_', '-')} {value}: at least 1")
    for option in ("shots", "context"):
        if getattr(args, option) < 0:
            raise UsageError(f"--{option} {getattr(args, option)}: at least 0")


def _name(args: argparse.Namespace) -> str:
    name = args.name or args.model.rstrip("/") or args.model
    return f"{name}-{args.shots}shot" if args.shots else str(name)


def _recipe_of(model: str) -> Recipe | None:
    """The resolved recipe of a run folder."""
    from komt.commands._stages import recipe_with_own

    path = Path(model).expanduser() / "recipe.yaml"
    return recipe_with_own(str(path)) if path.is_file() else None


def _tasks(names: str, recipe: Recipe | None, split: str) -> list[Task]:
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
    here = [task for task in known if present(task.rows_from, split or _source_split(task, resplit))]
    absent = [task.name for task in known if task not in here]
    if absent:
        line = f"skipped, for their evaluation rows are not here: {len(absent)} tasks ({_few(absent)})"
        print(f"{line}; komt sources list says what there is", file=sys.stderr)
    if not here:
        raise UsageError(
            f"{name}: of no such task the evaluation rows are here", cure="komt sources fetch NAME"
        )
    return here


def _source_split(task: Task, resplit: bool) -> str:
    """The split whose files hold the rows that are scored."""
    from komt.sources import RESPLIT, divided_split

    split = task.evaluation_split(resplit)
    return divided_split(task.rows_from) if split == RESPLIT else split


def _few(names: Sequence[str], most: int = 4) -> str:
    more = f", … {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _asked(args: argparse.Namespace, recipe: Recipe | None, tasks: list[Task]) -> list[Asked]:
    """The rows that are scored, task by task as they were named."""
    from komt.evaluate.asked import ORDERS, Asking
    from komt.progress import status

    seed = args.seed if args.seed is not None else (recipe.seed if recipe else 0)
    resplit = recipe.data.resplit if recipe else False
    asking = Asking(limit=args.limit, shots=args.shots, seed=seed, split=args.split, resplit=resplit)
    orders: dict[str, tuple[Order, ...]] = {"both": ORDERS, "": ("",)}
    found: dict[str, list[Asked]] = {}
    with status("reading rows") as note:
        for task in sorted(tasks, key=lambda task: task.rows_from.name):  # each source is read once
            note(task.name)
            found[task.name] = list(asking.ask(task, orders.get(args.order, (args.order,))))
    return [one for task in tasks for one in found[task.name]]


def _contaminated(args: argparse.Namespace, asked: Sequence[Asked]) -> list[list[bool]]:
    """Which examples stand in the data of the run that trained the model, or in what --against names."""
    from komt.evaluate.contamination import contaminated, trained_at, trained_of
    from komt.progress import status

    known = [trained_at(path.expanduser()) for path in args.against]
    own = trained_of(args.model)
    flags = [[False] * len(one.examples) for one in asked]
    with status("looking for the examples in the training data"):
        for trained in [*known, *([own] if own else [])]:
            found = contaminated(asked, trained)
            flags = [[a or b for a, b in zip(*pair, strict=True)] for pair in zip(flags, found, strict=True)]
    return flags


def _processes(args: argparse.Namespace, count: int) -> int:
    """In how many processes the model answers; where that is not asked for, several for a small one."""
    from komt.errors import UsageError

    if args.processes is not None and args.processes < 1:
        raise UsageError(f"--processes {args.processes}: at least 1")
    named = re.match(r"https?://", args.model) or args.model.endswith(".gguf")
    if named or args.engine not in {"auto", "transformers"} or args.harness:
        if (args.processes or 1) > 1:
            raise UsageError(
                "--processes is for models that transformers computes, and not for --harness",
                cure="leave --processes out",
            )
        return 1
    if args.processes is not None:
        return int(args.processes)
    from komt.serve.processes_engine import fitting_processes

    return fitting_processes(args.model) if count >= _WORTH_PROCESSES else 1


def recorded_engine(args: argparse.Namespace, processes: int = 1) -> RecordedEngine:
    """The model that the options name; loaded, in one or several processes, when an answer is missing."""
    from komt.commands._model import engine_of
    from komt.evaluate.identity import kept_seconds, model_key
    from komt.evaluate.record import Record
    from komt.evaluate.recorded import RecordedEngine

    key = model_key(args.model, args.bits, args.engine, remote_code=args.trust_remote_code)

    def opened() -> LoadedEngine:
        if processes == 1:
            return engine_of(args)
        from komt.serve.processes_engine import ProcessesEngine

        return ProcessesEngine(args.model, args.bits, processes, remote_code=args.trust_remote_code)

    return RecordedEngine(opened, Record(), key, seconds=kept_seconds(args.model), fresh=args.fresh)


def _answers(
    args: argparse.Namespace,
    engine: RecordedEngine,
    asked: Sequence[Asked],
    name: str,
    flags: list[list[bool]],
) -> list[Answered]:
    from komt.evaluate.answering import Way, answer_all
    from komt.progress import progress

    way = Way(args.choices, args.normalise, args.max_new_tokens)
    count = sum(len(one.examples) for one in asked)
    began = time.monotonic()
    with progress(f"{name}: {len(asked)} tasks", count) as advance:
        answers = answer_all(engine, asked, name=name, way=way, on_done=lambda _: advance())
    seconds = time.monotonic() - began
    print(f"{count:,} answers in {seconds:,.0f} s, {engine.asked:,} of them newly asked", file=sys.stderr)
    return [
        replace(one, contaminated=flag)
        for found, marks in zip(answers, flags, strict=True)
        for one, flag in zip(found, marks, strict=True)
    ]


def _scores(asked: Sequence[Asked], answered: Sequence[Answered]) -> list[Row]:
    from komt.evaluate import scores_of

    return scores_of(
        answered,
        comparable={one.task.name: not one.resplit for one in asked},
        limits={one.task.name: one.limit for one in asked if one.limited and one.limit},
    )


def _harness(args: argparse.Namespace, engine: RecordedEngine, name: str) -> list[Row]:
    from komt.evaluate.harness import run_harness

    tasks = [task.strip() for task in args.harness.split(",") if task.strip()]
    return run_harness(
        engine.engine,
        tasks,
        name=name,
        limit=args.limit,
        shots=args.shots or None,
        include_path=args.include_path,
    )
