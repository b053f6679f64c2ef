"""JSON answers over llama.cpp: a schema as a grammar, and whether llama.cpp can follow it.

By its own `response_format` llama.cpp parses the answer while it is written, and ends the stream with an
error at a beginning that its parser cannot read; and what it cannot write as a grammar (look-ahead in a
pattern, `uniqueItems`, `not`) it leaves out, in silence. Its grammars by llguidance do neither, but one with
a mistake binds nothing at all, in silence too: so each is tried first.

Grammars: https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from komt.api.errors import ApiError

Json = dict[str, Any]
ANY_OBJECT: Json = {"type": "object"}
_MOST_KNOWN = 256
# A grammar of an array counts its items, in a time that grows with their square: all answers would wait.
_MOST_ITEMS = 1000
# All that may come next is followed at once, up to 2,000 places in the grammar, four for a property that may
# be left out; beyond, llama.cpp drops the grammar, in silence.
_MOST_OPTIONAL = 450
# Small models else write spaces without end, which JSON allows.
_OPTIONS = {"whitespace_pattern": "[ \\n\\t]{0,20}"}
# Where schemas stand in a schema.
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "prefixItems", "items")
_SINGLE = ("items", "additionalProperties")
_OTHERS = ("additionalProperties", "patternProperties", "unevaluatedProperties")
# What is no schema, whatever it looks like.
_VALUES = ("const", "enum", "default", "examples")
# What stands for itself in an address.
_ADDRESS = "%/#?&=+:;,@!$'()*~[]"
_COMPOSED = ("anyOf", "oneOf", "$ref", "$dynamicRef", "if", "dependentSchemas")


@dataclass
class Grammars:
    """The grammars of one server, and which of them it is known to follow.

    Attributes:
        first_token: the text of the likeliest first token under these fields of a `/completion` request.
    """

    first_token: Callable[[Json], Awaitable[str]]
    _known: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    async def of(self, schema: Json) -> str:
        """The grammar of a schema's JSON.

        Raises:
            ApiError: 400, llama.cpp would not be bound by it.
        """
        if _most_items(schema) > _MOST_ITEMS or _optional(schema) > _MOST_OPTIONAL:
            raise ApiError(
                400,
                "response_format.json_schema: the schema is too big: minItems and maxItems may be at most "
                f"{_MOST_ITEMS:,} (without maxItems there is no limit), and at most {_MOST_OPTIONAL} "
                "properties in all may be named and not required",
                param="response_format",
                code="invalid_value",
            )
        grammar = grammar_of(schema)
        digest = hashlib.sha256(grammar.encode()).digest()
        if digest in self._known:
            self._known.move_to_end(digest)
            return grammar
        if not await self._binds(grammar):
            raise ApiError(
                400,
                "response_format.json_schema: no answer can be held to this schema: it is no JSON Schema, "
                "nothing fulfils it, or it asks for what cannot be checked while the answer is written "
                "(not, if, uniqueItems, contains, oneOf whose parts overlap, a format that is not known, "
                "a pattern with look-around, a $ref to another document); leave that out",
                param="response_format",
                code="invalid_value",
            )
        self._known[digest] = None
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return grammar

    async def _binds(self, grammar: str) -> bool:
        """No JSON begins with an x: where one is written for all that, nothing is bound."""
        asked: Json = {"prompt": "x", "n_predict": 1, "temperature": 0, "logit_bias": [["x", 100]]}
        text = await self.first_token({**asked, "grammar": grammar})
        return not text.lstrip().startswith("x")


def grammar_of(schema: Json) -> str:
    """The grammar, in llguidance's form, of a schema's JSON; objects are closed, see `closed`."""
    # Options of a client's own could loosen it in silence.
    return f"%llguidance {{}}\nstart: %json {json.dumps({**_linked(closed(schema)), 'x-guidance': _OPTIONS})}"


def closed(schema: Json) -> Json:
    """The schema, its objects with no properties but those it names, where it does not speak of others.

    JSON Schema allows any; but a model that begins one is led astray, and servers of this kind close objects.
    Where objects are composed of several schemas all stays open: each part would shut out what others name.
    """
    return schema if _composes(schema) else _closed(schema)


def _closed(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    found = dict(schema)
    for word, parts in schema.items():
        if word in _NAMED and isinstance(parts, Mapping):
            found[word] = {name: _closed(part) for name, part in parts.items()}
        elif word in _LISTED and isinstance(parts, list):
            found[word] = [_closed(part) for part in parts]
        elif word in _SINGLE:
            found[word] = _closed(parts)
    if isinstance(named := schema.get("properties"), Mapping) and not any(word in schema for word in _OTHERS):
        required = schema.get("required", ())
        # Where more is required than is named, others must be allowed.
        if not isinstance(required, list) or all(
            isinstance(name, str) and name in named for name in required
        ):
            found["additionalProperties"] = False
    return found


def _linked(schema: Any) -> Any:
    """The schema as llguidance reads it: it finds no `#/$defs/감정` that is not written as an address is."""
    if isinstance(schema, list):
        return [_linked(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    found: Json = {}
    for word, part in schema.items():
        if word in _NAMED and isinstance(part, Mapping):
            found[word] = {name: _linked(inner) for name, inner in part.items()}
        else:
            found[word] = part if word in _VALUES else _linked(part)
    if found.get("uniqueItems") is False:  # says nothing, and is refused there
        del found["uniqueItems"]
    if isinstance(reference := schema.get("$ref"), str):
        found["$ref"] = quote(reference, safe=_ADDRESS)
    return found


def _most_items(schema: Any) -> float:
    """The largest number of items that a schema counts to."""
    if isinstance(schema, list):
        return max(map(_most_items, schema), default=0)
    if not isinstance(schema, Mapping):
        return 0
    counts = (schema.get("minItems"), schema.get("maxItems"))
    own = [count for count in counts if isinstance(count, (int, float))]
    return max([*own, *map(_most_items, schema.values())], default=0)


def _optional(schema: Any) -> int:
    """How many properties a schema names and does not require, in all its objects."""
    if isinstance(schema, list):
        return sum(map(_optional, schema))
    if not isinstance(schema, Mapping):
        return 0
    named, required = schema.get("properties"), schema.get("required")
    names = set(named) if isinstance(named, Mapping) else set()
    if isinstance(required, list):
        names -= {name for name in required if isinstance(name, str)}
    return len(names) + sum(map(_optional, schema.values()))


def _composes(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        beside = "properties" in schema and any(word in schema for word in _COMPOSED)
        return "allOf" in schema or beside or any(map(_composes, schema.values()))
    return isinstance(schema, list) and any(map(_composes, schema))
