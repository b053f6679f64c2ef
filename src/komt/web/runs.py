"""Run folders that the page may show: those below one folder, and one named at the start; read only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Part = Literal["data", "training", "scores"]
_MARKS: dict[Part, tuple[str, ...]] = {
    "data": ("data/manifest.json", "manifest.json"),
    "training": ("train/log.jsonl",),
    "scores": ("report/scores.json",),
}


# What reading a file brings that holds JSON of another shape than komt writes, or none, or half of it.
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Unreadable(Exception):
    """Something of a run cannot be shown.

    Attributes:
        key: of the words that say so; values: what is filled into them.
    """

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key, self.values = key, values


@dataclass(frozen=True)
class Runs:
    """The runs below a folder.

    Attributes:
        root: holds a folder a run; it need not exist.
        others: further runs by name.
    """

    root: Path
    others: Mapping[str, Path] = field(default_factory=dict)

    def names(self, part: Part) -> list[str]:
        """The runs that have this part, the latest first."""
        found = {name: mark for name, folder in self._folders().items() if (mark := _mark(folder, part))}
        return sorted(found, key=lambda name: (-found[name].stat().st_mtime, name))

    def file(self, name: str | None, part: Part) -> Path:
        """The file that shows a run to have this part. A name is looked up, never made into a path.

        Raises:
            Unreadable: no such run, or it has no such part.
        """
        folder = self._folders().get(name or "")
        if folder is None:
            raise Unreadable("runs.unknown", name=name or "–", root=self.root)
        mark = _mark(folder, part)
        if mark is None:
            raise Unreadable(f"runs.no_{part}", name=name)
        return mark

    def _folders(self) -> dict[str, Path]:
        try:
            below = {path.name: path for path in self.root.iterdir() if path.is_dir()}
        except OSError:
            below = {}
        return {**{name: path for name, path in below.items() if not name.startswith(".")}, **self.others}


def _mark(folder: Path, part: Part) -> Path | None:
    try:
        return next((folder / name for name in _MARKS[part] if (folder / name).is_file()), None)
    except OSError:
        return None


@dataclass(frozen=True)
class Stamp:
    """A file as it is now: when it changes, what was read of it is read again."""

    path: Path
    time_ns: int
    size_bytes: int


def stamp(path: Path) -> Stamp:
    """The stamp of a file.

    Raises:
        Unreadable: it is gone, or may not be read.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise Unreadable("runs.unreadable", path=path.name, why=error.strerror or str(error)) from error
    return Stamp(path, about.st_mtime_ns, about.st_size)
