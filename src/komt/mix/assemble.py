"""The last stage: the chosen examples of all parts in one seeded order, some with solved examples before."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from komt.example import SCHEMA, Evidence, Example, Message, examples_table
from komt.files import hash_of
from komt.mix.mixture import mixed_hash
from komt.mix.parts import write_part
from komt.mix.reasons import REASONS
from komt.mix.rendering import REJECTS
from komt.recipe import FewShotPart
from komt.sources import share_of

# What keeps examples within the model's length: for each the example that fits or None, and "", "shortened"
# or "over_long".
Fit = Callable[[Sequence[Example]], list[tuple[Example | None, str]]]
BUCKET_ROWS = 16384
COUNTED = ("rejected", "shortened", "templates", "kinds")
FINGERPRINTS = pa.schema([(name, pa.string()) for name in ("fingerprint", "task", "id")])
_SHOTS_KEPT = 256
_SHOT_CHARACTERS = 600

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
    """Write the chosen rows of a part sorted by bucket, and its other rows as rejects.

    Returns:
        Where each bucket starts in the file, and the end; [] where no row was chosen.
    """
    piece.out.parent.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(piece.part, columns=[*SCHEMA.names, "order"])
    _write_left(piece, table)
    places = np.flatnonzero(piece.code == 0)
    if not len(places):
        return []
    table = table.take(pa.array(places))
    last = mixed_hash(table["order"].to_numpy())
    buckets = buckets_of(last, piece.buckets)
    by_bucket = np.argsort(buckets, kind="stable")
    table = table.set_column(table.schema.get_field_index("order"), "order", pa.array(last))
    with pa.OSFile(str(piece.out), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.take(pa.array(by_bucket)).combine_chunks())
    return [int(at) for at in np.searchsorted(buckets[by_bucket], np.arange(piece.buckets + 1))]


def _write_left(piece: Piece, table: pa.Table) -> None:
    """The rows that were not chosen; with text where a filter took them out."""
    rejects = []
    left = np.flatnonzero(piece.code)
    columns = table.select(["id", "task", "split", "messages"]).take(pa.array(left)).to_pylist()
    for code, row in zip(piece.code[left], columns, strict=True):
        stage, reason = REASONS[int(code)]
        text = ""
        if stage == "filter":
            prompt = "\n".join(message["content"] for message in row["messages"][:-1])
            text = _json({"prompt": prompt, "answer": row["messages"][-1]["content"]})
        values = (row["task"], row["split"], stage, reason, row["id"], text)
        rejects.append(dict(zip(REJECTS.names, values, strict=True)))
    write_part(piece.out.with_suffix(".rejects.parquet"), pa.Table.from_pylist(rejects, schema=REJECTS), {})


def assemble(bucket: Bucket) -> None:
    """Write a bucket's part: its examples in final order, after few-shot and fit."""
    examples = [Example.from_record(record) for record in _gathered(bucket).to_pylist()]
    if bucket.few_shot.rate:
        pools = _pools(bucket.shots)
        examples = [with_shots(example, pools, bucket.few_shot, bucket.seed) for example in examples]
    _write_fitting(examples, bucket.fit, bucket.out)


def settle(part: Path, out: Path, fit: Fit | None) -> None:
    """Write a part of evaluation examples that fit, in their order."""
    records = pq.read_table(part, columns=SCHEMA.names).to_pylist()
    _write_fitting([Example.from_record(record) for record in records], fit, out)


def beside(part: Path, what: str) -> Path:
    """The file beside a part: its rejects or its prints."""
    return part.with_name(part.name.replace("part-", f"{what}-"))


def _write_fitting(examples: Sequence[Example], fit: Fit | None, out: Path) -> None:
    """The examples that fit, their fingerprints, and what is too long; counts by task in the metadata."""
    kept: list[Example] = []
    rejects: list[dict[str, str]] = []
    counts: dict[str, dict[str, Counter[str]]] = {}
    fitted = fit(examples) if fit else [(example, "") for example in examples]
    for example, (fitting, reason) in zip(examples, fitted, strict=True):
        count = counts.setdefault(example.task, {key: Counter() for key in COUNTED})
        if fitting is None:
            rejects.append(_over_long(example, reason))
            count["rejected"][reason] += 1
            continue
        kept.append(fitting)
        count["shortened"][""] += bool(reason)
        count["templates"][fitting.template] += 1
        count["kinds"][fitting.kind] += 1
    prints = [{"fingerprint": fingerprint(item), "task": item.task, "id": item.id} for item in kept]
    write_part(beside(out, "rejects"), pa.Table.from_pylist(rejects, schema=REJECTS), {})
    write_part(beside(out, "prints"), pa.Table.from_pylist(prints, schema=FINGERPRINTS), {})
    write_part(out, examples_table(kept), {"kept": len(kept), "tasks": counts})


def _gathered(bucket: Bucket) -> pa.Table:
    """The rows of a bucket, by their order hash, then their id: the same whatever the parts were."""
    pieces = []
    for path, start, stop in bucket.slices:
        with pa.memory_map(str(path)) as file:
            pieces.append(pa.ipc.open_file(file).read_all().slice(start, stop - start))
    table = pa.concat_tables(pieces).sort_by([("order", "ascending"), ("id", "ascending")])
    return table.select(SCHEMA.names)


def _json(value: dict[str, str]) -> str:
    return json.dumps(value, ensure_ascii=False)


def prompt_text(example: Example) -> str:
    """The messages before the answer, as one text."""
    return "\n".join(message.content for message in example.prompt)


def fingerprint(example: Example) -> str:
    """Hash of an example's prompt and answer, white space collapsed: the same words, the same hash."""
    words = " ".join(f"{prompt_text(example)}\n{example.messages[-1].content}".split())
    return hashlib.sha256(words.encode()).hexdigest()


def _over_long(example: Example, reason: str) -> dict[str, str]:
    text = {"prompt": prompt_text(example), "answer": example.messages[-1].content}
    values = (example.task, example.split, "length", reason, example.id, _json(text))
    return dict(zip(REJECTS.names, values, strict=True))


@lru_cache(maxsize=2)
def _pools(path: Path) -> dict[str, tuple[Example, ...]]:
    pools: dict[str, list[Example]] = {}
    for record in pq.read_table(path).to_pylist():
        example = Example.from_record(record)
        pools.setdefault(example.task, []).append(example)
    return {name: tuple(pool) for name, pool in pools.items()}


def shot_pool(examples: Sequence[Example]) -> list[Example]:
    """The training examples of a task that may be shown as solved ones: short, of one turn, one a group."""
    pool: dict[str, Example] = {}
    for example in examples:
        characters = sum(len(message.content) for message in example.messages)
        if len(example.messages) == 2 and characters <= _SHOT_CHARACTERS and len(pool) < _SHOTS_KEPT:
            pool.setdefault(example.group or example.id, example)
    return list(pool.values())


def with_shots(
    example: Example, pools: Mapping[str, Sequence[Example]], part: FewShotPart, seed: int
) -> Example:
    """The example, or, for the share `rate` of examples, the example after solved ones of its task.

    They come from the task's training examples, other passages and other questions, as many of 1 to `shots`
    as fit in `tokens` with the example itself, a token taken for a character.
    """
    pool = pools.get(example.task, ())
    if not pool or share_of(["few-shot", seed, example.id]) >= part.rate:
        return example
    chance = random.Random(hash_of(["shots", seed, example.id]))
    wanted = 1 + int(chance.random() * part.shots)
    room = part.tokens - sum(len(message.content) for message in example.messages)
    shots: list[Example] = []
    for _ in range(4 * wanted):
        shot = pool[int(chance.random() * len(pool))]
        characters = sum(len(message.content) for message in shot.messages)
        shown = [*shots, example]
        if characters <= room and len(shots) < wanted and not any(_alike(shot, other) for other in shown):
            shots.append(shot)
            room -= characters
    return _after(shots, example) if shots else example


def _alike(one: Example, other: Example) -> bool:
    return (one.group or one.id) == (other.group or other.id) or one.messages[0] == other.messages[0]


def _after(shots: Sequence[Example], example: Example) -> Example:
    before = tuple(Message(m.role, m.content) for shot in shots for m in shot.messages)
    metadata, evidence = dict(example.metadata), example.evidence
    metadata["shots"] = len(shots)
    if "passage" in metadata:
        message, start, end = metadata["passage"]
        metadata["passage"] = [message + len(before), start, end]
    if evidence:
        evidence = Evidence(evidence.message + len(before), evidence.start, evidence.end)
    messages = (*before, *example.messages)
    return replace(example, kind="few_shot", messages=messages, evidence=evidence, metadata=metadata)
