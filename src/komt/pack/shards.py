"""Shards: the training examples of a data folder as packed steps in Parquet files, to be streamed later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from komt.errors import DataError
from komt.example import Message
from komt.files import sha256, stage_folder
from komt.mix.engine import Engine, InProcess
from komt.mix.parts import about_part, about_stage, finish, is_done, unfinished, write_part
from komt.models.resolve import resolve
from komt.pack.batch import Batch, batch_of, packed_arrays
from komt.pack.encode import Conversation, TokenSequence, encode
from komt.pack.fit import tokenizer_named
from komt.pack.fullness import Fullness, fullness
from komt.pack.plan import Step, plan_steps
from komt.process import collecting_seldom
from komt.recipe import Recipe

VERSION = 2
# Encoded at a time: a tokenizer's answer is a list of Python numbers, which take much memory.
_ENCODED_ROWS = 2048
_ARRAYS = ("ids", "positions", "ends", "rows", "target_rows", "targets", "weights", "sequence")
# A row is a bin: its step, counted in the shard, and the weight of that step's targets; the parts of a
# `Batch`; and what each of its sequences is of.
SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("step_weight", pa.float64()),
        *[(name, pa.list_(pa.float32() if name == "weights" else pa.int32())) for name in _ARRAYS],
        ("examples", pa.list_(pa.string())),
        ("tasks", pa.list_(pa.string())),
        ("flat_tokens", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Shards:
    """What is in a folder of shards.

    Attributes:
        paths: the files, in the order of the examples.
        sequences: how many there are (one is a supervised turn with all before it); so bins and steps.
        tokens: of the bins as packed; flat_tokens: of the sequences one by one.
        last_tokens, last_bins, level_places: see `fullness.Fullness`.
    """

    paths: tuple[Path, ...]
    sequences: int
    bins: int
    steps: int
    tokens: int
    flat_tokens: int
    last_tokens: int
    last_bins: int
    level_places: int

    def fullness(self, size: int) -> Fullness:
        """How full bins of so many tokens (`pack.tokens`) are."""
        return Fullness(size, self.tokens, self.bins, self.last_tokens, self.last_bins, self.level_places)


@dataclass(frozen=True, slots=True)
class PackedStep:
    """One optimiser step, as `plan.Step`: its bins, and the weight that the loss is divided by.

    `examples` and `tasks` say what each sequence of each bin is of.
    """

    bins: tuple[Batch, ...]
    weight: float
    examples: tuple[tuple[str, ...], ...]
    tasks: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class _Row:
    """What `encode` wants to know of an example."""

    id: str
    task: str
    group: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """A row group of train.parquet, and the shard to write."""

    data: Path
    group: int
    out: Path
    recipe: Recipe


@collecting_seldom()
def write_shards(
    recipe: Recipe, data: Path, engine: Engine | None = None, note: Callable[[str], None] = lambda _: None
) -> Shards:
    """Plan and pack one epoch over a data folder: a stage under KOMT_HOME, used again where nothing changed.

    Each row group of `train.parquet` becomes a shard, planned by itself as `plan_steps` does: it holds some
    16,000 examples in the seeded order. A shard appears whole or not at all; what a killed run had finished
    is kept. The same inputs give the same bytes, whatever the engine.

    Args:
        recipe: its model's tokenizer and template, `pack`, `train.step_tokens` or `step_examples`, the seed.
        data: a folder that `komt.mix.build` wrote.
        engine: where the work is done; default: in this process.
        note: told what is being done.

    Raises:
        DataError: no train.parquet there.
    """
    train = data / "train.parquet"
    if not train.is_file():
        raise DataError(f"no such file: {train}", cure="build the data first: komt build RECIPE --out DIR")
    stage = stage_folder("shards", _key(recipe, train))
    if not is_done(stage):
        note("packing")
        with unfinished(stage) as folder:
            paths = [_shard(folder, group) for group in range(pq.read_metadata(train).num_row_groups)]
            jobs = [
                _Job(train, group, path, recipe) for group, path in enumerate(paths) if not path.is_file()
            ]
            for _ in (engine or InProcess()).map(write_shard, jobs):
                pass
            counts = [about_part(path) for path in paths]
            totals = {name: sum(count[name] for count in counts) for name in counts[0]} if counts else {}
            finish(folder, {"shards": len(paths), **totals})
    about = about_stage(stage)
    return Shards(tuple(_shard(stage, group) for group in range(about.pop("shards"))), **about)


def _key(recipe: Recipe, train: Path) -> dict[str, Any]:
    model, part = recipe.model, recipe.train
    return {
        "train": sha256(train),
        "model": resolve(model.name, remote_code=model.remote_code).revision,
        "pack": recipe.pack.model_dump(mode="json"),
        "step": [part.step_tokens, part.step_examples],
        "supervise": part.supervise,
        "seed": recipe.seed,
        "version": VERSION,
    }


def _shard(folder: Path, group: int) -> Path:
    return folder / f"shard-{group:05d}.parquet"


def write_shard(job: _Job) -> None:
    """Encode, plan and pack a row group, and write its shard."""
    recipe = job.recipe
    columns = ["id", "task", "group", "messages"]
    table = pq.ParquetFile(job.data).read_row_group(job.group, columns=columns)
    tokenizer = tokenizer_named(recipe.model.name, recipe.model.remote_code)
    sequences: list[TokenSequence] = []
    for start in range(0, len(table), _ENCODED_ROWS):
        sequences += encode(
            tokenizer, conversations(table.slice(start, _ENCODED_ROWS)), recipe.train.supervise
        )
    epoch = recipe.train.model_copy(update={"epochs": 1.0})
    steps = plan_steps(sequences, recipe.pack, epoch, recipe.seed + (job.group << 32)) if sequences else []
    packed = _packed(sequences, steps, share=recipe.pack.share)
    counts = asdict(fullness(steps, recipe.pack.tokens))
    del counts["size"]
    about = {
        "sequences": len(sequences),
        "steps": len(steps),
        **counts,
        "flat_tokens": sum(step.flat_tokens for step in steps),
    }
    write_part(job.out, packed, about)


def conversations(table: pa.Table) -> Sequence[Conversation]:
    """The rows of a table of example.SCHEMA as `encode` takes them.

    Building whole Examples would take longer than encoding them.
    """
    ids, tasks, groups = (_listed(table[name]) for name in ("id", "task", "group"))
    column = table["messages"].combine_chunks()
    parts = [_listed(column.flatten().field(name)) for name in ("role", "content", "supervised")]
    messages = [Message(*values) for values in zip(*parts, strict=True)]
    ends = np.cumsum(column.value_lengths().to_numpy()).tolist()
    return [
        _Row(ids[row], tasks[row], groups[row], tuple(messages[start:end]))
        for row, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
    ]


def _listed(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values as Python's, several times faster than `to_pylist`; without nulls."""
    values: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return values


def _packed(sequences: Sequence[TokenSequence], steps: Sequence[Step], *, share: bool) -> pa.Table:
    """The bins of some steps as a table of SCHEMA."""
    bins = [(number, step, members) for number, step in enumerate(steps) for members in step.bins]
    held = [[sequences[index] for index in members] for _, _, members in bins]
    arrays = [packed_arrays(one, share=share) for one in held]
    columns: dict[str, pa.Array] = {
        name: _lists([one[name] for one in arrays], SCHEMA.field(name).type) for name in _ARRAYS
    }
    columns |= {
        "step": pa.array([number for number, _, _ in bins], pa.int32()),
        "step_weight": pa.array([step.weight for _, step, _ in bins], pa.float64()),
        "examples": pa.array([[one.example for one in some] for some in held], pa.list_(pa.string())),
        "tasks": pa.array([[one.task for one in some] for some in held], pa.list_(pa.string())),
        "flat_tokens": pa.array([sum(map(len, some)) for some in held], pa.int32()),
    }
    return pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _lists(arrays: Sequence[npt.NDArray[Any]], kind: pa.ListType) -> pa.ListArray:
    offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
    values = np.concatenate([np.empty(0, np.int64), *arrays]).astype(kind.value_type.to_pandas_dtype())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=kind)


def read_steps(shard: Path) -> Iterator[PackedStep]:
    """The steps of a shard, a row group in memory at a time."""
    for _, rows in groupby(_bins(shard), key=lambda row: row[0]):
        some = list(rows)
        bins, examples, tasks = zip(*(row[2:] for row in some), strict=True)
        yield PackedStep(bins, some[0][1], examples, tasks)


def _bins(shard: Path) -> Iterator[tuple[int, float, Batch, tuple[str, ...], tuple[str, ...]]]:
    file = pq.ParquetFile(shard)
    for batch in file.iter_batches(batch_size=256):
        for row in range(len(batch)):
            arrays = {name: batch[name][row].values.to_numpy() for name in _ARRAYS}
            names = (tuple(batch[name][row].as_py()) for name in ("examples", "tasks"))
            packed = batch_of(arrays, int(batch["flat_tokens"][row].as_py()))
            yield (batch["step"][row].as_py(), batch["step_weight"][row].as_py(), packed, *names)
