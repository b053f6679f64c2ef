"""What a model's answers depend on beside the prompt, as a key of the record."""

from __future__ import annotations

import re
from pathlib import Path

from komt.files import hash_of
from komt.models.resolve import resolve
from komt.models.template import KOMT_TEMPLATE
from komt.sources import file_hash

_DAY_S = 86_400.0
# Raised when the same model would answer otherwise, so that older answers are not taken.
VERSION = 2


def model_key(name: str, bits: int, engine: str = "auto", *, remote_code: bool = False) -> str:
    """A key of weights, adapter, chat template, precision and engine.

    Args:
        name: catalogue name, hub id, folder, GGUF file or address; of an address only its text counts.
        bits: of the base's weights, by transformers.
        engine: auto, transformers, llama.cpp or vllm.
        remote_code: whether the model's own Python code may run.

    Raises:
        UsageError: no such model. ModelError: it cannot be used.
    """
    if re.match(r"https?://", name):
        return hash_of(["address", name, VERSION])
    if name.endswith(".gguf"):
        return hash_of(["gguf", file_hash(Path(name).expanduser()), KOMT_TEMPLATE, VERSION])
    place = resolve(name, remote_code=remote_code)
    by = "transformers" if engine == "auto" else engine
    return hash_of([place.revision, place.template, KOMT_TEMPLATE, bits, by, VERSION])


def kept_seconds(name: str) -> float:
    """How long an answer stays good; 0: always. Nobody knows what stands behind an address tomorrow."""
    return _DAY_S if re.match(r"https?://", name) else 0.0
