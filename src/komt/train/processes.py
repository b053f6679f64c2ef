"""Several processes of one training (`torchrun`, `accelerate launch`): what one does for all."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from komt.errors import need

T = TypeVar("T")


def is_main() -> bool:
    """Whether this process writes and speaks: the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def under_deepspeed() -> bool:
    """Whether `accelerate launch` was told to use DeepSpeed."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"


def process_state() -> Any:
    """Accelerate's state of the processes; on a CPU they talk over gloo."""
    import torch
    from accelerate import PartialState

    cpu = not torch.cuda.is_available()
    if not (cpu and under_deepspeed()):
        return PartialState(cpu=cpu)
    # Its own way to sum over memory that processes share would first be compiled.
    need("deepspeed.ops", "deepspeed").__compatible_ops__["deepspeed_shm_comm"] = False
    return PartialState(backend="gloo")  # told cpu=True, Accelerate leaves DeepSpeed out without a word


def by_main(work: Callable[[], T]) -> T:
    """What `work` gives in the first process, handed to all; what it raises is raised in all.

    Args:
        work: called in the first process only; its result must pickle.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return work()
    from accelerate.utils import broadcast_object_list

    state = process_state()
    outcome: list[Any] = [None, None]
    if state.is_main_process:
        try:
            outcome[0] = work()
        except Exception as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    made: T = outcome[0]
    return made
