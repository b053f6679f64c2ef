"""What a reader reads: the bytes of a file, of a .gz, or of a member of an archive, as text or as lines."""

from __future__ import annotations

import codecs
import gzip
import io
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from komt.encodings import decode, encoding_of, heeding_mark, missing_file, undecodable
from komt.errors import DataError

# Above this many bytes a reader streams rather than holds the whole text.
BIG_BYTES = 32 << 20
_GZIP_GAIN = 6
_HEAD_BYTES = 1 << 14


@dataclass(frozen=True)
class Content:
    """Bytes to read.

    Attributes:
        path: the file that holds them.
        member: name inside the archive, NFC, or "".
        opener: opens the member; a plain file is opened by its path.
        size: uncompressed bytes of a member, where known.
        name: what rows call it in `where`; errors give the whole path.
        beside: further contents, read line by line with this one.
    """

    path: Path
    member: str = ""
    opener: Callable[[], BinaryIO] | None = None
    size: int = 0
    name: str = ""
    beside: tuple[Content, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def label(self) -> str:
        """What rows call it."""
        return self.name or str(self)

    @property
    def big(self) -> bool:
        """Whether it is too large to be held as one text."""
        return self.bytes_estimated > BIG_BYTES

    @property
    def bytes_estimated(self) -> int:
        """Uncompressed bytes; of a .gz an estimate."""
        size = self.size if self.opener else self.path.stat().st_size
        name = self.member or self.path.name
        return size * _GZIP_GAIN if name.lower().endswith(".gz") else size

    def open(self) -> BinaryIO:
        """The bytes, uncompressed where they are a gzip (the content decides, not the name).

        Raises:
            DataError: no such file, or a folder.
        """
        return ungzipped(self.raw())

    def raw(self) -> BinaryIO:
        """The bytes as they lie there, compressed ones too.

        Raises:
            DataError: no such file, or a folder.
        """
        if self.opener:
            return self.opener()
        missing_file(self.path)
        return self.path.open("rb")

    def seekable(self) -> BinaryIO:
        """The bytes as a stream that can be read in any order: a packed one from an unnamed temporary file.

        Raises:
            DataError: no such file, a folder, or a broken compressed file.
        """
        stream = self.open()
        if not isinstance(stream, _Gunzipped | zipfile.ZipExtFile):
            return stream
        held = tempfile.TemporaryFile()  # noqa: SIM115 (whoever asked for it closes it)
        with self.named(), closing(stream):
            shutil.copyfileobj(stream, held, 1 << 20)
        held.seek(0)
        return cast(BinaryIO, held)

    def read(self) -> bytes:
        """All bytes.

        Raises:
            DataError: missing, empty, or a broken compressed file.
        """
        with self.named(), closing(self.open()) as stream:
            data = stream.read()
        if not data.strip():
            raise DataError("the file is empty", where=str(self), cure="write into it, or name another file")
        return data

    def text(self, encoding: str = "") -> str:
        """The whole text; with no encoding given it is recognised.

        Raises:
            DataError: missing, empty, or undecodable (with the byte).
        """
        return decode(self.read(), encoding, str(self))

    def head(self, encoding: str = "") -> str:
        """The first characters, a few thousand; undecodable bytes are left out."""
        with self.named(), closing(self.open()) as stream:
            data = stream.read(_HEAD_BYTES)
        return data.decode(self.codec(encoding), "ignore")

    def encoding(self) -> str:
        """The encoding of the bytes, or "" when no Korean text is written so."""
        with self.named(), closing(self.open()) as stream:
            return encoding_of(stream)

    def codec(self, encoding: str = "") -> str:
        """The codec to read with: that of the encoding given, heeding a mark, or of the one recognised."""
        if not encoding:
            return self.encoding() or "utf-8"
        with self.named(), closing(self.open()) as stream:
            return heeding_mark(encoding, stream.read(4))

    def lines(self, encoding: str = "") -> Iterator[str]:
        r"""Lines with their \n: split at \n only (never at U+2028 or U+001C), at \r where there is no \n.

        Raises:
            DataError: missing, or undecodable (with the byte).
        """
        codec = self.codec(encoding)
        with self.named(), closing(self.open()) as stream:
            try:
                buffered = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 18)
                head = buffered.peek(1 << 16)
                newline = "\r" if b"\r" in head and b"\n" not in head else "\n"
                with io.TextIOWrapper(buffered, codec, newline=newline) as text:
                    yield from text
            except LookupError as error:
                raise undecodable(b"", codec, str(self)) from error
            except UnicodeError as error:  # of UTF-16 without its mark it is no UnicodeDecodeError
                raise self.undecodable(codec) from error

    def undecodable(self, codec: str) -> DataError:
        """The error that names the first byte which cannot be decoded, found by reading once more."""
        decoder = codecs.getincrementaldecoder(codec)()
        place = 0
        with closing(self.open()) as stream:
            while chunk := stream.read(1 << 20):
                kept = len(decoder.getstate()[0])
                try:
                    decoder.decode(chunk)
                except UnicodeError as error:
                    if not isinstance(error, UnicodeDecodeError):
                        return undecodable(chunk[:1], codec, str(self))
                    at = place - kept + error.start
                    return undecodable(error.object[error.start : error.start + 1], codec, str(self), at)
                place += len(chunk)
        return undecodable(b"", codec, str(self), place)

    def named(self) -> _Broken:
        """A context in which errors of compressed files become a DataError that names this content."""
        return _Broken(str(self))


def content_of(place: Path | Content) -> Content:
    """The content of a file, or what is given already."""
    return place if isinstance(place, Content) else Content(place)


class _Broken:
    """Turns what a broken compressed file raises into a DataError that names it."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, tarfile.TarError, EOFError)):
            raise DataError(
                f"the compressed file is broken or cut off: {error}",
                where=self._where,
                cure="get it again",
            ) from error


def ungzipped(stream: BinaryIO) -> BinaryIO:
    """The stream, uncompressed where it is a gzip by its first bytes; the new stream owns the old one."""
    head = stream.read(2)
    stream.seek(0)
    if head != b"\x1f\x8b":
        return stream
    return cast(BinaryIO, _Gunzipped(stream))


class _Gunzipped(gzip.GzipFile):
    """A gzip that closes the stream below it."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(fileobj=stream)
        self._below = stream

    def close(self) -> None:
        """Close both."""
        super().close()
        self._below.close()
