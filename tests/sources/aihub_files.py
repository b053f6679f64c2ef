"""Every set of AI Hub and KISTI in small, with its quirks, as `komt sources import` leaves it.

`write_all(root)` writes them all below a data folder. `SETS[name]()` gives a set's files as {name in the
download: content}, for tests that look at one shape.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aihub_qa_files
import aihub_summary_files
import aihub_talk_files
import kisti_files
from aihub_texts import Files

from komt.sources import Rejected, load_source, read_rows
from komt.sources.readers import READERS, Row

SETS: dict[str, Callable[[], Files]] = {
    name.replace("_", "-"): function
    for module in (aihub_qa_files, aihub_summary_files, aihub_talk_files, kisti_files)
    for name, function in vars(module).items()
    if name.startswith(("aihub_", "kisti_"))
}


def write_set(root: Path, name: str, split: str = "train") -> Path:
    """One set's files in `NAME/SPLIT.zip` below a data folder."""
    path = root / name / f"{split}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in SETS[name]().items():
            archive.writestr(member, content)
    return path


def write_all(root: Path) -> None:
    """Every set, as its train and as its dev split."""
    for name in SETS:
        for split in ("train", "dev"):
            write_set(root, name, split)


def rows_of(name: str) -> list[dict[str, Any] | Rejected]:
    """All rows of a set's train file."""
    source = load_source(name)
    held = list(read_rows(source, "test")) if source.hold_out else []
    return [*read_rows(source, "train"), *held]


def read(name: str, path: Path, value: Any, **options: Any) -> list[Row | Rejected]:
    """What a reader makes of a JSON value."""
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    reader = READERS.get(name)
    return list(reader.read(path, reader.options.model_validate(options)))


def values(items: list[Row | Rejected]) -> list[dict[str, Any]]:
    assert not [item for item in items if isinstance(item, Rejected)]
    return [item.values for item in items if isinstance(item, Row)]
