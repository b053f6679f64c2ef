"""The work of `komt eval`: tasks chosen, rows chosen, answers got, scores made."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
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
# Examples from which on starting more processes takes less time than it saves.
_WORTH_PROCESSES = 256
# Each holds the model.
_MOST_PER_CORE = 2


def evaluate(args: argparse.Namespace) -> tuple[list[Row], list[Answered]]:
    """Rows of `scores.json`, and the answers to komt's own tasks; of pairs also those of the reference."""
    from komt.commands._eval_pairs import pair_tasks, reference_of, say_left_out
    from komt.commands._eval_tasks import each_once, named_tasks
    from komt.errors import UsageError

    _check(args)
    recipe = _recipe_of(args.model)
    tasks = named_tasks(args.tasks, recipe, args.split) if args.tasks else []
    pairs = pair_tasks(args, recipe)
    if not tasks and not pairs and not args.harness:
        raise UsageError(
            "no task is named", cure="for example --tasks sample.qa,sample.sentiment, or --tasks all"
        )
    asked = _asked(args, recipe, each_once([*tasks, *pairs]))
    say_left_out(asked)
    start = reference_of(args, recipe, asked)
    # What is wrong with either model or with --against is told before one of them is loaded.
    models = [args, argparse.Namespace(**{**vars(args), "model": start})] if start else [args]
    flags = [_contaminated(args, asked, each.model) for each in models]
    processes = _processes(args, sum(len(one.examples) for one in asked))
    with ExitStack() as stack:
        engines = [stack.enter_context(closing(recorded_engine(each, processes))) for each in models]
        by_pairs = _by_pairs(args, engines[0], asked, must=bool(pairs))
        harness = _harness(args, engines[0], _name(args)) if args.harness else []
        found = _answers(args, engines, [_name(args), start], asked, by_pairs, recipe)
    answered, others = (
        [replace(one, contaminated=mark) for one, mark in _flat(each, marks)]
        for each, marks in zip(found, [*flags, flags[0]][:2], strict=True)
    )
    return [*_scores(asked, others), *_scores(asked, answered, others), *harness], [*others, *answered]


def _by_pairs(
    args: argparse.Namespace, engine: RecordedEngine, asked: Sequence[Asked], *, must: bool
) -> list[int]:
    """Which of what is asked is of preference pairs, and scored by likelihood; the rest is answered.

    Raises:
        UsageError: pairs `must` be scored so, and the options or the engine do not allow it.
    """
    from komt.errors import UsageError
    from komt.evaluate.answering import by_likelihood
    from komt.evaluate.preferring import is_pair

    places = [number for number, one in enumerate(asked) if all(map(is_pair, one.examples))]
    if must and args.choices == "generate":
        raise UsageError(
            "preference pairs are scored by log-likelihood", cure="leave --choices out, or name --tasks"
        )
    return places if places and by_likelihood(engine, "loglikelihood" if must else args.choices) else []


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


def _contaminated(args: argparse.Namespace, asked: Sequence[Asked], model: str) -> list[list[bool]]:
    """Which examples stand in the data of the run that trained a model, or in what --against names."""
    from komt.evaluate.contamination import contaminated, trained_at, trained_of
    from komt.progress import status

    known = [trained_at(path.expanduser()) for path in args.against]
    own = trained_of(model)
    flags = [[False] * len(one.examples) for one in asked]
    with status("looking for the examples in the training data"):
        for trained in [*known, *([own] if own else [])]:
            found = contaminated(asked, trained)
            flags = [[a or b for a, b in zip(*pair, strict=True)] for pair in zip(flags, found, strict=True)]
    return flags


def _processes(args: argparse.Namespace, count: int) -> int:
    """In how many processes the model answers; where that is not asked for, several for a small one."""
    from komt.commands._engine import check_processes
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
        check_processes(args.processes, _MOST_PER_CORE)
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
    engines: Sequence[RecordedEngine],
    names: Sequence[str],
    asked: Sequence[Asked],
    by_pairs: Sequence[int],
    recipe: Recipe | None,
) -> tuple[dict[int, list[Answered]], dict[int, list[Answered]]]:
    """Answers of the model to everything, by place in `asked`, and those of its reference to pairs."""
    from komt.commands._eval_pairs import preferred
    from komt.evaluate.answering import Way, answer_all
    from komt.progress import progress

    way = Way(args.choices, args.normalise, args.max_new_tokens)
    rest = [number for number in range(len(asked)) if number not in by_pairs]
    count = sum(len(asked[number].examples) for number in [*rest, *list(by_pairs) * len(engines)])
    began = time.monotonic()
    with progress(f"{names[0]}: {len(asked)} tasks", count) as advance:
        plain = [asked[number] for number in rest]
        answers = answer_all(engines[0], plain, name=names[0], way=way, on_done=lambda _: advance())
        pairs = [asked[number] for number in by_pairs]
        own, before = preferred(engines, names, pairs, recipe, advance) if pairs else ([], [])
    seconds, new = time.monotonic() - began, sum(engine.asked for engine in engines)
    print(f"{count:,} answers in {seconds:,.0f} s, {new:,} of them newly asked", file=sys.stderr)
    found = dict(zip([*rest, *by_pairs], [*answers, *own], strict=True))
    return found, dict(zip(by_pairs, before, strict=False))


def _flat(
    answers: Mapping[int, Sequence[Answered]], flags: Sequence[Sequence[bool]]
) -> Iterator[tuple[Answered, bool]]:
    """All answers in the order in which they were asked, each with its flag."""
    for number in sorted(answers):
        yield from zip(answers[number], flags[number], strict=True)


def _scores(
    asked: Sequence[Asked], answered: Sequence[Answered], against: Sequence[Answered] = ()
) -> list[Row]:
    from komt.evaluate import scores_of

    return scores_of(
        answered,
        against=[against] if against else [],
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
