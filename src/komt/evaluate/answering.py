"""All that is asked of one model: choices by log-likelihood, answers of about one length together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from komt.errors import UsageError
from komt.evaluate.asked import Asked
from komt.evaluate.choices import Normalise, can_choose, is_choice
from komt.evaluate.choosing import choose_recorded
from komt.evaluate.metrics import Metric, score_choice
from komt.evaluate.recorded import RecordedEngine
from komt.evaluate.run import Answered, judged, judges_of, with_shots
from komt.files import hash_of

Choices = Literal["auto", "generate", "loglikelihood"]
# The lengths that answers are cut at: few, so that answers of many tasks are decoded together, and so that a
# few rows more seldom change a limit.
LIMITS_TOKENS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)


@dataclass(frozen=True, slots=True)
class Way:
    """How answers are got.

    Attributes:
        choices: by what a choice is made; auto: by log-likelihood where the engine can.
        normalise: how log-likelihoods of choices of different lengths are compared.
        max_new_tokens: the longest answer; None: by what each task's right answers need.
        batch_tokens: the most tokens of prompts held at a time.
    """

    choices: Choices = "auto"
    normalise: Normalise = "raw"
    max_new_tokens: int | None = None
    batch_tokens: int = 16384


def answer_all(
    engine: RecordedEngine,
    asked: Sequence[Asked],
    *,
    name: str,
    way: Way | None = None,
    on_done: Callable[[int], None] | None = None,
) -> list[list[Answered]]:
    """Answers to everything that is asked, scored; recorded as they come, so that a killed run goes on.

    Args:
        engine: the model.
        asked: any number of tasks.
        name: the model's name in score tables.
        way: how.
        on_done: told of each example that is answered, by its place in `asked`.

    Raises:
        UsageError: unknown metric; log-likelihoods of an engine that tells none.
        DataError: a metric that does not fit its task.
    """
    way = way or Way()
    judges = [judges_of(one.examples, one.task.metrics) for one in asked]
    chosen = [number for number, one in enumerate(asked) if all(map(is_choice, one.examples))]
    if chosen and not by_likelihood(engine, way.choices):
        chosen = []
    answers: list[list[Answered]] = [[] for _ in asked]
    if chosen:
        _choose(engine, asked, chosen, judges, answers, name, way, on_done)
    _generate(engine, asked, judges, answers, name, way, on_done)
    return answers


def by_likelihood(engine: RecordedEngine, choices: Choices) -> bool:
    """Whether choices are made by log-likelihood; what an engine can is recorded, too."""
    if choices == "generate":
        return False
    known = engine.known(["can"])
    can = bool(known["can"]["loglikelihood"]) if known else can_choose(engine.engine)
    if not known:
        engine.keep({"can": {"loglikelihood": can}})
    if choices == "loglikelihood" and not can:
        raise UsageError(
            "this engine tells no log-likelihood of given texts",
            cure="leave --choices out, or answer with transformers (a folder or catalogue name)",
        )
    return can


def _choose(
    engine: RecordedEngine,
    asked: Sequence[Asked],
    numbers: Sequence[int],
    judges: Sequence[dict[str, dict[str, Metric]]],
    answers: list[list[Answered]],
    name: str,
    way: Way,
    on_done: Callable[[int], None] | None,
) -> None:
    places = [(number, example) for number in numbers for example in asked[number].examples]
    found = choose_recorded(
        engine,
        [(example, with_shots(example, asked[number].shots)) for number, example in places],
        normalise=way.normalise,
        on_done=(lambda at: on_done(places[at][0])) if on_done else None,
    )
    for (number, example), (text, values) in zip(places, found, strict=True):
        judging = judges[number][example.task]
        scores = {metric: score_choice(judge, text, values, example) for metric, judge in judging.items()}
        one = Answered(name, example, text, True, scores, len(asked[number].shots))
        answers[number].append(replace(one, by="loglikelihood", order=asked[number].order))


def _generate(
    engine: RecordedEngine,
    asked: Sequence[Asked],
    judges: Sequence[dict[str, dict[str, Metric]]],
    answers: list[list[Answered]],
    name: str,
    way: Way,
    on_done: Callable[[int], None] | None,
) -> None:
    places: list[tuple[int, int]] = []
    limits: list[int] = []
    for number, one in enumerate(asked):
        if not answers[number]:
            places += [(number, place) for place in range(len(one.examples))]
            limits += [way.max_new_tokens or limit_tokens(engine, one)] * len(one.examples)
    found = engine.answer(
        [with_shots(asked[number].examples[place], asked[number].shots) for number, place in places],
        max_new_tokens=limits,
        batch_tokens=way.batch_tokens,
        on_done=(lambda at: on_done(places[at][0])) if on_done else None,
    )
    for (number, place), completion in zip(places, found, strict=True):
        one = asked[number]
        example = one.examples[place]
        scored = judged(example, completion, judges[number][example.task], name=name, shots=one.shots)
        answers[number].append(replace(scored, order=one.order))


def limit_tokens(engine: RecordedEngine, one: Asked) -> int:
    """How long answers may be: a quarter more than 95 % of the right answers take, rounded up to a limit.

    In the model's own tokens, where the engine tells them; the same for a base model and what is tuned on it.
    """
    texts = [max((*example.references, ""), key=len) for example in one.examples]
    key = hash_of(["limit", *texts])
    if known := engine.known([key]):
        return int(known[key])
    longest = sorted(engine.count_tokens(texts))
    needed = math.ceil(1.25 * longest[math.ceil(0.95 * len(longest)) - 1]) + 4
    limit = next((limit for limit in LIMITS_TOKENS if limit >= needed), LIMITS_TOKENS[-1])
    engine.keep({key: limit})
    return limit
