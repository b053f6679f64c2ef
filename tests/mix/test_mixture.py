from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from komt.mix.mixture import choose, mixed_hash, task_sizes
from komt.recipe import DataPart, MixingPart, TaskPart


def sizes(available: dict[str, int], tasks: dict[str, Any] | None = None, **data: Any) -> dict[str, int]:
    parts = {name: TaskPart(**part) for name, part in (tasks or {}).items()}
    sources = {name: name.split(".")[0] for name in available}
    found = task_sizes(available, sources, parts, DataPart.model_validate(data))
    return {name: size.examples for name, size in found.items()}


@pytest.mark.parametrize(("cap", "taken"), [(1, 3), (3, 3), (4, 3), (5, 3), (6, 6), (100, 9)])
def test_a_limit_takes_whole_groups_and_is_not_exceeded(cap: int, taken: int) -> None:
    order = np.repeat(np.array([7, 1, 9], np.uint64), 3)
    places = choose(order, cap)
    assert len(places) == taken
    assert set(np.unique(order[places], return_counts=True)[1].tolist()) == {3}
    assert 1 in order[places]  # the group of the lowest hash is always taken


def test_a_smaller_group_fills_a_limit() -> None:
    order = np.array([group for group in range(6) for _ in range(4)] + list(range(100, 120)), np.uint64)
    assert len(choose(order, 10)) == 10


def test_nothing_is_chosen_of_nothing_or_for_nothing() -> None:
    assert len(choose(np.empty(0, np.uint64), 5)) == 0
    assert len(choose(np.array([1, 2], np.uint64), 0)) == 0


def test_the_second_hash_does_not_follow_the_first() -> None:
    order = np.sort(np.random.default_rng(0).integers(0, 2**63, 2000).astype(np.uint64))
    low = mixed_hash(order[:200])  # what a small cap would choose
    assert abs(float(np.mean(low / 2.0**64)) - 0.5) < 0.07
    assert len(np.unique(mixed_hash(order))) == 2000


def test_rate_cap_and_count_of_a_task() -> None:
    available = {"a.x": 100, "b.x": 100, "c.x": 100, "d.x": 3}
    tasks = {"a.x": {"rate": 0.3}, "b.x": {"cap": 20, "rate": 0.5}, "c.x": {"count": 40}, "d.x": {"cap": 9}}
    assert sizes(available, tasks) == {"a.x": 30, "b.x": 20, "c.x": 40, "d.x": 3}


def test_tasks_share_the_cap_of_their_source_in_proportion() -> None:
    found = sizes({"a.x": 300, "a.y": 100, "b.x": 50}, sources={"a": {"cap": 101}}, source_cap=40)
    assert (found["a.x"] + found["a.y"], found["b.x"]) == (101, 40)
    assert found["a.x"] in (75, 76)


def test_sizes_are_in_proportion_up_to_a_maximum() -> None:
    available = {"a.x": 100_000, "b.x": 2_000, "c.x": 500}
    assert sizes(available, mixing=MixingPart(maximum=3000)) == {"a.x": 3000, "b.x": 2000, "c.x": 500}
    found = sizes(available, mixing=MixingPart(maximum=3000, examples=1100))
    assert found == {"a.x": 600, "b.x": 400, "c.x": 100}


def test_temperature_makes_sizes_more_equal_and_no_task_gives_more_than_it_has() -> None:
    available = {"a.x": 10_000, "b.x": 100, "c.x": 1}
    found = sizes(available, mixing=MixingPart(temperature=2, examples=1110))
    # Rates 100 : 10 : 1 want 1000 : 100 : 10; c has 1, and of what it lacks b takes none, being at its end.
    assert found == {"a.x": 1009, "b.x": 100, "c.x": 1}


def test_weights_and_fixed_counts_in_a_mixing() -> None:
    available = {"a.x": 1000, "b.x": 1000, "c.x": 1000}
    tasks = {"a.x": {"weight": 3}, "c.x": {"count": 50}}
    assert sizes(available, tasks, mixing=MixingPart(examples=450)) == {"a.x": 300, "b.x": 100, "c.x": 50}
