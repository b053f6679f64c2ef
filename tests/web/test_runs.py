from __future__ import annotations

import os
from pathlib import Path

import pytest
from built import build, log, run

from komt.web.runs import Runs, Unreadable, stamp


def test_runs_are_listed_by_what_they_have_the_latest_first(tmp_path: Path) -> None:
    run(tmp_path / "runs" / "whole")
    build(tmp_path / "runs" / "built")
    old = log(tmp_path / "runs" / "old" / "train" / "log.jsonl", range(1, 3))
    os.utime(old, (1, 1))
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "runs" / ".hidden").mkdir()
    runs = Runs(tmp_path / "runs")
    assert set(runs.names("data")) == {"whole", "built"}
    assert runs.names("training") == ["whole", "old"]
    assert runs.names("scores") == ["whole"]
    assert runs.file("built", "data") == tmp_path / "runs" / "built" / "manifest.json"


def test_a_run_elsewhere_is_listed_by_its_name(tmp_path: Path) -> None:
    folder = run(tmp_path / "far" / "away")
    runs = Runs(tmp_path / "runs", {"away": folder})
    assert runs.names("scores") == ["away"]
    assert runs.file("away", "training") == folder / "train" / "log.jsonl"


@pytest.mark.parametrize(
    "name", ["../secret", "whole/../../secret", "/etc", "..", ".", "", None, "no such", ".hidden"]
)
def test_a_name_is_never_a_path(tmp_path: Path, name: str | None) -> None:
    run(tmp_path / "secret")
    run(tmp_path / "runs" / "whole")
    run(tmp_path / "runs" / ".hidden")
    with pytest.raises(Unreadable) as error:
        Runs(tmp_path / "runs").file(name, "data")
    assert error.value.key == "runs.unknown"


def test_what_a_run_does_not_have_is_told(tmp_path: Path) -> None:
    log(tmp_path / "runs" / "young" / "train" / "log.jsonl", range(1, 3))
    with pytest.raises(Unreadable) as error:
        Runs(tmp_path / "runs").file("young", "scores")
    assert error.value.key == "runs.no_scores"


def test_a_file_that_changed_has_another_stamp(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", range(1, 3))
    before = stamp(path)
    log(path, range(3, 4))
    assert stamp(path) != before
    with pytest.raises(Unreadable):
        stamp(tmp_path / "gone")
