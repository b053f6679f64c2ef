"""A task: what is asked about the rows of a source, in several phrasings, and how answers are scored."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from komt.errors import UsageError, did_you_mean
from komt.recipe import Kind
from komt.registry import Registry
from komt.sources import RESPLIT, Source, load_source, redivided
from komt.strict import Part, Words, parse_part, read_yaml

CATALOG = Path(__file__).parent / "catalog"


class Template(Part):
    """One phrasing: sandboxed Jinja for the prompt and for the answer.

    Attributes:
        rejected: the worse answer of a preference pair, whose better one is `answer`; "" where there is none.
        weight: its share among the phrasings that fit a row.
        when: it fits only rows where this field is not empty, or where each of these fields has one of these
            values.
    """

    id: Words
    kind: Kind
    prompt: Words
    answer: Words
    rejected: str = ""
    weight: Annotated[float, Field(gt=0)] = 1.0
    when: str | dict[str, tuple[str, ...]] = ""

    @field_validator("when", mode="before")
    @classmethod
    def _values_are_texts(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        lists = {
            field: items if isinstance(items, list | tuple) else [items] for field, items in value.items()
        }
        return {field: tuple(map(str, items)) for field, items in lists.items()}

    @field_validator("prompt", "answer", "rejected", mode="after")
    @classmethod
    def _nfc_and_trimmed(cls, text: str) -> str:
        # A prompt that ends in white space would be trimmed by the chat template, and ids would differ.
        return unicodedata.normalize("NFC", text).strip()

    @model_validator(mode="after")
    def _passage_first_shares_the_preface(self) -> Template:
        if (self.kind == "passage_first") != self.prompt.startswith("{{ preface }}"):
            raise ValueError(
                f"template '{self.id}': a passage_first prompt, and no other, starts with '{{{{ preface }}}}'"
            )
        return self

    @property
    def asked_of(self) -> tuple[str, ...]:
        """The fields that `when` looks at."""
        return tuple(self.when) if isinstance(self.when, dict) else (self.when,)

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether `when` lets a row be asked this way."""
        if isinstance(self.when, dict):
            return all(str(row.get(field, "")) in values for field, values in self.when.items())
        return not self.when or bool(row.get(self.when))


class Task(Part):
    """What is asked.

    Attributes:
        family: the kind of work, such as extractive_qa.
        group: field with the passage's id, which examples over one passage share, or "".
        passage: field with the passage, which `{{ preface }}` opens.
        evidence: field with the answer's span in the passage, or ""; `FIELD_start` says where, else the first
            place counts.
        input: fields that make up what is asked: rows are compared by them (duplicates, contamination).
        label: field with the right choice; choices: the labels, or label -> the word shown for it.
        skip: labels whose rows are left out.
        choice_fields: label -> field with the choice, where every row has choices of its own.
        words: any words that the templates look up, as `words[e.type]`.
        derive: further fields, as Jinja over a row's fields and those derived above: a word of the row to be
            asked about, say, and its answer.
        references: field with the list of right answers, or "".
        gold: fields that metrics read beyond the answer; an example keeps them in its metadata, under `gold`.
        evaluate: split that is scored, or "" for test where there is one, else dev.
        inline: the source of a recipe's own file; catalogue tasks name theirs.
    """

    name: Words
    family: Words
    source: Words
    group: str = ""
    passage: str = "context"
    evidence: str = ""
    input: tuple[str, ...] = ()
    label: str = "label"
    choices: dict[str, str] = Field(default_factory=dict)
    skip: tuple[str, ...] = ()
    choice_fields: dict[str, str] = Field(default_factory=dict)
    words: dict[str, str] = Field(default_factory=dict)
    derive: dict[str, str] = Field(default_factory=dict)
    references: str = ""
    gold: tuple[str, ...] = ()
    templates: Annotated[tuple[Template, ...], Field(min_length=1)]
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    evaluate: str = ""
    inline: Source | None = None

    @field_validator("choices", mode="before")
    @classmethod
    def _labels_are_their_words(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {str(label): str(label) for label in value}
        return _text_keys(value)

    @field_validator("choice_fields", "words", mode="before")
    @classmethod
    def _labels_are_texts(cls, value: Any) -> Any:
        return _text_keys(value)

    @field_validator("skip", mode="before")
    @classmethod
    def _skipped_are_texts(cls, value: Any) -> Any:
        return tuple(map(str, value)) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _choices_of_one_kind(self) -> Task:
        if self.choices and self.choice_fields:
            raise ValueError("give choices, the same for all rows, or choice_fields, but not both")
        options = [template.id for template in self.templates if template.kind == "options"]
        if options and not self.has_choices:
            raise ValueError(f"template '{options[0]}': the kind options needs choices or choice_fields")
        if self.skip and not self.has_choices:
            raise ValueError("skip names labels, but there are no choices")
        return self

    @model_validator(mode="after")
    def _template_ids_differ(self) -> Task:
        ids = [template.id for template in self.templates]
        twice = [name for name in dict.fromkeys(ids) if ids.count(name) > 1]
        if twice:
            raise ValueError(f"two templates have the same id '{twice[0]}'")
        return self

    @property
    def rows_from(self) -> Source:
        """The source whose rows the task asks about."""
        return self.inline or load_source(self.source)

    @property
    def has_choices(self) -> bool:
        """Whether an answer is one of given choices."""
        return bool(self.choices or self.choice_fields)

    @cached_property
    def named_fields(self) -> dict[str, str]:
        """Fields that every row must have, with the key that names them; `input` is looked at by itself."""
        named = {field: "when" for template in self.templates for field in template.asked_of}
        named |= dict.fromkeys(set(self.gold) - ({"words"} if self.words else set()), "gold")
        named |= {self.references: "references", self.evidence: "evidence", self.group: "group"}
        if "passage" in self.model_fields_set or "passage_first" in self.kinds:
            named[self.passage] = "passage"
        return {field: key for field, key in named.items() if field}

    @cached_property
    def has_conditions(self) -> bool:
        """Whether some template fits only some rows."""
        return any(template.when for template in self.templates)

    @cached_property
    def is_even(self) -> bool:
        """Whether all templates have the usual weight."""
        return all(template.weight == 1 for template in self.templates)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of its templates, each once."""
        return tuple(dict.fromkeys(template.kind for template in self.templates))

    def evaluation_split(self, resplit: bool = False) -> str:
        """The split that is scored; with `resplit`, the redivided part where the source has no train file.

        Raises:
            UsageError: `evaluate` names a split that the source does not have.
        """
        source = self.rows_from
        if self.evaluate and self.evaluate not in source.splits:
            raise UsageError(
                f"`evaluate` names a split '{self.evaluate}' that the source '{source.name}' does not have"
                f"{did_you_mean(self.evaluate, source.splits)}",
                where=f"task {self.name}",
                cure=f"it has: {', '.join(source.splits)}",
            )
        if resplit and redivided(source):
            return RESPLIT
        return self.evaluate or ("test" if "test" in source.splits else "dev")


def _text_keys(value: Any) -> Any:
    """A mapping whose keys are texts: YAML reads 0, 1 and yes as numbers and booleans."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else value


def read_task_file(path: Path) -> Task:
    """A task from its YAML file; `like: other` takes over everything that is not given."""
    values = {"name": path.stem, **_with_likes(path)}
    task = parse_part(Task, values, str(path), f"the task '{path.stem}'")
    if task.name != path.stem:
        raise UsageError(f"the task calls itself '{task.name}'", where=str(path), cure=f"name: {path.stem}")
    return task


def _with_likes(path: Path, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    values = read_yaml(path, f"the task '{path.stem}'")
    like = values.pop("like", "")
    if not like:
        return values
    other = path.parent / f"{like}.yaml"
    if not other.is_file():
        # Own tasks may be like those of the catalogue.
        other = CATALOG / f"{like}.yaml"
    if not other.is_file() or like in seen:
        known = [
            each.stem for folder in (path.parent, CATALOG) for each in folder.glob("*.yaml") if each != path
        ]
        raise UsageError(
            f"like: {like} names no other task file{did_you_mean(str(like), known)}", where=str(path)
        )
    return {**_with_likes(other, (*seen, like)), "name": path.stem, **values}


TASKS: Registry[Task] = Registry("task", "komt.tasks")
TASKS.add_folder(CATALOG, read_task_file)
