"""Accelerate's object over the processes of a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from komt.recipe import Recipe
from komt.train.processes import under_deepspeed


def make_accelerator(
    trackers: Sequence[str] = (), folder: Path | None = None, recipe: Recipe | None = None
) -> Accelerator:
    """One process or several, as the launcher's environment says: plain, DDP, FSDP2 or DeepSpeed.

    Args:
        trackers: their names, as Accelerate knows them.
        folder: where trackers write files.
        recipe: of the training.

    Raises:
        MissingExtra: DeepSpeed is not installed. UsageError: see `zero3.check_settings`.
    """
    options: dict[str, Any] = {
        "log_with": list(trackers) or None,
        "project_dir": str(folder) if folder else None,
    }
    if under_deepspeed():
        from komt.train.zero3 import ZeroAccelerator

        return ZeroAccelerator(recipe, **options)
    return Accelerator(cpu=not torch.cuda.is_available(), **options)


def spread_by(accelerator: Accelerator) -> str:
    """What spreads the weights over processes: FSDP, DEEPSPEED or MEGATRON_LM; "" where each holds all."""
    kind = str(accelerator.distributed_type.value)
    return kind if kind in {"FSDP", "DEEPSPEED", "MEGATRON_LM"} else ""
