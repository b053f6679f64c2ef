"""docs/add-a-dataset.md, run as it stands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from komt.cli import main
from komt.errors import DataError, UsageError
from komt.registry import Registry
from komt.sources import SOURCES, Rejected, Source, add_folder_beside, load_source, read_rows
from komt.tasks import TASKS, Task, load_task
from komt.tasks import add_folder_beside as add_all_beside

TEXT = (Path(__file__).parents[2] / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
FILES = re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^```sh\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the document shows, in the current folder; builds need no tokenizer."""
    monkeypatch.setattr("komt.commands._stages.fit_for", lambda recipe: None)
    monkeypatch.chdir(tmp_path)
    for name, text in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture(autouse=True)
def _no_own_sources_stay() -> object:
    yield
    add_all_beside("")


def plain(line: str) -> str:
    return " ".join(line.split())


def test_the_document_shows_every_file_and_several_commands() -> None:
    assert [name for name, _ in FILES] == [
        "reviews.csv",
        "sources/reviews.yaml",
        "tasks/reviews.sentiment.yaml",
        "my.yaml",
        "pyproject.toml",
        "my_korean_data/__init__.py",
    ]
    assert sum(len(commands.splitlines()) for commands, _ in COMMANDS) == 5


def test_every_command_of_the_document_prints_what_it_says(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for commands, expected in COMMANDS:
        printed = ""
        for line in commands.splitlines():
            words = shlex.split(line)
            assert words[0] == "komt"
            assert main(words[1:]) == 0, line
            printed += capsys.readouterr().out
        shown = {plain(line) for line in printed.splitlines()}
        assert [line for line in expected.splitlines() if plain(line) not in shown] == []


def test_what_check_prints_for_a_file_is_a_source_that_reads_it(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sources", "check", "reviews.csv"]) == 0
    Path("sources/reviews.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    add_folder_beside(files / "my.yaml")
    rows = list(read_rows(SOURCES.get("reviews"), "train"))
    assert len(rows) == 12
    assert rows[4]["후기"] == "혼자 가기 좋아요.\n창가 자리를 추천합니다."  # type: ignore[index]


def test_the_package_of_the_document_adds_its_source_and_task(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = files / "my_korean_data"
    for name in ("sources/reviews.yaml", "tasks/reviews.sentiment.yaml", "reviews.csv"):
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_bytes((files / name).read_bytes())
    # What an installer writes: the project's name and its entry points.
    installed = files / "my_korean_data-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-korean-data\nVersion: 1\n")
    table = dict(FILES)["pyproject.toml"].partition('[project.entry-points."komt.sources"]')[2]
    points = table.replace('"', "").replace("[project.entry-points.", "[")
    (installed / "entry_points.txt").write_text(f"[komt.sources]\n{points}")
    monkeypatch.syspath_prepend(files)
    try:
        sources: Registry[Source] = Registry("source", "komt.sources")
        tasks: Registry[Task] = Registry("task", "komt.tasks")
        rows = list(read_rows(sources.get("reviews"), "train"))
        assert sum(isinstance(row, Rejected) for row in rows) == 1
        assert len(rows) == 11
        assert tasks.get("reviews.sentiment").source == "reviews"
    finally:
        sys.modules.pop("my_korean_data", None)


def test_own_tasks_take_over_from_those_of_komt(files: Path) -> None:
    text = "like: sample.sentiment\nsource: reviews\nlabel: stars\nchoices: {'5': 긍정, '1': 부정}\n"
    (files / "tasks" / "reviews.like.yaml").write_text(text, encoding="utf-8")
    add_all_beside(files)
    task = TASKS.get("reviews.like")
    assert task.templates == TASKS.get("sample.sentiment").templates
    assert task.rows_from.name == "reviews"


def test_a_file_without_the_keys_of_a_source_or_task_is_told_when_it_is_asked_for(files: Path) -> None:
    (files / "sources" / "other.yaml").write_text("[1, 2", encoding="utf-8")
    (files / "tasks" / "reviews.b.yaml").write_text("family: f\ntempaltes: []\n", encoding="utf-8")
    add_all_beside(files)
    assert "other" not in SOURCES.names()
    with pytest.raises(UsageError, match="has neither `reader:` nor `files:`") as error:
        load_source("other")
    assert error.value.where == str(files / "sources" / "other.yaml")
    with pytest.raises(UsageError, match="has neither `templates:` nor `like:`"):
        load_task("reviews.b")
    add_all_beside("")
    with pytest.raises(UsageError, match=r"unknown task 'reviews\.b'"):
        load_task("reviews.b")


def test_mistakes_in_own_tasks_name_the_file(files: Path) -> None:
    path = files / "tasks" / "reviews.bad.yaml"
    path.write_text("like: sampel.sentiment\n", encoding="utf-8")
    add_all_beside(files)
    with pytest.raises(UsageError, match=r"did you mean 'sample\.sentiment'"):
        load_task("reviews.bad")
    template = "{id: one, kind: plain, prompt: \"{{ text | jossa('을/를') }}\", answer: '{{ stars }}'}"
    path.write_text(f"family: f\nsource: reviews\nmetrics: [f1]\ntemplates: [{template}]\n", encoding="utf-8")
    with pytest.raises(DataError, match="No filter named 'jossa'") as error:
        load_task("reviews.bad")
    assert error.value.where == f"{path}, template one, prompt"


def test_a_field_of_the_reader_that_no_row_has_names_the_source(files: Path) -> None:
    path = files / "sources" / "reviews.yaml"
    text = path.read_text(encoding="utf-8")
    assert "reader:\n" in text
    path.write_text(text.replace("reader:\n", "reader:\n  texts: [nothing]\n"), encoding="utf-8")
    add_all_beside(files)
    with pytest.raises(DataError, match="texts names 'nothing', which no row has") as error:
        list(read_rows(load_source("reviews"), "train"))
    assert error.value.where.startswith("source reviews, ")
