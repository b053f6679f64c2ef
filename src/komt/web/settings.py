"""How an answer is sampled: the settings of the page, their ranges, and their names in a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Number = float | int


@dataclass(frozen=True)
class Range:
    """What a slider can be set to."""

    low: float
    high: float
    step: float
    default: Number

    def nearest(self, value: Number) -> Number:
        """The value itself, or the end of the range that it lies beyond."""
        return type(self.default)(min(max(value, self.low), self.high))


RANGES: Mapping[str, Range] = {
    "temperature": Range(0.0, 2.0, 0.05, 0.8),
    "top_p": Range(0.05, 1.0, 0.05, 0.8),
    "max_tokens": Range(16, 4096, 16, 512),
    "penalty": Range(0.0, 2.0, 0.1, 0.0),
}
DEFAULTS: Mapping[str, Number | None] = {
    **{name: range_.default for name, range_ in RANGES.items()},
    "seed": None,
}
_TOO_MUCH = 1e15
_MOST_SEED = 2**32 - 1  # llama.cpp keeps it in 32 bits.


def sound_settings(record: Any) -> dict[str, Number]:
    """The known settings of a record, each a number within its range; all else is left out."""
    if not isinstance(record, dict):
        return {}
    numbers = {name: record[name] for name in DEFAULTS if is_number(record.get(name))}
    sound = {name: RANGES[name].nearest(value) for name, value in numbers.items() if name in RANGES}
    if "seed" in numbers:
        sound["seed"] = min(max(int(numbers["seed"]), 0), _MOST_SEED)
    return sound


def request_settings(kept: Mapping[str, Number]) -> dict[str, Number]:
    """Settings under the API's names; those that do nothing are left out, as not every server knows them."""
    settings: dict[str, Number] = {name: kept[name] for name in ("temperature", "top_p") if name in kept}
    settings |= {name: int(kept[name]) for name in ("max_tokens", "seed") if name in kept}
    if kept.get("penalty"):
        settings["frequency_penalty"] = kept["penalty"]
    return settings


def is_number(value: Any) -> bool:
    """Whether a value is a number that one can reckon with: finite, and not of hundreds of digits."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _TOO_MUCH
