"""Tiny models and their GGUF files, each made once for all tests: the converter takes seconds to start."""

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
    folder = tiny_model_folder(place / "model", family, kind)
    return folder, convert(folder, place / "gguf" / "작은-F16.gguf", name="작은 모델")


def copy_of(file, folder):
    """A file that a test may change."""
    return Path(shutil.copy(file, folder / file.name))
