from __future__ import annotations

from pathlib import Path

import pytest

from komt.errors import UsageError
from komt.files import hash_of, staged_folder, write_atomic


def test_a_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert hash_of({"a": 1, "b": [1, 2]}) == hash_of({"b": [1, 2], "a": 1})
    assert hash_of([1, 2]) != hash_of([2, 1])


def test_a_failed_build_leaves_the_former_folder(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with staged_folder(target) as staged:
        (staged / "x").write_text("old")

    def fail() -> None:
        with staged_folder(target) as staged:
            (staged / "x").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (target / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("leads", ["elsewhere", "nowhere"])
def test_a_link_is_replaced_and_what_it_led_to_is_left_alone(tmp_path: Path, leads: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("theirs")
    target = tmp_path / "data"
    target.symlink_to(tmp_path / leads)
    with staged_folder(target) as staged:
        (staged / "x").write_text("ours")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "elsewhere"]
    assert (target / "x").read_text() == "ours"
    assert (tmp_path / "elsewhere" / "x").read_text() == "theirs"


def test_a_folder_that_cannot_be_replaced_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for target in (Path(), tmp_path, Path("/")):
        with pytest.raises(UsageError, match="cannot be put in place"), staged_folder(target):
            raise AssertionError("the block runs")
    assert list(tmp_path.iterdir()) == []


def test_an_atomic_write_replaces_the_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b", "one")
    write_atomic(tmp_path / "a" / "b", "two")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b").read_text() == "two"
