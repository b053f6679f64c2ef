"""Tiny models and their GGUF files, each made once for all tests: the converter takes seconds to start."""

import atexit
import json
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from komt.export.gguf_convert import convert
from komt.testing import tiny_model_folder


@lru_cache(maxsize=8)
def converted(family, kind="bytes"):
    """(model folder, its file in 16 bits): to be read, not changed."""
    place = Path(tempfile.mkdtemp(prefix="komt-converted-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    folder = tiny_model_folder(place / "model", family, kind)
    as_in_llama_cpp(folder)
    return folder, convert(folder, place / "gguf" / "작은-F16.gguf", name="작은 모델")


def as_in_llama_cpp(folder):
    """Windows as llama.cpp has them: none in Mistral, in Gemma 3 in all layers but each sixth."""
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    if kind == "mistral":
        configure(folder, sliding_window=None)
    if kind == "gemma3_text":
        configure(folder, layer_types=["sliding_attention"] * 3)


def configure(folder, **settings):
    """Change a model's configuration."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, **settings}), encoding="utf-8")


def copy_of(file, folder):
    """A file that a test may change."""
    return Path(shutil.copy(file, folder / file.name))
