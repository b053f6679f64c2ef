"""Training on many tasks, the same examples in one run: target rows only, TRL, TRL packing, komt.

    KOMT_DATA=... python bench/train_multitask.py [--tokens 4096] [--rows 3] [--runs 3] [--json FILE]

The examples are the first rows of tasks of the mixture `multitask`, in an order fixed by a seed, a few rows
a task until the tokens are reached (a task too long for the rest is passed over). Less is shared than on
passages with their questions: mostly instructions. The ways are those of `train_korquad.py`; `komt, nothing
shared` shows what the trie itself costs or saves.
"""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

from train_ways import compare, options

WAYS = ("head", "trl", "trl-packing", "komt-unshared", "komt")
# So few tokens are left open rather than more tasks read.
_NO_REST = 256


def load_examples(tokens: int, rows: int) -> list[Any]:
    """So many rows each of tasks in random order, until they hold about so many tokens."""
    from build_ways import rendered

    from komt.mix.named import training_tasks
    from komt.models.load import load_tokenizer
    from komt.models.resolve import resolve
    from komt.pack.encode import encode
    from komt.recipe import load_recipe

    recipe = load_recipe("multitask")
    tokenizer = load_tokenizer(resolve(recipe.model.name))
    tasks = sorted(training_tasks(recipe).tasks.items())
    random.Random(0).shuffle(tasks)
    chosen: list[Any] = []
    for _, task in tasks:
        examples = list(islice(rendered(task, recipe.seed, []), rows))
        size = sum(map(len, encode(tokenizer, examples)))
        if size <= tokens:
            tokens -= size
            chosen += examples
        if tokens < _NO_REST:
            break
    return chosen


def main() -> None:
    """Measure, print the table and the ratios."""
    parser = options(__doc__, WAYS)
    parser.add_argument("--tokens", type=int, default=4096, help="of all examples, unshared")
    parser.add_argument("--rows", type=int, default=3, help="of a task")
    args = parser.parse_args()
    if args.quick:
        args.tokens = 1024
    examples = load_examples(args.tokens, args.rows)
    print(f"tasks: {', '.join(sorted({example.task for example in examples}))}")
    compare(examples, examples[: max(1, len(examples) // 4)], args)


if __name__ == "__main__":
    main()
