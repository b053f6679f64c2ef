"""Attention masks for packed tries, in the form each model family takes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from komt.errors import ModelError

_WINDOWED, _FULL = "sliding_attention", "full_attention"


def trie_visibility(ends: Tensor) -> Tensor:
    """Which node sees which: `k <= q < ends[k]`.

    Args:
        ends: subtree ends, (T,).

    Returns:
        Boolean (T, T), True where query (row) sees key (column).
    """
    place = torch.arange(len(ends), device=ends.device)
    return (place[None, :] <= place[:, None]) & (place[:, None] < ends[None, :])


def attention_masks(config: Any, visible: Tensor, queries: Tensor, keys: Tensor) -> Any:
    """What to give a model as `attention_mask`, sliding windows included.

    A window is a distance in positions along a path, never in places of the packed row.

    Args:
        config: the model's configuration.
        visible: boolean (Q, K).
        queries: positions of the queries, (Q,).
        keys: positions of the keys, (K,).

    Returns:
        A boolean (1, 1, Q, K) tensor, or a dict of them by layer type.

    Raises:
        ModelError: the model has layers that no mask can confine (recurrent or linear attention, chunks).
    """
    config = config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if unknown := kinds - {_WINDOWED, _FULL}:
        raise ModelError(
            f"layers of type {', '.join(sorted(unknown))} cannot be confined by an attention mask"
        )
    full = visible[None, None]
    slides = _WINDOWED in kinds if kinds else getattr(config, "use_sliding_window", True)
    if not window or not slides:
        return full
    if not len(queries) or int(queries.max()) < int(window or 0):
        return {_FULL: full, _WINDOWED: full} if kinds else full  # no path is longer than the window
    windowed = full & (queries[:, None] - keys[None, :] < window)
    return {_FULL: full, _WINDOWED: windowed} if kinds else windowed
