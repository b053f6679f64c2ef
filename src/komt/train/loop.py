"""The loop: a step is a list of bins fixed by (seed, step); the loss is divided by the weight of the step."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from komt.errors import KomtError, ModelError
from komt.models.fused import fused_layers
from komt.pack.batch import Batch, pack_sequences
from komt.pack.encode import TokenSequence
from komt.pack.loss import target_losses
from komt.pack.plan import Step
from komt.process import give_back_memory
from komt.recipe import Recipe
from komt.train.accelerator import make_accelerator
from komt.train.optimizer import make_optimizer

# (task or measure, its name) -> sum of values times weights, and of weights.
Sums = dict[tuple[str, str], list[float]]


class Interrupted(KomtError):
    """Ctrl-C or SIGTERM: the step was finished and saved."""


class NonFinite(ModelError):
    """A step's loss or gradient is not finite; the weights are those of the step before."""

    def __init__(self, step: int, loss: float, norm: float) -> None:
        super().__init__(
            f"the loss ({loss}) or gradient ({norm}) of step {step} is not finite; "
            "the weights are those of the step before",
            cure="lower train.lr, lengthen train.warmup, or train in more bits (model.bits)",
        )
        self.step, self.loss, self.norm = step, loss, norm


@dataclass(frozen=True, slots=True)
class Terms:
    """What an objective makes of a bin: the step's loss is the sum of losses times weights over its weight.

    Attributes:
        losses, weights: (K,); sequence: which of the bin's sequences each belongs to, (K,).
        measures: further values, (K,) each, logged as their weighted means.
    """

    losses: Tensor
    weights: Tensor
    sequence: Tensor
    measures: dict[str, Tensor] = field(default_factory=dict)


# Of a model, a packed bin, the places of its sequences among all, and the step.
Objective = Callable[[Any, Batch, Sequence[int], Step], Terms]


def supervised(model: Any, batch: Batch, members: Sequence[int], step: Step) -> Terms:
    """Cross-entropy of the supervised tokens: a term per target."""
    return Terms(target_losses(model, batch), batch.weights, batch.sequence)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimiser step gave.

    Attributes:
        step: steps done, this one included.
        loss: nats per target, weighted; task_loss: the same by task.
        lr: learning rate used; seconds: wall-clock time; examples: sequences in the step.
        measures: what else the objective tells, by name.
    """

    step: int
    loss: float
    task_loss: dict[str, float]
    lr: float
    seconds: float
    examples: int
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Loop:
    """A training run's moving parts.

    Attributes:
        model, optimizer: prepared by the accelerator; scheduler: one tick a step.
        way: "shared", "packed" or "single", as the probe found (and the recipe wants).
        objective: what is minimised; together: neighbours in a bin that it needs in one forward pass.
    """

    recipe: Recipe
    sequences: Sequence[TokenSequence]
    steps: Sequence[Step]
    model: Any
    optimizer: Any
    scheduler: Any
    accelerator: Any
    way: str
    objective: Objective = supervised
    together: int = 1
    _stop: bool = field(default=False)

    def run(self, start: int, on_step: Callable[[StepResult, bool], bool | None]) -> None:
        """Train from step `start` to the end, or until `on_step` returns True.

        `on_step` is told whether this step is the last one for now.

        Raises:
            ModelError: the loss or gradient is not finite; weights are those of the last good step.
            Interrupted: asked to stop; `on_step` has seen the last finished step.
        """
        self.model.train()
        with self._signals(), fused_layers(self.accelerator.unwrap_model(self.model)):
            for number in range(start, len(self.steps)):
                result, stopping = self._step(number), self._stopping()
                give_back_memory()  # or the heap grows by what bins of other sizes leave behind
                if on_step(result, stopping or number + 1 == len(self.steps)):
                    return
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
        sums: Sums = defaultdict(lambda: [0.0, 0.0])
        for turn in range(rounds):
            # A rank with no bin left runs the first one at weight nought: all ranks must meet in backward.
            index, live = (mine[turn], 1.0) if turn < len(mine) else (0, 0.0)
            _seed(self.recipe.seed, number, index)
            batch = pack_sequences([self.sequences[i] for i in bins[index]], share=self.way == "shared")
            with self._last_syncs(turn == rounds - 1):
                terms = self._backward(batch, bins[index], step, live * world / step.weight)
            if live:
                self._count(sums, terms, bins[index])
        loss, by_task, measures = self._gather(sums, step.weight)
        lr = self.scheduler.get_last_lr()[0]
        self._update(loss, number)
        seconds, examples = time.perf_counter() - began, len(step.sequences) // self.together
        return StepResult(number + 1, loss, by_task, lr, seconds, examples, measures=measures)

    def _forwards(self, members: tuple[int, ...]) -> list[tuple[int, ...]]:
        if self.way != "single":
            return [members]
        return [members[i : i + self.together] for i in range(0, len(members), self.together)]

    def _backward(self, batch: Batch, members: Sequence[int], step: Step, scale: float) -> Terms:
        batch = batch.to(self.accelerator.device)
        with self.computing():
            terms = self.objective(self.model, batch, members, step)
            self.accelerator.backward((terms.losses * terms.weights).sum() * scale)
        return replace(terms, losses=terms.losses.detach())

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
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

    def _count(self, sums: Sums, terms: Terms, members: tuple[int, ...]) -> None:
        """Add a bin's losses, by task, and its measures to the sums, each with its weight."""
        sequence, weights = terms.sequence.cpu().numpy(), terms.weights.cpu()
        shares = np.bincount(sequence, weights.double().numpy(), len(members))
        losses = (terms.losses.cpu() * weights).double().numpy()
        for index, loss in enumerate(np.bincount(sequence, losses, len(members))):
            if shares[index]:
                total = sums["task", self.sequences[members[index]].task]
                total[0] += float(loss)
                total[1] += float(shares[index])
        for name, values in terms.measures.items():
            total = sums["measure", name]
            total[0] += float((values.cpu().double() * weights).sum())
            total[1] += float(weights.double().sum())

    def _gather(self, sums: Sums, weight: float) -> tuple[float, dict[str, float], dict[str, float]]:
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            merged: Sums = defaultdict(lambda: [0.0, 0.0])
            for key, (value, share) in gather_object(list(sums.items())):
                merged[key][0] += value
                merged[key][1] += share
            sums = merged
        means = {key: value / share for key, (value, share) in sorted(sums.items())}
        by_task = {name: mean for (kind, name), mean in means.items() if kind == "task"}
        measures = {name: mean for (kind, name), mean in means.items() if kind == "measure"}
        loss = sum(value for (kind, _), (value, _) in sums.items() if kind == "task")
        return loss / weight, by_task, measures

    def _update(self, loss: float, number: int) -> None:
        clipped = self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.train.clip)
        # Where weights are divided between processes (FSDP2) so is the norm.
        norm = float(clipped.full_tensor() if hasattr(clipped, "full_tensor") else clipped)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NonFinite(number + 1, loss, norm)
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
    optimizer = make_optimizer(model, recipe.train)
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
