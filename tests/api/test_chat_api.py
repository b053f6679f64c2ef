"""What is asked is what is answered: both engines, streaming and not."""

import json

import httpx2
import pytest
from api_client import ASKED, Client, events


def text_of(response: httpx2.Response) -> str:
    assert response.status_code == 200, response.text
    choice = response.json()["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def test_an_answer_has_the_form_of_openai_and_counts_its_tokens(client: Client):
    answer = client.chat().json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "tiny"
    assert answer["id"].startswith("chatcmpl-")
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["message"]["refusal"] is None
    assert choice["logprobs"] is None
    assert choice["finish_reason"] == "length"
    usage = answer["usage"]
    assert usage["completion_tokens"] == 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + 12


@pytest.mark.parametrize("route", ["chat", "completions"])
def test_a_stream_says_the_same_as_the_answer_in_one_piece(client: Client, route: str):
    ask = client.chat if route == "chat" else client.complete
    whole, told = ask(), events(ask(stream=True))
    assert told[-1] == "[DONE]"
    choices = [event["choices"][0] for event in told[:-1]]
    if route == "chat":
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
        text = "".join(choice["delta"].get("content", "") for choice in choices)
    else:
        text = "".join(choice["text"] for choice in choices)
    assert text == text_of(whole)
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]
    assert len({event["id"] for event in told[:-1]}) == 1
    assert not any(event.get("usage") for event in told[:-1])


def test_usage_stands_at_the_end_of_a_stream_that_asks_for_it(client: Client):
    told = events(client.chat(stream=True, stream_options={"include_usage": True}))
    assert told[-2]["choices"] == []
    assert told[-2]["usage"]["completion_tokens"] <= 602
    assert all(event["usage"] is None for event in told[:-2])


def test_what_was_computed_for_an_earlier_request_is_not_computed_again(client: Client):
    content = "다음 글을 읽고 물음에 답하세요. 세종은 1443년에 훈민정음을 만들었다." * 3
    asked = [{"role": "user", "content": content}]
    client.chat(messages=asked)
    usage = client.chat(messages=asked).json()["usage"]
    assert 0 < usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"] <= 4


def test_a_seed_repeats_an_answer_and_another_gives_another(client: Client):
    assert text_of(client.chat(seed=3)) == text_of(client.chat(seed=3))
    assert len({text_of(client.chat(seed=seed)) for seed in range(5)}) > 1


def test_temperature_0_takes_the_likeliest_token_whatever_the_seed(client: Client):
    assert len({text_of(client.chat(temperature=0, seed=seed)) for seed in range(3)}) == 1
    assert text_of(client.chat(temperature=0)) == text_of(client.chat(top_p=0, temperature=1))


def test_n_gives_so_many_different_answers_and_counts_the_prompt_once(client: Client):
    answer = client.chat(n=3).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in answer["choices"]}) > 1
    alone = client.chat().json()
    assert answer["choices"][0]["message"] == alone["choices"][0]["message"]
    assert answer["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"]
    assert answer["usage"]["completion_tokens"] == 36


def test_n_streams_give_the_same_answers_side_by_side(client: Client):
    whole = client.chat(n=3).json()
    told = events(client.chat(n=3, stream=True))
    texts = ["", "", ""]
    for event in told[:-1]:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == [choice["message"]["content"] for choice in whole["choices"]]


def test_a_stop_string_ends_the_answer_and_never_shows(client: Client):
    free = text_of(client.chat(temperature=0))
    stop = free[len(free) // 2 :][:2]
    cut = client.chat(temperature=0, stop=[stop, "nowhere"])
    assert text_of(cut) == free[: free.index(stop)]
    assert cut.json()["choices"][0]["finish_reason"] == "stop"
    told = events(client.chat(temperature=0, stop=stop, stream=True))
    streamed = "".join(event["choices"][0]["delta"].get("content", "") for event in told[:-1])
    assert streamed == free[: free.index(stop)]


def test_max_completion_tokens_is_the_newer_name_of_max_tokens(client: Client):
    answer = client.chat(max_tokens=None, max_completion_tokens=3).json()
    assert answer["usage"]["completion_tokens"] == 3


def test_logprobs_are_told_for_each_token_with_the_likeliest_beside(client: Client):
    choice = client.chat(logprobs=True, top_logprobs=3, max_tokens=5).json()["choices"][0]
    told = choice["logprobs"]["content"]
    # llama.cpp tells none of a token that ends within a character.
    assert len(told) == 5 if client.engine == "transformers" else 0 < len(told) <= 5
    for token in told:
        assert token["logprob"] <= 0
        assert len(token["top_logprobs"]) == 3
        likeliest = [top["logprob"] for top in token["top_logprobs"]]
        assert likeliest == sorted(likeliest, reverse=True)
        assert token["token"].startswith("bytes:") or bytes(token["bytes"]).decode() == token["token"]


def test_logprobs_without_top_ones_tell_the_tokens_alone(client: Client):
    told = client.chat(logprobs=True, max_tokens=3).json()["choices"][0]["logprobs"]["content"]
    assert [token["top_logprobs"] for token in told] == [[]] * len(told)
    assert told


def test_plain_completions_tell_logprobs_in_columns(client: Client):
    told = client.complete(logprobs=2, max_tokens=4).json()["choices"][0]["logprobs"]
    assert len({len(column) for column in told.values()}) == 1
    assert all(len(top) == 2 for top in told["top_logprobs"])
    assert told["text_offset"][0] == 0


def test_several_prompts_are_answered_each_like_alone(client: Client):
    prompts = ["서울은", "부산은 항구"]
    together = client.complete(prompts, temperature=0).json()
    alone = [text_of(client.complete(prompt, temperature=0)) for prompt in prompts]
    assert [choice["text"] for choice in together["choices"]] == alone
    assert [choice["index"] for choice in together["choices"]] == [0, 1]


@pytest.mark.parametrize("temperature", [1e-40, 1e-300])
def test_a_temperature_of_next_to_nothing_is_nought(client: Client, temperature: float):
    assert text_of(client.chat(temperature=temperature)) == text_of(client.chat(temperature=0))


def test_a_limit_that_no_answer_reaches_is_none(over_llama_cpp: Client):
    for limit in (1 << 31, (1 << 32) + 1, 1 << 80):
        answer = over_llama_cpp.chat(max_tokens=limit, temperature=0, stop=["\u0006"]).json()
        assert answer["usage"]["completion_tokens"] > 1, limit


def test_after_the_assistants_turn_comes_another_one_by_every_engine(
    over_llama_cpp: Client, over_transformers: Client
):
    talk = [*ASKED["messages"], {"role": "assistant", "content": "털이 젖어서요."}]
    for messages in (talk, [*talk, talk[-1]]):
        answers = [one.chat(messages=messages, temperature=0) for one in (over_llama_cpp, over_transformers)]
        assert [one.status_code for one in answers] == [200, 200]
        counts = [one.json()["usage"]["prompt_tokens"] for one in answers]
        assert counts[0] == counts[1]


def test_a_prompt_may_be_token_ids(client: Client):
    answer = client.complete([260, 261, 262], temperature=0).json()
    assert answer["usage"]["prompt_tokens"] == 3
    assert client.complete([[260, 261, 262], [5]], temperature=0).json()["choices"][0] == answer["choices"][0]


def test_echo_begins_with_the_prompt(client: Client):
    assert text_of(client.complete(echo=True)) == "서울은 대한민국의" + text_of(client.complete())
    told = events(client.complete(echo=True, stream=True))
    assert told[0]["choices"][0]["text"] == "서울은 대한민국의"


def test_decomposed_korean_is_composed_before_the_model_reads_it(client: Client):
    import unicodedata

    apart = unicodedata.normalize("NFD", "서울은 대한민국의")
    assert client.complete(apart).json()["usage"] == client.complete().json()["usage"]


def test_content_may_come_in_parts_and_developer_is_another_word_for_system(client: Client):
    parts = [{"type": "text", "text": "고양이는 왜 "}, {"type": "text", "text": "물을 싫어하나요?"}]
    assert text_of(client.chat(messages=[{"role": "user", "content": parts}])) == text_of(client.chat())
    answers = [
        client.chat(messages=[{"role": role, "content": "짧게 답하세요."}, *ASKED["messages"]]).json()
        for role in ("system", "developer")
    ]
    assert answers[0]["choices"] == answers[1]["choices"]


def test_both_engines_count_a_conversation_alike(over_llama_cpp: Client, over_transformers: Client):
    usages = [client.chat().json()["usage"] for client in (over_llama_cpp, over_transformers)]
    assert usages[0]["prompt_tokens"] == usages[1]["prompt_tokens"]


def test_a_json_schema_binds_the_answer(over_llama_cpp: Client):
    schema = {"type": "object", "properties": {"답": {"type": "integer"}}, "required": ["답"]}
    asked = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answer = text_of(over_llama_cpp.chat(response_format=asked, max_tokens=200))
    assert isinstance(json.loads(answer)["답"], int)


def test_json_is_whole_or_ends_by_its_length(over_llama_cpp: Client):
    """llama.cpp itself ends a cut one with an error: it cannot parse what it wrote so far."""
    asked = {"response_format": {"type": "json_object"}, "max_tokens": 60, "temperature": 0.7}
    asked["messages"] = [{"role": "system", "content": "<eos>"}]
    ends = set()
    for seed in range(12):
        *pieces, last, usage, done = events(
            over_llama_cpp.chat(**asked, seed=seed, stream=True, stream_options={"include_usage": True})
        )
        assert done == "[DONE]"
        ends.add(end := last["choices"][0]["finish_reason"])
        text = "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces)
        if end == "stop":
            json.loads(text)
        else:
            assert (end, usage["usage"]["completion_tokens"]) == ("length", 60), text
        assert usage["usage"]["prompt_tokens"] > 1
    assert ends == {"stop", "length"}


def test_no_piece_of_a_stream_ends_within_a_character(over_llama_cpp: Client):
    """A schema makes the tiny model write these letters, most of which are several tokens long."""
    text = "".join(chr(place) for place in range(0xAC00, 0xD7A4, 53)) + "🙂👨‍👩‍👧 大韓民國"
    asked = {"type": "json_schema", "json_schema": {"name": "text", "schema": {"const": text}}}
    told = events(over_llama_cpp.chat(response_format=asked, max_tokens=950, stream=True))
    pieces = [event["choices"][0]["delta"].get("content", "") for event in told[:-1]]
    assert json.loads("".join(pieces)) == text
    assert len([piece for piece in pieces if piece]) > 200
    assert not [piece for piece in pieces if "\ufffd" in piece]


def test_what_an_engine_cannot_do_is_refused_not_left_out(over_transformers: Client):
    for field, value in {
        "response_format": {"type": "json_object"},
        "frequency_penalty": 1.0,
        "logit_bias": {"5": 1},
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }.items():
        response = over_transformers.chat(**{field: value})
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "unsupported_parameter"
        assert response.json()["error"]["param"] == field
