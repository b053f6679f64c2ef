"""A step that is not finite leaves its batch to be read: whose loss it was, and at which token."""

import json
import math

import pytest
import torch

from komt.pack.plan import plan_steps
from komt.testing import tiny_tokenizer
from komt.train.bad_batch import keeping_bad_batch
from komt.train.loop import NonFinite, make_loop


def test_the_batch_says_which_sequences_are_not_finite(toy_recipe, toy_sequences, adapted, tmp_path):
    recipe = toy_recipe(step_tokens=10_000)
    model = adapted(recipe, "llama")  # whose head is not its embedding
    steps = plan_steps(toy_sequences, recipe.pack, recipe.train, recipe.seed)
    loop = make_loop(recipe, toy_sequences, steps, model, "shared")

    def poison(result, last):
        with torch.no_grad():
            model.get_input_embeddings().weight[12] = math.nan  # the first token of passage 2

    expected = pytest.raises(NonFinite, match="of step 2 is not finite")
    with expected as caught, keeping_bad_batch(loop, tiny_tokenizer(), tmp_path):
        loop.run(0, poison)
    path = tmp_path / "non-finite-step-000002.json"
    assert str(path) in caught.value.where
    batch = json.loads(path.read_text(encoding="utf-8"))
    assert (batch["step"], batch["loss"]) == (2, "nan")
    bad = [row for row in batch["sequences"] if not row["finite"]]
    assert sorted(row["example"] for row in bad) == ["2.0", "2.1", "2.2", "2.3"]
    assert batch["sequences"][:4] == bad
    assert all(row["ids"][1] == 12 and row["text"] for row in bad)
    assert {target["loss"] for row in bad for target in row["targets"]} == {"nan"}
    good = batch["sequences"][-1]
    assert [target["place"] for target in good["targets"]] == [len(good["ids"]) - n for n in (3, 2, 1)]
    assert all(0 < target["loss"] < 20 for target in good["targets"])
