from __future__ import annotations

from pathlib import Path

import pytest

from komt.errors import KomtError, UsageError
from komt.registry import Registry


def test_a_thing_is_imported_on_first_use_only() -> None:
    registry: Registry[object] = Registry("thing")
    registry.add("absent", "no_such_module:thing")
    assert registry.names() == ["absent"]
    with pytest.raises(ModuleNotFoundError):
        registry.get("absent")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    registry: Registry[object] = Registry("reader")
    registry.add("squad", "json:loads")
    with pytest.raises(UsageError, match=r"unknown reader 'squat'; did you mean 'squad'\?"):
        registry.get("squat")


def test_two_things_of_one_name_are_refused() -> None:
    registry: Registry[object] = Registry("task")
    registry.add("a", "json:loads")
    with pytest.raises(KomtError, match="registered twice"):
        registry.add("a", "json:dumps")


def test_a_yaml_folder_registers_its_file_names(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("x")
    registry: Registry[str] = Registry("file")
    registry.add_folder(tmp_path, lambda path: path.read_text())
    assert registry.get("one") == "x"
    assert "two" not in registry
