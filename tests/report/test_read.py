"""Folders are read side by side; models of one name stay apart; what is broken says so."""

import pytest
from report_folders import write_evaluation, write_judged, write_run

from komt.errors import DataError
from komt.report import read_report


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
