"""Entities: F1 by entity and by character, as seqeval and KLUE count them; F1 of a list of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from komt.errors import DataError
from komt.evaluate.counts import count_parts, f_score, macro_f, match, micro_f
from komt.evaluate.entities import Entity, in_order, place, read_entities, tags
from komt.evaluate.intervals import Statistic
from komt.evaluate.metrics import OverReferences, Score
from komt.evaluate.reading import bare, items_of, lines_of, says_nothing
from komt.example import Example
from komt.korean import nfc


@dataclass(frozen=True, slots=True)
class OverEntities:
    """F1 of the entities of all answers together.

    Attributes:
        of: entities (all types together, as conlleval), types (the mean of the types' F1: entity-level
            macro F1 of
            KLUE), or characters (the mean over the tags B-X, I-X and O: character-level macro F1 of KLUE).
    """

    of: Literal["entities", "types", "characters"]

    def score(self, answer: str, example: Example) -> Score:
        """F1 of one answer; parts: counts by type or tag.

        What is right, `sentence`, `entities` and `words` (code -> type), is what the task keeps for its
        metrics. An answer in none of the forms names no entity; then `chosen` is "".

        Raises:
            DataError: the task keeps no entities.
        """
        sentence, types, right = _gold(example)
        found = read_entities(answer, types, right)
        given = place(found or [], sentence, right)
        if self.of == "characters":
            value, parts = _compare_tags(given, right, sentence, _tags_of(types))
        else:
            value, parts = _compare(given, right, list(types))
        return Score(value, chosen="" if found is None else None, parts=parts)

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """F1 of the summed counts, or the mean of the classes' F1.

        A tag that a resample has neither in answers nor in what is right counts as 1, as in KLUE's own
        script.
        """
        if self.of == "entities":
            return micro_f(scores)
        if self.of == "types":
            return macro_f(scores)
        return macro_f(scores, nothing=1.0)


def _compare(
    given: Sequence[Entity], right: Sequence[Entity], types: Sequence[str]
) -> tuple[float, tuple[float, ...]]:
    """F1 of entities with their places, and counts by type."""
    both = Counter(given) & Counter(right)
    counts = [Counter(types.index(one.type) for one in each) for each in (given, right, both.elements())]
    parts = count_parts(counts[0], counts[1], counts[2])
    return f_score(both.total(), len(given), len(right)), parts


def _compare_tags(
    given: Sequence[Entity], right: Sequence[Entity], sentence: str, names: Sequence[str]
) -> tuple[float, tuple[float, ...]]:
    """The share of characters with the right tag, and counts by tag."""
    places = {name: at for at, name in enumerate(names)}
    one, other = ([places[tag] for tag in tags(each, sentence)] for each in (given, right))
    same = [tag for tag, wanted in zip(one, other, strict=True) if tag == wanted]
    parts = count_parts(Counter(one), Counter(other), Counter(same), classes=len(names))
    return (len(same) / len(other) if other else 1.0), parts


def _tags_of(types: Iterable[str]) -> list[str]:
    return ["O", *(f"{mark}-{kind}" for kind in types for mark in "BI")]


def _gold(example: Example) -> tuple[str, dict[str, str], list[Entity]]:
    gold = example.metadata.get("gold", {})
    if not {"sentence", "entities", "words"} <= gold.keys():
        raise DataError(
            "metrics of entities need the sentence and what is right in it",
            where=f"example {example.id}",
            cure=f"let the task '{example.task}' say `gold: [sentence, entities, words]`",
        )
    sentence = nfc(str(gold["sentence"]))
    return sentence, dict(gold["words"]), in_order(gold["entities"], sentence)


def list_f1(answer: str, reference: str) -> float:
    """F1 of the items of two lists; an item counts as often as it stands, their order does not.

    Items stand on lines of their own, or have commas, semicolons or 、 between them. 없음 is the empty
    list; an empty answer is none.
    """
    right = [] if says_nothing(reference) else _items(reference, ())
    if says_nothing(answer):
        return float(not right)
    given = _items(answer, right)
    return f_score(*match(given, right)) if given else 0.0


def _items(text: str, known: Sequence[str]) -> list[str]:
    return [bare(item.rstrip(".")).casefold() for line in lines_of(text) for item in items_of(line, known)]


ENTITY_F1, ENTITY_MACRO_F1 = OverEntities("entities"), OverEntities("types")
CHAR_MACRO_F1 = OverEntities("characters")
LIST_F1 = OverReferences(list_f1)
