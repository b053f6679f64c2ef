"""What makes two trainings the same: the key of a finished one, and what a checkpoint must agree on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from komt.files import hash_of, sha256
from komt.pack.plan import Step
from komt.recipe import Recipe
from komt.train.checkpoint import INPUTS

VERSION = 2


def stage_key(recipe: Recipe, data: Path, model_revision: str) -> str:
    """Hash of all that decides the trained weights: recipe, data, model."""
    parts = recipe.model_dump(mode="json", include={"seed", "model", "pack", "train"})
    aside = _weightless(recipe)
    parts["train"] = {k: v for k, v in parts["train"].items() if k not in aside}
    files = [sha256(data / "train.parquet")]
    measured = recipe.train.held_out and "held_out" not in aside
    if (measured or recipe.train.objective != "sft") and (data / "evaluate.parquet").is_file():
        files.append(sha256(data / "evaluate.parquet"))  # training stops by it, or scores its pairs
    return hash_of([VERSION, parts, model_revision, *files])


def _weightless(recipe: Recipe) -> set[str]:
    """Settings of `train` that do not change what is trained."""
    train = recipe.train
    keys = {"keep", "generate", "trackers"}
    if train.objective == "sft":
        keys |= {"objective", "preference"}
    if train.optim == "adamw":
        keys.add("optim")  # as it was before there was a choice
    if not train.keep_best:
        keys.add("save_steps")
    return keys if train.stop or train.keep_best else keys | {"held_out"}


def run_settings(recipe: Recipe, key: str, steps: Sequence[Step]) -> dict[str, Any]:
    """What a checkpoint must agree on with the run that resumes it."""
    parts = recipe.model_dump(mode="json", include={"model", "pack", "train"})
    flat = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    for name in _weightless(recipe):
        flat.pop(f"train.{name}")
    # Bins may differ (a GPU takes larger ones): which examples a step holds, at which weight, may not.
    plan = hash_of([[sorted(step.sequences), step.weight] for step in steps])
    return {"seed": recipe.seed, **flat, "steps": len(steps), "plan": plan, INPUTS: key}
