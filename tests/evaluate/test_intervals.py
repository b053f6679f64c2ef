"""Bootstrap intervals."""

import numpy as np
import pytest

from komt.evaluate import intervals
from komt.evaluate.intervals import bootstrap, mean_of, paired_bootstrap


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = np.array([1.0] * 120 + [0.0] * 280)
    found = bootstrap(mean_of(values), 400)
    assert found.value == pytest.approx(0.3)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 400)
    assert found.low == pytest.approx(0.3 - half, abs=0.006)
    assert found.high == pytest.approx(0.3 + half, abs=0.006)
    assert found.n == 400


def test_equal_values_have_no_width_and_one_example_is_its_own_interval():
    found = bootstrap(mean_of([0.5] * 30), 30)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))
    assert bootstrap(mean_of([1.0]), 1).low == 1.0


def test_seeds_repeat_and_differ_and_block_size_does_not_matter(monkeypatch):
    values = np.random.default_rng(0).random(50)
    first = bootstrap(mean_of(values), 50, seed=1)
    assert bootstrap(mean_of(values), 50, seed=1) == first
    assert bootstrap(mean_of(values), 50, seed=2).low != first.low
    monkeypatch.setattr(intervals, "_BLOCK_ELEMENTS", 700)
    again = bootstrap(mean_of(values), 50, seed=1)
    assert (again.low, again.high) == pytest.approx((first.low, first.high))


def test_pairing_narrows_the_interval_of_a_difference():
    random = np.random.default_rng(0)
    base = random.random(200)
    better = base + 0.05
    paired = paired_bootstrap(mean_of(better), mean_of(base), 200)
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.05, 0.05, 0.05))
    unpaired = paired_bootstrap(mean_of(random.permutation(better)), mean_of(base), 200)
    assert unpaired.high - unpaired.low > 0.05


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="no examples"):
        bootstrap(mean_of([]), 0)


def test_questions_over_one_passage_are_drawn_together():
    # Ten passages of ten questions that are all right or all wrong: ten draws, not a hundred.
    values, groups = [float(n // 10 % 2) for n in range(100)], [f"p{n // 10}" for n in range(100)]
    alone, together = bootstrap(mean_of(values), 100), bootstrap(mean_of(values), 100, groups=groups)
    assert together.value == alone.value == 0.5
    assert together.high - together.low == pytest.approx((alone.high - alone.low) * np.sqrt(10), rel=0.1)
    few = [f"p{n // 25}" for n in range(100)]
    assert bootstrap(mean_of(values), 100, groups=few) == alone
