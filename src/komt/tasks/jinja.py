"""Templates: sandboxed Jinja with particles; what a template names is known before it is rendered."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from komt.errors import DataError, did_you_mean
from komt.korean import josa

ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
)
ENVIRONMENT.filters["josa"] = josa
GIVEN = frozenset({"preface", "choices", "choice", "row"})


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Any:
    return ENVIRONMENT.from_string(text)


@lru_cache(maxsize=4096)
def fields_of(text: str) -> frozenset[str]:
    """Names of the fields that a template reads; `{{ row["고객 문의"] }}` reads the field 고객 문의."""
    tree = ENVIRONMENT.parse(text)
    return frozenset(meta.find_undeclared_variables(tree) - GIVEN) | _row_fields(tree)


@lru_cache(maxsize=4096)
def always_shown(text: str) -> frozenset[str]:
    """The fields that a template writes out in any case, not only inside an `if` or a loop."""
    outputs = [node for node in ENVIRONMENT.parse(text).body if isinstance(node, nodes.Output)]
    names = {name.name for output in outputs for name in output.find_all(nodes.Name)} - GIVEN
    return frozenset(names).union(*(_row_fields(output) for output in outputs))


def _row_fields(tree: nodes.Node) -> frozenset[str]:
    return frozenset(
        str(item.arg.value)
        for item in tree.find_all(nodes.Getitem)
        if isinstance(item.node, nodes.Name) and item.node.name == "row" and isinstance(item.arg, nodes.Const)
    )


def fill(text: str, values: dict[str, Any], where: str) -> str:
    """Render a template.

    Raises:
        DataError: broken syntax, or a field that the values do not have; both name the template.
    """
    try:
        missing = sorted(fields_of(text) - values.keys())
        if missing:
            raise _no_such_field(missing[0], values, where)
        return str(_compiled(text).render({**values, "row": values}))
    except TemplateSyntaxError as error:
        raise DataError(
            f"the template is not valid: {error.message} in {text!r}",
            where=where,
            cure='a field whose name is not one word is written {{ row["its name"] }}',
        ) from error
    except TemplateError as error:
        raise DataError(f"the template cannot be rendered: {error}", where=where) from error


def _no_such_field(name: str, values: dict[str, Any], where: str) -> DataError:
    known = [field for field in values if field not in GIVEN and field != "id"]
    return DataError(
        f"the template names a field '{name}' that the rows do not have{did_you_mean(name, known)}",
        where=where,
        cure=f"the fields are: {', '.join(known)}",
    )
