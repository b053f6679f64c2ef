"""Choices by log-likelihood of any number of tasks, recorded as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from komt.evaluate.choices import Chosen, Normalise, choose, shown_choices
from komt.evaluate.recorded import RecordedEngine
from komt.example import Example, Message
from komt.files import hash_of
from komt.serve.lanes import in_lanes

Question = tuple[Example, tuple[Message, ...]]
# Computed, and then recorded, together.
_AT_A_TIME = 64


def choose_recorded(
    engine: RecordedEngine,
    questions: Sequence[Question],
    *,
    normalise: Normalise = "raw",
    on_done: Callable[[int], None] | None = None,
) -> list[tuple[str, list[float]]]:
    """The likeliest choice of each question, as its prompt shows it, and how good each choice is.

    Args:
        engine: one that tells log-likelihoods.
        questions: examples with what stands before the answer (solved examples included).
        normalise: see `choices.choose`.
        on_done: told the place of each question that is answered.
    """
    keys = [_key(example, prompt, normalise) for example, prompt in questions]
    known = engine.known(keys)
    for place, key in enumerate(keys):
        if on_done and key in known:
            on_done(place)
    first = {key: place for place, key in reversed(list(enumerate(keys))) if key not in known}
    # Prompts that begin alike stand together: what they share is computed once.
    missing = sorted(first.values(), key=lambda place: [message.content for message in questions[place][1]])
    jobs = [missing[start : start + _AT_A_TIME] for start in range(0, len(missing), _AT_A_TIME)]

    def chosen(places: list[int]) -> list[Chosen]:
        prompts = {id(questions[place][0]): questions[place][1] for place in places}
        return choose(
            engine.engine,
            [questions[place][0] for place in places],
            normalise=normalise,
            prompt=lambda example: prompts[id(example)],
            on_done=(lambda at: on_done(places[at])) if on_done else None,
        )

    for places, found in in_lanes(engine.engine, chosen, jobs) if jobs else ():
        new = {keys[place]: list(one.values) for place, one in zip(places, found, strict=True)}
        engine.keep(new)
        engine.asked += len(new)
        known |= new
    for place, key in enumerate(keys):
        if on_done and key in first and first[key] != place:
            on_done(place)
    return [
        (shown_choices(example)[max(range(len(known[key])), key=known[key].__getitem__)], known[key])
        for (example, _), key in zip(questions, keys, strict=True)
    ]


def _key(example: Example, prompt: tuple[Message, ...], normalise: Normalise) -> str:
    asked = [[message.role, message.content] for message in prompt]
    return hash_of(["choose", normalise, list(shown_choices(example)), *asked])
