from __future__ import annotations

import math
import re

import pytest

from komt.report.curves import MOST_POINTS, Curve, nice_ticks, plot, smoothed, spark


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 4.0, [0, 1, 2, 3, 4]),
        (0.13, 0.87, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (2.0, 2.0, [1.9, 1.95, 2.0, 2.05, 2.1]),
        (0.0, 0.0, [-0.5, -0.25, 0.0, 0.25, 0.5]),
        (0.0, 5e-4, [0, 2e-4, 4e-4, 6e-4]),
    ],
)
def test_ticks_are_round_and_hold_the_range(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high)
    assert found[0] <= low + 1e-12
    assert found[-1] >= high - 1e-12
    if low != high:
        assert found == pytest.approx(ticks)


def test_a_smoothed_constant_is_that_constant_and_gaps_are_bridged() -> None:
    assert smoothed([2.0, math.nan, 2.0], 1) == [2.0, 2.0, 2.0]
    assert smoothed([0.0, 1.0], 1) == pytest.approx([0.0, 1 / 1.5])


def test_a_plot_says_its_first_and_last_value() -> None:
    svg = plot([Curve([1, 2, 3], [4.0, math.inf, 2.0])], "손실 <1>", "단계")
    assert 'aria-label="손실 &lt;1&gt;: 4 → 2"' in svg
    assert len(re.findall(r"[\d.]+,[\d.]+", re.search(r'points="([^"]*)"', svg).group(1))) == 2  # type: ignore[union-attr]


def test_a_single_step_is_a_dot_and_none_is_nothing() -> None:
    assert "<circle" in plot([Curve([1], [4.0])], "손실", "단계")
    assert plot([Curve([1], [math.nan])], "손실", "단계") == ""
    assert spark([1.0]) == ""


def test_a_long_run_is_thinned() -> None:
    svg = plot([Curve(range(10_000), [float(step) for step in range(10_000)])], "손실", "단계")
    assert MOST_POINTS / 2 < svg.count(",") < MOST_POINTS + 10
