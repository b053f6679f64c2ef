"""A look at the model between two steps, after which training goes on as if there had been none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """The model in eval mode without gradients; afterwards its modes and all random numbers are as before.

    Engines switch adapters, which freezes their weights: what required a gradient does so again.
    """
    modes = [(module, module.training) for module in model.modules()]
    needed = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    devices = sorted({p.device.index for p, _ in needed if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, training in modes:
                module.training = training
            for parameter, requires in needed:
                parameter.requires_grad_(requires)
