"""Rendered splits, each a content-addressed stage of its own: a changed task is redone alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.files import hash_of, stage_folder
from komt.mix.engine import Engine
from komt.mix.parts import about_part, about_stage, finish, is_done, unfinished
from komt.mix.rendering import Chunk, Work, chunks_of, render_chunk
from komt.recipe import QualityPart
from komt.sources import Source, file_hash, place, read_rows
from komt.tasks import Task, prefaces

VERSION = 3
# What a source says that changes no row.
_NOT_ROWS = {"files", "title", "citation", "rows", "rejected"}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered split of a task.

    Attributes:
        parts: the part files, in the order of the rows.
        read: rows read; rejected: stage -> reason -> number; cleaned: what was mended -> number.
    """

    work: Work
    parts: tuple[Path, ...]
    read: int
    rejected: dict[str, dict[str, int]]
    cleaned: dict[str, int]


def work_for(task: Task, split: str, seed: int, quality: QualityPart | None) -> Work:
    """What is to be rendered of a task."""
    return Work(task, task.rows_from, split, seed, quality)


def work_key(work: Work, resplit: bool) -> dict[str, Any]:
    """All that a rendered split depends on."""
    return {
        "task": work.task.model_dump(mode="json", exclude={"inline"}),
        "source": work.source.model_dump(
            mode="json", exclude={"files", "title", "citation", "rows", "rejected"}
        ),
        "inputs": input_hashes([work.source]),
        "split": work.split,
        "seed": work.seed,
        "resplit": resplit,
        "quality": work.quality.model_dump(mode="json") if work.quality else None,
        "prefaces": hash_of(list(prefaces())),
        "version": VERSION,
    }


def input_hashes(sources: Iterable[Source]) -> dict[str, str]:
    """SHA-256 of every source file that is here, as `source/path` (of an own file only its name)."""
    hashes = {}
    for source in sources:
        for file in source.files:
            path = place(source, file)
            if path.is_file():
                name = Path(file.path).name if Path(file.path).is_absolute() else file.path
                hashes[f"{source.name}/{name}"] = file_hash(path)
    return dict(sorted(hashes.items()))


def render_all(
    works: Sequence[Work], resplit: bool, engine: Engine, note: Callable[[str], None]
) -> list[Rendered]:
    """Render the works that are not rendered yet; a source's rows are read once for all of its tasks."""
    stages = [stage_folder(f"task-{work.task.name}", work_key(work, resplit)) for work in works]
    by_rows: dict[tuple[str, str], list[int]] = {}
    for place_, (work, stage) in enumerate(zip(works, stages, strict=True)):
        if not is_done(stage):
            by_rows.setdefault((work.source.name, work.split), []).append(place_)
    for (source, split), places in sorted(by_rows.items()):
        note(f"{source} {split}: {', '.join(works[i].task.name for i in places)}")
        _render_rows([(works[i], stages[i]) for i in places], resplit, engine)
    return [_rendered(work, stage) for work, stage in zip(works, stages, strict=True)]


def _render_rows(works: list[tuple[Work, Path]], resplit: bool, engine: Engine) -> None:
    """Render several tasks over the same rows."""
    with ExitStack() as stack:
        # Taken in the order of their names, so that two builds cannot wait for each other.
        works = sorted(works, key=lambda pair: pair[1].name)
        folders = [(work, stack.enter_context(unfinished(stage))) for work, stage in works]
        first = works[0][0]
        rows = read_rows(first.source, first.split, resplit=resplit)
        count = 0

        def chunks() -> Iterator[Chunk]:
            nonlocal count
            for count, chunk in enumerate(chunks_of(rows), start=1):
                paths = [(work, folder / f"part-{count:05d}.parquet") for work, folder in folders]
                left = tuple((work, path) for work, path in paths if not path.is_file())
                if left:
                    yield Chunk(chunk, left)

        for _ in engine.map(render_chunk, chunks()):
            pass
        for _, folder in folders:
            finish(folder, _totals([folder / f"part-{n:05d}.parquet" for n in range(1, count + 1)]))


def _totals(parts: list[Path]) -> dict[str, Any]:
    read, cleaned = 0, dict[str, int]()
    rejected: dict[str, dict[str, int]] = {}
    for part in parts:
        about = about_part(part)
        read += about["read"]
        for what, n in about["cleaned"].items():
            cleaned[what] = cleaned.get(what, 0) + n
        for stage, reasons in about["rejected"].items():
            for reason, n in reasons.items():
                counts = rejected.setdefault(stage, {})
                counts[reason] = counts.get(reason, 0) + n
    return {"parts": len(parts), "read": read, "rejected": rejected, "cleaned": cleaned}


def _rendered(work: Work, stage: Path) -> Rendered:
    about = about_stage(stage)
    parts = tuple(stage / f"part-{n:05d}.parquet" for n in range(1, about["parts"] + 1))
    return Rendered(work, parts, about["read"], about["rejected"], about["cleaned"])
