"""Training on KorQuAD, the same examples in one run: padded, target rows only, TRL, TRL packing, komt.

    KOMT_DATA=... python bench/train_korquad.py [--passages 6] [--runs 3] [--json FILE] [--md FILE] [--quick]

Every way makes one optimiser step over all examples (forward, backward, AdamW) in a process of its own, with
the same base model (bf16), the same LoRA (r 8, alpha 32, all linear layers, dropout 0) and the same prompts;
ways alternate, figures are medians. The loss before the first update is compared in fp32 on fewer passages.
For komt the floating-point operations of its matrix products, by second, are set against those of a large
bf16 product in the same process.
"""

from __future__ import annotations

from typing import Any

from train_ways import WAYS, compare, options


def load_examples(passages: int) -> list[Any]:
    """Passage-first examples of the first KorQuAD passages with at least five questions."""
    from komt.sources import load_source, read_rows
    from komt.sources.readers import Rejected
    from komt.tasks import load_task, render

    task = load_task("korquad.qa")
    template = next(t for t in task.templates if t.kind == "passage_first")
    groups: dict[str, list[Any]] = {}
    for row in read_rows(load_source("korquad"), "dev"):
        if not isinstance(row, Rejected):
            example = render(task, row, 0, template=template)
            groups.setdefault(example.group, []).append(example)
    chosen = [group for group in groups.values() if len(group) >= 5][:passages]
    return [example for group in chosen for example in group]


def main() -> None:
    """Measure, print the table and the ratios."""
    parser = options(__doc__, WAYS)
    parser.add_argument("--passages", type=int, default=6)
    parser.add_argument("--loss-passages", type=int, default=2, help="passages of the fp32 comparison")
    args = parser.parse_args()
    if args.quick:
        args.passages, args.loss_passages = 2, 1
    compare(load_examples(args.passages), load_examples(args.loss_passages), args)


if __name__ == "__main__":
    main()
