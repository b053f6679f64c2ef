"""Tools over llama.cpp: what is refused, and what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import Client, events
from test_upstream import talk

from komt.api.app import running
from komt.api.backend import singles
from komt.api.errors import ApiError
from komt.api.opening import Opening
from komt.api.passthrough import PassThrough
from komt.api.requests import ChatRequest, parse
from komt.api.tools import fields_of
from komt.testing import lively, tiny_model, tiny_tokenizer, write_gguf

TEMPLATE = """{%- if tools %}{{- '<tools>' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
{{- '</tools>' }}{%- endif %}{%- for message in messages %}{{- '<' + message.role + '>' }}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}{{- '\\n<tool_call>\\n{"name": "' + call.function.name }}
{{- '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}
{{- '\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<assistant>' }}{%- endif %}"""
SKIES = ["맑음", "흐림"]
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": SKIES}}}


def tool(name: str) -> dict[str, Any]:
    place = {"type": "object", "properties": {"도시": {"type": "string"}}, "required": ["도시"]}
    return {"type": "function", "function": {"name": name, "parameters": place}}


TOOLS = [tool("weather"), tool("clock")]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = tmp_path_factory.mktemp("tools") / "tools.gguf"
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    write_gguf(path, lively(tiny_model("llama", len(tokenizer))), tokenizer)
    with running(str(path), opening=Opening(slots=2, context=1024)) as address:
        yield Client(address, "tools")


@pytest.mark.parametrize("form", [FORM, {"type": "json_object"}])
@pytest.mark.parametrize("choice", [{}, {"tool_choice": "auto"}, {"tool_choice": "required"}])
def test_a_form_beside_tools_that_may_be_called_is_refused(client: Client, form: Any, choice: Any):
    answer = client.chat(tools=TOOLS, response_format=form, **choice)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("response_format", "unsupported_parameter")
    assert "tool_choice" in error["message"]


def test_a_form_beside_tools_that_are_not_called_is_held(client: Client):
    asked = {"tools": TOOLS, "tool_choice": "none", "response_format": FORM, "max_tokens": 60}
    for seed in range(4):
        *pieces, last, done = events(client.chat(**asked, seed=seed, stream=True))
        assert (done, last["choices"][0]["finish_reason"]) == ("[DONE]", "stop")
        told = "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces)
        assert json.loads(told) in SKIES


def test_tools_without_a_form_and_text_as_a_form_are_taken(client: Client):
    for more in ({}, {"response_format": {"type": "text"}}, {"tool_choice": "none"}):
        assert client.chat(tools=TOOLS, **more).status_code == 200


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "clock"}}])
def test_a_call_that_must_be_needs_tools(client: Client, choice: Any):
    answer = client.chat(tool_choice=choice)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tool_choice")


@pytest.mark.parametrize("choice", [{}, {"function": 5}, {"type": "function", "function": {"name": "sun"}}])
def test_a_tool_that_is_not_there_cannot_be_chosen(client: Client, choice: Any):
    answer = client.chat(tools=TOOLS, tool_choice=choice)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tool_choice")


def asking(**fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "몇 시?"}], **fields}
    return parse(ChatRequest, json.dumps(body).encode())


def test_one_tool_chosen_by_its_name_is_the_only_one_told_and_must_be_called():
    asked = asking(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "clock"}})
    assert fields_of(asked, by_name=False) == {"tools": [TOOLS[1]], "tool_choice": "required"}
    assert fields_of(asked, by_name=True) == {"tools": TOOLS, "tool_choice": asked.tool_choice}
    assert fields_of(asking(tools=TOOLS), by_name=False) == {"tools": TOOLS, "tool_choice": "auto"}


@pytest.mark.parametrize("streamed", [True, False])
def test_a_call_that_cannot_be_read_is_told_as_the_models_fault(streamed: bool):
    said = "The model produced output that does not match the expected peg-native format"
    body = json.dumps({"error": {"code": 500, "message": said, "type": "server_error"}}).encode()
    head = b"HTTP/1.1 500 Internal Server Error\r\n\r\n"
    if streamed:
        head, body = b"HTTP/1.1 200 OK\r\n\r\n", b"data: " + body + b"\n\n"

    def ask(server: Any) -> ApiError:
        async def run() -> None:
            backend = PassThrough("llama.cpp", server.address, {"m": {}}, 1)
            async for _ in backend.answer(singles(asking(tools=TOOLS))[0]):
                pass

        with pytest.raises(ApiError) as caught:
            asyncio.run(run())
        return caught.value

    error, _ = talk(head + body, ask)
    assert isinstance(error, ApiError)
    assert (error.status, error.kind) == (500, "model_error")
