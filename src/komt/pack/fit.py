"""Over-long examples: dropped, shortened around their evidence, or an error; never cut in silence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from komt.errors import DataError
from komt.example import Evidence, Example, Message
from komt.models.load import load_tokenizer
from komt.models.resolve import resolve
from komt.models.template import end_text
from komt.pack.encode import encode, encode_answers, prompt_ids, split_turn
from komt.pack.pairs import answered

Fit = Callable[[Example], tuple[Example | None, str]]
Ints = npt.NDArray[np.int64]
_KIND = re.compile(r'"type":\s*"(\w+)"')
# Normalisers of `tokenizers` that make no text longer than it is; texts are NFC already.
_SAME_LENGTH = {"Sequence", "Replace", "Prepend", "NFC", "Strip", "ByteLevel"}


@dataclass(frozen=True, slots=True)
class BatchFit:
    """`make_fit` for many examples at a time, by a model's name, so that other processes can be given it.

    Attributes:
        model, remote_code: as `models.resolve.resolve` takes them.
        limit, over_long: as `make_fit` takes them.
    """

    model: str
    remote_code: bool
    limit: int
    over_long: Literal["shorten", "drop", "error"]

    def __call__(self, examples: Sequence[Example]) -> list[tuple[Example | None, str]]:
        """For each example the one that fits, or None, and "", "shortened" or "over_long"."""
        tokenizer = tokenizer_named(self.model, self.remote_code)
        fit = make_fit(tokenizer, self.limit, self.over_long)
        longest = dict.fromkeys((example.id for example in examples), 0)
        for sequence in encode(tokenizer, answered(examples)):
            longest[sequence.example] = max(longest[sequence.example], len(sequence))
        return [(example, "") if longest[example.id] <= self.limit else fit(example) for example in examples]

    def surely(self, sizes: Ints, messages: Ints) -> npt.NDArray[np.bool_]:
        """Which examples fit in any case, by the bytes of their messages together, and their number."""
        frame, tokens_per_byte = _bounds(self.model, self.remote_code)
        return np.asarray(sizes * tokens_per_byte + messages * frame <= self.limit)

    def tokens(self, examples: Sequence[Example]) -> list[tuple[Sequence[int], int]]:
        """The ids of each example's longest sequence, and how many of them are its answer's."""
        longest: dict[str, tuple[Sequence[int], int]] = {example.id: ((), 0) for example in examples}
        for sequence in encode(tokenizer_named(self.model, self.remote_code), examples):
            if len(sequence) > len(longest[sequence.example][0]):
                answer = int((sequence.weights > 0).sum())
                longest[sequence.example] = (sequence.ids.tolist(), answer)
        return [longest[example.id] for example in examples]


@lru_cache(maxsize=1)
def tokenizer_named(model: str, remote_code: bool) -> Any:
    """The tokenizer of a model, which a process loads once."""
    return load_tokenizer(resolve(model, remote_code=remote_code))


@lru_cache(maxsize=1)
def _bounds(model: str, remote_code: bool) -> tuple[int, float]:
    """At most so many tokens of the template a message, and so many tokens a byte of its text."""
    tokenizer = tokenizer_named(model, remote_code)
    asked, answered = Message("user", "가"), Message("assistant", "나")
    _, answer = split_turn(tokenizer, (asked, answered), end_text(tokenizer))
    frame = 1 + len(prompt_ids(tokenizer, (asked,))) + len(encode_answers(tokenizer, [answer])[0])
    return frame, most_tokens_per_byte(tokenizer)


def most_tokens_per_byte(tokenizer: Any) -> float:
    """No text of a few characters or more is encoded to more tokens a byte of its UTF-8 than this.

    A token stands for a byte at least: of the text as the tokenizer normalises it, which may be longer where
    that takes ligatures and the like apart (NFKC: ㎏ to kg, ㈜ to (주)).
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return math.inf
    normalizer = backend.normalizer
    kinds = set(_KIND.findall(normalizer.__getstate__().decode())) if normalizer else set()
    return 1.0 if kinds <= _SAME_LENGTH else 4.0


_BREAKS = " \n"


def make_fit(
    tokenizer: Any, limit: int, over_long: Literal["shorten", "drop", "error"], reserve: int = 0
) -> Fit:
    """A function that returns an example that fits, or None, with the reason ("", "shortened", "over_long").

    Args:
        tokenizer: with a chat template.
        limit: tokens that a whole sequence, answer and end token included, may hold.
        over_long: what happens to longer ones.
        reserve: tokens kept free for an answer that is generated (evaluation).
    """

    def fit(example: Example) -> tuple[Example | None, str]:
        if _tokens(tokenizer, example, reserve) <= limit:
            return example, ""
        if over_long == "error":
            raise DataError(
                f"an example of {_tokens(tokenizer, example, reserve)} tokens is over the limit of {limit}",
                where=f"task {example.task}, example {example.id}",
                cure="raise pack.tokens, or set data.over_long to shorten or drop",
            )
        shorter = _shortened(tokenizer, example, limit, reserve) if over_long == "shorten" else None
        return (shorter, "shortened") if shorter else (None, "over_long")

    return fit


def _tokens(tokenizer: Any, example: Example, reserve: int) -> int:
    """Length of the example's longest sequence, or of its prompt and the reserve if that is more."""
    longest = max((len(sequence) for sequence in encode(tokenizer, answered([example]))), default=0)
    return max(longest, len(prompt_ids(tokenizer, example.prompt)) + reserve if reserve else 0)


def _shortened(tokenizer: Any, example: Example, limit: int, reserve: int) -> Example | None:
    """Keep as much of the passage around the evidence as fits, by bisection; None if nothing would stay."""
    span = example.metadata.get("passage")
    if not span:
        return None
    place, start, end = span
    low, high, best = 0, end - start, None
    while low <= high:
        middle = (low + high) // 2
        candidate = _keep(example, place, start, end, middle)
        if _tokens(tokenizer, candidate, reserve) <= limit:
            low, best = middle + 1, candidate
        else:
            high = middle - 1
    return best if best and best.metadata["passage"][2] > start else None


def _keep(example: Example, place: int, start: int, end: int, budget: int) -> Example:
    """The example with at most about `budget` characters of its passage, cut at spaces."""
    text = example.messages[place].content
    evidence = example.evidence
    if evidence and evidence.message == place and start <= evidence.start <= evidence.end <= end:
        centre_start, centre_end = evidence.start, evidence.end
    else:
        centre_start = centre_end = start  # nothing to keep in view: the passage's beginning
    spare = max(0, budget - (centre_end - centre_start))
    left = min(centre_start - start, max(spare // 2, spare - (end - centre_end)))
    first = _word_start(text, start, centre_start - left, centre_start)
    last = _word_end(text, end, min(end, centre_end + spare - left), centre_end)
    message = replace(example.messages[place], content=text[:start] + text[first:last] + text[end:])
    messages: tuple[Message, ...] = (*example.messages[:place], message, *example.messages[place + 1 :])
    if evidence and evidence.message == place:
        shift = start - first
        evidence = Evidence(place, evidence.start + shift, evidence.end + shift)
    metadata = {**example.metadata, "passage": [place, start, start + last - first]}
    return replace(example, messages=messages, evidence=evidence, metadata=metadata)


def _word_start(text: str, first: int, cut: int, keep: int) -> int:
    """The first word beginning at or after `cut`, but no later than what must be kept."""
    while first < cut < keep and text[cut - 1] not in _BREAKS:
        cut += 1
    return cut


def _word_end(text: str, last: int, cut: int, keep: int) -> int:
    """The last word ending at or before `cut`, but no earlier than what must be kept."""
    while keep < cut < last and text[cut] not in _BREAKS:
        cut -= 1
    return cut
