"""Dependencies of words: UAS and LAS by word, and their macro F1 as KLUE computes it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from komt.errors import DataError
from komt.evaluate.counts import count_parts, macro_f
from komt.evaluate.intervals import Statistic, mean_of
from komt.evaluate.metrics import Score
from komt.evaluate.reading import bare, lines_of
from komt.example import Example
from komt.korean import nfc

# KLUE's relations in the order of its script, in which all from VP_CMP on count as one.
_RELATIONS = (
    *("NP", "NP_AJT", "VP", "NP_SBJ", "VP_MOD", "NP_OBJ", "AP", "NP_CNJ", "NP_MOD", "VNP", "DP", "VP_AJT"),
    *("VNP_MOD", "NP_CMP", "VP_SBJ"),
)
_OTHER, _WRONG_HEAD = len(_RELATIONS), len(_RELATIONS) + 1
_ROOT = re.compile(r"\W*(?:중심(?:어|\s*어절)?|뿌리|루트|없음|ROOT|0)\W*", re.IGNORECASE)
_RELATION = re.compile(
    r"(?:\s+|\s*[,(\[/:|]\s*)((?:NP|VP|VNP|AP|DP|IP|X|L|R)(?:_(?:AJT|SBJ|MOD|OBJ|CNJ|CMP|SVJ))?)\s*[)\]]?\s*$"
)
_NO_HEAD_YET = re.compile(r"(?:→|⇒|->|=>|➔|^\s*\d+\s*[:：=]?)\s*$")
_ARROW = re.compile(r"\s*(?:→|⇒|->|=>|➔)\s*")
_NUMBERED = re.compile(
    r"\(?(\d+)[.)]?(?:\s+\S+?)?\s*(?::|：|=|→|⇒|->|=>|\s-\s|,|\t)\s*\(?(\d+)(?:번)?\)?(?!\d)"
)
_MARKS = ".,?!…\"'‘’“”()[]「」『』《》〈〉·"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a sentence, the place of its head (from 1; 0: none, it is the root) and its relation."""

    word: str
    head: int
    relation: str


@dataclass(frozen=True, slots=True)
class OverWords:
    """How many words are given their right head.

    Attributes:
        relation: whether their relation must be right, too (LAS), where the prompt asks for it.
        macro: the mean of the classes' F1, as KLUE: the classes are the places of heads (UAS) or the
            relations (LAS).
    """

    relation: bool = False
    macro: bool = False

    def score(self, answer: str, example: Example) -> Score:
        """The share of words that are right; parts: counts by class.

        `words` (word, head, relation) is what the task keeps for its metrics. A word that the answer leaves
        out has no head. Where no line can be read `chosen` is "". LAS is unscored where the right answer
        tells no relations.

        Raises:
            DataError: the task keeps no words.
        """
        words = _gold(example)
        if self.relation and not any(told for _, told in read_heads(example.references[0], words).values()):
            return Score(None)
        given = read_heads(answer, words)
        heads = [given.get(at, (-1, ""))[0] for at in range(1, len(words) + 1)]
        told = [given.get(at, (-1, ""))[1] for at in range(1, len(words) + 1)]
        right = [head == word.head for head, word in zip(heads, words, strict=True)]
        if self.relation:
            hit = [ok and name == word.relation for ok, name, word in zip(right, told, words, strict=True)]
            parts = _relation_parts(words, right, told)
        else:
            hit, parts = right, _head_parts(words, heads)
        return Score(
            sum(hit) / len(words), chosen=None if given else "", parts=(len(words), sum(hit), *parts)
        )

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """The share of all words, or the mean of the classes' F1."""
        if self.macro:
            return macro_f([Score(score.value, parts=(score.parts or ())[2:]) for score in scores])
        totals = [(score.parts or (0.0, 0.0))[:2] for score in scores]
        return _share(totals)


def _share(totals: Sequence[Sequence[float]]) -> Statistic:
    """The share of words that are right over all sentences; long sentences count for more."""
    size, hits = mean_of([one for one, _ in totals]), mean_of([one for _, one in totals])
    return lambda weights: hits(weights) / size(weights)


def read_heads(answer: str, words: Sequence[Word]) -> dict[int, tuple[int, str]]:
    """The head and the relation that an answer gives to each word, by the word's place (from 1).

    Read are lines `어절 → 지배소` and `번호: 지배소 번호`, with a relation behind them (`NP_SBJ`) or
    without; (중심), ROOT and 0 mean that there is no head. A head that stands several times in the sentence
    is taken for the right one if that is among them, and else for the next one after the word, as heads in
    Korean follow.
    """
    forms = [_form(word.word) for word in words]
    found: dict[int, tuple[int, str]] = {}
    for line in map(str.strip, nfc(answer).replace("**", "").splitlines()):
        rest, told = _without_relation(line)
        sides = _ARROW.split(rest)
        at = 0
        if len(sides) == 2:
            at = _place(sides[0], forms, found) or _place(next(lines_of(sides[0]), ""), forms, found)
        if at:
            head = _head(sides[1], at, words, forms)
        elif numbered := _NUMBERED.match(rest):
            at, head = int(numbered.group(1)), int(numbered.group(2))
        else:
            continue
        if 1 <= at <= len(words) and at not in found and 0 <= head <= len(words):
            found[at] = head, told
    return found


def _without_relation(line: str) -> tuple[str, str]:
    """A line without the relation at its end, and the relation; X may also be the head itself (왔다 → X)."""
    relation = _RELATION.search(line)
    if not relation or _NO_HEAD_YET.search(line[: relation.start()]):
        return line, ""
    return line[: relation.start()], relation.group(1)


def _form(word: str) -> str:
    return bare(word).strip(_MARKS) or word.strip()


def _place(word: str, forms: Sequence[str], found: Mapping[int, Any]) -> int:
    """The place of the first word of that form that has no head yet; 0: none."""
    form = _form(word)
    return next((at for at, one in enumerate(forms, 1) if one == form and at not in found), 0)


def _head(text: str, at: int, words: Sequence[Word], forms: Sequence[str]) -> int:
    """The place of the head that a text names; -1: it names no word."""
    form, right = _form(text), words[at - 1].head
    places = [place for place, one in enumerate(forms, 1) if one == form and place != at]
    if not places:
        return 0 if _ROOT.fullmatch(text) else -1
    if right in places:
        return right
    return next((place for place in places if place > at), places[-1])


def _head_parts(words: Sequence[Word], heads: Sequence[int]) -> tuple[float, ...]:
    right = [word.head for word in words]
    hits = [head for head, gold in zip(heads, right, strict=True) if head == gold]
    return count_parts(Counter(head for head in heads if head >= 0), Counter(right), Counter(hits))


def _relation_parts(words: Sequence[Word], right: Sequence[bool], told: Sequence[str]) -> tuple[float, ...]:
    """Counts by relation; under a wrong head no relation is right, and stands for a class of its own."""
    gold = [_relation_class(word.relation) for word in words]
    given = [_relation_class(name) if ok else _WRONG_HEAD for ok, name in zip(right, told, strict=True)]
    hits = [one for one, other in zip(given, gold, strict=True) if one == other]
    return count_parts(Counter(given), Counter(gold), Counter(hits))


def _relation_class(name: str) -> int:
    return _RELATIONS.index(name) if name in _RELATIONS else _OTHER


def _gold(example: Example) -> list[Word]:
    words = example.metadata.get("gold", {}).get("words")
    if not words:
        raise DataError(
            "UAS and LAS need the words of the sentence with their heads",
            where=f"example {example.id}",
            cure=f"let the task '{example.task}' say `gold: [words]`",
        )
    return [Word(nfc(str(one["word"])), int(one["head"]), str(one["relation"])) for one in words]


UAS, LAS = OverWords(), OverWords(relation=True)
UAS_MACRO_F1, LAS_MACRO_F1 = OverWords(macro=True), OverWords(relation=True, macro=True)
