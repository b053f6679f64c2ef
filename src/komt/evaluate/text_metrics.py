"""Metrics of longer texts: ROUGE-L over characters, chrF."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from komt.errors import need
from komt.evaluate.metrics import OverReferences
from komt.korean import nfc


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of characters, white space ignored; 0 to 1.

    Characters, not words: Korean particles and endings are written together with their words, so that
    ROUGE over words calls 학교에 and 학교에서 unrelated. F1 (beta 1) as the package rouge_score computes it
    (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries").
    """
    given, right = ("".join(nfc(text).split()) for text in (answer, reference))
    common = _common_subsequence(given, right)
    return 2 * common / (len(given) + len(right)) if common else 0.0


def chrf(answer: str, reference: str) -> float:
    """chrF2, as sacrebleu's sentence score of one reference computes it, over 100; 0 to 1.

    Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation": characters up to 6-grams
    without white space, beta 2.

    Raises:
        MissingExtra: sacrebleu is not installed.
    """
    return float(_chrf().sentence_score(nfc(answer), [nfc(reference)]).score) / 100


@lru_cache(maxsize=1)
def _chrf() -> Any:
    return need("sacrebleu", extra="eval").CHRF()


def _common_subsequence(first: str, second: str) -> int:
    """Length of the longest common subsequence, by the bits of integers (Hyyrö 2004).

    A zero at bit i says that the subsequence grows at the i-th character of `first`.
    """
    places: dict[str, int] = {}
    for at, character in enumerate(first):
        places[character] = places.get(character, 0) | 1 << at
    full = (1 << len(first)) - 1
    row = full
    for character in second:
        matched = row & places.get(character, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(first) - row.bit_count()


ROUGE_L, CHRF = OverReferences(rouge_l), OverReferences(chrf)
