from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from komt.errors import DataError, UsageError
from komt.recipe import Recipe, parse_recipe
from komt.tasks import own_tasks


def own(path: Path, prompt: str, answer: str = "{{ 분류 }}", **more: Any) -> Recipe:
    path.write_text("문의,분류\n하나,배송\n둘,환불\n", encoding="utf-8")
    part = {"path": str(path), "prompt": prompt, "answer": answer, **more}
    return parse_recipe({"name": "t", "data": {"files": [part]}}, "test")


def test_a_prompt_that_names_no_column_is_refused_with_the_columns(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the prompt names no column of t\.csv") as error:
        own_tasks(own(tmp_path / "t.csv", "분류하세요."))
    assert "the columns are: 문의, 분류" in error.value.cure


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_accuracy_is_refused_where_the_answer_is_more_than_a_label(tmp_path: Path, metric: str) -> None:
    with pytest.raises(UsageError, match="one label column") as error:
        own_tasks(own(tmp_path / "t.csv", "{{ 문의 }}", "{{ 분류 }}입니다", metrics=[metric]))
    assert "metrics: [exact_match, f1]" in error.value.cure


def test_the_labels_of_a_label_column_are_the_choices(tmp_path: Path) -> None:
    task = own_tasks(own(tmp_path / "t.csv", "{{ 문의 }}", metrics=["accuracy"]))["t"]
    assert (task.label, task.choices) == ("분류", {"배송": "배송", "환불": "환불"})


@pytest.mark.parametrize(("prompt", "answer"), [("{{ 고객 문의 }}", "{{ 분류 }}"), ("{{ 문의 }}", "{{ 분")])
def test_a_broken_template_names_the_file_and_which(tmp_path: Path, prompt: str, answer: str) -> None:
    with pytest.raises(DataError, match="the template is not valid") as error:
        own_tasks(own(tmp_path / "t.csv", prompt, answer, metrics=["accuracy"]))
    assert error.value.where.endswith("t.csv, prompt" if "고객" in prompt else "t.csv, answer")


def test_a_file_without_a_share_for_evaluation_has_nothing_that_is_scored(tmp_path: Path) -> None:
    task = own_tasks(own(tmp_path / "t.csv", "{{ 문의 }}", evaluate=0))["t"]
    assert task.rows_from.splits == ("train",)
    assert task.evaluation_split() not in task.rows_from.splits
    assert own_tasks(own(tmp_path / "t.csv", "{{ 문의 }}"))["t"].evaluation_split() == "test"
