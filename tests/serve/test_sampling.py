"""What is drawn from, and how often."""

import pytest
import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from komt.serve import sampling
from komt.serve.engine import Settings
from komt.serve.sampling import Sampler, likeliest


def warped(logits, settings):
    """Probabilities by transformers' own warpers."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(settings.temperature)])
    if settings.top_k:
        warpers.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warpers.append(TopPLogitsWarper(settings.top_p))
    return warpers(None, logits[None])[0].double().softmax(0)


@pytest.mark.parametrize("top_k", [0, 1, 7, 100, 5000])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("first_look", [16, 1024])
def test_tokens_and_probabilities_are_those_of_transformers(
    top_k, top_p, temperature, first_look, monkeypatch
):
    monkeypatch.setattr(sampling, "_FIRST_LOOK", first_look)
    settings = Settings(temperature=temperature, top_p=top_p, top_k=top_k)
    logits = torch.randn(3000, generator=torch.Generator().manual_seed(0)) * 2
    tokens, shares = likeliest(logits, settings)
    expected = warped(logits, settings)
    assert sorted(tokens.tolist()) == torch.nonzero(expected)[:, 0].tolist()
    assert torch.allclose(shares / shares.sum(), expected[tokens], atol=1e-6)


def test_draws_follow_the_probabilities():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    sampler = Sampler(Settings(temperature=1, top_p=1, top_k=0, seed=3))
    counts = torch.bincount(torch.tensor([sampler.draw(logits) for _ in range(4000)]), minlength=4) / 4000
    assert counts.tolist() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_a_seed_repeats_the_draws_and_temperature_nought_takes_the_likeliest():
    logits = torch.randn(500)
    settings = Settings(temperature=2, seed=5)
    assert [Sampler(settings).draw(logits) for _ in range(3)] == [Sampler(settings).draw(logits)] * 3
    first, second = Sampler(settings), Sampler(settings)
    assert [first.draw(logits) for _ in range(20)] == [second.draw(logits) for _ in range(20)]
    assert Sampler(Settings(temperature=0)).draw(logits) == int(logits.argmax())
    assert Sampler(Settings(seed=-1)).draw(logits) >= 0


@pytest.mark.parametrize("temperature", [1e-6, 1e-40, 5e-324])
@pytest.mark.parametrize(("top_k", "top_p"), [(100, 0.8), (0, 0.8), (0, 1.0)])
def test_a_temperature_of_next_to_nothing_takes_the_likeliest_token(temperature, top_k, top_p):
    logits = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    sampler = Sampler(Settings(temperature=temperature, top_k=top_k, top_p=top_p, seed=1))
    assert [sampler.draw(logits) for _ in range(3)] == [int(logits.argmax())] * 3
