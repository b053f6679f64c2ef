"""Attention masks for packed tries, in the form each model family takes them."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor

from komt.errors import ModelError

WINDOWED, FULL = "sliding_attention", "full_attention"


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
        keys: positions of the keys, (K,), or (Q, K) where each query has keys of its own.

    Returns:
        A boolean (1, 1, Q, K) tensor, or a dict of them by layer type.

    Raises:
        ModelError: the model has layers that no mask can confine (recurrent or linear attention, chunks).
    """
    window, by_kind = window_of(config)
    full = visible[None, None]
    if not window:
        return full
    if not len(queries) or int(queries.max()) < window:
        return {FULL: full, WINDOWED: full} if by_kind else full  # no path is longer than the window
    windowed = full & (queries[:, None] - keys[None] < window)
    return {FULL: full, WINDOWED: windowed} if by_kind else windowed


def window_of(config: Any) -> tuple[int, bool]:
    """Positions in a model's sliding window, 0 where none slides; whether masks are given by layer type.

    Raises:
        ModelError: the model has layers that no mask can confine (recurrent or linear attention, chunks).
    """
    config = config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if unknown := unconfined_layers(config):
        raise ModelError(f"layers of type {', '.join(unknown)} cannot be confined by an attention mask")
    slides = WINDOWED in kinds if kinds else getattr(config, "use_sliding_window", _may_slide(type(config)))
    return (int(window) if window and slides else 0), bool(kinds)


def _may_slide(kind: type) -> bool:
    """Whether models of a configuration's class know windows; a config.json may name one to no effect."""
    return hasattr(kind, "sliding_window") or "sliding_window" in signature(kind).parameters


def unconfined_layers(config: Any) -> list[str]:
    """Types of layers that no mask confines: recurrent or linear attention, convolutions, chunks."""
    kinds = getattr(config.get_text_config(), "layer_types", None) or ()
    return sorted(set(kinds) - {WINDOWED, FULL})


def boundaries(ends: Tensor, positions: Tensor) -> dict[str, Tensor | int] | None:
    """Where separate sequences of a packed row begin and end, as transformers' recurrent layers take it.

    Args:
        ends: subtree ends, (T,).
        positions: position ids, (T,).

    Returns:
        `seq_idx` (1, T), `cu_seq_lens_q` and `_k` (sequences + 1,), `max_length_q` and `_k`; None if tokens
        are shared: these layers hand on one state only.
    """
    starts = torch.nonzero(positions == 0)[:, 0]
    limits = torch.cat([starts, starts.new_tensor([len(ends)])])
    lengths = limits.diff()
    if not torch.equal(ends, limits[1:].repeat_interleave(lengths)):
        return None
    index = torch.arange(len(starts), device=ends.device).repeat_interleave(lengths)
    limits, longest = limits.int(), int(lengths.max())
    return {
        "seq_idx": index.int()[None],
        "cu_seq_lens_q": limits,
        "cu_seq_lens_k": limits,
        "max_length_q": longest,
        "max_length_k": longest,
    }
