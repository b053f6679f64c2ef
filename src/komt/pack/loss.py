"""Loss of a packed batch: logits on the target rows only, cross-entropy summed per target."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
from torch import Tensor

from komt.pack.attention import additive, folded
from komt.pack.batch import Batch
from komt.pack.masks import attention_masks, trie_visibility

# Rows of logits turned to fp32 at a time: the copy stays small beside the logits of a large vocabulary.
_CHUNK_ELEMENTS = 1 << 24


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy in which several targets may stand on one row of logits.

    The gradient of row r is softmax(logits_r) * (sum of upstream gradients on r), less each upstream
    gradient at its target. Logits stay in their own dtype; sums run in fp32, chunk by chunk.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target_rows: Tensor, targets: Tensor) -> Tensor:
        step = max(1, _CHUNK_ELEMENTS // logits.shape[1])
        log_sums = torch.cat([chunk.float().logsumexp(1) for chunk in torch.split(logits, step)])
        ctx.save_for_backward(logits, log_sums, target_rows, targets)
        return log_sums[target_rows] - logits[target_rows, targets].float()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        logits, log_sums, target_rows, targets = ctx.saved_tensors
        upstream = gradients[0]
        mass = torch.zeros_like(log_sums).index_add_(0, target_rows, upstream)
        result = torch.empty_like(logits)
        step = max(1, _CHUNK_ELEMENTS // logits.shape[1])
        for start in range(0, len(logits), step):
            part = slice(start, start + step)
            soft = (logits[part].float() - log_sums[part, None]).exp_().mul_(mass[part, None])
            inside = (target_rows >= start) & (target_rows < start + step)
            soft.index_put_(
                (target_rows[inside] - start, targets[inside]), -upstream[inside], accumulate=True
            )
            result[part] = soft
        return result, None, None


def forward_rows(model: Any, batch: Batch) -> Tensor:
    """Logits of the batch's rows, (R, vocabulary).

    Scaling and soft caps stay the model's business (`logits_to_keep` with a tensor of row numbers).
    """
    inner = getattr(model, "module", model)  # under DDP the model stands inside a wrapper
    alone = bool((batch.ends == len(batch.ends)).all())
    with contextlib.nullcontext(False) if alone else folded(inner, len(batch.ends)) as is_folded:
        masks = None  # one sequence alone: the model's own causal order, also where no mask could confine it
        if not alone:
            positions = batch.positions[0]
            masks = attention_masks(inner.config, trie_visibility(batch.ends), positions, positions)
        output = model(
            input_ids=batch.ids,
            position_ids=batch.positions,
            attention_mask=additive(masks) if is_folded else masks,
            use_cache=False,
            logits_to_keep=batch.rows,
        )
    return cast(Tensor, output.logits[0])


def target_losses(model: Any, batch: Batch) -> Tensor:
    """Negative log-likelihood of each target in nats, (N,), unweighted."""
    logits = forward_rows(model, batch)
    return cast(Tensor, _CrossEntropy.apply(logits, batch.target_rows, batch.targets))  # type: ignore[no-untyped-call]


def loss(model: Any, batch: Batch) -> Tensor:
    """Mean loss of the batch, weighted by target: a scalar that equals that of the separate examples."""
    return (target_losses(model, batch) * batch.weights).sum() / batch.weights.sum()
