"""Templates: sandboxed Jinja with particles; what a template names is known before it is rendered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta, nodes, pass_eval_context
from jinja2.exceptions import TemplateSyntaxError
from jinja2.filters import do_join
from jinja2.sandbox import ImmutableSandboxedEnvironment

from komt.errors import DataError, KomtError, did_you_mean
from komt.korean import josa

_MOST_CHARACTERS = 1_000_000


class _NoTextError(Exception):
    """A template prints a value that is no text: Python's own notation of it would be trained on."""

    def __init__(self, value: Any) -> None:
        super().__init__(f"the template prints {_kind(value)}")
        self.value = value


def _printable(value: Any) -> Any:
    if type(value) is str:
        return value
    if isinstance(value, dict | list | tuple | set | Iterator):
        raise _NoTextError(value)
    return value


@pass_eval_context
def _join(context: Any, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    items = list(value)
    if attribute is None:
        for item in items:
            _printable(item)
    return str(do_join(context, items, d, attribute))


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, in which no product fills the memory."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """The product or power of two values.

        Raises:
            OverflowError: it would be longer than any text of a task.
        """
        sizes = [len(side) if hasattr(side, "__len__") else abs(side) for side in (left, right)]
        repeats = any(hasattr(side, "__len__") for side in (left, right))
        if (repeats and sizes[0] * sizes[1] > _MOST_CHARACTERS) or (operator == "**" and max(sizes) > 1000):
            raise OverflowError(f"the result of '{operator}' would be too large")
        return super().call_binop(context, operator, left, right)


ENVIRONMENT = _Environment(
    undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=_printable
)
ENVIRONMENT.filters["josa"] = josa
ENVIRONMENT.filters["join"] = _join
# The same without a pass through Jinja, where what stands after the name is a text.
_PLAIN_FILTERS: dict[str, Callable[[Any, str], str]] = {
    "josa": josa,
    "join": lambda items, between: between.join([str(_printable(item)) for item in items]),
}
GIVEN = frozenset({"preface", "choices", "choice", "options", "answer_form", "words", "row"})


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Any:
    return ENVIRONMENT.from_string(text)


@lru_cache(maxsize=4096)
def _plain_parts(text: str) -> tuple[Callable[[dict[str, Any]], str], ...] | None:
    """A template of nothing but text, fields, particles and joined lists, as functions of the values.

    None where there is more to it.

    Jinja makes several dictionaries to render a template, which is most of the time that a row takes.
    """
    parts: list[Callable[[dict[str, Any]], str]] = []
    for body in _parsed(text).body:
        for node in body.nodes if isinstance(body, nodes.Output) else [body]:
            part = _plain_part(node)
            if part is None:
                return None
            parts.append(part)
    return tuple(parts)


def _plain_part(node: nodes.Node) -> Callable[[dict[str, Any]], str] | None:
    if isinstance(node, nodes.TemplateData):
        data = node.data
        return lambda values: data
    if isinstance(node, nodes.Name) and node.name != "row":
        name = node.name
        return lambda values: str(_printable(values[name]))
    if isinstance(node, nodes.Filter) and isinstance(node.node, nodes.Name) and node.node.name != "row":
        given = node.args[0] if len(node.args) == 1 and not node.kwargs else None
        name = node.node.name
        if isinstance(given, nodes.Const) and node.name in _PLAIN_FILTERS:
            apply, form = _PLAIN_FILTERS[node.name], str(given.value)
            return lambda values: apply(values[name], form)
    return None


@lru_cache(maxsize=4096)
def fields_of(text: str) -> frozenset[str]:
    """Names of the fields that a template reads; `{{ row["고객 문의"] }}` reads the field 고객 문의.

    Raises:
        DataError: broken syntax.
    """
    return (_free_names(text) - GIVEN) | _row_fields(_parsed(text))


def reference(name: str) -> str:
    """How a template names a column."""
    reserved = {
        "row",
        "choices",
        "choice",
        "preface",
        "not",
        "and",
        "or",
        "in",
        "is",
        "if",
        "else",
        "true",
        "none",
    }
    return name if name.isidentifier() and name not in reserved else f'row["{name}"]'


def names_in(text: str, name: str) -> bool:
    """Whether a template reads a name, a field's or a given one's."""
    return name in _free_names(text)


@lru_cache(maxsize=4096)
def shows_options(prompt: str, answer: str) -> bool:
    """Whether a prompt or its answer shows the choices as a list of lines, or says how to answer from it."""
    return bool({"options", "answer_form"} & (_free_names(prompt) | _free_names(answer)))


def reads_a_row(text: str) -> bool:
    """Whether a template reads anything of a row: a field by name, or `row` in whatever way."""
    return bool(fields_of(text)) or "row" in _free_names(text)


@lru_cache(maxsize=4096)
def only_field(text: str) -> str:
    """The field that a template writes out as it is, and nothing else, as `{{ label }}` does; or ""."""
    body = _parsed(text.strip()).body
    printed = body[0].nodes if len(body) == 1 and isinstance(body[0], nodes.Output) else []
    if len(printed) != 1:
        return ""
    named = {printed[0].name} - GIVEN if isinstance(printed[0], nodes.Name) else set()
    indexed = _row_field(printed[0]) if isinstance(printed[0], nodes.Getitem) else ""
    return next(iter(named), indexed)


@lru_cache(maxsize=4096)
def always_shown(text: str) -> frozenset[str]:
    """The fields that a template writes out in any case, not only inside an `if` or a loop."""
    outputs = [node for node in _parsed(text).body if isinstance(node, nodes.Output)]
    names = {name.name for output in outputs for name in output.find_all(nodes.Name)} - GIVEN
    return frozenset(names).union(*(_row_fields(output) for output in outputs))


def _parsed(text: str) -> nodes.Template:
    try:
        return ENVIRONMENT.parse(text)
    except TemplateSyntaxError as error:
        raise _not_valid(error, text) from error


@lru_cache(maxsize=4096)
def _free_names(text: str) -> frozenset[str]:
    try:
        return frozenset(meta.find_undeclared_variables(_parsed(text)))
    except TemplateSyntaxError as error:
        raise _not_valid(error, text) from error


def _row_fields(tree: nodes.Node) -> frozenset[str]:
    return frozenset(filter(None, map(_row_field, tree.find_all(nodes.Getitem))))


def _row_field(item: nodes.Getitem) -> str:
    """The field that `row["field"]` reads; "" for any other subscript."""
    of_row = isinstance(item.node, nodes.Name) and item.node.name == "row"
    return str(item.arg.value) if of_row and isinstance(item.arg, nodes.Const) else ""


def fill(text: str, values: dict[str, Any], where: str) -> str:
    """Render a template.

    Raises:
        DataError: broken syntax, a field that the values do not have, or whatever fails while rendering;
            all name the template, the last one also the row where its id is known.
    """
    try:
        plain = _plain_parts(text)
        if plain is not None:
            try:
                return "".join([part(values) for part in plain])
            except KeyError:  # a name that this row is not given: what follows says so
                pass
        if not fields_of(text) <= values.keys():
            raise _no_such_field(min(fields_of(text) - values.keys()), values, where)
        return _rendered(_compiled(text), {**ENVIRONMENT.globals, **values, "row": values})
    except KomtError as error:
        raise DataError(error.what, where=error.where or where, cure=error.cure) from error
    except _NoTextError as error:
        raise _no_text(error.value, values, _row_at(values, where)) from error
    except TemplateSyntaxError as error:
        broken = _not_valid(error, text)
        raise DataError(broken.what, where=where, cure=broken.cure) from error
    except Exception as error:  # a template is a program of its author's: anything may go wrong in it
        what = str(error) if isinstance(error, TemplateError) else f"{error} ({type(error).__name__})"
        raise DataError(
            f"the template cannot be rendered: {what}",
            where=_row_at(values, where),
            cure=f"mend the template {text!r}",
        ) from error


def _rendered(template: Any, names: dict[str, Any]) -> str:
    """What `Template.render` gives, which copies the names twice: half of the time of a short template."""
    context = ENVIRONMENT.context_class(ENVIRONMENT, names, template.name, template.blocks)
    return "".join(template.root_render_func(context))


def _row_at(values: dict[str, Any], where: str) -> str:
    return f"{where}, row {values['id']}" if "id" in values else where


def _not_valid(error: TemplateSyntaxError, text: str) -> DataError:
    return DataError(
        f"the template is not valid: {error.message} in {text!r}",
        cure='a field whose name is not one word is written {{ row["its name"] }}',
    )


def _no_text(value: Any, values: dict[str, Any], where: str) -> DataError:
    name = next((name for name, item in values.items() if item is value), "")
    field = f"the field '{name}', which holds {_kind(value)}" if name else _kind(value)
    shown = name if name.isidentifier() else f'row["{name}"]' if name else "its_name"
    return DataError(
        f"the template prints {field}, not text",
        where=where,
        cure=f'write what is in it: {{{{ {shown} | join(", ") }}}} for a list of texts, '
        f"{{{{ {shown}.key }}}} for an object",
    )


def _kind(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "a list"


def _no_such_field(name: str, values: dict[str, Any], where: str) -> DataError:
    known = [field for field in values if field not in GIVEN and field != "id"]
    return DataError(
        f"the template names a field '{name}' that the rows do not have{did_you_mean(name, known)}",
        where=where,
        cure=f"the fields are: {', '.join(known)}",
    )
