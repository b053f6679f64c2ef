"""How likely continuations are: as one plain forward pass over each tells it."""

import numpy as np
import pytest
import torch

from komt.errors import ModelError
from komt.pack.trie import build_trie
from komt.serve import forest, likelihood
from komt.serve.head import has_plain_head
from komt.testing import FAMILIES, tiny_model

PROMPT = list(range(10, 30))
CONTINUATIONS = [[31, 32, 33], [31, 32, 40, 41, 42, 43], [50], [], [31, 32, 33], list(range(60, 90))]
ASKED = [
    (PROMPT, CONTINUATIONS),
    ([5, 6], [[7], [8, 9]]),
    (PROMPT[:12], [[22], PROMPT[12:], [44, 45]]),
    ([5, 6], []),
    (list(range(10, 70)), [[70, 71], [100]]),
    ([400], [list(range(401, 440))]),
]


def plain(model, ids, continuation):
    with torch.no_grad():
        logits = model(torch.tensor([[*ids, *continuation]])).logits[0].log_softmax(-1)
    return [float(logits[len(ids) - 1 + place, token]) for place, token in enumerate(continuation)]


def is_greedy(model, ids, continuation):
    with torch.no_grad():
        likeliest = model(torch.tensor([[*ids, *continuation]])).logits[0].argmax(-1)
    return likeliest[len(ids) - 1 : -1].tolist() == list(continuation)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("confined", [True, False])
def test_log_probabilities_are_those_of_a_plain_pass(new_engine, family, confined):
    engine = new_engine(family)
    engine._confined = confined
    found = engine.loglikelihood(PROMPT, CONTINUATIONS)
    assert [len(one) for one in found] == [len(one) for one in CONTINUATIONS]
    for one, continuation in zip(found, CONTINUATIONS, strict=True):
        assert one == pytest.approx(plain(engine._model, PROMPT, continuation), abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("confined", [True, False])
@pytest.mark.parametrize(("run", "part", "rows"), [(1024, 128, 512), (9, 4, 5), (40, 7, 1)])
def test_prompts_together_are_as_each_alone(new_engine, family, confined, run, part, rows, monkeypatch):
    monkeypatch.setattr(forest, "RUN_TOKENS", run)
    monkeypatch.setattr(forest, "PART_TOKENS", part)
    monkeypatch.setattr(likelihood, "_HEAD_ROWS", rows)
    engine = new_engine(family)
    engine._confined = confined
    done = []
    found = engine.loglikelihoods(ASKED, on_done=done.append)
    assert sorted(done) == list(range(len(ASKED)))
    for (ids, continuations), scored in zip(ASKED, found, strict=True):
        assert len(scored) == len(continuations)
        for one, continuation in zip(scored, continuations, strict=True):
            assert list(one.tokens) == pytest.approx(plain(engine._model, ids, continuation), abs=1e-4)


def test_greedy_says_whether_the_model_would_write_it(new_engine):
    engine = new_engine("gemma3")
    written = list(engine.generate([PROMPT], max_new_tokens=4)[0].ids)
    assert written
    found = engine.loglikelihoods([(PROMPT, [written, written[:1], [*written[:-1], 3], [3]])])[0]
    for one, continuation in zip(found, [written, written[:1], [*written[:-1], 3], [3]], strict=True):
        assert one.greedy == is_greedy(engine._model, PROMPT, continuation)
    assert found[0].greedy
    assert not found[3].greedy


def test_a_head_with_a_soft_cap_is_left_to_the_model(new_engine):
    engine = new_engine("gemma3")
    assert has_plain_head(engine._model)
    capped = new_engine("gemma3")
    capped._model.config.final_logit_softcapping = 0.01
    assert not has_plain_head(capped._model)
    for one, continuation in zip(capped.loglikelihood(PROMPT, CONTINUATIONS), CONTINUATIONS, strict=True):
        assert one == pytest.approx(plain(capped._model, PROMPT, continuation), abs=1e-4)
    assert capped.loglikelihood(PROMPT, [[31]]) != engine.loglikelihood(PROMPT, [[31]])


def test_nodes_that_sequences_share_are_computed_once(monkeypatch):
    model = tiny_model("llama")
    computed = []
    decoder = model.get_decoder()
    decoder.register_forward_pre_hook(
        lambda module, args, kwargs: computed.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    asked = [(PROMPT, [[31], [32], [33, 34]]), (PROMPT, [[31]])]
    has_plain_head(model)
    computed.clear()
    likelihood.likelihoods(model, asked, confined=True)
    assert sum(computed) == len(PROMPT) + 1


def test_spans_are_cut_where_the_way_back_is_shortest():
    trie = build_trie([[1, *range(20, 30)], [1, *range(40, 45)], [1, 50]])
    assert list(forest.cuts(trie.positions, 0, len(trie), 14)) == [(0, 11), (11, 17)]
    assert list(forest.cuts(np.arange(5), 0, 5, 2)) == [(0, 1), (1, 2), (2, 3), (3, 5)]


def test_limits(new_engine):
    engine = new_engine("llama")
    assert engine.loglikelihood(PROMPT, []) == []
    assert engine.loglikelihood(PROMPT, [[]]) == [[]]
    assert engine.loglikelihoods([]) == []
    with pytest.raises(ModelError, match="empty"):
        engine.loglikelihood([], [[5]])
    assert len(engine.loglikelihood([5] * 4090, [[5] * 7])[0]) == 7
    with pytest.raises(ModelError, match="context"):
        engine.loglikelihood([5] * 4090, [[5] * 8])
