"""The sum behind the predicted peak, on tiny models whose tensors can be counted by hand."""

import json
import struct

import pytest
import torch

from komt.models.fused import fused_layers
from komt.pack.attention import block_pairs
from komt.pack.batch import pack_sequences
from komt.pack.loss import target_losses
from komt.pack.plan import plan_steps
from komt.testing import tiny_model
from komt.train.memory import (
    BinSize,
    Saved,
    Shape,
    bin_sizes,
    estimate,
    shape_of,
    weight_bytes,
)
from komt.train.trial import _kept_by_functions, count_saved

SHAPE = Shape(4, 10, 100, 1000, 500, 0, 20, 2)
SAVED = Saved(token=80.0, pair=4.0, row=200.0, fixed=50.0)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3", "gemma3"])
def test_what_is_counted_over_small_bins_holds_for_a_larger_one(family, toy_recipe, toy_sequences, adapted):
    recipe = toy_recipe()
    model = adapted(recipe, family)
    saved = count_saved(recipe, model, "packed")
    batch = pack_sequences(toy_sequences, share=False)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    sizes = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    with fused_layers(model), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        target_losses(model, batch).sum()
    pairs = block_pairs(batch.ends.numpy())
    predicted = saved.of(BinSize(batch.ids.shape[1], len(batch.rows), pairs))
    assert batch.ids.shape[1] > 600
    assert predicted == pytest.approx(sum(sizes.values()), rel=0.03)


def test_the_sum_adds_what_stands_at_the_same_time():
    found = estimate(SHAPE, SAVED, BinSize(10, 3, 100), 1e6, checkpointing=False)
    kept = 80 * 10 + 4 * 100 + 200 * 3
    head = 3 * 100 * 2 + 2 * 4 * 300
    assert (found.loaded, found.kept, found.head, found.copies) == (1e6, kept + 50, head, 6 * 500)
    assert found.trained == 12 * 1000
    assert found.total == pytest.approx(1e6 + 12_000 + (kept + head) * 1.45 + 50 + 3000)
    lone = estimate(SHAPE, SAVED, BinSize(10, 3, 100), 1e6, checkpointing=False, several_bins=False)
    # One bin a step: while its tensors are there, the gradients are not yet.
    assert (lone.trained, lone.kept) == (8 * 1000, kept + 50)
    large = Shape(4, 10, 100, 10_000, 500, 0, 20, 2)
    grown = estimate(large, SAVED, BinSize(1, 1, 1), 0, checkpointing=False, several_bins=False)
    assert (grown.trained, grown.kept) == (12 * 10_000, 0.0)


def test_checkpointing_keeps_the_inputs_of_layers_and_one_layer():
    plain, less = (
        estimate(SHAPE, SAVED, BinSize(10, 3, 100), 0, checkpointing=on).kept for on in (False, True)
    )
    layers = 80 * 10 + 4 * 100
    assert plain - less == layers - 3 * layers / 4 - 4 * 10 * 2 * 10


def test_a_gpu_has_no_heap_of_the_c_library():
    gpu = Shape(4, 10, 100, 1000, 500, 0, 20, 2, on_cpu=False)
    assert estimate(gpu, SAVED, BinSize(10, 3, 100), 0, checkpointing=False).heap == 0


def test_shapes_count_what_is_trained(toy_recipe, adapted):
    recipe = toy_recipe()
    model = adapted(recipe, "llama")
    shape = shape_of(model, recipe)
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    assert (shape.layers, shape.hidden, shape.vocabulary, shape.width) == (3, 32, 600, 4)
    assert (shape.trained, shape.largest_trained) == (sum(trained), max(trained))
    assert shape.largest_layer == 0
    # LoRA of rank r trains r numbers for each width of each linear layer, its own two matrices apart.
    bare = shape_of(tiny_model("llama").requires_grad_(True), recipe)
    assert sum(trained) == 4 * bare.linear_widths


def test_bins_are_measured_as_they_are_packed(toy_recipe, toy_sequences):
    recipe = toy_recipe()
    steps = plan_steps(toy_sequences, recipe.pack, recipe.train, 0)
    for way in ("shared", "packed"):
        for step, sizes in zip(steps, bin_sizes(toy_sequences, steps, way), strict=True):
            for members, size in zip(step.bins, sizes, strict=True):
                batch = pack_sequences([toy_sequences[i] for i in members], share=way == "shared")
                assert size.tokens == batch.ids.shape[1]
                assert size.rows >= len(batch.rows)
                assert size.rows == len(batch.targets)
    alone = bin_sizes(toy_sequences, steps, "single")
    assert max(size.tokens for some in alone for size in some) == max(map(len, toy_sequences))


def test_weights_are_counted_from_the_headers_of_their_files(tmp_path):
    header = {
        "model.embed_tokens.weight": {"dtype": "BF16", "shape": [100, 8], "data_offsets": [0, 1600]},
        "model.layers.0.q_proj.weight": {"dtype": "BF16", "shape": [8, 8], "data_offsets": [1600, 1728]},
        "model.norm.weight": {"dtype": "BF16", "shape": [8], "data_offsets": [1728, 1744]},
        "__metadata__": {"format": "pt"},
    }
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert weight_bytes(tmp_path, 32) == 4 * 872
    assert weight_bytes(tmp_path, 16) == 2 * 872
    assert weight_bytes(tmp_path, 8) == 2 * 808 + 64
    assert weight_bytes(tmp_path, 4) == pytest.approx(2 * 808 + 64 * 4.127 / 8, rel=1e-4)


class _Keeps(torch.autograd.Function):
    """Keeps a tensor as an attribute, beside what autograd is told of."""

    @staticmethod
    def forward(ctx, x):
        ctx.kept, ctx.several = x.new_zeros(5), [x.new_zeros(3), None]
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_what_a_function_keeps_beside_autograd_is_found_behind_the_losses():
    x = torch.ones(2, requires_grad=True)
    losses = _Keeps.apply(x * 2).exp() + x
    assert sorted(len(tensor) for tensor in _kept_by_functions(losses)) == [3, 5]
