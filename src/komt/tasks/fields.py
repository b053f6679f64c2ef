"""The fields of a row that a task names: derived ones, those that must be there, those that are asked."""

from __future__ import annotations

from typing import Any

from komt.errors import DataError, did_you_mean
from komt.tasks.jinja import fields_of, fill
from komt.tasks.task import Task

Row = dict[str, Any]


def with_derived(task: Task, row: Row) -> Row:
    """The row with the fields that the task derives from its others.

    Raises:
        DataError: the row lacks a field that is derived from.
    """
    if not task.derive:
        return row
    for name, text in task.derive.items():
        if name not in row:
            where = f"task {task.name}, derived field {name}"
            row = {**row, name: fill(text, {"words": task.words, **row}, where).strip()}
    return row


def check_named(task: Task, row: Row) -> None:
    """Do nothing but for a row, its derived fields included, that lacks a field which the task names.

    Raises:
        DataError: the key of the task, the field, and what it may have been meant to be.
    """
    if not task.named_fields.keys() <= row.keys():
        name = next(name for name in task.named_fields if name not in row)
        raise _no_such_field(task.named_fields[name], name, task, row)


def input_text(task: Task, row: Row) -> str:
    """What a row asks, as one text: its input fields, else all fields that the task's prompts may show.

    Raises:
        DataError: the rows do not have an input field.
    """
    row = with_derived(task, row)
    for name in task.input:
        if name not in row:
            raise _no_such_field("input", name, task, row)
    return "\n".join(filter(None, (_as_text(row.get(name, "")) for name in _input_fields(task))))


def _input_fields(task: Task) -> tuple[str, ...]:
    if task.input:
        return task.input
    names = set[str]().union(*(fields_of(template.prompt) for template in task.templates))
    if any(template.kind == "passage_first" for template in task.templates):
        names.add(task.passage)
    return tuple(sorted(names))


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return " ".join(map(_as_text, value.values()))
    return " ".join(map(_as_text, value)) if isinstance(value, list | tuple) else str(value)


def _no_such_field(key: str, name: str, task: Task, row: Row) -> DataError:
    known = [field for field in row if field != "id"]
    row_at = f", row {row['id']}" if "id" in row else ""
    return DataError(
        f"`{key}` names a field '{name}' that the rows do not have{did_you_mean(name, known)}",
        where=f"task {task.name}{row_at}",
        cure=f"the fields are: {', '.join(known)}\n"
        "    (a field that only some rows have has to be given to all, empty where there is nothing)",
    )
