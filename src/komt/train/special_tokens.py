"""BOS, end and stop token in encoded data: a mistake here makes a model that babbles or never stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from komt.models.check import read_json
from komt.models.template import end_text, end_token_id
from komt.pack.encode import TokenSequence
from komt.train.finding import Finding, first_row, rows_that

Ints = npt.NDArray[np.int64]
_CHUNK = 4096
# Models that hold a table of positions: beyond it they fail.
_TABLES = {"biogpt", "codegen", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "opt", "openai-gpt"}


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """What is counted of each sequence, (S,) each.

    Attributes:
        supervised: tokens trained on; bos: BOS tokens; bos_first: 1 where it comes first.
        ended: 1 where the last token is the end token and trained on.
        ends_inside: trained end tokens after which the answer goes on.
        largest: the largest token id.
        expects_bos: whether sequences begin with BOS.
    """

    supervised: Ints
    bos: Ints
    bos_first: Ints
    ended: Ints
    ends_inside: Ints
    largest: Ints
    expects_bos: bool


def count_tokens(tokenizer: Any, sequences: Sequence[TokenSequence]) -> TokenCounts:
    """Count what is looked at in all sequences, a chunk of them at a time."""
    bos, end = tokenizer.bos_token_id, end_token_id(tokenizer)
    chunks = [sequences[start : start + _CHUNK] for start in range(0, len(sequences), _CHUNK)]
    parts = [_count_chunk(chunk, -1 if bos is None else bos, end) for chunk in chunks]
    counts = [np.concatenate(column) for column in zip(*parts, strict=True)] or [np.zeros(0, np.int64)] * 6
    supervised, is_bos, bos_first, ended, inside, largest = counts
    # A token that is BOS and end at once (GPT-NeoX and its kin) says nothing by its number.
    expects = bos is not None and bos != end and bool(bos_first.any())
    return TokenCounts(supervised, is_bos, bos_first, ended, inside, largest, expects)


def _count_chunk(chunk: Sequence[TokenSequence], bos: int, end: int) -> tuple[Ints, ...]:
    ids = np.concatenate([sequence.ids for sequence in chunk])
    lengths = [len(sequence) for sequence in chunk]
    starts = np.array([0, *accumulate(lengths)][:-1])
    lasts = starts + np.array(lengths) - 1
    trained = np.concatenate([sequence.weights for sequence in chunk]) > 0
    trained[starts] = False  # nothing predicts a sequence's first token
    goes_on = np.zeros(len(ids), bool)
    goes_on[:-1] = (ids[:-1] == end) & trained[:-1] & trained[1:]

    def sums(marks: npt.NDArray[np.bool_]) -> Ints:
        return np.add.reduceat(marks.astype(np.int64), starts)

    return (
        sums(trained),
        sums(ids == bos),
        (ids[starts] == bos).astype(np.int64),
        ((ids[lasts] == end) & trained[lasts]).astype(np.int64),
        sums(goes_on)
        * (sums(trained) + 1 < lengths),  # where all of a text is trained on, turns follow turns
        np.maximum.reduceat(ids, starts).astype(np.int64),
    )


def token_findings(
    tokenizer: Any, sequences: Sequence[TokenSequence], tokens: TokenCounts, folder: Path | None
) -> list[Finding]:
    """What is wrong with BOS, the end token, and the stop token and vocabulary of the base in `folder`."""
    found = [
        *_empty_answers(sequences, tokens),
        *_bos_findings(tokenizer, sequences, tokens),
        *_end_findings(tokenizer, sequences, tokens),
    ]
    if folder is not None:
        found += [*_stop_findings(tokenizer, folder), *_vocabulary_findings(folder, sequences, tokens)]
        found += _position_findings(folder, sequences)
    return found


def _empty_answers(sequences: Sequence[TokenSequence], tokens: TokenCounts) -> Iterator[Finding]:
    places = np.flatnonzero((tokens.supervised == 1) & (tokens.ended == 1))
    if len(places):
        first = sequences[int(places[0])]
        yield Finding(
            "warning",
            f"{rows_that(len(places), 'has', 'have')} an empty answer: only the end token is trained on",
            where=first_row(first.task, first.example),
            cure="look at these rows: they teach the model to say nothing",
        )


def _bos_findings(
    tokenizer: Any, sequences: Sequence[TokenSequence], tokens: TokenCounts
) -> Iterator[Finding]:
    if not tokens.expects_bos:
        return
    bos = tokenizer.bos_token
    without = np.flatnonzero(tokens.bos_first == 0)
    if len(without):
        first = sequences[int(without[0])]
        yield Finding(
            "error",
            f"{rows_that(len(without), 'does', 'do')} not begin with {bos}, others do",
            where=first_row(first.task, first.example),
            cure="mend the model's chat template: it writes BOS for some conversations only",
            about="model",
        )
    doubled = [int(i) for i in np.flatnonzero(tokens.bos > 1)]
    at_start = [i for i in doubled if sequences[i].ids[1] == tokenizer.bos_token_id]
    inside = [i for i in doubled if i not in set(at_start)]
    if at_start:
        first = sequences[at_start[0]]
        yield Finding(
            "error",
            f"{rows_that(len(at_start), 'begins', 'begin')} with {bos} twice",
            where=first_row(first.task, first.example),
            cure="mend the model's chat template, or take the token out of the texts",
            about="model",
        )
    if inside:
        yield _spelled_out(sequences, inside, "holds", "hold", f"{bos} in the midst of its text")


def _end_findings(
    tokenizer: Any, sequences: Sequence[TokenSequence], tokens: TokenCounts
) -> Iterator[Finding]:
    end = end_text(tokenizer)
    number = end_token_id(tokenizer)
    if number == tokenizer.unk_token_id:
        yield Finding(
            "error",
            f"the end token {end} is no token of its own: the tokenizer reads it as unknown",
            cure="use a tokenizer whose vocabulary holds the token that its template ends an answer with",
            about="model",
        )
    endless = np.flatnonzero((tokens.ended == 0) & (tokens.supervised > 0))
    if len(endless):
        first = sequences[int(endless[0])]
        yield Finding(
            "error",
            f"{rows_that(len(endless), 'does', 'do')} not train the end token {end}: the model would "
            "not learn to stop",
            where=first_row(first.task, first.example),
            cure="mend the model's chat template: an answer must end in it",
            about="model",
        )
    inside = [int(i) for i in np.flatnonzero(tokens.ends_inside)]
    if inside:
        yield _spelled_out(sequences, inside, "goes on", "go on", f"after {end} in what is trained on")


def _spelled_out(
    sequences: Sequence[TokenSequence], places: list[int], one: str, many: str, what: str
) -> Finding:
    first = sequences[places[0]]
    return Finding(
        "warning",
        f"{rows_that(len(places), one, many)} {what}: a special token is spelled out",
        where=first_row(first.task, first.example),
        cure="take it out of the data, unless it is meant",
    )


def stop_tokens(folder: Path) -> tuple[int, ...]:
    """The tokens at which other programs stop by themselves: those of the model's generation config."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            named = read_json(folder / name).get("eos_token_id")
            if named is not None:
                return tuple(named) if isinstance(named, list) else (int(named),)
    return ()


def _stop_findings(tokenizer: Any, folder: Path) -> Iterator[Finding]:
    stops, end = stop_tokens(folder), end_token_id(tokenizer)
    if end not in stops:
        named = ", ".join(str(tokenizer.convert_ids_to_tokens(stop)) for stop in stops) or "none"
        yield Finding(
            "warning",
            f"the end token is {end_text(tokenizer)}, but the base's generation config stops at {named}: "
            "programs that put the adapter on the base by themselves do not stop there",
            where=str(folder / "generation_config.json"),
            cure="komt's chat, API and merged exports stop there; tell other programs, or use komt export",
            about="model",
        )


def _position_findings(folder: Path, sequences: Sequence[TokenSequence]) -> Iterator[Finding]:
    config = _configuration(folder)
    text = config.get("text_config") or config
    most = text.get("max_position_embeddings") or text.get("n_positions")
    longer = [sequence for sequence in sequences if most and len(sequence) > most]
    if longer:
        yield Finding(
            "error" if text.get("model_type") in _TABLES else "warning",
            f"{rows_that(len(longer), 'is', 'are')} longer than the {most:,} tokens that the model was made "
            f"for (the longest has {max(map(len, longer)):,})",
            where=first_row(longer[0].task, longer[0].example),
            cure=f"build with pack.tokens={most} and data.over_long shorten or drop, or take another model",
        )


def _configuration(folder: Path) -> dict[str, Any]:
    return read_json(folder / "config.json") if (folder / "config.json").is_file() else {}


def _vocabulary_findings(
    folder: Path, sequences: Sequence[TokenSequence], tokens: TokenCounts
) -> Iterator[Finding]:
    config = _configuration(folder)
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    beyond = np.flatnonzero(tokens.largest >= size) if size else np.zeros(0, np.int64)
    if len(beyond):
        first = sequences[int(beyond[0])]
        yield Finding(
            "error",
            f"{rows_that(len(beyond), 'has', 'have')} tokens beyond the model's vocabulary of {size:,} "
            f"(the largest is {int(tokens.largest.max()):,})",
            where=first_row(first.task, first.example),
            cure="use the tokenizer that belongs to the model; added tokens need rows in its embedding",
            about="model",
        )
