"""What generalise.py asks and trains on: evaluation rows in both orders; answers shuffled within tasks."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any


def order_of(template: Any, fields: Iterable[str]) -> str:
    """Where a phrasing has its instruction: "first", "last", or "" where it is neither, or is hardly one.

    Args:
        template: of a task.
        fields: those that hold the texts which are asked about.
    """
    if template.kind in {"passage_first", "instruction_first"}:
        return "first" if template.kind == "instruction_first" else "last"
    names = re.compile(r"\b(" + "|".join(map(re.escape, fields)) + r")\b")
    pieces = re.split(r"(\{\{.*?\}\}|\{%.*?%\})", template.prompt)
    texts = [place for place, piece in enumerate(pieces) if place % 2 and names.search(piece)]
    if not texts:
        return ""
    before, after = (
        sum(len(re.findall("[가-힣]", piece)) for piece in part[::2])
        for part in (pieces[: texts[0]], ["", *pieces[texts[-1] :]])
    )
    if max(before, after) < 12:
        return ""
    return "first" if before > 2 * after else "last" if after > 2 * before else ""


def evaluation_examples(task_name: str, rows: int) -> list[Any]:
    """Rows of a task's evaluation set, asked with the instruction first and last; groups are rows."""
    from komt.files import hash_of
    from komt.sources import Rejected, read_rows
    from komt.tasks import UnusableRow, load_task, render

    task = load_task(task_name)
    split, source = task.evaluation_split(resplit=True), task.rows_from
    ways: dict[str, list[Any]] = defaultdict(list)
    for template in task.templates:
        ways[order_of(template, [*task.input, task.passage, "preface"])].append(template)
    orders = [order for order in ("first", "last") if order in ways] or [""]
    usable = [row for row in read_rows(source, split, resplit=True) if not isinstance(row, Rejected)]
    examples: list[Any] = []
    taken = 0
    for row in sorted(usable, key=lambda row: hash_of(["generalise", row["id"]])):
        try:
            asked = []
            for order in orders:
                fitting = [template for template in ways[order] if template.fits(row)]
                template = fitting[int(hash_of([order, row["id"]]), 16) % len(fitting)]
                one = render(task, row, 0, split=split, template=template, source=source)
                asked.append(replace(one, id=f"{one.id}#{order}", group=one.id))
        except (UnusableRow, ZeroDivisionError):  # the row fits no phrasing of an order
            continue
        examples += asked
        taken += 1
        if taken == rows:
            break
    return examples


def shuffled(examples: Sequence[Any], seed: int) -> list[Any]:
    """The same prompts with the answers of other examples of their task, in an order drawn by the seed.

    A choice becomes that of another example, written in the example's own form (the word, its number or its
    letter); where every row has choices of its own, its place does. Any other answer comes from an example of
    the same phrasing, where there are several.
    """
    result = list(examples)
    tasks: dict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(examples):
        tasks[example.task].append(place)
    for task, places in tasks.items():
        random.Random(f"answers {seed} {task}").shuffle(places)
        for to, giver in _givers(examples, places).items():
            result[to] = _with_answer_of(examples[to], examples[giver])
    return result


def _givers(examples: Sequence[Any], places: Sequence[int]) -> dict[int, int]:
    """For each place the next one, around, among those whose answers are of the same kind."""
    runs: dict[str, list[int]] = defaultdict(list)
    for place in places:
        runs["" if _forms(examples[place]) else examples[place].template].append(place)
    lone = [run[0] for kind, run in runs.items() if kind and len(run) == 1]
    rings = [*(run for run in runs.values() if len(run) > 1), lone]
    return {to: giver for ring in rings for to, giver in zip(ring, [*ring[1:], *ring[:1]], strict=True)}


def _forms(example: Any) -> list[str]:
    """The ways to write each choice, where the answer is one of them; [] where it is any other text."""
    for forms in (list(example.metadata.get("marks", ())), list(example.choices)):
        if forms and example.answer_index is not None and forms[example.answer_index] == _answer(example):
            return forms
    return []


def _answer(example: Any) -> str:
    return next(str(message.content) for message in reversed(example.messages) if message.supervised)


def _with_answer_of(example: Any, other: Any) -> Any:
    at, text = example.answer_index, _answer(other)
    if forms := _forms(example):
        right = other.choices[other.answer_index]
        at = example.choices.index(right) if right in example.choices else other.answer_index
        text = forms[at]
    last = max(place for place, message in enumerate(example.messages) if message.supervised)
    messages = list(example.messages)
    messages[last] = replace(messages[last], content=text)
    return replace(
        example, messages=tuple(messages), references=(text,), answer_index=at, evidence=None, rejected=""
    )
