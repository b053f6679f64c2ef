"""Every set of AI Hub and KISTI in small, with its quirks, as `komt sources import` leaves it.

`write_all(root)` writes them all below a data folder. `SETS[name]()` gives a set's files as {name in the
download: content}, for tests that look at one shape.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import aihub_qa_files
import aihub_summary_files
import aihub_talk_files
import kisti_files
from aihub_texts import Files

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
