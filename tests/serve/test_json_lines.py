"""Questions as JSON Lines."""

import json

import pytest

from komt.errors import DataError
from komt.serve.engine import Completion
from komt.serve.json_lines import parse_rows, with_answers


def asked(row) -> list[tuple[str, str]]:
    [(_, messages)] = parse_rows(json.dumps(row), "q.jsonl")
    return [(message.role, message.content) for message in messages]


def test_three_forms_are_taken():
    assert asked({"prompt": "안녕"}) == [("user", "안녕")]
    assert asked({"instruction": "줄여라"}) == [("user", "줄여라")]
    assert asked({"instruction": "줄여라", "input": "긴 글"}) == [("user", "줄여라\n\n긴 글")]
    talk = [{"role": "system", "content": "짧게"}, {"role": "user", "content": "안녕"}]
    assert asked({"messages": talk, "id": 3}) == [("system", "짧게"), ("user", "안녕")]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"prompt": "가"', "not JSON"),
        ('{"prompt": ' + "[" * 99999, "nested too deep"),
        ('{"prompt": "가", "id": ' + "1" * 5000 + "}", "too many digits"),
        ("[1]", "not a JSON object"),
        ("{}", "neither prompt, instruction nor messages"),
        ('{"prompt": "가", "instruction": "나"}', "both 'prompt' and 'instruction'"),
        ('{"prompt": ""}', "'prompt' is empty"),
        ('{"prompt": 3}', "'prompt' is no text: 3"),
        ('{"prompt": "가", "answer": "나"}', "already has 'answer'"),
        ('{"messages": "가"}', "not a list"),
        ('{"messages": []}', "the last message is not the user's"),
        ('{"messages": [{"role": "bot", "content": "가"}]}', "unknown role 'bot'"),
        ('{"messages": [{"role": "user"}]}', "'content' is no text: None"),
        ('{"messages": [{"role": "assistant", "content": "가"}]}', "the last message is not the user's"),
    ],
)
def test_a_line_that_is_no_question_is_named(line, what):
    with pytest.raises(DataError, match=what) as caught:
        parse_rows('{"prompt": "앞"}\n\n' + line, "q.jsonl")
    assert caught.value.where == "q.jsonl, line 3"


def test_lines_end_at_line_feeds_only():
    text = "".join(
        json.dumps({"prompt": f"앞{mark}뒤"}, ensure_ascii=False) + "\r\n" for mark in "\u2028\x85\u2029"
    )
    rows = parse_rows(text, "q.jsonl")
    assert [messages[0].content for _, messages in rows] == ["앞\u2028뒤", "앞\x85뒤", "앞\u2029뒤"]


def test_a_json_array_of_questions_is_taken():
    rows = parse_rows('[\n {"prompt": "가"},\n {"prompt": "나"}\n]\n', "q.json")
    assert [messages[0].content for _, messages in rows] == ["가", "나"]
    with pytest.raises(DataError, match="'prompt' is empty") as caught:
        parse_rows('[{"prompt": "가"}, {"prompt": ""}]', "q.json")
    assert caught.value.where == "q.json, item 2"
    with pytest.raises(DataError, match="not JSON") as caught:
        parse_rows('[{"prompt": "가"},\n {"prompt" ""}]', "q.json")
    assert caught.value.where == "q.json, line 2"


def test_half_a_surrogate_pair_is_named_with_its_line():
    with pytest.raises(DataError, match="half a surrogate pair") as caught:
        parse_rows('{"prompt": "가"}\n{"prompt": "나", "id": "\\ud800"}\n', "q.jsonl")
    assert caught.value.where == "q.jsonl, line 2"
    assert asked({"prompt": "\U0001f600"}) == [("user", "\U0001f600")]


def test_rows_come_back_with_answers():
    text = with_answers([{"id": 1, "prompt": "가"}], [Completion((5,), " 나\n", True)])
    assert json.loads(text) == {"id": 1, "prompt": "가", "answer": "나", "ended": True}
    assert "나" in text
