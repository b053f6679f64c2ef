"""The main job: build the instruction data, train, evaluate, report.

RECIPE is a shipped recipe's name or the path of a YAML file; key=value changes a setting.
What was made before from the same inputs is used again; an interrupted training goes on.

Example:
  komt run korquad --out runs/korquad
  komt run my.yaml train.lr=3e-4 evaluate.limit=100
"""

from __future__ import annotations

import argparse
import time

from komt.commands._stages import (
    add_recipe_arguments,
    build_stage,
    evaluate_stage,
    load_from,
    report,
    train_stage,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, overrides, --out."""
    add_recipe_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Run all stages of a recipe and print the scores."""
    began = time.monotonic()
    recipe, out = load_from(args)
    build_stage(recipe, out)
    train_stage(recipe, out, resume=True)
    if recipe.evaluate.tasks or recipe.train.objective != "sft":
        scores = evaluate_stage(recipe, out)
        report(scores, out, as_json=args.json, seconds=time.monotonic() - began)
    return 0
