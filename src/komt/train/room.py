"""Settings that fit the memory there is, by the same sum as the prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from komt.recipe import Recipe
from komt.train.memory import BinSize, Prediction, Saved, Shape, estimate, weight_bytes

# Left to the system and to what the sum does not know.
MARGIN = 0.95
_MOST_SHOWN = 4
# Half the width keeps more than half: norms and the rotation of keys and queries are computed in fp32.
_HALF_WIDTH = 0.6


@dataclass(frozen=True, slots=True)
class Setting:
    """Overrides of a recipe, and the peak predicted with them, in bytes."""

    overrides: tuple[str, ...]
    bytes: float


def settings_that_fit(recipe: Recipe, found: Prediction, folder: Path, there: float) -> list[Setting]:
    """The least changes to a recipe with which its training fits, the fewest first.

    Args:
        recipe: whose prediction is too large.
        found: the prediction.
        folder: of the base model.
        there: bytes that may be held.
    """
    fitting = []
    for changes in product(*_choices(recipe, found.size)):
        overrides = tuple(change for change in changes if change)
        changed = recipe_with(recipe, overrides)
        total = _total(recipe, changed, found, folder)
        if overrides and total <= MARGIN * there:
            fitting.append(Setting(overrides, total))
    fitting.sort(key=lambda one: len(one.overrides))
    least: list[Setting] = []
    for one in fitting:
        if not any(set(other.overrides) <= set(one.overrides) for other in least):
            least.append(one)
    return least[:_MOST_SHOWN]


def _choices(recipe: Recipe, size: BinSize) -> list[list[str]]:
    """For each setting: as it is, or what saves memory; what costs least stands last and is tried first."""
    bits = [bits for bits in (16, 8, 4) if bits < recipe.model.bits]
    tokens = [recipe.pack.tokens // part for part in (2, 4)]
    full = recipe.train.method == "full"
    return [
        ["", *(["train.method=lora"] if full else [])],
        ["", *(f"pack.tokens={one}" for one in tokens if one < size.tokens and one >= 256)],
        ["", *(f"model.bits={one}" for one in bits if one >= 16 or not full)],
        ["", *([] if recipe.train.gradient_checkpointing else ["train.gradient_checkpointing=true"])],
    ]


def recipe_with(recipe: Recipe, overrides: tuple[str, ...]) -> Recipe:
    """The recipe with what `_choices` names."""
    model, pack, train = recipe.model, recipe.pack, recipe.train
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "model.bits":
            model = model.model_copy(update={"bits": int(value)})
        elif key == "pack.tokens":
            pack = pack.model_copy(update={"tokens": int(value)})
        elif key == "train.method":
            train = train.model_copy(update={"method": value})
        else:
            train = train.model_copy(update={"gradient_checkpointing": True})
    return recipe.model_copy(update={"model": model, "pack": pack, "train": train})


def _total(recipe: Recipe, changed: Recipe, found: Prediction, folder: Path) -> float:
    shape, saved = _changed(recipe, changed, found.shape, found.saved)
    loaded = found.estimate.loaded + held_bytes(changed, folder) - held_bytes(recipe, folder)
    share = min(1.0, changed.pack.tokens / found.size.tokens)
    tokens, rows, pairs = (round(n * share) for n in (found.size.tokens, found.size.rows, found.size.pairs))
    size = BinSize(tokens, max(1, rows), pairs)
    checkpointing = changed.train.gradient_checkpointing
    return estimate(shape, saved, size, loaded, checkpointing=checkpointing).total


def _changed(recipe: Recipe, changed: Recipe, shape: Shape, saved: Saved) -> tuple[Shape, Saved]:
    width = 4 if changed.model.bits == 32 else 2
    if width < shape.width:
        saved = replace(
            saved, token=saved.token * _HALF_WIDTH, pair=saved.pair * _HALF_WIDTH, row=saved.row / 2
        )
        shape = replace(shape, width=width)
    if changed.train.method != recipe.train.method:
        shape = replace(shape, trained=changed.train.lora.r * shape.linear_widths, largest_trained=0)
        saved = replace(saved, fixed=0.0)
    return shape, saved


def held_bytes(recipe: Recipe, folder: Path) -> float:
    """Bytes of the base's weights as training holds them: in full fine-tuning always fp32."""
    return weight_bytes(folder, 32 if recipe.train.method == "full" else recipe.model.bits)
