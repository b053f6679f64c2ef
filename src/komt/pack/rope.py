"""Rotary embeddings whose frequencies go by the longest position that is computed together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def goes_by_length(config: Any, longest: int) -> str:
    """Why sequences must not be computed together, where one has `longest` tokens; "" where they may.

    `longrope` (Phi 3.5 and 4) and `dynamic` turn all positions otherwise once one of them is beyond those
    that the model was first trained for: a short sequence beside a long one would differ from one alone.
    """
    text = config.get_text_config()
    # Code that comes with a model may know the older name only.
    for rope in _rotary(getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None)):
        kind = str(rope.get("rope_type") or rope.get("type") or "")
        if kind != "longrope" and "dynamic" not in kind:
            continue
        name = "original_max_position_embeddings"
        first = rope.get(name) or getattr(text, name, None) or text.max_position_embeddings
        if longest > first:
            return f"its rotary embedding ({kind}) changes beyond {first:,} tokens, and one has {longest:,}"
    return ""


def _rotary(parameters: Any) -> Iterator[dict[str, Any]]:
    """Parameters of every kind of layer."""
    if isinstance(parameters, dict):
        kinds = [one for one in parameters.values() if isinstance(one, dict)]
        yield from kinds or [parameters]
