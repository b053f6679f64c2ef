"""ROUGE over characters and over morphemes, and the exact match and ROUGE-W of KLUE MRC."""

from __future__ import annotations

import string
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from komt.errors import need
from komt.evaluate.counts import f_score, match
from komt.evaluate.metrics import OverReferences
from komt.korean import nfc

Units = Callable[[str], Sequence[Hashable]]


def characters(text: str) -> str:
    """The characters of a text without white space.

    Characters, not words: Korean particles and endings are written together with their words, so that
    ROUGE over words calls 학교에 and 학교에서 unrelated.
    """
    return "".join(nfc(text).split())


@lru_cache(maxsize=4096)
def morphemes(text: str) -> tuple[str, ...]:
    """The morphemes of a text as Kiwi finds them: 학교에서 is 학교, 에서; endings keep their own form.

    Raises:
        MissingExtra: kiwipiepy is not installed.
    """
    return tuple(f"{token.form}/{token.tag}" for token in kiwi().tokenize(nfc(text)))


@lru_cache(maxsize=1)
def kiwi() -> Any:
    """The morphological analyser, loaded once (some seconds).

    Raises:
        MissingExtra: kiwipiepy is not installed.
    """
    return need("kiwipiepy", extra="eval").Kiwi(num_workers=1)


@dataclass(frozen=True, slots=True)
class Rouge:
    """F1 of what an answer and a reference share (Lin 2004, "ROUGE: A Package for Automatic Evaluation of
    Summaries").

    Attributes:
        units: what a text is cut into.
        length: of the n-grams compared; 0: the longest common subsequence (ROUGE-L).
    """

    units: Units
    length: int = 0

    def __call__(self, answer: str, reference: str) -> float:
        """F1 with beta 1, as the package rouge_score computes it; 0 where either text is empty."""
        given, right = self.units(answer), self.units(reference)
        if self.length:
            counts = match(_ngrams(given, self.length), _ngrams(right, self.length))
        else:
            counts = _common_subsequence(given, right), len(given), len(right)
        return f_score(*counts) if counts[0] else 0.0


def rouge_w(answer: str, reference: str) -> float:
    """ROUGE-W of KLUE MRC: F1 of the longest run of characters that both have, white space included.

    Both are normalised as `klue_exact_match` does. An empty reference (no answer in the passage) wants an
    empty answer.
    """
    given, right = _klue_normalised(answer), _klue_normalised(reference)
    if not right or not given:
        return float(given == right)
    # Its short cut passes over letters that a long text has often.
    matcher = SequenceMatcher(None, given, right, autojunk=False)
    run = matcher.find_longest_match(0, len(given), 0, len(right)).size
    return f_score(run, len(given), len(right))


def klue_exact_match(answer: str, reference: str) -> float:
    """1 if both are equal as KLUE MRC normalises them: lower case, no ASCII punctuation, single spaces.

    Other than KorQuAD's rule it leaves 《 》 ‘ ’ 〈 〉 where they are.
    """
    return float(_klue_normalised(answer) == _klue_normalised(reference))


_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _klue_normalised(text: str) -> str:
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def _ngrams(units: Sequence[Hashable], length: int) -> list[tuple[Hashable, ...]]:
    return [tuple(units[at : at + length]) for at in range(len(units) - length + 1)]


def _common_subsequence(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, by the bits of integers (Hyyrö 2004).

    A zero at bit i says that the subsequence grows at the i-th unit of `first`.
    """
    places: dict[Hashable, int] = {}
    for at, unit in enumerate(first):
        places[unit] = places.get(unit, 0) | 1 << at
    full = (1 << len(first)) - 1
    row = full
    for unit in second:
        matched = row & places.get(unit, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(first) - row.bit_count()


rouge_l = Rouge(characters)
ROUGE_1, ROUGE_2, ROUGE_L = (OverReferences(Rouge(characters, n)) for n in (1, 2, 0))
ROUGE_1_MORPH, ROUGE_2_MORPH, ROUGE_L_MORPH = (OverReferences(Rouge(morphemes, n)) for n in (1, 2, 0))
ROUGE_W, KLUE_EXACT_MATCH = OverReferences(rouge_w), OverReferences(klue_exact_match)
