"""How long a training takes: two real steps are timed, and the whole plan is reckoned from them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from komt.pack.pairs import Pair
from komt.pack.plan import Step
from komt.pack.probe import Way, device_of
from komt.recipe import Recipe
from komt.train.held import peak_of
from komt.train.loop import make_loop
from komt.train.memory import BinSize
from komt.train.pairs import PairSet
from komt.train.preference import log_probs_of
from komt.train.prepare import TrainingRows
from komt.train.trial import train_for_trial


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured.

    Attributes:
        seconds: of the whole training, reckoned.
        token_seconds, step_seconds: by packed token, and by optimiser step besides.
        reference_seconds: of the passes without gradients over preference pairs, in `seconds` too.
        measured_seconds, measured_tokens: of the timed steps.
        peak: the most bytes that the process held meanwhile, or None where the system does not tell.
    """

    seconds: float
    token_seconds: float
    step_seconds: float
    reference_seconds: float
    measured_seconds: float
    measured_tokens: int
    peak: float | None


def measure(
    recipe: Recipe,
    rows: TrainingRows,
    steps: Sequence[Step],
    sizes: Sequence[Sequence[BinSize]],
    model: Any,
    way: Way,
) -> Pace:
    """Time two steps on bins of the plan, the largest among them, after one to warm up.

    The model is trained by these steps: it is to be thrown away.

    Args:
        recipe: the whole recipe.
        rows: encoded.
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
    trial = [_step(rows, some, way) for some in chosen]
    with peak_of(device_of(model)) as peak:
        _, short, long = train_for_trial(recipe, rows.sequences, trial, model, way)
    short_tokens, long_tokens = trial[1].tokens, trial[2].tokens
    token_s, step_s = fit(short_tokens, short.seconds, long_tokens, long.seconds)
    whole = token_s * sum(step.tokens for step in steps) + step_s * len(steps)
    reference_s = _reference_seconds(recipe, rows.pairs, middle[1], model, way) if rows.pairs else 0.0
    return Pace(
        whole + reference_s,
        token_s,
        step_s,
        reference_s,
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


def _reference_seconds(recipe: Recipe, pairs: PairSet, members: Sequence[int], model: Any, way: Way) -> float:
    """Passes of the reference over all pairs, of the trained model over those held out, by a bin's pairs."""
    timed = [pairs.train[place // 2] for place in members[::2]]
    loop = make_loop(recipe, pairs.sequences, [], model, way)
    for _ in range(2):  # the first one warms up
        began = time.perf_counter()
        log_probs_of(loop, timed)
        seconds = time.perf_counter() - began
    every = [*pairs.train, *pairs.held_out, *pairs.held_out]
    return seconds * _tokens(every) / _tokens(timed)


def _tokens(pairs: Sequence[Pair]) -> int:
    """Tokens of pairs, each prompt once."""
    return sum(len(pair.chosen) + pair.answer_tokens[1] for pair in pairs)


def _step(rows: TrainingRows, bins: Sequence[tuple[BinSize, tuple[int, ...]]], way: Way) -> Step:
    members = tuple(some for _, some in bins)
    places = [place for some in members for place in some]
    weight = float(sum(rows.sequences[place].weights[1:].sum() for place in places))
    if rows.pairs:
        weight = len(places) / 2
    flat = sum(len(rows.sequences[place]) for place in places)
    return Step(members, weight, sum(size.tokens for size, _ in bins) if way == "shared" else flat, flat)
