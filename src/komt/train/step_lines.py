"""Files of JSON Lines that belong to steps: a resumed run writes again what came after its checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from komt.files import write_atomic


class StepLines:
    """A file of lines with a `step` each.

    Args:
        path: lines after step `start` (of a run that was killed) are removed; no line left: the file too.
        start: steps already done.
    """

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        if not path.is_file():
            return
        kept = [line for line in whole_lines(path) if line["step"] <= start] if start else []
        if kept:
            write_atomic(path, "".join(map(_text, kept)))
        else:
            path.unlink()

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append lines in one write, and flush them to the disk: no checkpoint is newer than they are."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(map(_text, lines)))
            file.flush()
            os.fsync(file.fileno())


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of such a file, if it is there, up to one that a kill cut short."""
    lines: list[dict[str, Any]] = []
    if not path.is_file():
        return lines
    # Split at \n only: str.splitlines() would also split at U+0085 or U+2028 inside an answer.
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"
