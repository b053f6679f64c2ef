"""The loop on tiny models: it learns, and only the step's examples decide what it learns."""

import math
import os
import signal

import pytest
import torch

from komt.errors import ModelError
from komt.pack.plan import plan_steps
from komt.testing import tiny_model
from komt.train import loop as loop_module
from komt.train.loop import Interrupted, make_loop
from komt.train.snapshot import trainable


def run(recipe, sequences, model, way="shared", on_step=None):
    """Train and return the results of the steps."""
    pack = recipe.pack.model_copy(update={"share": way == "shared"})
    steps = plan_steps(sequences, pack, recipe.train, recipe.seed)
    results = []

    def note(result, last):
        results.append((result, last))
        if on_step:
            on_step(result, last)

    make_loop(recipe, sequences, steps, model, way).run(0, note)
    return [result for result, _ in results], steps


def difference(model, other):
    a, b = (torch.cat([p.flatten() for p in trainable(m).values()]) for m in (model, other))
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_the_loss_of_something_learnable_goes_down(toy_recipe, toy_sequences, adapted, family):
    recipe = toy_recipe(epochs=10, lr=1e-2)
    model = adapted(recipe, family)
    results, steps = run(recipe, toy_sequences, model)
    losses = [result.loss for result in results]
    assert len(losses) == len(steps) == 30
    assert sum(losses[-3:]) / 3 < 0.5 * losses[0]


def test_only_the_adapter_changes(toy_recipe, toy_sequences, adapted):
    recipe = toy_recipe()
    model = adapted(recipe)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    before = trainable(model)
    before = {name: tensor.clone() for name, tensor in before.items()}
    run(recipe, toy_sequences, model)
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    assert all(not torch.equal(tensor, before[name]) for name, tensor in trainable(model).items())


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize(
    ("way", "tokens"), [("shared", 40), ("packed", 4096), ("packed", 40), ("single", 4096)]
)
def test_packing_changes_nothing_that_is_learned(toy_recipe, toy_sequences, adapted, family, way, tokens):
    settings = {"epochs": 2, "lr": 1e-3, "step_tokens": 250}
    recipe = toy_recipe(pack={"tokens": 4096}, **settings)
    other = toy_recipe(pack={"tokens": tokens}, **settings)
    first, second = adapted(recipe, family), adapted(other, family)
    expected, plan = run(recipe, toy_sequences, first)
    found, other_plan = run(other, toy_sequences, second, way)
    assert {len(step.bins) for step in plan} == {1}
    assert min(len(step.bins) for step in other_plan) > 1 or tokens == 4096
    assert [result.loss for result in found] == pytest.approx([r.loss for r in expected], rel=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.task_loss == pytest.approx(theirs.task_loss, rel=1e-5)
        assert (ours.lr, ours.examples) == (theirs.lr, theirs.examples)
    assert difference(second, first) <= 1e-5


def test_the_first_loss_is_the_mean_over_the_steps_targets(toy_recipe, toy_sequences, adapted):
    recipe = toy_recipe(pack={"tokens": 40})
    model = adapted(recipe)
    ids = [torch.from_numpy(one.ids).long()[None] for one in toy_sequences]
    with torch.no_grad():
        logits = [model.eval()(input_ids=one).logits[0, -4:-1] for one in ids]
        each = [
            torch.nn.functional.cross_entropy(rows, one[0, -3:]).item()
            for rows, one in zip(logits, ids, strict=True)
        ]
    results, steps = run(recipe, toy_sequences, model)
    members = steps[0].sequences
    assert results[0].loss == pytest.approx(sum(each[i] for i in members) / len(members), rel=1e-5)
    for task in ("task0", "task1"):
        own = [each[i] for i in members if toy_sequences[i].task == task]
        assert results[0].task_loss[task] == pytest.approx(sum(own) / len(own), rel=1e-5)


def test_dropout_depends_on_seed_step_and_bin_only(toy_recipe, toy_sequences, adapted):
    recipe = toy_recipe(lora={"dropout": 0.3})
    first, second = adapted(recipe), adapted(recipe)
    torch.manual_seed(1)
    expected, _ = run(recipe, toy_sequences, first)
    torch.manual_seed(2)
    found, _ = run(recipe, toy_sequences, second)
    assert [r.loss for r in found] == [r.loss for r in expected]
    assert difference(second, first) == 0
    third = adapted(toy_recipe())
    without, _ = run(toy_recipe(), toy_sequences, third)
    assert without[0].loss == pytest.approx(expected[0].loss)  # B is 0 at first
    assert difference(third, first) > 1e-3


def test_the_rate_warms_up_and_falls_and_is_never_nought(toy_recipe, toy_sequences, adapted):
    recipe = toy_recipe(lr=1e-2, warmup=0.25, epochs=4)
    results, _ = run(recipe, toy_sequences, adapted(recipe))
    rates = [result.lr for result in results]
    assert len(rates) == 12
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[3 + 4] == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * 4 / 9)))
    assert 0 < rates[-1] < 1e-3


def test_the_last_step_is_told_as_last(toy_recipe, toy_sequences, adapted):
    recipe, told = toy_recipe(), []
    results, steps = run(
        recipe, toy_sequences, adapted(recipe), on_step=lambda result, last: told.append(last)
    )
    assert told == [False] * (len(steps) - 1) + [True]
    assert [result.step for result in results] == list(range(1, len(steps) + 1))
    assert sum(result.examples for result in results) == 2 * len(toy_sequences)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_end_and_be_saved(toy_recipe, toy_sequences, adapted, number):
    recipe, told = toy_recipe(), []
    former = signal.getsignal(number)

    def on_step(result, last):
        told.append((result.step, last))
        if result.step == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match="stopped after step 3 of"):
        run(recipe, toy_sequences, adapted(recipe), on_step=on_step)
    assert told == [(1, False), (2, False), (3, True)]
    assert signal.getsignal(number) is former


def test_a_second_ctrl_c_stops_at_once(toy_recipe, toy_sequences, adapted):
    recipe, told = toy_recipe(), []

    def on_step(result, last):
        told.append(result.step)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(recipe, toy_sequences, adapted(recipe), on_step=on_step)
    assert told == [1]


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights(
    toy_recipe, toy_sequences, adapted, monkeypatch
):
    recipe, seen, kept = toy_recipe(), [], {}
    model = adapted(recipe)
    losses = loop_module.target_losses

    def on_step(result, last):
        seen.append(result.step)
        kept.update({name: tensor.clone() for name, tensor in trainable(model).items()})

    def broken(model, batch):
        return losses(model, batch) * (float("nan") if len(seen) == 2 else 1.0)

    monkeypatch.setattr(loop_module, "target_losses", broken)
    with pytest.raises(ModelError, match=r"the loss \(nan\) .* of step 3 is not finite") as caught:
        run(recipe, toy_sequences, model, on_step=on_step)
    assert "train.lr" in caught.value.cure
    assert seen == [1, 2]
    assert all(torch.equal(tensor, kept[name]) for name, tensor in trainable(model).items())


def test_a_model_with_nothing_to_train_is_refused(toy_recipe, toy_sequences):
    model = tiny_model("llama").requires_grad_(False)
    with pytest.raises(ModelError, match="no parameter"):
        run(toy_recipe(), toy_sequences, model)


def test_full_fine_tuning_changes_every_weight_that_is_used(toy_recipe, toy_sequences):
    recipe, model = toy_recipe(method="full", lr=1e-3), tiny_model("llama")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    results, _ = run(recipe, toy_sequences, model)
    assert results[-1].loss < results[0].loss
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())
