"""JSON that is streamed: its bytes as UTF-8, refused where it is nested more deeply than any data is.

A parser that reports where it is would hold the path of every level: brackets alone, a few megabytes of them,
would fill the memory.
"""

from __future__ import annotations

import io
import re
from typing import Any, Protocol

from komt.errors import DataError

MOST_LEVELS = 1000
_MANY = 100
# Of a text that is longer than a read, so many bytes at most are read at once.
_MOST_BYTES = 1 << 25
# The last one may be open.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


class _Bytes(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def utf8(stream: Any, codec: str, where: str) -> _Bytes:
    """A stream of JSON as UTF-8 bytes.

    Args:
        stream: the bytes as they are.
        codec: their encoding.
        where: what an error calls them.

    Raises:
        DataError: while it is read: more than MOST_LEVELS lists and objects in each other.
    """
    return _Shallow(stream if codec == "utf-8" else _AsUtf8(stream, codec), where)


def too_deep(where: str) -> DataError:
    """The error for JSON that is nested too deeply."""
    return DataError(
        "the JSON is nested too deeply to be read",
        where=where,
        cure="such a file is no data: look at its first characters, or get it again",
    )


def long_number(where: str) -> DataError:
    """The error for a whole number of more digits than a parser takes."""
    return DataError(
        "a number has more digits than can be read", where=where, cure="write it in quotes, as a text"
    )


def broken(error: Exception, where: str) -> DataError:
    """The error for what ijson cannot read."""
    what = str(error).strip().splitlines()[0]
    if "integer overflow" in what:
        return long_number(where)
    return DataError(f"broken JSON: {what}", where=where, cure="the file may be cut off: get it again")


class _Shallow:
    """Passes JSON on; looks closer where many more brackets open than close.

    Within a long text it reads more and more at once: a parser looks through a text that is not at its end
    yet from its beginning with every read (yajl does), which would take an hour for 300 MB in small reads.
    """

    def __init__(self, stream: _Bytes, where: str) -> None:
        self._stream, self._where = stream, where
        self._levels, self._in_string, self._held = 0, False, b""
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes, or more within a long text; fewer at the end."""
        data = self._stream.read(max(size, self._size) if size > 0 else size)
        self._count(self._held + data)
        if self._levels > MOST_LEVELS:
            raise too_deep(self._where)
        return data

    def _count(self, data: bytes) -> None:
        # A backslash at the end belongs to what follows.
        self._held = b"\\" if (len(data) - len(data.rstrip(b"\\"))) % 2 else b""
        if self._held:
            data = data[:-1]
        if _open_brackets(data) > _MANY:
            # Brackets in texts, of which there may be any number, are none.
            self._levels += _open_brackets(_STRING.sub(b"", b'"' + data if self._in_string else data))
        paired = data.replace(b"\\\\", b"")
        quotes = paired.count(b'"') - paired.count(b'\\"')
        self._in_string ^= bool(quotes % 2)
        self._size = min(2 * len(data), _MOST_BYTES) if self._in_string and not quotes else 0


def _open_brackets(data: bytes) -> int:
    return data.count(b"[") + data.count(b"{") - data.count(b"]") - data.count(b"}")


class _AsUtf8:
    """A stream in another encoding, read as UTF-8."""

    def __init__(self, stream: Any, codec: str) -> None:
        self._text = io.TextIOWrapper(stream, codec, newline="")

    def read(self, size: int = -1, /) -> bytes:
        """So many characters, as UTF-8."""
        return self._text.read(size).encode("utf-8", "surrogatepass")
