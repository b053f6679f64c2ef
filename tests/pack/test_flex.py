"""FlexAttention over block masks computes what SDPA computes with the whole mask."""

import numpy as np
import pytest
import torch

from komt.pack import build_trie, loss, pack_sequences
from komt.pack.flex import (
    BLOCK_TOKENS,
    _block_mask,
    block_masks,
    leave_flex,
    suits,
    use_flex,
    uses_flex,
    whole_blocks,
)
from komt.pack.masks import attention_masks, trie_visibility
from komt.testing import FAMILIES, tiny_model


@pytest.fixture
def long_trie(sequence):
    """Sequences over four blocks: forks in several of them, a duplicate, and strangers."""
    random = np.random.default_rng(2)
    trunk, other = random.integers(4, 600, 300), random.integers(4, 600, 150)
    a, b = random.integers(4, 600, 70), random.integers(4, 600, 9)
    return [
        sequence([*trunk, *a], 7),
        sequence([*trunk, *b], 4),
        sequence([*trunk[:130], *b], 5),
        sequence([*trunk, *a[:20]], 2),
        sequence(other, 9),
        sequence([*other[:3], *b], 3),
    ]


@pytest.fixture
def backward_on_cpu(monkeypatch):
    """torch refuses this backward pass at its door on a CPU; behind it stands the unfused reference."""
    monkeypatch.setattr(torch.nn.attention.flex_attention, "_validate_device", lambda *tensors: None)


def random_trie(seed):
    random = np.random.default_rng(seed)
    trunk = random.integers(0, 600, 500)
    lengths = random.integers(1, 500, 6), random.integers(1, 200, 6)
    paths = [[*trunk[:a], *random.integers(0, 600, b)] for a, b in zip(*lengths, strict=True)]
    trie = build_trie(paths)
    batch = pack_one(trie)
    return batch


def pack_one(trie):
    more = -len(trie) % BLOCK_TOKENS
    ends = np.concatenate([trie.ends, np.arange(len(trie) + 1, len(trie) + more + 1)])
    positions = np.concatenate([trie.positions, np.zeros(more, np.int64)])
    return torch.from_numpy(ends), torch.from_numpy(positions)


def blocks_in(counts, indices):
    """Which blocks stand in a BlockMask's lists, (N, N)."""
    found = torch.zeros(indices.shape[2:], dtype=torch.bool)
    for row, count in enumerate(counts[0, 0].tolist()):
        found[row, indices[0, 0, row, :count].long()] = True
    return found


@pytest.mark.parametrize("window", [0, 64, 300])
@pytest.mark.parametrize("seed", range(4))
def test_blocks_hold_just_what_is_seen(seed, window):
    ends, positions = random_trie(seed)
    visible = trie_visibility(ends)
    if window:
        visible &= positions[:, None] - positions[None, :] < window
    size = len(ends) // BLOCK_TOKENS
    tiles = visible.view(size, BLOCK_TOKENS, size, BLOCK_TOKENS)
    some, every = tiles.any(3).any(1), tiles.all(3).all(1)
    mask = _block_mask(ends, positions, window)
    partial = blocks_in(mask.kv_num_blocks, mask.kv_indices)
    full = blocks_in(mask.full_kv_num_blocks, mask.full_kv_indices)
    assert not (partial & full).any()
    assert not (full & ~every).any()  # what is computed without a mask is seen whole
    assert not (some & ~(partial | full)).any()  # nothing that is seen is left out
    if not window:
        assert torch.equal(full, every)
        assert torch.equal(partial | full, some)
    place = torch.arange(len(ends))
    assert torch.equal(mask.mask_mod(None, None, place[:, None], place[None, :]), visible)


def test_padding_sees_itself_alone(long_trie):
    batch = pack_sequences(long_trie)
    filled = whole_blocks(batch)
    tokens = len(batch.ends)
    assert len(filled.ends) % BLOCK_TOKENS == 0
    assert filled.ids.shape == filled.positions.shape == (1, len(filled.ends))
    visible = trie_visibility(filled.ends)
    assert torch.equal(visible[tokens:, tokens:], torch.eye(len(filled.ends) - tokens, dtype=torch.bool))
    assert not visible[tokens:, :tokens].any()
    assert not visible[:tokens, tokens:].any()
    assert torch.equal(filled.rows, batch.rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_have_the_form_of_the_whole_ones(family, long_trie):
    config = tiny_model(family).config
    batch = whole_blocks(pack_sequences(long_trie))
    positions = batch.positions[0]
    whole = attention_masks(config, trie_visibility(batch.ends), positions, positions)
    blocks = block_masks(config, batch.ends, positions)
    place = torch.arange(len(batch.ends))
    pairs = [(blocks[kind], whole[kind]) for kind in whole] if isinstance(whole, dict) else [(blocks, whole)]
    for block, mask in pairs:
        assert torch.equal(block.mask_mod(None, None, place[:, None], place[None, :]), mask[0, 0])


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_equal_those_of_sdpa(family, adapted, long_trie, backward_on_cpu):
    model, batch = adapted(family), pack_sequences(long_trie)
    expected = loss(model, batch)
    expected.backward()
    theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    use_flex(model)
    found = loss(model, batch)
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for name, gradient in theirs.items():
        own = model.get_parameter(name).grad
        assert (own - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_checkpointed_layers_run_again_the_same_way(adapted, long_trie, backward_on_cpu):
    model, batch = adapted("gemma3"), pack_sequences(long_trie)
    use_flex(model)
    loss(model, batch).backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
    loss(model, batch).backward()
    for name, gradient in expected.items():
        torch.testing.assert_close(model.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-6)


def test_what_is_not_packed_goes_by_sdpa(long_trie):
    model = tiny_model("gemma3")
    ids = torch.from_numpy(long_trie[0].ids.astype(np.int64))[None]
    with torch.no_grad():
        expected = model(ids).logits
        use_flex(model)
        torch.testing.assert_close(model(ids).logits, expected)
    assert uses_flex(model)
    leave_flex(model)
    assert model.config._attn_implementation == "sdpa"


def test_on_a_cpu_it_is_not_used():
    assert not suits(tiny_model("llama"))


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_on_a_gpu_it_is_used_and_compiles_once(family, adapted, long_trie, separate_loss):
    from komt.pack.probe import probe

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    model = adapted(family)
    alone = separate_loss(model, long_trie)
    alone.backward()
    expected = {name: p.grad.cuda() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    model.cuda()
    parity = probe(model)
    assert parity.way == "shared", parity
    assert uses_flex(model), parity
    packed = loss(model, pack_sequences(long_trie).to("cuda"))
    packed.backward()
    assert abs(packed.item() - alone.item()) <= 1e-4 * alone.item()
    for name, gradient in expected.items():
        assert (model.get_parameter(name).grad - gradient).norm() <= 1e-3 * gradient.norm(), name
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for end in (1, 2, 3, 5):
        loss(model, pack_sequences(long_trie[:end]).to("cuda")).backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled
