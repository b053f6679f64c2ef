"""Folders are read side by side; models of one name stay apart; what is broken says so."""

import json

import pytest
from report_folders import score_row, write_evaluation, write_judged, write_run

from komt.errors import DataError
from komt.evaluate.table import title_of, told_apart
from komt.report import compare, read_report
from komt.report.tables import grid


def test_models_of_one_name_are_told_apart_by_their_folder(tmp_path):
    one = write_evaluation(tmp_path / "one", {"base": [0.0, 1.0], "first": [1.0, 1.0]})
    two = write_evaluation(tmp_path / "two", {"base": [1.0, 1.0]})
    report = read_report([one, two])
    assert report.models == ["one: base", "first", "two: base"]
    assert [row["model"] for row in report.answers].count("two: base") == 2


def test_a_run_brings_its_report_its_log_and_its_manifest(tmp_path):
    run = write_run(tmp_path / "작은")
    for path in (run, run / "report"):
        [folder] = read_report([path]).folders
        assert folder.label == "작은"
        assert (len(folder.scores), len(folder.answers), len(folder.log)) == (2, 40, 20)
        assert folder.manifest["examples"] == 40


def test_a_judges_folder_is_read(tmp_path):
    report = read_report([write_judged(tmp_path / "judge", {"a": [4, 5, None]})])
    assert report.models == ["a"]
    assert len(report.judgements) == 3


def test_a_folder_without_anything_and_broken_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_report([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="nothing to report"):
        read_report([tmp_path / "empty"])
    folder = write_evaluation(tmp_path / "e", {"m": [1.0]})
    (folder / "answers-m.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"answers-m.jsonl, line 1"):
        read_report([folder])
    (folder / "answers-m.jsonl").unlink()
    (folder / "scores.json").write_text("[{}]", encoding="utf-8")
    with pytest.raises(DataError, match="not the scores of an evaluation"):
        read_report([folder])


def test_a_log_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path):
    run = write_run(tmp_path / "run")
    with (run / "train" / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"step": 21, "lo')
    assert len(read_report([run]).folders[0].log) == 20


def test_a_line_ends_at_its_newline_and_at_no_separator_within_an_answer(tmp_path):
    folder = write_judged(tmp_path / "judge", {"a": [4]})
    path = folder / "judgements.jsonl"
    text = path.read_text(encoding="utf-8").replace("점수: 4", "점수: 4\u2028이유\u0085끝")
    path.write_text(text, encoding="utf-8")
    assert read_report([folder]).judgements[0]["reply"] == "점수: 4\u2028이유\u0085끝"


@pytest.mark.parametrize("name", ["judgements.jsonl", "answers.jsonl", "scores.json"])
def test_what_is_not_utf8_is_told_with_its_file(tmp_path, name):
    folder = write_judged(tmp_path / "judge", {"a": [4]})
    (folder / name).write_bytes("점수".encode("cp949"))
    with pytest.raises(DataError, match=name):
        read_report([folder])


def test_one_models_answers_under_two_judges_keep_their_name_and_both_scores(tmp_path):
    one = write_judged(tmp_path / "one", {"a": [4, 5, 1], "b": [1, 1, 1]}, judge="갑")
    two = write_judged(tmp_path / "two", {"a": [3, 4, 2], "b": [1, 2, 1]}, judge="을")
    report = read_report([one, two])
    assert report.models == ["a", "b"]
    _, lines = grid(report.scores)
    assert [title for title, _, _ in lines] == ["judge:komt-0-5 (by 갑)", "judge:komt-0-5 (by 을)"]
    assert [[row["value"] for row in rows] for _, _, rows in lines] == [
        [pytest.approx(10 / 3), 1],
        [3, pytest.approx(4 / 3)],
    ]
    assert [change.about for change in compare(report, "a", "b").changes] == ["by 갑", "by 을"]


def test_other_answers_of_the_same_name_are_told_apart(tmp_path):
    one = write_judged(tmp_path / "one", {"a": [4, 5]}, judge="갑")
    two = write_judged(tmp_path / "two", {"a": [3, 4]}, judge="을")
    path = two / "judgements.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("a의 답 0", "다른 답"), encoding="utf-8")
    assert read_report([one, two]).models == ["one: a", "two: a"]
    assert read_report([one, one]).models == ["one 1: a", "one 2: a"]


def test_an_opponent_is_named_where_a_model_has_several():
    rows = [score_row("a", 0.5, task="judge:pair", metric="win_rate", other=other) for other in ("b", "c")]
    assert [title_of(row) for row in told_apart(rows)] == [
        "judge:pair (against b)",
        "judge:pair (against c)",
    ]
    assert told_apart(rows[:1]) == rows[:1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": "0.5"},
        {"value": float("nan")},
        {"model": ["a"]},
        {"n": None},
        {"gain": []},
        {"flags": None},
        {"limit": "x"},
    ],
)
def test_scores_of_another_kind_are_refused_with_their_file(tmp_path, wrong):
    (tmp_path / "scores.json").write_text(json.dumps([{**score_row("a", 0.5), **wrong}]), encoding="utf-8")
    with pytest.raises(DataError, match="not the scores of an evaluation"):
        read_report([tmp_path])


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "3", '{"question": 1, "model": [], "rubric": "", "judge": ""}']
)
def test_judgements_of_another_kind_are_refused_with_their_line(tmp_path, text):
    (tmp_path / "judgements.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"judgements.jsonl, line 1"):
        read_report([tmp_path])
