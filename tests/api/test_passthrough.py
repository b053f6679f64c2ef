"""What is read off the stream of a server behind the API, however it is written, against a bare socket."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from typing import Any

import pytest
from test_upstream import talk

from komt.api.backend import Delta, Usage, singles
from komt.api.errors import ApiError
from komt.api.passthrough import PassThrough
from komt.api.requests import ChatRequest, parse
from komt.serve.text_pieces import joins_on

END = b'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}]}\n\ndata: [DONE]\n\n'


def told(stream: bytes, end: bytes = END, **fields: Any) -> list[Delta]:
    """The pieces of an answer that comes as these bytes, and ends as a stream does."""
    body = {"model": "m", "messages": [{"role": "user", "content": "가"}], **fields}
    single = singles(parse(ChatRequest, json.dumps(body).encode()))[0]

    def ask(server: Any) -> list[Delta]:
        async def run() -> list[Delta]:
            backend = PassThrough("llama.cpp", server.address, {"m": {}}, 1)
            return [delta async for batch in backend.answer(single) for delta in batch]

        return asyncio.run(run())

    found = talk(b"HTTP/1.1 200 OK\r\n\r\n" + stream + end, ask)[0]
    assert isinstance(found, list)
    return found


def event(content: str, more: str = "", finish: str = "null") -> bytes:
    """An event as llama.cpp writes it; the content is JSON."""
    choice = f'{{"finish_reason":{finish},"index":0,"delta":{{"content":{content}}}{more}}}'
    return f'data: {{"choices":[{choice}],"created":1,"id":"x","model":"m"}}\n\n'.encode()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('"서울"', "서울"),
        ('" 🙂"', " 🙂"),
        (r'"줄\n\"바꿈\""', '줄\n"바꿈"'),
        (r'"\uc11c"', "서"),
        ('"\ufffd"', ""),
        ('"서\ufffd울"', "서울"),
        (r'"}}],\"created\":1"', '}}],"created":1'),
        ('"}}]"', "}}]"),
        ("null", ""),
        ('""', ""),
    ],
)
def test_a_piece_of_text_is_read_however_it_is_written(content: str, text: str):
    assert "".join(delta.text for delta in told(event(content))) == text
    spaced = event(content).replace(b'{"choices":[{', b'{ "choices": [ {')
    assert "".join(delta.text for delta in told(spaced)) == text


def test_no_piece_ends_within_a_syllable_of_jamo():
    apart = unicodedata.normalize("NFD", "한글 각한")
    texts = [delta.text for delta in told(b"".join(event(json.dumps(letter)) for letter in apart))]
    assert "".join(texts) == apart
    assert not any(joins_on(text) for text in texts)
    assert len([text for text in texts if text]) > 3
    logprobs = ',"logprobs":{"content":[{"token":"x","logprob":-1,"bytes":null,"top_logprobs":[]}]}'
    first, second, *_ = told(event('"\u1112"', logprobs) + event('"\u1161\u11ab"'), logprobs=True)
    assert (first.text, len(first.logprobs), second.text) == ("", 1, "\u1112\u1161\u11ab")


def test_beside_the_text_nothing_is_lost():
    logprobs = ',"logprobs":{"content":[{"token":"가","logprob":-1,"bytes":null,"top_logprobs":[]}]}'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
    first, last, counts = told(
        event('"가"', logprobs) + event("null", finish='"stop"') + usage, b"", logprobs=True
    )
    assert (first.text, first.logprobs[0]["token"]) == ("가", "가")
    assert (last.finish, counts.usage) == ("stop", Usage(3, 0, 2))


@pytest.mark.parametrize(
    "stream", [b"data: {\n\n", b"data: []\n\n", event('"가"').replace("가".encode(), b"\xea")]
)
def test_what_cannot_be_read_is_an_engine_that_is_gone(stream: bytes):
    with pytest.raises(ApiError) as caught:
        told(stream)
    assert caught.value.status == 502


@pytest.mark.parametrize("answer", [event('"서울은 대"'), b'{"choices":[{"finish_reason":"stop"}]}', b""])
def test_an_answer_that_is_cut_or_no_stream_is_never_taken_for_a_whole_one(answer: bytes):
    with pytest.raises(ApiError) as caught:
        told(answer, b"")
    assert (caught.value.status, caught.value.code) == (502, "engine_gone")
