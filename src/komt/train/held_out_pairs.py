"""Held-out preference pairs while training goes on: pair loss, reward accuracy and margin by task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from komt.errors import DataError
from komt.recipe import TrainPart
from komt.train.held_out import held_out_examples
from komt.train.loop import Loop
from komt.train.pairs import ReferencedPairs
from komt.train.preference import Floats, log_probs_of, pair_losses
from komt.train.undisturbed import undisturbed


@dataclass(frozen=True, slots=True)
class PairFigures:
    """What a model makes of held-out pairs.

    Attributes:
        task: their task; "" for all tasks together, each pair counting the same.
        loss: as it is minimised in training; accuracy: share of the pairs whose chosen answer gained more
            than the rejected one over the policy that training started from.
        margin: beta times by how much, in nats, the mean.
        perplexity: of the chosen answers' tokens.
        pairs: how many there are.
    """

    task: str
    loss: float
    accuracy: float
    margin: float
    perplexity: float
    pairs: int

    def as_line(self, step: int) -> dict[str, Any]:
        """The line of held_out.jsonl."""
        return {"step": step, "task": self.task, **self.values(), "pairs": self.pairs}

    def values(self) -> dict[str, float]:
        """The figures by name."""
        return {
            "loss": self.loss,
            "accuracy": self.accuracy,
            "perplexity": self.perplexity,
            "margin": self.margin,
        }

    def said(self, step: int, tasks: int) -> str:
        """The figures of all tasks together as a line for the terminal."""
        return (
            f"step {step}: held-out pair loss {self.loss:.4f}, reward accuracy {self.accuracy:.1%}, "
            f"margin {self.margin:.3f} ({self.pairs:,} pairs, {tasks} tasks)"
        )


class HeldOutPairs:
    """Held-out pairs, ready to be measured as often as one likes."""

    def __init__(self, held: ReferencedPairs, train: TrainPart) -> None:
        """Args:
        held: at least one pair.
        train: the recipe's: its objective and settings.
        """
        self._pairs, self._fill, self._train = held.pairs, held.fill, train
        self._reference = held.reference.reshape(-1, 2)

    def measure(self, loop: Loop) -> list[PairFigures]:
        """Figures of all together (task "") and of each task; training is not disturbed.

        Every process computes all of them, since the shards of a model must meet.
        """
        with undisturbed(loop.model):
            found = log_probs_of(loop, self._pairs, self._fill).reshape(-1, 2)
        tasks = [pair.chosen.task for pair in self._pairs]
        places = {"": list(range(len(tasks)))}
        for place, task in sorted(enumerate(tasks), key=lambda one: one[1]):
            places.setdefault(task, []).append(place)
        return [self._figures(task, found[own], own) for task, own in places.items()]

    def _figures(self, task: str, found: Floats, places: Sequence[int]) -> PairFigures:
        kind, settings = self._train.objective, self._train.preference
        tokens = np.array([self._pairs[place].answer_tokens for place in places], np.float64)
        ratios = torch.from_numpy(found.astype(np.float64) - self._reference[places])
        lengths = torch.from_numpy(tokens)
        losses = pair_losses(kind, settings, *ratios.unbind(1), *lengths.unbind(1))
        margins = settings.beta * (ratios[:, 0] - ratios[:, 1])
        nats = -float(found[:, 0].astype(np.float64).sum() / tokens[:, 0].sum())
        return PairFigures(
            task,
            float(losses.mean()) + settings.sft * nats,
            float((margins > 0).double().mean()),
            float(margins.mean()),
            math.exp(min(nats, 700.0)),
            len(places),
        )


def held_out_pairs(train: TrainPart, data: Path, held: ReferencedPairs) -> HeldOutPairs:
    """The pairs that `train.held_out` measures: those of `held_out_examples` that are pairs.

    Args:
        train: the recipe's, with `held_out`.
        data: what `build` made.
        held: all pairs of its evaluation split.

    Raises:
        DataError: none of the examples is a pair.
    """
    assert train.held_out
    place_of = {pair.chosen.example: place for place, pair in enumerate(held.pairs)}
    chosen = held_out_examples(data, train.held_out.examples)
    places = [place_of[example.id] for example in chosen if example.id in place_of]
    if not places:
        raise DataError(
            "there is no held-out pair to measure on",
            where=str(data / "evaluate.parquet"),
            cure="leave train.held_out out, or hold pairs out (evaluate: 0.1 of an own file)",
        )
    reference = held.reference.reshape(-1, 2)[places].reshape(-1)
    return HeldOutPairs(ReferencedPairs([held.pairs[place] for place in places], reference, held.fill), train)
