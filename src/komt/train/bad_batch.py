"""A step whose loss or gradient is not finite: its batch is written down, to be read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from komt.files import write_json
from komt.pack.batch import pack_sequences
from komt.pack.loss import target_losses
from komt.train.loop import Loop, NonFinite


@contextmanager
def keeping_bad_batch(loop: Loop, tokenizer: Any, out: Path) -> Iterator[None]:
    """Where training stops at a loss that is not finite, write `out/non-finite-step-N.json` and name it.

    The file holds, for each sequence of the step: example, task, text, token ids, and the loss of each
    target; what is not finite stands as "nan" or "inf". The losses are computed again with the same weights,
    which the failed step has left as they were, without dropout, and one sequence at a time: in a bin what is
    not a number spreads to its neighbours.
    """
    try:
        yield
    except NonFinite as failed:
        path = out / f"non-finite-step-{failed.step:06d}.json"
        batch = _describe(
            loop, tokenizer, failed
        )  # by all processes, which may hold a part of the weights each
        if loop.accelerator.is_main_process:
            write_json(path, batch)
        failed.where = f"the batch, to read: {path}"
        raise


def _describe(loop: Loop, tokenizer: Any, failed: NonFinite) -> dict[str, Any]:
    loop.model.eval()
    rows = [_row(loop, tokenizer, index) for index in loop.steps[failed.step - 1].sequences]
    return {
        "step": failed.step,
        "loss": _number(failed.loss),
        "gradient_norm": _number(failed.norm),
        "sequences": sorted(rows, key=lambda row: row["finite"]),
    }


def _row(loop: Loop, tokenizer: Any, index: int) -> dict[str, Any]:
    sequence = loop.sequences[index]
    batch = pack_sequences([sequence]).to(loop.accelerator.device)
    with torch.no_grad(), loop.computing():
        losses = target_losses(loop.model, batch).float().tolist()
    ids = sequence.ids.tolist()
    places = [int(place) + 1 for place in sequence.weights[1:].nonzero()[0]]
    return {
        "finite": all(map(math.isfinite, losses)),
        "example": sequence.example,
        "task": sequence.task,
        "text": tokenizer.decode(ids),
        "ids": ids,
        "targets": [
            {"place": place, "token": tokenizer.decode([ids[place]]), "loss": _number(loss)}
            for place, loss in zip(places, losses, strict=True)
        ],
    }


def _number(value: float) -> float | str:
    return round(value, 6) if math.isfinite(value) else str(value)
