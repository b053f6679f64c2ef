"""A task: what is asked about the rows of a source, in several phrasings, and how answers are scored."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from komt.errors import UsageError
from komt.recipe import Part, Words, parse_part
from komt.registry import Registry
from komt.sources import RESPLIT, Source, load_source, redivided
from komt.sources.source import read_yaml

Kind = Literal["plain", "options", "closed_book", "passage_first", "instruction_first", "inverted"]
CATALOG = Path(__file__).parent / "catalog"


class Template(Part):
    """One phrasing: sandboxed Jinja for the prompt and for the answer; `weight` is its share."""

    id: Words
    kind: Kind
    prompt: Words
    answer: Words
    weight: Annotated[float, Field(gt=0)] = 1.0

    @field_validator("prompt", "answer", mode="after")
    @classmethod
    def _nfc_and_trimmed(cls, text: str) -> str:
        # A prompt that ends in white space would be trimmed by the chat template, and ids would differ.
        return unicodedata.normalize("NFC", text).strip()

    @model_validator(mode="after")
    def _passage_first_shares_the_preface(self) -> Template:
        if (self.kind == "passage_first") != self.prompt.startswith("{{ preface }}"):
            raise ValueError("a passage_first prompt, and no other, starts with '{{ preface }}'")
        return self


class Task(Part):
    """What is asked.

    Attributes:
        family: the kind of work, such as extractive_qa.
        group: field with the passage's id, which examples over one passage share, or "".
        passage: field with the passage, which `{{ preface }}` opens.
        evidence: field with the answer's span in the passage (`FIELD_start` says where), or "".
        label: field with the right choice; choices: the labels, or label -> the word shown for it.
        references: field with the list of right answers, or "".
        evaluate: split that is scored, or "" for test where there is one, else dev.
        inline: the source of a recipe's own file; catalogue tasks name theirs.
    """

    name: Words
    family: Words
    source: Words
    group: str = ""
    passage: str = "context"
    evidence: str = ""
    label: str = "label"
    choices: dict[str, str] = Field(default_factory=dict)
    references: str = ""
    templates: Annotated[tuple[Template, ...], Field(min_length=1)]
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    evaluate: str = ""
    inline: Source | None = None

    @field_validator("choices", mode="before")
    @classmethod
    def _labels_are_their_words(cls, value: Any) -> Any:
        return {label: label for label in value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _template_ids_differ(self) -> Task:
        ids = [template.id for template in self.templates]
        if len(set(ids)) < len(ids):
            raise ValueError("two templates have the same id")
        return self

    @property
    def rows_from(self) -> Source:
        """The source whose rows the task asks about."""
        return self.inline or load_source(self.source)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of its templates, each once."""
        return tuple(dict.fromkeys(template.kind for template in self.templates))

    def evaluation_split(self, resplit: bool = False) -> str:
        """The split that is scored; with `resplit`, the redivided part where the source has no train file."""
        source = self.rows_from
        if resplit and redivided(source):
            return RESPLIT
        return self.evaluate or ("test" if "test" in source.splits else "dev")


def read_task_file(path: Path) -> Task:
    """A task from its YAML file; `like: other` takes over everything that is not given."""
    values = {"name": path.stem, **_with_likes(path)}
    task = parse_part(Task, values, str(path), f"the task '{path.stem}'")
    if task.name != path.stem:
        raise UsageError(f"the task calls itself '{task.name}'", where=str(path), cure=f"name: {path.stem}")
    return task


def _with_likes(path: Path, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    values = read_yaml(path)
    like = values.pop("like", "")
    if not like:
        return values
    other = path.parent / f"{like}.yaml"
    if not other.is_file() or like in seen:
        raise UsageError(f"like: {like} names no other task file", where=str(path))
    return {**_with_likes(other, (*seen, like)), "name": path.stem, **values}


TASKS: Registry[Task] = Registry("task", "komt.tasks")
TASKS.add_folder(CATALOG, read_task_file)
