"""`komt check --memory`: does a training fit a GPU of so many GiB? From the model's configuration alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from komt.errors import UsageError
from komt.recipe import Recipe

if TYPE_CHECKING:
    from komt.train.memory import Prediction

_GIB = 2**30


def show_forecast(recipe: Recipe, memory_gib: float, *, as_json: bool) -> int:
    """Print the predicted peak and whether it fits; where not, the first settings that would. 1 if not."""
    from komt.train.forecast import TARGET_SHARE, forecast
    from komt.train.room import MARGIN

    folder = configuration_of(recipe)
    found = forecast(recipe, folder)
    there = memory_gib * _GIB
    fits = found.estimate.total <= MARGIN * there
    other = () if fits else _fitting(recipe, folder, MARGIN * there)
    if as_json:
        print(json.dumps(_as_json(recipe, found, memory_gib, fits, other), ensure_ascii=False))
        return int(not fits)
    part = found.estimate
    print(
        f"memory: about {part.total / _GIB:.1f} GiB at a full bin of {found.size.tokens:,} tokens, "
        f"{TARGET_SHARE:.0%} of them trained on (weights {part.loaded / _GIB:.1f}, gradients and averages "
        f"{part.trained / _GIB:.1f}, kept for the backward pass {part.kept / _GIB:.1f}, head "
        f"{part.head / _GIB:.1f}, copies {part.copies / _GIB:.1f})"
    )
    print(f"a GPU of {memory_gib:g} GiB: {'it fits' if fits else 'it does not fit'} (not measured on a GPU)")
    if other:
        print(f"this would: {' '.join(other)}")
    return int(not fits)


def configuration_of(recipe: Recipe) -> Path:
    """The folder of the model's config.json; nothing else of it is needed, or fetched from the hub.

    Raises:
        UsageError: preference training, whose bins are others; or no such folder.
        ModelError: the hub does not give it.
    """
    from komt.models.catalog import CATALOG
    from komt.models.hub import HUB_ID, fetch
    from komt.models.resolve import resolve

    if recipe.train.objective != "sft":
        raise UsageError("--memory predicts supervised training only", where="train.objective")
    name, remote_code = recipe.model.name, recipe.model.remote_code
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name in CATALOG and CATALOG.get(name).embedded is None:
        return fetch(CATALOG.get(name).hub, remote_code, configuration_only=True)
    if name not in CATALOG and path.parent.name and path.parent.is_dir():
        raise UsageError(
            f"there is no folder '{name}'",
            where="model.name",
            cure=f"what lies in {path.parent}: {_folders_in(path.parent)}",
        )
    if HUB_ID.fullmatch(name):
        return fetch(name, remote_code, configuration_only=True)
    return resolve(name).folder


def _folders_in(folder: Path) -> str:
    names = sorted(one.name for one in folder.iterdir() if one.is_dir())
    return ", ".join([*names[:5], *(["…"] if len(names) > 5 else [])]) or "no folders"


def _fitting(recipe: Recipe, folder: Path, there: float) -> tuple[str, ...]:
    """The first of a few changes, each with those before it, with which the training fits."""
    from komt.train.forecast import forecast
    from komt.train.room import recipe_with

    changes = ["train.method=lora"] if recipe.train.method == "full" else []
    changes += [] if recipe.train.gradient_checkpointing else ["train.gradient_checkpointing=true"]
    changes += ["model.bits=4"] if recipe.model.bits > 4 else []
    changes += [f"pack.tokens={recipe.pack.tokens // part}" for part in (2, 4)]
    tried: dict[str, str] = {}
    for change in changes:
        tried[change.partition("=")[0]] = change
        overrides = tuple(tried.values())
        changed = recipe_with(recipe, overrides)
        if changed.pack.tokens >= 256 and forecast(changed, folder).estimate.total <= there:
            return overrides
    return ()


def _as_json(
    recipe: Recipe, found: Prediction, memory_gib: float, fits: bool, other: tuple[str, ...]
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "recipe": recipe.name,
        "model": recipe.model.name,
        "estimate": asdict(found.estimate),
        "total": found.estimate.total,
        "size": asdict(found.size),
        "memory_gib": memory_gib,
        "fits": fits,
        "settings": list(other),
    }
