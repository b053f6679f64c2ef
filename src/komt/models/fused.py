"""Layers of a model under LoRA in fewer passes over memory on a CPU, with gradients written by hand.

Between the matrix products a CPU waits for memory: autograd's LoRA layer and RMSNorm go over their
activations two to four times as often as they must, and each time fresh memory has to be mapped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor


@contextlib.contextmanager
def fused_layers(model: Any, *, norms: bool = True) -> Iterator[int]:
    """In the block plain LoRA layers and frozen RMSNorms of a model on a CPU compute fused; yields how many.

    Without `norms` only the LoRA layers: without gradients norms gain next to nothing.

    Outputs and gradients are those of the layers themselves, up to rounding. Whatever else a layer may be
    (merged or disabled, with several adapters or DoRA, on a quantised base, sharded) stays its own business.
    So does one that has a forward pass of its own already, as in a block within such a block.
    """
    changed = []
    for module in model.modules():
        if "forward" in vars(module):
            continue
        if forward := _lora_forward(module) or (_norm_forward(module) if norms else None):
            module.forward = forward
            changed.append(module)
    try:
        yield len(changed)
    finally:
        for module in changed:
            del module.forward


def _is_plain(weight: Any) -> bool:
    """Whether a frozen weight lies whole on the CPU: neither quantised, nor sharded over processes."""
    frozen = type(weight) is torch.nn.Parameter and not weight.requires_grad
    sharded = hasattr(weight, "ds_id") or not weight.numel()
    return frozen and weight.device.type == "cpu" and not sharded


class _LoraLinear(torch.autograd.Function):
    """x W^T + bias + scaling * (z A^T) B^T, where z is x after dropout (None: x itself)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scaling: float,
    ) -> Tensor:
        kind, dtypes = _compute_dtype(x), (a.dtype, b.dtype)
        shape, x = x.shape, x.to(kind).flatten(0, -2)
        z = x if dropped is None else dropped.to(kind).flatten(0, -2)
        weight, a, b = weight.to(kind), a.to(kind), b.to(kind)
        bias = None if bias is None else bias.to(kind)
        inner = torch.mm(z, a.t())
        output = torch.nn.functional.linear(x, weight, bias).addmm_(inner, b.t(), alpha=scaling)
        ctx.save_for_backward(z, weight, a, b, inner)
        ctx.scaling, ctx.dtypes, ctx.shape, ctx.apart = scaling, dtypes, shape, dropped is not None
        return output.view(*shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        z, weight, a, b, inner = ctx.saved_tensors
        upstream = gradients[0].flatten(0, -2)
        of_inner = torch.mm(upstream, b).mul_(ctx.scaling)
        of_a = torch.mm(of_inner.t(), z).to(ctx.dtypes[0])
        # The long side last: the other way round oneDNN's bf16 product of 8 columns is ten times as slow.
        of_b = torch.mm(inner.t(), upstream).mul_(ctx.scaling).t().to(ctx.dtypes[1])
        of_x = torch.mm(upstream, weight) if ctx.needs_input_grad[0] else None
        of_dropped = None
        if ctx.apart and ctx.needs_input_grad[1]:
            of_dropped = torch.mm(of_inner, a).view(ctx.shape)
        elif of_x is not None:
            of_x.addmm_(of_inner, a)
        return (None if of_x is None else of_x.view(ctx.shape), of_dropped, None, None, of_a, of_b, None)


def _compute_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _lora_forward(module: Any) -> Any:
    """The forward pass for one of PEFT's LoRA layers on a plain linear layer; else None."""
    base = getattr(module, "base_layer", None)
    if type(base) is not torch.nn.Linear or not hasattr(module, "lora_A") or not _is_plain(base.weight):
        return None
    return partial(_forward_lora, module, module.forward)


def _forward_lora(module: Any, plain: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = [name for name in module.active_adapters if name in module.lora_A]
    if (
        len(names) != 1
        or args
        or kwargs
        or module.disable_adapters
        or module.merged
        or names[0] in module.lora_variant
        or module.lora_B[names[0]].bias is not None
    ):
        return cast(Tensor, plain(x, *args, **kwargs))
    (name,), base = names, module.base_layer
    a, b, dropout = (part[name] for part in (module.lora_A, module.lora_B, module.lora_dropout))
    dropped = dropout(x) if module.training and getattr(dropout, "p", 0) else None
    output = _LoraLinear.apply(  # type: ignore[no-untyped-call]
        x, dropped, base.weight, base.bias, a.weight, b.weight, module.scaling[name]
    )
    return cast(Tensor, output)


class _RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * weight, computed in fp32 and returned in the dtype of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        scale = norms.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return torch.mul(x, scale).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        # With y = x s, s' = -s^3 x / n:  dx = s (g w - y mean(g w y)).
        along = torch.mul(x, scale)
        upstream = torch.mul(gradients[0], weight)
        share = torch.linalg.vecdot(upstream, along)[..., None].div_(x.shape[-1])
        return upstream.sub_(along.mul_(share)).mul_(scale).to(x.dtype), None, None


def _norm_forward(module: Any) -> Any:
    """The forward pass for an RMSNorm with frozen weight, whose formula is found by trying; else None."""
    weight: Any = getattr(module, "weight", None)
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not type(module).__name__.endswith("RMSNorm") or not _is_plain(weight) or not isinstance(eps, float):
        return None
    sample = torch.linspace(-2.0, 3.0, 2 * len(weight)).view(2, -1)
    with torch.no_grad(), contextlib.suppress(TypeError):  # some take a gate as well
        expected = module(sample)
        for offset in (0.0, 1.0):  # Gemma keeps weight - 1
            full = weight.float() + offset
            if torch.allclose(_rms_norm(sample, full, eps), expected, rtol=1e-5, atol=1e-6):
                return partial(_forward_norm, module.forward, weight.dtype, full, eps)
    return None


def _forward_norm(plain: Any, kind: torch.dtype, weight: Tensor, eps: float, x: Tensor) -> Tensor:
    # Of an input in another dtype than the weights', some families widen the output and some do not.
    return _rms_norm(x, weight, eps) if x.dtype == kind else cast(Tensor, plain(x))


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return cast(Tensor, _RmsNorm.apply(x, weight, eps))  # type: ignore[no-untyped-call]
