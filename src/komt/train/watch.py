"""What is looked at between two steps: held-out figures, live samples, early stopping, trackers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.errors import ModelError
from komt.train.checkpoint import invalid, load_snapshot, step_folder
from komt.train.held_out import HeldOut, Measured, Measurement, held_out_sequences
from komt.train.held_out_pairs import held_out_pairs
from komt.train.loop import Loop, StepResult
from komt.train.pairs import ReferencedPairs
from komt.train.processes import by_main
from komt.train.samples import Answer, Samples, make_samples
from komt.train.snapshot import restore
from komt.train.step_lines import StepLines
from komt.train.stop import EarlyStop
from komt.train.trackers import start_trackers, stop_trackers

HELD_OUT, SAMPLES = "held_out.jsonl", "samples.jsonl"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found after a step.

    Attributes:
        loss: on the held-out examples, where they were measured.
        save: whether it is the best so far, of which a checkpoint is kept; stop: whether training ends here.
    """

    loss: float | None = None
    save: bool = False
    stop: bool = False


class Watch:
    """Looks at the model when the recipe says so; training goes on as if it had not."""

    def __init__(self, loop: Loop, out: Path, held_out: Measurement | None, samples: Samples | None) -> None:
        """Args:
        loop: of the training; every process has a watch, and the main one writes.
        out: the run's `train` folder, for `held_out.jsonl` and `samples.jsonl`.
        held_out, samples: what to measure and to answer.
        """
        self._loop, self._out, self._held_out, self._samples = loop, out, held_out, samples
        self._train = loop.recipe.train
        self._stop = EarlyStop(self._train.stop) if self._train.stop else None
        self._say: Callable[[str], None] = lambda text: None
        self._last: Sequence[Measured] = []
        self._measured = 0

    def begin(self, start: int, say: Callable[[str], None] | None = None) -> None:
        """Go on after step `start`; before the first step all is looked at once."""
        self._say = say or self._say
        by_main(lambda: self._open(start))
        start_trackers(self._loop.accelerator, self._loop.recipe)
        if start == 0:
            self._measure(0)
            self._answer(0)

    def after(self, result: StepResult) -> Seen:
        """Look at the model after a step, where it is time to."""
        step = result.step
        self._track(
            {"loss": result.loss, "lr": result.lr, "examples_s": result.examples / result.seconds}
            | {f"task_loss/{task}": loss for task, loss in result.task_loss.items()},
            step,
        )
        end = step == len(self._loop.steps)
        seen = Seen()
        if (part := self._train.held_out) and (end or step % part.every_steps == 0):
            self._measure(step)
            seen = self._judged(step)
        if (shown := self._train.generate) and (end or seen.stop or step % shown.every_steps == 0):
            self._answer(step)
        return seen

    @property
    def over(self) -> bool:
        """Whether training had come to its early end before it was resumed."""
        return bool(self._stop and self._stop.over)

    @property
    def best_step(self) -> int | None:
        """The step whose weights are the best so far, where early stopping chooses; its checkpoint stays."""
        return self._stop.best_step if self._stop and self._stop.best_step else None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of early stopping."""
        return self._stop.state() if self._stop else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what a checkpoint kept."""
        if self._stop and state:
            self._stop.restore(state)

    def finish(self, checkpoints: Path) -> dict[str, Any]:
        """Put the best weights in place, where early stopping chooses; returns what train.json says of it.

        Raises:
            ModelError: the best checkpoint is damaged.
        """
        about: dict[str, Any] = {}
        if self._last:
            about["held_out"] = [one.as_line(self._measured) for one in self._last]
        if (best := self.best_step) is not None:
            path = step_folder(checkpoints, best)
            if reason := by_main(lambda: invalid(path)):
                raise ModelError(f"{path.name} cannot be used: {reason}", where=str(path), cure="train again")
            model = self._loop.accelerator.unwrap_model(self._loop.model)
            restore(load_snapshot(path), model, self._loop.optimizer)
            about["best_step"] = best
        if self._stop and (best is not None or self.over):
            about["stopped_early"] = self.over
        return about

    def close(self) -> None:
        """End the trackers' runs."""
        stop_trackers(self._loop.accelerator)

    def _open(self, start: int) -> None:
        self._figures_file, self._samples_file = (
            StepLines(self._out / name, start) for name in (HELD_OUT, SAMPLES)
        )

    def _judged(self, step: int) -> Seen:
        loss = self._last[0].loss
        if not self._stop:
            return Seen(loss)
        best = self._stop.note(step, self._stop.value_of(self._last[0]))
        if self._stop.over:
            self._say(
                f"no gain since step {self.best_step}: its weights are the result"
                if self.best_step
                else "the held-out examples gave no number to choose by: the last weights are the result"
            )
        return Seen(loss, best, self._stop.over)

    def _measure(self, step: int) -> None:
        if not self._held_out:
            return
        self._last, self._measured = self._held_out.measure(self._loop), step
        if self._loop.accelerator.is_main_process:
            self._figures_file.add(one.as_line(step) for one in self._last)
            self._say(self._last[0].said(step, len(self._last) - 1))
        for one in self._last:
            name = f"held_out/{one.task}/" if one.task else "held_out/"
            self._track({f"{name}{key}": value for key, value in one.values().items()}, step)

    def _answer(self, step: int) -> None:
        if self._samples and self._loop.accelerator.is_main_process:
            self._samples_file.add(self._samples.take(self._loop, step))
        if self._samples:
            self._loop.accelerator.wait_for_everyone()

    def _track(self, values: dict[str, float], step: int) -> None:
        if self._loop.accelerator.trackers:
            self._loop.accelerator.log(values, step=step)


def make_watch(
    loop: Loop,
    data: Path,
    out: Path,
    tokenizer: Any,
    fill: int,
    answer: Answer | None,
    pairs: ReferencedPairs | None = None,
) -> Watch:
    """The watch that a loop's recipe asks for.

    Args:
        loop: of the training.
        data: what `build` made.
        out: the run's `train` folder.
        tokenizer: of the model.
        fill: up to how many tokens bins are filled.
        answer: what answers prompts, for `train.generate`.
        pairs: of a preference training, those held out.

    Raises:
        DataError: there are no held-out examples. UsageError: see `make_samples`.
    """
    recipe = loop.recipe
    held_out: Measurement | None = None
    if recipe.train.held_out and pairs:
        held_out = held_out_pairs(recipe.train, data, pairs)
    elif recipe.train.held_out:
        held_out = HeldOut(held_out_sequences(recipe, data, tokenizer), recipe, loop.way, fill)
    return Watch(loop, out, held_out, make_samples(recipe, data, tokenizer, answer, loop))
