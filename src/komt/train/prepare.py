"""From training rows to checked sequences and planned steps: the first second of every training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from komt.errors import DataError
from komt.example import Example
from komt.mix import Manifest, read_examples
from komt.models.place import Place
from komt.pack.encode import TokenSequence, encode
from komt.pack.pairs import plan_pairs
from komt.pack.plan import Step, plan_steps
from komt.recipe import Recipe
from komt.train.finding import stop_if_spoiled
from komt.train.pairs import PairSet, read_pairs
from komt.train.preflight import Facts, Serve, preflight, supervised_only
from komt.train.processes import is_main


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What a training learns from, encoded.

    Attributes:
        examples: of `train.parquet`; () once they have been checked.
        sequences: their supervised turns; of preference pairs the chosen and the rejected answer in turn.
        pairs: for the objectives dpo and ipo, else None.
    """

    examples: Sequence[Example]
    sequences: list[TokenSequence]
    pairs: PairSet | None = None

    def supervised(self) -> TrainingRows:
        """Only the sequences with a token to train on; pairs have such tokens always."""
        return self if self.pairs else replace(self, sequences=supervised_only(self.sequences))

    def plan(self, recipe: Recipe, way: str, fill: int) -> list[Step]:
        """The whole training as steps over the sequences; `way` and `fill` as the loop takes them."""
        pack = recipe.pack.model_copy(update={"share": way == "shared"})
        how = pack, recipe.train, recipe.seed, fill
        return plan_pairs(self.pairs.train, *how) if self.pairs else plan_steps(self.sequences, *how)


def read_rows(recipe: Recipe, tokenizer: Any, data: Path) -> TrainingRows:
    """Read and encode `data/train.parquet`.

    Raises:
        DataError: an example is no pair, and the objective needs pairs.
    """
    examples = read_examples(data / "train.parquet")
    if recipe.train.objective == "sft":
        return TrainingRows(examples, encode(tokenizer, examples, recipe.train.supervise))
    pairs = read_pairs(tokenizer, examples, data)
    return TrainingRows(examples, pairs.sequences, pairs)


def facts_of(
    recipe: Recipe,
    tokenizer: Any,
    place: Place,
    rows: TrainingRows,
    *,
    manifest: Manifest | None = None,
    serve: Serve | None = None,
) -> Facts:
    """What `preflight` finds in the rows of a recipe; `manifest` and `serve` as it takes them."""
    return preflight(
        tokenizer,
        rows.examples,
        rows.sequences,
        allow_unsupervised=recipe.train.unsupervised == "skip",
        manifest=manifest,
        folder=place.folder,
        serve=serve,
    )


def prepared(recipe: Recipe, tokenizer: Any, place: Place, data: Path, *, check: bool = True) -> TrainingRows:
    """The rows of `data/train.parquet` that are trained on.

    Args:
        recipe: the whole recipe.
        tokenizer: of the model.
        place: of the model.
        data: what `build` made.
        check: look at them first (not again when a run is resumed).

    Raises:
        DataError: no supervised turn, a sequence over `pack.tokens`, rows without a token to train on.
        ModelError: the template's BOS, end token or prompts would spoil the training.
    """
    rows = read_rows(recipe, tokenizer, data)
    if check:
        facts = facts_of(recipe, tokenizer, place, rows)
        stop_if_spoiled(facts.findings)
        if is_main():
            print(facts, file=sys.stderr)
            for finding in facts.findings:
                print(f"warning: {finding.what} ({finding.where})", file=sys.stderr)
    rows = replace(rows.supervised(), examples=())  # they are not needed any more, and may be large
    _check_sequences(rows.sequences, recipe)
    return rows


def _check_sequences(sequences: list[TokenSequence], recipe: Recipe) -> None:
    """There are sequences, and none is longer than a bin.

    Raises:
        DataError: otherwise.
    """
    if not sequences:
        raise DataError("the training data holds no supervised turn", cure="komt build RECIPE --show-rejects")
    longest = max(sequences, key=len)
    if len(longest) > recipe.pack.tokens:
        raise DataError(
            f"an example of {len(longest)} tokens is longer than pack.tokens ({recipe.pack.tokens})",
            where=f"task {longest.task}, example {longest.example}",
            cure="build again with data.over_long shorten or drop, or raise pack.tokens",
        )
