"""Agreement of logits and perplexity, on numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from komt.errors import ModelError
from komt.export.measure import Agreement, agreement, perplexity


def test_agreement_counts_places_and_the_margin_of_the_worst_difference() -> None:
    reference = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.95, 0.0], [0.0, 5.0, 4.5]])
    other = torch.tensor([[3.0, 1.0, 0.0], [1.9, 1.95, 0.0], [0.0, 4.0, 4.5]])
    found = agreement(reference, other)
    assert (found.positions, found.same) == (3, 1)
    assert found.margin == pytest.approx(0.5)
    assert found.difference == pytest.approx(1.0)
    assert found.share == pytest.approx(1 / 3)


def test_equal_logits_agree_everywhere() -> None:
    logits = torch.randn(4, 7)
    assert agreement(logits, logits) == Agreement(4, 4, 0.0, 0.0)


def test_padding_of_a_vocabulary_is_left_out() -> None:
    logits = torch.tensor([[1.0, 2.0]])
    assert agreement(logits, torch.tensor([[1.0, 2.0, 99.0]])).same == 1


def test_logits_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(ModelError, match="no numbers"):
        agreement(torch.zeros(1, 2), torch.tensor([[0.0, float("nan")]]))


def test_perplexity_of_even_odds_is_the_number_of_choices() -> None:
    assert perplexity(torch.zeros(3, 5), [0, 1, 2, 3]) == pytest.approx(5.0)
    sure = torch.tensor([[0.0, math.log(3)]])
    assert perplexity(sure, [0, 1]) == pytest.approx(4 / 3)
