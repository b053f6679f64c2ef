"""What the model reads and what it is trained on, token by token, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np

from komt.pack.encode import TokenSequence

Kind = Literal["prompt", "answer", "ignored"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring tokens of one kind.

    Attributes:
        kind: "answer" is trained on; "prompt" is read by an answer after it; "ignored" stands after the last
            answer, so that nothing is learnt from it.
        text: special tokens spelled out; ids: the tokens.
    """

    kind: Kind
    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A sequence in pieces."""

    example: str
    task: str
    pieces: tuple[Piece, ...]


def sample(tokenizer: Any, sequence: TokenSequence) -> Sample:
    """A sequence as pieces of prompt, answer and ignored tokens."""
    trained = np.flatnonzero(sequence.weights[1:] > 0) + 1
    last = int(trained[-1]) if len(trained) else -1
    answers = set(trained.tolist())

    def kind(place: int) -> Kind:
        if place in answers:
            return "answer"
        return "prompt" if place < last else "ignored"

    pieces = []
    for name, places in groupby(range(len(sequence)), key=kind):
        ids = [int(sequence.ids[place]) for place in places]
        pieces.append(Piece(name, decode(tokenizer, ids), tuple(ids)))
    return Sample(sequence.example, sequence.task, tuple(pieces))


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Tokens as text, special ones spelled out."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def choose(sequences: Sequence[TokenSequence], count: int, seed: int) -> list[TokenSequence]:
    """`count` sequences to look at, of as many tasks as there is room for; the same seed, the same ones."""
    order = np.random.default_rng(seed).permutation(len(sequences))
    rounds: dict[str, int] = {}
    keyed = []
    for place in order:
        task = sequences[place].task
        rounds[task] = rounds.get(task, 0) + 1
        keyed.append((rounds[task], task, int(place)))
    return [sequences[place] for _, _, place in sorted(keyed)[:count]]
