"""The cross-entropy function and the batch it is computed on."""

import sys

import numpy as np
import pytest
import torch

from komt.pack import TokenSequence, loss, pack_sequences, target_losses
from komt.pack.loss import _CrossEntropy, forward_rows
from komt.testing import tiny_model

ROWS, TARGETS = torch.tensor([0, 2, 2, 2, 4, 4]), torch.tensor([3, 1, 6, 1, 0, 0])


def both_ways(dtype):
    torch.manual_seed(0)
    first = (torch.randn(5, 7) * 3).to(dtype).requires_grad_()
    second = first.detach().clone().requires_grad_()
    upstream = torch.rand(6)
    ours = _CrossEntropy.apply(first, ROWS, TARGETS)
    theirs = torch.nn.functional.cross_entropy(second[ROWS].float(), TARGETS, reduction="none")
    (ours * upstream).sum().backward()
    (theirs * upstream).sum().backward()
    return ours, theirs, first.grad, second.grad


@pytest.mark.parametrize("elements", [1, 14, 21, 1 << 24])
def test_cross_entropy_equals_torchs_whatever_the_chunk(monkeypatch, elements):
    monkeypatch.setattr(sys.modules["komt.pack.loss"], "_CHUNK_ELEMENTS", elements)
    ours, theirs, gradient, expected = both_ways(torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-6)
    assert gradient[1].abs().sum() == 0 == gradient[3].abs().sum()  # rows without a target


def test_bf16_logits_give_fp32_losses_and_bf16_gradients():
    ours, theirs, gradient, expected = both_ways(torch.bfloat16)
    assert (ours.dtype, gradient.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=2e-2, atol=2e-2)


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    losses = _CrossEntropy.apply(logits, torch.tensor([0, 0]), torch.tensor([0, 1]))
    assert losses.tolist() == [0.0, 2e4]
    losses.sum().backward()
    assert logits.grad.tolist() == [[1.0, -1.0, 0.0]]


def test_rows_are_each_once_and_targets_point_at_them(sequence):
    batch = pack_sequences([sequence([5, 6, 7, 8], 2), sequence([5, 6, 7, 9], 2), sequence([5, 6, 3], 1)])
    # 5 6 is the trunk; 3 sorts before 7, which has 8 and 9 below it.
    assert batch.ids.tolist() == [[5, 6, 3, 7, 8, 9]]
    assert batch.rows.tolist() == [1, 3]
    assert batch.targets.tolist() == [7, 8, 7, 9, 3]
    assert batch.rows[batch.target_rows].tolist() == [1, 3, 1, 3, 1]
    assert batch.sequence.tolist() == [0, 0, 1, 1, 2]
    assert batch.weights.tolist() == [1.0] * 5
    assert batch.flat_tokens == 11


def test_logits_are_computed_for_the_needed_rows_only(ragged):
    batch = pack_sequences(ragged)
    assert len(batch.rows) < batch.ids.shape[1] / 2
    with torch.no_grad():
        assert forward_rows(tiny_model("llama"), batch).shape == (len(batch.rows), 600)


def test_weights_weigh(sequence):
    model = tiny_model("llama")
    ids = np.array([5, 6, 7, 8], np.int32)
    weighted = TokenSequence(ids, np.array([0, 0, 3, 0.5], np.float32), "e")
    with torch.no_grad():
        each = target_losses(model, pack_sequences([sequence(ids, 2)]))
        found = loss(model, pack_sequences([weighted]))
    torch.testing.assert_close(found, (3 * each[0] + 0.5 * each[1]) / 3.5)


def test_a_first_token_is_never_a_target(sequence):
    batch = pack_sequences([sequence([5, 6], 2)])
    assert batch.targets.tolist() == [6]


def test_sequences_without_supervised_token_are_refused(sequence):
    with pytest.raises(ValueError, match="no supervised token"):
        pack_sequences([sequence([5, 6, 7], 0), sequence([5], 1)])


def test_a_batch_moves_as_a_whole(ragged):
    batch = pack_sequences(ragged).to("meta")
    tensors = (batch.ids, batch.positions, batch.ends, batch.rows, batch.target_rows, batch.targets)
    assert {tensor.device.type for tensor in (*tensors, batch.weights, batch.sequence)} == {"meta"}
    assert batch.flat_tokens == pack_sequences(ragged).flat_tokens
