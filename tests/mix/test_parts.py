from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from komt.mix.parts import about_part, about_stage, finish, is_done, scratch, unfinished, write_part

TABLE = pa.table({"글": ["하나", "둘"]})


def test_a_part_says_what_it_was_told(tmp_path: Path) -> None:
    part = tmp_path / "deep" / "part-00001.parquet"
    write_part(part, TABLE, {"read": 3, "이유": {"empty": 1}})
    assert about_part(part) == {"read": 3, "이유": {"empty": 1}}
    assert pq.read_table(part).equals(TABLE)
    assert [path.name for path in part.parent.iterdir()] == ["part-00001.parquet"]


def test_the_same_part_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_part(tmp_path / name, TABLE, {"x": 1, "y": 2} if name == "a" else {"y": 2, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_part_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    write_part(tmp_path / "part", TABLE, {})
    with pytest.raises(TypeError):
        write_part(tmp_path / "part", TABLE, {"path": tmp_path})
    no_parquet = pa.table({"x": pa.nulls(1, pa.month_day_nano_interval())})
    with pytest.raises(pa.ArrowNotImplementedError):
        write_part(tmp_path / "part", no_parquet, {})
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
    assert about_part(tmp_path / "part") == {}


def test_a_stage_keeps_its_parts_until_it_is_done(tmp_path: Path) -> None:
    stage = tmp_path / "task-x"

    def interrupted() -> None:
        with unfinished(stage) as folder:
            write_part(folder / "part-1", TABLE, {})
            (folder / ".part-2.77").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not stage.exists()
    with unfinished(stage) as folder:
        # What was half written is gone, what was whole is there.
        assert [path.name for path in folder.iterdir()] == ["part-1"]
        finish(folder, {"parts": 1})
    assert is_done(stage)
    assert about_stage(stage) == {"parts": 1}
    assert sorted(path.name for path in stage.iterdir()) == ["part-1", "stage.json"]
    assert {path.name for path in tmp_path.iterdir()} <= {"task-x", ".task-x.lock"}


def test_who_waited_for_a_stage_finds_it_done(tmp_path: Path) -> None:
    stage = tmp_path / "task-x"
    with unfinished(stage) as folder:
        finish(folder, {"first": True})
    with unfinished(stage) as folder:
        assert is_done(stage)
        (folder / "part-9").touch()
    assert about_stage(stage) == {"first": True}
    assert [path.name for path in stage.iterdir()] == ["stage.json"]


def test_a_stage_that_was_left_without_its_mark_is_made_again(tmp_path: Path) -> None:
    stage = tmp_path / "task-x"
    stage.mkdir()
    (stage / "part-7").touch()
    with unfinished(stage) as folder:
        finish(folder, {})
    assert [path.name for path in stage.iterdir()] == ["stage.json"]


def test_scratch_goes_when_the_work_is_done_and_stays_when_it_fails(tmp_path: Path) -> None:
    folder = tmp_path / "assembling"

    def failing() -> None:
        with scratch(folder):
            (folder / "piece").touch()
            raise ValueError("no")

    with pytest.raises(ValueError):
        failing()
    with scratch(folder):
        assert (folder / "piece").is_file()
    assert {path.name for path in tmp_path.iterdir()} <= {".assembling.lock"}


def test_removing_is_never_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed while it removes a folder leaves nothing under the folder's own name."""
    folder = tmp_path / "assembling"

    def killed(path: Path, ignore_errors: bool = False) -> None:
        if Path(path).exists():
            raise KeyboardInterrupt

    def killed_while_removing() -> None:
        with scratch(folder):
            (folder / "piece").touch()
            monkeypatch.setattr("komt.mix.parts.shutil.rmtree", killed)

    with pytest.raises(KeyboardInterrupt):
        killed_while_removing()
    assert not folder.exists()
    monkeypatch.undo()
    with scratch(folder):
        assert not list(folder.iterdir())
    assert {path.name for path in tmp_path.iterdir()} <= {".assembling.lock"}
