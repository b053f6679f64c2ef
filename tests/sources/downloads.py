"""Downloads as publishers pack them: folders, zips with names in CP949 or NFD, tars, parts."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from pathlib import Path

Files = dict[str, bytes]


class _Cp949(zipfile.ZipInfo):
    """A member whose name is written as Windows programs do: CP949, without a word about it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("cp949"), self.flag_bits & ~0x800


def folder(place: Path, files: Files) -> Path:
    for name, data in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return place


def zip_of(files: Files, *, stored: bool = False, cp949: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = (_Cp949 if cp949 else zipfile.ZipInfo)(name)
            archive.writestr(info, data, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return out.getvalue()


def tar_of(files: Files, mode: str = "w", *, cp949: bool = False) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
        archive.encoding = "cp949" if cp949 else "utf-8"
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def parts_of(name: str, data: bytes, count: int, *, style: str = "part") -> Files:
    """A file in parts: NAME.part0 …, NAME.001 …, or numbered by the byte each begins at."""
    size = -(-len(data) // count)
    pieces = [data[n * size : (n + 1) * size] for n in range(count)]
    numbers = {
        "part": [f"part{n}" for n in range(count)],
        "number": [f"{n + 1:03}" for n in range(count)],
        "byte": [f"part{n * size}" for n in range(count)],
    }[style]
    return {f"{name}.{number}": piece for number, piece in zip(numbers, pieces, strict=True)}


def marked(data: bytes, *, flag: int = 0, method: int | None = None) -> bytes:
    """A zip whose headers say something else: flag 1 is locked, method 9 is Deflate64."""
    changed = bytearray(data)
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = changed.find(magic)
        while start >= 0:
            flags, old = struct.unpack_from("<HH", changed, start + at)
            struct.pack_into("<HH", changed, start + at, flags | flag, old if method is None else method)
            start = changed.find(magic, start + 4)
    return bytes(changed)
