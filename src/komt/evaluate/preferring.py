"""Preference pairs by log-likelihood: how likely a model holds either answer, recorded and scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from komt.evaluate.asked import Asked
from komt.evaluate.choices import log_likelihoods
from komt.evaluate.metrics import Score
from komt.evaluate.pairs import pair_values
from komt.evaluate.recorded import RecordedEngine
from komt.evaluate.run import Answered, with_shots
from komt.example import Example, Message
from komt.files import hash_of
from komt.pack.pairs import both_answers
from komt.recipe import TrainPart
from komt.serve.lanes import in_lanes

# Computed, and then recorded, together.
_AT_A_TIME = 32


@dataclass(frozen=True, slots=True)
class PairLikelihood:
    """How likely a model holds the two answers of a pair, the chosen one first.

    Attributes:
        log_probs: of the whole answers after the prompt, their end tokens included, in nats.
        tokens: how many there are.
        same: whether both have the same tokens, so that neither can be preferred.
    """

    log_probs: tuple[float, float]
    tokens: tuple[int, int]
    same: bool = False


def is_pair(example: Example) -> bool:
    """Whether an example has a rejected answer beside the chosen one."""
    return bool(example.rejected)


def pair_examples(one: Asked) -> list[Example]:
    """The pairs that are asked for, each with the solved examples that are shown before it."""
    if not one.shots:
        return one.examples
    return [_with_prompt(example, with_shots(example, one.shots)) for example in one.examples]


def pair_likelihoods(
    engine: Any, examples: Sequence[Example], *, on_done: Callable[[int], None] | None = None
) -> list[PairLikelihood]:
    """Log-probabilities of both answers of each pair; what sequences begin with alike is computed once.

    Args:
        engine: one that tells log-likelihoods (`choices.can_choose`).
        examples: pairs.
        on_done: told the place of each that is finished.
    """
    asked: list[tuple[list[int], list[list[int]]]] = []
    for chosen, rejected in both_answers(engine.tokenizer, examples):
        start = int(np.argmax(chosen.weights > 0))  # the same for both: the prompt is encoded by itself
        ids = chosen.ids.tolist(), rejected.ids.tolist()
        asked.append((ids[0][:start], [one[start:] for one in ids]))
    found = log_likelihoods(engine, asked, on_done=on_done)
    return [
        PairLikelihood((first, second), (len(answers[0]), len(answers[1])), answers[0] == answers[1])
        for (first, second), (_, answers) in zip(found, asked, strict=True)
    ]


def prefer_recorded(
    engine: RecordedEngine, examples: Sequence[Example], *, on_done: Callable[[int], None] | None = None
) -> list[PairLikelihood]:
    """`pair_likelihoods`, each asked once: what is recorded is not computed again."""
    keys = [_key(example) for example in examples]
    known = engine.known(keys)
    first = {key: place for place, key in reversed(list(enumerate(keys))) if key not in known}
    for place, key in enumerate(keys):
        if on_done and first.get(key) != place:
            on_done(place)
    # Prompts that begin alike stand together: what they share is computed once.
    missing = sorted(first.values(), key=lambda at: [message.content for message in examples[at].prompt])
    jobs = [missing[start : start + _AT_A_TIME] for start in range(0, len(missing), _AT_A_TIME)]

    def computed(places: list[int]) -> list[PairLikelihood]:
        told = (lambda at: on_done(places[at])) if on_done else None
        return pair_likelihoods(engine.engine, [examples[place] for place in places], on_done=told)

    for places, found in in_lanes(engine.engine, computed, jobs) if jobs else ():
        new = {
            keys[place]: [list(one.log_probs), list(one.tokens), one.same]
            for place, one in zip(places, found, strict=True)
        }
        engine.keep(new)
        engine.asked += len(new)
        known |= new
    return [_recorded(known[key]) for key in keys]


def _key(example: Example) -> str:
    return hash_of(["pair", example.chosen, example.rejected, _prompt_hash(example)])


def _prompt_hash(example: Example) -> str:
    return hash_of([[message.role, message.content] for message in example.prompt])


def _recorded(value: Any) -> PairLikelihood:
    (chosen, rejected), (first, second), same = value
    return PairLikelihood((chosen, rejected), (first, second), same)


def _with_prompt(example: Example, prompt: tuple[Message, ...]) -> Example:
    return replace(example, messages=(*prompt, Message("assistant", example.chosen, supervised=True)))


def scored_pairs(
    one: Asked,
    found: Sequence[PairLikelihood],
    *,
    name: str,
    before: Sequence[PairLikelihood] | None = None,
    train: TrainPart | None = None,
) -> list[Answered]:
    """Pairs as scored answers, by the metrics of `pairs.pair_values`; the likelier answer counts as given.

    Args:
        one: what was asked.
        found: how likely the model holds the answers of each pair.
        name: the model's name in score tables.
        before: how likely the policy held them that training started from, for rewards; None: no rewards.
        train: of the recipe that trained on pairs, for its beta and its loss.
    """
    return _answered(one.examples, found, name, before, train, shots=len(one.shots), order=one.order)


def trained_pairs(path: Path, examples: Sequence[Example], train: TrainPart) -> dict[str, list[Answered]]:
    """What a training wrote of its held-out pairs, as answers of `base` and `tuned`; {} where it wrote none.

    `base` is the policy that training started from; what compares with it is of `tuned` alone.

    Args:
        path: of `pairs.json`.
        examples: the evaluation examples of the data it was trained on.
        train: of its recipe.
    """
    pairs = json.loads(path.read_text(encoding="utf-8"))["pairs"] if path.is_file() else []
    if not pairs:
        return {}
    by_id = {example.id: example for example in examples}
    own = [by_id[pair["id"]] for pair in pairs]
    before, after = (
        [_recorded([pair[column], pair["tokens"], False]) for pair in pairs]
        for column in ("reference", "log_probs")
    )
    return {
        "base": _answered(own, before, "base", None, None),
        "tuned": _answered(own, after, "tuned", before, train),
    }


def _answered(
    examples: Sequence[Example],
    found: Sequence[PairLikelihood],
    name: str,
    before: Sequence[PairLikelihood] | None,
    train: TrainPart | None,
    *,
    shots: int = 0,
    order: str = "",
) -> list[Answered]:
    values = pair_values(
        np.array([pair.tokens for pair in found], np.float64),
        np.array([pair.log_probs for pair in found], np.float64),
        np.array([pair.log_probs for pair in before], np.float64) if before is not None else None,
        train,
    )
    answered = []
    for place, (example, pair) in enumerate(zip(examples, found, strict=True)):
        scores = {
            metric: Score(None if pair.same else float(column[place])) for metric, column in values.items()
        }
        # Pairs on one prompt are easy or hard together.
        example = replace(example, group=example.group or _prompt_hash(example))
        likelier = example.chosen if pair.log_probs[0] >= pair.log_probs[1] else example.rejected
        answered.append(Answered(name, example, likelier, True, scores, shots, "loglikelihood", order))
    return answered
