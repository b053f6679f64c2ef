"""AdamW's groups: one rate, or with LoRA+ a higher one for B, grouped as PEFT does."""

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer

from komt.errors import ModelError
from komt.testing import tiny_model
from komt.train.optimizer import make_optimizer


def names_by_rate(model, optimizer):
    names = {id(p): name for name, p in model.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        found.setdefault(group["lr"], set()).update(names[id(p)] for p in group["params"])
    return {rate: own for rate, own in found.items() if own}


def test_without_lora_plus_there_is_one_group(toy_recipe, adapted):
    recipe = toy_recipe(lr=1e-3, weight_decay=0.1)
    optimizer = make_optimizer(adapted(recipe), recipe.train)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(1e-3, 0.1)]


@pytest.mark.parametrize("dora", [False, True])
def test_lora_plus_groups_as_peft_does(toy_recipe, adapted, dora):
    recipe = toy_recipe(lr=1e-3, lora={"plus_ratio": 16.0, "dora": dora})
    model = adapted(recipe)
    ours = names_by_rate(model, make_optimizer(model, recipe.train))
    peft = create_loraplus_optimizer(model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16.0)
    assert ours == names_by_rate(model, peft)
    assert set(ours) == {1e-3, 1.6e-2}
    assert all("lora_A" in name for name in ours[1e-3])


def test_lora_plus_moves_b_faster_and_a_as_before(toy_recipe, adapted):
    """The first step of AdamW moves every weight that has a gradient by its rate."""
    moved = {}
    for ratio in (1.0, 4.0):
        recipe = toy_recipe(lr=1e-3, lora={"plus_ratio": ratio})
        model = adapted(recipe)
        optimizer = make_optimizer(model, recipe.train)
        before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        for p in model.parameters():
            p.grad = torch.ones_like(p) if p.requires_grad else None
        optimizer.step()
        moved[ratio] = {
            kind: max(float((p - before[n]).abs().max()) for n, p in model.named_parameters() if kind in n)
            for kind in ("lora_A", "lora_B")
        }
    assert moved[4.0]["lora_A"] == moved[1.0]["lora_A"] == pytest.approx(1e-3, rel=1e-3)
    assert moved[4.0]["lora_B"] == pytest.approx(4 * moved[1.0]["lora_B"], rel=1e-3)


def test_a_model_with_nothing_to_train_is_refused(toy_recipe):
    with pytest.raises(ModelError, match="no parameter"):
        make_optimizer(tiny_model("llama").requires_grad_(False), toy_recipe().train)
