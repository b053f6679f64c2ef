"""Correction of spelling and spacing: F0.5 of edits, counted as the M2 and ERRANT scorers count them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from komt.errors import DataError
from komt.evaluate.intervals import Floats, Statistic
from komt.evaluate.metrics import Score
from komt.example import Example
from komt.korean import nfc

Edit = tuple[int, int, str]

_BETA = 0.5
_LABEL = re.compile(
    r"^\s*(?:\*\*)?(?:바른|고친|고쳐\s*쓴|수정한?|수정된|교정한?|교정된|올바른|정답)\s*(?:문장|표기|글|결과)?\s*(?:\*\*)?\s*[:：]\s*(?:\*\*)?"
)
_QUOTES = (("“", "”"), ('"', '"'), ("‘", "’"), ("'", "'"), ("「", "」"))


def edits(source: str, target: str) -> list[Edit]:
    """What turns one sentence into another: (first eojeol, the one after the last, what stands there
    instead).

    Edits are as small as whole eojeols allow. The characters without white space are aligned (Levenshtein, as
    many eojeol boundaries together as the smallest distance allows), and wherever both sides have a
    boundary at the same place an edit ends: 할수있다 to 할 수 있다 is one edit, and 되요 beside it another.
    ERRANT's own rules join edits by English parts of speech, which Korean does not have.
    """
    words, others = nfc(source).split(), nfc(target).split()
    starts, ends = _boundaries(words), _boundaries(others)
    found = []
    cuts = _cuts("".join(words), "".join(others), set(starts), set(ends))
    for (one, other), (next_one, next_other) in pairwise(cuts):
        first, last = starts.index(one), starts.index(next_one)
        instead = others[ends.index(other) : ends.index(next_other)]
        if words[first:last] != instead:
            found.append((first, last, " ".join(instead)))
    return found


def _boundaries(words: Sequence[str]) -> list[int]:
    return list(accumulate(map(len, words), initial=0))


def _cuts(first: str, second: str, starts: set[int], ends: set[int]) -> list[tuple[int, int]]:
    """Places in both texts where both have a boundary, along the cheapest alignment."""
    # Costs are edits first, boundaries that fall together second.
    unit = len(first) + len(second) + 2
    rows = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i in range(len(first) + 1):
        row, above = rows[i], rows[i - 1]
        at_start = i in starts
        for j in range(len(second) + 1):
            if i and j:
                cost = min(
                    above[j - 1] + (unit if first[i - 1] != second[j - 1] else 0),
                    above[j] + unit,
                    row[j - 1] + unit,
                )
            else:
                cost = above[j] + unit if i else row[j - 1] + unit if j else 0
            row[j] = cost - (at_start and j in ends)
    cuts, i, j = [], len(first), len(second)
    while i or j:
        here = rows[i][j]
        if i in starts and j in ends:
            cuts.append((i, j))
            here += 1
        if i and j and here == rows[i - 1][j - 1] + (unit if first[i - 1] != second[j - 1] else 0):
            i, j = i - 1, j - 1
        elif i and here == rows[i - 1][j] + unit:
            i -= 1
        else:
            j -= 1
    return [(0, 0), *reversed(cuts)]


class CorrectionF:
    """F0.5 of the edits of all answers together: an edit that was not needed costs more than one that is
    missing.

    An edit is right if the right answer makes it at the same place with the same result. Of several right
    answers the one counts that gives this answer the higher F0.5.
    """

    def score(self, answer: str, example: Example) -> Score:
        """F0.5 of one answer; parts: edits that are right, needless or wrong ones, missing ones.

        `source`, the sentence to be corrected, is what the task keeps for its metrics. A label before the
        sentence and quotation marks around it are passed over. An empty answer makes no edits.

        Raises:
            DataError: the task keeps no source.
        """
        source = example.metadata.get("gold", {}).get("source")
        if source is None:
            raise DataError(
                "f0_5 needs the sentence that is to be corrected",
                where=f"example {example.id}",
                cure=f"let the task '{example.task}' derive `source`, and say `gold: [source]`",
            )
        sentence = _sentence(answer, example.references)
        given = set(edits(source, sentence)) if sentence else set()
        found = []
        for reference in example.references:
            right = set(edits(source, reference))
            parts = (len(given & right), len(given - right), len(right - given))
            found.append((float(_f(np.array([parts], np.float64))[0]), parts))
        if not found:
            return Score(None)
        value, parts = max(found, key=lambda one: (one[0], one[1][0], -one[1][1], -one[1][2]))
        return Score(value, chosen=None if sentence else "", parts=parts)

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """F0.5 of the summed counts."""
        table = np.array([score.parts or (0.0, 0.0, 0.0) for score in scores], np.float64)
        return lambda weights: _f(weights @ table)


def _sentence(answer: str, references: Sequence[str]) -> str:
    """The corrected sentence in an answer, without a label before it or quotation marks around it."""
    text = _LABEL.sub("", nfc(answer).strip()).strip()
    for opening, closing in _QUOTES:
        quoted = len(text) > 1 and text[0] == opening and text[-1] == closing
        if quoted and not any(reference.startswith(opening) for reference in references):
            text = text[1:-1].strip()
    return text


def _f(counts: Floats) -> Floats:
    """F0.5 of (right, wrong, missing) edits.

    As in ERRANT precision is 1 without wrong edits, and recall without missing ones.
    """
    right, wrong, missing = counts.T
    precision = np.divide(right, right + wrong, out=np.ones_like(right), where=wrong > 0)
    recall = np.divide(right, right + missing, out=np.ones_like(right), where=missing > 0)
    weighed = _BETA**2 * precision + recall
    product = (1 + _BETA**2) * precision * recall
    found: Floats = np.divide(product, weighed, out=np.zeros_like(weighed), where=weighed > 0)
    return found


F0_5 = CorrectionF()
