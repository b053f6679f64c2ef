"""Every task of the catalogue: its metrics give its own right answers the top value, in every phrasing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "tasks"))
from catalogue_rows import Row, rows_of

from komt.evaluate.metrics import METRICS, Score
from komt.example import Example
from komt.sources import Rejected, load_source, present, read_rows
from komt.tasks import TASKS, Task, UnusableRow, load_task, render
from komt.tasks.render import with_derived

NAMES = TASKS.names()
# Prompts ask for scores rounded to a tenth; what is right is the unrounded one.
ROUNDED = {"pearson": 1e-3}
# These need the probabilities of the choices.
BY_LIKELIHOOD = {"auprc"}


def examples_of(task: Task, rows: Iterable[Row]) -> list[Example]:
    found = []
    for row in rows:
        for template in task.templates:
            try:
                if template.fits(row):
                    found.append(render(task, row, 0, template=template))
            except UnusableRow:
                continue
    return found


def top_value(metric: str, scores: Sequence[Score]) -> float:
    return float(METRICS.get(metric).statistic(scores)(np.ones((1, len(scores))))[0])


def check_top_values(task: Task, examples: Sequence[Example]) -> None:
    assert examples
    for metric in task.metrics:
        if metric in BY_LIKELIHOOD:
            continue
        judge = METRICS.get(metric)
        scores = []
        for example in examples:
            score = judge.score(example.references[0], example)
            assert score.value is not None, (metric, example.messages)
            assert score.chosen != "", (metric, example.messages)
            if metric not in ROUNDED:
                assert score.value == pytest.approx(1) or _has_no_ngrams(metric, example), (metric, example)
            scores.append(score)
        if not any(_has_no_ngrams(metric, example) for example in examples):
            assert top_value(metric, scores) == pytest.approx(1, abs=ROUNDED.get(metric, 1e-9)), metric


def _has_no_ngrams(metric: str, example: Example) -> bool:
    """ROUGE-2 of a single unit is 0 by its definition, and BLEU of fewer than four words."""
    return metric in {"rouge_2_morph", "rouge_2", "bleu"} and len(example.references[0].split()) < 5


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_have_the_top_value_on_rows_written_for_the_task(name: str) -> None:
    task = load_task(name)
    if any(metric in {"bleu", "chrf"} for metric in task.metrics):
        pytest.importorskip("sacrebleu")
        pytest.importorskip("mecab_ko")
    if any(metric.endswith("_morph") for metric in task.metrics):
        pytest.importorskip("kiwipiepy")
    check_top_values(task, examples_of(task, [with_derived(task, row) for row in rows_of(task.source)]))


@pytest.mark.realdata
@pytest.mark.parametrize("name", NAMES)
def test_right_answers_have_the_top_value_on_real_rows(name: str, realdata: Path) -> None:
    task = load_task(name)
    source = load_source(task.source)
    split = next((split for split in source.splits if present(source, split)), "")
    if not split or source.bundled:
        pytest.skip(f"{source.name} is not here")
    rows = (row for row in read_rows(source, split) if not isinstance(row, Rejected))
    found = []
    for row in islice(rows, 300):
        try:
            found.append(render(task, row, 0))
        except UnusableRow:
            continue
    check_top_values(task, found)
