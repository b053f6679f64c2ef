"""Preference pairs in a training: read from the data, put into the loop, the held-out ones scored after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.example import Example
from komt.files import write_json
from komt.mix import read_examples
from komt.pack.encode import TokenSequence
from komt.pack.pairs import Pair, encode_pairs, sequences_of
from komt.train.loop import Loop
from komt.train.preference import Floats, Preference, log_probs_of, reference_log_probs
from komt.train.processes import is_main

HELD_OUT = "pairs.json"


@dataclass(frozen=True, slots=True)
class PairSet:
    """The pairs that are trained on, their sequences, and those that are only scored."""

    train: list[Pair]
    sequences: list[TokenSequence]
    held_out: list[Pair]


@dataclass(frozen=True, slots=True)
class ReferencedPairs:
    """Held-out pairs and what the starting policy makes of them.

    Attributes:
        pairs: any number.
        reference: log-probabilities of their answers, (2 P,), of each pair the chosen one first.
        fill: up to how many tokens bins are filled, as `plan_pairs` takes it.
    """

    pairs: list[Pair]
    reference: Floats
    fill: int = 0


def read_pairs(tokenizer: Any, examples: Sequence[Example], data: Path) -> PairSet:
    """The pairs of a data folder; of its evaluation examples those that are pairs.

    Args:
        tokenizer: of the model.
        examples: of `data/train.parquet`.
        data: the folder.

    Raises:
        DataError: a training example is no pair.
    """
    train = encode_pairs(tokenizer, examples)
    held = data / "evaluate.parquet"
    others = [one for one in read_examples(held) if one.rejected] if held.is_file() else []
    return PairSet(train, sequences_of(train), encode_pairs(tokenizer, others))


def prefer(loop: Loop, pairs: PairSet, out: Path, revision: str, fill: int = 0) -> ReferencedPairs:
    """Set a loop's objective to the recipe's, against the policy that its model is now.

    Args:
        loop: before its first step, and before a checkpoint is loaded.
        pairs: the loop's sequences are those of its training pairs.
        out: folder of the training, in which the reference's log-probabilities are kept.
        revision: of the model that training starts from.
        fill: as `plan_pairs` takes it.

    Returns:
        The held-out pairs, for `write_held_out` and for figures on the way.
    """
    found = reference_log_probs(out, loop, revision, [*pairs.train, *pairs.held_out], fill)
    own, others = found[: len(pairs.sequences)], found[len(pairs.sequences) :]
    train, alone = loop.recipe.train, loop.way == "single"
    loop.objective = Preference(train.objective, train.preference, pairs.sequences, own, alone)
    loop.together = 2
    return ReferencedPairs(pairs.held_out, others, fill)


def write_held_out(loop: Loop, held: ReferencedPairs, out: Path) -> None:
    """Write `pairs.json`: of each held-out pair what the trained model and the reference make of it.

    Values come in twos, of the chosen and of the rejected answer: `tokens`, `log_probs` and `reference`
    (log-probability of the whole answer in nats).
    """
    found = log_probs_of(loop, held.pairs, held.fill).reshape(-1, 2).tolist()
    before = held.reference.reshape(-1, 2).tolist()
    rows = [
        {
            "id": pair.chosen.example,
            "task": pair.chosen.task,
            "group": pair.chosen.group,
            "tokens": list(pair.answer_tokens),
            "log_probs": own,
            "reference": other,
        }
        for pair, own, other in zip(held.pairs, found, before, strict=True)
    ]
    if is_main():
        write_json(out / HELD_OUT, {"beta": loop.recipe.train.preference.beta, "pairs": rows})
