"""Where a build's work is done, by how much there is of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.mix import Engine
    from komt.recipe import Recipe
    from komt.sources import Source

# What another process does while this one would only have started it.
_ROWS_PER_PROCESS = 20_000
_BYTES_PER_ROW = 200


@contextmanager
def engine_for(recipe: Recipe, name: str, processes: int) -> Iterator[Engine]:
    """The engine for a recipe's build; its workers go when the block ends.

    Args:
        recipe: what is built.
        name: local or ray.
        processes: of the local engine; 0: as many as there are cores, one where there is little to do.
    """
    from komt.mix import engine_named

    engine = engine_named(name, processes, _rows(recipe) // _ROWS_PER_PROCESS)
    try:
        yield engine
    finally:
        engine.close()


def check_processes(count: int, per_core: int) -> None:
    """Refuse more processes than this machine has use for.

    Args:
        count: what --processes says.
        per_core: how many a core may have: all of them are started at once.

    Raises:
        UsageError: with how many there may be.
    """
    from komt.errors import UsageError
    from komt.process import cores

    here = cores()
    if count > per_core * here:
        raise UsageError(f"--processes {count}: at most {per_core * here} for {here} cores")


def _rows(recipe: Recipe) -> int:
    """About how many rows all tasks together read."""
    from komt.mix import evaluation_tasks, training_tasks

    tasks = {**training_tasks(recipe).tasks, **evaluation_tasks(recipe)}
    sources = {task.source: _rows_of(task.rows_from) for task in tasks.values()}
    return sum(sources[task.source] for task in tasks.values())


def _rows_of(source: Source) -> int:
    from komt.sources import place

    if source.rows:
        return sum(source.rows.values())
    sizes = [_bytes(place(source, file)) for file in source.files]
    return sum(sizes) // _BYTES_PER_ROW


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
