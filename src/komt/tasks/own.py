"""Tasks by name: those of the catalogue, and those that a recipe's own files make."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from komt.errors import DataError, UsageError, did_you_mean, known_names
from komt.korean import nfc
from komt.recipe import FilePart, Recipe
from komt.sources import Source, SourceFile, beside, file_hash
from komt.sources.readers import Row, auto
from komt.tasks.jinja import fields_of, only_field, reads_a_row
from komt.tasks.propose import propose
from komt.tasks.task import TASKS, Task, Template, read_task_file

_OVER_CHOICES = {"accuracy", "macro_f1"}
_MOST_LABELS = 200
_TASK_KEYS = ("templates", "like")
_TEXTS = ("prompt", "answer", "rejected")


def add_folder_beside(recipe: Path | str) -> None:
    """Register `sources/*.yaml` and `tasks/*.yaml` in the folder of a recipe, instead of the last recipe's.

    Args:
        recipe: path of the recipe, or of its folder (`data.beside`); "" when there is none.

    Raises:
        KomtError: one has the name of a source or task that komt or a plugin has.
    """
    beside.add_folder_beside(recipe)
    TASKS.set_beside(beside.yaml_beside(recipe, "tasks"), _read_own, _TASK_KEYS)


def _read_own(path: Path) -> Task:
    """A task from a file of one's own, whose templates nobody has tried before.

    Raises:
        UsageError: all mistakes of the file at once.
        DataError: a template is not valid.
    """
    task = read_task_file(path)
    texts = {f"derive {name}": text for name, text in task.derive.items()}
    for template in task.templates:
        texts |= {f"template {template.id}, {key}": getattr(template, key) for key in _TEXTS}
    for place, text in texts.items():
        try:
            fields_of(text)
        except DataError as error:
            raise DataError(error.what, where=f"{path}, {place}", cure=error.cure) from error
    return task


def load_task(name: str, recipe: Recipe | None = None) -> Task:
    """A task of the catalogue, of a plugin, or of a recipe's own files.

    Raises:
        UsageError: unknown name, or all mistakes of its file at once.
    """
    own = own_tasks(recipe) if recipe else {}
    if own and name not in own and name not in TASKS:
        known = [*own, *TASKS.names()]
        raise UsageError(
            f"unknown task '{name}'{did_you_mean(name, known)}",
            cure=f"those of data.files: {', '.join(own)}; {known_names(TASKS.names(), 'komt tasks list')}",
        )
    return own[name] if name in own else TASKS.get(name)


def recipe_tasks(recipe: Recipe) -> dict[str, Task]:
    """Every task that a recipe trains on: those of data.tasks, then its own files."""
    return {**{name: load_task(name) for name in recipe.data.tasks}, **own_tasks(recipe)}


def own_tasks(recipe: Recipe) -> dict[str, Task]:
    """The tasks that a recipe's own files make, by name (default: the file's stem).

    Raises:
        UsageError: two tasks of one name; a prompt that names no column; accuracy asked for where the
            answer is no label.
        DataError: a template is not valid; accuracy asked for, and the file cannot be read for its labels.
    """
    made: dict[str, Task] = {}
    for part in recipe.data.files:
        task = _own_task(part)
        if task.name in made or task.name in TASKS:
            raise UsageError(
                f"two tasks are called '{task.name}'", where=part.path, cure="give the file another `name:`"
            )
        made[task.name] = task
    return made


def pairs_task(path: Path) -> Task:
    """A task over all preference pairs of a file, which are only scored; its columns are found by name.

    Raises:
        DataError: the file cannot be read, or has no columns `chosen` and `rejected` beside a prompt.
    """
    path = path.expanduser()
    if not path.is_file():
        raise DataError(f"no such file: {path}", cure="name a file of preference pairs")
    found = propose(path)
    if not found.worse:
        raise DataError(
            f"no preference pairs: the columns are {', '.join(found.columns)}",
            where=str(path),
            cure="a row needs `prompt`, and its answers as `chosen` and `rejected`",
        )
    part = FilePart(
        path=str(path), prompt=found.prompt, answer=found.answer, rejected=found.worse, evaluate=0.0
    )
    task = _own_task(part)
    assert task.inline
    files = tuple(file.model_copy(update={"split": "test"}) for file in task.inline.files)
    source = task.inline.model_copy(update={"files": files})
    return task.model_copy(update={"inline": source, "evaluate": "test"})


def _own_task(part: FilePart) -> Task:
    path = Path(part.path).expanduser().resolve()
    name = part.name or unicodedata.normalize("NFC", path.stem)
    source = Source(
        name=name,
        title=path.name,
        licence="own",
        origin="native",
        reader={"format": "auto", "table": part.format, "encoding": part.encoding},
        files=(SourceFile(path=str(path), split="train"),),
        hold_out=part.evaluate,
    )
    template = Template(
        id="own", kind="plain", prompt=part.prompt, answer=part.answer, rejected=part.rejected
    )
    _check_prompt(part, path, template)
    label, choices = _choices(part, path, template)
    return Task(
        name=name,
        family="own",
        source=name,
        passage="",
        label=label,
        choices=choices,
        templates=(template,),
        metrics=part.metrics,
        evaluate="test" if part.evaluate else "",
        inline=source,
    )


def _check_prompt(part: FilePart, path: Path, template: Template) -> None:
    where = f"data.files: {part.path}"
    try:
        if reads_a_row(template.prompt):
            return
    except DataError as error:
        raise DataError(error.what, where=f"{where}, prompt", cure=error.cure) from error
    columns: tuple[str, ...] = ()
    if path.is_file():
        columns = _columns(path, file_hash(path), part.format, part.encoding)
    raise UsageError(
        f"the prompt names no column of {path.name}, so every row would ask the same",
        where=where,
        cure="write {{ column }} where a row's text belongs"
        + (f"; the columns are: {', '.join(columns)}" if columns else ""),
    )


def _choices(part: FilePart, path: Path, template: Template) -> tuple[str, dict[str, str]]:
    """The label column and its labels, where a metric counts over choices."""
    if not _OVER_CHOICES.intersection(part.metrics):
        return "", {}
    where = f"data.files: {part.path}"
    try:
        column = only_field(template.answer)
    except DataError as error:
        raise DataError(error.what, where=f"{where}, answer", cure=error.cure) from error
    if not column:
        raise UsageError(
            f"accuracy and macro_f1 need an answer that is one label column, not {template.answer!r}",
            where=where,
            cure='write the column and nothing else, as answer: "{{ label }}", or use metrics: '
            "[exact_match, f1]",
        )
    labels = _labels(path, file_hash(path), column, part.format, part.encoding) if path.is_file() else ()
    if len(labels) > _MOST_LABELS:
        raise UsageError(
            f"accuracy and macro_f1 need a label column; '{column}' has {len(labels):,} different values",
            where=where,
            cure="use metrics: [exact_match, f1]",
        )
    return column, {label: label for label in labels}


@lru_cache(maxsize=64)
def _labels(path: Path, _hash: str, column: str, table: str, encoding: str) -> tuple[str, ...]:
    found = {str(nfc(row.values.get(column, ""))).strip() for row in _rows(path, table, encoding)}
    return tuple(sorted(found - {""}))


@lru_cache(maxsize=64)
def _columns(path: Path, _hash: str, table: str, encoding: str) -> tuple[str, ...]:
    return next((tuple(row.values) for row in _rows(path, table, encoding)), ())


def _rows(path: Path, table: str, encoding: str) -> Iterator[Row]:
    options = auto.Options.model_validate({"table": table, "encoding": encoding})
    return (item for item in auto.read(path, options) if isinstance(item, Row))
