"""The one error family. A message says what happened, where, and what to do.

KomtError            exit status 1: the work failed
├── UsageError       exit status 2: the command or recipe is wrong
├── DataError        a file, a row, an answer
├── ModelError       a model, a tokenizer, a checkpoint
└── MissingExtra     an optional dependency is not installed
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

# Of known names an error prints no more.
_MOST_NAMES = 40


class KomtError(Exception):
    """What happened, where (file, line, row, key), and what to do about it."""

    exit_status = 1

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.cure = what, where, cure

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.cure:
            lines.append(f"  to mend it: {self.cure}")
        return "\n".join(lines)


class UsageError(KomtError):
    """The command line or the recipe is wrong; nothing was started."""

    exit_status = 2


class DataError(KomtError):
    """A data file, row or answer is not what it must be."""


class ModelError(KomtError):
    """A model, tokenizer, adapter or checkpoint cannot be used."""


class MissingExtra(KomtError):
    """An optional dependency is not installed."""


def need(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

    Raises:
        MissingExtra: with the pip command that cures it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"the package '{module}' is not installed ({error})", cure=f"pip install 'komt[{extra}]'"
        ) from error


def one_line(error: Exception) -> str:
    """What a library's error says, in one line: its first one, with the next where that ends in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines or isinstance(error, KeyError):
        return f"{type(error).__name__}{': ' if lines else ''}{lines[0] if lines else ''}"
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def known_names(names: Iterable[str], command: str) -> str:
    """Return `known: a, b, c`, or where there are too many to read, the command that prints them."""
    known = sorted(names)
    return (
        f"known: {', '.join(known)}" if len(known) <= _MOST_NAMES else f"`{command}` prints all {len(known)}"
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
