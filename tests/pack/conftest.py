"""Ragged token sequences, tiny models with random adapters, and the plain way to their loss."""

import numpy as np
import pytest
import torch

from komt.pack import TokenSequence
from komt.testing import tiny_model


@pytest.fixture
def sequence():
    """Make a sequence: tokens, and how many of the last ones are supervised."""

    def make(ids, answer=1, example="e", task="t", group="g"):
        weights = np.zeros(len(ids), np.float32)
        weights[len(ids) - answer :] = 1.0
        return TokenSequence(np.asarray(ids, np.int32), weights, example, task, group)

    return make


@pytest.fixture
def ragged(sequence):
    """Six sequences longer than a window of 8: forks at several depths, a duplicate, a prefix, a stranger."""
    random = np.random.default_rng(1)
    trunk, other = random.integers(4, 600, 24), random.integers(4, 600, 17)
    a, b, c = (random.integers(4, 600, size) for size in (7, 4, 5))
    return [
        sequence([*trunk, *a], 7),
        sequence([*trunk, *b], 4),
        sequence([*trunk[:13], *c], 5),
        sequence([*trunk, *a[:4]], 2),
        sequence([*trunk, *b], 4),
        sequence(other, 9),
    ]


@pytest.fixture
def adapted():
    """A tiny model of a family with LoRA on all linear layers, B random (at B = 0 A has no gradient)."""
    from peft import LoraConfig, get_peft_model

    def make(family, seed=0):
        config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear")
        model = get_peft_model(tiny_model(family, seed=seed), config)
        torch.manual_seed(seed + 1)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        return model.train()

    return make


@pytest.fixture
def separate_loss():
    """Weighted mean loss of sequences run one by one, with the model's own causal mask and torch's loss."""

    def compute(model, sequences):
        total, weight = 0.0, 0.0
        for one in sequences:
            ids = torch.from_numpy(one.ids.astype(np.int64))[None]
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
            losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
            weights = torch.from_numpy(one.weights[1:])
            total, weight = total + (losses * weights).sum(), weight + weights.sum()
        return total / weight

    return compute
