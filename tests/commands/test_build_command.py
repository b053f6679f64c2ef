"""`komt build`: its formats, its rejects, its engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from komt.cli import main
from komt.commands import _engine, _rejects
from komt.commands._published import read_instructions
from komt.mix import read_examples, read_manifest
from komt.mix.formats import FORMATS
from komt.recipe import load_recipe

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_tokenizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Builds keep every example, whatever its length; and run in an empty folder."""
    monkeypatch.setattr("komt.commands._stages.fit_for", lambda recipe: None)
    monkeypatch.chdir(tmp_path)


def run(capsys: Captured, *words: str) -> tuple[int, str, str]:
    status = main(["build", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return status, out, err


def own_recipe(rows: list[tuple[str, str]]) -> str:
    lines = "".join(f"{question},{answer}\n" for question, answer in rows)
    Path("t.csv").write_text(f"질문,답\n{lines}", encoding="utf-8")
    part = {"path": "t.csv", "prompt": "{{ 질문 }}", "answer": "{{ 답 }}", "evaluate": 0}
    text = yaml.safe_dump({"name": "own", "data": {"files": [part]}}, allow_unicode=True)
    Path("own.yaml").write_text(text, encoding="utf-8")
    return "own.yaml"


ROWS = [
    ("하나인가요", "1이요"),
    ("하나인가요", "1이요"),
    ("둘인가요", ""),
    ("셋인가요", ""),
    ("넷인가요", "4예요"),
]


def test_formats_stand_beside_the_examples(capsys: Captured) -> None:
    words = ("sample", "data.tasks={sample.sentiment: {}}", "evaluate.tasks=[]", "--out", "data")
    assert run(capsys, *words, "--format", "chat,alpaca", "--format", "lm-eval")[0] == 0
    assert {path.name for path in Path("data").iterdir()} == {
        *("train.parquet", "evaluate.parquet", "rejects.parquet", "fingerprints.parquet"),
        *("manifest.json", "report.html", "chat.jsonl", "alpaca.json", "lm-eval"),
    }
    assert (Path("data") / "lm-eval" / "komt_sample_sentiment.yaml").is_file()
    # The folder is what the last build asked for.
    assert run(capsys, *words)[0] == 0
    assert not (Path("data") / "chat.jsonl").exists()


def test_an_unknown_format_is_wrong_usage_before_any_work(capsys: Captured) -> None:
    status, _, err = run(capsys, "sample", "--format", "alpace")
    assert status == 2
    assert "did you mean 'alpaca'" in err
    assert not Path("runs").exists()


def test_a_folder_appears_with_all_its_formats_or_not_at_all(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = own_recipe(ROWS)
    assert run(capsys, recipe, "--out", "data")[0] == 0

    def broken(folder: Path) -> Path:
        (folder / "chat.jsonl").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(FORMATS, "chat", broken)
    status, _, err = run(capsys, recipe, "--out", "data", "--format", "chat")
    assert status == 1
    assert "no space left" in err
    assert not (Path("data") / "chat.jsonl").exists()
    assert read_manifest(Path("data")).examples == 2
    assert [path.name for path in Path().glob(".data.staged*")] == []


@pytest.mark.realdata
def test_komt_squad_has_the_published_form(capsys: Captured, realdata: Path) -> None:
    status, _, _ = run(
        capsys, "komt_squad", "data.tasks.korquad.closed_book.cap=200", "--out", "data", "--format", "alpaca"
    )
    assert status == 0
    rows = read_instructions(Path("data/alpaca.json"))  # what finetune_with_lora.py reads
    assert 190 <= len(rows) <= 200
    assert {tuple(row) for row in rows} == {("instruction", "input", "output")}
    examples = read_examples(Path("data/train.parquet"))
    assert [row["output"] for row in rows] == [item.references[0] for item in examples]
    assert {item.kind for item in examples} == {"closed_book"}
    assert max(len(row["instruction"]) for row in rows) < 250  # no passage


def test_rejects_are_counted_first_then_shown(capsys: Captured) -> None:
    status, out, _ = run(capsys, own_recipe(ROWS), "--show-rejects")
    assert status == 0
    table, _, rows = out.partition("\n\n")
    counts = [line.split() for line in table.splitlines() if line.startswith("t ")]
    assert ["t", "train", "filter", "empty_answer", "2"] in counts
    assert ["t", "train", "filter", "duplicate", "1"] in counts
    assert [line.split(" {")[0] for line in rows.splitlines()] == [
        "t train filter/empty_answer t.csv:4",
        "t train filter/empty_answer t.csv:5",
        "t train filter/duplicate t:t.csv:3",
    ]
    assert '"질문": "둘인가요"' in rows


def test_rejects_of_one_reason_up_to_a_limit(capsys: Captured) -> None:
    recipe = own_recipe(ROWS)
    _, out, _ = run(capsys, recipe, "--show-rejects", "empty_answer", "--limit", "1")
    assert "t.csv:4" in out
    assert "t.csv:5" not in out
    assert "duplicate" not in out.partition("\n\n")[2]
    assert "1 of 2 rows" in out
    _, out, _ = run(capsys, recipe, "--show-rejects", "filter/duplicate", "--json")
    (row,) = [json.loads(line) for line in out.splitlines()]
    assert (row["stage"], row["reason"], row["task"]) == ("filter", "duplicate", "t")


def test_a_reason_that_no_row_has_is_wrong_usage(capsys: Captured) -> None:
    status, _, err = run(capsys, own_recipe(ROWS), "--show-rejects", "duplicates")
    assert status == 2
    assert "did you mean 'duplicate'" in err
    assert "the reasons of this build: duplicate, empty_answer" in err


def test_nothing_left_out_is_said(capsys: Captured) -> None:
    _, out, _ = run(capsys, own_recipe(ROWS[-1:]), "--show-rejects")
    assert "nothing was left out" in out


def test_long_rejects_are_shortened_with_the_rest_counted(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rejects, "_LINE_CHARACTERS", 40)
    _, out, _ = run(capsys, own_recipe([*ROWS, ("가" * 100, "")]), "--show-rejects", "empty_answer")
    assert "more characters; see --json)" in out
    _, out, _ = run(capsys, "own.yaml", "--show-rejects", "empty_answer", "--json")
    assert "가" * 100 in out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--limit", "3"), "--limit belongs to --show-rejects"),
        (("--show-rejects", "--limit", "0"), "at least 1"),
        (("--processes", "-1"), "--processes -1: at least 1, or 0 for"),
        (("--processes", "100000"), "--processes 100000: at most"),
        (("--engine", "ray", "--processes", "2"), "Ray divides the work itself"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(capsys: Captured, words: tuple[str, ...], what: str) -> None:
    status, _, err = run(capsys, "sample", *words)
    assert status == 2
    assert what in err


@pytest.mark.parametrize(
    ("words", "named"),
    [((), ("local", 0)), (("--processes", "2"), ("local", 2)), (("--engine", "ray"), ("ray", 0))],
)
def test_the_engine_asked_for_does_the_work_and_is_closed(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], named: tuple[str, int]
) -> None:
    asked: list[Any] = []

    class Watched:
        def map(self, function: Any, items: Any) -> Any:
            asked.append("map")
            return map(function, items)

        def close(self) -> None:
            asked.append("closed")

    def engine_named(name: str, processes: int, items: int) -> Watched:
        asked.append((name, processes))
        return Watched()

    monkeypatch.setattr("komt.mix.engine_named", engine_named)
    assert run(capsys, own_recipe(ROWS), *words)[0] == 0
    assert asked[0] == named
    assert asked[-1] == "closed"
    assert "map" in asked
    # What is built already starts no engine.
    asked.clear()
    assert run(capsys, "own.yaml", *words)[0] == 0
    assert asked == []


def test_little_work_is_done_in_one_process() -> None:
    rows = _engine._rows(load_recipe("sample"))
    assert rows == 3 * 320 + 3 * 80 + 4 * 60
    assert rows // _engine._ROWS_PER_PROCESS == 0


def test_own_files_count_by_their_size(tmp_path: Path) -> None:
    recipe = own_recipe([(f"질문 {number}", "답이에요") for number in range(30_000)])
    size = Path("t.csv").stat().st_size
    assert _engine._rows(load_recipe(recipe)) == size // _engine._BYTES_PER_ROW > 1000
