"""Accelerate's object over the processes of a training."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator

from komt.errors import UsageError


def make_accelerator() -> Accelerator:
    """One process or several, as the launcher's environment says: plain, DDP or FSDP2.

    Raises:
        UsageError: under DeepSpeed, whose weights and optimiser state a checkpoint cannot hold whole yet.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        raise UsageError(
            "training under DeepSpeed is not possible yet: a checkpoint would hold parts of the weights",
            cure="use the configuration fsdp2.yaml, which divides the same (docs/training.md)",
        )
    return Accelerator(cpu=not torch.cuda.is_available())
