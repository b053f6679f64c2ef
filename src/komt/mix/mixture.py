"""How much of a task is taken: whole groups, in an order that depends on the seed and the group alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from komt.example import Example
from komt.recipe import TaskPart
from komt.sources import share_of


@dataclass(frozen=True, slots=True)
class Rejection:
    """An example or row that is not in the data: where in the build it left, and why."""

    task: str
    split: str
    stage: str
    reason: str
    where: str
    row: str


def choose(examples: Sequence[Example], part: TaskPart, seed: int) -> tuple[list[Example], list[Rejection]]:
    """The examples that `cap` and `rate` let in, in their former order, and the others.

    Groups are ordered by (seed, group), not by task: tasks of one source take the same passages first, so
    that their examples share prefixes. A group that would exceed the limit is passed over for a smaller one;
    where none fits, the first is taken whole.
    """
    by_rate = max(1, round(len(examples) * part.rate)) if examples else 0
    limit = min(by_rate, part.cap or by_rate)
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.group or example.id, []).append(example)
    ordered = sorted(groups, key=lambda group: (share_of(["group", seed, group]), group))
    taken: set[str] = set()
    room = limit
    for group in ordered:
        if len(groups[group]) <= room:
            taken.add(group)
            room -= len(groups[group])
    if ordered and not taken:
        taken.add(ordered[0])
    reason = "cap" if limit < by_rate else "rate"
    kept = [example for example in examples if (example.group or example.id) in taken]
    left = [example for example in examples if (example.group or example.id) not in taken]
    return kept, [reject(example, "mixture", reason) for example in left]


def reject(example: Example, stage: str, reason: str) -> Rejection:
    """The record of an example that left the build."""
    return Rejection(example.task, example.split, stage, reason, example.id, "")
