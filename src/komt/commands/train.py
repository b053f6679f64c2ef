"""The training stage alone: data that `build` made (or makes now), an adapter or a model out.

Checkpoints are kept while it runs; --resume goes on from the newest valid one. Several processes:
accelerate launch … -m komt train RECIPE, or torchrun --nproc-per-node N -m komt train RECIPE.

Example:
  komt train korquad train.lr=3e-4 --out runs/korquad
"""

from __future__ import annotations

import argparse
import json

from komt.commands._stages import add_recipe_arguments, build_stage, load_from, train_stage
from komt.train.processes import by_main, is_main


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, overrides, --out, --resume."""
    add_recipe_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the newest valid checkpoint")


def main(args: argparse.Namespace) -> int:
    """Build where needed, then train."""
    recipe, out = load_from(args)
    by_main(lambda: build_stage(recipe, out))
    summary = train_stage(recipe, out, resume=args.resume)
    if args.json and is_main():
        print(json.dumps(summary, ensure_ascii=False))
    return 0
