"""Few-shot: some examples are shown after solved ones of their task, derived from its training examples."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from komt.example import Evidence, Example, Message
from komt.files import hash_of
from komt.recipe import FewShotPart
from komt.sources import share_of

_SHOTS_KEPT = 256
_SHOT_CHARACTERS = 600


def shot_pool(examples: Sequence[Example]) -> list[Example]:
    """The training examples of a task that may be shown as solved ones: short, of one turn, one a group."""
    pool: dict[str, Example] = {}
    for example in examples:
        characters = sum(len(message.content) for message in example.messages)
        if len(example.messages) == 2 and characters <= _SHOT_CHARACTERS and len(pool) < _SHOTS_KEPT:
            pool.setdefault(example.group or example.id, example)
    return list(pool.values())


def wants_shots(example_id: str, part: FewShotPart, seed: int) -> bool:
    """Whether an example belongs to the share `rate` that is shown after solved ones."""
    return share_of(["few-shot", seed, example_id]) < part.rate


def with_shots(
    example: Example, pools: Mapping[str, Sequence[Example]], part: FewShotPart, seed: int
) -> Example:
    """The example after solved ones of its task; as it is, where none fits.

    They come from the task's training examples, other passages and other questions, as many of 1 to `shots`
    as fit in `tokens` with the example itself, a token taken for a character.
    """
    pool = pools.get(example.task, ())
    if not pool:
        return example
    chance = random.Random(hash_of(["shots", seed, example.id]))
    wanted = 1 + int(chance.random() * part.shots)
    room = part.tokens - sum(len(message.content) for message in example.messages)
    shots: list[Example] = []
    for _ in range(4 * min(wanted, _SHOTS_KEPT)):
        shot = pool[int(chance.random() * len(pool))]
        characters = sum(len(message.content) for message in shot.messages)
        shown = [*shots, example]
        if characters <= room and len(shots) < wanted and not any(_alike(shot, other) for other in shown):
            shots.append(shot)
            room -= characters
    return _after(shots, example) if shots else example


def _alike(one: Example, other: Example) -> bool:
    return (one.group or one.id) == (other.group or other.id) or one.messages[0] == other.messages[0]


def _after(shots: Sequence[Example], example: Example) -> Example:
    before = tuple(Message(m.role, m.content) for shot in shots for m in shot.messages)
    metadata, evidence = dict(example.metadata), example.evidence
    metadata["shots"] = len(shots)
    if "passage" in metadata:
        message, start, end = metadata["passage"]
        metadata["passage"] = [message + len(before), start, end]
    if evidence:
        evidence = Evidence(evidence.message + len(before), evidence.start, evidence.end)
    messages = (*before, *example.messages)
    return replace(example, kind="few_shot", messages=messages, evidence=evidence, metadata=metadata)
