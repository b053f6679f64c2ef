"""Early stopping: when held-out examples gain no more, the best weights so far are the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from komt.recipe import StopPart
from komt.train.held_out import Measured


@dataclass(slots=True)
class EarlyStop:
    """What early stopping knows; it goes into each checkpoint, so that a resumed run stops at the same step.

    Attributes:
        part: of the recipe.
        best: the least value so far (see `value_of`), of step `best_step`; waited: measurements since then.
    """

    part: StopPart
    best: float = math.inf
    best_step: int = 0
    waited: int = 0

    def note(self, step: int, value: float) -> bool:
        """Take in a measurement; returns whether it is the best so far, by more than `min_gain`."""
        if value < self.best - self.part.min_gain:
            self.best, self.best_step, self.waited = value, step, 0
            return True
        self.waited += 1
        return False

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return self.waited >= self.part.patience

    def value_of(self, figures: Measured) -> float:
        """What is compared, less being better: the loss, or the accuracy with its sign turned."""
        return figures.loss if self.part.metric == "loss" else -figures.accuracy

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        values = asdict(self)
        del values["part"]
        return values | {"best": None if math.isinf(self.best) else self.best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        best = state["best"]
        self.best = math.inf if best is None else float(best)
        self.best_step, self.waited = int(state["best_step"]), int(state["waited"])
