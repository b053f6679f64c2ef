"""Bring: what a person has downloaded, put where the source's reader looks for it (`komt sources import`).

A source with `import:` patterns gets one zip a split, made of the files that the patterns name; any other
gets its files as they are, found by name or checksum. Everything is written beside its place, read once by
the source's reader, and only then renamed: nothing half-written or unreadable ever counts as present.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from komt.errors import DataError, UsageError
from komt.files import data_root
from komt.sources.fetch import Onlooker
from komt.sources.read import read_rows
from komt.sources.readers import Rejected
from komt.sources.source import Source, SourceFile, place
from komt.sources.writing import alone, not_writable, refuse_read_only

State = Literal["imported", "added to", "replaced", "present"]


@dataclass
class Ignored:
    """What was not taken, by reason: how many files, and some of their names."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """One more."""
        self.counts[reason] += 1
        names = self.examples.setdefault(reason, [])
        if len(names) < 5:
            names.append(name)


@dataclass(frozen=True)
class Staged:
    """A file that is ready to be renamed into its place.

    Attributes:
        path: its path in the source.
        file: where it lies until then; None where the one that is here stays.
        files: how many files of the download are in it.
    """

    path: str
    file: Path | None
    files: int
    added: bool = False


@dataclass(frozen=True)
class Brought:
    """What became of one file of the source; `bytes` is its size, `files` as in Staged."""

    path: str
    place: Path
    state: State
    files: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Import:
    """What was taken and what not, what is still missing, and rows and rejected rows by split."""

    brought: tuple[Brought, ...]
    ignored: Ignored
    missing: tuple[str, ...]
    rows: dict[str, int]
    rejected: dict[str, dict[str, int]]

    def as_json(self) -> dict[str, Any]:
        """The values, for a program."""
        files = [{**asdict(item), "place": str(item.place)} for item in self.brought]
        return {
            "files": files,
            "rows": self.rows,
            "rejected": self.rejected,
            "ignored": dict(self.ignored.counts),
            "missing": list(self.missing),
        }


@dataclass(frozen=True)
class Wish:
    """What is asked for: the paths given, and how to treat what is here.

    Attributes:
        split: the split of everything that is given, where no folder's name says it.
        force: replace what is here.
        add: add to what is here.
    """

    paths: tuple[Path, ...]
    split: str = ""
    force: bool = False
    add: bool = False


def bring(source: Source, wish: Wish, onlooker: Onlooker | None = None) -> Import:
    """Take over what was downloaded.

    Raises:
        DataError: nothing fits; a broken or unsafe archive; another version; no space; rows that the reader
            cannot read.
        UsageError: options that do not fit the source.
    """
    from komt.sources.bring_files import stage_files
    from komt.sources.bring_zips import stage_zips

    _refuse_wish(source, wish)
    onlooker = onlooker or Onlooker()
    ignored = Ignored()
    with _room(data_root() / (source.folder or source.name), onlooker) as room:
        stage = stage_zips if source.imports else stage_files
        staged = stage(source, wish, room, ignored, onlooker)
        for item in staged:
            if item.file:
                refuse_read_only(place(source, item.path))
        rows, rejected = _count(source, staged, onlooker)
        brought = tuple(_put(source, item) for item in staged)
    paths = dict.fromkeys(path for file in source.files for path, _ in file.paths)
    missing = tuple(path for path in paths if not place(source, path).is_file())
    return Import(brought, ignored, missing, rows, rejected)


def _refuse_wish(source: Source, wish: Wish) -> None:
    if source.bundled:
        raise DataError(f"the files of '{source.name}' come with komt: there is nothing to import")
    if wish.force and wish.add:
        raise UsageError("--force replaces, --add adds: not both")
    if not source.imports and (wish.split or wish.add):
        raise UsageError(
            f"--split and --add are for sources with import patterns; '{source.name}' has files of its own"
        )
    if wish.split and wish.split not in source.imports:
        raise UsageError(
            f"'{source.name}' has no split '{wish.split}'", cure=f"it has: {', '.join(source.imports)}"
        )


@contextlib.contextmanager
def _room(folder: Path, onlooker: Onlooker) -> Iterator[Path]:
    """A folder on the same disk to write into, for one import of this source at a time."""
    with contextlib.ExitStack() as stack:
        try:
            refuse_read_only(folder / ".import")
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_empty, folder)  # nothing is left of an import that failed
            waiting = "another komt imports the same source; waiting until it has finished"
            stack.enter_context(alone(folder, lambda: onlooker.tell(waiting)))
            for left in folder.glob(".import-*"):  # by an import that was killed
                shutil.rmtree(left, ignore_errors=True)
            room = stack.enter_context(tempfile.TemporaryDirectory(prefix=".import-", dir=folder))
        except OSError as error:
            raise not_writable(folder, error) from error
        try:
            yield Path(room)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise DataError(
                "no space left on the disk; what was written has been removed",
                where=str(folder),
                cure="free some space, or point KOMT_DATA or KOMT_HOME to another disk",
            ) from error


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def need_space(room: Path, bytes_: int) -> None:
    """Do nothing where the disk has room for so many bytes.

    Raises:
        DataError: it has not.
    """
    free = shutil.disk_usage(room).free
    if bytes_ > free:
        raise DataError(
            f"not enough space: about {bytes_ / 1e6:,.1f} MB are needed, {free / 1e6:,.1f} MB are free",
            where=str(room.parent),
            cure="free some space, or point KOMT_DATA or KOMT_HOME to another disk",
        )


def _count(
    source: Source, staged: Sequence[Staged], onlooker: Onlooker
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Rows, and rejected rows by reason, of every split that the staged files belong to.

    Raises:
        DataError: a split without a usable row, or what the reader says of a broken file.
    """
    new = {item.path: item.file for item in staged if item.file}
    copy = source.model_copy(
        update={"hold_out": 0.0, "files": tuple(_at(source, f, new) for f in source.files)}
    )
    rows: dict[str, int] = {}
    rejected: dict[str, dict[str, int]] = {}
    for split in dict.fromkeys(file.split for file in source.files):
        paths = {path for file in source.files if file.split == split for path, _ in file.paths}
        if not paths & new.keys() or not all(path in new or place(source, path).is_file() for path in paths):
            continue
        watch, reasons = onlooker.begin(f"reading {split}"), Counter[str]()
        for count, row in enumerate(read_rows(copy, split), start=1):
            rows[split] = count
            if isinstance(row, Rejected):
                reasons[row.reason] += 1
            if count % 1000 == 0:
                watch(count, 0)
        rejected[split] = dict(reasons.most_common())
        if rows.get(split, 0) == reasons.total():
            told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
            raise DataError(
                f"the {split} files hold no usable row" + (f" (rejected: {told})" if told else ""),
                cure=f"check that they are those of '{source.name}' ({source.title})",
            )
    return rows, rejected


def _at(source: Source, file: SourceFile, new: dict[str, Path]) -> SourceFile:
    """The file entry as it reads what is staged, and the rest from where it is."""

    def at(path: str) -> str:
        return str(new.get(path) or place(source, path).absolute())

    beside = file.beside
    if not file.member:
        beside = tuple(item.model_copy(update={"path": at(item.path)}) for item in file.beside)
    return file.model_copy(update={"path": at(file.path), "beside": beside})


def _put(source: Source, staged: Staged) -> Brought:
    from komt.sources.source import file_hash

    target = place(source, staged.path)
    state: State = "present"
    if staged.file:
        before = file_hash(target) if target.is_file() else ""
        same = before == file_hash(staged.file)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.file.replace(target)
        state = ("added to" if staged.added else "present" if same else "replaced") if before else "imported"
    return Brought(staged.path, target, state, staged.files, target.stat().st_size, file_hash(target))
