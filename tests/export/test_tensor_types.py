"""Tensor types of quantised files, as llama.cpp chooses them."""

import pytest

from komt.errors import ModelError
from komt.export.tensor_types import tensor_types


def shapes(layers, width=2048, hidden=5632, vocabulary=32000, tied=False):
    named = {"token_embd.weight": (width, vocabulary), "output_norm.weight": (width,)}
    if not tied:
        named["output.weight"] = (width, vocabulary)
    for i in range(layers):
        named |= {
            f"blk.{i}.{part}.weight": (width, width) for part in ("attn_q", "attn_k", "attn_v", "attn_output")
        }
        named |= {f"blk.{i}.{part}.weight": (width, hidden) for part in ("ffn_gate", "ffn_up")}
        named[f"blk.{i}.ffn_down.weight"] = (hidden, width)
        named[f"blk.{i}.attn_norm.weight"] = (width,)
    return named


def layers_with(types, part, kind):
    return [int(name.split(".")[1]) for name, own in types.items() if part in name and own == kind]


def test_q4_k_m_gives_more_bits_to_values_and_down_projections_of_some_layers():
    types = tensor_types(shapes(22), "q4_k_m", architecture="llama", grouped=True)
    # Of 22 layers: the first eighth (2), from 19 on, and every third between.
    expected = [0, 1, 4, 7, 10, 13, 16, 19, 20, 21]
    assert layers_with(types, "attn_v", "Q6_K") == expected
    assert layers_with(types, "ffn_down", "Q6_K") == expected
    assert layers_with(types, "ffn_up", "Q4_K") == list(range(22))
    assert types["output.weight"] == "Q6_K"
    assert types["token_embd.weight"] == "Q4_K"
    assert not [name for name in types if "norm" in name]


def test_embeddings_that_serve_as_head_are_treated_as_one():
    types = tensor_types(shapes(22, tied=True), "q4_k_m")
    assert types["token_embd.weight"] == "Q6_K"
    assert tensor_types(shapes(22, tied=True), "q8_0")["token_embd.weight"] == "Q8_0"
    assert tensor_types(shapes(22, tied=True), "q4_0")["token_embd.weight"] == "Q6_K"


def test_rows_that_fill_no_block_fall_back_to_the_next_larger_type():
    types = tensor_types(shapes(18, width=640, hidden=2048, tied=True), "q4_k_m")
    assert types["token_embd.weight"] == "Q8_0"
    assert types["blk.0.attn_v.weight"] == "Q8_0"  # wanted: Q6_K
    assert types["blk.3.attn_v.weight"] == "Q5_0"  # wanted: Q4_K
    assert types["blk.3.ffn_down.weight"] == "Q4_K"
    assert types["blk.0.ffn_down.weight"] == "Q6_K"
    narrow = tensor_types(shapes(2, width=48, hidden=96), "q4_0")
    assert narrow["blk.0.attn_q.weight"] == "F16"
    assert narrow["blk.0.ffn_down.weight"] == "Q4_0"


def test_values_of_the_large_llama_get_five_bits():
    types = tensor_types(shapes(80), "q4_k_m", architecture="llama", grouped=True)
    assert set(layers_with(types, "attn_v", "Q5_K")) == set(range(80)) - set(
        layers_with(types, "attn_v", "Q6_K")
    )
    assert not layers_with(
        tensor_types(shapes(80), "q4_k_m", architecture="qwen3", grouped=True), "attn_v", "Q5_K"
    )


def test_a_mixture_of_experts_is_refused():
    named = shapes(2) | {"blk.0.ffn_down_exps.weight": (512, 512, 8)}
    with pytest.raises(ModelError, match="mixture of experts"):
        tensor_types(named, "q4_k_m")
