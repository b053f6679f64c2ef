"""Attention on a GPU for packed rows: FlexAttention over block masks made of subtree ends and positions.

A block mask costs tokens / 128 squared, not tokens squared, and nothing is computed of blocks that no query
sees. Rows are padded to whole blocks, and the kernel is compiled for any length, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from komt.pack.batch import Batch
from komt.pack.masks import FULL, WINDOWED, unconfined_layers, window_of

NAME = "komt_flex"
BLOCK_TOKENS = 128


def suits(model: Any) -> bool:
    """Whether a model may attend by FlexAttention: on CUDA, in place of SDPA without attention dropout."""
    config = model.config.get_text_config()
    return (
        next(model.parameters()).device.type == "cuda"
        and getattr(config, "_attn_implementation", None) in {"sdpa", NAME}
        and not getattr(config, "attention_dropout", 0)
        and not unconfined_layers(config)
        and not any(hasattr(module, "sinks") for module in model.modules())
    )


def use_flex(model: Any) -> None:
    """From now on the model attends to packed rows by FlexAttention, and to all else by SDPA.

    It stays so: under gradient checkpointing layers run again in the backward pass.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.config.get_text_config()._attn_implementation = NAME


def leave_flex(model: Any) -> None:
    """Back to SDPA."""
    if uses_flex(model):
        model.config.get_text_config()._attn_implementation = "sdpa"


def uses_flex(model: Any) -> bool:
    """Whether `use_flex` is in force."""
    return getattr(model.config.get_text_config(), "_attn_implementation", None) == NAME


def whole_blocks(batch: Batch) -> Batch:
    """The batch with its row filled up to whole blocks by tokens that see only themselves."""
    tokens = len(batch.ends)
    more = -tokens % BLOCK_TOKENS
    filled = torch.arange(tokens + 1, tokens + more + 1, device=batch.ends.device)
    pad = torch.nn.functional.pad
    return replace(
        batch,
        ids=pad(batch.ids, (0, more)),
        positions=pad(batch.positions, (0, more)),
        ends=torch.cat([batch.ends, filled]),
    )


def block_masks(config: Any, ends: Tensor, positions: Tensor) -> Any:
    """What `komt.pack.masks.attention_masks` says, as FlexAttention takes it.

    Args:
        config: the model's configuration.
        ends: subtree ends, (T,), T in whole blocks.
        positions: position ids, (T,).

    Returns:
        A BlockMask, or a dict of them by layer type.

    Raises:
        ModelError: the model has layers that no mask can confine.
    """
    window, by_kind = window_of(config)
    full = _block_mask(ends, positions, 0)
    if not window:
        return full
    if int(positions.max()) < window:
        return {FULL: full, WINDOWED: full} if by_kind else full
    windowed = _block_mask(ends, positions, window)
    return {FULL: full, WINDOWED: windowed} if by_kind else windowed


def _block_mask(ends: Tensor, positions: Tensor, window: int) -> Any:
    """Query q sees key k where k <= q < ends[k], and within the window, if there is one.

    Left of the diagonal a block of queries sees something of a block of keys exactly when the furthest of
    their ends lies beyond its first query, and all of it when the nearest lies beyond its last.
    """
    from torch.nn.attention.flex_attention import BlockMask

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = (key <= query) & (query < ends[key])
        return seen & (positions[query] - positions[key] < window) if window else seen

    blocks = ends.view(-1, BLOCK_TOKENS)
    number = torch.arange(len(blocks), device=ends.device)
    first = number * BLOCK_TOKENS
    left = number[None, :] < number[:, None]
    some = left & (blocks.amax(1)[None, :] > first[:, None])
    every = left & (blocks.amin(1)[None, :] >= first[:, None] + BLOCK_TOKENS)
    if window:
        place = positions.view(-1, BLOCK_TOKENS)
        every &= place.amax(1)[:, None] - place.amin(1)[None, :] < window
    # On the diagonal, and where windows cut, the mask itself decides.
    some = (some & ~every) | (number[None, :] == number[:, None])
    counts, indices = zip(_ordered(some), _ordered(every), strict=True)
    return BlockMask.from_kv_blocks(
        counts[0], indices[0], counts[1], indices[1], BLOCK_SIZE=BLOCK_TOKENS, mask_mod=sees
    )


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of each row are set, (1, 1, N), and their columns, those set first, (1, 1, N, N)."""
    columns = torch.argsort(blocks.to(torch.int8), dim=1, descending=True, stable=True)
    return blocks.sum(1, dtype=torch.int32)[None, None], columns.to(torch.int32)[None, None].contiguous()


@lru_cache(maxsize=1)
def _kernel(device: str) -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    kernel: Callable[..., Any] = flex_attention
    return torch.compile(kernel, dynamic=True) if device == "cuda" else kernel


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers calls for each layer: FlexAttention where it is given a block mask, else its SDPA.

    Args:
        module: the layer's attention.
        query: (1, heads, Q, width).
        key: (1, groups, K, width).
        value: as key.
        attention_mask: a BlockMask, or what SDPA takes.
        scaling: of the scores, default 1 / sqrt(width).
        dropout: share of the weights dropped; only 0 goes with a block mask.
        kwargs: what other kernels take.

    Returns:
        (1, Q, heads, width), and None for the weights.
    """
    from torch.nn.attention.flex_attention import BlockMask
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not isinstance(attention_mask, BlockMask):
        done = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return done[0], None
    device = query.device.type
    # SDPA is one of the operations that autocast turns to its dtype; this one it does not know.
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype
    query, key, value = (one.to(kind) for one in (query, key, value))
    output = _kernel(device)(
        query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )
    return output.transpose(1, 2).contiguous(), None
