"""Decoding together, decoding alone, and streaming."""

import numpy as np
import pytest
import torch

from komt.errors import ModelError, UsageError
from komt.example import Message
from komt.models.template import ensure_template
from komt.serve import head, trie_decode
from komt.serve.engine import Settings
from komt.serve.transformers_engine import TransformersEngine
from komt.serve.trie_decode import plan_batches
from komt.testing import FAMILIES, tiny_model, tiny_tokenizer

NEW_TOKENS = 12


def engine_of(family: str, kind: str = "bytes", seed: int = 0) -> TransformersEngine:
    tokenizer = tiny_tokenizer(kind)
    ensure_template(tokenizer)
    model = tiny_model(family, len(tokenizer), seed)
    # A random model repeats one token for ever; larger weights make its answers vary and end.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.ndim > 1 else 1.0)
    return TransformersEngine(model, tokenizer)


def prompts_of() -> list[list[int]]:
    """Prompts longer than the window of 8: two families of sharers, one loner, a twin, and a prefix."""
    random = np.random.default_rng(0)
    trunk, other = (random.integers(4, 300, 21).tolist() for _ in range(2))
    tails = [random.integers(4, 300, size).tolist() for size in (5, 1, 9, 3)]
    return [
        trunk + tails[0],
        other + tails[1],
        trunk + tails[2],
        random.integers(4, 300, 13).tolist(),
        trunk,
        trunk + tails[0],
        other + tails[3],
        [5],
    ]


def alone(engine: TransformersEngine, prompt: list[int]) -> tuple[tuple[int, ...], bool]:
    ids = torch.tensor([prompt])
    stop = sorted(engine._stop)
    output = engine._model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        eos_token_id=stop,
        pad_token_id=0,
    )
    new = output[0, len(prompt) :].tolist()
    ended = new[-1] in stop
    return tuple(new[: len(new) - ended]), ended


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("batch_tokens", "chunk"), [(4096, 1024), (40, 16)])
def test_prompts_decoded_together_give_the_tokens_of_each_alone(family, batch_tokens, chunk, monkeypatch):
    monkeypatch.setattr(trie_decode, "_CHUNK_TOKENS", chunk)
    engine, prompts = engine_of(family), prompts_of()
    done: list[int] = []
    together = engine.generate(
        prompts, max_new_tokens=NEW_TOKENS, batch_tokens=batch_tokens, on_done=done.append
    )
    assert [(answer.ids, answer.ended) for answer in together] == [alone(engine, p) for p in prompts]
    assert sorted(done) == list(range(len(prompts)))
    assert len({answer.ids for answer in together}) > 3


def test_answers_that_end_leave_the_batch_and_the_others_go_on_exactly():
    engine, prompts = engine_of("gemma3"), prompts_of()
    free = engine.generate(prompts, max_new_tokens=NEW_TOKENS)
    # Tokens seen in some answers become end tokens: answers now stop at different steps.
    engine._stop = frozenset({free[0].ids[3], free[3].ids[6], free[1].ids[0]})
    together = engine.generate(prompts, max_new_tokens=NEW_TOKENS)
    assert [(answer.ids, answer.ended) for answer in together] == [alone(engine, p) for p in prompts]
    assert {answer.ended for answer in together} == {True, False}


def test_answers_end_where_the_models_own_generation_config_says():
    free = engine_of("llama").generate(prompts_of(), max_new_tokens=NEW_TOKENS)
    tokenizer, model = tiny_tokenizer(), engine_of("llama")._model
    ensure_template(tokenizer)
    model.generation_config.eos_token_id = [1, free[0].ids[3]]
    engine = TransformersEngine(model, tokenizer)
    [answer] = engine.generate([prompts_of()[0]], max_new_tokens=NEW_TOKENS)
    assert (answer.ids, answer.ended) == (free[0].ids[: free[0].ids.index(free[0].ids[3])], True)


def test_many_answers_of_all_lengths_in_one_batch_are_those_of_each_alone():
    # More sharers than a region holds, loners of many lengths, answers that end at different steps.
    engine, random = engine_of("gemma3"), np.random.default_rng(1)
    trunk = random.integers(4, 300, 12).tolist()
    prompts = [trunk + random.integers(4, 300, 1 + n % 5).tolist() for n in range(20)]
    prompts += [random.integers(4, 300, size).tolist() for size in (1, 2, 3, 9, 10, 11, 12, 40, 41, 90)]
    free = engine.generate(prompts, max_new_tokens=NEW_TOKENS)
    engine._stop = frozenset({*(one.ids[step] for step, one in enumerate(free[:8])), free[25].ids[1]})
    together = engine.generate(prompts, max_new_tokens=NEW_TOKENS)
    assert [(answer.ids, answer.ended) for answer in together] == [alone(engine, p) for p in prompts]
    assert len({len(answer.ids) for answer in together}) > 4


@pytest.mark.parametrize("plain", [True, False])
def test_the_likeliest_token_is_the_first_of_equals_over_all_blocks(plain, monkeypatch):
    monkeypatch.setattr(head, "_BLOCK_TOKENS", 50)
    model = engine_of("gemma3")._model
    monkeypatch.setitem(head._PLAIN, model, plain)
    states = torch.randn(9, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    weight = model.get_output_embeddings().weight
    with torch.no_grad():
        weight[130], weight[400] = 50 * states[0], 50 * states[0]  # equal, in two blocks
        expected = (states @ weight.T).argmax(1)
    assert head.likeliest_tokens(model, states).tolist() == expected.tolist()
    assert int(expected[0]) == 130


def test_a_family_that_no_mask_confines_decodes_one_by_one():
    engine, prompts = engine_of("qwen3"), prompts_of()
    together = engine.generate(prompts, max_new_tokens=NEW_TOKENS)
    engine._confined = False
    done: list[int] = []
    assert engine.generate(prompts, max_new_tokens=NEW_TOKENS, on_done=done.append) == together
    assert sorted(done) == list(range(len(prompts)))


def test_batches_hold_sharers_together_within_their_limits():
    prompts = [[1, 2, 3], [9, 9], [1, 2, 4], [9, 8], [1, 2, 3, 5]]
    assert list(plan_batches(prompts, 5)) == [[0, 4, 2], [3, 1]]
    assert list(plan_batches(prompts, 0)) == [[0], [4], [2], [3], [1]]
    assert [len(batch) for batch in plan_batches([[7]] * 260, 4096)] == [128, 128, 4]


def test_no_prompts_no_answers_and_an_over_long_prompt_is_refused():
    engine = engine_of("llama")
    assert engine.generate([], max_new_tokens=4) == []
    with pytest.raises(ModelError, match=r"4,096 tokens and 4 .* context of 4,096"):
        engine.generate([[5] * 4096], max_new_tokens=4)
    with pytest.raises(ModelError, match="empty"):
        engine.generate([[]], max_new_tokens=4)


ASK = (Message("user", "고양이는 왜 물을 싫어하나요?"),)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
def test_a_greedy_stream_is_the_generated_text_without_broken_syllables(family, kind):
    engine = engine_of(family, kind)
    pieces = list(engine.stream(ASK, settings=Settings(temperature=0, max_new_tokens=40)))
    [answer] = engine.generate([engine.prompt_ids(ASK)], max_new_tokens=40)
    assert not any("\ufffd" in piece for piece in pieces)
    if kind == "bytes":
        assert "".join(pieces) == answer.text


@pytest.mark.parametrize("family", ["gemma3", "mistral"])
def test_later_turns_answer_as_a_fresh_engine_does(family):
    engine = engine_of(family)
    greedy = Settings(temperature=0, max_new_tokens=10)
    first = "".join(engine.stream(ASK, settings=greedy))
    talk = (*ASK, Message("assistant", first), Message("user", "그럼 개는요?"))
    other = (Message("user", "고양이는 무엇을 먹나요?"),)
    for messages in (talk, other):
        expected = list(engine_of(family).stream(messages, settings=greedy))
        assert list(engine.stream(messages, settings=greedy)) == expected


def test_a_seed_repeats_a_sampled_answer():
    engine = engine_of("llama")
    texts = [
        "".join(engine.stream(ASK, settings=Settings(temperature=2.0, max_new_tokens=20, seed=seed)))
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_stream_that_is_abandoned_leaves_the_engine_usable():
    engine = engine_of("gemma3")
    settings = Settings(temperature=0, max_new_tokens=20)
    whole = list(engine.stream(ASK, settings=settings))
    stream = engine.stream(ASK, settings=settings)
    next(stream)
    stream.close()
    assert list(engine.stream(ASK, settings=settings)) == whole
    assert torch.is_grad_enabled()


def test_impossible_settings_are_refused_together():
    with pytest.raises(UsageError, match="temperature -1 is below 0; top_p 2 is not"):
        Settings(temperature=-1, top_p=2)
