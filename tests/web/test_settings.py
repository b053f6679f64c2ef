from __future__ import annotations

import math
from typing import Any

import pytest

from komt.web.settings import DEFAULTS, RANGES, request_settings, sound_settings


@pytest.mark.parametrize(
    ("record", "sound"),
    [
        (None, {}),
        ({"temperature": math.nan, "top_p": math.inf, "seed": 10**400, "penalty": True, "odd": 1}, {}),
        ({"temperature": 9, "top_p": -1, "max_tokens": -5, "seed": -1}, (2.0, 0.05, 16, 0)),
        ({"temperature": 0.3, "top_p": 1, "max_tokens": 100.0, "seed": 7.0}, (0.3, 1.0, 100, 7)),
    ],
)
def test_settings_of_a_file_are_numbers_within_their_ranges(record: Any, sound: Any) -> None:
    names = ("temperature", "top_p", "max_tokens", "seed")
    assert sound_settings(record) == (dict(zip(names, sound, strict=True)) if sound else {})


def test_the_defaults_lie_in_their_ranges() -> None:
    for name, range_ in RANGES.items():
        assert range_.low <= range_.default <= range_.high
        assert DEFAULTS[name] == range_.default
        assert range_.nearest(1e9) == range_.high


def test_what_does_nothing_is_not_sent() -> None:
    assert request_settings({"temperature": 0.5, "max_tokens": 64.0, "penalty": 0.0}) == {
        "temperature": 0.5,
        "max_tokens": 64,
    }
    assert request_settings({"penalty": 0.5, "seed": 3}) == {"frequency_penalty": 0.5, "seed": 3}
