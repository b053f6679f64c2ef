"""Accelerate's object over the processes of a training."""

from __future__ import annotations

import torch
from accelerate import Accelerator


def make_accelerator() -> Accelerator:
    """One process or several, as the launcher's environment says: plain, DDP or FSDP2."""
    return Accelerator(cpu=not torch.cuda.is_available())
