"""How long a training takes: two real steps are timed, and the whole plan is reckoned from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from komt.pack.encode import TokenSequence
from komt.pack.plan import Step
from komt.pack.probe import Way, device_of
from komt.recipe import Recipe
from komt.train.held import peak_of
from komt.train.memory import BinSize, train_for_trial


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured.

    Attributes:
        seconds: of the whole training, reckoned.
        token_seconds, step_seconds: by packed token, and by optimiser step besides.
        measured_seconds, measured_tokens: of the timed steps.
        peak: the most bytes that the process held meanwhile, or None where the system does not tell.
    """

    seconds: float
    token_seconds: float
    step_seconds: float
    measured_seconds: float
    measured_tokens: int
    peak: float | None


def measure(
    recipe: Recipe,
    sequences: Sequence[TokenSequence],
    steps: Sequence[Step],
    sizes: Sequence[Sequence[BinSize]],
    model: Any,
    way: Way,
) -> Pace:
    """Time two steps on bins of the plan, the largest among them, after one to warm up.

    The model is trained by these steps: it is to be thrown away.

    Args:
        recipe: as for `make_loop`; so are the others but `sizes`.
        sequences: encoded.
        steps: the whole plan.
        sizes: of the plan's bins, from `memory.bin_sizes`.
        model: loaded, as it is trained.
        way: how bins are packed.
    """
    bins = [(size, members) for step, some in zip(steps, sizes, strict=True) for size, members in
            zip(some, step.bins, strict=True)]  # fmt: skip
    bins.sort(key=lambda one: one[0].tokens)
    middle = bins[len(bins) // 2]
    chosen = [bins[:1], [middle], [middle, bins[-1]]]
    trial = [_step(sequences, some, way) for some in chosen]
    with peak_of(device_of(model)) as peak:
        _, short, long = train_for_trial(recipe, sequences, trial, model, way)
    short_tokens, long_tokens = trial[1].tokens, trial[2].tokens
    token_s, step_s = fit(short_tokens, short.seconds, long_tokens, long.seconds)
    whole = token_s * sum(step.tokens for step in steps) + step_s * len(steps)
    return Pace(
        whole,
        token_s,
        step_s,
        short.seconds + long.seconds,
        short_tokens + long_tokens,
        peak[0] if peak else None,
    )


def fit(short_tokens: int, short_s: float, long_tokens: int, long_s: float) -> tuple[float, float]:
    """Seconds by token and by step from two steps; by token alone where the two do not tell them apart."""
    if long_tokens > short_tokens:
        token_s = (long_s - short_s) / (long_tokens - short_tokens)
        step_s = long_s - token_s * long_tokens
        if token_s > 0 and step_s >= 0:
            return token_s, step_s
    return (short_s + long_s) / (short_tokens + long_tokens), 0.0


def _step(
    sequences: Sequence[TokenSequence], bins: Sequence[tuple[BinSize, tuple[int, ...]]], way: Way
) -> Step:
    members = tuple(some for _, some in bins)
    weight = float(sum(sequences[i].weights[1:].sum() for some in members for i in some))
    flat = sum(len(sequences[i]) for some in members for i in some)
    return Step(members, weight, sum(size.tokens for size, _ in bins) if way == "shared" else flat, flat)
