"""What is said of a training before it begins, and what `train.json` keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import psutil
import torch

from komt import __version__
from komt.pack.encode import TokenSequence
from komt.pack.fullness import fullness
from komt.pack.plan import Step
from komt.pack.probe import Parity


def opening(
    sequences: Sequence[TokenSequence], steps: Sequence[Step], parity: Parity, way: str, size: int
) -> str:
    """The lines before the first step: parity, what packing saves, how full bins of so many tokens are."""
    flat, packed = (sum(getattr(step, name) for step in steps) for name in ("flat_tokens", "tokens"))
    lines = [str(parity)]
    if parity.way != "shared":
        lines.append("this model's passages are not shared: training is exact, but slower")
    lines.append(
        f"{len(sequences):,} sequences, {len(steps)} steps, {flat:,} tokens, "
        f"{packed:,} after packing ({way}): {flat / packed:.2f} times fewer"
    )
    if way != "single":
        lines.append(str(fullness(steps, size)))
    return "\n".join(lines)


def summary_of(
    key: str,
    sequences: Sequence[TokenSequence],
    steps: Sequence[Step],
    parity: Parity,
    way: str,
    start: int,
    seconds: float,
    together: int = 1,
) -> dict[str, Any]:
    """The record of a training.

    Args:
        key: of the stage.
        sequences: all there were.
        steps: those that were done.
        parity: what the probe found.
        way: how bins were packed.
        start: steps done before this process.
        seconds: that it took.
        together: sequences that make one example (2 of a pair).
    """
    since = sum(len(step.sequences) for step in steps[start:]) // together
    return {
        "key": key,
        "version": __version__,
        "sequences": len(sequences),
        "trained": sum(len(step.sequences) for step in steps) // together,
        "resumed_after": start,
        "steps": len(steps),
        "flat_tokens": sum(step.flat_tokens for step in steps),
        "packed_tokens": sum(step.tokens for step in steps),
        "bins": sum(len(step.bins) for step in steps),
        "way": way,
        "parity": asdict(parity),
        "seconds": round(seconds, 2),
        "examples_s": round(since / seconds, 3) if since else None,
        "rss_gib": round(psutil.Process().memory_info().rss / 2**30, 3),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
