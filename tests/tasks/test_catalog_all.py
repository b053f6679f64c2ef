"""Every task of the catalogue: complete, varied, and renderable in every phrasing (see catalogue_rows.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from pathlib import Path

import pytest
from catalogue_rows import WRITTEN, Row, rows_of

from komt.evaluate.metrics import METRICS
from komt.example import Example
from komt.sources import SOURCES, load_source, present, read_rows
from komt.tasks import TASKS, Task, UnusableRow, load_task, render
from komt.tasks.check import check_task
from komt.tasks.jinja import fields_of
from komt.tasks.render import with_derived
from komt.tasks.task import CATALOG, Template

NAMES = TASKS.names()
FAMILIES = {
    *("extractive_qa", "closed_book_qa", "boolean_qa", "multiple_choice", "table_qa", "question_generation"),
    *("inference", "similarity", "paraphrase", "paraphrase_generation", "sentiment", "topic", "intent"),
    *("hate", "entities", "dependency", "relation", "word_sense", "cause_effect", "next_sentence"),
    *("constrained_generation", "key_phrase", "title", "summary", "dialogue", "dialogue_state"),
    *("translation", "correction", "style", "instruction", "review_generation", "ordering", "rhetoric"),
}
# How a Korean sentence asks or tells, by its last syllables; and prompts that end in a form to fill in.
REGISTERS = {
    "해요체": r"요[.?!]",
    "하십시오체": r"(?:니다|니까|십시오)[.?!]",
    "하시오체": r"(?<!십)시오[.?!]",
    "해라체": r"(?:[라가]|(?<!니)다)[.?!]",
    "반말": r"(?:[줘돼해봐야지어아]|(?<!니)까)[.?!]",
    "form": r":\n$",
}


def examples(task: Task, template: Template, rows: Iterable[Row]) -> Iterator[Example]:
    for row in rows:
        try:
            if template.fits(row):
                yield render(task, row, 0, template=template)
        except UnusableRow as error:
            # A task may leave rows of some labels out; nothing else may be wrong with a row.
            if error.reason != "skipped_label":
                raise


def registers(task: Task) -> set[str]:
    prompts = [re.sub(r"\{[{%].*?[}%]\}", "", template.prompt) + "\n" for template in task.templates]
    return {name for name, ending in REGISTERS.items() if any(re.search(ending, text) for text in prompts)}


def test_every_task_file_is_a_task_of_its_name() -> None:
    assert {path.stem for path in CATALOG.glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_opens_with_its_command_and_an_example(name: str) -> None:
    lines = (CATALOG / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# komt tasks show {name}"
    assert "# user:" in lines
    assert "# assistant:" in lines
    shown = lines[lines.index("# assistant:") + 1]
    assert shown.startswith("#   ")
    assert "{{" not in shown


@pytest.mark.parametrize("name", NAMES)
def test_a_task_has_five_phrasings_that_differ_in_more_than_a_word(name: str) -> None:
    task = load_task(name)
    ids = [template.id for template in task.templates]
    assert len(ids) >= 5
    assert len(set(ids)) == len(ids)
    prompts = ["".join(template.prompt.split()) for template in task.templates]
    assert all(first != second for first, second in combinations(prompts, 2))
    # Instruction rows bring their own wording; a template only frames it.
    assert task.family == "instruction" or len(registers(task)) >= 3, f"only in {sorted(registers(task))}"


@pytest.mark.parametrize("name", NAMES)
def test_a_task_says_what_it_asks_and_how_it_is_scored(name: str) -> None:
    task = load_task(name)
    assert task.family in FAMILIES
    assert {metric for metric in task.metrics if metric not in METRICS.names()} == set()
    assert task.input, "input: [the fields that make up what is asked]"
    row = with_derived(task, rows_of(task.source)[0])
    assert [field for field in task.input if field not in row] == []
    texts = [text for template in task.templates for text in (template.prompt, template.answer)]
    read = {task.passage, task.label, *task.choice_fields.values()}
    read |= set().union(*map(fields_of, [*texts, *task.derive.values()]))
    assert set(task.input) <= read, "input names a field that no template reads"


@pytest.mark.parametrize("name", NAMES)
def test_every_phrasing_of_a_task_can_be_rendered(name: str) -> None:
    task = load_task(name)
    rows = [with_derived(task, row) for row in rows_of(task.source)]
    for template in task.templates:
        made = list(examples(task, template, rows))
        assert made, f"no row fits the template {template.id}"
        for example in made:
            prompt, answer = (message.content for message in example.messages)
            assert prompt.strip() == prompt
            assert answer.strip() == answer
            assert prompt
            assert answer
            assert not re.search(r"\{[{%]|[%}]\}|None|Undefined", prompt + answer)
            assert example.answer_index is None or 0 <= example.answer_index < len(example.choices)


@pytest.mark.parametrize("name", NAMES)
def test_no_phrasing_has_a_fault_on_the_rows_written_for_it(name: str) -> None:
    task = load_task(name)
    assert check_task(task, rows_of(task.source)) == []


def test_rows_are_written_for_sources_of_the_catalogue() -> None:
    assert {path.stem for path in WRITTEN.glob("*.jsonl")} <= set(SOURCES.names())


def test_all_labels_are_among_the_rows_written() -> None:
    """Rows of a source with few labels show each of them: a label missing from `choices` would be found."""
    for name in NAMES:
        task = load_task(name)
        known = set(task.choices) | set(task.skip)
        if known and len(known) <= 7:
            rows = [with_derived(task, row) for row in rows_of(task.source)]
            asked = [row for row in rows if any(template.fits(row) for template in task.templates)]
            assert {str(row.get(task.label)) for row in asked} <= known, name


@pytest.mark.realdata
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("sample")])
def test_no_phrasing_has_a_fault_on_real_rows(name: str, realdata: Path) -> None:
    task = load_task(name)
    if not any(present(task.rows_from, split) for split in task.rows_from.splits):
        pytest.skip(f"{task.source} is not there")
    assert check_task(task) == []


@pytest.mark.realdata
@pytest.mark.parametrize("name", sorted(path.stem for path in WRITTEN.glob("*.jsonl")))
def test_the_rows_written_have_the_fields_of_real_ones(name: str, realdata: Path) -> None:
    source = load_source(name)
    splits = [split for split in source.splits if present(source, split)]
    if not splits:
        pytest.skip(f"{name} is not there")
    fields = {
        field
        for split in splits
        for row in islice(read_rows(source, split), 300)
        if isinstance(row, dict)
        for field in row
    }
    assert {field for row in rows_of(name) for field in row} <= fields
