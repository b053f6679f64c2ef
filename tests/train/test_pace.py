"""Time is reckoned from two steps: by token and by step."""

import math

import pytest

from komt.pack.plan import plan_steps
from komt.pack.probe import Parity
from komt.train.memory import bin_sizes
from komt.train.outlook import Plan, least_bins
from komt.train.pace import fit, measure
from komt.train.prepare import TrainingRows


def test_two_steps_tell_tokens_from_steps():
    assert fit(100, 1.5, 400, 4.5) == pytest.approx((0.01, 0.5))


@pytest.mark.parametrize("times", [(100, 2.0, 100, 2.0), (100, 2.0, 400, 1.0), (100, 1.0, 400, 8.0)])
def test_where_they_do_not_tokens_alone_count(times):
    short, short_s, long, long_s = times
    assert fit(*times) == ((short_s + long_s) / (short + long), 0.0)


def test_real_steps_are_timed_on_the_largest_bin_too(toy_recipe, toy_sequences, adapted):
    recipe = toy_recipe(epochs=10)
    steps = plan_steps(toy_sequences, recipe.pack, recipe.train, 0)
    sizes = bin_sizes(toy_sequences, steps, "shared")
    pace = measure(recipe, TrainingRows((), toy_sequences), steps, sizes, adapted(recipe), "shared")
    tokens = sorted(size.tokens for some in sizes for size in some)
    assert pace.measured_tokens >= tokens[len(tokens) // 2] + tokens[-1]
    whole = pace.token_seconds * sum(tokens) + pace.step_seconds * len(steps)
    assert pace.seconds == pytest.approx(whole)
    assert pace.seconds > 0
    assert pace.measured_seconds > 0


def test_bins_are_compared_with_the_fewest_that_could_hold_each_step(toy_recipe, toy_sequences):
    recipe = toy_recipe(pack={"tokens": 64})
    steps = plan_steps(toy_sequences, recipe.pack, recipe.train, 0, 40)
    sizes = tuple(map(tuple, bin_sizes(toy_sequences, steps, "shared")))
    plan = Plan(None, 0.0, Parity("shared", 0.0, 1e-5), "shared", tuple(steps), sizes)
    tokens = [[size.tokens for size in some] for some in sizes]
    longer = sum(size > 40 for some in tokens for size in some)
    assert longer > 0
    least = sum(math.ceil(sum(size for size in some if size <= 40) / 40) for some in tokens)
    assert least_bins(plan, 40) == longer + least <= sum(map(len, tokens))
