"""How full bins are, counted by hand."""

import pytest

from komt.pack.fullness import Fullness, fullness
from komt.pack.plan import Step


def step(*bin_tokens):
    return Step(((),) * len(bin_tokens), 1.0, sum(bin_tokens), sum(bin_tokens), bin_tokens)


def test_the_last_bin_of_each_step_is_told_apart():
    found = fullness([step(100, 90, 20), step(80, 40), step(50)], 100)
    assert found == Fullness(100, 380, 6, 60, 2, 510)
    assert found.level == pytest.approx(380 / (300 + 160 + 50))
    assert str(found) == (
        "6 bins: 63% of 100 tokens full, 80% without the emptiest of each step, 75% of their step's largest"
    )


def test_steps_of_one_bin_have_no_last_one():
    found = fullness([step(50), step(60)], 100)
    assert str(found) == "2 bins: 55% of 100 tokens full, 100% of their step's largest"
