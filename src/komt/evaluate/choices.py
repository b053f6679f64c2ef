"""Choices by log-likelihood: the answer that a model holds likeliest of those it may give."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from komt.errors import DataError, ModelError, UsageError
from komt.example import Example, Message
from komt.models.template import end_token_id
from komt.pack.encode import encode

Normalise = Literal["raw", "token", "byte", "unconditional"]
NORMALISE: tuple[Normalise, ...] = get_args(Normalise)
Prompt = Callable[[Example], Sequence[Message]]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a model chose.

    Attributes:
        index: place of the choice, the first of equally good ones.
        text: the choice as the prompt shows it: its number or letter, where it has one.
        values: how good each choice is, the larger the better: log-likelihoods, normalised.
        by: "loglikelihood".
    """

    index: int
    text: str
    values: tuple[float, ...]
    by: str = "loglikelihood"


@dataclass(frozen=True, slots=True)
class _Turn:
    """So much of an example as `encode` needs: a prompt answered by one of the choices."""

    messages: tuple[Message, ...]
    id: str = ""
    task: str = ""
    group: str = ""


def shown_choices(example: Example) -> tuple[str, ...]:
    """The answers to choose from: the numbers or letters of the choices where the prompt gives them some."""
    return tuple(example.metadata.get("marks") or example.choices)


def is_choice(example: Example) -> bool:
    """Whether the right answer is a choice as shown; an inverted prompt has some, too, but asks else."""
    shown, at = shown_choices(example), example.answer_index
    if at is None or len(shown) < 2:
        return False
    answers = [message.content for message in example.messages if message.supervised]
    return not answers or answers[-1] == shown[at]


def can_choose(engine: Any) -> bool:
    """Whether an engine tells log-likelihoods, and has the tokenizer to ask for them."""
    return getattr(engine, "loglikelihood", None) is not None and hasattr(engine, "tokenizer")


def choose(
    engine: Any,
    examples: Sequence[Example],
    *,
    normalise: Normalise = "raw",
    prompt: Prompt = lambda example: example.prompt,
    on_done: Callable[[int], None] | None = None,
) -> list[Chosen]:
    """What a model chooses, by the log-likelihood of each choice after the prompt.

    A choice is encoded as training encodes answers, without the end token (as lm-evaluation-harness does).
    All prompts and choices are one forest: what they begin with is computed once.

    Args:
        engine: one that tells log-likelihoods (see `can_choose`).
        examples: each with at least two choices.
        normalise: "raw": as they are; "token", "byte": divided by the choice's tokens, or its bytes in UTF-8;
            "unconditional": less the choice's own log-likelihood after an empty question, so that what is
            likely anyhow gains nothing (Holtzman et al. 2021, "Surface Form Competition", PMI-DC).
        prompt: an example's messages up to the answer, such as one with solved examples before it.
        on_done: told the place of each example that is finished.

    Raises:
        UsageError: an unknown way to normalise. ModelError: the engine tells none, or no numbers.
        DataError: an example without choices, or with an empty one.
    """
    if normalise not in NORMALISE:
        raise UsageError(f"no way to normalise '{normalise}'", cure=f"one of: {', '.join(NORMALISE)}")
    if not can_choose(engine):
        raise ModelError(
            "this engine tells no log-likelihood of given texts",
            cure="let it write its choice, or give the model as a folder or catalogue name",
        )
    shown = [shown_choices(example) for example in examples]
    for example, choices in zip(examples, shown, strict=True):
        if len(choices) < 2 or not all(choice.strip() for choice in choices):
            raise DataError("there is nothing to choose from", where=f"example {example.id}")
    asked = _encoded(engine.tokenizer, [tuple(prompt(example)) for example in examples], shown)
    alone = sorted({choice for choices in shown for choice in choices})
    if normalise == "unconditional":
        asked += _encoded(engine.tokenizer, [(Message("user", ""),)], [tuple(alone)])
    told = (lambda place: on_done(place) if place < len(examples) else None) if on_done else None
    found = log_likelihoods(engine, asked, on_done=told)
    base = dict(zip(alone, found[-1], strict=True)) if normalise == "unconditional" else {}
    chosen = []
    for choices, (_, continuations), totals in zip(shown, asked, found, strict=False):
        values = _normalised(normalise, choices, [len(one) for one in continuations], totals, base)
        index = int(np.argmax(values))
        chosen.append(Chosen(index, choices[index], values))
    return chosen


def log_likelihoods(
    engine: Any,
    asked: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]],
    *,
    on_done: Callable[[int], None] | None = None,
) -> list[list[float]]:
    """Log-likelihood of each continuation of each prompt, in token ids: together, where the engine can.

    Raises:
        ModelError: one is no number, by which no choice could be made.
    """
    if hasattr(engine, "loglikelihoods"):
        scored = engine.loglikelihoods(asked, on_done=on_done)
        found = [[one.total for one in each] for each in scored]
    else:
        found = []
        for place, (ids, continuations) in enumerate(asked):
            found.append([float(sum(values)) for values in engine.loglikelihood(ids, continuations)])
            if on_done:
                on_done(place)
    if any(math.isnan(value) for values in found for value in values):
        raise ModelError(
            "the model gives log-likelihoods that are no numbers (nan)",
            cure="its weights may be damaged, or too large for this precision: try more bits",
        )
    return found


def _encoded(
    tokenizer: Any, prompts: Sequence[tuple[Message, ...]], shown: Sequence[tuple[str, ...]]
) -> list[tuple[list[int], list[list[int]]]]:
    """Ids of each prompt, and of each of its choices without the end token."""
    turns = [
        _Turn((*before, Message("assistant", choice, supervised=True)))
        for before, choices in zip(prompts, shown, strict=True)
        for choice in choices
    ]
    sequences, end = iter(encode(tokenizer, turns)), end_token_id(tokenizer)
    asked = []
    for choices in shown:
        ids: list[int] = []
        continuations = []
        for _ in choices:
            sequence = next(sequences)
            start = int(np.flatnonzero(sequence.weights)[0])
            ids, answer = sequence.ids[:start].tolist(), sequence.ids[start:].tolist()
            continuations.append(answer[:-1] if answer[-1] == end else answer)
        asked.append((ids, continuations))
    return asked


def _normalised(
    normalise: Normalise,
    choices: Sequence[str],
    tokens: Sequence[int],
    totals: Sequence[float],
    alone: dict[str, float],
) -> tuple[float, ...]:
    if normalise == "token":
        return tuple(total / count for total, count in zip(totals, tokens, strict=True))
    if normalise == "byte":
        return tuple(total / len(text.encode()) for total, text in zip(totals, choices, strict=True))
    if normalise == "unconditional":
        return tuple(total - alone[text] for total, text in zip(totals, choices, strict=True))
    return tuple(totals)
