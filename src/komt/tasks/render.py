"""Rows become examples: phrasing by a hash, preface by the passage, evidence located."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from komt.errors import DataError
from komt.example import Evidence, Example, Message
from komt.sources import Source, share_of
from komt.sources.readers.row import whole_number
from komt.tasks.fields import Row, check_named, with_derived
from komt.tasks.jinja import always_shown, fill, names_in, shows_options
from komt.tasks.task import Task, Template

_MARKS = ("123456789", "ABCDEFGHI", "가나다라마바사아자")


class UnusableRow(DataError):
    """A row that no example can be made of.

    `reason` is empty_prompt, empty_answer, unknown_label, skipped_label, no_template, and of preference pairs
    empty_rejected or identical_answers.
    """

    def __init__(self, reason: str, what: str, where: str = "") -> None:
        super().__init__(what, where=where)
        self.reason = reason


@lru_cache(maxsize=1)
def prefaces() -> tuple[str, ...]:
    """The ways of introducing a passage, shared by all tasks."""
    return tuple(yaml.safe_load((Path(__file__).parent / "prefaces.yaml").read_text(encoding="utf-8")))


def render(
    task: Task,
    row: Row,
    seed: int,
    *,
    split: str = "train",
    template: Template | None = None,
    source: Source | None = None,
) -> Example:
    """One example of a row.

    Args:
        task: what is asked.
        row: as `read_rows` gives it.
        seed: with the task and the row's id it chooses the phrasing and the order of the choices.
        split: where the row comes from.
        template: a phrasing, instead of the chosen one.
        source: the task's, where the caller has it at hand.

    Raises:
        UnusableRow: an empty prompt field or answer, or a label that is none of the choices.
        DataError: the task or a template names a field that the row does not have.
    """
    row = with_derived(task, row)
    check_named(task, row)
    template = template or choose_template(task, row, seed)
    where = f"task {task.name}, template {template.id}"
    choices, right = choices_of(task, row, seed, where)
    marks = _marks(task, row, seed, len(choices)) if choices and names_in(template.prompt, "options") else ()
    values = _values(task, template, row, choices, right, marks)
    prompt = fill(template.prompt, values, f"{where}, prompt").strip()
    answer = fill(template.answer, values, f"{where}, answer").strip()
    _check_filled(task, template, row, prompt, answer, where)
    rejected = _rejected(template, values, answer, where)
    source = source or task.rows_from
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
        references=_references(task, row, answer),
        choices=tuple(choices),
        answer_index=choices.index(right) if choices else None,
        evidence=_evidence(task, row, prompt),
        chosen=answer if rejected else "",
        rejected=rejected,
        metadata=_metadata(task, source, row, prompt, marks, choices),
    )


def _rejected(template: Template, values: Row, answer: str, where: str) -> str:
    """The worse answer of a preference pair, or ""."""
    if not template.rejected:
        return ""
    rejected = fill(template.rejected, values, f"{where}, rejected").strip()
    if not rejected:
        raise UnusableRow("empty_rejected", "the rejected answer is empty", where)
    if rejected == answer:
        raise UnusableRow("identical_answers", "the chosen and the rejected answer are the same", where)
    return rejected


def _references(task: Task, row: Row, answer: str) -> tuple[str, ...]:
    others = row.get(task.references, ()) if task.references else ()
    if not others:
        return (answer,)
    if isinstance(others, str):  # a table has one answer in its cell; `split` makes a list of several
        others = [others]
    return tuple(dict.fromkeys([answer, *filter(None, map(str.strip, map(str, others)))]))


def choose_template(task: Task, row: Row, seed: int) -> Template:
    """The phrasing of a row: by weight, fixed by the seed.

    Rows over one passage are all passage-first, or all instruction-first in the same phrasing: either way
    they share what they begin with.

    Raises:
        UnusableRow: no phrasing fits the row.
    """
    row = with_derived(task, row)
    group = row.get(task.group) if task.group else None
    fitting: Sequence[Template] = task.templates
    if task.has_conditions:
        fitting = [template for template in fitting if template.fits(row)]
    if not fitting:
        raise UnusableRow("no_template", "no template fits the row", f"task {task.name}")
    if group:
        first = [template for template in fitting if template.kind == "passage_first"]
        rest = [template for template in fitting if template.kind != "passage_first"]
        if first and rest:
            share = sum(template.weight for template in rest) / sum(item.weight for item in fitting)
            if share_of(["kind", seed, group]) < share:
                return _by_weight(rest, ["template", seed, task.name, group])
            fitting = first
    key = ["template", seed, task.name, row["id"]]
    return fitting[int(share_of(key) * len(fitting))] if task.is_even else _by_weight(fitting, key)


def _by_weight(templates: Sequence[Template], key: list[Any]) -> Template:
    point = share_of(key) * sum([item.weight for item in templates])
    for template in templates:
        point -= template.weight
        if point < 0:
            return template
    return templates[-1]


def _values(
    task: Task, template: Template, row: Row, choices: list[str], right: str, marks: Sequence[str]
) -> Row:
    given: Row = {"choices": choices, "choice": right, "words": task.words}
    if choices and shows_options(template.prompt, template.answer):
        shown = [f"{mark}." for mark in marks] or ["-"] * len(choices)
        given["options"] = "\n".join(map(" ".join, zip(shown, choices, strict=True)))
        given["answer_form"] = _answer_form(marks)
        if marks:
            given["choice"] = marks[choices.index(right)]
    if task.passage and task.passage in row:
        passage = str(row[task.passage])
        # By the passage, never by the task: examples of all tasks over one passage open alike.
        at = share_of(["preface", row.get(task.group) or passage] if task.group else ["preface", passage])
        text = prefaces()[int(at * len(prefaces()))]
        given["preface"] = fill(text, {"passage": passage}, "tasks/prefaces.yaml") + "\n\n"
    return {**given, **row}


def choices_of(task: Task, row: Row, seed: int, where: str = "") -> tuple[list[str], str]:
    """The words to choose from, in a seeded order, and the right one; ([], "") where there are none.

    Raises:
        UnusableRow: the label is empty, skipped, or none of the choices; two choices of a row are equal.
        DataError: the rows have no field for the label, or for a choice.
    """
    # An own file's template names the column itself, and says better that it is not there.
    if not task.has_choices or (task.inline and task.label not in row):
        return [], ""
    label = _label(task, row, where)
    if task.choice_fields:
        absent = [field for field in task.choice_fields.values() if field not in row]
        if absent:
            raise DataError(f"the rows have no field '{absent[0]}' for a choice", where=where)
        by_label = {key: str(row[field]).strip() for key, field in task.choice_fields.items()}
        words = list(by_label.values())
        if len(set(words)) < len(words) or not all(words):
            raise UnusableRow("equal_choices", "two choices are equal, or one is empty", where)
    else:
        by_label = task.choices
        words = list(dict.fromkeys(by_label.values()))
    order = sorted(words, key=lambda word: share_of(["choices", seed, task.name, row["id"], word]))
    return order, by_label[label]


def _label(task: Task, row: Row, where: str) -> str:
    if task.label not in row:
        raise DataError(f"the rows have no field '{task.label}' for the label", where=where)
    label, known = str(row[task.label]).strip(), task.choices or task.choice_fields
    if not label:
        raise UnusableRow("empty_answer", "the label is empty", where)
    if label in task.skip:
        raise UnusableRow("skipped_label", f"rows of the label '{label}' are left out", where)
    if label not in known:
        raise UnusableRow("unknown_label", f"the label '{label}' is none of: {', '.join(known)}", where)
    return label


def _marks(task: Task, row: Row, seed: int, count: int) -> tuple[str, ...]:
    """What stands before each choice and is the answer: numbers, letters, or () for the words themselves."""
    at = share_of(["marks", seed, task.name, row["id"]]) * (len(_MARKS) + 1)
    marks = ("", *_MARKS)[int(at)]
    return tuple(marks[:count]) if len(marks) >= count else ()


def _answer_form(marks: Sequence[str]) -> str:
    if not marks:
        return "보기의 말 그대로 답하세요."
    return "보기의 번호로만 답하세요." if marks[0] == "1" else "보기의 기호로만 답하세요."


def _check_filled(task: Task, template: Template, row: Row, prompt: str, answer: str, where: str) -> None:
    shown = always_shown(template.prompt)
    if template.kind == "passage_first":
        shown |= {task.passage}
    empty = [name for name in shown if not str(row.get(name, "-")).strip()]
    if empty or not prompt:
        empty.sort()
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
    given = whole_number(str(row.get(f"{task.evidence}_start", "")))
    # Rows of one's own may not say where: then the first place it stands at.
    end = at + len(str(row[task.passage]))
    start = prompt.find(span, at, end) if given is None else at + given
    return Evidence(0, start, start + len(span)) if prompt[start : start + len(span)] == span else None


def _metadata(
    task: Task, source: Source, row: Row, prompt: str, marks: Sequence[str], choices: Sequence[str]
) -> dict[str, Any]:
    """What is kept beside an example.

    The field that the source is redivided by; `passage`: message, start, end, for shortening; `marks`;
    `labels`: of the choices, where each row has its own; `gold`: what metrics read.
    """
    found: dict[str, Any] = {}
    if source.resplit_by in row:
        found[source.resplit_by] = row[source.resplit_by]
    if (at := _passage_at(task, row, prompt)) >= 0:
        found["passage"] = [0, at, at + len(str(row[task.passage]))]
    if marks:
        found["marks"] = list(marks)
    if task.choice_fields:
        by_choice = {str(row[field]).strip(): label for label, field in task.choice_fields.items()}
        found["labels"] = [by_choice[choice] for choice in choices]
    if task.gold:
        found["gold"] = {name: {"words": task.words, **row}[name] for name in task.gold}
    return found
