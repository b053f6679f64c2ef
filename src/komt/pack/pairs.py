"""Preference pairs: two answers to one prompt, planned and packed as two branches of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from komt.errors import DataError
from komt.example import Example, Message
from komt.files import hash_of
from komt.pack.bins import fill_bins
from komt.pack.encode import TokenSequence, encode
from komt.pack.plan import Step, packed_tokens, plan_steps
from komt.recipe import PackPart, TrainPart


@dataclass(frozen=True, slots=True)
class Pair:
    """The better and the worse answer to one prompt, each with the prompt before it."""

    chosen: TokenSequence
    rejected: TokenSequence

    @property
    def answer_tokens(self) -> tuple[int, int]:
        """Tokens of the two answers, their end tokens included."""
        return int((self.chosen.weights > 0).sum()), int((self.rejected.weights > 0).sum())


def encode_pairs(tokenizer: Any, examples: Sequence[Example]) -> list[Pair]:
    """The pairs of examples with a rejected answer; only the last answer counts, no earlier turn.

    Raises:
        DataError: an example has no rejected answer, or both answers have the same tokens.
    """
    for example in examples:
        if not example.rejected:
            raise DataError(
                "an example has no rejected answer to prefer the chosen one to",
                where=f"task {example.task}, example {example.id}",
                cure="train.objective=sft, or only tasks and files of preference pairs under data",
            )
    pairs = []
    for one, other in both_answers(tokenizer, examples):
        if np.array_equal(one.ids, other.ids):
            raise DataError(
                "the chosen and the rejected answer have the same tokens",
                where=f"task {one.task}, example {one.example}",
                cure="take the pair out of the data",
            )
        # Pairs over one prompt belong together, as examples over one passage do.
        prompt = one.ids[: int(np.argmax(one.weights > 0))]
        group = one.group or hash_of(prompt.tolist())
        pairs.append(Pair(replace(one, group=group), replace(other, group=group)))
    return pairs


def both_answers(tokenizer: Any, examples: Sequence[Example]) -> list[tuple[TokenSequence, TokenSequence]]:
    """Of each pair its prompt with the chosen answer and with the rejected one; only that answer counts."""
    chosen = encode(tokenizer, [_with_answer(example, example.chosen) for example in examples])
    rejected = encode(tokenizer, [_with_answer(example, example.rejected) for example in examples])
    return list(zip(chosen, rejected, strict=True))


def answered(examples: Iterable[Example]) -> list[Example]:
    """Examples, and of each preference pair the same with its rejected answer in place of the chosen one."""
    return [
        each
        for example in examples
        for each in ([example, _with_answer(example, example.rejected)] if example.rejected else [example])
    ]


def sequences_of(pairs: Sequence[Pair]) -> list[TokenSequence]:
    """All sequences: of pair i the chosen one at 2 i, the rejected one after it."""
    return [sequence for pair in pairs for sequence in (pair.chosen, pair.rejected)]


def plan_pairs(
    pairs: Sequence[Pair], pack: PackPart, train: TrainPart, seed: int, fill: int = 0
) -> list[Step]:
    """The whole training as steps over `sequences_of(pairs)`, as `plan_steps` makes them of examples.

    Both sequences of a pair stand in one bin, side by side; a step's weight is its number of pairs.
    """
    sequences = sequences_of(pairs)
    steps = plan_steps([_joined(pair, pack.share) for pair in pairs], pack, train, seed, fill)
    return [_step_of(step, sequences, pack.share) for step in steps]


def pair_bins(pairs: Sequence[Pair], pack: PackPart, fill: int = 0) -> list[tuple[int, ...]]:
    """Bins over `sequences_of(pairs)` that hold every pair once: for log-probabilities without training."""
    joined = [_joined(pair, pack.share).ids for pair in pairs]
    return [_both(members) for members in fill_bins(joined, pack, fill)]


def _with_answer(example: Example, answer: str) -> Example:
    prompt = tuple(replace(message, supervised=False) for message in example.prompt)
    return replace(example, messages=(*prompt, Message("assistant", answer, supervised=True)))


def _joined(pair: Pair, share: bool) -> TokenSequence:
    """A pair as one sequence of as many tokens as it takes packed; its weight is 1."""
    start = int(np.argmax(pair.rejected.weights > 0)) if share else 0
    ids = np.concatenate([pair.chosen.ids, pair.rejected.ids[start:]])
    weights = np.zeros(len(ids), np.float32)
    weights[-1] = 1.0
    return replace(pair.chosen, ids=ids, weights=weights)


def _both(members: Iterable[int]) -> tuple[int, ...]:
    return tuple(place for member in members for place in (2 * member, 2 * member + 1))


def _step_of(step: Step, sequences: Sequence[TokenSequence], share: bool) -> Step:
    bins = tuple(_both(members) for members in step.bins)
    flat = sum(len(sequences[place]) for members in bins for place in members)
    tokens = packed_tokens(([sequences[place].ids for place in members] for members in bins), share=share)
    return replace(step, bins=bins, tokens=sum(tokens), flat_tokens=flat, bin_tokens=tokens)
