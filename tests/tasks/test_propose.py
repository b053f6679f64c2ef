from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from komt.cli import main
from komt.errors import DataError
from komt.recipe import load_recipe
from komt.tasks import own_tasks, render
from komt.tasks.propose import propose


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_nested_columns_are_left_out_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            "q": f"물음 {n}",
            "meta": {"n": n},
            "turns": [{"x": n}],
            "mixed": ["가"] if n else "나",
            "a": f"답 {n}",
        }
        for n in range(9)
    ]
    path = table(tmp_path / "t.jsonl", rows)
    assert main(["init", str(path), "--out", str(tmp_path / "r.yaml")]) == 0
    out = capsys.readouterr().out
    assert "left out: meta, turns, mixed" in out
    assert "columns: q, a\n" in out
    part = load_recipe(str(tmp_path / "r.yaml")).data.files[0]
    assert (part.prompt, part.answer) == ("{{ q }}", "{{ a }}")


def test_a_list_of_texts_is_joined(tmp_path: Path) -> None:
    path = table(tmp_path / "t.jsonl", [{"q": f"글 {n}", "a": ["가", "나"]} for n in range(9)])
    assert main(["init", str(path), "--out", str(tmp_path / "r.yaml")]) == 0
    recipe = load_recipe(str(tmp_path / "r.yaml"))
    assert recipe.data.files[0].metrics == ("exact_match", "f1")
    example = render(own_tasks(recipe)["t"], {"id": "1", "q": "글", "a": ["가", "나"]}, 0)
    assert example.messages[-1].content == "가, 나"


VOTE = {"chosen_model": "tuned", "rejected_model": "base", "time": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("asked", "prompt"),
    [
        ({"prompt": "물음 {n}", **VOTE}, "{{ prompt }}"),
        ({"질문": "물음 {n}", "id": "{n}"}, "{{ 질문 }}"),
        (
            {"instruction": "지시 {n}", "input": "글 {n}"},
            "{{ instruction }}\n\n{{ input }}",
        ),
    ],
)
def test_pairs_of_answers_give_a_recipe_that_prefers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: dict[str, str], prompt: str
) -> None:
    rows = [
        {name: text.format(n=n) for name, text in asked.items()} | {"chosen": f"좋음 {n}", "rejected": "몰라"}
        for n in range(9)
    ]
    path = table(tmp_path / "votes.jsonl", rows)
    assert main(["init", str(path), "--out", str(tmp_path / "r.yaml")]) == 0
    assert "answer: chosen (better than the rejected one)" in capsys.readouterr().out
    recipe = load_recipe(str(tmp_path / "r.yaml"))
    part = recipe.data.files[0]
    assert (part.prompt, part.answer, part.rejected) == (prompt, "{{ chosen }}", "{{ rejected }}")
    assert (recipe.train.objective, recipe.evaluate.tasks) == ("dpo", ())
    example = render(own_tasks(recipe)["votes"], {"id": "1", **rows[0]}, 0)
    assert (example.chosen, example.rejected) == ("좋음 0", "몰라")


def test_two_answers_without_a_prompt_are_refused(tmp_path: Path) -> None:
    rows = [{"chosen": f"글 {n}", "rejected": f"말 {n}"} for n in range(9)]
    with pytest.raises(DataError, match="chosen and rejected are the answers of preference pairs"):
        propose(table(tmp_path / "t.jsonl", rows))


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant"), texts, strict=False)]


ALONE = [{"role": "assistant", "content": "좋음"}], [{"role": "assistant", "content": "나쁨"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "물음", "chosen": talk("물음", "좋음"), "rejected": talk("물음", "나쁨")},
        {"chosen": talk("물음", "좋음"), "rejected": talk("물음", "나쁨"), "score": 3},
        {"prompt": talk("물음"), "chosen": ALONE[0], "rejected": ALONE[1]},
    ],
)
def test_pairs_of_talks_are_asked_by_their_question(tmp_path: Path, row: dict[str, Any]) -> None:
    path = table(tmp_path / "talks.jsonl", [row] * 9)
    assert main(["init", str(path), "--out", str(tmp_path / "r.yaml")]) == 0
    task = own_tasks(load_recipe(str(tmp_path / "r.yaml")))["talks"]
    example = render(task, {"id": "1", **row}, 0)
    assert [message.content for message in example.messages] == ["물음", "좋음"]
    assert (example.chosen, example.rejected) == ("좋음", "나쁨")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen": talk("물음", "좋음"), "rejected": "나쁨"}, "row 1: 'rejected' is no talk"),
        ({"chosen": talk("물음", "좋음") * 2, "rejected": talk("물음", "나쁨") * 2}, "'chosen' is no talk"),
        ({"chosen": ALONE[0], "rejected": ALONE[1]}, "'chosen' is no talk of one question"),
        ({"prompt": talk("물음", "답"), "chosen": ALONE[0], "rejected": ALONE[1]}, "no single question"),
    ],
)
def test_longer_talks_are_refused(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        propose(table(tmp_path / "t.jsonl", [row] * 3))


def test_a_file_of_which_no_row_is_a_pair_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path / "t.jsonl", [{"prompt": "물음", "chosen": "같음", "rejected": "같음"}] * 9)
    assert main(["init", str(path), "--out", str(tmp_path / "r.yaml")]) == 1
    assert "no row makes an example: identical_answers" in capsys.readouterr().err
    assert not (tmp_path / "r.yaml").exists()


def test_columns_that_differ_in_case_alone_are_taken_as_written(tmp_path: Path) -> None:
    row = {"prompt": "물음", "chosen": "좋음", "rejected": "나쁨", "Chosen": "1", "REJECTED": "2"}
    proposal = propose(table(tmp_path / "t.jsonl", [row] * 3))
    assert (proposal.answer, proposal.worse) == ("{{ chosen }}", "{{ rejected }}")


def test_a_table_of_nested_columns_only_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="left out, since they hold objects or lists: m") as error:
        propose(table(tmp_path / "t.jsonl", [{"q": "1", "m": {"x": 1}}, {"q": "2", "m": {"x": 2}}]))
    assert "columns of their own" in error.value.cure


def test_rows_with_broken_unicode_are_passed_over_or_named(tmp_path: Path) -> None:
    broken = {"q": "\ud800", "a": "답"}
    proposal = propose(table(tmp_path / "t.jsonl", [broken, {"q": "물음", "a": "답"}]))
    assert (proposal.rows, proposal.rejected) == (1, {"broken_unicode": 1})
    with pytest.raises(DataError, match="none of the 1 rows can be used: broken_unicode") as error:
        propose(table(tmp_path / "u.jsonl", [broken]))
    assert error.value.where.endswith("u.jsonl, line 1")


def test_excel_parquet_and_packed_tables_are_read_by_their_content(tmp_path: Path) -> None:
    rows = [{"질문": f"{n}번은 무엇인가요?", "분류": "짝" if n % 2 == 0 else "홀"} for n in range(20)]
    book = openpyxl.Workbook()
    for cells in (list(rows[0]), *(list(row.values()) for row in rows)):
        book.active.append(cells)
    book.save(tmp_path / "book.xlsx")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    lines = "".join(f"{row['질문']},{row['분류']}\n" for row in rows)
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(f"질문,분류\n{lines}".encode("cp949")))
    seen = {path.name: propose(path) for path in tmp_path.iterdir()}
    assert {name: proposal.seen for name, proposal in seen.items()} == {
        "book.xlsx": "an Excel sheet",
        "table.parquet": "a Parquet table",
        "packed.csv.gz": "a table, columns split at comma, CP949",
    }
    for proposal in seen.values():
        assert (proposal.rows, proposal.asks, proposal.answers) == (20, ("질문",), "분류")
        assert sorted(proposal.labels) == ["짝", "홀"]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\xd0\xcf\x11\xe0", "an old Excel file"),
        (b"PK\x03\x04cut", "no Excel workbook"),
        (b"PAR1cut", "no Parquet file"),
        (b"\x1f\x8b\x08\x00cut", "broken or cut off"),
    ],
)
def test_a_broken_file_of_another_format_is_told_as_one(tmp_path: Path, head: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(head)
    with pytest.raises(DataError, match=said):
        propose(tmp_path / "t.csv")
