"""Preference pairs in `komt eval`: which ones, and the policy that the model is compared with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.evaluate import Answered
    from komt.evaluate.asked import Asked
    from komt.evaluate.preferring import PairLikelihood
    from komt.evaluate.recorded import RecordedEngine
    from komt.recipe import Recipe
    from komt.tasks import Task


def pair_tasks(args: argparse.Namespace, recipe: Recipe | None) -> list[Task]:
    """Tasks over the files of --pairs; where nothing is asked for, over what a run on pairs held out.

    Raises:
        DataError: a file without pairs. UsageError: a run that held none out.
    """
    from komt.errors import UsageError
    from komt.tasks import pairs_task

    if args.pairs or args.tasks or args.harness or not recipe or recipe.train.objective == "sft":
        return [pairs_task(path) for path in args.pairs]
    tasks = _held_out(recipe, Path(args.model).expanduser())
    if not tasks:
        raise UsageError(
            f"{args.model} held no preference pairs out that are here",
            cure="name some with --pairs FILE, or tasks with --tasks",
        )
    return tasks


def _held_out(recipe: Recipe, run: Path) -> list[Task]:
    """The tasks of a run's data that are of pairs, and whose evaluation rows are here."""
    from komt.commands._eval_tasks import source_split
    from komt.mix import read_manifest
    from komt.sources import present
    from komt.tasks import load_task

    found = []
    for name, counts in read_manifest(run / "data").tasks.items():
        task = load_task(name, recipe)
        if counts.evaluation is None or not all(template.rejected for template in task.templates):
            continue
        if present(task.rows_from, source_split(task, recipe.data.resplit)):
            found.append(task)
    return found


def reference_of(args: argparse.Namespace, recipe: Recipe | None) -> str:
    """The policy that the model's training started from, as a MODEL; "" where nobody knows one.

    Raises:
        UsageError: it has the model's name.
    """
    from komt.errors import UsageError

    name = str(args.reference or _start_of(args.model, recipe))
    if name and name.rstrip("/") in {args.model.rstrip("/"), args.name}:
        raise UsageError(
            f"'{name}' would be the name of both the model and its reference",
            cure="--name gives the model another one, --reference MODEL compares with another",
        )
    return name


def _start_of(model: str, recipe: Recipe | None) -> str:
    from komt.commands._stages import recipe_with_own
    from komt.models.resolve import resolve

    folder = Path(model).expanduser()
    if not folder.is_dir():
        return ""
    if recipe:
        _warn_if_changed(recipe, folder)
        return recipe.model.name
    for place in folder.resolve().parents[:2]:  # an adapter or a model inside a run
        if (place / "recipe.yaml").is_file():
            return recipe_with_own(str(place / "recipe.yaml")).model.name
    found = resolve(model)
    return found.base if found.adapter else ""


def _warn_if_changed(recipe: Recipe, run: Path) -> None:
    """Say so where the run was not trained from what its recipe names now, such as a run trained again."""
    import json

    from komt.models.resolve import resolve
    from komt.train.identity import stage_key

    try:
        key = json.loads((run / "train" / "train.json").read_text(encoding="utf-8"))["key"]
        revision = resolve(recipe.model.name, remote_code=recipe.model.remote_code).revision
        same = not key or key == stage_key(recipe, run / "data", revision)
    except (OSError, ValueError, LookupError, TypeError):
        return  # nothing says what it was trained from
    if not same:
        print(
            f"{run}: {recipe.model.name}, the data or the recipe have changed since it was trained; "
            "rewards may be against another policy than training started from",
            file=sys.stderr,
        )


def preferred(
    engine: RecordedEngine,
    reference: tuple[str, Callable[[], RecordedEngine]] | None,
    asked: Sequence[Asked],
    name: str,
    recipe: Recipe | None,
    on_done: Callable[[], None],
) -> tuple[list[list[Answered]], list[list[Answered]]]:
    """Pairs, scored for the model and for its reference (its name, and what opens it), set by set.

    The model is freed before the reference is loaded.
    """
    from contextlib import closing

    from komt.evaluate.preferring import pair_examples, prefer_recorded, scored_pairs

    examples = [example for one in asked for example in pair_examples(one)]
    own = _by_set(asked, prefer_recorded(engine, examples, on_done=lambda _: on_done()))
    if reference is None:
        return [scored_pairs(one, each, name=name) for one, each in zip(asked, own, strict=True)], []
    engine.close()
    called, opened = reference
    with closing(opened()) as other:
        before = _by_set(asked, prefer_recorded(other, examples, on_done=lambda _: on_done()))
    train = recipe.train if recipe else None
    sets = list(zip(asked, own, before, strict=True))
    return (
        [scored_pairs(one, each, name=name, before=start, train=train) for one, each, start in sets],
        [scored_pairs(one, start, name=called) for one, _, start in sets],
    )


def _by_set(asked: Sequence[Asked], found: list[PairLikelihood]) -> list[list[PairLikelihood]]:
    rest = iter(found)
    return [[next(rest) for _ in one.examples] for one in asked]


def say_left_out(asked: Sequence[Asked]) -> None:
    """Name the rows of own files that cannot be used."""
    for one in asked:
        if one.task.inline and one.left_out:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in one.left_out.items())
            print(f"{one.task.name}: rows that cannot be used: {reasons}", file=sys.stderr)
