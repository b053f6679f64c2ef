"""Tasks with labels, and those that turn them round: on real rows of every split, and by the words they show.

`test_catalog_all.py` holds for every task; here is what only tasks with choices must keep.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pytest

from komt.example import Example
from komt.sources import load_source, present, read_rows
from komt.tasks import TASKS, Task, UnusableRow, choose_template, load_task, render
from komt.tasks.check import check_task
from komt.tasks.render import with_derived

SOURCES = (
    *("nsmc-raw", "nsmc", "klue-nli", "kornli", "klue-sts", "korsts", "klue-ynat", "klue-re"),
    *("kobest-boolq", "kobest-copa", "kobest-hellaswag", "kobest-wic", "kobest-sentineg"),
    *("question-pair", "question-pair-v2", "parakqc", "parakqc-pairs", "paws-ko", "3i4k", "kochat-intent"),
    *("korean-hate-speech", "apeach", "curse", "unsmile", "stylekqc"),
)
NAMES = [name for name in TASKS.names() if load_task(name).source in SOURCES]
WITH_CHOICES = [name for name in NAMES if load_task(name).has_choices]
# Rows that a task is not for: tepid reviews, pairs of middling likeness, pairs to reword that are not alike.
ALLOWED = {"skipped_label", "no_template"}
# What a filled-in field becomes when the wording of two phrasings is compared.
FIELD = re.compile(r"\{[{%].*?[}%]\}")


def real_rows(task: Task, limit: int = 150) -> list[tuple[str, dict[str, Any]]]:
    """Rows from all over every split that is here."""
    found = []
    for split, rows in _rows(task.source).items():
        found += [(split, row) for row in rows[:: max(1, len(rows) // limit)]]
    return found


@cache
def _rows(name: str) -> dict[str, list[dict[str, Any]]]:
    source = load_source(name)
    most = 1500 if name == "nsmc-raw" else 70_000  # its test rows are one in a hundred
    return {
        split: [row for row in islice(read_rows(source, split), most) if isinstance(row, dict)]
        for split in source.splits
        if present(source, split)
    }


def rendered(task: Task, rows: list[tuple[str, dict[str, Any]]]) -> list[Example]:
    """Examples of all rows but those that the task is not for; any other unusable row is a failure."""
    examples = []
    for split, row in rows:
        try:
            examples.append(render(task, row, 0, split=split))
        except UnusableRow as error:
            if error.reason not in ALLOWED:
                raise
    return examples


def wording(prompt: str) -> str:
    return " ".join(FIELD.sub("…", prompt).split())


def test_there_are_tasks_over_each_source() -> None:
    assert {load_task(name).source for name in NAMES} == set(SOURCES)


@pytest.mark.realdata
@pytest.mark.parametrize("name", NAMES)
def test_real_rows_of_every_split_render_in_every_phrasing(name: str, realdata: Path) -> None:
    task = load_task(name)
    rows = real_rows(task)
    if not rows:
        pytest.skip(f"{task.source} is not there")
    assert check_task(task, [row for _, row in rows]) == []
    examples = rendered(task, rows)
    assert len(examples) >= 10
    assert all(example.messages[0].content != example.messages[1].content for example in examples)
    # No phrasing starves: each gets about its weight's share of the rows that it fits.
    used: Counter[str] = Counter()
    fair: Counter[str] = Counter()
    for _, row in real_rows(task, 1000):
        row = with_derived(task, row)
        fitting = [template for template in task.templates if template.fits(row)]
        fair.update({item.id: item.weight / sum(each.weight for each in fitting) for item in fitting})
        if fitting:
            used[choose_template(task, row, 0).id] += 1
    for template in task.templates:
        expected = fair[template.id]
        assert expected > 5, template.id
        assert abs(used[template.id] - expected) < 0.2 * expected + 4 * expected**0.5, template.id


@pytest.mark.realdata
@pytest.mark.parametrize("name", WITH_CHOICES)
def test_choices_come_in_balanced_order_and_all_are_right_somewhere(name: str, realdata: Path) -> None:
    task = load_task(name)
    rows = real_rows(task, 600)
    if not rows:
        pytest.skip(f"{task.source} is not there")
    examples = rendered(task, rows)
    count = len(examples[0].choices)
    places = Counter(example.answer_index for example in examples)
    assert set(places) == set(range(count))
    fair = len(examples) / count
    assert all(abs(seen - fair) < 0.2 * fair + 3 * fair**0.5 for seen in places.values()), places
    if task.choices:
        words = Counter(example.choices[example.answer_index or 0] for example in examples)
        assert set(words) == set(task.choices.values())


@pytest.mark.realdata
@pytest.mark.parametrize("name", WITH_CHOICES)
def test_choices_are_shown_as_words_numbers_and_letters(name: str, realdata: Path) -> None:
    task = load_task(name)
    template = next((item for item in task.templates if item.kind == "options" and not item.when), None)
    rows = real_rows(task)
    if template is None or not rows:
        pytest.skip("no options, or no rows")
    answers: Counter[str] = Counter()
    for split, row in rows[::2]:
        if str(with_derived(task, row)[task.label]) not in task.skip:
            example = render(task, row, 0, split=split, template=template)
            prompt, answer = (message.content for message in example.messages)
            kind = answer if answer not in example.choices else "word"
            answers["number" if kind[0].isdigit() else kind[0]] += 1
            assert re.search(rf"^(?:- )?{re.escape(answer)}(?:\. |$)", prompt, re.MULTILINE), prompt
            right = example.choices[example.answer_index or 0]
            assert re.search(rf"^\S+ {re.escape(right)}$", prompt, re.MULTILINE), prompt
    assert answers["number"] > 0.15 * sum(answers.values())
    assert answers["w"] > 0.15 * sum(answers.values())
    assert {"A", "가"} <= set(answers)


@pytest.mark.parametrize("name", WITH_CHOICES)
def test_a_prompt_shows_or_names_what_may_be_answered(name: str) -> None:
    task = load_task(name)
    words = dict.fromkeys(task.choices.values())
    kinds = {template.kind for template in task.templates}
    assert kinds - {"options"}, "some phrasing names the words itself"
    assert "options" in kinds or len(words) > 9
    for template in task.templates:
        if template.kind == "options":
            assert "{{ options }}" in template.prompt
            assert "{{ answer_form }}" in template.prompt
        elif name == "nsmc-raw.rating":
            assert re.search("○점|1점~10점", template.prompt), template.id
        else:
            shown = "choices" in template.prompt or all(word in template.prompt for word in words)
            assert shown, f"{template.id} names not all of {', '.join(words)}"


def test_no_two_phrasings_share_their_wording() -> None:
    """Over all tasks but the one that takes another's templates over."""
    wordings = {
        (name, template.id): wording(template.prompt)
        for name in NAMES
        if name != "question-pair-v2.same"
        for template in load_task(name).templates
    }
    for (first, one), (second, other) in combinations(wordings.items(), 2):
        assert one != other, f"{first} and {second}"


def test_inverted_phrasings_stand_in_tasks_of_their_own() -> None:
    """So that labels are scored by accuracy, and texts by likeness; choices would mix the two."""
    for name in NAMES:
        task = load_task(name)
        if "inverted" in task.kinds:
            assert task.kinds == ("inverted",)
            assert not task.has_choices
            assert set(task.metrics) <= {"rouge_l", "chrf"}


@pytest.mark.parametrize(
    ("name", "row", "answer"),
    [
        ("korsts.similar", {"score": "4.20"}, "비슷한 뜻"),
        ("korsts.similar", {"score": "0.75"}, "다른 뜻"),
        ("korsts.score", {"score": "3.750"}, "3.8"),
        ("korsts.score", {"score": "5"}, "5.0"),
        ("unsmile.kind", {"clean": "0", "age": "1", "abuse": "1"}, "혐오 표현"),
        ("unsmile.kind", {"clean": "0", "abuse": "1"}, "악플·욕설"),
        ("unsmile.targets", {"clean": "0", "religion": "1", "women_family": "1"}, "여성·가족, 종교"),
        ("stylekqc.style", {"formal": "언제 오세요", "informal": "언제 와"}, "반말"),
        ("stylekqc.style", {"formal": "언제 오시나요", "informal": "언제 와"}, "존댓말"),
    ],
)
def test_answers_that_are_derived(name: str, row: dict[str, str], answer: str) -> None:
    groups = (
        "women_family",
        "men",
        "sexual_minorities",
        "race_nation",
        "age",
        "region",
        "religion",
        "other_hate",
    )
    whole = {
        **dict.fromkeys(groups, "0"),
        **{"abuse": "0", "clean": "1", "comment": "글", "sentence1": "가", "sentence2": "나", "id": "1"},
        **row,
    }
    task = load_task(name)
    plain = next(template for template in task.templates if template.kind == "plain")
    example = render(task, whole, 0, template=plain)
    assert example.messages[1].content == answer
    if name == "stylekqc.style":
        assert row["formal" if answer == "존댓말" else "informal"] in example.messages[0].content


@pytest.mark.parametrize(("score", "reason"), [("3.0", "skipped_label"), ("2.5", "skipped_label")])
def test_pairs_of_middling_likeness_are_neither(score: str, reason: str) -> None:
    with pytest.raises(UnusableRow) as error:
        render(
            load_task("korsts.similar"), {"id": "1", "sentence1": "가", "sentence2": "나", "score": score}, 0
        )
    assert error.value.reason == reason


@pytest.mark.parametrize(("second", "score"), [("가", "5.0"), ("나", "4.2")])
def test_only_pairs_that_say_the_same_in_other_words_are_reworded(second: str, score: str) -> None:
    for name in ("korsts.rewrite", "klue-sts.rewrite"):
        row = {"id": "1", "sentence1": "가", "sentence2": second, "score": score, "label": "1"}
        with pytest.raises(UnusableRow) as error:
            render(load_task(name), row, 0)
        assert error.value.reason == "no_template"
