"""Packed and shared training is the training of the separate examples: loss and every gradient."""

import numpy as np
import pytest
import torch

from komt.pack import loss, pack_sequences
from komt.testing import FAMILIES, tiny_model

LOSS, GRADIENT = 1e-5, 1e-4


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return found


def assert_same_training(model, sequences, separate_loss, share):
    alone = separate_loss(model, sequences)
    alone.backward()
    expected = gradients(model)
    packed = loss(model, pack_sequences(sequences, share=share))
    packed.backward()
    found = gradients(model)
    assert abs(packed.item() - alone.item()) <= LOSS * alone.item()
    assert set(found) == set(expected)
    for name, gradient in found.items():
        size = expected[name].norm().item()
        assert size > 0, name
        assert (gradient - expected[name]).norm().item() <= GRADIENT * size, name


@pytest.mark.parametrize("share", [True, False], ids=["shared", "packed"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_lora_gradients_equal_those_of_separate_examples(
    family, share, adapted, ragged, separate_loss
):
    assert max(map(len, ragged)) > 3 * 8  # well beyond the window of the sliding families
    assert_same_training(adapted(family), ragged, separate_loss, share)


@pytest.mark.parametrize("seed", range(3))
def test_random_tries_are_exact_in_a_sliding_window_model(seed, adapted, sequence, separate_loss):
    random = np.random.default_rng(seed)
    trunk = random.integers(4, 600, 30)
    sequences = []
    for _ in range(6):
        tail = random.integers(4, 600, random.integers(2, 12))
        ids = [*trunk[: random.integers(0, 30)], *tail]
        sequences.append(sequence(ids, int(random.integers(1, len(tail)))))
    assert_same_training(adapted("gemma3", seed), sequences, separate_loss, True)


def test_full_gradients_equal_those_of_separate_examples(ragged, separate_loss):
    assert_same_training(tiny_model("gemma3").train(), ragged, separate_loss, True)


def test_gradient_checkpointing_changes_nothing(adapted, ragged, separate_loss):
    model = adapted("gemma3")
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
    assert_same_training(model, ragged, separate_loss, True)


def test_a_wrong_window_would_be_noticed(adapted, ragged, separate_loss):
    """The guard of the guard: with the window ignored, the losses do differ."""
    model = adapted("gemma3")
    with torch.no_grad():
        alone = separate_loss(model, ragged).item()
        window, model.config.sliding_window = model.config.sliding_window, 64
        wrong = loss(model, pack_sequences(ragged)).item()
        model.config.sliding_window = window
        right = loss(model, pack_sequences(ragged)).item()
    assert abs(right - alone) <= LOSS * alone < abs(wrong - alone)
