"""Accelerate's object over the processes of a training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from komt.errors import UsageError


def make_accelerator(trackers: Sequence[str] = (), folder: Path | None = None) -> Accelerator:
    """One process or several, as the launcher's environment says: plain, DDP or FSDP2.

    Args:
        trackers: their names, as Accelerate knows them.
        folder: where trackers write files.

    Raises:
        UsageError: under DeepSpeed, whose weights and optimiser state a checkpoint cannot hold whole yet.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        raise UsageError(
            "training under DeepSpeed is not possible yet: a checkpoint would hold parts of the weights",
            cure="use the configuration fsdp2.yaml, which divides the same (docs/training.md)",
        )
    cpu = not torch.cuda.is_available()
    return Accelerator(cpu=cpu, log_with=list(trackers) or None, project_dir=str(folder) if folder else None)
