"""Settings that fit: the fewest changes, each of which is needed."""

import pytest

from komt.train.memory import BinSize, Prediction, Saved, Shape, estimate
from komt.train.room import recipe_with, settings_that_fit

SHAPE = Shape(10, 64, 1000, 5000, 100, 0, 500, 2)
SAVED = Saved(token=1e6, pair=0.0, row=2000.0, fixed=0.0)


@pytest.fixture
def found(toy_recipe, model_folder):
    recipe = toy_recipe(bits=16, pack={"tokens": 2048})
    size = BinSize(2048, 100, 2048**2)
    predicted = estimate(SHAPE, SAVED, size, 1e8, checkpointing=False)
    return recipe, Prediction(predicted, size, SHAPE, SAVED), model_folder()


def test_one_change_is_named_before_two(found):
    recipe, prediction, folder = found
    settings = settings_that_fit(recipe, prediction, folder, prediction.estimate.total * 0.8)
    assert [setting.overrides for setting in settings] == [
        ("train.gradient_checkpointing=true",),
        ("pack.tokens=1024",),
        ("pack.tokens=512",),
    ]
    assert all(setting.bytes < prediction.estimate.total * 0.8 for setting in settings)


def test_changes_are_put_together_where_one_is_not_enough(found):
    recipe, prediction, folder = found
    once = settings_that_fit(recipe, prediction, folder, prediction.estimate.total)
    least = min(setting.bytes for setting in once)
    settings = settings_that_fit(recipe, prediction, folder, least)
    assert {len(setting.overrides) for setting in settings} == {2}
    assert settings_that_fit(recipe, prediction, folder, 1e6) == []


def test_overrides_are_keys_of_a_recipe(found):
    recipe, _, _ = found
    changed = recipe_with(
        recipe, ("model.bits=4", "pack.tokens=512", "train.method=full", "train.gradient_checkpointing=true")
    )
    assert (changed.model.bits, changed.pack.tokens) == (4, 512)
    assert (changed.train.method, changed.train.gradient_checkpointing) == ("full", True)
