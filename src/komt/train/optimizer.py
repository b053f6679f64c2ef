"""The optimiser: AdamW, in 32 or 8 bits, for LoRA+ with a higher learning rate for the matrices B."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from komt.errors import ModelError, UsageError, need
from komt.recipe import TrainPart
from komt.recipe_train import Optim


def make_optimizer(model: Any, train: TrainPart) -> torch.optim.Optimizer:
    """AdamW over the parameters that require gradients; its first group has `train.lr`.

    With `train.lora.plus_ratio` above 1, B (and DoRA's magnitudes) learn that many times as fast as A, as
    PEFT's `create_loraplus_optimizer` groups them (LoRA+, arXiv 2402.12354); layers that are trained whole
    learn as A does.

    Raises:
        ModelError: the model has no parameter to train.
        MissingExtra: an optimiser of bitsandbytes without that package.
        UsageError: a paged optimiser without a GPU.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise ModelError("no parameter of the model requires a gradient", cure="check train.lora.targets")
    ratio = train.lora.plus_ratio if train.method == "lora" else 1.0
    groups: list[dict[str, Any]] = [{"params": [p for _, p in named]}]
    if ratio != 1.0:
        groups = [
            {"params": [p for name, p in named if not _learns_faster(name)]},
            {"params": [p for name, p in named if _learns_faster(name)], "lr": train.lr * ratio},
        ]
    return _kind(train.optim, named[0][1].device)(groups, lr=train.lr, weight_decay=train.weight_decay)


def _kind(optim: Optim, device: torch.device) -> Callable[..., torch.optim.Optimizer]:
    if optim == "adamw":
        return torch.optim.AdamW
    need("bitsandbytes", "quant")
    import bitsandbytes

    if optim.startswith("paged") and device.type == "cpu":
        raise UsageError(
            f"{optim} moves its averages between the memory of a GPU and the CPU's, and there is no GPU here",
            where="train.optim",
            cure=f"train.optim={optim.removeprefix('paged_')}",
        )
    names = {"adamw_8bit": "AdamW8bit", "paged_adamw": "PagedAdamW", "paged_adamw_8bit": "PagedAdamW8bit"}
    kind: Callable[..., torch.optim.Optimizer] = getattr(bitsandbytes.optim, names[optim])
    return kind


def _learns_faster(name: str) -> bool:
    return "lora_B" in name or "lora_embedding_B" in name or "lora_magnitude_vector" in name
