"""Several processes of one training (`torchrun`, `accelerate launch`): what one does for all."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def is_main() -> bool:
    """Whether this process writes and speaks: the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def by_main(work: Callable[[], T]) -> T:
    """What `work` gives in the first process, handed to all; what it raises is raised in all.

    Args:
        work: called in the first process only; its result must pickle.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return work()
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState(cpu=not torch.cuda.is_available())
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
