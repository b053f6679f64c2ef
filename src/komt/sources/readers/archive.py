"""Archives: zip, tar, tar.gz, split zips, and these within each other, read member by member.

Nothing is unpacked into a folder. What has to be read out of order (an archive inside a compressed one) is
held in an unnamed temporary file.
"""

from __future__ import annotations

import io
import re
import stat
import tarfile
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from unicodedata import normalize

from komt.errors import DataError
from komt.files import missing_file
from komt.sources.patterns import split_of
from komt.sources.readers.content import Content, ungzipped

_PART = re.compile(r"(.+\.(?:zip|tar|tar\.gz|tgz))\.(?:part[._-]?)?(\d+)", re.IGNORECASE)
_SPANNED = re.compile(r".+\.z\d\d", re.IGNORECASE)
# No archives for our purposes: documents that are zip files inside, and what is not worth a look inside.
_DOCUMENTS = {".xlsx", ".xlsm", ".docx", ".pptx", ".hwpx", ".odt", ".ods", ".jar", ".npz", ".pt"}
_PLAIN = {".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet", ".xml", ".md"}
Opener = Callable[[], BinaryIO]


def contents_of(path: Path, pattern: str = "") -> Iterator[Content]:
    """Everything in a file, folder or archive, at any depth, in natural order of the names.

    Args:
        path: a file, a folder, an archive, or the first part of a split archive.
        pattern: which files; see `komt.sources.patterns`. "" is all of them.

    Raises:
        DataError: no such place; a broken archive; a member that would lie outside; a missing part; nothing
            that the pattern fits.
    """
    if not path.is_dir():
        missing_file(path)
    names: list[str] = []
    fitting = False
    for content in _walk_folder(path) if path.is_dir() else _walk(_joined_with_parts(path)):
        names.append(content.label)
        if not pattern or split_of(content.label, {"train": (pattern,)})[0]:
            fitting = True
            yield content
    if pattern and not fitting:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise DataError(
            f"no file in it fits '{pattern}'",
            where=str(path),
            cure=f"it holds: {', '.join(names[:8])}{more}" if names else "it holds nothing",
        )


def is_archive(path: Path) -> bool:
    """Whether a file is an archive, or a part of one: by its content."""
    return bool(_PART.fullmatch(path.name)) or bool(_kind(Content(path)))


def natural(name: str) -> list[Any]:
    """Sorting key with numbers by their value: part2 before part10."""
    return [(1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in re.split(r"(\d+)", name)]


def _walk_folder(folder: Path) -> Iterator[Content]:
    found = {
        normalize("NFC", path.relative_to(folder).as_posix()): path
        for path in folder.rglob("*")
        if path.is_file()
    }
    openers: dict[str, Opener] = {name: _opener(path) for name, path in found.items()}
    for name, opener, parts in _grouped(openers):
        if parts > 1 or name not in found:
            yield from _walk(Content(folder, name, opener, 0))
        else:
            content = Content(found[name], name=name)
            yield from _walk(content) if _kind(content) else [content]


def _opener(path: Path) -> Opener:
    return lambda: path.open("rb")


def _joined_with_parts(path: Path) -> Content:
    """The content of a file; of a part of a split archive, all parts as one."""
    if not (match := _PART.fullmatch(path.name)):
        return Content(path, name=path.name)
    stem = normalize("NFC", match[1])
    openers: dict[str, Opener] = {
        normalize("NFC", other.name): _opener(other)
        for other in path.parent.iterdir()
        if (found := _PART.fullmatch(other.name)) and normalize("NFC", found[1]) == stem
    }
    (name, opener, _) = next(_grouped(openers))
    return Content(path.parent, name, opener)


def _grouped(openers: dict[str, Opener]) -> Iterator[tuple[str, Opener, int]]:
    """Names in natural order, the parts of split archives joined: name, opener, number of parts."""
    groups: dict[str, dict[int, Opener]] = {}
    for name, opener in openers.items():
        if _ignored(name):
            continue
        if _SPANNED.fullmatch(name):
            raise DataError(
                "a zip that a packing program has split (.z01, .z02, …, .zip) cannot be read in its parts",
                where=name,
                cure="join it: zip -s 0 NAME.zip --out whole.zip (or 7-Zip), and give whole.zip",
            )
        match = _PART.fullmatch(name)
        groups.setdefault(match[1] if match else name, {})[int(match[2]) if match else -1] = opener
    for name in sorted(groups, key=natural):
        parts = groups[name]
        whole = parts.pop(-1, None)
        if whole is not None:
            yield name, whole, 1
        else:
            yield name, partial(_joined, name, parts), len(parts)


def _ignored(name: str) -> bool:
    """What operating systems leave in archives: no data."""
    pieces = PurePosixPath(name).parts
    return "__MACOSX" in pieces or pieces[-1].startswith("._") or pieces[-1] in {".DS_Store", "Thumbs.db"}


def _walk(content: Content) -> Iterator[Content]:
    kind = _kind(content)
    if not kind:
        yield content
        return
    above = f"{content.member}/" if content.member else ""
    members = _zip_members(content) if kind == "zip" else _tar_members(content, kind)
    for name, opener, size in members:
        inner = Content(content.path, above + name, opener, size, name=f"{content.label}/{name}")
        yield from _walk(inner) if _kind(inner) else [inner]


def _kind(content: Content) -> str:
    """zip, tar, tar.gz, or "" for what is no archive."""
    if Path(content.member or content.path.name).suffix.lower() in _DOCUMENTS | _PLAIN:
        return ""
    with content.raw() as stream:
        head = stream.read(512)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return "zip"
        if head[257:262] == b"ustar":
            return "tar"
        if head.startswith(b"\x1f\x8b"):
            stream.seek(0)
            with content.named():
                inner = ungzipped(stream).read(512)
            return "tar.gz" if inner[257:262] == b"ustar" else ""
    return ""


def _zip_members(content: Content) -> Iterator[tuple[str, Opener, int]]:
    stream = _in_any_order(content)
    with content.named():
        archive = zipfile.ZipFile(stream)
    # Contents may outlive this generator: the file is closed with the last of them.
    weakref.finalize(archive, stream.close)
    infos = {
        _zip_name(info, content): info
        for info in archive.infolist()
        if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)
    }
    sizes = {name: info.file_size for name, info in infos.items()}
    openers = {name: partial(_open_zip_member, archive, info, content) for name, info in infos.items()}
    for name, opener, _ in _grouped(cast(dict[str, Opener], openers)):
        yield name, opener, sizes.get(name, 0)


def _open_zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, content: Content) -> BinaryIO:
    if info.flag_bits & 1:
        raise DataError("the zip file is locked with a password", where=str(content), cure="unpack it first")
    try:
        return cast(BinaryIO, archive.open(info))
    except NotImplementedError as error:
        raise DataError(
            f"the zip file is packed in a way that is not read here: {error}",
            where=str(content),
            cure="unpack it first",
        ) from error


def _zip_name(info: zipfile.ZipInfo, content: Content) -> str:
    """The member's name, NFC: names that are not marked as UTF-8 are UTF-8 all the same, or CP949."""
    name = info.filename
    if not info.flag_bits & 0x800:
        name = _decoded(name.encode("cp437", "replace"), name)
    return _inside(name, content)


def _decoded(raw: bytes, fallback: str) -> str:
    for codec in ("utf-8", "cp949"):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return fallback


def _inside(name: str, content: Content) -> str:
    """The name with forward slashes, NFC.

    Raises:
        DataError: it leads out of the archive's folder.
    """
    path = normalize("NFC", name).replace("\\", "/")
    if path.startswith("/") or ".." in path.split("/") or re.match(r"[A-Za-z]:", path):
        raise DataError(
            f"a member of the archive would lie outside its folder: {path!r}",
            where=str(content),
            cure="this archive is not to be trusted; get it from its publisher",
        )
    return path.removeprefix("./")


def _tar_members(content: Content, kind: str) -> Iterator[tuple[str, Opener, int]]:
    stream = _in_any_order(content)
    with content.named():
        archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 (closed with the last member)
        infos = {_tar_name(info, content): info for info in archive.getmembers() if info.isreg()}
    weakref.finalize(archive, stream.close)
    sizes = {name: info.size for name, info in infos.items()}
    openers = {name: partial(archive.extractfile, info) for name, info in infos.items()}
    for name, opener, _ in _grouped(cast(dict[str, Opener], openers)):
        yield name, opener, sizes.get(name, 0)


def _tar_name(info: tarfile.TarInfo, content: Content) -> str:
    raw = info.name.encode("utf-8", "surrogateescape")
    return _inside(_decoded(raw, info.name), content)


def _in_any_order(content: Content) -> BinaryIO:
    """The bytes of an archive as a stream that can be read in any order at no cost."""
    stream = content.raw()
    head = stream.read(2)
    stream.seek(0)
    if head != b"\x1f\x8b" and not isinstance(stream, zipfile.ZipExtFile):
        return stream
    held = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the archive)
    with stream:
        source = ungzipped(stream)
        while chunk := source.read(1 << 20):
            held.write(chunk)
    held.seek(0)
    return cast(BinaryIO, held)


def _joined(name: str, parts: dict[int, Opener]) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Joined(name, parts), 1 << 20))


class _Joined(io.RawIOBase):
    """The parts of a split archive as one stream, in the order of their numbers.

    Raises:
        DataError: a part is missing. Parts are numbered one by one, or by the byte each begins at.
    """

    def __init__(self, name: str, parts: dict[int, Opener]) -> None:
        numbers = sorted(parts)
        self._streams = [parts[number]() for number in numbers]
        self._starts = [0]
        for stream in self._streams:
            self._starts.append(self._starts[-1] + stream.seek(0, io.SEEK_END))
        steps = range(numbers[0], numbers[0] + len(numbers))
        if numbers != self._starts[:-1] and (numbers != list(steps) or numbers[0] > 1):
            missing = sorted({0, *range(numbers[0], numbers[-1])} - set(numbers))[:3]
            raise DataError(
                f"a part of the split archive is missing: {', '.join(map(str, missing))}",
                where=name,
                cure="put all parts into one folder",
            )
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where it stands in the whole."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place in the whole."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the current part reaches."""
        for stream, start, end in zip(self._streams, self._starts[:-1], self._starts[1:], strict=True):
            if start <= self._at < end:
                stream.seek(self._at - start)
                data = stream.read(min(len(buffer), end - self._at))
                buffer[: len(data)] = data
                self._at += len(data)
                return len(data)
        return 0

    def close(self) -> None:
        """Close the parts."""
        if not self.closed:
            for stream in self._streams:
                stream.close()
        super().close()
