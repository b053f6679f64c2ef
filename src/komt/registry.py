"""The one Registry: names to lazily loaded things (sources, tasks, models, readers, metrics)."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from komt.errors import KomtError, UsageError, did_you_mean, known_names

T = TypeVar("T")


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


class Registry(Generic[T]):
    """Named things of one kind, loaded on first use.

    Args:
        kind: what is registered, as a person calls it ("task", "reader").
        group: entry-point group through which installed plugin packages add things, or "".
    """

    def __init__(self, kind: str, group: str = "") -> None:
        self.kind, self._group = kind, group
        self._loaders: dict[str, Callable[[], T]] = {}
        self._loaded: dict[str, T] = {}
        self._origin: dict[str, str] = {}
        self._beside: tuple[Path, ...] = ()
        self._passed_over: dict[str, tuple[Path, str]] = {}

    def add(self, name: str, target: str) -> None:
        """Register `module:attribute` under a name; the module is imported on first use."""
        module, _, attribute = target.partition(":")

        def load() -> T:
            return cast(T, getattr(importlib.import_module(module), attribute))

        self._add(name, load, target)

    def add_folder(self, folder: Path, load: Callable[[Path], T]) -> None:
        """Register every `NAME.yaml` of a folder: the file's name is the key."""
        for path in sorted(folder.glob("*.yaml")):
            self._add(path.stem, lambda path=path: load(path), str(path))  # type: ignore[misc]

    def set_beside(self, paths: Iterable[Path], load: Callable[[Path], T], keys: Sequence[str] = ()) -> None:
        """Register YAML files that lie beside a recipe, instead of those that lay beside the last one.

        Args:
            paths: the files.
            load: reads one.
            keys: a file that has none of these keys is no business of komt's, and is passed over.

        Raises:
            KomtError: one has the name of something else that is registered.
        """
        self._read_entry_points()
        for path in self._beside:
            for known in (self._loaders, self._loaded, self._origin):
                known.pop(path.stem, None)
        self._beside, self._passed_over = (), {}
        has_key = re.compile(rf"^({'|'.join(keys)}):", re.MULTILINE)
        for path in paths:
            if keys and not has_key.search(_text(path)):
                self._passed_over[path.stem] = path, " nor ".join(f"`{key}:`" for key in keys)
                continue
            self._add(path.stem, lambda path=path: load(path), str(path))  # type: ignore[misc]
            self._beside += (path,)

    def _add(self, name: str, load: Callable[[], T], origin: str) -> None:
        if name in self._loaders:
            raise KomtError(
                f"the {self.kind} '{name}' is registered twice",
                where=f"{self._origin[name]} and {origin}",
                cure="rename one of them",
            )
        self._loaders[name], self._origin[name] = load, origin

    def names(self) -> list[str]:
        """All names, sorted; plugins included."""
        self._read_entry_points()
        return sorted(self._loaders)

    def get(self, name: str) -> T:
        """Return the thing of that name.

        Raises:
            UsageError: unknown name, with the nearest known one.
        """
        self._read_entry_points()
        if name not in self._loaders:
            if name in self._passed_over:
                path, keys = self._passed_over[name]
                raise UsageError(
                    f"unknown {self.kind} '{name}': the file of that name has neither {keys}",
                    where=str(path),
                    cure="check the spelling of its keys; each begins a line",
                )
            raise UsageError(
                f"unknown {self.kind} '{name}'{did_you_mean(name, self._loaders)}",
                cure=known_names(self._loaders, f"komt {self.kind}s list"),
            )
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]()
        return self._loaded[name]

    def __contains__(self, name: str) -> bool:
        self._read_entry_points()
        return name in self._loaders

    def _read_entry_points(self) -> None:
        group, self._group = self._group, ""
        if group:
            for point in entry_points(group=group):
                self._add(point.name, lambda point=point: cast(T, point.load()), point.value)  # type: ignore[misc]
