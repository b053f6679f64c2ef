"""Files: where things live, text in whatever encoding, writes that appear whole or not at all."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from komt.errors import DataError


def home() -> Path:
    """Models, fetched data and stages live here: KOMT_HOME, default ~/.cache/komt."""
    return Path(os.environ.get("KOMT_HOME") or "~/.cache/komt").expanduser()


def data_root() -> Path:
    """Source files are looked for here, read-only: KOMT_DATA, default KOMT_HOME/data."""
    return Path(os.environ.get("KOMT_DATA") or home() / "data").expanduser()


_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def sniff_encoding(data: bytes) -> str:
    """The encoding of a Korean text file: a BOM decides, else UTF-8 if it decodes, else CP949.

    Returns:
        A Python codec name, or "" when the bytes are neither.
    """
    for bom, name in _BOMS:
        if data.startswith(bom):
            return name
    for name in ("utf-8", "cp949"):
        with contextlib.suppress(UnicodeDecodeError):
            data.decode(name)
            return name
    return ""


def read_text(path: Path, encoding: str = "") -> str:
    """The text of a file; with no encoding given, UTF-8, BOMs and CP949 are recognised.

    Raises:
        DataError: missing, a folder, empty, or undecodable (with the byte offset).
    """
    if not path.is_file():
        if path.is_dir():
            raise DataError(f"a folder, not a file: {path}", cure="name a file in it")
        raise DataError(
            f"no such file: {path}",
            cure="check the path" + ("" if path.is_absolute() else f"; it is looked for in {Path.cwd()}"),
        )
    data = path.read_bytes()
    if not data.strip():
        raise DataError("the file is empty", where=str(path), cure="write into it, or name another file")
    codec = encoding or sniff_encoding(data) or "utf-8"
    try:
        return data.decode(codec)
    except LookupError as error:
        raise DataError(
            f"unknown encoding '{codec}'",
            where=str(path),
            cure="name one such as utf-8, cp949 or utf-16, or none: these are recognised",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"not {codec} text: byte 0x{data[error.start]:02x} cannot be decoded",
            where=f"{path}, byte {error.start}",
            cure="name the file's encoding (such as cp949 or utf-16), or save it as UTF-8",
        ) from error


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def hash_of(value: Any) -> str:
    """Hex SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that it appears whole or not at all, even on power loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.staged-*"):
        if not _alive(stale.name.rpartition("-")[2]):
            shutil.rmtree(stale, ignore_errors=True)
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
    """Rename a folder into place; a former one is moved aside first and then removed."""
    old = target.parent / f".{target.name}.old-{os.getpid()}"
    if target.exists():
        target.rename(old)
    staged.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
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
