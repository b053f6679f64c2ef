"""log.jsonl: one line a step, and none that a resumed run will write again."""

import json

import pytest

from komt.train.log import TrainLog
from komt.train.step_lines import StepLines, whole_lines


def write(path, steps, start=0):
    with TrainLog(path, start, 10, quiet=True) as log:
        for step in steps:
            log.step(step, 2.5 / step, 1e-3, {"한국어.qa": 2.5}, 12.3456)


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_holds_what_the_contract_says(tmp_path):
    write(tmp_path / "log.jsonl", [1])
    (line,) = read(tmp_path / "log.jsonl")
    assert list(line) == ["step", "time", "loss", "lr", "task_loss", "examples_s"]
    del line["time"]
    assert line == {"step": 1, "loss": 2.5, "lr": 1e-3, "task_loss": {"한국어.qa": 2.5}, "examples_s": 12.346}


@pytest.mark.parametrize(("start", "left"), [(0, []), (3, [1, 2, 3]), (9, [1, 2, 3, 4, 5])])
def test_lines_after_the_checkpoints_step_are_removed(tmp_path, start, left):
    path = tmp_path / "log.jsonl"
    write(path, [1, 2, 3, 4, 5])
    write(path, [], start)
    assert [line["step"] for line in read(path)] == left


def test_a_resumed_log_goes_on(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, [1, 2, 3])
    write(path, [3, 4], start=2)
    assert [line["step"] for line in read(path)] == [1, 2, 3, 4]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, [1, 2])
    path.write_text(path.read_text()[:-20])
    write(path, [2], start=1)
    assert [line["step"] for line in read(path)] == [1, 2]


def test_progress_is_shown_unless_quiet(tmp_path, capsys):
    with TrainLog(tmp_path / "log.jsonl", 0, 3) as log:
        log.step(1, 1.25, 1e-3, {}, 7.0)
    shown = capsys.readouterr().err
    assert "training" in shown
    write(tmp_path / "quiet.jsonl", [1])
    assert capsys.readouterr().err == ""


def test_letters_that_end_lines_elsewhere_end_none_here(tmp_path):
    path = tmp_path / "samples.jsonl"
    rows = [
        {"step": 5, "answer": "첫\u2028둘"},
        {"step": 5, "answer": "\u0085"},
        {"step": 10, "answer": "셋"},
    ]
    StepLines(path, 0).add(rows)
    StepLines(path, 5)
    assert whole_lines(path) == rows[:2]
