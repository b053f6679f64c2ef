"""JSON by a schema over llama.cpp: the schema as a grammar, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from api_client import Client, events

from komt.api.errors import ApiError
from komt.api.grammar import Grammars, closed, grammar_of


def by(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def test_a_cut_answer_by_a_schema_ends_by_its_length_and_not_with_an_error(over_llama_cpp: Client):
    schema = {"type": "object", "properties": {"답": {"type": "array", "items": {"type": "string"}}}}
    asked = {**by({**schema, "required": ["답"]}), "max_tokens": 40, "temperature": 0.7, "stream": True}
    ends = set()
    for seed in range(16):
        *pieces, last, done = events(over_llama_cpp.chat(**asked, seed=seed))
        assert done == "[DONE]"
        ends.add(end := last["choices"][0]["finish_reason"])
        if end == "stop":
            text = "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces)
            assert list(json.loads(text)) == ["답"]
    assert "length" in ends


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "thing"},
        {"type": "object", "properties": 5},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.org/schema.json"},
        {"enum": []},
        {"type": "string", "pattern": "^(?!가)"},
        {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
        {"type": "object", "properties": {"답": {"not": {"type": "string"}}}},
        {"type": "string", "format": "strange"},
        # Options of llguidance's own would make it leave things out.
        {"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}},
    ],
)
def test_what_cannot_be_followed_is_refused(over_llama_cpp: Client, schema: dict[str, Any]):
    for _ in range(2):
        answer = over_llama_cpp.chat(**by(schema), max_tokens=4)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["param"], error["code"]) == ("response_format", "invalid_value")


def named(names: int, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {f"{place}": {"const": 1} for place in range(names)}, **more}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"items": {"type": "null"}, "maxItems": 10**9}},
        {"type": "array", "items": {"type": "null"}, "minItems": 1001},
        named(451),
        named(500, required=["1", "2"]),
        {"anyOf": [named(100), named(100), named(100), named(100), named(100)]},
    ],
)
def test_a_schema_that_would_hold_up_everybody_or_bind_nothing_is_refused(
    over_llama_cpp: Client, schema: dict[str, Any]
):
    answer = over_llama_cpp.chat(**by(schema))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "response_format")
    assert "too big" in answer.json()["error"]["message"]


def test_a_schema_as_big_as_may_be_binds(over_llama_cpp: Client):
    schema = named(450, additionalProperties=False)
    listed = {"type": "array", "items": schema, "minItems": 2, "maxItems": 1000}
    for seed in range(2):
        asked = {**by(listed), "seed": seed, "max_tokens": 120, "temperature": 0.8}
        choice = over_llama_cpp.chat(**asked).json()["choices"][0]
        told = choice["message"]["content"]
        if choice["finish_reason"] == "stop":
            assert all(set(item) <= set(schema["properties"]) for item in json.loads(told))
        assert not set(told) - set('0123456789"{}[]:, \n\t')


@pytest.mark.parametrize(
    ("schema", "right"),
    [
        ({"type": "string", "pattern": "^[가-힣]{2,4}$"}, lambda value: 2 <= len(value) <= 4),
        ({"type": "integer", "multipleOf": 7, "maximum": 99, "minimum": 0}, lambda value: value % 7 == 0),
        ({"enum": ["긍정", "부정", None]}, lambda value: value in ("긍정", "부정", None)),
        ({"const": "x"}, lambda value: value == "x"),
        ({"type": "string", "format": "date"}, lambda value: len(value) == 10),
        ({"$defs": {"감정": {"enum": ["기쁨"]}}, "$ref": "#/$defs/감정"}, lambda value: value == "기쁨"),
        ({"type": "integer", "minimum": 3, "maximum": 3, "uniqueItems": False}, (3).__eq__),
        ({"$defs": {"a/감": {"const": 1}}, "$ref": "#/$defs/a~1%EA%B0%90"}, lambda value: value == 1),
    ],
)
def test_an_answer_fulfils_its_schema(over_llama_cpp: Client, schema: dict[str, Any], right: Any):
    answer = over_llama_cpp.chat(**by(schema), max_tokens=60).json()["choices"][0]
    assert answer["finish_reason"] == "stop"
    assert right(json.loads(answer["message"]["content"]))


def test_objects_are_closed_where_they_are_of_one_piece():
    item = {"type": "object", "properties": {"a": {"const": {"properties": {}}}}}
    shut = {**item, "additionalProperties": False}
    assert closed(item) == shut
    assert closed({"$defs": {"i": item}, "items": {"anyOf": [item, {"$ref": "#/$defs/i"}]}}) == {
        "$defs": {"i": shut},
        "items": {"anyOf": [shut, {"$ref": "#/$defs/i"}]},
    }
    spoken = {**item, "additionalProperties": item}
    assert closed(spoken) == {**item, "additionalProperties": shut}
    assert closed({**item, "required": ["a"]}) == {**shut, "required": ["a"]}
    for open_one in (
        {**item, "required": ["a", "나"]},
        {"allOf": [item, item]},
        {**item, "anyOf": [item, item]},
        {"$defs": {"i": item}, "properties": {"b": {**item, "$ref": "#/$defs/i"}}},
    ):
        assert closed(open_one) == open_one


def test_references_are_written_as_addresses_and_what_only_looks_like_one_stays():
    text = {"$ref": "#/가"}
    schema = {"properties": {"const": text, "$ref": {"const": text, "items": [text]}}, "default": text}
    address = {"$ref": "#/%EA%B0%80"}
    told = json.loads(grammar_of({**schema, "additionalProperties": True}).partition("%json ")[2])
    assert told["properties"] == {"const": address, "$ref": {"const": text, "items": [address]}}
    assert told["default"] == text


def test_a_deep_schema_is_written_in_a_moment():
    schema: dict[str, Any] = {"const": 1}
    for _ in range(30):
        schema = {"type": "object", "properties": {"안": {"items": schema}}}
    assert grammar_of(schema).count('"additionalProperties": false') == 30


def test_a_schema_is_tried_once_and_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("komt.api.grammar._MOST_KNOWN", 2)
    tried = []

    async def first_token(fields: dict[str, Any]) -> str:
        tried.append(json.loads(fields["grammar"].partition("%json ")[2])["const"])
        return "x" if tried[-1] == "no" else '"'

    async def ask(words: str) -> None:
        grammars = Grammars(first_token)
        for word in words.split():
            await grammars.of({"const": word})

    asyncio.run(ask("a b a c a b"))
    assert tried == ["a", "b", "c", "b"]
    with pytest.raises(ApiError):
        asyncio.run(ask("no"))
