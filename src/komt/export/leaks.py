"""Paths of this machine in files that leave it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from komt.export.gates import Gate
from komt.files import home
from komt.models.place import Place

# Weights come after the header, and hold no text.
_HEAD_BYTES = 64 << 20
_WEIGHTS = {".safetensors", ".gguf"}


def leak_gate(place: Place, folder: Path) -> Gate:
    """No file of an exported folder names a folder of this machine."""
    found = leaks(folder, _private(place, folder))
    return Gate(
        "paths of this machine in the files",
        not found,
        "; ".join(f"{name}: {path}" for name, path in found) or "none",
        "none",
    )


def leaks(folder: Path, private: Iterable[Path]) -> list[tuple[str, str]]:
    """Files below a folder that hold one of the paths: (file's name, path), each once.

    Paths of a single part, as `/root`, are no sign of a leak: vocabularies hold such words.
    """
    needles = {str(path) for path in private if len(path.parts) > 2}
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            data = file.read(_HEAD_BYTES if path.suffix in _WEIGHTS else -1)
        for needle in sorted(needles):
            written = {needle.encode(), json.dumps(needle)[1:-1].encode()}  # JSON may escape Hangul
            if any(form in data for form in written):
                found.append((path.name, needle))
    return found


def _private(place: Place, folder: Path) -> set[Path]:
    paths = {place.folder, folder, folder.parent, Path.cwd(), Path.home(), home()}
    if place.adapter:
        paths |= {place.adapter, place.adapter.parent.parent}
    return paths | {path.resolve() for path in paths}
