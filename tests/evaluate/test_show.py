"""Answers to read: which are wrong, in which order, and what is said of each."""

import io
import json

import pytest
from rich.console import Console

from komt.errors import DataError
from komt.evaluate.show import chosen, has_answers, read_answers, show


def row(number, value, task="qa", **more):
    return {
        **{"model": "m", "id": f"{task}:{number}", "task": task, "template": "t", "prompt": "[물음] <b>"},
        **{
            "answer": "답",
            "references": ["정답", "바른 답"],
            "ended": True,
            "scores": {"f1": value, "em": 0.0},
        },
        **more,
    }


ROWS = [row(0, 1.0), row(1, 0.4), row(2, 0.0), row(3, None), row(4, 0.5), row(5, 0.1, task="title")]


def ids(rows):
    return [one["id"] for one in rows]


def test_wrong_is_below_a_half_by_the_first_metric_the_worst_first():
    assert ids(chosen(ROWS, "wrong")) == ["qa:2", "qa:1", "title:5"]
    assert ids(chosen(ROWS, "right")) == ["qa:0", "qa:4"]
    assert ids(chosen(ROWS, "unscored")) == ["qa:3"]
    assert ids(chosen(ROWS, "all")) == ids(ROWS)


def test_so_many_of_each_task_and_model():
    assert ids(chosen([*ROWS, {**row(9, 0.0), "model": "n"}], "wrong", 1)) == ["qa:2", "qa:9", "title:5"]


def test_an_answer_is_shown_with_what_was_right_and_its_scores():
    text = io.StringIO()
    rows = [
        row(1, 0.4, ended=False, contaminated=True),
        row(2, None, by="loglikelihood", answer=""),
    ]
    show(rows, Console(file=text, width=80))
    for part in ("[물음] <b>", "정답 | 바른 답", "f1 0.400, em 0.000, cut at the length limit", "(empty)"):
        assert part in text.getvalue()
    assert "stands in the training data" in text.getvalue()
    assert "f1 unscored, em 0.000, the likeliest choice" in text.getvalue()


def test_answers_are_read_from_a_folder_or_a_run(tmp_path):
    (tmp_path / "report").mkdir()
    assert not has_answers(tmp_path)
    with pytest.raises(DataError, match="no answers in"):
        read_answers(tmp_path)
    line = {key: value for key, value in ROWS[0].items() if key != "model"}
    (tmp_path / "report" / "answers-tuned.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert has_answers(tmp_path)
    assert read_answers(tmp_path) == read_answers(tmp_path / "report") == [{**line, "model": "tuned"}]
