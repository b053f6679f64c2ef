"""Files: where things live, text in whatever encoding, writes that appear whole or not at all."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from komt.errors import DataError, UsageError


def home() -> Path:
    """Models, fetched data and stages live here: KOMT_HOME, default ~/.cache/komt."""
    return Path(os.environ.get("KOMT_HOME") or "~/.cache/komt").expanduser()


def data_root() -> Path:
    """Source files are looked for here, read-only: KOMT_DATA, default KOMT_HOME/data."""
    return Path(os.environ.get("KOMT_DATA") or home() / "data").expanduser()


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


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


# One encoder: json.dumps makes another at each call that has options.
_encoded = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str).encode
_FLAT: dict[type, Callable[[Any], str]] = {str: encode_basestring, int: int.__repr__}


def _canonical(value: Any) -> str:
    if type(value) is list:
        try:  # What is hashed for every row is a list of a few texts and numbers: thrice as fast.
            return f"[{', '.join([_FLAT[type(item)](item) for item in value])}]"
        except KeyError:
            pass
    return _encoded(value)


def digest_of(value: Any) -> bytes:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(_canonical(value).encode()).digest()


def hash_of(value: Any) -> str:
    """`digest_of` in hexadecimal digits."""
    return digest_of(value).hex()


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that it appears whole or not at all, even on power loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp("", f".{path.name}.staged-{os.getpid()}-", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=False) + "\n")


def fsync_folder(folder: Path) -> None:
    """Flush every file below a folder, and the folders, to disk."""
    for path in [*folder.rglob("*"), folder]:
        fsync(path)


def fsync(path: Path) -> None:
    """Flush one file, or the names that a folder holds, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which replaces `target` when the block ends, and vanishes when it fails.

    What a killed process left staged is removed by the next one. Callers that may run twice at once
    hold `locked(target)`.

    Raises:
        UsageError: the folder cannot be replaced; told before anything is made.
    """
    if target.is_dir() and (os.path.ismount(target) or target.resolve() == Path.cwd()):
        what = "a disk is mounted there" if os.path.ismount(target) else "it is the folder you are in"
        raise UsageError(
            f"the folder {target} cannot be put in place as a whole: {what}", cure="name a folder in it"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(target.parent, target.name)
    staged = target.parent / f".{target.name}.staged-{os.getpid()}"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    try:
        yield staged
        fsync_folder(staged)
        replace_folder(staged, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def replace_folder(staged: Path, target: Path) -> None:
    """Rename a folder into place; a former one is moved aside first and then removed.

    When this returns the new name is on the disk, so that what it replaces may be deleted.
    """
    old = target.parent / f".{target.name}.old-{os.getpid()}"
    if os.path.lexists(target):  # also a link that leads nowhere
        target.rename(old)
    staged.rename(target)
    fsync(target.parent)
    _remove(old)


def _remove(path: Path) -> None:
    """Remove a folder with all that is in it, or a file or link, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


_STALE = re.compile(r"\.(?P<name>.+)\.(staged|old)-(?P<pid>\d+)(-[^.]*)?$")


def remove_stale(folder: Path, name: str = "") -> None:
    """Remove what processes that are no more left half-made in a folder: for one name, or for all."""
    for path in folder.glob(".*"):
        found = _STALE.match(path.name)
        if not found or name not in ("", found["name"]) or _alive(found["pid"]):
            continue
        _remove(path)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def locked(target: Path) -> FileLock:
    """A lock between processes for making `target`: `with locked(path): ...`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(str(target.parent / f".{target.name}.lock"))


def stage_folder(name: str, key: Any) -> Path:
    """Folder of a content-addressed stage: `KOMT_HOME/stages/NAME-HASH`, HASH being that of the key."""
    return home() / "stages" / f"{name}-{hash_of(key)[:16]}"
