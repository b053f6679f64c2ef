"""GGUF files as engines: the ids, texts and limits of llama.cpp's own server."""

import pytest

from komt.errors import ModelError, UsageError
from komt.example import Message
from komt.models.llama_cpp import start
from komt.models.template import ensure_template
from komt.pack.encode import prompt_ids
from komt.serve.engine import Settings
from komt.serve.llama_cpp_engine import LlamaCppEngine
from komt.serve.loading import load_engine
from komt.serve.transformers_engine import TransformersEngine
from komt.testing import lively, tiny_gguf, tiny_model, tiny_tokenizer

ASK = (Message("user", "고양이는 왜 물을 싫어하나요?"),)
TALK = (Message("system", "짧게 답하세요."), *ASK, Message("assistant", "몰라요"), Message("user", "개는요?"))


@pytest.fixture(scope="module", params=[("llama", "bytes"), ("qwen3", "bytes"), ("llama", "metaspace")])
def pair(request, tmp_path_factory):
    """A tiny model by llama.cpp and by transformers."""
    family, kind = request.param
    file = tiny_gguf(tmp_path_factory.mktemp("gguf") / f"{family}.gguf", family, kind)
    tokenizer = tiny_tokenizer(kind)
    ensure_template(tokenizer)
    same = TransformersEngine(lively(tiny_model(family, len(tokenizer))), tokenizer)
    engine = LlamaCppEngine(start(file, context=512, slots=3, threads=1))
    yield engine, same
    engine.close()
    same.close()


def assert_same(engine, prompt, one, other) -> None:
    """Equal up to a place where the two next tokens are as good as equally likely (caches hold 16 bits)."""
    if (one.ids, one.ended) == (other.ids, other.ended):
        return
    place = next(i for i, (a, b) in enumerate(zip(one.ids, other.ids, strict=False)) if a != b)
    [[a], [b]] = engine.loglikelihood([*prompt, *one.ids[:place]], [[one.ids[place]], [other.ids[place]]])
    assert abs(a - b) < 0.05


@pytest.mark.parametrize("messages", [ASK, TALK])
def test_prompts_have_the_ids_of_training_and_of_the_servers_own_chat(pair, messages):
    engine, same = pair
    ids = engine.prompt_ids(messages)
    assert ids == prompt_ids(same._tokenizer, messages)
    asked = {"messages": [message.as_chat() for message in messages], "max_tokens": 1}
    assert engine.server.post("/v1/chat/completions", asked)["usage"]["prompt_tokens"] == len(ids)


def test_greedy_answers_are_those_of_transformers(pair):
    engine, same = pair
    prompts = [engine.prompt_ids(ASK), engine.prompt_ids(TALK), [2, 40, 41, 42], [2, 40, 41, 50, 51]]
    done: list[int] = []
    found = engine.generate(prompts, max_new_tokens=12, on_done=done.append)
    expected = same.generate(prompts, max_new_tokens=12)
    for prompt, one, other in zip(prompts, found, expected, strict=True):
        assert_same(same, prompt, one, other)
    assert sorted(done) == [0, 1, 2, 3]
    assert engine.answer([ASK], max_new_tokens=12) == found[:1]


def test_streams_hold_no_broken_character_and_a_seed_repeats_them(pair):
    engine, _ = pair
    settings = Settings(temperature=1.5, max_new_tokens=40, seed=3)
    pieces = list(engine.stream(ASK, settings=settings))
    assert pieces == list(engine.stream(ASK, settings=settings))
    assert "".join(pieces) != "".join(engine.stream(ASK, settings=Settings(1.5, max_new_tokens=40, seed=4)))
    assert not any("\ufffd" in piece for piece in pieces)


def test_limits_are_told(pair):
    engine, _ = pair
    with pytest.raises(ModelError, match=r"500 tokens and 13 .* context of 512"):
        engine.generate([[5] * 500], max_new_tokens=13)
    with pytest.raises(ModelError, match="context of 512"):
        list(engine.stream([Message("user", "가" * 600)]))
    assert engine.generate([], max_new_tokens=4) == []
    assert engine.loglikelihood is None


def test_a_gguf_file_is_loaded_by_its_name(tmp_path):
    file = tiny_gguf(tmp_path / "작은.gguf")
    engine = load_engine(str(file), context=256)
    assert isinstance(engine, LlamaCppEngine)
    assert engine.context_tokens == 256
    engine.close()
    with pytest.raises(UsageError, match="is a GGUF file, which the engine vllm does not take"):
        load_engine(str(file), engine="vllm")
    with pytest.raises(UsageError, match="the adapter 'a' is no GGUF file"):
        load_engine(str(file), adapters={"a": str(tmp_path)})
    with pytest.raises(ModelError, match="no such file"):
        load_engine(str(tmp_path / "none.gguf"))
