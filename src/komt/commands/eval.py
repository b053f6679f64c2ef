"""Score a model on tasks, with 95 % intervals.

Rows come from the evaluation split, passage by passage in a fixed order. For a run folder, its recipe says
how they are phrased, whether an official set was redivided, and which own files there are.

Example:
  komt eval gemma-3-270m --tasks sample.qa --limit 20
  komt eval runs/sample --tasks sample.qa,sample.sentiment --out report
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.evaluate import Answered
    from komt.example import Example
    from komt.recipe import Recipe
    from komt.serve.engine import Engine
    from komt.tasks import Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt eval`."""
    parser.add_argument("model", help="catalogue name, hub id, or folder (model, adapter, run)")
    parser.add_argument("--tasks", required=True, metavar="NAME,…", help="as `komt tasks list` prints them")
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many rows of each task")
    parser.add_argument("--shots", type=int, default=0, metavar="K", help="solved examples shown before")
    parser.add_argument("--split", default="", help="default: the task's own evaluation split")
    parser.add_argument("--name", default="", help="the model's name in the table (default: as given)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="leave scores.json and the answers there")
    parser.add_argument("--seed", type=int, help="of phrasings and shots (default: the recipe's, or 0)")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="default: 32, or the recipe's")
    parser.add_argument("--bits", type=int, choices=(4, 8, 16, 32), default=16, help="default: 16")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="let the model's own Python code run"
    )


def main(args: argparse.Namespace) -> int:
    """Run `komt eval`."""
    from komt.errors import UsageError

    for option in ("limit", "max_new_tokens"):
        if (value := getattr(args, option)) is not None and value < 1:
            raise UsageError(f"--{option.replace('_', '-')} {value}: at least 1")
    if args.shots < 0:
        raise UsageError(f"--shots {args.shots}: at least 0")
    recipe = _recipe_of(args.model)
    tasks = _tasks(args.tasks, recipe)
    seed = args.seed if args.seed is not None else (recipe.seed if recipe else 0)
    asked = [(task, *_examples(task, args, recipe, seed)) for task in tasks]

    from komt.evaluate import scores_of, table, write_answers, write_scores
    from komt.serve.loading import load_engine
    from komt.sources import RESPLIT

    engine = load_engine(args.model, args.bits, remote_code=args.trust_remote_code)
    answered = [one for task, rows, shots in asked for one in _score(engine, task, rows, shots, args, recipe)]
    comparable = {task.name: rows[0].split != RESPLIT for task, rows, _ in asked}
    scores = scores_of(answered, comparable=comparable)
    if args.out:
        write_scores(args.out / "scores.json", scores)
        write_answers(args.out, answered)
    if args.json:
        print(json.dumps(scores, ensure_ascii=False, indent=1))
    else:
        table(scores)
    return 0


def _recipe_of(model: str) -> Recipe | None:
    """The resolved recipe of a run folder."""
    from komt.commands._stages import recipe_with_own

    path = Path(model).expanduser() / "recipe.yaml"
    return recipe_with_own(str(path)) if path.is_file() else None


def _tasks(names: str, recipe: Recipe | None) -> list[Task]:
    from komt.errors import UsageError
    from komt.evaluate.metrics import METRICS
    from komt.tasks import load_task

    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted:
        raise UsageError("--tasks names no task", cure="for example --tasks sample.qa,sample.sentiment")
    tasks = [load_task(name, recipe) for name in wanted]
    for task in tasks:
        for metric in task.metrics:
            METRICS.get(metric)
    return tasks


def _examples(
    task: Task, args: argparse.Namespace, recipe: Recipe | None, seed: int
) -> tuple[list[Example], list[Example]]:
    """The rows of a task that are scored, and the solved examples shown before each."""
    from komt.errors import DataError
    from komt.evaluate import choose_examples
    from komt.mix import examples_of
    from komt.sources import RESPLIT
    from komt.tasks import few_shot

    resplit = recipe.data.resplit if recipe else False
    split = args.split or task.evaluation_split(resplit)
    found = examples_of(task, split, seed, resplit=resplit or split == RESPLIT)
    if not found:
        raise DataError(f"the split '{split}' of the task '{task.name}' has no usable row")
    shots = few_shot(task, args.shots, seed) if args.shots else []
    return choose_examples(found, args.limit), shots


def _score(
    engine: Engine,
    task: Task,
    rows: list[Example],
    shots: list[Example],
    args: argparse.Namespace,
    recipe: Recipe | None,
) -> list[Answered]:
    from komt.evaluate import score
    from komt.progress import progress
    from komt.recipe import EvaluatePart

    settings = recipe.evaluate if recipe else EvaluatePart()
    name = args.name or args.model.rstrip("/") or args.model
    with progress(task.name, len(rows)) as advance:
        return score(
            engine,
            rows,
            name=f"{name}-{args.shots}shot" if args.shots else name,
            metrics=task.metrics,
            shots=shots,
            max_new_tokens=args.max_new_tokens or settings.max_new_tokens,
            batch_tokens=settings.batch_tokens,
            on_done=lambda _: advance(),
        )
