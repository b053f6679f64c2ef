"""How full bins are: of the size they may have, and of the largest that a step really has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from komt.pack.plan import Step


@dataclass(frozen=True, slots=True)
class Fullness:
    """How full the bins of some steps are.

    Attributes:
        size: tokens that a bin may hold.
        tokens, bins: of all; last_tokens, last_bins: of the emptiest bin of each step that has several.
        level_places: bins times the tokens of their step's largest.
    """

    size: int
    tokens: int
    bins: int
    last_tokens: int
    last_bins: int
    level_places: int

    def __str__(self) -> str:
        shares = [f"{self.tokens / (self.bins * self.size):.0%} of {self.size:,} tokens full"]
        if self.last_bins:
            shares.append(f"{self.but_last:.0%} without the emptiest of each step")
        return f"{self.bins:,} bins: {', '.join(shares)}, {self.level:.0%} of their step's largest"

    @property
    def but_last(self) -> float:
        """How full those bins are that are not the emptiest of their step."""
        return (self.tokens - self.last_tokens) / ((self.bins - self.last_bins) * self.size)

    @property
    def level(self) -> float:
        """What bins hold of what they would, were each as full as the largest of its step."""
        return self.tokens / self.level_places


def fullness(steps: Sequence[Step], size: int) -> Fullness:
    """Of the bins of some steps, whose tokens were counted and may be so many."""
    counted = [step.bin_tokens for step in steps]
    last = [min(tokens) for tokens in counted if len(tokens) > 1]
    level = sum(len(tokens) * max(tokens) for tokens in counted)
    return Fullness(size, sum(map(sum, counted)), sum(map(len, counted)), sum(last), len(last), level)
