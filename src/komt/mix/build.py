"""Build: a recipe's tasks become one folder of training and evaluation examples, with what was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from komt.errors import DataError
from komt.example import SCHEMA, Example, examples_table
from komt.files import hash_of, home, locked, staged_folder, write_atomic
from komt.mix.assemble import BUCKET_ROWS, Bucket, Piece, assemble, partition, settle
from komt.mix.engine import Engine, InProcess
from komt.mix.fitting import FINGERPRINTS, Fit, beside
from komt.mix.manifest import Manifest, counted
from komt.mix.named import Chosen, evaluation_tasks, training_tasks
from komt.mix.parts import about_part, scratch
from komt.mix.rendering import REJECTS, rejects_of
from komt.mix.report import write_report
from komt.mix.report_data import InWorker, Measure
from komt.mix.select import TaskRows, load_rows, select
from komt.mix.shots import shot_pool
from komt.mix.stages import Rendered, input_hashes, render_all, work_for, work_key
from komt.mix.tally import evaluation_counts, nothing_left, task_counts
from komt.process import collecting_seldom
from komt.recipe import Recipe
from komt.sources import divided_split, present, redivided
from komt.tasks import Task

VERSION = 3
_NOT_COMPARABLE = "not comparable with published results: an official evaluation set was redivided"
Note = Callable[[str], None]


@dataclass
class _Build:
    """A build under way: the chosen tasks, their rendered splits, and where pieces are put."""

    recipe: Recipe
    engine: Engine
    fit: Fit | None
    scratch: Path
    chosen: Chosen
    tasks: dict[str, Task]
    train: dict[str, Rendered]
    held: dict[str, Rendered]
    others: list[Rendered]


@collecting_seldom()
def build(
    recipe: Recipe,
    out: Path,
    fit: Fit | None = None,
    note: Note = lambda _: None,
    engine: Engine | None = None,
) -> Manifest:
    """Build a recipe's data into a folder, which appears whole or not at all; same inputs, same bytes.

    Writes `train.parquet`, `evaluate.parquet` (example.SCHEMA), `rejects.parquet`, `fingerprints.parquet`,
    `manifest.json` and `report.html`. Rendered tasks and finished parts stay under KOMT_HOME/stages, so that
    a killed build goes on, and a changed task or rate redoes no other.

    Args:
        recipe: tasks, own files, seed, and the tasks that are evaluated.
        out: folder to fill.
        fit: keeps examples within the model's length, see `assemble.Fit`; can be pickled where the engine's
            workers are other processes.
        note: told what is being done, for a progress line.
        engine: where the work is done; default: in this process.

    Raises:
        DataError: a source is not here, a template does not fit its rows, or no example is left.
        UsageError: an unknown task, mixture or family.
    """
    engine = engine or InProcess()
    chosen, evaluated = training_tasks(recipe), evaluation_tasks(recipe)
    tasks = {**chosen.tasks, **evaluated}
    train, held, others = _render(recipe, chosen, tasks, engine, note)
    with scratch(home() / "stages" / f"assembling-{hash_of([VERSION, stage_key(recipe)])[:16]}") as folder:
        work = _Build(recipe, engine, fit, folder, chosen, tasks, train, held, others)
        with locked(out), staged_folder(out) as staged:
            manifest = _assemble(work, staged, note)
            write_atomic(staged / "manifest.json", manifest.as_json())
            note("drawing the report")
            write_report(staged, manifest, InWorker(fit, engine) if isinstance(fit, Measure) else None)
    return manifest


def stage_key(recipe: Recipe, version: int = VERSION) -> dict[str, Any]:
    """Everything that a build depends on: for a content-addressed stage folder."""
    chosen = training_tasks(recipe)
    tasks = {**chosen.tasks, **evaluation_tasks(recipe)}
    data = recipe.data.model_dump(mode="json", exclude={"files", "tasks", "mixtures", "beside"})
    # Order counts: of two equal examples the first task's is kept.
    return {
        "data": data,
        "parts": [(name, part.model_dump(mode="json")) for name, part in chosen.parts.items()],
        "left": [chosen.held_out, chosen.absent],
        "files": [part.model_dump(mode="json", exclude={"path"}) for part in recipe.data.files],
        "seed": recipe.seed,
        "tokens": recipe.pack.tokens,
        "model": recipe.model.name,
        "evaluate": list(recipe.evaluate.tasks),
        "tasks": {
            name: work_key(work_for(task, "", recipe.seed, recipe.data.quality), recipe.data.resplit)
            for name, task in tasks.items()
        },
        "version": version,
    }


def _render(
    recipe: Recipe, chosen: Chosen, tasks: dict[str, Task], engine: Engine, note: Note
) -> tuple[dict[str, Rendered], dict[str, Rendered], list[Rendered]]:
    """The training split of every chosen task, the evaluation split of every task, and its other splits.

    The other splits are in no data file: no training row may hold a row of theirs either.
    """
    resplit = recipe.data.resplit
    train = [work_for(task, "train", recipe.seed, recipe.data.quality) for task in chosen.tasks.values()]
    held, others = [], []
    for name, task in tasks.items():
        split, source = task.evaluation_split(resplit), task.rows_from
        divided = resplit and redivided(source)
        here = bool(source.hold_out) or divided or present(source, split)
        # A split that the recipe scores must be here; reading it says how to get it.
        if here or name in recipe.evaluate.tasks:
            held.append(work_for(task, split, recipe.seed, None))
        taken = {"train", split, divided_split(source) if divided else split}
        for other in sorted({*source.splits} - taken):
            if not source.hold_out and present(source, other):
                others.append(work_for(task, other, recipe.seed, None))
    done = render_all([*train, *held, *others], resplit, engine, note)
    ends = len(train), len(train) + len(held)
    parts = done[: ends[0]], done[ends[0] : ends[1]]
    by_task = [{item.work.task.name: item for item in part} for part in parts]
    return by_task[0], by_task[1], done[ends[1] :]


def _assemble(work: _Build, out: Path, note: Note) -> Manifest:
    """Fill the folder with the data files, and return the manifest."""
    note("comparing examples")
    # Begun now: the workers load the tokenizer while this process compares.
    measuring = _evaluation_parts(work)
    rows = [load_rows(rendered) for rendered in work.train.values()]
    conflicts = select(
        rows, [*work.held.values(), *work.others], work.chosen, work.recipe.data, work.engine, work.scratch
    )
    if not any((item.code == 0).any() for item in rows):
        raise nothing_left(rows, {}, work.chosen)
    note("putting the mixture in order")
    train = _train_parts(work, rows)
    note("measuring the evaluation examples")
    held = measuring()
    every = [part for parts in held.values() for part in parts]
    if not sum(about_part(part)["kept"] for part in train):
        raise nothing_left(rows, counted(train), work.chosen)
    prints = [beside(part, "prints") for part in train]
    files = [
        (train, out / "train.parquet", SCHEMA),
        (every, out / "evaluate.parquet", SCHEMA),
        (prints, out / "fingerprints.parquet", FINGERPRINTS),
        (list(_reject_files(work, train, every)), out / "rejects.parquet", REJECTS),
    ]
    for _ in work.engine.map(_merge, files):
        pass
    manifest = _manifest(work, rows, train, held)
    for name, count in conflicts.items():
        manifest.tasks[name].conflicts = count
    return manifest


def _train_parts(work: _Build, rows: list[TaskRows]) -> list[Path]:
    """Parts of the final training data, in order."""
    total = sum(int((item.code == 0).sum()) for item in rows)
    count = -(-total // BUCKET_ROWS)
    pieces = [piece for item in rows for piece in _pieces(work, item, count)]
    bounds = list(work.engine.map(partition, pieces))
    shots = work.scratch / "shots.parquet"
    if work.recipe.data.few_shot.rate:
        _write_shots(rows, shots)
    buckets = [
        Bucket(
            tuple((piece.out, at[n], at[n + 1]) for piece, at in zip(pieces, bounds, strict=True) if at),
            work.scratch / f"part-{n:05d}.parquet",
            work.recipe.seed,
            work.recipe.data.few_shot,
            shots,
            work.fit,
        )
        for n in range(count)
    ]
    for _ in work.engine.map(assemble, [bucket for bucket in buckets if not bucket.out.is_file()]):
        pass
    return [bucket.out for bucket in buckets]


def _pieces(work: _Build, rows: TaskRows, count: int) -> Iterator[Piece]:
    start = 0
    for number, (part, size) in enumerate(zip(rows.rendered.parts, rows.sizes, strict=True)):
        code = rows.code[start : start + size]
        start += size
        out = work.scratch / "pieces" / f"{rows.name}-{number:05d}.arrow"
        yield Piece(part, code, count, out)


def _write_shots(rows: list[TaskRows], path: Path) -> None:
    """The solved examples that may be shown, of every task, from its first chosen rows."""
    pool: list[Example] = []
    for item in rows:
        start = 0
        for part, size in zip(item.rendered.parts, item.sizes, strict=True):
            chosen = np.flatnonzero(item.code[start : start + size] == 0)
            start += size
            if len(chosen):
                table = pq.read_table(part, columns=SCHEMA.names).take(pa.array(chosen[:2048]))
                pool += shot_pool([Example.from_record(record) for record in table.to_pylist()])
                break
    pq.write_table(examples_table(pool), path)


def _evaluation_parts(work: _Build) -> Callable[[], dict[str, list[Path]]]:
    """Begin with the evaluation examples of every task, in their order, within the model's length.

    Returns:
        What ends the work, and gives the parts of each task.
    """
    jobs = {
        name: [
            (part, work.scratch / "held" / f"{name}-part-{n:05d}.parquet")
            for n, part in enumerate(rendered.parts)
        ]
        for name, rendered in work.held.items()
    }
    open_jobs = [(part, out, work.fit) for pairs in jobs.values() for part, out in pairs if not out.is_file()]
    settling = work.engine.map(_settle, open_jobs)

    def end() -> dict[str, list[Path]]:
        for _ in settling:
            pass
        return {name: [out for _, out in pairs] for name, pairs in jobs.items()}

    return end


def _settle(job: tuple[Path, Path, Fit | None]) -> None:
    settle(*job)


def _reject_files(work: _Build, train: Sequence[Path], held: Sequence[Path]) -> Iterator[Path]:
    for rendered in (*work.train.values(), *work.held.values()):
        yield from filter(Path.is_file, map(rejects_of, rendered.parts))
    yield from sorted((work.scratch / "pieces").glob("*.rejects.parquet"))
    yield from filter(Path.is_file, (beside(part, "rejects") for part in (*train, *held)))


def _merge(job: tuple[Sequence[Path], Path, pa.Schema]) -> None:
    """Put part files one after the other into one Parquet file, a part in memory at a time."""
    parts, path, schema = job
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            table = pq.read_table(part).replace_schema_metadata(None)
            if len(table):
                writer.write_table(table.select(schema.names))


def _manifest(work: _Build, rows: list[TaskRows], train: list[Path], held: dict[str, list[Path]]) -> Manifest:
    recipe = work.recipe
    sources = [task.rows_from for task in work.tasks.values()]
    resplit = sorted({one.name for one in sources if recipe.data.resplit and redivided(one)})
    final, selected = counted(train), {item.name: item for item in rows}
    counts = {}
    for name, task in work.tasks.items():
        rendered, scored = work.train.get(name), work.held.get(name)
        selection = selected[name].counts() if name in selected else {}
        counts[name] = task_counts(task, rendered, selection, final.get(name, {}))
        if scored:
            counts[name].evaluation = evaluation_counts(scored, counted(held[name]).get(name, {}))
    for item in counts.values():
        splits = {"train": item.examples, **({e.split: e.examples} if (e := item.evaluation) else {})}
        item.splits = {split: n for split, n in sorted(splits.items()) if n}
    return Manifest(
        examples=sum(item.examples for item in counts.values()),
        tasks=counts,
        seed=recipe.seed,
        resplit=resplit,
        comparable=not resplit,
        note=_NOT_COMPARABLE if resplit else "",
        licences=sorted({source.licence for source in sources}),
        terms={source.name: source.terms for source in sources if source.terms},
        held_out=work.chosen.held_out,
        absent=work.chosen.absent,
        inputs=input_hashes(sources),
        version=VERSION,
    )


def read_examples(path: Path) -> list[Example]:
    """The examples of a Parquet file of example.SCHEMA.

    Raises:
        DataError: no such file.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}", cure="build the data first: komt build RECIPE --out DIR")
    return [Example.from_record(record) for record in pq.read_table(path).to_pylist()]
