"""Look before training: what would be trained on, and whether it can go well.

The data is built (or found built), then: samples with what is trained on in colour; counts by task; BOS,
end and stop token; prompts as serving encodes them; how many tokens Korean takes. With the model itself:
whether packing is exact on this machine, how much memory training takes and whether it is there, and how
long it takes, from two real steps. Exit status 1 when something would spoil the training. Every training
begins with the quick part of it.

With --memory nothing is built or loaded: the peak on a GPU of so many GiB is predicted from the model's
configuration (a folder with config.json, or the hub's), at a full bin. Exit status 1 when it does not fit.

Example:
  komt check sample
  komt check korquad pack.tokens=1024 --samples 5
  komt check korquad --quick --json
  komt check qwen3-8b-qlora-24gb --memory 24
"""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.commands._look import Look


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, overrides, --samples, --quick, --memory, --json."""
    parser.add_argument("recipe", metavar="RECIPE", help="a shipped recipe's name, or a YAML file")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changed settings, as train.lr=1e-4"
    )
    parser.add_argument("--samples", type=int, default=2, metavar="N", help="rows to show (default: 2)")
    parser.add_argument(
        "--quick", action="store_true", help="without the model: no parity, no memory, no time"
    )
    parser.add_argument(
        "--memory", type=float, metavar="GIB", help="predict for a GPU of so many GiB, without weights"
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def main(args: argparse.Namespace) -> int:
    """Check a recipe; 1 when something would spoil the training."""
    from komt.commands._look import look
    from komt.commands._look_text import show
    from komt.commands._stages import recipe_with_own
    from komt.errors import UsageError

    if args.samples < 0:
        raise UsageError(f"--samples {args.samples}: at least 0")
    if args.memory is not None:
        from komt.commands._forecast import show_forecast

        if not 0 < args.memory < math.inf:
            raise UsageError(f"--memory {args.memory:g}: a number of GiB, more than 0")
        return show_forecast(recipe_with_own(args.recipe, args.overrides), args.memory, as_json=args.json)
    found = look(recipe_with_own(args.recipe, args.overrides), args.samples, quick=args.quick)
    if args.json:
        print(json.dumps(as_json(found), ensure_ascii=False))
    else:
        show(found)
    return int(found.spoiled)


def as_json(found: Look) -> dict[str, object]:
    """What programs read."""
    from dataclasses import asdict

    values = asdict(found)
    for name in ("korean_sample", "korean_data"):
        if one := getattr(found, name):
            values[name]["meaning"] = one.meaning
    return {"ok": not found.spoiled, **values}
