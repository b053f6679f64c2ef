"""Rules of good Korean and of validity, for the templates of a task and for what they render."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from komt.errors import KomtError
from komt.korean import PAIRS, josa
from komt.sources import Rejected, present, read_rows
from komt.tasks.fields import Row, check_named, input_text, with_derived
from komt.tasks.jinja import fields_of
from komt.tasks.render import UnusableRow, render
from komt.tasks.task import Task, Template

_BOTH_FORMS = re.compile(r"[가-힣]\([가-힣]\)|\((?:으|이)\)[가-힣]|[은이을]/[는가를]")
_FORMS = sorted({form for pair in PAIRS.values() for form in pair}, key=len, reverse=True)
# What is filled in, closing marks, then a particle that ends its word: `{{ answer }}’을 `.
_FIXED = re.compile(r"\{\{(?! preface)[^}]*\}\}[\"'”’」』》〉)\]]*(" + "|".join(_FORMS) + r")(?=[\s,.?!:]|$)")
_PERIODS = re.compile(r"(?<!\.)\.\.(?!\.)|[?!]\.|。")
_STRAY = re.compile(r" {2,}| \n|\n{3,}| [,.?!](?=\s|$)")
# A right answer may stand in a question by chance (25 of the 5,774 of KorQuAD dev).
_LEAK_SHARE = 0.05
_ROWS_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: in which template, what, and an instance of it."""

    task: str
    template: str
    what: str
    instance: str


def check_task(task: Task, rows: Iterable[Row] | None = None) -> list[Finding]:
    """Faults of a task's templates; rows default to the first of its source, where it is here.

    Found: both forms of a particle, a fixed particle after a filled-in word, the wrong particle, doubled
    periods, stray spaces, a prompt that shows its answer, fields that are missing or empty.
    """
    looked_at = list(islice(rows if rows is not None else _rows(task), _ROWS_LOOKED_AT))
    unnamed = [fault for row in looked_at[:1] for fault in _named_faults(task, row)]
    return [*_evaluate_faults(task), *unnamed] + [
        finding
        for template in task.templates
        for finding in (*_static(task, template), *_rendered(task, template, [] if unnamed else looked_at))
    ]


def _evaluate_faults(task: Task) -> list[Finding]:
    """What is wrong with the split that is scored."""
    try:
        task.evaluation_split()
    except KomtError as error:
        return [Finding(task.name, "evaluate", error.what, error.cure)]
    return []


def _named_faults(task: Task, row: Row) -> list[Finding]:
    """What is wrong with the fields that the task names beside its templates."""
    try:
        check_named(task, with_derived(task, row))
        input_text(task, row)
    except KomtError as error:
        return [Finding(task.name, "fields", error.what, error.where)]
    return []


def _rows(task: Task) -> Iterable[Row]:
    source = task.rows_from
    split = next((split for split in source.splits if present(source, split)), "")
    return (row for row in read_rows(source, split) if not isinstance(row, Rejected)) if split else ()


def _static(task: Task, template: Template) -> Iterable[Finding]:
    def finding(what: str, instance: str) -> Finding:
        return Finding(task.name, template.id, what, instance)

    for text in (template.prompt, template.answer):
        words = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "…", text)
        for match in _BOTH_FORMS.finditer(words):
            yield finding("both forms of a particle; use the josa filter", match.group())
        for match in _FIXED.finditer(text):
            yield finding("a fixed particle after a filled-in word; use the josa filter", match.group())
    shared = fields_of(template.prompt) & fields_of(template.answer)
    if shared:
        yield finding("the prompt shows a field that the answer is made of", ", ".join(sorted(shared)))
    if template.kind == "closed_book" and task.passage in fields_of(template.prompt):
        yield finding("a closed-book prompt shows the passage", task.passage)


def _rendered(task: Task, template: Template, rows: list[Row]) -> Iterable[Finding]:
    found: dict[str, str] = {}
    leaked: list[str] = []
    empty: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row in map(_tidy, rows):
        try:
            if not template.fits(with_derived(task, row)):
                continue
            example = render(task, row, 0, template=template)
        except UnusableRow as error:
            if error.reason != "skipped_label":  # left out on purpose
                empty[error.reason] += 1
                first.setdefault(error.reason, _instance(task, row, error))
            continue
        except KomtError as error:
            yield Finding(task.name, template.id, error.what, error.where)
            return
        prompt, answer = example.messages[0].content, example.messages[1].content
        for what, instance in _faults(prompt, template, row):
            found.setdefault(what, instance)
        if template.kind == "closed_book" and answer in prompt:
            leaked.append(prompt)
    for what, instance in found.items():
        yield Finding(task.name, template.id, what, instance)
    if rows and len(leaked) > _LEAK_SHARE * len(rows):
        yield Finding(
            task.name, template.id, f"{len(leaked)} of {len(rows)} prompts hold the answer", leaked[0]
        )
    for reason, count in empty.items():
        yield Finding(task.name, template.id, f"{count} of {len(rows)} rows: {reason}", first[reason])


def _instance(task: Task, row: Row, error: UnusableRow) -> str:
    """What makes a row unusable: its label, or the row and what is wrong with it."""
    if error.reason == "unknown_label":
        return str(row[task.label])
    return f"row {row['id']}: {error.what}" if "id" in row else error.what


def _faults(prompt: str, template: Template, row: Row) -> Iterable[tuple[str, str]]:
    """Faults of one prompt that its template makes: what stands inside a row's own text is the data's."""
    own = list(_texts(row))
    for pattern, what in (
        (_PERIODS, "doubled punctuation"),
        (_STRAY, "a stray or doubled space or blank line"),
    ):
        for match in pattern.finditer(prompt):
            around = prompt[max(0, match.start() - 8) : match.end() + 8]
            seen, opening = prompt[max(0, match.start() - 1) : match.end()], match.group().strip()
            if not any(seen in text or (opening and text.startswith(opening)) for text in own):
                yield what, around
    if "josa" not in template.prompt:
        return
    for word in filter(None, own):
        for first, second in PAIRS.values():
            right = josa(word, f"{first}/{second}")[len(word) :]
            wrong = second if right == first else first
            if f"‘{word}’{wrong} " in prompt:
                yield "the wrong particle after a filled-in word", f"{word[-10:]}{wrong}"


def _texts(value: Any) -> Iterable[str]:
    """Every text in a row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _tidy(row: Row) -> dict[str, Any]:
    """A row whose texts have single spaces: what is then found double comes from the template."""
    tidy = {
        key: re.sub(r"[ \t]+", " ", value) if isinstance(value, str) else value for key, value in row.items()
    }
    return {**tidy, **{key: 0 for key in row if key.endswith("_start")}}
