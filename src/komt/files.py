"""Files: where things live, hashes, writes that appear whole or not at all."""

from __future__ import annotations

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
from typing import Any

from filelock import FileLock

from komt.errors import UsageError


def home() -> Path:
    """Models, fetched data and stages live here: KOMT_HOME, default ~/.cache/komt."""
    return Path(os.environ.get("KOMT_HOME") or "~/.cache/komt").expanduser()


def data_root() -> Path:
    """Source files are looked for here, read-only: KOMT_DATA, default KOMT_HOME/data."""
    return Path(os.environ.get("KOMT_DATA") or home() / "data").expanduser()


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
