"""From a MODEL as a person names it to an engine."""

from __future__ import annotations

from typing import Literal

from komt.models.load import load_model, load_tokenizer
from komt.models.resolve import resolve
from komt.serve.transformers_engine import TransformersEngine


def load_engine(
    name: str, bits: Literal[4, 8, 16, 32] = 16, *, remote_code: bool = False
) -> TransformersEngine:
    """Load a model and its tokenizer.

    Args:
        name: catalogue name, hub id, or folder (model, adapter or run).
        bits: how the base's weights are held.
        remote_code: whether the model's own Python code may run.

    Raises:
        UsageError: no such model. ModelError: it cannot be loaded.
    """
    place = resolve(name, remote_code=remote_code)
    return TransformersEngine(load_model(place, bits), load_tokenizer(place))
