"""Attention on a CPU for packed rows: block by block, matrix products over what a block's queries see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

NAME = "komt_folded"
# Above this many tokens the weights, kept for the backward pass, take more memory than they save time.
_MOST_TOKENS = 4096
# Queries computed together: with fewer the products are slow, with more they meet more keys that none sees.
_QUERIES = 128

# A block of queries (start, end) with the keys (start, end) outside of which it sees nothing.
Block = tuple[int, int, int, int]
_blocks_of: Any = WeakTensorKeyDictionary()


class _BlockAttention(torch.autograd.Function):
    """softmax(q k^T * scaling + mask) v with scores in fp32, and its gradient.

    Query heads that share keys are folded into one product; weights are kept in the dtype of the values.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float, blocks: list[Block]
    ) -> Tensor:
        _, heads, queries, _ = query.shape
        groups, width = key.shape[1], value.shape[3]
        # Scores in fp32, as SDPA keeps them: in bf16 they would part from it by more than padding does.
        wide = torch.promote_types(query.dtype, torch.float32)
        keys = key[0].to(wide).transpose(1, 2)
        output, kept = query.new_empty(1, queries, heads, width), []
        for start, end, first, last in blocks:
            asked = _fold(query[0, :, start:end], groups).to(wide) * scaling
            scores = torch.bmm(asked, keys[:, :, first:last])
            scores.view(heads, end - start, -1).add_(mask[0, 0, start:end, first:last])
            weights = scores.softmax(-1).to(value.dtype)
            found = torch.bmm(weights, value[0, :, first:last])
            output[0, start:end] = found.view(heads, end - start, width).transpose(0, 1)
            kept.append(weights)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.scaling, ctx.blocks = scaling, blocks
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        query, key, value, *kept = ctx.saved_tensors
        upstream, groups = gradients[0][0].transpose(0, 1), key.shape[1]
        wide = torch.promote_types(query.dtype, torch.float32)
        of_query = torch.empty_like(query)
        of_key, of_value = (torch.zeros_like(one[0], dtype=wide) for one in (key, value))
        values = value[0].transpose(1, 2)
        for (start, end, first, last), weights in zip(ctx.blocks, kept, strict=True):
            asked, out = (_fold(one[:, start:end], groups) for one in (query[0], upstream))
            of_weights = torch.bmm(out, values[:, :, first:last])
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            of_query[0, :, start:end] = torch.bmm(of_scores, key[0, :, first:last]).view(
                -1, end - start, query.shape[3]
            )
            of_key[:, first:last] += torch.bmm(of_scores.transpose(1, 2), asked)
            of_value[:, first:last] += torch.bmm(weights.transpose(1, 2), out)
        of_query *= ctx.scaling
        of_key *= ctx.scaling
        return of_query, of_key.to(key.dtype)[None], of_value.to(value.dtype)[None], None, None, None


def _fold(heads_first: Tensor, groups: int) -> Tensor:
    """(heads, Q, width) as (groups, heads / groups * Q, width)."""
    return heads_first.reshape(groups, -1, heads_first.shape[-1])


def folded_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers calls for each layer: softmax(q k^T * scaling + mask) v, softmax in fp32.

    Several times as fast as SDPA's CPU kernel on packed rows, since keys and values are not repeated for the
    query heads that share them, and little is computed of what no query sees.

    Args:
        module: the layer's attention.
        query: (1, heads, Q, width).
        key: (1, groups, K, width).
        value: (1, groups, K, width of its own).
        attention_mask: (1, 1, Q, K), 0 where query sees key and minus infinity elsewhere.
        scaling: of the scores, default 1 / sqrt(width).
        dropout: share of the weights dropped; only 0 is known here.
        kwargs: what other kernels take.

    Returns:
        (1, Q, heads, width of value), and None for the weights.
    """
    scaling = query.shape[3] ** -0.5 if scaling is None else scaling
    blocks = _blocks_of.get(attention_mask) or blocks_of(attention_mask[0, 0] == 0)
    with torch.autocast(query.device.type, enabled=False):
        output = _BlockAttention.apply(query, key, value, attention_mask, scaling, blocks)  # type: ignore[no-untyped-call]
    return output, None


def blocks_of(visible: Tensor) -> list[Block]:
    """Blocks of queries, each with the run of keys that some of its queries see.

    Args:
        visible: boolean (Q, K); each query sees at least one key.
    """
    blocks = []
    for start in range(0, len(visible), _QUERIES):
        seen = torch.nonzero(visible[start : start + _QUERIES].any(0))[:, 0]
        end = min(start + _QUERIES, len(visible))
        blocks.append((start, end, int(seen[0]), int(seen[-1]) + 1))
    return blocks


def block_pairs(ends: npt.NDArray[np.integer[Any]]) -> int:
    """Pairs of query and key in the blocks of a trie, whose weights are kept for the backward pass.

    Args:
        ends: as of `komt.pack.trie.Trie`, (T,).
    """
    pairs = 0
    for start in range(0, len(ends), _QUERIES):
        end = min(start + _QUERIES, len(ends))
        pairs += (end - start) * (end - int(np.argmax(ends[:end] > start)))
    return pairs


@contextlib.contextmanager
def folded(model: Any, tokens: int) -> Iterator[bool]:
    """In the block the model attends by `folded_attention`, where that is exact and faster; yields whether.

    Not on a GPU, for long rows, for attention with soft caps, sinks or dropout, or under gradient
    checkpointing, whose second forward pass would run outside of the block.
    """
    config = model.config.get_text_config()
    before = getattr(config, "_attn_implementation", None)
    if before != "sdpa" or not _suits(model, config, tokens):
        yield False
        return
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(NAME, folded_attention)
    AttentionMaskInterface.register(NAME, eager_mask)  # for a model that makes its own masks after all
    config._attn_implementation = NAME
    try:
        yield True
    finally:
        config._attn_implementation = before


def adds(model: Any) -> bool:
    """Whether a model attends by its eager form, which adds its mask to the scores (a boolean one too)."""
    return getattr(model.config.get_text_config(), "_attn_implementation", None) == "eager"


def additive(mask: Any) -> Any:
    """A boolean mask, or each in a dict of them, as fp32: 0 where seen, minus infinity elsewhere."""
    if isinstance(mask, dict):
        made: dict[int, Tensor] = {}
        return {
            kind: made[id(one)] if id(one) in made else made.setdefault(id(one), additive(one))
            for kind, one in mask.items()
        }
    added = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))
    _blocks_of[added] = blocks_of(mask[0, 0])  # found once, not by every layer
    return added


def _suits(model: Any, config: Any, tokens: int) -> bool:
    return (
        tokens <= _MOST_TOKENS
        and next(model.parameters()).device.type == "cpu"
        and not getattr(config, "attn_logit_softcapping", None)
        and not any(hasattr(module, "sinks") for module in model.modules())
        and not (model.training and (_checkpoints(model) or getattr(config, "attention_dropout", 0)))
    )


def _checkpoints(model: Any) -> bool:
    """Whether activations are computed again in the backward pass."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
