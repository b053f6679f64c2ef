"""The examples of one task: rows read, rendered, filtered, with everything that left on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from komt.example import Example
from komt.files import hash_of
from komt.mix.mixture import Rejection, reject
from komt.sources import Rejected, read_rows
from komt.tasks import Task, UnusableRow, input_text, render

Fit = Callable[[Example], tuple[Example | None, str]]


@dataclass
class Collected:
    """What was read of a split of a task, and what became of it; `keys` are those of the examples' rows."""

    split: str
    read: int = 0
    shortened: int = 0
    examples: list[Example] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)


def collect(task: Task, split: str, seed: int, *, resplit: bool) -> Collected:
    """Read and render a split of a task.

    Raises:
        DataError: a missing or broken file, or a template that names a field the rows lack.
    """
    found = Collected(split)
    for row in read_rows(task.rows_from, split, resplit=resplit):
        found.read += 1
        if isinstance(row, Rejected):
            record = Rejection(task.name, split, "source", row.reason, row.where, _as_text(row.row))
            found.rejected.append(record)
            continue
        try:
            example = render(task, row, seed, split=split)
        except UnusableRow as error:
            record = Rejection(task.name, split, "filter", error.reason, str(row["id"]), _as_text(row))
            found.rejected.append(record)
            continue
        found.examples.append(example)
        found.keys[example.id] = input_key(task, row)
    return found


@dataclass
class Seen:
    """What duplicates are found by: prompts and rows of the evaluation, and of training so far."""

    evaluation: set[str] = field(default_factory=set)
    training: set[tuple[str, str]] = field(default_factory=set)

    def add_evaluation(self, found: Collected) -> None:
        """Remember the prompts of evaluation examples, as rendered and as rows."""
        for example in found.examples:
            self.evaluation |= {prompt_text(example), found.keys[example.id]}


def drop_repeated(found: Collected, seen: Seen) -> None:
    """Reject training examples that ask what the evaluation asks, or that repeat question and answer.

    Rows are compared besides rendered prompts, since the same row may be phrased in two ways.
    """
    kept: list[Example] = []
    for example in found.examples:
        answer = example.messages[-1].content
        asked = (prompt_text(example), found.keys[example.id])
        pairs = {(text, answer) for text in asked}
        if seen.evaluation.intersection(asked):
            found.rejected.append(_with_text(example, "in_evaluation"))
        elif seen.training & pairs:
            found.rejected.append(_with_text(example, "duplicate"))
        else:
            kept.append(example)
            seen.training |= pairs
    found.examples = kept


def fit_all(found: Collected, fit: Fit) -> None:
    """Let `fit` keep, shorten or drop each example; what it drops is rejected at stage `length`."""
    kept: list[Example] = []
    for example in found.examples:
        fitting, reason = fit(example)
        if fitting is None:
            found.rejected.append(replace(_with_text(example, reason), stage="length"))
            continue
        kept.append(fitting)
        found.shortened += bool(reason)
    found.examples = kept


def prompt_text(example: Example) -> str:
    """The messages before the answer, as one text."""
    return "\n".join(message.content for message in example.prompt)


def fingerprint(example: Example) -> str:
    """Hash of an example's prompt and answer, white space collapsed: the same words, the same hash."""
    words = " ".join(f"{prompt_text(example)}\n{example.messages[-1].content}".split())
    return hashlib.sha256(words.encode()).hexdigest()


def count(rejections: Iterable[Rejection]) -> dict[str, dict[str, int]]:
    """Stage -> reason -> number, both sorted."""
    counts: dict[str, dict[str, int]] = {}
    for item in sorted(rejections, key=lambda item: (item.stage, item.reason)):
        reasons = counts.setdefault(item.stage, {})
        reasons[item.reason] = reasons.get(item.reason, 0) + 1
    return counts


def input_key(task: Task, row: dict[str, Any]) -> str:
    """Hash of what a row asks, white space collapsed: equal for rows of a task that ask the same."""
    return hash_of([task.name, *input_text(task, row).split()])


def _with_text(example: Example, reason: str) -> Rejection:
    text = _as_text({"prompt": prompt_text(example), "answer": example.messages[-1].content})
    return replace(reject(example, "filter", reason), row=text)


def _as_text(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, sort_keys=True)
