"""Which rows of an evaluation split are scored when not all are."""

from __future__ import annotations

from collections.abc import Sequence

from komt.example import Example
from komt.files import hash_of


def choose_examples(examples: Sequence[Example], limit: int | None) -> list[Example]:
    """The first `limit` examples in an order that no seed changes, passage by passage.

    Questions over one passage are cheap together. That they are no independent draws is taken into account
    by the intervals: whole passages are resampled.
    """
    return sorted(examples, key=lambda example: place_of(example.group, example.id))[:limit]


def place_of(group: str, name: str) -> tuple[str, str]:
    """What examples are sorted by: a passage's id, or "", and an example's id."""
    return hash_of(group or name), name


def group_of(example: Example) -> str:
    """The passage an example belongs to, or its own id."""
    return example.group or example.id
