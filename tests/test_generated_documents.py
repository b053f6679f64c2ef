"""What docs/generate.py writes: every task and source is named, and no row is shown that may not be."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

from komt.sources import SOURCES, load_source, read_rows
from komt.tasks import TASKS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def generate_tasks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    import generate_tasks

    return generate_tasks


def sections() -> dict[str, str]:
    text = (DOCS / "tasks.md").read_text(encoding="utf-8")
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_task_is_shown_with_five_rows() -> None:
    shown = {name: part.count("```text\n") for name, part in sections().items()}
    assert shown == dict.fromkeys(TASKS.names(), 5)


def test_what_needs_no_data_is_up_to_date(generate_tasks: ModuleType) -> None:
    """Sections of rows written by us and of the sample whole; of the others all but the rows."""
    text = (DOCS / "tasks.md").read_text(encoding="utf-8")
    shown = generate_tasks.sources_shown(text)
    for name in TASKS.names():
        task = TASKS.get(name)
        if task.source in shown and not task.rows_from.bundled:
            made = list(islice(generate_tasks.section(task, True), 4))
        else:
            made = list(generate_tasks.section(task, task.source in shown))
        assert "\n".join(made) in text, f"{name}: run `make docs`"


def test_every_source_stands_in_the_catalogue() -> None:
    text = (DOCS / "catalogue.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| ([\w-]+) \|.*\|$", text, re.MULTILINE)[1:] == SOURCES.names()
    assert "| korquad |" in text
    assert "(train 60,407), dev 5,774" in text


@pytest.mark.parametrize(
    ("name", "may"),
    [
        *(
            ("sample", True),
            ("klue-nli", True),
            ("nsmc-raw", True),
            ("chatbot-data", True),
            ("koreanlm", True),
        ),
        *(("parallel-news", True), ("kobest-copa", True), ("paws-ko", True)),
        *(("korquad", False), ("unsmile", False), ("koalpaca", False), ("aihub-97", False)),
        *(("kisti-qa", False), ("naver-ner", False), ("scinews-sum", False)),
    ],
)
def test_rows_are_shown_only_where_the_licence_lets_them(
    generate_tasks: ModuleType, name: str, may: bool
) -> None:
    assert generate_tasks.is_open(load_source(name)) is may


def test_no_page_shows_rows_of_a_source_that_is_not_open(generate_tasks: ModuleType) -> None:
    shown = generate_tasks.sources_shown((DOCS / "tasks.md").read_text(encoding="utf-8"))
    assert "klue-nli" in shown
    assert [name for name in shown if not generate_tasks.is_open(load_source(name))] == []
    for name, part in sections().items():
        assert ("**own rows**" in part) != (TASKS.get(name).source in shown), name


@pytest.mark.realdata
def test_no_passage_of_korquad_stands_in_the_page(realdata: Path) -> None:
    text = (DOCS / "tasks.md").read_text(encoding="utf-8")
    questions = {row["question"] for row in read_rows(load_source("korquad"), "dev") if isinstance(row, dict)}
    assert len(questions) > 5000
    assert [question for question in questions if question in text] == []


def test_the_pick_does_not_depend_on_the_order_of_the_rows(generate_tasks: ModuleType) -> None:
    task = TASKS.get("sample.sentiment")
    rows = generate_tasks.real_rows("sample-sentiment")
    chosen = generate_tasks.chosen(task, rows)
    assert chosen == generate_tasks.chosen(task, rows[::-1])
    assert len({item.template for item in chosen}) == len({item.id for item in chosen}) == 5
    assert {item.messages[-1].content for item in chosen} == {"긍정", "부정"}


def test_without_data_the_check_skips_the_page_of_rows(tmp_path: Path) -> None:
    env = {"KOMT_DATA": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert "docs/tasks.md is not compared, since rows are not here: 3i4k, apeach" in done.stderr
    assert "tasks.md is out of date" not in done.stderr
