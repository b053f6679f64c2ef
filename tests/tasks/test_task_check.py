from __future__ import annotations

from typing import Any

import pytest

from komt.errors import UsageError
from komt.tasks import TASKS, Task, load_task
from komt.tasks.check import check_task


def found(prompt: str, row: dict[str, Any], kind: str = "plain", answer: str = "{{ a }}") -> list[str]:
    template = {"id": "one", "kind": kind, "prompt": prompt, "answer": answer}
    task = Task(name="t", family="f", source="sample", metrics=("f1",), templates=(template,))  # type: ignore[arg-type]
    return [finding.what for finding in check_task(task, [{"id": "1", **row}])]


@pytest.mark.parametrize("name", [name for name in TASKS.names() if name.startswith("sample")])
def test_the_bundled_tasks_have_no_fault_on_their_rows(name: str) -> None:
    assert check_task(load_task(name)) == []


@pytest.mark.realdata
@pytest.mark.parametrize("name", [name for name in TASKS.names() if name.startswith("korquad")])
def test_the_korquad_tasks_have_no_fault_on_real_rows(name: str, realdata: object) -> None:
    assert check_task(load_task(name)) == []


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        ("{{ q }} 을(를) 설명하세요.", "both forms of a particle"),
        ("낱말을/를 쓰세요: {{ q }}", "both forms of a particle"),
        ("‘{{ q }}’을 설명하세요.", "a fixed particle"),
        ("{{ q }}으로 답하세요.", "a fixed particle"),
        ("{{ q }}.. 답하세요.", "doubled punctuation"),
        ("{{ q }}  답하세요.", "a stray or doubled space"),
        ("{{ q }} \n답하세요.", "a stray or doubled space"),
        ("{{ q }}는 {{ a }}", "the prompt shows a field that the answer is made of"),
    ],
)
def test_faults_of_a_template_are_found(prompt: str, what: str) -> None:
    assert any(text.startswith(what) for text in found(prompt, {"q": "사과", "a": "빨강"}))


def test_a_period_after_a_sentence_that_has_one_is_found() -> None:
    assert found("{{ q }}. 답하세요.", {"q": "문장이다.", "a": "x"}) == ["doubled punctuation"]


def test_a_good_template_passes_and_the_data_s_own_faults_are_not_its() -> None:
    row = {"q": "이것은..  나쁜 글", "a": "x"}
    assert found("{{ ('‘' ~ q ~ '’') | josa('을/를') }} 고치세요.\n\n{{ q }}", row) == []


def test_a_closed_book_prompt_that_shows_passage_or_answer_is_found() -> None:
    whats = found("{{ context }} {{ q }}", {"q": "답은 빨강?", "a": "빨강", "context": "글"}, "closed_book")
    assert "a closed-book prompt shows the passage" in whats
    assert "1 of 1 prompts hold the answer" in whats


def test_missing_and_empty_fields_are_found() -> None:
    assert found("{{ z }}", {"q": "1", "a": "x"}) == [
        "the template names a field 'z' that the rows do not have"
    ]
    assert found("{{ q }}", {"q": "", "a": "x"}) == ["1 of 1 rows: empty_prompt"]


def test_rows_that_cannot_be_asked_about_are_told_with_an_instance() -> None:
    template = {"id": "one", "kind": "options", "prompt": "{{ q }}\n{{ options }}", "answer": "{{ choice }}"}
    task = Task(
        name="t",
        family="f",
        source="sample",
        metrics=("f1",),
        templates=(template,),  # type: ignore[arg-type]
        choices={"1": "예", "0": "아니요"},
    )
    rows = [{"id": str(at), "q": q, "label": label} for at, (q, label) in enumerate(ROWS)]
    assert [(finding.what, finding.instance) for finding in check_task(task, rows)] == [
        ("2 of 4 rows: unknown_label", "모름"),
        ("1 of 4 rows: empty_prompt", "row 3: the field 'q' of the prompt is empty"),
    ]


ROWS = (("ㄱ", "1"), ("ㄴ", "모름"), ("ㄷ", "9"), ("", "0"))


def test_a_template_is_checked_on_the_rows_it_fits_only() -> None:
    template = {"id": "one", "kind": "plain", "prompt": "{{ q }}: {{ hint }}", "answer": "{{ a }}"}
    task = Task(
        name="t", family="f", source="sample", metrics=("f1",), templates=({**template, "when": "hint"},)
    )  # type: ignore[arg-type]
    rows = [{"id": "1", "q": "ㄱ", "hint": hint, "a": answer} for hint, answer in (("", ""), ("ㄷ", "ㄴ"))]
    assert check_task(task, rows) == []


def test_what_stands_in_lists_and_before_line_ends_of_the_data_is_not_the_template_s() -> None:
    row = {"q": "첫 줄 \n다음 줄", "turns": [{"text": "정말.. 그래"}, {"text": "응"}], "a": "x"}
    assert found("{{ q }}\n{% for turn in turns %}{{ turn.text }}/{% endfor %}", row) == []


def test_a_mark_that_opens_the_data_and_labels_left_out_on_purpose_are_no_faults() -> None:
    assert found("댓글: {{ q }}", {"q": "? 뭐라고", "a": "x"}) == []
    template = {"id": "one", "kind": "plain", "prompt": "{{ q }}", "answer": "{{ choice }}"}
    task = Task(
        name="t",
        family="f",
        source="sample",
        metrics=("f1",),
        templates=(template,),
        choices={"1": "예"},
        skip=["0"],
    )  # type: ignore[arg-type]
    assert check_task(task, [{"id": label, "q": "ㄱ", "label": label} for label in "01"]) == []


@pytest.mark.parametrize("key", ["input", "group", "passage", "evidence", "references", "when"])
def test_a_named_field_that_rows_lack_is_found(key: str) -> None:
    template = {"id": "one", "kind": "plain", "prompt": "{{ q }}", "answer": "{{ a }}"}
    values: dict[str, Any] = {"name": "t", "family": "f", "source": "sample", "metrics": ["f1"]}
    (template if key == "when" else values)[key] = ["qq"] if key == "input" else "qq"
    task = Task.model_validate({**values, "templates": [template]})
    findings = check_task(task, [{"id": "1", "q": "물음", "a": "답"}] * 3)
    assert [(item.template, item.what) for item in findings] == [
        ("fields", f"`{key}` names a field 'qq' that the rows do not have; did you mean 'q'?")
    ]


def test_a_split_to_score_that_the_source_lacks_is_found() -> None:
    template = {"id": "one", "kind": "plain", "prompt": "{{ q }}", "answer": "{{ a }}"}
    values = {"name": "t", "family": "f", "source": "sample", "metrics": ["f1"], "evaluate": "tset"}
    task = Task.model_validate({**values, "templates": [template]})
    assert [(item.template, item.what) for item in check_task(task, [])] == [
        (
            "evaluate",
            "`evaluate` names a split 'tset' that the source 'sample' does not have; did you mean 'test'?",
        )
    ]
    with pytest.raises(UsageError, match="did you mean 'test'"):
        task.evaluation_split()
