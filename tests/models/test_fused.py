"""Fused layers compute what PEFT's and transformers' own do, and leave alone what they do not know."""

import pytest
import torch

from komt.models.adapt import attach_lora
from komt.models.fused import fused_layers
from komt.recipe import LoraPart
from komt.testing import FAMILIES, tiny_model


def adapted(family="llama", **options):
    model = attach_lora(tiny_model(family), LoraPart(r=4, alpha=8, dropout=0.0), seed=0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # at B = 0 A has no gradient
        if "norm" in name:
            parameter.data.uniform_(0.5, 1.5)
    return model.train()


def gradients(model, ids, *, dtype=None):
    model.zero_grad()
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


@pytest.fixture
def ids():
    return torch.randint(4, 600, (2, 11), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_layers(family, ids):
    model = adapted(family)
    plain, expected = gradients(model, ids)
    layers = sum(hasattr(m, "lora_A") for m in model.modules())
    norms = sum(type(m).__name__.endswith("RMSNorm") for m in model.modules())
    with fused_layers(model) as count:
        assert count == layers + norms > 8
        loss, found = gradients(model, ids)
    torch.testing.assert_close(loss, plain, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert all(gradient.abs().max() > 0 for gradient in found.values())
    assert not any("forward" in vars(module) for module in model.modules())


def test_under_autocast_they_agree_up_to_its_rounding(ids):
    model = adapted()
    plain, expected = gradients(model, ids, dtype=torch.bfloat16)
    with fused_layers(model):
        loss, found = gradients(model, ids, dtype=torch.bfloat16)
    torch.testing.assert_close(loss, plain, rtol=2e-3, atol=0)
    for name, gradient in found.items():
        assert gradient.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(gradient.flatten(), expected[name].flatten(), 0) > 0.99


def test_dropout_draws_what_the_layers_would_draw(ids):
    model = adapted()
    for module in model.modules():
        if hasattr(module, "lora_dropout"):
            module.lora_dropout["default"] = torch.nn.Dropout(0.5)
    torch.manual_seed(3)
    plain, expected = gradients(model, ids)
    torch.manual_seed(3)
    with fused_layers(model):
        loss, found = gradients(model, ids)
    torch.testing.assert_close(loss, plain, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_disabled_or_merged_adapter_is_left_to_peft(ids):
    model = adapted().eval()
    with torch.no_grad(), model.disable_adapter():
        base = model(input_ids=ids).logits
    with torch.no_grad(), fused_layers(model):
        tuned = model(input_ids=ids).logits
        with model.disable_adapter():
            torch.testing.assert_close(model(input_ids=ids).logits, base)
        model.merge_adapter()
        torch.testing.assert_close(model(input_ids=ids).logits, tuned, rtol=1e-4, atol=1e-4)
        model.unmerge_adapter()
    assert not torch.allclose(tuned, base)


def test_a_block_within_a_block_changes_nothing(ids):
    model = adapted()
    with fused_layers(model) as count:
        fused = [module for module in model.modules() if "forward" in vars(module)]
        with fused_layers(model, norms=False) as inner:
            assert inner == 0
        assert [module for module in model.modules() if "forward" in vars(module)] == fused
        assert len(fused) == count > 0
    assert not any("forward" in vars(module) for module in model.modules())


def test_weights_that_are_trained_stay_with_their_layers(ids):
    model = tiny_model("llama").train()
    with fused_layers(model) as count:
        assert count == 0
    model.requires_grad_(False)
    with fused_layers(model) as count:
        assert count == sum(type(m).__name__.endswith("RMSNorm") for m in model.modules())
