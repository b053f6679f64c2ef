"""Build: a recipe's tasks become one folder of training and evaluation examples, with what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from komt.errors import DataError
from komt.example import SCHEMA, Example
from komt.files import hash_of, locked, staged_folder, write_atomic
from komt.mix.collect import Collected, Fit, Seen, collect, count, drop_repeated, fingerprint, fit_all
from komt.mix.manifest import Evaluation, Manifest, TaskCounts
from komt.mix.mixture import Rejection, choose
from komt.recipe import Recipe, TaskPart
from komt.sources import Source, file_hash, place, present, redivided, train_missing
from komt.tasks import Task, load_task, prefaces, recipe_tasks

VERSION = 1
_NOT_COMPARABLE = "not comparable with published results: an official evaluation set was redivided"
_REJECTS = pa.schema([(name, pa.string()) for name in ("task", "split", "stage", "reason", "where", "row")])
_FINGERPRINTS = pa.schema([(name, pa.string()) for name in ("fingerprint", "task", "id")])


def build(
    recipe: Recipe, out: Path, fit: Fit | None = None, note: Callable[[str], None] = lambda _: None
) -> Manifest:
    """Build a recipe's data into a folder, which appears whole or not at all; same inputs, same bytes.

    Writes `train.parquet`, `evaluate.parquet` (example.SCHEMA), `rejects.parquet`, `fingerprints.parquet`
    and `manifest.json`.

    Args:
        recipe: tasks, own files, seed, and the tasks that are evaluated.
        out: folder to fill.
        fit: keeps, shortens or drops an example by its length: returns the example (or None) and
            "", "shortened" or "over_long".
        note: told what is being done, for a progress line.

    Raises:
        DataError: a source is not here, a template does not fit its rows, or no example is left.
        UsageError: an unknown task.
    """
    tasks, evaluated = recipe_tasks(recipe), evaluation_tasks(recipe)
    for task in tasks.values():
        _check_trainable(task.rows_from, recipe.data.resplit)
    seen = Seen()
    held: dict[str, Collected | None] = {}
    for name, task in {**tasks, **evaluated}.items():
        note(f"{name}: reading evaluation rows")
        held[name] = found = _collect_evaluation(task, recipe)
        if found:
            seen.add_evaluation(found)
    train: dict[str, Collected] = {}
    for name, task in tasks.items():
        note(f"{name}: reading training rows")
        train[name] = _collect_train(task, recipe, seen)
    for name, found in [*train.items(), *held.items()]:
        if found and fit:
            note(f"{name}: measuring {len(found.examples):,} examples")
            fit_all(found, fit)
    manifest = _manifest(recipe, {**tasks, **evaluated}, train, held)
    if not manifest.examples:
        raise _nothing_left(train)
    with locked(out), staged_folder(out) as staged:
        _write(staged, train, held)
        write_atomic(staged / "manifest.json", manifest.as_json())
    return manifest


def evaluation_tasks(recipe: Recipe) -> dict[str, Task]:
    """The tasks that a recipe scores, whether it trains on them or not."""
    return {name: load_task(name, recipe) for name in recipe.evaluate.tasks}


def stage_key(recipe: Recipe, version: int = VERSION) -> dict[str, Any]:
    """Everything that a build depends on: for a content-addressed stage folder."""
    tasks = {**recipe_tasks(recipe), **evaluation_tasks(recipe)}
    data = recipe.data.model_dump(mode="json", exclude={"files": {"__all__": {"path"}}})
    # Order counts: of two equal examples the first task's is kept.
    return {
        "data": {**data, "tasks": list(data["tasks"].items())},
        "seed": recipe.seed,
        "tokens": recipe.pack.tokens,
        "model": recipe.model.name,
        "evaluate": list(recipe.evaluate.tasks),
        "inputs": _inputs(tasks.values()),
        "tasks": {
            name: hash_of([task.model_dump(exclude={"inline"}), task.rows_from.model_dump(exclude={"files"})])
            for name, task in tasks.items()
        },
        "prefaces": hash_of(list(prefaces())),
        "version": version,
    }


def _check_trainable(source: Source, resplit: bool) -> None:
    if "train" in source.splits and present(source, "train"):
        return
    if not (resplit and redivided(source)) or not present(source):
        raise train_missing(source)


def _collect_train(task: Task, recipe: Recipe, seen: Seen) -> Collected:
    found = collect(task, "train", recipe.seed, resplit=recipe.data.resplit)
    drop_repeated(found, seen)
    part = recipe.data.tasks.get(task.name, TaskPart())
    found.examples, left = choose(found.examples, part, recipe.seed)
    found.rejected += left
    return found


def _collect_evaluation(task: Task, recipe: Recipe) -> Collected | None:
    """The evaluation rows; None where they are not here and the recipe does not score the task."""
    split = task.evaluation_split(recipe.data.resplit)
    source = task.rows_from
    here = bool(source.hold_out) or redivided(source) or present(source, split)
    if not here and task.name not in recipe.evaluate.tasks:
        return None
    return collect(task, split, recipe.seed, resplit=recipe.data.resplit)


def _manifest(
    recipe: Recipe, tasks: dict[str, Task], train: dict[str, Collected], held: dict[str, Collected | None]
) -> Manifest:
    counts = {name: _task_counts(task, train.get(name), held[name]) for name, task in tasks.items()}
    sources = {task.rows_from.name: task.rows_from for task in tasks.values()}
    resplit = sorted(name for name, source in sources.items() if recipe.data.resplit and redivided(source))
    return Manifest(
        examples=sum(item.examples for item in counts.values()),
        tasks=counts,
        seed=recipe.seed,
        resplit=resplit,
        comparable=not resplit,
        note=_NOT_COMPARABLE if resplit else "",
        licences=sorted({source.licence for source in sources.values()}),
        inputs=_inputs(tasks.values()),
        version=VERSION,
    )


def _task_counts(task: Task, train: Collected | None, held: Collected | None) -> TaskCounts:
    source = task.rows_from
    kept = train.examples if train else []
    splits = Counter(example.split for example in [*kept, *(held.examples if held else [])])
    evaluation = held and Evaluation(
        split=held.split,
        read=held.read,
        examples=len(held.examples),
        shortened=held.shortened,
        rejected=count(held.rejected),
    )
    return TaskCounts(
        examples=len(kept),
        read=train.read if train else 0,
        shortened=train.shortened if train else 0,
        source=source.name,
        licence=source.licence,
        origin=source.origin,
        splits=dict(sorted(splits.items())),
        templates=dict(sorted(Counter(example.template for example in kept).items())),
        kinds=dict(sorted(Counter(example.kind for example in kept).items())),
        rejected=count(train.rejected) if train else {},
        evaluation=evaluation or None,
    )


def _inputs(tasks: Iterable[Task]) -> dict[str, str]:
    """SHA-256 of every source file that is here, as `source/path` (of an own file only its name)."""
    hashes = {}
    for source in {task.rows_from.name: task.rows_from for task in tasks}.values():
        for file in source.files:
            path = place(source, file)
            if path.is_file():
                name = Path(file.path).name if Path(file.path).is_absolute() else file.path
                hashes[f"{source.name}/{name}"] = file_hash(path)
    return dict(sorted(hashes.items()))


def _nothing_left(train: dict[str, Collected]) -> DataError:
    lines = [
        f"{name}: {found.read} read"
        + "".join(
            f", {n} {reason}" for reasons in count(found.rejected).values() for reason, n in reasons.items()
        )
        for name, found in train.items()
    ]
    counted = "\n".join(f"  {line}" for line in lines) or "  it names no tasks and no files"
    return DataError(
        f"the recipe leaves no example to train on:\n{counted}",
        cure="name tasks under data.tasks or files under data.files; for over_long raise pack.tokens",
    )


def _write(folder: Path, train: dict[str, Collected], held: dict[str, Collected | None]) -> None:
    examples = [example for found in train.values() for example in found.examples]
    evaluation = [example for found in held.values() if found for example in found.examples]
    everything = [*train.values(), *(found for found in held.values() if found)]
    rejected: list[Rejection] = [item for found in everything for item in found.rejected]
    write_examples(folder / "train.parquet", examples)
    write_examples(folder / "evaluate.parquet", evaluation)
    _write_table(folder / "rejects.parquet", [asdict(item) for item in rejected], _REJECTS)
    prints = [{"fingerprint": fingerprint(item), "task": item.task, "id": item.id} for item in examples]
    _write_table(folder / "fingerprints.parquet", prints, _FINGERPRINTS)


def write_examples(path: Path, examples: list[Example]) -> None:
    """Examples as a Parquet file of example.SCHEMA."""
    _write_table(path, [example.as_record() for example in examples], SCHEMA)


def read_examples(path: Path) -> list[Example]:
    """The inverse of `write_examples`.

    Raises:
        DataError: no such file.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}", cure="build the data first: komt build RECIPE --out DIR")
    return [Example.from_record(record) for record in pq.read_table(path).to_pylist()]


def _write_table(path: Path, records: list[dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(records, schema=schema), path, compression="zstd")
