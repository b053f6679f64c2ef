"""A split of a download as one zip: the files that the source's patterns name, from any nesting.

The zip depends on the files and their names only (natural order, fixed times): the same download gives the
same checksum.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from komt.errors import DataError
from komt.sources.archives import PART, Skipped, decoded
from komt.sources.bring import Ignored, Staged, Wish, need_space
from komt.sources.download import Watch
from komt.sources.fetch import Onlooker
from komt.sources.patterns import by_name, kept_out, split_of
from komt.sources.source import Source, place
from komt.sources.unpack import Member, chunks, walk

# Text shrinks to a fourth or less; the estimate of space errs on the safe side.
_PACKED_SHARE = 0.4
_PACKED = (".gz", ".xlsx", ".parquet", ".docx", ".hwpx")
_BIG_BYTES = 1 << 31


@dataclass(frozen=True)
class Taken:
    """A file of the download that belongs to a split.

    Attributes:
        root: the path given that it was found below.
        name: its path in the zip of the split.
        doubtful: another one has its last name and size: their contents are compared.
    """

    root: Path
    split: str
    name: str
    member: Member
    doubtful: bool = False


def stage_zips(source: Source, wish: Wish, room: Path, ignored: Ignored, onlooker: Onlooker) -> list[Staged]:
    """Write the zip of every split that something was found for.

    Raises:
        DataError: no file fits any pattern; a broken archive; no space.
    """
    taken = _chosen(source, wish, room, ignored, onlooker)
    targets = {file.split: file.path for file in source.files if file.split in {item.split for item in taken}}
    here = {split: place(source, path) for split, path in targets.items() if place(source, path).is_file()}
    kept = {} if wish.force or wish.add else here
    if wish.add:
        taken = [item for split, old in here.items() for item in _held(old, split, room)] + taken
    todo = _named([item for item in taken if item.split not in kept])
    need_space(room, int(sum(_estimate(item) for item in todo)))
    counts = _write(todo, room, ignored, onlooker)
    return [
        Staged(path, None, 0)
        if split in kept
        else Staged(path, room / f"{split}.zip", counts[split], wish.add)
        for split, path in targets.items()
    ]


def _chosen(source: Source, wish: Wish, room: Path, ignored: Ignored, onlooker: Onlooker) -> list[Taken]:
    patterns: dict[str, tuple[str, ...]] = dict(source.imports.items())
    if wish.split:
        patterns = {wish.split: by_name(patterns[wish.split])}
    taken, seen = [], []
    watch = onlooker.begin("looking through")
    for root, item in _found(wish.paths, room, patterns):
        if isinstance(item, Skipped):
            ignored.add(item.reason, item.name)
            continue
        if item.archive:
            if why := kept_out(f"{_above(root)}/{item.name}", patterns):
                ignored.add(why, item.name)
            continue
        seen.append(item.name)
        watch(len(seen), 0)
        # The folders above count as well: a person may give the folder Training itself.
        split, why = split_of(f"{_above(root)}/{item.name}", patterns)
        if split:
            taken.append(Taken(root, split, item.name, item))
        else:
            ignored.add(why, item.name)
    if not taken:
        raise _nothing(source, patterns, seen, ignored)
    watch(len(seen), len(seen))
    return taken


def _found(
    roots: tuple[Path, ...], room: Path, patterns: dict[str, tuple[str, ...]]
) -> Iterator[tuple[Path, Member | Skipped]]:
    done = set()
    for root in roots:
        # Of a split archive every part may have been given: all of them are one archive.
        part = PART.fullmatch(decoded(root.name))
        key = (root.resolve().parent, part["whole"] if part else root.resolve().name)
        if key not in done:
            done.add(key)
            above = _above(root)
            # Raw data that is kept out is often huge, and often downloaded in part only.
            found = walk(root, room, lambda name, above=above: not kept_out(f"{above}/{name}", patterns))  # type: ignore[misc]
            yield from ((root, item) for item in found)


def _above(root: Path) -> str:
    path = root.resolve()
    return decoded(str(path if path.is_dir() else path.parent))


def _held(old: Path, split: str, room: Path) -> Iterator[Taken]:
    """What the zip of a former import holds."""
    for item in walk(old, room):
        if isinstance(item, Member) and not item.archive:
            yield Taken(old, split, item.name.partition("/")[2], item)


def _nothing(
    source: Source, patterns: dict[str, tuple[str, ...]], seen: list[str], ignored: Ignored
) -> DataError:
    wanted = "; ".join(f"{split}: {', '.join(globs)}" for split, globs in patterns.items())
    held = f"\n  it holds: {', '.join(seen[:8])}" + (f" and {len(seen) - 8:,} more" if seen[8:] else "")
    others = [f"{count:,} × {reason}" for reason, count in ignored.counts.items() if "unpack" in reason]
    return DataError(
        f"none of {len(seen):,} files is one of '{source.name}' (it takes {wanted})" + (held if seen else ""),
        where="; ".join(others),
        cure=f"check that this is the download of {source.title}; "
        "where only the names of folders are missing: --split train or --split dev",
    )


def _named(taken: list[Taken]) -> list[Taken]:
    """The same, every name in a zip once; marked where contents have to be compared."""
    alike = Counter((item.split, item.name.rpartition("/")[2], item.member.size) for item in taken)
    used: set[tuple[str, str]] = set()
    named = []
    for item in taken:
        name, count = item.name, 1
        while (item.split, name) in used:
            name = f"{item.root.name}{'' if count == 1 else f'-{count}'}/{item.name}"
            count += 1
        used.add((item.split, name))
        doubtful = alike[item.split, item.name.rpartition("/")[2], item.member.size] > 1
        named.append(replace(item, name=name, doubtful=doubtful))
    return named


def _estimate(item: Taken) -> float:
    share = 1.0 if item.name.lower().endswith(_PACKED) else _PACKED_SHARE
    return min(float(item.member.packed), share * item.member.size) + 200


def _write(todo: list[Taken], room: Path, ignored: Ignored, onlooker: Onlooker) -> Counter[str]:
    """The zips, `room/SPLIT.zip`; how many files are in each."""
    counts: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    total, done = sum(item.member.size for item in todo), 0
    watch = onlooker.begin("packing")
    for split in dict.fromkeys(item.split for item in todo):
        path = room / f"{split}.zip"
        with path.open("wb") as file:
            with zipfile.ZipFile(file, "w") as target:
                for item in (item for item in todo if item.split == split):
                    if item.doubtful and (digest := (split, _digest(item.member))) in seen:
                        ignored.add("the same content as another file", item.name)
                    else:
                        seen |= {digest} if item.doubtful else set()
                        _add(target, item, watch, done, total)
                        counts[split] += 1
                    done += item.member.size
            file.flush()
            os.fsync(file.fileno())
    return counts


def _add(target: zipfile.ZipFile, item: Taken, watch: Watch, done: int, total: int) -> None:
    info = zipfile.ZipInfo(item.name)  # its time is that of 1980-01-01
    info.compress_type = zipfile.ZIP_STORED if item.name.lower().endswith(_PACKED) else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    info.create_system = 3
    # Three times as fast as the default, and a twentieth larger; only this name sets it on every Python.
    info._compresslevel = 1  # type: ignore[attr-defined]
    with target.open(info, "w", force_zip64=item.member.size >= _BIG_BYTES) as out:
        for chunk in chunks(item.member):
            done += out.write(chunk)
            watch(done, total)


def _digest(member: Member) -> str:
    digest = hashlib.sha256()
    for chunk in chunks(member):
        digest.update(chunk)
    return digest.hexdigest()
