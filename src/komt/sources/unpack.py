"""Unpack: every file below a path, with archives taken as folders, however they are nested, split or named.

Archives that are stored as they are (in a tar, in a zip without compression, in parts) are read where they
lie; only a compressed one inside another is copied, to `scratch`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from komt.errors import DataError
from komt.sources.archives import (
    ARCHIVE,
    PART,
    Found,
    Room,
    Skipped,
    clean,
    decoded,
    explained,
    found_in,
    listed,
    natural,
)
from komt.sources.regions import Region

_SPANNED = re.compile(r".+\.z\d\d", re.IGNORECASE)
_FOREIGN = (".7z", ".rar", ".alz", ".egg")
_SYSTEM = {".ds_store", "thumbs.db", "desktop.ini"}
_DEPTH = 8


@dataclass(frozen=True)
class Member:
    """A file, on the disk or in an archive.

    Attributes:
        name: NFC, parts divided by "/"; below what was given, archives being folders.
        size: bytes, unpacked.
        packed: bytes that it takes now.
        open: a new stream of its bytes.
        archive: it is an archive itself; what is in it comes next.
    """

    name: str
    size: int
    packed: int
    open: Callable[[], BinaryIO]
    archive: bool = False


Enter = Callable[[str], bool]


def walk(path: Path, scratch: Path, enter: Enter = lambda name: True) -> Iterator[Member | Skipped]:
    """Every file at or below a path, in natural order of names; an archive comes before what is in it.

    Args:
        path: a folder, a file, an archive, or a part of a split one (its siblings belong to it).
        scratch: folder for compressed archives inside archives; to be removed after the last read.
        enter: whether to look into the archive of that name; one that is not may be broken or incomplete.

    Raises:
        DataError: nothing there; a broken, locked, incomplete or unsafe archive.
    """
    if not path.exists():
        raise DataError(f"no such file or folder: {path}", cure=f"check the path; looked for in {Path.cwd()}")
    if path.is_dir():
        found = list(_below(path))
    elif part := PART.fullmatch(decoded(path.name)):
        siblings = [_on_disk(item, item.name) for item in path.parent.iterdir() if item.is_file()]
        whole = part["whole"]
        found = [item for item in siblings if (m := PART.fullmatch(item.name)) and m["whole"] == whole]
    else:
        found = [_on_disk(path, path.name)]
    yield from _walk(found, "", Room(scratch), 0, enter)


def chunks(member: Member) -> Iterator[bytes]:
    """The bytes of a member, a megabyte at a time.

    Raises:
        DataError: its archive is broken, or packed in a way that cannot be read.
    """
    with explained(member.name), member.open() as stream:
        while chunk := stream.read(1 << 20):
            yield chunk


def _below(folder: Path) -> Iterator[Found]:
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = Path(root).resolve()
        folders[:] = [name for name in folders if not name.startswith(".")]
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            path = Path(root, name)
            if path.is_file():
                yield _on_disk(path, str(path.relative_to(folder)))


def _on_disk(path: Path, name: str) -> Found:
    return found_in((Region(path, 0, path.stat().st_size),), clean(decoded(name), str(path)))


def _walk(
    items: Iterable[Found], above: str, room: Room, depth: int, enter: Enter
) -> Iterator[Member | Skipped]:
    for item in sorted(_wholes(items, above, enter), key=lambda item: natural(item.name)):
        name, parts = above + item.name, item.name.lower().split("/")
        if _SPANNED.fullmatch(parts[-1]):
            raise DataError(
                "a zip split by a packing program (.z01, .z02, …, .zip) cannot be read in its parts",
                where=name,
                cure="join it: zip -s 0 NAME.zip --out whole.zip (or 7-Zip), and give whole.zip",
            )
        if "__macosx" in parts or parts[-1].startswith("._") or parts[-1] in _SYSTEM:
            yield Skipped(name, "system file")
        elif parts[-1].endswith(_FOREIGN):
            kind = parts[-1].rpartition(".")[2]
            yield Skipped(name, f"packed as .{kind}: unpack it and give the folder")
        elif parts[-1].endswith(ARCHIVE):
            yield Member(name, item.size, item.packed, item.open, archive=True)
            if enter(name):
                yield from _inside(item, name, room, depth + 1, enter)
        else:
            yield Member(name, item.size, item.packed, item.open)


def _inside(item: Found, name: str, room: Room, depth: int, enter: Enter) -> Iterator[Member | Skipped]:
    if depth > _DEPTH:
        raise DataError(f"archives inside archives, more than {_DEPTH} deep", where=name)
    with explained(name):
        regions = item.regions or room.spooled(item.open)
    files = []
    for entry in listed(regions, name, room):
        if isinstance(entry, Found):
            files.append(entry)
        else:
            yield Skipped(f"{name}/{entry.name}", entry.reason)
    yield from _walk(files, f"{name}/", room, depth, enter)


def _wholes(items: Iterable[Found], above: str, enter: Enter) -> Iterator[Found]:
    """The files, those of a split archive joined."""
    sets: dict[str, list[tuple[int, Found]]] = {}
    for item in items:
        if part := PART.fullmatch(item.name):
            sets.setdefault(part["whole"], []).append((int(part["number"]), item))
        else:
            yield item
    for whole, parts in sets.items():
        parts.sort(key=lambda part: part[0])
        missing = [item.name for _, item in parts if item.size and not item.regions]
        if enter(above + whole):
            _refuse_gaps(above + whole, parts)
        if missing and enter(above + whole):
            raise DataError(
                "a split archive inside a compressed archive cannot be read",
                where=above + missing[0],
                cure="unpack the outer archive and give the folder",
            )
        yield found_in(tuple(region for _, item in parts for region in item.regions), whole)


def _refuse_gaps(whole: str, parts: list[tuple[int, Found]]) -> None:
    """Parts are numbered from 0 or 1, or by the byte at which they begin."""
    numbers = [number for number, _ in parts]
    begins, at = [], 0
    for _, item in parts:
        begins.append(at)
        at += item.size
    counted = list(range(numbers[0], numbers[0] + len(numbers)))
    if numbers == begins or (numbers == counted and numbers[0] in {0, 1}):
        return
    wanted = next((n for n in range(min(numbers[0], 1), numbers[-1]) if n not in numbers), 0)
    raise DataError(
        f"part {wanted} of a split archive is missing; here are: {', '.join(map(str, numbers))}",
        where=whole,
        cure="download all parts into one folder and give that folder",
    )
