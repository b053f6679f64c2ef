"""Which examples become training data: no duplicates, nothing of the evaluation, the wished sizes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from komt.mix.contamination import EvaluationIndex
from komt.mix.duplicates import find_conflicts
from komt.mix.engine import Engine
from komt.mix.minhash import BANDS, near_duplicates
from komt.mix.mixture import choose, mixed_hash, task_sizes
from komt.mix.named import Chosen
from komt.mix.reasons import CODES, REASONS
from komt.mix.stages import Rendered
from komt.recipe import DataPart, Kind, QualityPart

Hashes = npt.NDArray[np.uint64]


@dataclass
class TaskRows:
    """The rendered training rows of a task: by what they are compared, and what becomes of them.

    Attributes:
        sizes: rows of each part.
        asked, told, order: hashes, see `rendering`; kinds: each row's kind.
        code: place in REASONS of what becomes of each row; 0 while it is kept.
    """

    rendered: Rendered
    sizes: list[int]
    asked: Hashes
    told: Hashes
    order: Hashes
    kinds: npt.NDArray[np.object_]
    code: npt.NDArray[np.uint8]

    @property
    def name(self) -> str:
        """The task's name."""
        return self.rendered.work.task.name

    def drop(self, places: npt.NDArray[np.int64], reason: str) -> None:
        """Take rows out, unless they are out already."""
        kept = places[self.code[places] == 0]
        self.code[kept] = CODES[reason]

    def counts(self) -> dict[str, dict[str, int]]:
        """Stage -> reason -> number of the rows that were taken out."""
        counts: dict[str, dict[str, int]] = {}
        for code, n in zip(*np.unique(self.code[self.code > 0], return_counts=True), strict=True):
            stage, reason = REASONS[int(code)]
            counts.setdefault(stage, {})[reason] = int(n)
        return counts


def load_rows(rendered: Rendered) -> TaskRows:
    """The columns of a rendered split that selection compares."""
    columns = ["asked", "told", "order", "kind"]
    tables = [pq.read_table(part, columns=columns) for part in rendered.parts]
    arrays = {
        name: np.concatenate([np.empty(0, np.uint64), *(table[name].to_numpy() for table in tables)])
        for name in columns[:3]
    }
    kinds = np.concatenate(
        [np.empty(0, object), *(table["kind"].to_numpy(zero_copy_only=False) for table in tables)]
    )
    code = np.zeros(len(kinds), np.uint8)
    return TaskRows(rendered, [len(table) for table in tables], **arrays, kinds=kinds, code=code)


def select(
    tasks: Sequence[TaskRows],
    held: Sequence[Rendered],
    chosen: Chosen,
    data: DataPart,
    engine: Engine,
    scratch: Path,
) -> dict[str, int]:
    """Set what becomes of every row: nothing of the evaluation, no duplicates, then the wished sizes.

    Args:
        tasks: training rows, in the order of the recipe: of equal rows the first is kept.
        held: the evaluation splits of all tasks.
        chosen: each task's settings and mixture.
        data: the recipe's.
        engine: where texts are compared.
        scratch: folder for what is too large for memory.

    Returns:
        How many inputs of each task are given several labels.
    """
    if data.quality.contamination == "drop":
        drop_evaluation(tasks, _asked(held))
        drop_holding(tasks, held, data.quality.ngram, engine, scratch)
    conflicts = drop_conflicts(tasks, data.quality.conflicts)
    if data.quality.duplicates != "keep":
        drop_duplicates(tasks)
    if data.quality.duplicates == "near":
        drop_near(tasks, data.quality, scratch)
    thin_kinds(tasks, data.kinds)
    mix(tasks, chosen, data)
    return conflicts


def _asked(held: Sequence[Rendered]) -> Hashes:
    tables = [pq.read_table(part, columns=["asked"]) for rendered in held for part in rendered.parts]
    return np.unique(
        np.concatenate([np.empty(0, np.uint64), *(table["asked"].to_numpy() for table in tables)])
    )


def drop_evaluation(tasks: Sequence[TaskRows], evaluation: Hashes) -> None:
    """Take out what asks exactly what an evaluation row of any task asks."""
    asked = np.concatenate([np.empty(0, np.uint64), *(rows.asked for rows in tasks)])
    drop_places(tasks, np.flatnonzero(np.isin(asked, evaluation)), "in_evaluation")


@dataclass(frozen=True, slots=True)
class _Searched:
    """A part whose rows are searched for evaluation rows, and the file of their index."""

    part: Path
    index: Path


def drop_holding(
    tasks: Sequence[TaskRows], held: Sequence[Rendered], ngram: int, engine: Engine, scratch: Path
) -> None:
    """Take out what holds an evaluation row of any task: a run of its words, or all of a short one."""
    index = scratch / "evaluation.pickle"
    index.write_bytes(pickle.dumps(EvaluationIndex.build(_evaluation_rows(held), ngram)))
    jobs = [_Searched(part, index) for rows in tasks for part in rows.rendered.parts]
    found = engine.map(_holding, jobs)
    for rows in tasks:
        start = 0
        for size in rows.sizes:
            rows.drop(next(found) + start, "in_evaluation")
            start += size


def _evaluation_rows(held: Sequence[Rendered]) -> Iterator[tuple[str, str, str]]:
    for rendered in held:
        for part in rendered.parts:
            table = pq.read_table(part, columns=["id", "group", "input"])
            texts = _with_group(table)
            for name, text in zip(table["id"].to_pylist(), texts, strict=True):
                yield rendered.work.task.name, name, text


def _with_group(table: pa.Table) -> list[str]:
    """What is asked, after the id of its passage: the same words about another passage ask something else."""
    pairs = zip(table["group"].to_pylist(), table["input"].to_pylist(), strict=True)
    return [f"{group} {text}" if group else text for group, text in pairs]


def _holding(job: _Searched) -> npt.NDArray[np.int64]:
    """Places of the rows of a part that hold an evaluation row."""
    table = pq.read_table(job.part, columns=["group", "input"])
    found = _index(job.index).find_all(_with_group(table))
    return np.fromiter(found, np.int64, len(found))


@lru_cache(maxsize=1)
def _index(path: Path) -> EvaluationIndex:
    # Written by this build in its own folder a moment ago.
    index: EvaluationIndex = pickle.loads(path.read_bytes())
    return index


def drop_conflicts(
    tasks: Sequence[TaskRows], policy: Literal["report", "drop", "majority"]
) -> dict[str, int]:
    """Inputs of each task that are given several labels; what the policy leaves out is taken out."""
    counts = {}
    for rows in tasks:
        if rows.rendered.work.task.has_choices:
            alive = np.flatnonzero(rows.code == 0)
            # Rows that ask the same and are told the same share `told`, so it stands for the label.
            found = find_conflicts(rows.asked[alive], rows.told[alive])
            rows.drop(alive[found.dropped(policy)], "conflict")
            if found.inputs:
                counts[rows.name] = found.inputs
    return counts


def drop_duplicates(tasks: Sequence[TaskRows]) -> None:
    """Take out what asks and answers the same as an earlier row of its kind; the first is kept."""
    told = np.concatenate([np.empty(0, np.uint64), *(rows.told for rows in tasks)])
    out = np.concatenate([np.empty(0, bool), *(rows.code > 0 for rows in tasks)])
    alive = np.flatnonzero(~out)
    _, first = np.unique(told[alive], return_index=True)
    repeated = np.ones(len(alive), bool)
    repeated[first] = False
    drop_places(tasks, alive[repeated], "duplicate")


def drop_near(tasks: Sequence[TaskRows], quality: QualityPart, scratch: Path) -> None:
    """Take out what is asked and answered almost as an earlier row of its kind; the first is kept."""
    parts = [part for rows in tasks for part in rows.rendered.parts]
    code = np.concatenate([np.empty(0, np.uint8), *(rows.code for rows in tasks)])
    bands = np.zeros((len(code), BANDS), np.uint64)
    texts = scratch / "forms.arrow"
    schema = pa.schema([("form", pa.string())])
    start = 0
    with pa.OSFile(str(texts), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for part in parts:
            table = pq.read_table(part, columns=["form", "bands"])
            flat = table["bands"].combine_chunks().flatten().to_numpy()
            bands[start : start + len(table)] = flat.reshape(-1, BANDS)
            start += len(table)
            writer.write_table(table.select(["form"]).combine_chunks().replace_schema_metadata(None))
    bands[code > 0] = 0
    with pa.memory_map(str(texts)) as file:
        forms = pa.ipc.open_file(file).read_all()["form"]
        found = near_duplicates(
            bands,
            lambda rows: forms.take(pa.array(rows)).to_pylist(),
            similarity=quality.similarity,
            shingle=quality.shingle,
        )
    drop_places(tasks, np.array(sorted(found), np.int64), "near_duplicate")


def drop_places(tasks: Sequence[TaskRows], places: npt.NDArray[np.int64], reason: str) -> None:
    """Take out rows by their place in the rows of all tasks together."""
    start = 0
    for rows in tasks:
        inside = places[(places >= start) & (places < start + len(rows.code))] - start
        rows.drop(inside, reason)
        start += len(rows.code)


def thin_kinds(tasks: Sequence[TaskRows], kinds: Mapping[Kind, float]) -> None:
    """Keep the wished share of each kind of template: whole groups, by their hash."""
    for rows in tasks:
        for kind, rate in kinds.items():
            point = mixed_hash(rows.order ^ np.uint64(0x6B696E64)) / 2.0**64
            rows.drop(np.flatnonzero((rows.kinds == kind) & (point >= rate)), "kind")


def mix(tasks: Sequence[TaskRows], chosen: Chosen, data: DataPart) -> None:
    """Take out what the sizes of the mixture leave no room for."""
    available = {rows.name: int((rows.code == 0).sum()) for rows in tasks}
    sources = {rows.name: rows.rendered.work.source.name for rows in tasks}
    sizes = task_sizes(available, sources, chosen.parts, data, chosen.mixtures)
    for rows in tasks:
        alive = np.flatnonzero(rows.code == 0)
        size = sizes[rows.name]
        left = np.ones(len(alive), bool)
        left[choose(rows.order[alive], size.examples)] = False
        rows.drop(alive[left], size.reason)
