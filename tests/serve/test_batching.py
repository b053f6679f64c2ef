"""Many streams at a time: each as if it were alone, joining, leaving, stopping, switching adapters."""

import threading

import numpy as np
import pytest
import torch

from komt.errors import ModelError, UsageError
from komt.models.adapt import attach_lora
from komt.recipe import LoraPart
from komt.serve import batching
from komt.serve.engine import Request, Settings
from komt.serve.prefix_row import PrefixRow
from komt.testing import FAMILIES

NEW_TOKENS = 14
GREEDY = Settings(temperature=0, max_new_tokens=NEW_TOKENS)


def prompts_of() -> list[tuple[int, ...]]:
    """Prompts longer than the window of 8: sharers, loners, twins, and a prefix of others."""
    random = np.random.default_rng(0)
    trunk, other = (random.integers(4, 300, 21).tolist() for _ in range(2))
    tails = [random.integers(4, 300, size).tolist() for size in (5, 1, 9, 3)]
    found = [trunk + tails[0], other + tails[1], trunk + tails[2], random.integers(4, 300, 13).tolist()]
    found += [trunk, trunk + tails[0], other + tails[3], [5]]
    return [tuple(map(int, prompt)) for prompt in found]


def alone(engine, prompt, settings=GREEDY) -> tuple[str, str]:
    """Text and reason to end, by transformers itself."""
    ids = torch.tensor([prompt])
    stop = sorted(engine._stop)
    output = engine._model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=settings.max_new_tokens,
        eos_token_id=stop,
        pad_token_id=0,
    )
    new = output[0, len(prompt) :].tolist()
    ended = new[-1] in stop
    return text_of(engine, new[: len(new) - ended]), "stop" if ended else "length"


def text_of(engine, ids) -> str:
    return engine._tokenizer.decode(ids, skip_special_tokens=True).replace("\ufffd", "")


def whole(stream) -> tuple[str, str]:
    pieces = list(stream)
    assert not any(piece.finish for piece in pieces[:-1])
    return "".join(piece.text for piece in pieces), pieces[-1].finish


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chunk", [512, 7])
def test_streams_computed_together_are_those_computed_alone(new_engine, family, chunk, monkeypatch):
    monkeypatch.setattr(batching, "_PROMPT_TOKENS", chunk)
    monkeypatch.setattr(batching, "_PROMPT_TOKENS_BESIDE", chunk)
    engine = new_engine(family, streams=5)
    streams = [engine.submit(Request(prompt, GREEDY)) for prompt in prompts_of()]
    found = [whole(stream) for stream in streams]
    assert found == [alone(engine, prompt) for prompt in prompts_of()]
    assert len({text for text, _ in found}) > 3


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_streams_that_join_later_are_exact_too_and_reuse_what_is_computed(new_engine, family):
    engine = new_engine(family)
    prompts = prompts_of()
    first = iter(engine.submit(Request(prompts[0], GREEDY)))
    next(first)
    later = [engine.submit(Request(prompt, GREEDY)) for prompt in prompts[1:]]
    list(first)
    assert [whole(stream) for stream in later] == [alone(engine, prompt) for prompt in prompts[1:]]
    cached = {stream.request.ids: stream.cached_tokens for stream in later}
    assert cached[prompts[2]] == 21  # the trunk
    assert cached[prompts[4]] == 20  # its last token is computed again, for its logits
    assert cached[prompts[3]] == 0


def test_a_conversation_that_goes_on_computes_its_new_part_only(new_engine):
    engine = new_engine("gemma3")
    prompt = prompts_of()[0]
    stream = engine.submit(Request(prompt, GREEDY))
    assert whole(stream) == alone(engine, prompt)
    [answer] = engine.generate([prompt], max_new_tokens=NEW_TOKENS)
    longer = (*prompt, *answer.ids, 44, 45, 46)
    stream = engine.submit(Request(longer, GREEDY))
    assert whole(stream) == alone(engine, longer)
    # The last drawn token was never fed.
    assert stream.cached_tokens >= len(prompt) + len(answer.ids) - 1


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_small_cache_forgets_what_was_used_longest_ago_and_stays_exact(new_engine, family, monkeypatch):
    monkeypatch.setattr("komt.serve.transformers_engine._cached_tokens", lambda model, cache_bytes: 64)
    engine = new_engine(family, streams=2)
    for _ in range(2):
        for prompt in prompts_of():
            assert whole(engine.submit(Request(prompt, GREEDY))) == alone(engine, prompt)
    held = engine._scheduler._groups[""].row._cache.layers[0].keys.shape[2]
    assert held <= 64 + NEW_TOKENS


def test_a_family_that_no_mask_confines_runs_one_stream_at_a_time(new_engine, monkeypatch):
    monkeypatch.setattr("komt.serve.transformers_engine._can_confine", lambda model: False)
    engine = new_engine("gemma3")
    streams = [engine.submit(Request(prompt, GREEDY)) for prompt in prompts_of()]
    assert [whole(stream) for stream in streams] == [alone(engine, prompt) for prompt in prompts_of()]
    [answer] = engine.generate([prompts_of()[0]], max_new_tokens=NEW_TOKENS)
    turn = engine.submit(Request((*prompts_of()[0], *answer.ids, 44), GREEDY))
    assert whole(turn) == alone(engine, turn.request.ids)


def test_a_seed_gives_the_same_text_whatever_else_runs(new_engine):
    engine = new_engine("qwen3")
    sampled = Settings(temperature=1.5, top_p=0.9, top_k=50, max_new_tokens=NEW_TOKENS, seed=7)
    prompts = prompts_of()
    by_itself = whole(engine.submit(Request(prompts[0], sampled)))
    crowd = [engine.submit(Request(prompt, Settings(seed=None, max_new_tokens=30))) for prompt in prompts]
    again = engine.submit(Request(prompts[0], sampled))
    other = engine.submit(
        Request(prompts[0], Settings(temperature=1.5, top_p=0.9, top_k=50, max_new_tokens=NEW_TOKENS, seed=8))
    )
    assert whole(again) == by_itself
    assert whole(other) != by_itself
    for stream in crowd:
        whole(stream)


def test_a_stream_that_is_cancelled_leaves_and_the_others_go_on(new_engine):
    engine = new_engine("llama", streams=2)
    endless = Settings(temperature=0, max_new_tokens=4000)
    engine._scheduler._stop = frozenset()
    abandoned = iter(engine.submit(Request((5, 6, 7), endless)))
    next(abandoned)
    abandoned.close()
    cancelled = engine.submit(Request((8, 9, 10), endless))
    ended = threading.Event()
    reader = threading.Thread(target=lambda: (list(cancelled), ended.set()))
    reader.start()
    waiting = engine.submit(Request(prompts_of()[1], GREEDY))
    cancelled.cancel()
    assert len(list(waiting)) >= 1
    reader.join(60)
    assert ended.is_set()
    assert whole(engine.submit(Request(prompts_of()[2], GREEDY)))
    assert not engine._scheduler._groups[""].open


def test_stop_strings_end_an_answer_and_are_never_seen(new_engine):
    engine = new_engine("llama")
    prompt = prompts_of()[0]
    text, _ = alone(engine, prompt)
    stop = text[len(text) // 2 : len(text) // 2 + 3]
    stream = engine.submit(Request(prompt, GREEDY, stop=(stop, "없는 말")))
    found, finish = whole(stream)
    assert (found, finish) == (text[: text.find(stop)], "stop")
    # A stop string that never comes holds nothing back in the end.
    assert whole(engine.submit(Request(prompt, GREEDY, stop=(text[-1] + "끝",))))[0] == text


def test_pieces_count_tokens_and_carry_log_probabilities(new_engine):
    engine = new_engine("qwen3")
    prompt = prompts_of()[3]
    pieces = list(engine.submit(Request(prompt, GREEDY, logprobs=2)))
    told = [one for piece in pieces for one in piece.logprobs]
    [answer] = engine.generate([prompt], max_new_tokens=NEW_TOKENS)
    assert sum(piece.tokens for piece in pieces) == len(told) == len(answer.ids)
    ids = torch.tensor([[*prompt, *answer.ids]])
    with torch.no_grad():
        logits = engine._model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    expected = logits[torch.arange(len(answer.ids)), torch.tensor(answer.ids)]
    assert [one.logprob for one in told] == pytest.approx(expected.tolist(), abs=1e-4)
    for one, row in zip(told, logits, strict=True):
        assert [value for *_, value in one.top] == pytest.approx(row.topk(2).values.tolist(), abs=1e-4)
    assert b"".join(one.bytes for one in told).decode("utf-8", "ignore") == answer.text


def test_limits_are_told_at_once(new_engine):
    engine = new_engine("llama")
    with pytest.raises(ModelError, match=r"4,096 tokens and 1 .* context of 4,096"):
        engine.submit(Request((5,) * 4096, GREEDY))
    with pytest.raises(ModelError, match="no adapter 'x'"):
        engine.submit(Request((5,), GREEDY, adapter="x"))
    for wrong in ({"ids": ()}, {"ids": (1,), "stop": ("",)}, {"ids": (1,), "logprobs": 21}):
        with pytest.raises(UsageError):
            Request(**wrong)


def test_an_answer_ends_where_the_context_does(new_engine):
    engine = new_engine("llama")
    engine._scheduler._context, engine._scheduler._stop = 30, frozenset()
    pieces = list(engine.submit(Request(tuple(range(10, 35)), Settings(temperature=0, max_new_tokens=99))))
    assert (sum(piece.tokens for piece in pieces), pieces[-1].finish) == (5, "length")


def test_a_failing_step_ends_its_streams_and_not_the_engine(new_engine, monkeypatch):
    engine = new_engine("llama")
    prompt = prompts_of()[0]
    inner = engine._model.forward

    def out_of_memory(*args, **kwargs):
        raise RuntimeError("not enough memory: you tried to allocate 1 byte\nmore")

    monkeypatch.setattr(engine._model, "forward", out_of_memory)
    with pytest.raises(ModelError, match=r"failed: not enough memory: you tried to allocate 1 byte\n"):
        list(engine.submit(Request(prompt, GREEDY)))
    monkeypatch.setattr(engine._model, "forward", inner)
    assert whole(engine.submit(Request(prompt, GREEDY))) == alone(engine, prompt)


def test_a_closed_engine_ends_its_streams_and_takes_no_more(new_engine):
    engine = new_engine("llama")
    engine._scheduler._stop = frozenset()
    stream = engine.submit(Request((5, 6), Settings(temperature=0, max_new_tokens=4000)))
    pieces = iter(stream)
    next(pieces)
    engine.close()
    with pytest.raises(ModelError, match="closed"):
        list(pieces)
    with pytest.raises(ModelError, match="closed"):
        engine.submit(Request((5, 6), GREEDY))


def test_what_comes_together_begins_together(new_engine, monkeypatch):
    monkeypatch.setattr(batching, "_FLOCK_S", 60)
    engine = new_engine("llama", streams=2)
    steps, compute = [], PrefixRow.compute

    def counted(row, paths, budget):
        steps.append(len(paths))
        return compute(row, paths, budget)

    monkeypatch.setattr(PrefixRow, "compute", counted)
    first, second = prompts_of()[:2]
    streams = [engine.submit(Request(prompt, GREEDY)) for prompt in (first, second)]
    assert [whole(stream) for stream in streams] == [alone(engine, first), alone(engine, second)]
    assert steps[0] == 2
    # The only one of its flock: the end is not kept waiting.
    stream = engine.submit(Request(first, GREEDY))
    engine.close()
    with pytest.raises(ModelError, match="closed"):
        list(stream)


def test_streams_can_be_polled_without_a_thread_of_their_own(new_engine):
    engine = new_engine("llama")
    prompt = prompts_of()[0]
    told = threading.Event()
    stream = engine.submit(Request(prompt, GREEDY))
    stream.on_piece(told.set)
    pieces = []
    while not (pieces and pieces[-1].finish):
        assert told.wait(60)
        told.clear()
        pieces += stream.take()
    assert ("".join(piece.text for piece in pieces), pieces[-1].finish) == alone(engine, prompt)


def new_adapter(folder, model_seed, family="llama"):
    """An adapter's folder with random weights on the engine's own base."""
    from komt.testing import lively, tiny_model, tiny_tokenizer

    model = lively(tiny_model(family, len(tiny_tokenizer("bytes")), 0))
    tuned = attach_lora(model, LoraPart(r=4, alpha=64, dropout=0.0), model_seed)
    torch.manual_seed(model_seed)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.5)
    tuned.save_pretrained(folder)
    return folder


def test_adapters_by_name_answer_as_each_would_alone(new_engine, tmp_path):
    folders = {name: new_adapter(tmp_path / name, seed) for seed, name in enumerate(["하나", "b.둘"], 1)}
    engine = new_engine("llama", adapters=folders)
    assert engine.adapters == ("하나", "b.둘")
    expected = {"": [alone(new_engine("llama"), prompt) for prompt in prompts_of()[:4]]}
    for name, folder in folders.items():
        single = new_engine("llama", adapters={"x": folder})
        single._adapters.use(single._adapters.key("x"))
        expected[name] = [alone(single, prompt) for prompt in prompts_of()[:4]]
    streams = {
        name: [engine.submit(Request(prompt, GREEDY, adapter=name)) for prompt in prompts_of()[:4]]
        for name in expected
    }
    assert {name: [whole(stream) for stream in mine] for name, mine in streams.items()} == expected
    assert len({str(answers) for answers in expected.values()}) == 3
    # Without a default adapter, none is the base.
    assert whole(engine.submit(Request(prompts_of()[0], GREEDY))) == expected[""][0]


def test_a_default_adapter_is_on_unless_the_base_is_asked_for(new_engine, tmp_path):
    from peft import PeftModel

    from komt.serve.transformers_engine import TransformersEngine

    base = new_engine("llama")
    plain = alone(base, prompts_of()[0])
    tuned = PeftModel.from_pretrained(base._model, str(new_adapter(tmp_path / "a", 1)))
    engine = TransformersEngine(tuned.eval(), base._tokenizer)
    default = whole(engine.submit(Request(prompts_of()[0], GREEDY)))
    assert whole(engine.submit(Request(prompts_of()[0], GREEDY, adapter=""))) == plain != default
    [answer] = engine.generate([prompts_of()[0]], max_new_tokens=NEW_TOKENS)
    assert answer.text == default[0]
    engine.close()


def test_an_adapter_of_another_model_is_refused(new_engine, tmp_path):
    folder = new_adapter(tmp_path / "a", 1)
    with pytest.raises(ModelError, match="'b' does not fit the model"):
        new_engine("gemma3", kind="bytes", adapters={"b": new_wide_adapter(tmp_path / "wide")})
    with pytest.raises(ModelError, match="no adapter 'c'"):
        new_engine("llama", adapters={"b": folder}).submit(Request((5,), GREEDY, adapter="c"))


def new_wide_adapter(folder):
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    attach_lora(model, LoraPart(r=4, alpha=8, dropout=0.0), 0).save_pretrained(folder)
    return folder


def test_a_token_that_the_model_does_not_have_is_refused_and_the_others_go_on(new_engine):
    engine, [prompt, *_] = new_engine(), prompts_of()
    count = engine._model.config.vocab_size
    running = engine.submit(Request(prompt, GREEDY))
    with pytest.raises(ModelError, match=f"the model has no token {count}: its vocabulary is {count}"):
        engine.submit(Request((5, count), GREEDY))
    with pytest.raises(ModelError, match=f"no token {count + 1}"):
        engine.generate([[5], [count + 1]], max_new_tokens=2)
    assert whole(running) == alone(engine, prompt)
