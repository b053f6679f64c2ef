"""Scoring: examples are answered, answers scored, scores written and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from komt.evaluate.metrics import METRICS, Metric, Score
from komt.evaluate.recorded import RecordedEngine
from komt.example import Example, Message
from komt.serve.engine import Completion, Engine

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """One example, answered and scored.

    Attributes:
        model: the model's name in score tables.
        example: what was asked.
        answer: the model's text up to its end token or the length limit, stripped (see `score`).
        ended: by the end token.
        scores: by metric.
        shots: number of solved examples that were shown before.
        by: "generation", or "loglikelihood" where the likeliest choice counts as the answer.
        order: "", or the order of passage and instruction that was asked for.
        contaminated: whether the example stands in the model's training data.
    """

    model: str
    example: Example
    answer: str
    ended: bool
    scores: Mapping[str, Score]
    shots: int = 0
    by: str = "generation"
    order: str = ""
    contaminated: bool = False


def score(
    engine: Engine | RecordedEngine,
    examples: Sequence[Example],
    *,
    name: str,
    metrics: Sequence[str] | Mapping[str, Sequence[str]],
    shots: Sequence[Example] = (),
    max_new_tokens: int = 32,
    batch_tokens: int = 4096,
    on_done: Callable[[int], None] | None = None,
) -> list[Answered]:
    """Answer examples greedily and score the answers.

    What counts is everything up to the end token or the limit: a model that rambles on is not helped by
    cutting its answer somewhere. Only after shots whose answers are one line each, the first line counts:
    a base model learns that format from them, but no end token.

    Args:
        engine: the model.
        examples: what is asked; their last supervised turn is hidden.
        name: the model's name in score tables.
        metrics: names for all examples, or by task.
        shots: solved examples shown first, as earlier turns, the same before every example.
        max_new_tokens: the longest answer.
        batch_tokens: the most tokens of prompts held at a time, shared ones counted once.
        on_done: told the place of each example that is answered.

    Raises:
        UsageError: unknown metric. DataError: a metric that does not fit the task.
    """
    judges = judges_of(examples, metrics)
    prompts = [with_shots(example, shots) for example in examples]
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "batch_tokens": batch_tokens,
        "on_done": on_done,
    }
    if isinstance(engine, RecordedEngine):
        found = engine.answer(prompts, **options)
    else:
        found = engine.generate([engine.prompt_ids(prompt) for prompt in prompts], **options)
    return [
        judged(example, completion, judges[example.task], name=name, shots=shots)
        for example, completion in zip(examples, found, strict=True)
    ]


def judges_of(
    examples: Sequence[Example], metrics: Sequence[str] | Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Metric]]:
    """The metrics of each task, tried on every example: found now, not after an hour of decoding.

    Raises:
        UsageError: unknown metric. DataError: a metric that does not fit the task.
    """
    by_task = {
        example.task: list(metrics[example.task] if isinstance(metrics, Mapping) else metrics)
        for example in examples
    }
    judges = {task: {metric: METRICS.get(metric) for metric in names} for task, names in by_task.items()}
    for example in examples:
        for judge in judges[example.task].values():
            judge.score("", example)
    return judges


def judged(
    example: Example,
    completion: Completion,
    judges: Mapping[str, Metric],
    *,
    name: str,
    shots: Sequence[Example] = (),
) -> Answered:
    """A completion as a scored answer."""
    answer = completion.text.strip()
    if shots and all("\n" not in shot.messages[-1].content for shot in shots):
        answer = answer.partition("\n")[0].strip()
    scores = {metric: judge.score(answer, example) for metric, judge in judges.items()}
    return Answered(name, example, answer, completion.ended, scores, len(shots))


def with_shots(example: Example, shots: Sequence[Example]) -> tuple[Message, ...]:
    """An example's prompt, with solved examples as earlier turns (after its own system message)."""
    prompt = example.prompt
    head = [message for message in prompt[:1] if message.role == "system"]
    earlier = [
        Message(message.role, message.content)
        for shot in shots
        for message in shot.messages
        if message.role != "system"
    ]
    return (*head, *earlier, *prompt[len(head) :])
