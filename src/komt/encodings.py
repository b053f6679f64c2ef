"""Text files in any encoding Koreans meet: recognised, decoded, or one message with the byte."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from typing import BinaryIO

from komt.errors import DataError

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Codecs that take their own mark for a letter.
_MARKED = {
    "utf-8": (codecs.BOM_UTF8, "utf-8-sig"),
    "utf-16-le": (codecs.BOM_UTF16_LE, "utf-16"),
    "utf-16-be": (codecs.BOM_UTF16_BE, "utf-16"),
}
_SNIFFED_BYTES = 1 << 18
_KOREAN = re.compile("[\t\n\r -~가-힣]")
# With jamo, punctuation, and what else East Asia writes.
_WRITING = re.compile("[\t\n\r -~\u00a0-\u00ff가-힣\u1100-\u11ff\u2000-\u9fff\uf900-\ufaff\uff00-\uffef]")


def sniff_encoding(data: bytes) -> str:
    """The encoding of a Korean text file: a BOM decides, then NULs (UTF-16), then UTF-8, then CP949.

    UTF-8 with a few broken bytes is still UTF-8, not CP949 that happens to decode.

    Returns:
        A Python codec name, or "" when the bytes are none of these.
    """
    return _sniff(data, whole=True)


def encoding_of(stream: BinaryIO) -> str:
    """The encoding of a stream, read only as far as it takes; see `sniff_encoding`."""
    data = b""
    while chunk := stream.read(_SNIFFED_BYTES):
        # Pure ASCII says nothing yet: only its first part is needed, to see a BOM.
        data = (b"" if data.isascii() and len(data) > 4 else data) + chunk
        if not data.isascii() or b"\x00" in data:
            data += stream.read(_SNIFFED_BYTES)
            rest = stream.read(1)
            return _sniff(data, whole=not rest)
    return "utf-8"


def _sniff(data: bytes, whole: bool) -> str:
    for bom, name in _BOMS:
        if data.startswith(bom):
            return name
    if not (whole and len(data) % 2) and (wide := _utf16_without_bom(data)):
        return wide
    for name in ("utf-8", "cp949"):
        if _decodes(data, name, whole) and not (name == "cp949" and _nearly_utf8(data)):
            return name
    return "utf-8" if _nearly_utf8(data) else ""


def _decodes(data: bytes, codec: str, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(data, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def _utf16_without_bom(data: bytes) -> str:
    """UTF-16 text has a NUL in every ASCII character, and in a few syllables (가, 대); other text has none.

    UTF-16 that is valid UTF-8 as well is ASCII nearly throughout: then NULs are half of its bytes.
    """
    sample = data[: 1 << 16]
    least = 4 if _decodes(sample, "utf-8", whole=False) else 50
    if sample.count(0) * least < len(sample):
        return ""
    whole = data[: len(data) // 2 * 2]
    known = [name for name in ("utf-16-le", "utf-16-be") if _decodes(whole, name, whole=False)]
    texts = {name: sample[: len(sample) // 2 * 2].decode(name, "ignore") for name in known}
    # In the wrong order ASCII looks like Chinese.
    name = max(known, key=lambda name: len(_KOREAN.findall(texts[name])), default="")
    return name if name and len(_WRITING.findall(texts[name])) >= 0.9 * len(texts[name]) else ""


def _nearly_utf8(data: bytes) -> bool:
    text = data[: 1 << 20].decode("utf-8", "replace")
    good = sum(1 for letter in text if letter > "\x7f" and letter != "\ufffd")
    return good > 10 * text.count("\ufffd")


def read_text(path: Path, encoding: str = "") -> str:
    """The text of a file; with no encoding given, UTF-8, BOMs, UTF-16 and CP949 are recognised.

    Raises:
        DataError: missing, a folder, empty, or undecodable (with the byte offset).
    """
    missing_file(path)
    data = path.read_bytes()
    if not data.strip():
        raise DataError("the file is empty", where=str(path), cure="write into it, or name another file")
    return decode(data, encoding, str(path))


def missing_file(path: Path) -> None:
    """Do nothing where the file is there, and its name is text.

    Raises:
        DataError: no such file, a folder, or a name that is not UTF-8.
    """
    if path.is_file():
        _refuse_odd_name(path)
        return
    if path.is_dir():
        raise DataError(f"a folder, not a file: {path}", cure="name a file in it")
    raise DataError(
        f"no such file: {path}",
        cure="check the path" + ("" if path.is_absolute() else f"; it is looked for in {Path.cwd()}"),
    )


def _refuse_odd_name(path: Path) -> None:
    """Do nothing where a path is text: outputs name their files, and no file holds half a surrogate pair."""
    name = str(path)
    if name.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in name):
        return
    read = os.fsencode(path.name).decode("cp949", "replace")
    raise DataError(
        "the file's name is not UTF-8" + (f"; read as CP949 it is {read}" if "\ufffd" not in read else ""),
        where=os.fsencode(path).decode("utf-8", "backslashreplace"),
        cure="rename the file (or its folder); `unzip -O cp949` unpacks such names rightly",
    )


def decode(data: bytes, encoding: str, where: str) -> str:
    """Bytes as text; with no encoding given it is recognised.

    Raises:
        DataError: unknown encoding, or undecodable, with the byte offset.
    """
    codec = heeding_mark(encoding, data) if encoding else sniff_encoding(data) or "utf-8"
    try:
        return data.decode(codec)
    except LookupError as error:
        raise undecodable(b"", codec, where) from error
    except UnicodeDecodeError as error:
        byte = data[error.start : error.start + 1]
        raise undecodable(byte, codec, where, error.start) from error


def heeding_mark(codec: str, data: bytes) -> str:
    """A codec as a person names it, or the one that takes the mark off with which the data begins."""
    try:
        mark, marked = _MARKED.get(codecs.lookup(codec).name, (b"", codec))
    except LookupError:
        return codec
    return marked if mark and data.startswith(mark) else codec


def undecodable(byte: bytes, codec: str, where: str, at: int = 0) -> DataError:
    """The error for a byte that cannot be decoded, or for an encoding that does not exist."""
    try:
        codecs.lookup(codec)
    except LookupError:
        return DataError(
            f"unknown encoding '{codec}'",
            where=where,
            cure="name one such as utf-8, cp949 or utf-16, or none: these are recognised",
        )
    what = f"byte 0x{byte[0]:02x} cannot be decoded" if byte else "it ends in the middle of a character"
    return DataError(
        f"not {codec} text: {what}",
        where=f"{where}, byte {at}",
        cure="save it as UTF-8; in a recipe or a declaration its encoding can be named, too (cp949, utf-16)",
    )
