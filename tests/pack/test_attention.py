"""Folded attention computes what SDPA computes, and is used only where that holds."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from komt.pack import loss, pack_sequences
from komt.pack.attention import NAME, additive, block_pairs, blocks_of, folded, folded_attention
from komt.pack.masks import trie_visibility
from komt.pack.trie import build_trie
from komt.testing import FAMILIES, tiny_model


@pytest.mark.parametrize(("heads", "groups"), [(4, 1), (4, 2), (4, 4)])
def test_it_equals_sdpa(heads, groups):
    torch.manual_seed(0)
    query = torch.randn(1, heads, 5, 8, requires_grad=True)
    key, value = (torch.randn(1, groups, 7, 8, requires_grad=True) for _ in range(2))
    mask = (torch.rand(1, 1, 5, 7) > 0.4).index_fill(3, torch.tensor([0]), True)
    ours, _ = folded_attention(None, query, key, value, additive(mask), scaling=0.3)
    theirs = scaled_dot_product_attention(query, key, value, mask, scale=0.3, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    mine = torch.autograd.grad(ours, (query, key, value), upstream)
    torch.testing.assert_close(mine, torch.autograd.grad(theirs, (query, key, value), upstream))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_packed_loss_uses_it_and_equals_that_by_sdpa(family, ragged, monkeypatch):
    model, batch = tiny_model(family), pack_sequences(ragged)
    with folded(model, len(batch.ends)) as used:
        assert used
        assert model.config._attn_implementation == NAME
    assert model.config._attn_implementation == "sdpa"
    by_folding = loss(model, batch)
    monkeypatch.setattr("komt.pack.attention._MOST_TOKENS", 0)
    torch.testing.assert_close(by_folding, loss(model, batch), rtol=1e-6, atol=1e-6)


def test_soft_caps_sinks_long_rows_and_checkpointing_keep_sdpa():
    model = tiny_model("llama")
    with folded(model, 5000) as used:
        assert not used
    model.gradient_checkpointing_enable()
    with folded(model.train(), 10) as used:
        assert not used
    with folded(model.eval(), 10) as used:
        assert used
    model.config.attn_logit_softcapping = 50.0
    with folded(model, 10) as used:
        assert not used


@pytest.mark.parametrize("share", [True, False])
def test_pairs_of_blocks_are_those_of_the_mask(share):
    trie = build_trie([[1] * 150 + [n] * 60 for n in (2, 3, 4)] + [[5] * 90], share=share)
    blocks = blocks_of(trie_visibility(torch.from_numpy(trie.ends)))
    assert block_pairs(trie.ends) == sum((end - start) * (last - first) for start, end, first, last in blocks)
    assert block_pairs(trie.ends) < len(trie) ** 2


def test_values_may_be_of_another_width_than_keys():
    torch.manual_seed(0)
    query, key = (torch.randn(1, heads, 6, 16, requires_grad=True) for heads in (4, 2))
    value = torch.randn(1, 2, 6, 8, requires_grad=True)
    mask = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
    ours, _ = folded_attention(None, query, key, value, additive(mask))
    theirs = scaled_dot_product_attention(query, key, value, mask, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    expected = torch.autograd.grad(theirs, (query, key, value), upstream)
    found = torch.autograd.grad(ours, (query, key, value), upstream)
    torch.testing.assert_close(found, expected)
