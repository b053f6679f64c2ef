"""Wrong requests get OpenAI's error object, the right status, and nothing else happens."""

from typing import Any

import pytest
from api_client import ASKED, Client


def fault(response: Any, status: int, code: str | None = None, param: str | None = None) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert (error["code"], error["param"]) == (code, param), error
    return str(error["message"])


def test_a_prompt_over_the_context_is_refused(client: Client):
    long = "가나다라 " * 4000
    for stream in (False, True):
        asked = [{"role": "user", "content": long}]
        message = fault(
            client.chat(messages=asked, stream=stream), 400, "context_length_exceeded", "messages"
        )
        assert "maximum context length is" in message
        fault(client.complete(long, stream=stream), 400, "context_length_exceeded", "prompt")
    assert client.chat(max_tokens=2).status_code == 200


def test_a_body_over_the_limit_is_refused_before_it_is_read_on(client: Client):
    body = b'{"model": "tiny", "messages": "' + b"x" * (5 << 20) + b'"}'
    message = fault(client.post("/chat/completions", content=body), 413, "body_too_large")
    assert "4,194,304 bytes" in message


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "invalid_json", "line 1, column 1"),
        (b'{"model": "tiny",}', "invalid_json", "line 1"),
        (b'{"temperature": NaN}', "invalid_json", "out of range"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "invalid_json", "out of range"),
        (b"[" * 100_000, "invalid_json", "nested"),
        (b"[1]", "invalid_json", "not a JSON object"),
        (b'{"model": "tiny", "x": ' + b"[" * 70 + b"]" * 70 + b"}", "invalid_json", "nested more than"),
        (b'{"model": "\xff"}', "invalid_utf8", "byte 11 of 14"),
        ('{"model": "tiny"}'.encode("utf-16"), "invalid_utf8", "not UTF-8"),
        (b'{"model": "tiny", "prompt": "\\ud83d"}', "invalid_text", "half a surrogate pair"),
    ],
)
def test_a_body_that_is_no_json_text_is_refused(client: Client, body, code, said):
    assert said in fault(client.post("/completions", content=body), 400, code)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "robot", "content": "가"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": 1e999}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 2.5}, "max_tokens"),
        ({"n": 1000}, "n"),
        ({"n": True}, "n"),
        ({"stop": ""}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"stream": "yes"}, "stream"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"logit_bias": {"5": 1000}}, "logit_bias"),
        ({"model": 5}, "model"),
    ],
)
def test_a_wrong_field_is_named(client: Client, fields, param):
    body = {"model": "tiny", **ASKED, **fields}
    if fields.get("temperature") == 1e999:
        content = b'{"model": "tiny", "messages": [{"role": "user", "content": "a"}], "temperature": 1e999}'
        response = client.post("/chat/completions", content=content)
    else:
        response = client.post("/chat/completions", json=body)
    assert param in fault(response, 400, "invalid_value", param)


def test_options_that_need_another_are_refused_without_it(client: Client):
    for fields in ({"top_logprobs": 3}, {"stream_options": {"include_usage": True}}):
        assert next(iter(fields)) in fault(client.chat(**fields), 400, "invalid_value")
    for fields in ({"best_of": 3}, {"suffix": "끝"}, {"echo": True, "logprobs": 1}):
        assert next(iter(fields)) in fault(client.complete(**fields), 400, "invalid_value")


def test_missing_fields_are_named(client: Client):
    no_model = client.post("/chat/completions", json=ASKED)
    fault(no_model, 400, "missing_required_parameter", "model")
    no_prompt = client.post("/completions", json={"model": "tiny"})
    fault(no_prompt, 400, "missing_required_parameter", "prompt")


def test_an_empty_prompt_and_an_unknown_token_are_refused(client: Client):
    for prompt in ([], [[]], [10_000_000], [[5], [1 << 30]], [-1], [5, "가"]):
        assert client.complete(prompt).status_code == 400, prompt
    assert client.complete([5], max_tokens=1).status_code == 200


def test_an_unknown_model_is_not_found(client: Client):
    assert "tiny" in fault(client.chat(model="gpt-4o"), 404, "model_not_found", "model")
    fault(client.get("/models/gpt-4o"), 404, "model_not_found", "model")
    assert len(client.chat(model="x" * 10_000).text) < 400


def test_an_unknown_route_and_a_wrong_method_are_told(client: Client):
    assert "POST /v1/embeddings" in fault(client.post("/embeddings", json={}), 404, "unknown_url")
    fault(client.get("/models/"), 404, "model_not_found", "model")
    refused = client.get("/chat/completions")
    fault(refused, 405, "method_not_supported")
    assert refused.headers["allow"] == "POST"
    fault(client.delete("/models"), 405, "method_not_supported")


def test_fields_that_are_not_known_are_passed_over(client: Client):
    answer = client.chat(
        user="kim", metadata={"a": "b"}, store=False, temperature=0, lora=[{"id": 0, "scale": 9}]
    )
    assert answer.json()["choices"] == client.chat(temperature=0).json()["choices"]


def test_a_schema_that_is_none_is_refused(over_llama_cpp: Client):
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "thing"}}}
    assert over_llama_cpp.chat(response_format=asked).status_code == 400
    fault(
        over_llama_cpp.chat(response_format={"type": "json_schema"}), 400, "invalid_value", "response_format"
    )
