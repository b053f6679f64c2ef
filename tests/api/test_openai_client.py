"""OpenAI's own Python client, in both its forms."""

import asyncio

import openai
import pytest
from api_client import Client
from polite import ANSWER

QUESTION = [{"role": "user", "content": "서울은 어디?"}]


@pytest.fixture
def official(polite: Client) -> openai.OpenAI:
    return openai.OpenAI(base_url=str(polite.base_url), api_key="none", max_retries=0)


@pytest.fixture
def unhurried(polite: Client) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=str(polite.base_url), api_key="none", max_retries=0)


def test_chat(official: openai.OpenAI):
    answer = official.chat.completions.create(
        model="polite", messages=QUESTION, n=2, seed=1, logprobs=True, top_logprobs=2
    )
    assert [choice.message.content for choice in answer.choices] == [ANSWER, ANSWER]
    assert {choice.finish_reason for choice in answer.choices} == {"stop"}
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.choices[0].logprobs
    assert answer.choices[0].logprobs.content
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2


def test_a_stream_of_chat(official: openai.OpenAI):
    chunks = list(
        official.chat.completions.create(
            model="polite", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == ANSWER
    assert len(chunks) > 4
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens > 4


def test_a_stream_that_is_closed_early_ends(official: openai.OpenAI):
    with official.chat.completions.create(model="polite", messages=QUESTION, stream=True) as stream:
        assert next(iter(stream)).choices[0].delta.role == "assistant"
    assert official.chat.completions.create(model="polite", messages=QUESTION).choices


def test_plain_completions(official: openai.OpenAI):
    answer = official.completions.create(
        model="polite", prompt="서울은", max_tokens=3, logprobs=1, echo=False
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage
    assert answer.usage.completion_tokens == 3
    pieces = list(official.completions.create(model="polite", prompt="서울은", max_tokens=3, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces)


def test_models(official: openai.OpenAI):
    assert [model.id for model in official.models.list()] == ["polite"]
    assert official.models.retrieve("polite").object == "model"


def test_errors_are_those_the_client_knows(official: openai.OpenAI):
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        official.chat.completions.create(model="gpt-4o", messages=QUESTION)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        official.chat.completions.create(model="polite", messages=QUESTION, temperature=9)
    with pytest.raises(openai.BadRequestError) as caught:
        official.chat.completions.create(model="polite", messages=QUESTION * 3000)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        official.embeddings.create(model="polite", input="가")


def test_the_asynchronous_client_does_all_that(unhurried: openai.AsyncOpenAI):
    async def ask() -> None:
        answers = await asyncio.gather(
            *(unhurried.chat.completions.create(model="polite", messages=QUESTION) for _ in range(6))
        )
        assert {answer.choices[0].message.content for answer in answers} == {ANSWER}
        stream = await unhurried.chat.completions.create(model="polite", messages=QUESTION, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == ANSWER
        assert (await unhurried.completions.create(model="polite", prompt="서울", max_tokens=2)).choices
        assert [model.id async for model in unhurried.models.list()] == ["polite"]
        with pytest.raises(openai.NotFoundError):
            await unhurried.chat.completions.create(model="gpt-4o", messages=QUESTION)
        await unhurried.close()

    asyncio.run(ask())
