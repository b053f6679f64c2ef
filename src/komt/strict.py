"""Strict YAML: unknown keys fail, keys given twice fail, and all mistakes are told at once."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from yaml.constructor import ConstructorError

from komt.encodings import read_text
from komt.errors import UsageError, did_you_mean

Words = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0)]
P = TypeVar("P", bound=BaseModel)
# Of a wrong value; a longer one is not repeated.
_SHOWN_CHARACTERS = 80


class Part(BaseModel):
    """Base of every part: strict and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_without_dot(cls, value: Any) -> Any:
        # YAML 1.1 reads 5e-4 (no dot) as a string; a recipe's author meant the number.
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
            return float(value)
        return value


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error, not a silent loss of the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ConstructorError(None, None, "a key is a list or a mapping", key_node.start_mark)
            if key in seen:
                raise ConstructorError(None, None, f"the key '{key}' is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, what: str = "the file") -> dict[str, Any]:
    """The mapping in a YAML file; `what` is its name in the error, as "the recipe".

    Raises:
        UsageError: broken YAML, or a key that is given twice, with the line; or no mapping.
    """
    values = yaml_value(read_text(path), what, str(path))
    if not isinstance(values, dict):
        raise UsageError(f"{what} is not a mapping of keys to values", where=str(path))
    return values


def yaml_value(text: str, what: str, where: str = "") -> Any:
    """The value that a YAML text is; `what` is its name in the error.

    Raises:
        UsageError: broken YAML, with the line.
    """
    try:
        return yaml.load(text, _UniqueKeys)
    except RecursionError as error:
        raise UsageError(f"{what} is nested too deeply", where=where) from error
    except Exception as error:  # besides its own errors, whatever a date, a number or a tag raises
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark and where else ""
        raise UsageError(f"{what} is not valid YAML: {_first_line(error)}", where=f"{where}{line}") from error


def parse_part(part: type[P], values: Any, where: str, what: str) -> P:
    """Check plain values against a typed part; `what` is its name in the error, as "the recipe".

    Raises:
        UsageError: all mistakes at once, each with its key.
    """
    try:
        return part.model_validate(values)
    except ValidationError as error:
        lines = [_explain(item, part) for item in _causes([dict(item) for item in error.errors()])]
        count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
        raise UsageError(
            f"{count} in {what}:\n" + "\n".join(f"  - {x}" for x in lines), where=where
        ) from error


def _first_line(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _causes(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mistakes without those that only follow: a list is not too short for a mistake in its item."""
    return [
        item
        for item in items
        if item["type"] != "too_short"
        or not any(other["loc"][: len(item["loc"])] == item["loc"] for other in items if other is not item)
    ]


def _explain(item: dict[str, Any], part: type[BaseModel]) -> str:
    """One pydantic error as a sentence with the key in front."""
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key{did_you_mean(location[-1], _fields_at(part, location[:-1]))}"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = str(item["msg"]).removeprefix("Value error, ").replace("a valid tuple", "a list, as [a, b]")
    message = f"{key}: {message[0].lower()}{message[1:]}" if key else message
    given = repr(item["input"])
    short = key and len(given) <= _SHOWN_CHARACTERS and not isinstance(item["input"], dict)
    return f"{message} (given: {given})" if short else message


def _fields_at(part: type[BaseModel], location: list[str]) -> list[str]:
    """Names of the keys that are allowed at a place below a part."""
    for name in location:
        field = part.model_fields.get(name)
        found = _parts_in(field.annotation) if field else []
        if found:
            part = found[0]
    return list(part.model_fields)


def _parts_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for argument in get_args(annotation) for part in _parts_in(argument)]
