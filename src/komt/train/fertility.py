"""Is a tokenizer fit for Korean? Tokens per syllable and per eojeol: the first thing to ask of a base."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.encodings import read_text
from komt.example import Example
from komt.pack.encode import encode_answers

_SYLLABLES = re.compile("[가-힣]+")
_ENOUGH_CHARACTERS = 200_000
_SAMPLE = Path(__file__).parents[1] / "sample" / "passages.train.json"
_CONTEXT = re.compile(r'"context": "([^"\\]+)"')
# A syllable is three bytes of UTF-8: a tokenizer that never saw Korean takes three tokens for it.
_MEANINGS = (
    (0.8, "it knows Korean: common words are whole tokens"),
    (1.2, "about a token a syllable: usable; the same text takes more tokens than with a Korean vocabulary"),
    (
        2.0,
        "many syllables fall into bytes: expect long sequences, slow training and slow answers",
    ),
    (float("inf"), "it hardly knows Korean: almost every syllable falls into bytes; choose another base"),
)


@dataclass(frozen=True, slots=True)
class Fertility:
    """How many tokens Korean text takes.

    Attributes:
        per_syllable: tokens by Hangul syllables, over the text's runs of syllables alone.
        per_eojeol: tokens by eojeols (words between spaces that hold Hangul), punctuation in them included.
        syllables, eojeols: how many were counted.
    """

    per_syllable: float
    per_eojeol: float
    syllables: int
    eojeols: int

    @property
    def meaning(self) -> str:
        """What the first figure means, in a sentence; of the tokenizer, not of what the model knows."""
        return next(text for most, text in _MEANINGS if self.per_syllable <= most)

    def __str__(self) -> str:
        return f"{self.per_syllable:.2f} tokens a syllable, {self.per_eojeol:.2f} an eojeol"


def fertility(tokenizer: Any, texts: Iterable[str]) -> Fertility | None:
    """Tokens per syllable and eojeol, of some 200,000 characters at most; None where there is no Hangul."""
    runs, words, seen = [], [], 0
    for text in texts:
        korean = [word for word in text.split() if _SYLLABLES.search(word)]
        words.append(" ".join(korean))
        runs.append(" ".join(_SYLLABLES.findall(text)))
        seen += len(text)
        if seen >= _ENOUGH_CHARACTERS:
            break
    syllables = sum(len(run) - run.count(" ") for run in runs)
    eojeols = sum(len(word.split()) for word in words)
    if not syllables:
        return None
    return Fertility(
        _tokens(tokenizer, runs) / syllables, _tokens(tokenizer, words) / eojeols, syllables, eojeols
    )


def _tokens(tokenizer: Any, texts: list[str]) -> int:
    return sum(map(len, encode_answers(tokenizer, [text for text in texts if text])))


def sample_texts() -> list[str]:
    """The passages that come with komt: the same text for every tokenizer, so that figures compare."""
    return _CONTEXT.findall(read_text(_SAMPLE))


def texts_of(examples: Iterable[Example]) -> Iterable[str]:
    """What is asked and answered in training rows."""
    return (message.content for example in examples for message in example.messages)
