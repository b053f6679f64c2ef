"""Through the command line: what must not change what is learned does not (no dropout, fp32)."""

import numpy as np
import pytest
from cli_runs import difference, losses_of, summary_of, write_recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_folder):
    """A recipe of 6 steps of 8 examples each."""
    folder = tmp_path_factory.mktemp("invariants")
    write_recipe(folder, model_folder("gemma3"), epochs=2, lr=1e-3, step_examples=8)
    return folder


@pytest.fixture(scope="module")
def train(place, launch):
    """The run of a recipe with overrides, made once for each set of them."""
    made = {}

    def run(*overrides):
        if overrides not in made:
            out = place / f"run{len(made)}"
            statuses, said = launch("train", place / "tiny.yaml", *overrides, "--out", out)
            assert statuses == [0], said
            made[overrides] = out
        return made[overrides]

    return run


def same_training(out, other):
    losses = losses_of(out)
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, losses_of(other), rtol=1e-5)
    assert difference(out, other) <= 1e-5


def bins(out):
    """Forward passes of the run; a step's gradient is accumulated over its own."""
    return summary_of(out)["bins"]


def test_eight_steps_of_accumulation_are_one_batch_of_eight(train):
    one_by_one, together = train("pack.share=false", "pack.tokens=64"), train("pack.share=false")
    assert (bins(one_by_one), bins(together)) == (48, 6)
    same_training(one_by_one, together)


def test_packed_is_unpacked(train):
    packed, unpacked = (
        train("pack.share=false", "pack.tokens=128"),
        train("pack.share=false", "pack.tokens=64"),
    )
    assert 6 < bins(packed) < bins(unpacked) == 48
    same_training(packed, unpacked)


def test_with_shared_prefixes_is_without(train):
    shared, plain = train(), train("pack.share=false")
    assert summary_of(shared)["way"] == "shared"
    assert summary_of(plain)["way"] == "packed"
    assert summary_of(shared)["packed_tokens"] < summary_of(plain)["packed_tokens"]
    same_training(shared, plain)


def test_gradient_checkpointing_changes_nothing(train):
    same_training(train("train.gradient_checkpointing=true"), train())


def test_the_same_again_is_the_same_byte_for_byte(train):
    first, second = train(), train("train.save_steps=5")
    assert difference(first, second) == 0
    assert (losses_of(first) == losses_of(second)).all()
