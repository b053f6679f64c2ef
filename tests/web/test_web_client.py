from __future__ import annotations

import asyncio
import socket

import pytest
from page_kit import TinyApi

from komt.errors import UsageError
from komt.web.answering import Answer, write, write_all
from komt.web.client import Api, ApiFault, Ask


def ask(question: str, model: str = "sample") -> Ask:
    return Ask(model, [{"role": "user", "content": question}], {"temperature": 0.5})


async def last(api: Api, question: str, stop: asyncio.Event | None = None) -> Answer:
    return [answer async for answer in write(api, ask(question), stop or asyncio.Event())][-1]


def test_models_in_the_order_of_the_api(tiny_api: TinyApi) -> None:
    assert asyncio.run(Api(tiny_api.address).models()) == ["sample", "gemma-3-270m"]


def test_an_answer_with_its_counts(tiny_api: TinyApi) -> None:
    answer = asyncio.run(last(Api(tiny_api.address), "안녕?"))
    assert answer.text == "[sample] 안녕하세요. 저는 **작은** 모델입니다."
    assert (answer.ended, answer.prompt_tokens, answer.tokens, answer.pieces) == ("stop", 21, 5, 5)
    assert tiny_api.asked[0]["temperature"] == 0.5
    assert tiny_api.asked[0]["stream_options"] == {"include_usage": True}


def test_a_connection_that_breaks_keeps_what_had_come(tiny_api: TinyApi) -> None:
    answer = asyncio.run(last(Api(tiny_api.address), "끊어 봐"))
    assert (answer.ended, answer.text) == ("fault", "[sample] 안녕하세요. 저는 ")
    assert answer.fault
    assert answer.fault.kind == "cut"


def test_a_refusal_in_the_api_s_words(tiny_api: TinyApi) -> None:
    answer = asyncio.run(last(Api(tiny_api.address), "거절해"))
    assert answer.fault
    assert (answer.fault.kind, answer.fault.detail) == ("refused", "the template has no system role")


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Please shorten it.", "code": "context_length_exceeded"},
        {"message": "too large", "type": "exceed_context_size_error"},
        {"message": "This model's maximum context length is 4096 tokens."},
    ],
)
def test_a_prompt_that_is_too_long_is_told_from_other_refusals(
    tiny_api: TinyApi, error: dict[str, str]
) -> None:
    tiny_api.refusal = error
    answer = asyncio.run(last(Api(tiny_api.address), "거절해"))
    assert answer.fault
    assert (answer.fault.kind, answer.fault.detail) == ("too_long", error["message"])


def test_an_answer_that_is_no_text_is_a_fault_and_no_endless_wait(tiny_api: TinyApi) -> None:
    tiny_api.answers = ("안녕", [{"type": "thinking"}])  # type: ignore[assignment]
    for api, question in ((Api(tiny_api.address), "안녕?"), (Api(tiny_api.address), "half a pair: \ud83d")):
        answer = asyncio.run(last(api, question))
        assert answer.ended == "fault"
        asks = [ask(question), ask(question)]
        both = asyncio.run(_last_of_all(api, asks))
        assert [one.ended for one in both] == ["fault", "fault"]


async def _last_of_all(api: Api, asks: list[Ask]) -> list[Answer]:
    return [answers async for answers in write_all(api, asks, asyncio.Event())][-1]


def test_stop_closes_the_connection(tiny_api: TinyApi) -> None:
    async def stopped() -> Answer:
        stop, answer = asyncio.Event(), Answer()
        async for answer in write(Api(tiny_api.address), ask("천천히"), stop):
            if answer.pieces == 3:
                stop.set()
        return answer

    answer = asyncio.run(stopped())
    assert (answer.ended, answer.text) == ("stopped", "[sample] 안녕하세요. 저는 ")
    assert tiny_api.client_left.wait(10)


def test_two_answers_at_once(tiny_api: TinyApi) -> None:
    async def both() -> list[Answer]:
        asks = [ask("안녕?", model) for model in tiny_api.models]
        seen = [answers async for answers in write_all(Api(tiny_api.address), asks, asyncio.Event())]
        return seen[-1]

    answers = asyncio.run(both())
    assert [answer.text[:8] for answer in answers] == ["[sample]", "[gemma-3"]
    assert [answer.ended for answer in answers] == ["stop", "stop"]


def test_the_end_of_two_answers_is_seen_by_who_looks_late(tiny_api: TinyApi) -> None:
    async def both() -> list[Answer]:
        asks = [ask("안녕?", model) for model in tiny_api.models]
        async for answers in write_all(Api(tiny_api.address), asks, asyncio.Event()):
            seen = answers
            while len(asyncio.all_tasks()) > 1:  # until both writers are done
                await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        return seen

    assert [answer.ended for answer in asyncio.run(both())] == ["stop", "stop"]


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ApiFault) as fault:
        asyncio.run(Api(address).models())
    assert fault.value.kind == "unreachable"
    answer = asyncio.run(last(Api(address), "안녕?"))
    assert answer.fault
    assert answer.fault.kind == "unreachable"


@pytest.mark.parametrize("address", ["", "x", "ftp://x/v1", "http://", "127.0.0.1:8000/v1"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UsageError, match="not an http address"):
        Api(address)
