"""What a recipe trains on: its tasks and those of its mixtures. ADD A MIXTURE: one YAML in `mixtures/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from komt.errors import DataError, UsageError, did_you_mean
from komt.mix.filters import source_reason
from komt.recipe import Recipe, TaskPart
from komt.registry import Registry
from komt.sources import SOURCES, Source, present, redivided, train_missing
from komt.strict import Part, Words, parse_part, read_yaml
from komt.tasks import TASKS, Task, load_task, own_tasks

MIXTURES_FOLDER = Path(__file__).parent / "mixtures"


class Mixture(Part):
    """Tasks under one name.

    Attributes:
        tasks: by name, each with its settings.
        mixtures: further mixtures, whose tasks belong to it.
        families, sources: every task of these that may train.
        origins: only tasks over sources of these origins, of all the above.
    """

    name: Words
    title: Words
    tasks: dict[str, TaskPart] = Field(default_factory=dict)
    mixtures: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    origins: tuple[Literal["native", "translated", "generated"], ...] = ("native", "translated", "generated")

    @field_validator("tasks", mode="before")
    @classmethod
    def _empty_means_all(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {name: {} for name in value}
        return {k: v or {} for k, v in value.items()} if isinstance(value, dict) else value


def read_mixture_file(path: Path) -> Mixture:
    """A mixture from its YAML file; the file's name is the mixture's name."""
    values = {"name": path.stem, **read_yaml(path, f"the mixture '{path.stem}'")}
    return parse_part(Mixture, values, str(path), f"the mixture '{path.stem}'")


MIXTURES: Registry[Mixture] = Registry("mixture", "komt.mixtures")
MIXTURES.add_folder(MIXTURES_FOLDER, read_mixture_file)


@dataclass
class Chosen:
    """The tasks that a recipe trains on.

    Attributes:
        tasks, parts: the tasks and their settings, by name, in the recipe's order.
        mixtures: task -> the mixture that the recipe takes it from.
        held_out: task -> the family that is held out, or the origin or licence that is not wanted.
        absent: task -> why its rows are not here (`data.missing: skip`).
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    parts: dict[str, TaskPart] = field(default_factory=dict)
    mixtures: dict[str, str] = field(default_factory=dict)
    held_out: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def training_tasks(recipe: Recipe) -> Chosen:
    """The tasks that a recipe trains on.

    Raises:
        UsageError: an unknown task, mixture, family or source.
        DataError: rows are not here, and the recipe does not say to skip them: all of them at once.
    """
    data, chosen = recipe.data, Chosen()
    # Reading every task's file takes a second: only where a family is named.
    named = (*TASKS.names(), *own_tasks(recipe)) if data.hold_out else ()
    families = {load_task(name, recipe).family for name in named}
    for family in data.hold_out:
        if family not in families:
            near = did_you_mean(family, families)
            raise UsageError(
                f"data.hold_out: unknown family '{family}'{near}",
                cure=f"known: {', '.join(sorted(families))}",
            )
    for name in data.sources:
        if name not in SOURCES and name not in own_tasks(recipe):
            raise UsageError(f"data.sources: unknown source '{name}'{did_you_mean(name, SOURCES.names())}")
    missing: dict[str, DataError] = {}
    for name, part in _named(recipe).items():
        task = load_task(name, recipe)
        source = task.rows_from
        if task.family in data.hold_out:
            chosen.held_out[name] = f"family {task.family}"
        elif reason := source_reason(source.licence, source.origin, data.quality, data.origins):
            chosen.held_out[name] = f"{reason} {source.origin if reason == 'origin' else source.licence}"
        elif not _can_train(source, data.resplit):
            missing[name] = train_missing(source)
        else:
            chosen.tasks[name], chosen.parts[name] = task, part
    if missing and data.missing == "error":
        raise _all_missing(missing)
    for mixture, name, _ in _of_mixtures(recipe):
        if name in chosen.tasks:
            chosen.mixtures.setdefault(name, mixture)
    chosen.absent = {name: error.what for name, error in missing.items()}
    return chosen


def evaluation_tasks(recipe: Recipe) -> dict[str, Task]:
    """The tasks that a recipe scores, whether it trains on them or not."""
    return {name: load_task(name, recipe) for name in recipe.evaluate.tasks}


def _named(recipe: Recipe) -> dict[str, TaskPart]:
    """Every task that the recipe names, with its settings; its own come over those of a mixture."""
    parts: dict[str, TaskPart] = {}
    for _, name, part in _of_mixtures(recipe):
        parts.setdefault(name, part)
    return {**parts, **recipe.data.tasks, **{name: TaskPart() for name in own_tasks(recipe)}}


def _of_mixtures(recipe: Recipe) -> Iterator[tuple[str, str, TaskPart]]:
    for mixture in recipe.data.mixtures:
        for name, part in tasks_of(mixture):
            yield mixture, name, part


def tasks_of(mixture: str, inside: tuple[str, ...] = ()) -> Iterator[tuple[str, TaskPart]]:
    """The tasks of a mixture and of those it names, with their settings.

    Raises:
        UsageError: an unknown name, or a mixture that holds itself.
    """
    found = MIXTURES.get(mixture)
    if mixture in inside:
        raise UsageError(f"the mixture '{mixture}' holds itself: {' > '.join((*inside, mixture))}")
    pairs = list(found.tasks.items())
    for name in found.mixtures:
        pairs += tasks_of(name, (*inside, mixture))
    if found.families or found.sources:
        for name in TASKS.names():
            task = TASKS.get(name)
            if (task.family in found.families or task.source in found.sources) and trains(task.rows_from):
                pairs.append((name, TaskPart()))
    settings: dict[str, TaskPart] = {}
    for name, part in pairs:  # the first that is said of a task counts
        if load_task(name).rows_from.origin in found.origins:
            settings.setdefault(name, part)
    yield from settings.items()


def trains(source: Source) -> bool:
    """Whether a source may ever train: by a train split, or by redividing its evaluation set."""
    return "train" in source.splits or bool(source.resplit_by)


def _can_train(source: Source, resplit: bool) -> bool:
    if "train" in source.splits and present(source, "train"):
        return True
    return resplit and redivided(source) and present(source)


def _all_missing(missing: dict[str, DataError]) -> DataError:
    if len(missing) == 1:
        return next(iter(missing.values()))
    lines = "\n".join(f"  {name}: {error.what}" for name, error in missing.items())
    where = next((error.where for error in missing.values() if error.where), "")
    return DataError(
        f"the rows of {len(missing)} tasks are not here:\n{lines}",
        where=where,
        cure="`komt sources show NAME` says where a source is looked for and how to get it;\n"
        "    data.missing=skip goes on without them, and the manifest names them",
    )
