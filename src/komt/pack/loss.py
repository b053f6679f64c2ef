"""Loss of a packed batch: logits on the target rows only, cross-entropy summed per target."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
from torch import Tensor

from komt.pack.attention import additive, adds, folded
from komt.pack.batch import Batch
from komt.pack.flex import block_masks, uses_flex, whole_blocks
from komt.pack.masks import attention_masks, boundaries, trie_visibility, unconfined_layers

# Logits turned to fp32 at a time, at least a row: so few that a CPU's cache holds them from one operation to
# the next and the allocator hands out the same memory again; on a GPU enough to keep it busy.
_CHUNK_ELEMENTS, _GPU_CHUNK_ELEMENTS = 1 << 20, 1 << 24


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy in which several targets may stand on one row of logits.

    The gradient of row r is softmax(logits_r) * (sum of upstream gradients on r), less each upstream
    gradient at its target. Logits stay in their own dtype; sums run in fp32, chunk by chunk.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target_rows: Tensor, targets: Tensor) -> Tensor:
        log_sums = torch.cat([_log_sum(chunk) for chunk in torch.split(logits, _chunk_rows(logits))])
        ctx.save_for_backward(logits, log_sums, target_rows, targets)
        return log_sums[target_rows] - logits[target_rows, targets].float()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        logits, log_sums, target_rows, targets = ctx.saved_tensors
        upstream = gradients[0]
        mass = torch.zeros_like(log_sums).index_add_(0, target_rows, upstream)
        result = torch.empty_like(logits)
        step = _chunk_rows(logits)
        for start in range(0, len(logits), step):
            part = slice(start, start + step)
            soft = logits[part].float().sub_(log_sums[part, None]).exp_().mul_(mass[part, None])
            inside = (target_rows >= start) & (target_rows < start + step)
            soft.index_put_(
                (target_rows[inside] - start, targets[inside]), -upstream[inside], accumulate=True
            )
            result[part] = soft
        return result, None, None


def _chunk_rows(logits: Tensor) -> int:
    elements = _CHUNK_ELEMENTS if logits.device.type == "cpu" else _GPU_CHUNK_ELEMENTS
    return max(1, elements // logits.shape[1])


def _log_sum(logits: Tensor) -> Tensor:
    """`logsumexp` of each row in fp32, with one copy of the logits instead of three."""
    wide = torch.empty_like(logits, dtype=torch.float32).copy_(logits)
    most = wide.amax(1)
    return wide.sub_(most[:, None]).exp_().sum(1).log_().add_(most)


def forward_rows(model: Any, batch: Batch) -> Tensor:
    """Logits of the batch's rows, (R, vocabulary).

    Scaling and soft caps stay the model's business (`logits_to_keep` with a tensor of row numbers). Layers
    that no mask confines are told where sequences begin and end: `probe` finds out whether they keep to it.
    """
    inner = getattr(model, "module", model)  # under DDP the model stands inside a wrapper
    alone = bool((batch.ends == len(batch.ends)).all())
    told = None
    if not alone and unconfined_layers(inner.config):
        told = boundaries(batch.ends, batch.positions[0])
    if not alone and not told and uses_flex(inner):
        batch = whole_blocks(batch)
        return _logits(model, batch, block_masks(inner.config, batch.ends, batch.positions[0]))
    with (
        folded(inner, len(batch.ends)) if not (alone or told) else contextlib.nullcontext(False) as is_folded
    ):
        masks = None  # one sequence alone: the model's own causal order, also where no mask could confine it
        if not alone and not told:
            positions = batch.positions[0]
            masks = attention_masks(inner.config, trie_visibility(batch.ends), positions, positions)
        if masks is not None and (is_folded or adds(inner)):
            masks = additive(masks)
        return _logits(model, batch, masks, **(told or {}))


def _logits(model: Any, batch: Batch, masks: Any, **told: Any) -> Tensor:
    output = model(
        input_ids=batch.ids,
        position_ids=batch.positions,
        attention_mask=masks,
        use_cache=False,
        logits_to_keep=batch.rows,
        **told,
    )
    return cast(Tensor, output.logits.squeeze(0))


def target_losses(model: Any, batch: Batch) -> Tensor:
    """Negative log-likelihood of each target in nats, (N,), unweighted."""
    logits = forward_rows(model, batch)
    return cast(Tensor, _CrossEntropy.apply(logits, batch.target_rows, batch.targets))  # type: ignore[no-untyped-call]


def loss(model: Any, batch: Batch) -> Tensor:
    """Mean loss of the batch, weighted by target: a scalar that equals that of the separate examples."""
    return (target_losses(model, batch) * batch.weights).sum() / batch.weights.sum()
