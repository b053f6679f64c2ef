"""Rows of a source: read, identified, and divided into splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from komt.errors import DataError, did_you_mean
from komt.files import digest_of
from komt.sources.readers import Rejected, Row, archive
from komt.sources.readers.content import Content
from komt.sources.source import Source, SourceFile, checked_place, place, present, shown_paths

RESPLIT = "resplit-test"
_RESPLIT_SHARE = 0.25
_PARTS = float(1 << 52)
_SIDES = {"train", RESPLIT}
# Fixed, and independent of any recipe's seed: the redivided evaluation set is the same for everyone.
_RESPLIT_SALT = "komt resplit 1"
_HOLD_OUT_SALT = "komt hold out 1"


def read_rows(source: Source, split: str, *, resplit: bool = False) -> Iterator[dict[str, Any] | Rejected]:
    """Rows of a split, each with a unique stable `id`, and the items that cannot be used.

    With `resplit`, and only where the train file is absent, `train` and `resplit-test` are parts of the
    source's evaluation split, divided by `resplit_by`.

    Raises:
        DataError: no such split, a missing file, a wrong checksum, a broken file.
    """
    divided = resplit and redivided(source) and split in _SIDES
    if divided or (source.hold_out and split in source.splits):
        yield from (row for side, row in _sided(source, divided) if side == split)
        return
    seen: dict[str, int] = {}
    for file in _files(source, split):
        for item in _read_file(source, file):
            yield _identified(item, seen) if isinstance(item, Row) else item


def read_splits(
    source: Source, splits: Collection[str], *, resplit: bool = False
) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """Rows of several splits, each with its split: as `read_rows`, but what is divided is read once."""
    divided = resplit and redivided(source)
    once = set(splits) & (_SIDES if divided else set(source.splits) if source.hold_out else set())
    if once:
        yield from ((side, row) for side, row in _sided(source, divided) if side in once)
    for split in splits:
        if split not in once:
            yield from ((split, row) for row in read_rows(source, split, resplit=resplit))


def _sided(source: Source, divided: bool) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """All rows of what is divided, the evaluation split or the own file, with the side that they fall on."""
    held = _held(source) if not divided and not source.hold_out_by else iter(())
    seen: dict[str, dict[str, int]] = {}
    for file in _files(source, divided_split(source) if divided else "train"):
        for item in _read_file(source, file):
            values = item.values if isinstance(item, Row) else item.row
            if isinstance(item, Row):
                _refuse_unknown(source, source.resplit_by if divided else source.hold_out_by, values)
            side = _side(source, values) if divided else _own_side(source, values, held)
            yield side, _identified(item, seen.setdefault(side, {})) if isinstance(item, Row) else item


def _refuse_unknown(source: Source, field: str, values: dict[str, Any]) -> None:
    if field and field not in values:
        raise DataError(
            f"'{source.name}' is divided by a field '{field}' that a row does not have"
            f"{did_you_mean(field, values)}",
            cure=f"the fields are: {', '.join(values)}",
        )


def _files(source: Source, split: str) -> list[SourceFile]:
    files = [file for file in source.files if file.split == split]
    if not files:
        raise DataError(
            f"the source '{source.name}' has no split '{split}'", cure=f"it has: {', '.join(source.splits)}"
        )
    return files


def redivided(source: Source) -> bool:
    """Whether `resplit` would redivide this source: it names a field for it, and its train file is absent."""
    return bool(source.resplit_by) and not present(source, "train")


def train_missing(source: Source) -> DataError:
    """The error for a source without training rows here, with the cures."""
    trains = [file for file in source.files if file.split == "train"]
    if trains:
        try:
            checked_place(source, trains[0])
        except DataError as error:
            what, where, cure = error.what, error.where, error.cure
    else:
        what, where, cure = (
            f"the source '{source.name}' is for evaluation only: it has no train split",
            "",
            "",
        )
    if source.resplit_by:
        cure += (
            f"\n    or set data.resplit: true, which redivides the {divided_split(source)} set by"
            f" {source.resplit_by} (scores are then not comparable with published results)"
        )
    return DataError(what, where=where, cure=cure.strip() or "leave its tasks out of data.tasks")


def divided_split(source: Source) -> str:
    """The official evaluation split that `resplit` redivides: dev, or test where there is no dev."""
    return "dev" if "dev" in source.splits else "test"


def _read_file(source: Source, file: SourceFile) -> Iterator[Row | Rejected]:
    try:
        yield from source.format(file).read(contents(source, file), source.options(file))
    except DataError as error:
        if error.where:
            raise
        raise DataError(error.what, where=f"source {source.name}, {file.path}", cure=error.cure) from error


def contents(source: Source, file: SourceFile) -> Iterator[Content]:
    """What a reader reads of a file: the file, or the members of an archive, with what is beside.

    Raises:
        DataError: missing, or another checksum.
    """
    path = checked_place(source, file)
    # Outputs name the file, not the machine's folders: two builds anywhere are byte-identical.
    named = Counter(Path(other.path).name for other in source.files if other.split == file.split)
    name = path.name if named[path.name] == 1 else shown_paths(source)[file.path]
    if not file.member:
        beside = [Content(place(source, item.path), name=Path(item.path).name) for item in file.beside]
        yield Content(path, name=name, beside=tuple(beside))
        return
    patterns = [file.member, *(each.path for each in file.beside)]
    if len(patterns) == 1:
        yield from archive.contents_of(path, file.member)
        return
    columns = [list(archive.contents_of(path, pattern)) for pattern in patterns]
    if len(set(map(len, columns))) > 1:
        counts = (f"{len(column)} fit '{pattern}'" for column, pattern in zip(columns, patterns, strict=True))
        raise DataError(f"members that are read beside each other: {', '.join(counts)}", where=str(path))
    for own, *others in zip(*columns, strict=True):
        yield replace(own, beside=tuple(others))


def _identified(row: Row, seen: dict[str, int]) -> dict[str, Any]:
    """The row with its id: its own one, numbered where it was used before, or the file and line."""
    values = row.values
    given = values.get("id")
    if given in (None, ""):
        head, _, spot = row.where.rpartition(", ")
        values["id"] = f"{head}:{spot.rpartition(' ')[2]}"
        return values
    name = free = str(given)
    while free in seen:  # a row's own id may look like a numbered one
        seen[name] += 1
        free = f"{name}#{seen[name]}"
    seen[free] = 1
    values["id"] = free
    return values


def _side(source: Source, values: dict[str, Any]) -> str:
    name = source.resplit_like or source.name
    held = share_of([_RESPLIT_SALT, name, values.get(source.resplit_by)]) < _RESPLIT_SHARE
    return RESPLIT if held else "train"


def _own_side(source: Source, values: dict[str, Any], held: Iterator[bool]) -> str:
    if source.hold_out_by:
        # The salt names no source: a sentence that stands in two of them falls on one side in both.
        share = share_of([_HOLD_OUT_SALT, values.get(source.hold_out_by)])
        return "test" if share < source.hold_out else "train"
    return "test" if next(held) else "train"


def _held(source: Source) -> Iterator[bool]:
    """Whether each row of an own file is held out: its share of the different rows, at least one."""
    items = (item for file in _files(source, "train") for item in _read_file(source, file))
    rows = (item.values if isinstance(item, Row) else item.row for item in items)
    hashes = np.array([share_of([_HOLD_OUT_SALT, row]) for row in rows])
    different = np.unique(hashes)
    count = max(1, round(source.hold_out * len(different))) if len(different) > 1 else 0
    return iter((hashes < different[count] if count < len(different) else hashes >= 0).tolist())


def share_of(value: Any) -> float:
    """A number from 0 up to 1 that depends on nothing but a JSON value: the one source of seeded choice."""
    return (int.from_bytes(digest_of(value)[:7], "big") >> 4) / _PARTS
