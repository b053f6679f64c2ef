"""The last stage: the chosen examples of all parts in one seeded order, some with solved examples before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from komt.example import SCHEMA, Example
from komt.mix.fitting import Fit, examples_at, write_fitting
from komt.mix.mixture import mixed_hash
from komt.mix.parts import about_part, write_part
from komt.mix.reasons import REASONS
from komt.mix.rendering import REJECTS
from komt.mix.shots import wants_shots, with_shots
from komt.recipe import FewShotPart

BUCKET_ROWS = 16384

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Piece:
    """What becomes of one part: `code` is each row's place in select.REASONS, chosen rows go to `out`."""

    part: Path
    code: npt.NDArray[np.uint8]
    buckets: int
    out: Path


@dataclass(frozen=True, slots=True)
class Bucket:
    """One piece of the final order: slices of the pieces' files, what is done to them, the file to write."""

    slices: tuple[tuple[Path, int, int], ...]
    out: Path
    seed: int
    few_shot: FewShotPart
    shots: Path
    fit: Fit | None


def buckets_of(order: Hashes, buckets: int) -> npt.NDArray[np.int64]:
    """The bucket of each final order hash: equal ranges of hashes."""
    return np.asarray((order >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32), np.int64)


def partition(piece: Piece) -> list[int]:
    """Write the chosen rows of a part sorted by bucket, and its other rows as rejects, unless it was done.

    Returns:
        Where each bucket starts in the file, and the end; [] where no row was chosen.
    """
    rejects = piece.out.with_suffix(".rejects.parquet")
    if rejects.is_file():
        return list(about_part(rejects)["starts"])
    piece.out.parent.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(piece.part, columns=[*SCHEMA.names, "order"])
    left = _left(table, piece.code)
    places = np.flatnonzero(piece.code == 0)
    starts: list[int] = []
    if len(places):
        table = table.take(pa.array(places))
        last = mixed_hash(table["order"].to_numpy())
        buckets = buckets_of(last, piece.buckets)
        by_bucket = np.argsort(buckets, kind="stable")
        table = table.set_column(table.schema.get_field_index("order"), "order", pa.array(last))
        with pa.OSFile(str(piece.out), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table.take(pa.array(by_bucket)).combine_chunks())
        starts = [int(at) for at in np.searchsorted(buckets[by_bucket], np.arange(piece.buckets + 1))]
    write_part(rejects, left, {"starts": starts})
    return starts


def _left(table: pa.Table, code: npt.NDArray[np.uint8]) -> pa.Table:
    """The rows that were not chosen, as rejects; with text where a filter took them out."""
    left = np.flatnonzero(code)
    why = [REASONS[number] for number in code[left].tolist()]
    texts = [""] * len(left)
    filtered = [place for place, (stage, _) in enumerate(why) if stage == "filter"]
    rows = table.select(["messages"]).take(pa.array(left[filtered], pa.int64())).to_pylist()
    for place, row in zip(filtered, rows, strict=True):
        prompt = "\n".join(message["content"] for message in row["messages"][:-1])
        text = {"prompt": prompt, "answer": row["messages"][-1]["content"]}
        texts[place] = json.dumps(text, ensure_ascii=False)
    named = table.select(["task", "split", "id"]).take(pa.array(left, pa.int64()))
    columns = [
        named["task"],
        named["split"],
        pa.array([stage for stage, _ in why], pa.string()),
        pa.array([reason for _, reason in why], pa.string()),
        named["id"],
        pa.array(texts, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=REJECTS)


def assemble(bucket: Bucket) -> None:
    """Write a bucket's part: its examples in final order, after few-shot and fit."""
    table = _gathered(bucket)
    changed: dict[int, Example] = {}
    if bucket.few_shot.rate:
        ids = table["id"].to_pylist()
        places = [place for place, name in enumerate(ids) if wants_shots(name, bucket.few_shot, bucket.seed)]
        pools = _pools(bucket.shots)
        for place, example in zip(places, examples_at(table, places), strict=True):
            shown = with_shots(example, pools, bucket.few_shot, bucket.seed)
            if shown is not example:
                changed[place] = shown
    write_fitting(table, changed, bucket.fit, bucket.out)


def settle(part: Path, out: Path, fit: Fit | None) -> None:
    """Write a part of evaluation examples that fit, in their order."""
    write_fitting(pq.read_table(part, columns=SCHEMA.names), {}, fit, out)


def _gathered(bucket: Bucket) -> pa.Table:
    """The rows of a bucket, by their order hash, then their id: the same whatever the parts were."""
    pieces = []
    for path, start, stop in bucket.slices:
        with pa.memory_map(str(path)) as file:
            pieces.append(pa.ipc.open_file(file).read_all().slice(start, stop - start))
    table = pa.concat_tables(pieces).sort_by([("order", "ascending"), ("id", "ascending")])
    return table.select(SCHEMA.names)


@lru_cache(maxsize=2)
def _pools(path: Path) -> dict[str, tuple[Example, ...]]:
    pools: dict[str, list[Example]] = {}
    for record in pq.read_table(path).to_pylist():
        example = Example.from_record(record)
        pools.setdefault(example.task, []).append(example)
    return {name: tuple(pool) for name, pool in pools.items()}
