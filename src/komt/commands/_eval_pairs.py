"""Preference pairs in `komt eval`: which ones, and the policy that the model is compared with."""

from __future__ import annotations

import argparse
import re
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


def reference_of(args: argparse.Namespace, recipe: Recipe | None, asked: Sequence[Asked]) -> str:
    """What the model's training started from, as a MODEL; "" without pairs, or where nobody knows it.

    Raises:
        UsageError: it has the model's name, tells no log-likelihood, or there is nothing to compare.
    """
    from komt.errors import UsageError
    from komt.evaluate.preferring import is_pair

    pairs = args.choices != "generate" and any(all(map(is_pair, one.examples)) for one in asked)
    if args.reference and not pairs:
        raise UsageError(
            "--reference is for preference pairs, and none are scored by log-likelihood",
            cure="name some with --pairs FILE, or leave --reference out",
        )
    # Of other runs' tasks no second model is loaded unasked.
    wanted = args.pairs or (recipe and recipe.train.objective != "sft")
    start = args.reference or (_start_of(args.model, recipe) if pairs and wanted else "")
    name = str(start)
    if name and name.rstrip("/") in {args.model.rstrip("/"), args.name}:
        raise UsageError(
            f"'{name}' would be the name of both the model and its reference",
            cure="--name gives the model another one, --reference MODEL compares with another",
        )
    if re.match(r"https?://", name) or name.endswith(".gguf"):
        raise UsageError(
            f"'{name}' tells no log-likelihood of given texts", cure="name a folder or a catalogue name"
        )
    return name


def _start_of(model: str, recipe: Recipe | None) -> str:
    from komt.models.resolve import resolve
    from komt.recipe import load_recipe

    folder = Path(model).expanduser()
    if not folder.is_dir():
        return ""
    if recipe:
        _warn_if_changed(recipe, folder)
        return recipe.model.name
    for place in folder.resolve().parents[:2]:  # an adapter or a model inside a run
        if (place / "recipe.yaml").is_file():
            return load_recipe(str(place / "recipe.yaml")).model.name
    found = resolve(model)
    return found.base if found.adapter else ""


def _warn_if_changed(recipe: Recipe, run: Path) -> None:
    """Say so where the run was not trained from what its recipe names now, such as a run trained again.

    Raises:
        UsageError: that model is not to be had.
    """
    import json

    from komt.errors import ModelError, UsageError
    from komt.models.resolve import resolve
    from komt.train.identity import stage_key

    start = recipe.model.name
    try:
        revision = resolve(start, remote_code=recipe.model.remote_code).revision
    except (ModelError, UsageError) as error:
        raise UsageError(
            f"{run} was trained from '{start}', which is not to be had: {error.what}",
            cure="--reference MODEL names where it lies now, or another model to compare with",
        ) from error
    try:
        key = json.loads((run / "train" / "train.json").read_text(encoding="utf-8"))["key"]
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
    engines: Sequence[RecordedEngine],
    names: Sequence[str],
    asked: Sequence[Asked],
    recipe: Recipe | None,
    on_done: Callable[[], None],
) -> tuple[list[list[Answered]], list[list[Answered]]]:
    """Pairs, scored for the model and, where there is a second engine, for its reference, set by set.

    Either model is freed before the next one is loaded.
    """
    from komt.evaluate.preferring import pair_examples, prefer_recorded, scored_pairs

    examples = [example for one in asked for example in pair_examples(one)]
    found = []
    for engine in engines:
        found.append(_by_set(asked, prefer_recorded(engine, examples, on_done=lambda _: on_done())))
        engine.close()
    own, before = found[0], found[1] if len(found) > 1 else [None] * len(asked)
    train = recipe.train if recipe else None
    sets = list(zip(asked, own, before, strict=True))
    return (
        [scored_pairs(one, each, name=names[0], before=start, train=train) for one, each, start in sets],
        [scored_pairs(one, start, name=names[1]) for one, _, start in sets if start is not None],
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
