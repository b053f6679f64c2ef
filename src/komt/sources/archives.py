"""Archives: what a zip or a tar lists, with names in any encoding, and nothing that leads out of its folder.

Nothing is ever written by a name that an archive gives.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from komt.errors import DataError
from komt.sources.regions import Region, Regions, opened, sliced

PACKED_TAR = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVE = (".zip", ".tar", *PACKED_TAR)
PART = re.compile(r"(?P<whole>.+\.(?:zip|tar|tgz|tar\.gz))\.(?:part[._-]?)?(?P<number>\d+)", re.IGNORECASE)
_OPEN_ARCHIVES = 32
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    struct.error,
)


@dataclass(frozen=True)
class Skipped:
    """What is no file that could be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Found:
    """A file as its folder or archive lists it.

    Attributes:
        name: NFC, parts divided by "/".
        size: bytes, unpacked.
        packed: bytes that it takes now.
        open: a new stream of its bytes.
        regions: where an archive lies on the disk as it is, or () where it does not.
    """

    name: str
    size: int
    packed: int
    open: Callable[[], BinaryIO]
    regions: Regions = ()


class Room:
    """What the archives of one walk share: a folder, and the zips that are open (the ones used last)."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._open: OrderedDict[Regions, zipfile.ZipFile] = OrderedDict()

    def zip(self, regions: Regions) -> zipfile.ZipFile:
        """The zip that lies there."""
        if regions not in self._open:
            # A stream that is being read keeps its file open; the others close with their archive.
            while len(self._open) >= _OPEN_ARCHIVES:
                self._open.popitem(last=False)
            self._open[regions] = zipfile.ZipFile(opened(regions))
        self._open.move_to_end(regions)
        return self._open[regions]

    def spooled(self, open_: Callable[[], BinaryIO]) -> Regions:
        """The bytes of a stream, in a file of their own."""
        handle, name = tempfile.mkstemp(dir=self.scratch)
        with os.fdopen(handle, "wb") as file, open_() as stream:
            shutil.copyfileobj(stream, file, 1 << 20)
        return (Region(Path(name), 0, Path(name).stat().st_size),)


def listed(regions: Regions, name: str, room: Room) -> Iterator[Found | Skipped]:
    """What an archive holds; its name decides whether it is a zip or a tar.

    Raises:
        DataError: broken, locked, incomplete or unsafe.
    """
    with explained(name):
        if name.lower().endswith(".zip"):
            yield from _zip(regions, name, room)
        else:
            if name.lower().endswith(PACKED_TAR):
                regions = room.spooled(lambda: _unpacked(regions, name))
            yield from _tar(regions, name)


def _zip(regions: Regions, name: str, room: Room) -> Iterator[Found | Skipped]:
    for info in room.zip(regions).infolist():
        entry = clean(_zip_name(info), name)
        if stat.S_ISLNK(info.external_attr >> 16):
            yield Skipped(entry, "link")
        elif not info.is_dir():
            if info.flag_bits & 1:
                raise DataError(
                    "the archive is locked with a password",
                    where=f"{name}/{entry}",
                    cure="unpack it with its password, and give the folder",
                )
            place = _stored(regions, info) if is_archive(entry) else ()
            yield Found(entry, info.file_size, info.compress_size, _opener(regions, info, room), place)


def _opener(regions: Regions, info: zipfile.ZipInfo, room: Room) -> Callable[[], BinaryIO]:
    return lambda: cast(BinaryIO, room.zip(regions).open(info))


def _stored(regions: Regions, info: zipfile.ZipInfo) -> Regions:
    """Where a member without compression lies: behind its header of 30 bytes, name and extra field."""
    if info.compress_type != zipfile.ZIP_STORED:
        return ()
    with opened(regions) as file:
        file.seek(info.header_offset + 26)
        name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
    return sliced(regions, info.header_offset + 30 + name_bytes + extra_bytes, info.file_size)


def _tar(regions: Regions, name: str) -> Iterator[Found | Skipped]:
    total = sum(region.size for region in regions)
    with opened(regions) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for info in archive:
            entry = clean(decoded(info.name), name)
            if info.isdir():
                continue
            if not info.isfile() or info.issparse():
                yield Skipped(entry, "link" if info.issym() or info.islnk() else "no plain file")
                continue
            if info.offset_data + info.size > total:
                raise EOFError(f"it ends within {entry}")
            yield found_in(sliced(regions, info.offset_data, info.size), entry)


def found_in(regions: Regions, name: str) -> Found:
    """A file that lies on the disk as it is."""
    size = sum(region.size for region in regions)
    return Found(name, size, size, lambda: opened(regions), regions)


def _unpacked(regions: Regions, name: str) -> BinaryIO:
    if name.lower().endswith("gz"):
        return cast(BinaryIO, gzip.open(opened(regions)))
    return cast(BinaryIO, (bz2.open if name.lower().endswith("bz2") else lzma.open)(opened(regions)))


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Errors of archives as a DataError that names the archive."""
    try:
        yield
    except NotImplementedError as error:
        raise DataError(
            f"the archive is packed in a way that cannot be read here: {error}",
            where=name,
            cure="unpack it with unzip or 7-Zip, and give the folder",
        ) from error
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        gzip.BadGzipFile,
    ) as error:
        raise DataError(
            f"the archive is broken or incomplete: {error}",
            where=name,
            cure="download it again; of a split archive give the folder with all its parts",
        ) from error


def natural(name: str) -> list[tuple[int, int, str]]:
    """Key that sorts part10 after part9."""
    return [
        (0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.split(r"([0-9]+)", name)
    ]


def is_archive(name: str) -> bool:
    """Whether a file of that name is an archive, or a part of one."""
    return name.lower().endswith(ARCHIVE) or bool(PART.fullmatch(name))


def clean(name: str, where: str) -> str:
    """A name as parts divided by "/", NFC.

    Raises:
        DataError: it leads out of its folder.
    """
    parts = [part for part in unicodedata.normalize("NFC", name).replace("\\", "/").split("/") if part != "."]
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise DataError(
            f"the archive holds a name that leads out of its folder: {name}",
            where=where,
            cure="do not use this archive; get it again from its publisher",
        )
    return "/".join(part for part in parts if part)


def decoded(name: str) -> str:
    """A name of the file system or of a tar, whose bytes may be CP949."""
    data = name.encode("utf-8", "surrogateescape")
    return _text(data) if any("\udc80" <= letter <= "\udcff" for letter in name) else name


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name in a zip: UTF-8 where its flag says so; else zipfile took the bytes for CP437."""
    if info.flag_bits & 0x800 or info.filename != info.orig_filename:
        return info.filename
    return _text(info.orig_filename.encode("cp437"))


def _text(data: bytes) -> str:
    for codec in ("utf-8", "cp949"):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(codec)
    return data.decode("utf-8", "replace")
