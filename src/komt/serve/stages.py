"""GGUF files of models that are folders: made once, kept under KOMT_HOME/stages."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from komt.files import locked, stage_folder, staged_folder
from komt.models.place import Place

# Raised when the same model would give another file, so that older ones are made anew.
VERSION = 1


def gguf_of(place: Place) -> Path:
    """A model as an f16 GGUF file, its adapter merged; made when it is first asked for.

    Raises:
        MissingExtra: the packages of the extra `export` are not installed.
        ModelError: a family that llama.cpp does not know.
    """
    target = stage_folder("gguf", [place.revision, place.template, VERSION])
    file = target / "model-F16.gguf"
    with locked(target):
        if not file.is_file():
            from komt.export.gguf_convert import convert
            from komt.export.merge import merge

            _say(f"converting {place.name} for llama.cpp (once)")
            with staged_folder(target) as staged:
                merged = merge(place, staged / "merged", "fp32")
                convert(merged, staged / file.name, "f16")
                for path in merged.iterdir():
                    path.unlink()
                merged.rmdir()
    return file


def lora_gguf_of(base: Place, adapter: Path) -> Path:
    """A LoRA adapter's folder as a GGUF adapter of a base; made when it is first asked for.

    Raises:
        MissingExtra: the packages of the extra `export` are not installed.
        ModelError: an adapter that llama.cpp cannot apply.
    """
    revision = replace(base, adapter=adapter).revision
    target = stage_folder("gguf-lora", [revision, VERSION])
    file = target / "lora-F16.gguf"
    with locked(target):
        if not file.is_file():
            from komt.export.lora_gguf import convert_lora

            _say(f"converting the adapter {adapter.name} for llama.cpp (once)")
            with staged_folder(target) as staged:
                convert_lora(adapter, base.folder, staged / file.name)
    return file


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
