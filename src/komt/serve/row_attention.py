"""Attention over one long cached row of many streams: each part of it sees only the columns it needs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from komt.errors import ModelError

NAME = "komt_row"
_STATE = threading.local()


@dataclass
class Part:
    """Queries that stand side by side in the row, and the cached columns that they see.

    Attributes:
        queries: their places among the queries.
        columns: ascending, (U,): the columns that any of them sees; a slice where they are contiguous.
        masks: boolean (Q, U) by the marker of a layer's kind, or None where every query sees every column.
    """

    queries: slice
    columns: Tensor | slice
    masks: dict[int, Tensor | None]
    _folded: dict[tuple[int, int], Tensor | None] = field(default_factory=dict)

    def take(self, cached: Tensor) -> Tensor:
        """The part's columns of keys or values, (1, groups, U, width)."""
        if isinstance(self.columns, slice):
            return cached[:, :, self.columns]
        return cached.index_select(2, self.columns)

    def mask(self, marker: int, repeats: int) -> Tensor | None:
        """The mask for queries of `repeats` heads, folded into one dimension, (repeats * Q, U)."""
        key = (marker, repeats)
        if key not in self._folded:
            mask = self.masks[marker]
            self._folded[key] = None if mask is None else mask.repeat(repeats, 1)
        return self._folded[key]


@dataclass
class Plan:
    """What one forward pass attends to.

    Attributes:
        parts: covering all queries, in their order.
        markers: what the model is given as `attention_mask`, a tensor or a dict of them by layer type; by
            which of them a layer brings, its mask is chosen.
        calls: how many layers have asked.
    """

    parts: list[Part]
    markers: Any
    calls: int = 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor, marker: int, scaling: float | None) -> Tensor:
        """What `row_attention` gives for one layer, (1, Q, heads, width)."""
        _, heads, queries, width = query.shape
        groups = key.shape[1]
        repeats = heads // groups
        found = query.new_empty(1, groups, repeats, queries, value.shape[-1])
        grouped = query.view(1, groups, repeats, queries, width)
        for part in self.parts:
            asked = grouped[:, :, :, part.queries]
            folded = torch.nn.functional.scaled_dot_product_attention(
                asked.reshape(1, groups, -1, width),
                part.take(key),
                part.take(value),
                attn_mask=part.mask(marker, repeats),
                scale=scaling,
            )
            found[:, :, :, part.queries] = folded.view(1, groups, repeats, asked.shape[3], -1)
        return found.view(1, heads, queries, -1).transpose(1, 2)


class Attending(Protocol):
    """What decides whom each query of a forward pass sees; `calls`: how many layers have asked."""

    calls: int

    def attend(self, query: Tensor, key: Tensor, value: Tensor, marker: int, scaling: float | None) -> Tensor:
        """One layer's attention, (1, Q, heads, width); `marker` is the id of the mask the layer was given."""


def new_markers(masks: Any) -> Any:
    """Stand-ins of the same form as `masks` (a tensor or a dict of tensors), all distinct."""
    if isinstance(masks, dict):
        return {kind: torch.empty(1, 1, 0, 0, dtype=torch.bool) for kind in masks}
    return torch.empty(1, 1, 0, 0, dtype=torch.bool)


def by_marker(markers: Any, masks: Any) -> dict[int, Tensor | None]:
    """Masks (1, 1, Q, U) as `Part.masks`, None for those that hide nothing."""
    pairs = (
        [(markers[kind], masks[kind]) for kind in markers] if isinstance(masks, dict) else [(markers, masks)]
    )
    return {id(marker): None if bool(mask.all()) else mask[0, 0] for marker, mask in pairs}


@contextlib.contextmanager
def attending(model: Any, plan: Attending) -> Iterator[None]:
    """In the block the model's layers attend as the plan says.

    Raises:
        ModelError: the model does not attend by the function it is given, so nothing could confine it.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, row_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    config = model.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation, _STATE.plan = NAME, plan
    try:
        yield
    finally:
        config._attn_implementation, _STATE.plan = before, None
    if not plan.calls:
        raise ModelError("the model's own attention cannot be replaced")


def row_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers calls for each layer: every part's queries over the part's columns.

    Heads that share keys are folded into the queries, so that keys are not repeated for them.

    Args:
        module: the layer's attention.
        query: (1, heads, Q, width).
        key: the whole cache, (1, groups, K, width).
        value: as key.
        attention_mask: a marker of the plan.
        scaling: of the scores, default 1 / sqrt(width).
        kwargs: what other kernels take.

    Returns:
        (1, Q, heads, width), and None for the weights.
    """
    plan: Attending = _STATE.plan
    plan.calls += 1
    return plan.attend(query, key, value, id(attention_mask), scaling), None


def new_cache() -> Any:
    """An empty cache for a row: it grows in place, and columns can be dropped from it."""
    from transformers.cache_utils import Cache, DynamicLayer

    class RowLayer(DynamicLayer):  # type: ignore[misc]
        """Keys and values with room to grow, so that a step does not copy all there is."""

        def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self.size = 0
                self.room = [_empty(key_states, 256), _empty(value_states, 256)]
            start, self.size = self.size, self.size + key_states.shape[2]
            if self.size > self.room[0].shape[2]:
                self.room = [_grown(held, start, self.size * 5 // 4 + 256) for held in self.room]
            for held, new in zip(self.room, (key_states, value_states), strict=True):
                held[:, :, start : self.size] = new
            return self._show()

        def keep(self, columns: Tensor) -> None:
            """Drop all other columns."""
            self.size = len(columns)
            for held in self.room:
                held[:, :, : self.size] = held.index_select(2, columns)
            self._show()

        def cut(self, size: int) -> None:
            """Drop the columns from `size` on."""
            if self.is_initialized and self.size > size:
                self.size = size
                self._show()

        def _show(self) -> Any:
            self.keys, self.values = (held[:, :, : self.size] for held in self.room)
            return self.keys, self.values

    return Cache(layer_class_to_replicate=RowLayer)


def _empty(like: Tensor, size: int) -> Tensor:
    return like.new_empty(1, like.shape[1], size, like.shape[3])


def _grown(held: Tensor, used: int, size: int) -> Tensor:
    room = _empty(held, size)
    room[:, :, :used] = held[:, :, :used]
    return room
