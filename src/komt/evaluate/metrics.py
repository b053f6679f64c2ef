"""Metrics: what one answer is worth, and what a set of answers is worth.

To add one: an object with `score` and `statistic`, registered here or under the entry points `komt.metrics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from komt.errors import DataError
from komt.evaluate.intervals import Floats, Statistic, mean_of
from komt.example import Example
from komt.korean import nfc, normalise_answer
from komt.registry import Registry


@dataclass(frozen=True, slots=True)
class Score:
    """What one answer is worth by one metric.

    Attributes:
        value: 0 to 1, or None when the answer cannot be scored (which is not the same as wrong).
        expected, chosen: the right choice and the one that the answer names, "" for none of them; None for
            metrics without choices. Of an answer that should have a form (entities, slots, a tree) `chosen`
            is "" where nothing in it has that form.
        parts: what the statistic of a set is made of, where that is not the mean of the values: counts, say.
    """

    value: float | None
    expected: str | None = None
    chosen: str | None = None
    parts: tuple[float, ...] | None = None


class Metric(Protocol):
    """One way to score."""

    def score(self, answer: str, example: Example) -> Score:
        """What an answer is worth."""

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """What a set of scored answers is worth, as a statistic that can be resampled."""


def score_choice(metric: Metric, answer: str, loglikelihoods: Sequence[float], example: Example) -> Score:
    """What a choice made by log-likelihood is worth.

    Args:
        metric: by `score_choices(loglikelihoods, example)` where it has one, else by `score`.
        answer: the likeliest choice as the prompt shows it.
        loglikelihoods: of all choices, in the order of `example.choices`.
        example: what was asked.
    """
    by_likelihood = getattr(metric, "score_choices", None)
    if by_likelihood is None:
        return metric.score(answer, example)
    found: Score = by_likelihood(loglikelihoods, example)
    return found


@dataclass(frozen=True, slots=True)
class OverReferences:
    """The mean over examples of the best value over an example's references.

    Attributes:
        compare: an answer and a reference, to a value from 0 to 1.
    """

    compare: Callable[[str, str], float]

    def score(self, answer: str, example: Example) -> Score:
        """The best value over the references; unscored where there is none."""
        return Score(max((self.compare(answer, right) for right in example.references), default=None))

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """The mean."""
        return mean_of([float(score.value or 0) for score in scores])


def exact_match(answer: str, reference: str) -> float:
    """1 if both are equal as the official KorQuAD 1.0 evaluation normalises them, else 0."""
    return float(normalise_answer(answer) == normalise_answer(reference))


def f1(answer: str, reference: str) -> float:
    """F1 over the multiset of characters, white space ignored (official KorQuAD 1.0 evaluation)."""
    given, right = (Counter("".join(normalise_answer(text).split())) for text in (answer, reference))
    same = (given & right).total()
    if not same:
        return 0.0
    precision, recall = same / given.total(), same / right.total()
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True, slots=True)
class OverChoices:
    """Accuracy or macro F1 of choice tasks; an answer that is none of the choices is wrong.

    Attributes:
        macro: the mean of the labels' F1 instead of the share of right answers.
    """

    macro: bool

    def score(self, answer: str, example: Example) -> Score:
        """Whether the answer, as it stands or normalised, is the right choice.

        Raises:
            DataError: the example has no choices, or no right one among them.
        """
        expected = _expected(example)
        chosen = _named(answer, example, expected)
        value = float(expected == chosen)
        if self.macro and "labels" in example.metadata:  # each row has choices of its own: 1 and 2, say
            labels = dict(zip(example.choices, example.metadata["labels"], strict=True))
            expected, chosen = labels[expected], labels.get(chosen, "")
        return Score(value, expected, chosen)

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """The share of right answers, or the mean of the labels' F1."""
        return _macro_f1(scores) if self.macro else mean_of([float(score.value or 0) for score in scores])


def match_choice(answer: str, choices: Sequence[str]) -> str:
    """The choice that an answer names, as it stands or normalised; "" for none."""
    for form in (str.strip, normalise_answer):
        forms = [form(nfc(choice)) for choice in choices]
        if (given := form(nfc(answer))) and given in forms:
            return choices[forms.index(given)]
    return ""


def _named(answer: str, example: Example, expected: str) -> str:
    """The choice that an answer names; "" for none.

    It does so as it stands, or else normalised, where that leaves the choices apart (as not A+ and A-): as a
    right answer of the example, by the number or letter that the prompt showed for it, or by its words.
    """
    marks, choices = example.metadata.get("marks", ()), example.choices
    for form in (str.strip, normalise_answer):
        names = [form(nfc(choice)) for choice in choices]
        given = form(nfc(answer))
        if not given:
            continue
        if names.count(given) < 2 and any(form(nfc(right)) == given for right in example.references):
            return expected
        if given in (shown := [form(nfc(mark)) for mark in marks]):
            return choices[shown.index(given)]
        if names.count(given) == 1:
            return choices[names.index(given)]
    return ""


def _expected(example: Example) -> str:
    if example.answer_index is not None and example.choices:
        return example.choices[example.answer_index]
    found = match_choice(example.references[0], example.choices) if example.references else ""
    if not found:
        raise DataError(
            "accuracy and macro_f1 need choices, and the right one among them",
            where=f"example {example.id}",
            cure=f"give the task '{example.task}' choices, or the metrics exact_match and f1",
        )
    return found


def _macro_f1(scores: Sequence[Score]) -> Statistic:
    """Mean F1 of the labels that a resample holds, as right answer or as given one."""
    labels = sorted({str(name) for score in scores for name in (score.expected, score.chosen) if name})
    is_right = np.array([[score.expected == label for label in labels] for score in scores], np.float64)
    is_given = np.array([[score.chosen == label for label in labels] for score in scores], np.float64)

    def statistic(weights: Floats) -> Floats:
        hits, total = weights @ (is_right * is_given), weights @ (is_right + is_given)
        f1s = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
        means: Floats = f1s.sum(1) / (total > 0).sum(1)
        return means

    return statistic


EXACT_MATCH, F1 = OverReferences(exact_match), OverReferences(f1)
ACCURACY, MACRO_F1 = OverChoices(macro=False), OverChoices(macro=True)

METRICS: Registry[Metric] = Registry("metric", "komt.metrics")
for _module, _names in {
    "metrics": ("exact_match", "f1", "accuracy", "macro_f1"),
    "text_metrics": ("rouge_1", "rouge_2", "rouge_l", "rouge_w", "klue_exact_match"),
    "similarity_metrics": ("pearson", "f1_at_3"),
    "translation_metrics": ("bleu", "chrf"),
    "entity_metrics": ("entity_f1", "entity_macro_f1", "char_macro_f1", "list_f1"),
    "dependency_metrics": ("uas", "las", "uas_macro_f1", "las_macro_f1"),
    "state_metrics": ("joint_accuracy", "slot_f1"),
    "relation_metrics": ("micro_f1", "auprc"),
    "correction_metrics": ("f0_5",),
    "checks": ("target_language", "own_script", "unrepeated", "right_particles", "balanced", "eojeol"),
}.items():
    for _name in _names:
        METRICS.add(_name, f"komt.evaluate.{_module}:{_name.upper()}")
for _name in ("rouge_1", "rouge_2", "rouge_l"):
    METRICS.add(f"{_name}_morph", f"komt.evaluate.text_metrics:{_name.upper()}_MORPH")
