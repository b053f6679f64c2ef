"""Regions: stretches of files on the disk, read as one file without a copy."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast


@dataclass(frozen=True)
class Region:
    """A stretch of a file on the disk, in bytes."""

    path: Path
    start: int
    size: int


Regions = tuple[Region, ...]


class Joined(io.RawIOBase):
    """Regions read one after the other as one file."""

    def __init__(self, regions: Regions) -> None:
        self._regions, self._at, self._size = regions, 0, sum(region.size for region in regions)
        self._file: BinaryIO | None = None
        self._open: Path | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, at most to the end of a region."""
        before = 0
        for region in self._regions:
            inside = self._at - before
            if inside < region.size:
                wanted = min(len(buffer), region.size - inside)
                file = self._file_of(region.path)
                file.seek(region.start + inside)
                data = file.read(wanted)
                buffer[: len(data)] = data
                self._at += len(data)
                return len(data)
            before += region.size
        return 0

    def close(self) -> None:
        """Close the file that is open."""
        if self._file:
            self._file.close()
        self._file = self._open = None
        super().close()

    def _file_of(self, path: Path) -> BinaryIO:
        if self._open != path or self._file is None:
            if self._file:
                self._file.close()
            self._file, self._open = path.open("rb"), path
        return self._file


def opened(regions: Regions) -> BinaryIO:
    """A stream of the regions' bytes."""
    return cast(BinaryIO, io.BufferedReader(Joined(regions), 1 << 17))


def sliced(regions: Regions, start: int, size: int) -> Regions:
    """So many bytes of the regions, from a place on."""
    found, before = [], 0
    for region in regions:
        begin, end = max(start, before), min(start + size, before + region.size)
        if begin < end:
            found.append(Region(region.path, region.start + begin - before, end - begin))
        before += region.size
    return tuple(found)
