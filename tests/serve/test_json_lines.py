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


def test_rows_come_back_with_answers():
    text = with_answers([{"id": 1, "prompt": "가"}], [Completion((5,), " 나\n", True)])
    assert json.loads(text) == {"id": 1, "prompt": "가", "answer": "나", "ended": True}
    assert "나" in text
