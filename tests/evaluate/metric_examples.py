"""Examples for tests of metrics, and what a metric says of a set of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from komt.evaluate.intervals import Statistic
from komt.evaluate.metrics import METRICS, Score
from komt.example import Example, Message


def example_of(
    *references: str, gold: dict[str, Any] | None = None, choices: Sequence[str] = (), number: int = 0
) -> Example:
    """An example of a task of that kind; the first reference is the right choice where there are choices."""
    return Example(
        id=f"t:{number}",
        task="t",
        family="f",
        kind="plain",
        source="s",
        licence="CC0",
        origin="native",
        split="test",
        template="a",
        group="",
        messages=(Message("user", "물음"), Message("assistant", references[0] if references else "답", True)),
        references=references,
        choices=tuple(choices),
        answer_index=list(choices).index(references[0]) if choices else None,
        metadata={"gold": gold} if gold else {},
    )


def scored(metric: str, answers: Sequence[str], examples: Sequence[Example]) -> list[Score]:
    """The scores of answers, unscored ones left out."""
    judge = METRICS.get(metric)
    found = [judge.score(answer, example) for answer, example in zip(answers, examples, strict=True)]
    return [score for score in found if score.value is not None]


def value_of(metric: str, answers: Sequence[str], examples: Sequence[Example]) -> float:
    """What a metric makes of the scored answers."""
    found = scored(metric, answers, examples)
    return float(METRICS.get(metric).statistic(found)(np.ones((1, len(found))))[0])


def check_resamples(metric: str, scores: Sequence[Score], seed: int = 0) -> None:
    """Weights say how often an example was drawn: the statistic is that of the repeated examples."""
    judge, draw = METRICS.get(metric), np.random.default_rng(seed)
    drawn = draw.integers(0, len(scores), (4, len(scores)))
    weights = np.stack([np.bincount(row, minlength=len(scores)) for row in drawn]).astype(float)
    whole = judge.statistic(scores)(weights)
    repeated = [_plain(judge.statistic([scores[at] for at in row]), len(scores)) for row in drawn]
    np.testing.assert_allclose(whole, repeated, atol=1e-9)


def _plain(statistic: Statistic, n: int) -> float:
    return float(statistic(np.ones((1, n)))[0])
