"""Live samples: a few held-out prompts, answered by the model as it is between two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from komt.errors import UsageError
from komt.example import Example, Message
from komt.recipe import Recipe
from komt.train.accelerator import spread_by
from komt.train.held_out import held_out_examples
from komt.train.loop import Loop
from komt.train.undisturbed import undisturbed

# From model, tokenizer, conversations and the longest answer to greedy answers: an engine, from outside.
Answer = Callable[[Any, Any, Sequence[Sequence[Message]], int], list[str]]


class Samples:
    """Prompts with their references, and what answers them."""

    def __init__(
        self, examples: Sequence[Example], answer: Answer, tokenizer: Any, max_new_tokens: int
    ) -> None:
        self._examples, self._answer = examples, answer
        self._tokenizer, self._max_new_tokens = tokenizer, max_new_tokens

    def take(self, loop: Loop, step: int) -> list[dict[str, Any]]:
        """Lines of samples.jsonl: `{step, task, prompt, answer, reference}`; training is not disturbed."""
        model = loop.accelerator.unwrap_model(loop.model)
        prompts = [example.prompt for example in self._examples]
        with undisturbed(model):
            answers = self._answer(model, self._tokenizer, prompts, self._max_new_tokens)
        return [
            {
                "step": step,
                "task": example.task,
                "prompt": "\n\n".join(message.content for message in example.prompt),
                "answer": answer,
                "reference": example.references[0] if example.references else "",
            }
            for example, answer in zip(self._examples, answers, strict=True)
        ]


def make_samples(
    recipe: Recipe, data: Path, tokenizer: Any, answer: Answer | None, loop: Loop
) -> Samples | None:
    """What `train.generate` asks for, or None.

    Raises:
        UsageError: nothing here can answer, or the weights are spread over processes.
    """
    part = recipe.train.generate
    if part is None:
        return None
    if answer is None:
        raise UsageError(
            "train.generate needs something that answers", cure="train with komt run or komt train"
        )
    if spread_by(loop.accelerator):
        raise UsageError(
            "train.generate answers in one process, and here the weights are spread over several",
            cure="leave train.generate out; train.held_out measures all the same",
        )
    chosen = in_turn(held_out_examples(data, part.examples), recipe.evaluate.tasks)[: part.examples]
    return Samples(chosen, answer, tokenizer, part.max_new_tokens)


def in_turn(examples: Sequence[Example], first: Sequence[str]) -> list[Example]:
    """One example of each task, then the next of each; tasks named in `first` before the others."""
    by_task: dict[str, list[Example]] = {task: [] for task in first}
    for example in examples:
        by_task.setdefault(example.task, []).append(example)
    most = max(map(len, by_task.values()), default=0)
    return [own[place] for place in range(most) for own in by_task.values() if place < len(own)]
