"""What a server's body becomes: a reply, or trouble that another attempt may cure."""

import json

import httpx2
import pytest

from komt.judge.ask import BrokenError
from komt.judge.over_http import _reply, _said
from komt.judge.read_reply import read_score


def test_half_an_emoji_is_no_question_mark_behind_a_score():
    body = '{"choices": [{"message": {"content": "점수: 7 \\ud83d"}, "finish_reason": "stop"}]}'
    reply = _reply(httpx2.Response(200, text=body), 0.1)
    assert reply.text == "점수: 7 \ufffd"
    assert read_score(reply.text, 1, 10).score == 7


def test_a_whole_emoji_stays():
    body = json.dumps({"choices": [{"message": {"content": "👍 점수: 7"}}]})
    assert _reply(httpx2.Response(200, text=body), 0.1).text == "👍 점수: 7"


def test_brackets_without_end_are_nonsense_and_no_crash():
    deep = httpx2.Response(200, text="[" * 100_000)
    with pytest.raises(BrokenError, match="nonsense instead of a reply"):
        _reply(deep, 0.1)
    assert _said(deep).startswith("[[[")


@pytest.mark.parametrize(
    ("said", "tokens"), [(7, 7), (0, 0), (-1, None), (10**30, None), (True, None), ("7", None), (7.5, None)]
)
def test_what_can_be_no_count_of_tokens_is_unknown(said, tokens):
    message = {"choices": [{"message": {"content": "점수: 7"}}], "usage": {"prompt_tokens": said}}
    assert _reply(httpx2.Response(200, json=message), 0.1).prompt_tokens == tokens
