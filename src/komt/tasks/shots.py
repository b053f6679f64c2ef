"""Few-shot examples are derived from the training rows, never written by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from komt.errors import DataError
from komt.example import Example
from komt.sources import (
    Rejected,
    divided_split,
    present,
    read_rows,
    redivided,
    share_of,
    train_missing,
)
from komt.tasks.fields import Row
from komt.tasks.render import UnusableRow, render
from komt.tasks.task import Task

# Of so many candidates an example the shortest are taken: short shots leave room for the question.
_CANDIDATES_PER_SHOT = 40


def few_shot(task: Task, k: int, seed: int) -> list[Example]:
    """k examples of a task's training rows, from different groups, short ones first; labels in balance.

    Where a source's train file is absent and it can be redivided, the train part of the redivision serves.

    Raises:
        DataError: no training rows here, or fewer than k usable groups.
    """
    source = task.rows_from
    if not present(source, "train") and not redivided(source):
        raise train_missing(source)
    rows = [row for row in read_rows(source, "train", resplit=True) if not isinstance(row, Rejected)]
    rows.sort(key=lambda row: share_of(["shots", seed, row["id"]]))
    pool = list(islice(_usable(task, rows, seed), k * _CANDIDATES_PER_SHOT))
    pool.sort(key=lambda example: sum(len(message.content) for message in example.messages))
    shots: list[Example] = []
    groups: set[str] = set()
    labels: Counter[str] = Counter()
    most = -(-k // max(1, len(pool[0].choices) if pool else 1))
    for example in pool:
        label = example.choices[example.answer_index or 0] if example.choices else example.id
        group = example.group or example.id
        if len(shots) < k and group not in groups and labels[label] < most:
            shots.append(example)
            groups.add(group)
            labels[label] += 1
    if len(shots) < k:
        raise DataError(f"the task '{task.name}' has only {len(shots)} examples to show, of {k} asked for")
    return sorted(shots, key=lambda example: share_of(["order", seed, example.id]))


def shown_groups(task: Task, shots: Sequence[Example], split: str) -> frozenset[str]:
    """Groups (or ids) of solved examples that come from the split that is asked, and so tell its answers.

    They do where training rows are asked, or a whole split of which a part serves as training rows.
    """
    source = task.rows_from
    among = split == "train" or (redivided(source) and split == divided_split(source))
    return frozenset(shot.group or shot.id for shot in shots) if among else frozenset()


def _usable(task: Task, rows: list[Row], seed: int) -> Iterator[Example]:
    for row in rows:
        try:
            yield render(task, row, seed)
        except UnusableRow:
            continue
