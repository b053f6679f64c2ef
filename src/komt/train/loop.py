"""The loop: a step is a list of bins fixed by (seed, step); the loss is divided by the weight of the step."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from komt.errors import KomtError, ModelError
from komt.pack.batch import Batch, pack_sequences
from komt.pack.encode import TokenSequence
from komt.pack.loss import target_losses
from komt.pack.plan import Step
from komt.recipe import Recipe
from komt.train.accelerator import make_accelerator


class Interrupted(KomtError):
    """Ctrl-C or SIGTERM: the step was finished and saved."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimiser step gave.

    Attributes:
        step: steps done, this one included.
        loss: nats per target, weighted; task_loss: the same by task.
        lr: learning rate used; seconds: wall-clock time; examples: sequences in the step.
        evaluation: loss on evaluation data, where measured after this step; the best checkpoint goes by it.
    """

    step: int
    loss: float
    task_loss: dict[str, float]
    lr: float
    seconds: float
    examples: int
    evaluation: float | None = None


@dataclass(slots=True)
class Loop:
    """A training run's moving parts.

    Attributes:
        model, optimizer: prepared by the accelerator; scheduler: one tick a step.
        way: "shared", "packed" or "single", as the probe found (and the recipe wants).
    """

    recipe: Recipe
    sequences: Sequence[TokenSequence]
    steps: Sequence[Step]
    model: Any
    optimizer: Any
    scheduler: Any
    accelerator: Any
    way: str
    _stop: bool = field(default=False)

    def run(self, start: int, on_step: Callable[[StepResult, bool], None]) -> None:
        """Train from step `start` to the end; `on_step` is told whether this step is the last one for now.

        Raises:
            ModelError: the loss or gradient is not finite; weights are those of the last good step.
            Interrupted: asked to stop; `on_step` has seen the last finished step.
        """
        self.model.train()
        with self._signals():
            for number in range(start, len(self.steps)):
                result, stopping = self._step(number), self._stopping()
                on_step(result, stopping or number + 1 == len(self.steps))
                if stopping:
                    raise Interrupted(f"stopped after step {number + 1} of {len(self.steps)}, which is saved")

    def start_schedule(self, step: int) -> None:
        """Set the learning rate as it is after `step` steps: it depends on nothing else."""
        self.scheduler.last_epoch = step
        rates = [
            base * share(step)
            for base, share in zip(self.scheduler.base_lrs, self.scheduler.lr_lambdas, strict=True)
        ]
        for group, rate in zip(self.scheduler.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.scheduler._last_lr = rates

    def _stopping(self) -> bool:
        """Whether any rank was asked to stop: all of them leave after the same step."""
        if self.accelerator.num_processes == 1:
            return self._stop
        asked = torch.tensor(float(self._stop), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked).item() > 0)

    def _step(self, number: int) -> StepResult:
        began, step = time.perf_counter(), self.steps[number]
        bins = [piece for members in step.bins for piece in self._forwards(members)]
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = list(range(rank, len(bins), world))
        rounds = -(-len(bins) // world)
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for turn in range(rounds):
            # A rank with no bin left runs the first one at weight nought: all ranks must meet in backward.
            index, live = (mine[turn], 1.0) if turn < len(mine) else (0, 0.0)
            _seed(self.recipe.seed, number, index)
            batch = pack_sequences([self.sequences[i] for i in bins[index]], share=self.way == "shared")
            with self._last_syncs(turn == rounds - 1):
                losses = self._backward(batch, live * world / step.weight)
            if live:
                self._count(sums, losses, batch, bins[index])
        loss, by_task = self._gather(sums, step.weight)
        lr = self.scheduler.get_last_lr()[0]
        self._update(loss, number)
        return StepResult(number + 1, loss, by_task, lr, time.perf_counter() - began, len(step.sequences))

    def _forwards(self, members: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [(i,) for i in members] if self.way == "single" else [members]

    def _backward(self, batch: Batch, scale: float) -> Tensor:
        batch = batch.to(self.accelerator.device)
        with self._autocast():
            losses = target_losses(self.model, batch)
            self.accelerator.backward((losses * batch.weights).sum() * scale)
        return losses.detach()

    @contextlib.contextmanager
    def _autocast(self) -> Iterator[None]:
        """Compute in bf16 unless the recipe says 32 bits; trained weights themselves are fp32."""
        if self.recipe.model.bits == 32:
            yield
            return
        from peft.helpers import disable_input_dtype_casting

        model = self.accelerator.unwrap_model(self.model)
        # PEFT would turn each layer's input to fp32; autocast turns the much smaller adapter to bf16.
        casting = contextlib.nullcontext()
        if self.recipe.train.method == "lora":
            casting = disable_input_dtype_casting(model)
        with casting, torch.autocast(self.accelerator.device.type, dtype=torch.bfloat16):
            yield

    @contextlib.contextmanager
    def _last_syncs(self, last: bool) -> Iterator[None]:
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
            yield

    def _count(
        self, sums: dict[str, list[float]], losses: Tensor, batch: Batch, members: tuple[int, ...]
    ) -> None:
        weighted = np.bincount(
            batch.sequence.numpy(), (losses.cpu() * batch.weights).double().numpy(), len(members)
        )
        weights = np.bincount(batch.sequence.numpy(), batch.weights.double().numpy(), len(members))
        for index, member in enumerate(members):
            total = sums[self.sequences[member].task]
            total[0] += float(weighted[index])
            total[1] += float(weights[index])

    def _gather(self, sums: dict[str, list[float]], weight: float) -> tuple[float, dict[str, float]]:
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            merged: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
            for task, (loss, share) in gather_object(list(sums.items())):
                merged[task][0] += loss
                merged[task][1] += share
            sums = merged
        by_task = {task: loss / share for task, (loss, share) in sorted(sums.items())}
        return sum(loss for loss, _ in sums.values()) / weight, by_task

    def _update(self, loss: float, number: int) -> None:
        clipped = self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.train.clip)
        # Where weights are divided between processes (FSDP2) so is the norm.
        norm = float(clipped.full_tensor() if hasattr(clipped, "full_tensor") else clipped)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise ModelError(
                f"the loss ({loss}) or gradient ({norm}) of step {number + 1} is not finite; "
                "the weights are those of the step before",
                cure="lower train.lr, lengthen train.warmup, or train in more bits (model.bits)",
            )
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM lets the step end and be saved; a second Ctrl-C stops at once."""

        def stop(number: int, frame: object) -> None:
            if self._stop and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._stop = True

        try:
            former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread (a notebook's worker): signals stay as they are
            former = {}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def make_loop(
    recipe: Recipe,
    sequences: Sequence[TokenSequence],
    steps: Sequence[Step],
    model: Any,
    way: str,
    accelerator: Accelerator | None = None,
) -> Loop:
    """Optimiser (AdamW), cosine schedule with warm-up, and the accelerator around a model.

    Raises:
        ModelError: the model has no parameter to train.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ModelError("no parameter of the model requires a gradient", cure="check train.lora.targets")
    optimizer = torch.optim.AdamW(parameters, lr=recipe.train.lr, weight_decay=recipe.train.weight_decay)
    warmup = math.ceil(recipe.train.warmup * len(steps))
    scheduler = LambdaLR(optimizer, lambda step: rate_share(step, warmup, len(steps)))
    accelerator = accelerator or make_accelerator()
    model, optimizer = accelerator.prepare(model, optimizer)
    return Loop(recipe, sequences, steps, model, optimizer, scheduler, accelerator, way)


def rate_share(step: int, warmup: int, total: int) -> float:
    """Learning rate of a step (from 0) as a share of the highest: linear warm-up, then half a cosine.

    Unlike transformers' schedule of that name no step is wasted at rate nought, neither first nor last.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def _seed(seed: int, step: int, index: int) -> None:
    """Dropout of a bin depends on nothing but (seed, step, bin), so a resumed run repeats it."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, index)).generate_state(1)[0]))
