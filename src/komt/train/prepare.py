"""From training rows to checked sequences: the first second of every training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from komt.errors import DataError
from komt.mix import read_examples
from komt.models.place import Place
from komt.pack.encode import TokenSequence, encode
from komt.recipe import Recipe
from komt.train.finding import stop_if_spoiled
from komt.train.preflight import preflight, supervised_only
from komt.train.processes import is_main


def prepared(
    recipe: Recipe, tokenizer: Any, place: Place, data: Path, *, check: bool = True
) -> list[TokenSequence]:
    """The sequences of `data/train.parquet` that are trained on.

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
    examples = read_examples(data / "train.parquet")
    sequences = encode(tokenizer, examples, recipe.train.supervise)
    if check:
        allow = recipe.train.unsupervised == "skip"
        facts = preflight(tokenizer, examples, sequences, allow_unsupervised=allow, folder=place.folder)
        stop_if_spoiled(facts.findings)
        if is_main():
            print(facts, file=sys.stderr)
            for finding in facts.findings:
                print(f"warning: {finding.what} ({finding.where})", file=sys.stderr)
    sequences = supervised_only(sequences)
    check_sequences(sequences, recipe)
    return sequences


def check_sequences(sequences: list[TokenSequence], recipe: Recipe) -> None:
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
