"""Scores as text, Markdown, CSV and JSON, with their flags; the published table of judges."""

import csv
import io
import json

import pytest
from report_folders import score_row, write_evaluation, write_judged
from rich.console import Console

from komt.cli import main
from komt.report import compare, read_report
from komt.report.tables import as_csv, as_json, as_markdown, published
from komt.report.text import print_report

FLAGGED = [
    score_row("b", 0.5, task="korquad.qa", comparable=False, flags=["resplit"]),
    score_row(
        "b",
        0.75,
        task="sample.title",
        contaminated=3,
        clean={"value": 0.5, "low": 0.25, "high": 0.75, "n": 17},
        limit=20,
        flags=["contaminated", "limited"],
    ),
]


@pytest.fixture
def folder(tmp_path):
    return write_evaluation(tmp_path / "e", {"a": [0.0] * 20, "b": [1.0] * 20}, rows=FLAGGED)


def test_every_form_carries_scores_intervals_and_flags(folder):
    report = read_report([folder])
    found = compare(report, "a", "b")
    text = io.StringIO()
    print_report(report, found, Console(file=text, width=150, highlight=False))
    for shown in (text.getvalue(), as_markdown(report, found)):
        assert "not comparable with published results" in shown
        assert "3 examples stand in its training data; without them f1 is 0.500 [0.250, 0.750]" in shown
        assert "limited: 20 rows each" in shown
        assert "+1.000 [+1.000, +1.000] (n = 20)" in shown
        assert "better" in shown
    table = [line for line in as_markdown(report, None).splitlines() if line.startswith("| sample.qa")]
    assert table == ["| sample.qa | f1 | 1.000 [0.900, 1.000] (n = 20) | 0.000 [0.000, 0.100] (n = 20) |"]


def test_csv_has_a_line_a_score_and_json_everything(folder):
    report = read_report([folder])
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert [row["flags"] for row in rows] == ["resplit", "contaminated limited", "", ""]
    assert (rows[3]["model"], float(rows[3]["value"]), rows[3]["limit"]) == ("b", 1.0, "")
    found = json.loads(as_json(report, compare(report, "a", "b")))
    assert len(found["scores"]) == 4
    assert found["comparison"]["changes"][0]["verdict"] == "better"
    assert len(found["comparison"]["gained"]) == 20


def test_the_published_table_gives_sum_average_and_percentage_with_intervals(tmp_path):
    report = read_report([write_judged(tmp_path / "j", {"a": [3, 4, 5, None], "b": [1, 1, 2, 0]})])
    [(key, rows)] = published(report).items()
    assert key == ("komt-0-5", "큰 모델", 5.0)
    assert [row.model for row in rows] == ["a", "b"]
    first = rows[0]
    assert (first.total.value, first.average.value, first.percentage.value) == (12, 4, pytest.approx(80))
    assert (first.n, first.unscored) == (3, 1)
    assert "| a | 12.0 [9.0, 15.0] | 4.00 [3.00, 5.00] | 80.00 [60.00, 100.00] % | 3 | 1 |" in as_markdown(
        report, None
    )


def test_rank_groups_biases_and_spread_stand_in_terminal_and_markdown(tmp_path):
    folder = write_judged(
        tmp_path / "j",
        {"a": [4, 5, 4, 5, 4, 5, 4, 5], "b": [1, 0, 1, 0, 1, 0, 1, 0], "c": [4, 5, 4, 5, 4, 5, 5, 4]},
        [("a", "b", [("a", "a")] * 6 + [("a", "b")] * 2)],
    )
    path = folder / "judgements.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows:
        row["answer"] *= 1 + 3 * ((int(row["question"]) + ord(row["model"])) % 2)  # every second one is long
    again = [
        {**row, "repeat": 1, "score": None if row["score"] is None else abs(row["score"] - 1)} for row in rows
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows + again), "utf-8")
    report = read_report([folder])
    text = io.StringIO()
    print_report(report, None, Console(file=text, width=200, highlight=False))
    markdown = as_markdown(report, None)
    assert "## Judges" in markdown
    for shown in (text.getvalue(), markdown):
        assert "komt-0-5: rank groups 1. " in shown
        assert "; 2. b (rank 3)" in shown
        assert "komt-0-5: repeats of one judgement vary by 0.71 points" in shown
        assert "pair: the order of the answers changed 25% of the verdicts" in shown
        assert "an answer twice as long gets" in shown


def test_the_command_prints_and_writes_all_forms(folder, tmp_path, capsys):
    assert main(["report", str(folder), "--compare", "a", "b"]) == 0
    assert "b against a" in capsys.readouterr().out
    assert main(["report", str(folder), "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("model,task,order")
    assert main(["report", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["remarks"]
    assert main(["report", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"report.{form}" for form in ("csv", "html", "json", "md")
    ]
    capsys.readouterr()
    assert main(["report", str(folder), "--compare", "a", "c"]) == 2
    assert "no model is called 'c'" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none")]) == 1


def test_a_run_without_scores_says_where_its_curves_are(tmp_path, capsys):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n', encoding="utf-8")
    assert main(["report", str(tmp_path)]) == 0
    assert "no scores yet; --out DIR writes a page" in capsys.readouterr().out
