"""Rendered splits, each a content-addressed stage of its own: a changed task is redone alone."""

from __future__ import annotations

from collections import Counter, deque
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
from komt.sources import Source, file_hash, place, read_splits, shown_paths
from komt.tasks import Task, prefaces

VERSION = 4


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
        "files": _files_of(work.source),
        "inputs": input_hashes([work.source]),
        "split": work.split,
        "seed": work.seed,
        "resplit": resplit,
        "quality": work.quality.model_dump(mode="json") if work.quality else None,
        "prefaces": hash_of(list(prefaces())),
        "version": VERSION,
    }


def _files_of(source: Source) -> list[list[Any]]:
    """How each file is read, wherever it lies: as which split, which members, beside what, by what reader."""
    shown = shown_paths(source)
    return [
        [
            shown[file.path],
            file.split,
            file.member,
            [shown.get(item.path, item.path) for item in file.beside],
            file.reader,
        ]
        for file in source.files
    ]


def input_hashes(sources: Iterable[Source]) -> dict[str, str]:
    """SHA-256 of every source file or folder that is here, as `source/path` (see `sources.shown_paths`)."""
    hashes = {}
    for source in sources:
        for path, name in shown_paths(source).items():
            if (spot := place(source, path)).exists():
                hashes[f"{source.name}/{name}"] = file_hash(spot)
    return dict(sorted(hashes.items()))


def render_all(
    works: Sequence[Work], resplit: bool, engine: Engine, note: Callable[[str], None]
) -> list[Rendered]:
    """Render the works that are not rendered yet; a source's rows are read once for all of its tasks."""
    stages = [stage_folder(f"task-{work.task.name}", work_key(work, resplit)) for work in works]
    # An own file may have the name of a source: only what is the same throughout is read together.
    by_source: dict[tuple[str, str], list[tuple[Work, Path]]] = {}
    for work, stage in zip(works, stages, strict=True):
        if not is_done(stage):
            source = work.source.name, hash_of(work.source.model_dump(mode="json"))
            by_source.setdefault(source, []).append((work, stage))
    with ExitStack() as stack:
        under_way: deque[_Reading] = deque()

        def finish_first() -> None:
            while under_way and under_way[0].rendered:
                under_way.popleft().finish()

        def chunks() -> Iterator[Chunk]:
            # In the order of names, so that two builds cannot wait for each other.
            for (name, _), pairs in sorted(by_source.items()):
                note(f"{name}: {', '.join(dict.fromkeys(work.task.name for work, _ in pairs))}")
                reading = _Reading(pairs)
                under_way.append(reading)
                stack.push(reading.stack)
                yield from reading.chunks(resplit)
                finish_first()

        # One after the other without a break, so that no worker waits for the last part of a source.
        for _ in engine.map(render_chunk, chunks()):
            under_way[0].done += 1
            finish_first()
    return [_rendered(work, stage) for work, stage in zip(works, stages, strict=True)]


class _Reading:
    """A source whose rows are on their way to its tasks: chunks that were sent out, and that are done."""

    def __init__(self, works: Sequence[tuple[Work, Path]]) -> None:
        self.stack = ExitStack()
        self.sent, self.done, self.read = 0, 0, False
        self._source = works[0][0].source
        self._parts: Counter[str] = Counter({work.split: 0 for work, _ in works})
        self._folders = [
            (work, self.stack.enter_context(unfinished(stage)))
            for work, stage in sorted(works, key=lambda pair: pair[1].name)
        ]

    @property
    def rendered(self) -> bool:
        """Whether all of its rows are rendered."""
        return self.read and self.done == self.sent

    def chunks(self, resplit: bool) -> Iterator[Chunk]:
        """What is not rendered yet."""
        rows = read_splits(self._source, sorted(self._parts), resplit=resplit)
        for split, number, chunk in chunks_of(rows):
            self._parts[split] = number
            paths = [(w, _part(folder, number)) for w, folder in self._folders if w.split == split]
            left = tuple((work, path) for work, path in paths if not path.is_file())
            if left:
                self.sent += 1
                yield Chunk(chunk, left)
        self.read = True

    def finish(self) -> None:
        """Put the stages in their places."""
        for work, folder in self._folders:
            finish(folder, _totals([_part(folder, n + 1) for n in range(self._parts[work.split])]))
        self.stack.close()


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"


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
    parts = tuple(_part(stage, n + 1) for n in range(about["parts"]))
    return Rendered(work, parts, about["read"], about["rejected"], about["cleaned"])
