"""Part files: a piece of a stage's output, written whole or not at all, so that a killed build goes on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from komt.files import locked, write_atomic

_META = b"komt"
DONE = "stage.json"


def write_part(path: Path, table: pa.Table, about: dict[str, Any]) -> None:
    """Write a Parquet file with something about it in its metadata; renamed into place when it is on disk."""
    text = json.dumps(about, ensure_ascii=False, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staged.open("wb") as file:
            marked = table.replace_schema_metadata({_META: text.encode()})
            # Almost no two texts are equal: looking for equal ones takes a third of the time, for nothing.
            pq.write_table(
                marked,
                file,
                compression="zstd",
                compression_level=1,
                use_dictionary=False,
                write_statistics=False,
            )
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def about_part(path: Path) -> dict[str, Any]:
    """What `write_part` was told about a part."""
    metadata = pq.read_schema(path).metadata or {}
    return dict(json.loads(metadata[_META]))


@contextlib.contextmanager
def unfinished(stage: Path) -> Iterator[Path]:
    """The folder in which a stage's parts gather; it becomes `stage` when the block ends without an error.

    Unlike a staged folder it stays when the process is killed, and the next run finds the finished parts.
    One process at a time works on a stage; whoever waited finds it done: the block must ask `is_done`.
    """
    with locked(stage):
        folder = stage.parent / f".{stage.name}.parts"
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.rglob(".*"):
            stale.unlink(missing_ok=True)
        yield folder
        if is_done(stage):
            _remove(folder)
            return
        _remove(stage)
        folder.rename(stage)


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder of finished pieces that goes when the block ends, and stays for the next run when it fails."""
    with locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder; where the process is killed meanwhile, no part of it is left under its name."""
    old = folder.parent / f".{folder.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)


def finish(folder: Path, about: dict[str, Any]) -> None:
    """Mark a stage's folder as complete."""
    write_atomic(folder / DONE, json.dumps(about, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def is_done(stage: Path) -> bool:
    """Whether a stage is complete."""
    return (stage / DONE).is_file()


def about_stage(stage: Path) -> dict[str, Any]:
    """What `finish` was told."""
    return dict(json.loads((stage / DONE).read_text(encoding="utf-8")))
