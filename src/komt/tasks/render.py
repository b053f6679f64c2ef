"""Rows become examples: phrasing by a hash, preface by the passage, evidence located."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from komt.errors import DataError
from komt.example import Evidence, Example, Message
from komt.files import hash_of
from komt.sources import share_of
from komt.tasks.jinja import always_shown, fields_of, fill
from komt.tasks.task import Task, Template

Row = dict[str, Any]


class UnusableRow(DataError):
    """A row that no example can be made of: `reason` is empty_prompt, empty_answer or unknown_label."""

    def __init__(self, reason: str, what: str, where: str = "") -> None:
        super().__init__(what, where=where)
        self.reason = reason


@lru_cache(maxsize=1)
def prefaces() -> tuple[str, ...]:
    """The ways of introducing a passage, shared by all tasks."""
    return tuple(yaml.safe_load((Path(__file__).parent / "prefaces.yaml").read_text(encoding="utf-8")))


def render(
    task: Task, row: Row, seed: int, *, split: str = "train", template: Template | None = None
) -> Example:
    """One example of a row.

    Args:
        task: what is asked.
        row: as `read_rows` gives it.
        seed: with the task and the row's id it chooses the phrasing and the order of the choices.
        split: where the row comes from.
        template: a phrasing, instead of the chosen one.

    Raises:
        UnusableRow: an empty prompt field or answer, or a label that is none of the choices.
        DataError: a template names a field that the row does not have.
    """
    template = template or choose_template(task, row, seed)
    where = f"task {task.name}, template {template.id}"
    choices, right = _choices(task, row, seed, where)
    values = _values(task, row, choices, right)
    prompt = fill(template.prompt, values, f"{where}, prompt").strip()
    answer = fill(template.answer, values, f"{where}, answer").strip()
    _check_filled(task, template, row, prompt, answer, where)
    source, others = task.rows_from, row.get(task.references, ()) if task.references else ()
    return Example(
        id=f"{task.name}:{row['id']}",
        task=task.name,
        family=task.family,
        kind=template.kind,
        source=source.name,
        licence=source.licence,
        origin=source.origin,
        split=split,
        template=template.id,
        group=str(row.get(task.group, "")) if task.group else "",
        messages=(Message("user", prompt), Message("assistant", answer, supervised=True)),
        references=tuple(dict.fromkeys([answer, *filter(None, map(str.strip, map(str, others)))])),
        choices=tuple(choices),
        answer_index=choices.index(right) if choices else None,
        evidence=_evidence(task, row, prompt),
        metadata=_metadata(task, row, prompt),
    )


def choose_template(task: Task, row: Row, seed: int) -> Template:
    """The phrasing of a row: by weight, fixed by the seed.

    Rows over one passage are all passage-first, or all instruction-first in the same phrasing: either way
    they share what they begin with.
    """
    group = row.get(task.group) if task.group else None
    first = [template for template in task.templates if template.kind == "passage_first"]
    rest = [template for template in task.templates if template.kind != "passage_first"]
    if group and first and rest:
        share = sum(template.weight for template in rest) / sum(item.weight for item in task.templates)
        if share_of(["kind", seed, group]) < share:
            return _by_weight(rest, ["template", seed, task.name, group])
        return _by_weight(first, ["template", seed, task.name, row["id"]])
    return _by_weight(task.templates, ["template", seed, task.name, row["id"]])


def _by_weight(templates: Sequence[Template], key: list[Any]) -> Template:
    point = share_of(key) * sum(item.weight for item in templates)
    for template in templates:
        point -= template.weight
        if point < 0:
            return template
    return templates[-1]


def content_key(task: Task, row: Row) -> str:
    """Hash of everything that the task's prompts may show of a row: equal for rows that ask the same."""
    names = set().union(*(fields_of(template.prompt) for template in task.templates))
    if any(template.kind == "passage_first" for template in task.templates):
        names.add(task.passage)
    return hash_of([task.name, *(" ".join(str(row.get(name, "")).split()) for name in sorted(names))])


def _values(task: Task, row: Row, choices: list[str], right: str) -> Row:
    given: Row = {"choices": choices, "choice": right}
    if task.passage and task.passage in row:
        passage = str(row[task.passage])
        # By the passage, never by the task: examples of all tasks over one passage open alike.
        at = (
            share_of(["preface", row.get(task.group) or passage])
            if task.group
            else share_of(["preface", passage])
        )
        text = prefaces()[int(at * len(prefaces()))]
        given["preface"] = fill(text, {"passage": passage}, "tasks/prefaces.yaml") + "\n\n"
    return {**given, **row}


def _choices(task: Task, row: Row, seed: int, where: str) -> tuple[list[str], str]:
    """The words to choose from, in a seeded order, and the right one."""
    if not task.choices:
        return [], ""
    if task.label not in row:
        # An own file's template names the column itself, and says so better.
        if task.inline:
            return [], ""
        raise DataError(f"the rows have no field '{task.label}' for the label", where=where)
    label = str(row[task.label]).strip()
    if not label:
        raise UnusableRow("empty_answer", "the label is empty", where)
    if label not in task.choices:
        known = ", ".join(task.choices)
        raise UnusableRow("unknown_label", f"the label '{label}' is none of: {known}", where)
    words = list(task.choices.values())
    order = sorted(words, key=lambda word: share_of(["choices", seed, task.name, row["id"], word]))
    return order, task.choices[label]


def _check_filled(task: Task, template: Template, row: Row, prompt: str, answer: str, where: str) -> None:
    shown = always_shown(template.prompt) | ({task.passage} if template.kind == "passage_first" else set())
    empty = sorted(name for name in shown if not str(row.get(name, "-")).strip())
    if empty or not prompt:
        raise UnusableRow("empty_prompt", f"the field '{(empty or ['?'])[0]}' of the prompt is empty", where)
    if not answer:
        raise UnusableRow("empty_answer", "the answer is empty", where)


def _passage_at(task: Task, row: Row, prompt: str) -> int:
    """Where the passage starts in the rendered user message; -1 when it is not shown."""
    passage = str(row.get(task.passage, "")) if task.passage else ""
    return prompt.find(passage) if passage else -1


def _evidence(task: Task, row: Row, prompt: str) -> Evidence | None:
    """Where the answer's span stands in the rendered user message."""
    span, at = str(row.get(task.evidence, "")) if task.evidence else "", _passage_at(task, row, prompt)
    if not span or at < 0:
        return None
    start = at + int(row[f"{task.evidence}_start"])
    return Evidence(0, start, start + len(span)) if prompt[start : start + len(span)] == span else None


def _metadata(task: Task, row: Row, prompt: str) -> dict[str, Any]:
    """The field that the source is redivided by; `passage`: (message, start, end), for shortening."""
    by, at = task.rows_from.resplit_by, _passage_at(task, row, prompt)
    place = {"passage": [0, at, at + len(str(row[task.passage]))]} if at >= 0 else {}
    return {**({by: row[by]} if by in row else {}), **place}
