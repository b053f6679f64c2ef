"""AdamW's groups: one rate, or with LoRA+ a higher one for B, grouped as PEFT does."""

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer

from komt.errors import ModelError, UsageError
from komt.testing import tiny_model
from komt.train.identity import stage_key
from komt.train.optimizer import make_optimizer
from komt.train.snapshot import restore, take_snapshot


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


def test_a_paged_optimiser_wants_a_gpu(toy_recipe, adapted):
    recipe = toy_recipe(optim="paged_adamw_8bit")
    with pytest.raises(UsageError, match="there is no GPU here") as error:
        make_optimizer(adapted(recipe), recipe.train)
    assert error.value.cure == "train.optim=adamw_8bit"


def test_averages_in_8_bits_come_back_from_a_snapshot(toy_recipe):
    """Also through whole tensors; of fewer than 4,096 numbers bitsandbytes keeps 32 bits."""
    recipe, models = toy_recipe(optim="adamw_8bit", lr=1e-2), []
    for taken in (0, 3):
        torch.manual_seed(0)
        model = torch.nn.Linear(96, 96)
        optimizer, snapshot = make_optimizer(model, recipe.train), None
        for step in range(6):
            if step == taken and taken:
                snapshot = take_snapshot(step, model, optimizer)
                model = torch.nn.Linear(96, 96)
                optimizer = make_optimizer(model, recipe.train)
                restore(snapshot, model, optimizer)
            optimizer.zero_grad()
            (model(torch.full((2, 96), 0.1 * (step + 1))) ** 2).sum().backward()
            optimizer.step()
        assert optimizer.state[model.weight]["state1"].dtype == torch.uint8
        assert optimizer.state[model.weight]["step"] == 6
        models.append(model)
    assert torch.equal(models[0].weight, models[1].weight)
    assert torch.equal(models[0].bias, models[1].bias)


def test_the_optimiser_belongs_to_what_is_trained(toy_recipe, tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"x")
    keys = [stage_key(toy_recipe(**one), tmp_path, "r") for one in ({}, {"optim": "adamw_8bit"})]
    assert len(set(keys)) == 2
