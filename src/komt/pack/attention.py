"""Attention on a CPU for little packed rows: plain matrix products, heads of a group folded together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

NAME = "komt_folded"
# Above this many tokens the scores, kept for the backward pass, take more memory than they save time.
_MOST_TOKENS = 1024


def folded_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers calls for each layer: softmax(q k^T * scaling + mask) v, softmax in fp32.

    About twice as fast as SDPA's CPU kernel on rows of a few hundred tokens, since keys and values are not
    repeated for the query heads that share them.

    Args:
        module: the layer's attention.
        query: (1, heads, Q, width).
        key: (1, groups, K, width).
        value: as key.
        attention_mask: (1, 1, Q, K), 0 where query sees key and minus infinity elsewhere.
        scaling: of the scores, default 1 / sqrt(width).
        dropout: share of the weights dropped.
        kwargs: what other kernels take.

    Returns:
        (1, Q, heads, width), and None for the weights.
    """
    _, heads, queries, width = query.shape
    groups = key.shape[1]
    folded = query[0].reshape(groups, heads // groups * queries, width)
    # Scores in fp32, as SDPA keeps them: rounded to bf16 they would part from it by more than padding does.
    with torch.autocast(query.device.type, enabled=False):
        scores = torch.matmul(folded.float(), key[0].float().transpose(1, 2))
    scores = scores.view(groups, heads // groups, queries, -1)
    bias = torch.zeros(()) if attention_mask is None else attention_mask[0]
    weights = torch.add(bias, scores, alpha=scaling or width**-0.5).softmax(-1).to(value.dtype)
    if dropout:
        weights = torch.nn.functional.dropout(weights, dropout)
    output = torch.matmul(weights.view(groups, heads // groups * queries, -1), value[0])
    return output.view(heads, queries, width).transpose(0, 1)[None], None


@contextlib.contextmanager
def folded(model: Any, tokens: int) -> Iterator[bool]:
    """In the block the model attends by `folded_attention`, where that is exact and faster; yields whether.

    Not on a GPU, for long rows, for attention with soft caps or sinks, or under gradient checkpointing,
    whose second forward pass would run outside of the block.
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


def additive(mask: Any) -> Any:
    """A boolean mask, or each in a dict of them, as fp32: 0 where seen, minus infinity elsewhere."""
    if isinstance(mask, dict):
        made: dict[int, Tensor] = {}
        return {kind: made.setdefault(id(one), additive(one)) for kind, one in mask.items()}
    return torch.zeros(mask.shape).masked_fill_(~mask, float("-inf"))


def _suits(model: Any, config: Any, tokens: int) -> bool:
    return (
        tokens <= _MOST_TOKENS
        and next(model.parameters()).device.type == "cpu"
        and not getattr(config, "attn_logit_softcapping", None)
        and not any(hasattr(module, "sinks") for module in model.modules())
        and not (model.training and _checkpoints(model))
    )


def _checkpoints(model: Any) -> bool:
    """Whether activations are computed again in the backward pass."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
