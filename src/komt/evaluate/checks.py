"""What can be said of an answer without a judge: its language, its script, repetition, particles, brackets,
length.

Each is a metric as any other, from 0 to 1 with 1 for an answer without that fault, but `eojeol`, which
counts; none looks at whether an answer is right. `check` gives all of one answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from komt.evaluate.intervals import Statistic, mean_of
from komt.evaluate.metrics import Score
from komt.evaluate.particles import wrong_particles
from komt.example import Example
from komt.korean import hangul_share, nfc

# Kana, Han characters, Cyrillic, Arabic, Devanagari, Thai; Greek letters stand alone in formulas.
_FOREIGN = re.compile(
    r"[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\u0400-\u052f\u0600-\u06ff\u0900-\u097f\u0e00-\u0e7f]|[\u0370-\u03ff]{2}"
)
_GLOSS = re.compile(r"(?<=[가-힣])\s?[(（][^()（）]*[)）]")
_CODE = re.compile(r"```.*?(?:```|$)|`[^`\n]*`|https?://\S+", re.DOTALL)
_WINDOW = 10
_PAIRED = {
    "(": ")",
    "[": "]",
    "{": "}",
    "「": "」",
    "『": "』",
    "《": "》",
    "〈": "〉",
    "“": "”",
    "‘": "’",
    "（": "）",
    "【": "】",
}
_CLOSING = {closing: opening for opening, closing in _PAIRED.items()}
# What may close without having been opened: 1), 가), :) and the apostrophe of It’s.
_LIST_MARK = re.compile(r"(?:^|\s)(?:\d{1,2}|[가나다라마바사아자차카타파하]|[a-zA-Z]|[ivx]+|[:;]-?)$")


def target_language(answer: str) -> float | None:
    """The share of letters that are Hangul; None without letters.

    Code, addresses and glosses in brackets after a Korean word are left out.
    """
    text = _GLOSS.sub("", _CODE.sub(" ", nfc(answer)))
    return hangul_share(text) if any(map(str.isalpha, text)) else None


def own_script(answer: str) -> float | None:
    """1 without letters of a script that Korean is not written in, else 0; None for an empty answer.

    Hanja, kana, Cyrillic, Arabic, Thai, Devanagari and Greek words; a gloss in brackets after a Korean word
    (安重根 in 안중근(安重根)) is Korean usage. Latin letters are none of them: `target_language` tells of
    English.
    """
    text = _GLOSS.sub("", nfc(answer))
    return float(_FOREIGN.search(text) is None) if text.strip() else None


def unrepeated(answer: str) -> float | None:
    """The share of an answer's windows of ten characters, white space ignored, that stand there for the
    first time.

    1 for an answer that says everything once, near 0 for one that runs in a circle; None for one shorter than
    two windows. (As rep-n of Welleck 2019, "Neural Text Generation with Unlikelihood Training", over
    characters: a loop in Korean need not repeat whole words.)
    """
    text = "".join(nfc(answer).split())
    count = len(text) - _WINDOW + 1
    if count <= _WINDOW:
        return None
    return len({text[at : at + _WINDOW] for at in range(count)}) / count


def balanced(answer: str) -> float | None:
    """1 if every bracket and quotation mark is closed in order, and " stands in pairs; None for an empty
    answer.

    List marks such as 1) and 가) are no brackets.
    """
    if not answer.strip():
        return None
    text = _CODE.sub(" ", nfc(answer))
    open_ones: list[str] = []
    for at, character in enumerate(text):
        if character in _PAIRED:
            open_ones.append(character)
        elif character in _CLOSING and not _closes(open_ones, character, text[:at]):
            return 0.0
    return float(not open_ones and text.count('"') % 2 == 0)


def _closes(open_ones: list[str], character: str, before: str) -> bool:
    """Whether a closing mark closes the last open one, or is no such mark where it stands."""
    if open_ones and open_ones[-1] == _CLOSING[character]:
        open_ones.pop()
        return True
    if character == "’":
        return before[-1:].isascii() and before[-1:].isalpha()
    return character == ")" and not open_ones and _LIST_MARK.search(before[-8:]) is not None


def right_particles(answer: str) -> float | None:
    """The share of particles with two forms (은/는, 을/를 …) that fit the word before them; None where
    there are none.

    Raises:
        MissingExtra: kiwipiepy is not installed.
    """
    wrong, count = wrong_particles(answer)
    return 1 - len(wrong) / max(count, len(wrong)) if count or wrong else None


def eojeol(answer: str) -> float:
    """The number of words as they stand between white space."""
    return float(len(answer.split()))


@dataclass(frozen=True, slots=True)
class OverAnswers:
    """The mean over answers of something that is told from the answer alone.

    Attributes:
        check: an answer to its value, or None where nothing can be told.
    """

    check: Callable[[str], float | None]

    def score(self, answer: str, example: Example) -> Score:
        """The answer's value; unscored where there is nothing to tell from."""
        return Score(self.check(answer))

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """The mean."""
        return mean_of([float(score.value or 0) for score in scores])


@dataclass(frozen=True, slots=True)
class Checks:
    """What was found in one answer; None where nothing can be told.

    Attributes:
        target_language: share of Hangul among the letters.
        own_script: 1 without hanja, kana, Cyrillic …
        unrepeated: share of what is said for the first time.
        right_particles: share of particles that fit.
        balanced: 1 if brackets and quotation marks are closed.
        eojeol: words between white space.
        ended: whether the end token came before the length limit; None where that is not known.
    """

    target_language: float | None
    own_script: float | None
    unrepeated: float | None
    right_particles: float | None
    balanced: float | None
    eojeol: float
    ended: bool | None = None


CHECKS = ("target_language", "own_script", "unrepeated", "right_particles", "balanced", "eojeol")


def check(answer: str, *, ended: bool | None = None) -> Checks:
    """Everything that can be told of an answer without knowing what was asked.

    Raises:
        MissingExtra: kiwipiepy is not installed.
    """
    return Checks(
        target_language(answer),
        own_script(answer),
        unrepeated(answer),
        right_particles(answer),
        balanced(answer),
        eojeol(answer),
        ended,
    )


TARGET_LANGUAGE, OWN_SCRIPT = OverAnswers(target_language), OverAnswers(own_script)
UNREPEATED, BALANCED = OverAnswers(unrepeated), OverAnswers(balanced)
RIGHT_PARTICLES, EOJEOL = OverAnswers(right_particles), OverAnswers(eojeol)
