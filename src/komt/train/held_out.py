"""Held-out examples while training goes on: loss, token accuracy and perplexity by task."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from komt.errors import DataError
from komt.example import Example
from komt.files import hash_of
from komt.mix import read_examples
from komt.pack.batch import Batch, pack_sequences
from komt.pack.bins import fill_bins
from komt.pack.encode import TokenSequence, encode
from komt.pack.loss import forward_rows
from komt.recipe import Recipe
from komt.train.loop import Loop
from komt.train.processes import is_main
from komt.train.undisturbed import undisturbed

# Rows of logits turned to fp32 at a time.
_CHUNK_ELEMENTS = 1 << 24


class Measured(Protocol):
    """Figures of a task, or of all of them: what the watch writes, says, and stops by."""

    @property
    def task(self) -> str:
        """Theirs; "" for all tasks together."""

    @property
    def loss(self) -> float:
        """What training makes less."""

    @property
    def accuracy(self) -> float:
        """The share that is right."""

    def as_line(self, step: int) -> dict[str, Any]:
        """The line of held_out.jsonl."""

    def values(self) -> dict[str, float]:
        """The figures by name."""

    def said(self, step: int, tasks: int) -> str:
        """A line for the terminal."""


class Measurement(Protocol):
    """Held-out examples, ready to be measured as often as one likes."""

    def measure(self, loop: Loop) -> Sequence[Measured]:
        """Figures of all together (task "") first, then of each task; training is not disturbed."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a model does on held-out targets.

    Attributes:
        task: their task; "" for all tasks together, each target counting the same.
        loss: nats per target; accuracy: share of the targets that are the likeliest token.
        targets: how many there are.
    """

    task: str
    loss: float
    accuracy: float
    targets: int

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(min(self.loss, 700.0))

    def as_line(self, step: int) -> dict[str, Any]:
        """The line of held_out.jsonl."""
        return {"step": step, "task": self.task, **self.values(), "targets": self.targets}

    def values(self) -> dict[str, float]:
        """The figures by name."""
        return {"loss": self.loss, "accuracy": self.accuracy, "perplexity": self.perplexity}

    def said(self, step: int, tasks: int) -> str:
        """The figures of all tasks together as a line for the terminal."""
        return (
            f"step {step}: held-out loss {self.loss:.4f}, accuracy {self.accuracy:.1%}, "
            f"perplexity {self.perplexity:.2f} ({self.targets:,} targets, {tasks} tasks)"
        )


def held_out_examples(data: Path, examples: int) -> list[Example]:
    """The first `examples` of each task's evaluation split, passage by passage; no seed changes which.

    Raises:
        DataError: the data folder holds none.
    """
    by_task: dict[str, list[Example]] = {}
    for example in read_examples(data / "evaluate.parquet"):
        by_task.setdefault(example.task, []).append(example)
    if not by_task:
        raise DataError(
            "there is no held-out example to measure on or to answer",
            where=str(data / "evaluate.parquet"),
            cure="leave train.held_out and train.generate out, or train on tasks with an evaluation split",
        )
    return [
        example
        for _, own in sorted(by_task.items())
        for example in sorted(own, key=lambda one: (hash_of(one.group or one.id), one.id))[:examples]
    ]


def held_out_sequences(recipe: Recipe, data: Path, tokenizer: Any) -> list[TokenSequence]:
    """Those examples as training would see them; what is longer than `pack.tokens` is left out, and told."""
    assert recipe.train.held_out
    chosen = held_out_examples(data, recipe.train.held_out.examples)
    sequences = encode(tokenizer, chosen, recipe.train.supervise)
    fitting = [one for one in sequences if len(one) <= recipe.pack.tokens and one.weights[1:].any()]
    if len(fitting) < len(sequences) and is_main():
        left = len(sequences) - len(fitting)
        print(
            f"held out: {left} of {len(sequences)} sequences are longer than pack.tokens: not measured",
            file=sys.stderr,
        )
    if not fitting:
        raise DataError("no held-out example fits into pack.tokens", cure="raise pack.tokens")
    return fitting


class HeldOut:
    """Held-out sequences in bins, ready to be measured as often as one likes."""

    def __init__(self, sequences: Sequence[TokenSequence], recipe: Recipe, way: str, fill: int = 0) -> None:
        """Args:
        sequences: with supervised tokens.
        recipe: its `pack`.
        way: "shared", "packed" or "single", as `Loop` takes it; fill: up to how many tokens bins are filled.
        """
        pack = recipe.pack.model_copy(update={"share": way == "shared"})
        self._sequences, self._share = sequences, pack.share
        if way == "single":
            self._bins = [[index] for index in range(len(sequences))]
        else:
            self._bins = fill_bins([one.ids for one in sequences], pack, fill)

    def measure(self, loop: Loop) -> list[Figures]:
        """Figures of all together (task "") and of each task; training is not disturbed.

        Every process takes its share of the bins, and gets the figures of all.
        """
        world, rank = loop.accelerator.num_processes, loop.accelerator.process_index
        found: list[tuple[str, float, int, int]] = []
        with undisturbed(loop.model):
            for turn in range(-(-len(self._bins) // world)):
                index = turn * world + rank
                # All processes call the model equally often: its wrapper may wait for them.
                members = self._bins[index if index < len(self._bins) else 0]
                batch = pack_sequences([self._sequences[i] for i in members], share=self._share)
                with loop.computing():
                    losses, hits = _scored(loop.model, batch.to(loop.accelerator.device))
                if index < len(self._bins):
                    found += self._by_task(members, batch, losses, hits)
        if world > 1:
            from accelerate.utils import gather_object

            found = gather_object(found)
        return _figures(found)

    def _by_task(
        self, members: Sequence[int], batch: Batch, losses: Tensor, hits: Tensor
    ) -> list[tuple[str, float, int, int]]:
        """Task, sum of losses, hits and targets of each sequence of a bin."""
        rows = []
        for place, member in enumerate(members):
            own = batch.sequence == place
            sums = float(losses[own].sum()), int(hits[own].sum()), int(own.sum())
            rows.append((self._sequences[member].task, *sums))
        return rows


def _scored(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss of each target in nats, and whether it is the likeliest token, both (N,), on the CPU."""
    logits = forward_rows(model, batch)
    step = max(1, _CHUNK_ELEMENTS // logits.shape[1])
    chunks = torch.split(logits, step)
    log_sums = torch.cat([chunk.float().logsumexp(1) for chunk in chunks])
    likeliest = torch.cat([chunk.argmax(1) for chunk in chunks])
    losses = log_sums[batch.target_rows] - logits[batch.target_rows, batch.targets].float()
    return losses.double().cpu(), (likeliest[batch.target_rows] == batch.targets).cpu()


def _figures(found: Sequence[tuple[str, float, int, int]]) -> list[Figures]:
    by_task: dict[str, list[tuple[str, float, int, int]]] = {"": list(found)}
    for row in sorted(found):
        by_task.setdefault(row[0], []).append(row)
    figures = []
    for task, rows in by_task.items():
        targets = sum(row[3] for row in rows)
        # fsum is exact: the sum is the same however many processes there are.
        loss, hits = math.fsum(row[1] for row in rows), sum(row[2] for row in rows)
        figures.append(Figures(task, loss / targets, hits / targets, targets))
    return figures
