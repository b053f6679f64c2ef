"""How likely continuations are: as one plain forward pass over each tells it."""

import pytest
import torch

from komt.errors import ModelError
from komt.serve import likelihood
from komt.testing import FAMILIES

PROMPT = list(range(10, 30))
CONTINUATIONS = [[31, 32, 33], [31, 32, 40, 41, 42, 43], [50], [], [31, 32, 33], list(range(60, 90))]


def plain(engine, ids, continuation):
    with torch.no_grad():
        logits = engine._model(torch.tensor([[*ids, *continuation]])).logits[0].log_softmax(-1)
    return [float(logits[len(ids) - 1 + place, token]) for place, token in enumerate(continuation)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("confined", [True, False])
@pytest.mark.parametrize("chunk", [256, 7])
def test_log_probabilities_are_those_of_a_plain_pass(new_engine, family, confined, chunk, monkeypatch):
    monkeypatch.setattr(likelihood, "_CHUNK_TOKENS", chunk)
    engine = new_engine(family)
    engine._confined = confined
    found = engine.loglikelihood(PROMPT, CONTINUATIONS)
    assert [len(one) for one in found] == [len(one) for one in CONTINUATIONS]
    for one, continuation in zip(found, CONTINUATIONS, strict=True):
        assert one == pytest.approx(plain(engine, PROMPT, continuation), abs=1e-4)


def test_limits(new_engine):
    engine = new_engine("llama")
    assert engine.loglikelihood(PROMPT, []) == []
    assert engine.loglikelihood(PROMPT, [[]]) == [[]]
    with pytest.raises(ModelError, match="empty"):
        engine.loglikelihood([], [[5]])
    with pytest.raises(ModelError, match="context"):
        engine.loglikelihood([5] * 4090, [[5] * 7])
