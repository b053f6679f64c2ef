"""komt judge through its command line, over a server that fails and processes that are killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from failing_server import FailingServer

from komt.cli import main

MILD = {"busy, seconds": 0.03, "cut": 0.03, "html": 0.02}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KOMT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def answers_file(path, count, model="", extra="", turns=1):
    rows = []
    for n in range(count):
        row = {
            "id": f"q{n}",
            "instruction": f"질문 {n}",
            "answer": f"답 {n}{extra}",
            "category": f"갈래 {n % 3}",
        }
        if turns == 2:
            row = {"id": f"q{n}", "turns": [f"질문 {n}", "더?"], "answers": [f"답 {n}{extra}", f"또 {n}"]}
        rows.append({**row, **({"model": model} if model else {})})
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return str(path)


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_answers_are_judged_once_and_the_folder_says_how(home, tmp_path, capsys):
    answers = answers_file(tmp_path / "나의모델.jsonl", 12)
    with FailingServer({}) as server:
        words = [
            "judge",
            "run",
            answers,
            "--judge",
            server.address,
            "--out",
            "j",
            "--price-in",
            "1",
            "--price-out",
            "2",
        ]
        assert main([*words, "--dry-run", "--json"]) == 0
        ahead = json.loads(capsys.readouterr().out)
        assert (ahead["planned"], ahead["to_ask"], ahead["measured"]) == (12, 12, 0)
        assert server.tried.total() == 0
        assert main([*words, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        rows = read_lines(tmp_path / "j" / "judgements.jsonl")
        prompts = {seen[0]["messages"][-1]["content"] for seen in server.seen.values()}
        assert sorted(row["score"] for row in rows) == sorted(server.score(prompt) for prompt in prompts)
        assert {(row["model"], row["rubric"], row["judge"], row["verdict"]) for row in rows} == {
            ("나의모델", "single", "심사", None)
        }
        [score] = json.loads((tmp_path / "j" / "scores.json").read_text(encoding="utf-8"))
        assert score["task"] == "judge:single"
        assert (score["metric"], score["scale"], score["n"], score["unscored"]) == (
            "judge_score",
            [1, 10],
            12,
            0,
        )
        assert score["low"] <= score["value"] <= score["high"]
        assert score["value"] == pytest.approx(sum(row["score"] for row in rows) / 12)
        cost = sum(row["prompt_tokens"] + 2 * row["completion_tokens"] for row in rows) / 1e6
        assert report["cost"] == pytest.approx(cost) == pytest.approx(sum(row["cost"] for row in rows))
        # The same again costs nothing; the folder is an earlier run.
        assert main(["judge", "run", "j", "--judge", server.address, "--out", "k", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["new"] == 0
        assert server.tried.total() == 12
        assert main([*words, "--dry-run"]) == 0
        assert "12 calls, 12 in the ledger, 0 to ask" in capsys.readouterr().out


def test_pairs_are_asked_in_both_orders_and_a_judge_of_one_mind_ties(home, tmp_path, capsys):
    one = answers_file(tmp_path / "one.jsonl", 6, turns=2)
    two = answers_file(tmp_path / "two.jsonl", 6, extra=" 길게", turns=2)

    class First(FailingServer):
        """Finds whatever is shown first better, except for the longer one in question 0."""

        def reply(self, prompt):
            first, second = prompt.split("B 시작]")[:2]
            if "질문 0" in prompt:
                return "[[A]]" if "길게" in first else "[[B]]"
            return "[[A]]" if second else ""

    with First({}) as server:
        words = ["judge", "run", one, "--against", two, "--judge", server.address, "--out", "p", "--json"]
        assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    rows = read_lines(tmp_path / "p" / "judgements.jsonl")
    assert len(rows) == report["calls"] == 24
    assert {(row["rubric"], row["turn"], row["order"]) for row in rows} == {
        (name, turn, order) for name, turn in (("pair", 1), ("pair-two-turn", 2)) for order in ("ab", "ba")
    }
    assert {row["verdict"] for row in rows if row["question"] == "q0"} == {"b"}
    assert [row["verdict"] for row in rows if row["question"] == "q1"] == ["a", "b"] * 2
    wins = {(row["model"], row["task"]): row["value"] for row in report["scores"]}
    assert wins["one", "judge:pair"] == pytest.approx(5 / 12)
    assert wins["two", "judge:pair"] == pytest.approx(7 / 12)


def test_two_sets_of_one_name_are_refused_and_one_of_several_models_is_compared_with_each(
    home, tmp_path, capsys
):
    one, two = answers_file(tmp_path / "one.jsonl", 2), tmp_path / "two.jsonl"
    answers_file(two, 2, model="가", extra="!")
    rows = two.read_text(encoding="utf-8")
    two.write_text(rows + rows.replace('"가"', '"나"').replace("답 ", "다른 답 "), encoding="utf-8")
    words = ["judge", "run", one, "--judge", "http://127.0.0.1:9/v1#x", "--dry-run", "--json", "--against"]
    assert main([*words, one]) == 2
    assert "both sets of answers are by 'one'" in capsys.readouterr().err
    assert main([*words, str(two)]) == 0
    assert json.loads(capsys.readouterr().out)["planned"] == 2 * 2 * 2


def test_a_model_is_asked_first_and_its_answers_are_kept(home, tmp_path, capsys):
    with FailingServer(MILD) as server:
        words = [
            "judge",
            "run",
            f"{server.address}#심사",
            "--judge",
            server.address,
            "--limit",
            "5",
            "--out",
            "m",
            "--json",
        ]
        assert main(words) == 0
        report = json.loads(capsys.readouterr().out)
        answered = read_lines(tmp_path / "m" / "answers.jsonl")
        assert len(answered) == 5
        assert len({row["category"] for row in answered}) == 5
        assert all(answer.startswith("이유는") for row in answered for answer in row["answers"])
        turns = sum(len(row["answers"]) for row in answered)
        assert report["calls"] == turns
        assert set(server.served.values()) == {1}
        assert server.served.total() == 2 * turns
        assert main(words) == 0
        assert server.served.total() == 2 * turns


def test_over_the_budget_the_run_stops_and_goes_on_with_more(home, tmp_path, capsys):
    answers = answers_file(tmp_path / "a.jsonl", 9)
    with FailingServer({}) as server:
        words = ["judge", "run", answers, "--judge", server.address, "--out", "b"]
        assert main([*words, "--budget-calls", "4"]) == 1
        assert "5 calls have no reply yet" in capsys.readouterr().err
        assert len(read_lines(tmp_path / "b" / "judgements.jsonl")) == 4
        assert main(words) == 0
        assert server.tried.total() == 9
        assert main([*words, "--budget-money", "1"]) == 2
        assert "--price-in" in capsys.readouterr().err


@pytest.mark.parametrize("kills", [3])
def test_a_run_that_is_killed_again_and_again_asks_nothing_twice(home, tmp_path, kills):
    answers = answers_file(tmp_path / "a.jsonl", 160)
    words = [
        sys.executable,
        "-m",
        "komt",
        "judge",
        "run",
        answers,
        "--out",
        "k",
        "--concurrency",
        "8",
        "--judge",
    ]
    with FailingServer(MILD, latency_s=0.01) as server:
        for number in range(1, kills + 1):
            reached = threading.Event()
            server.on_served = lambda count, enough=35 * number, reached=reached: (
                count >= enough and reached.set()
            )
            child = subprocess.Popen([*words, server.address], cwd=tmp_path, env={**os.environ})
            assert reached.wait(120)
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert not (tmp_path / "k").exists()
        server.on_served = lambda count: None
        subprocess.run(
            [*words, server.address], cwd=tmp_path, env={**os.environ}, check=True, capture_output=True
        )
        assert len(server.served) == 160
        # What the server had sent when its client was killed is the only thing it sends again.
        assert server.served.total() <= 160 + kills * 8
    ledger = sqlite3.connect(home / "judge" / "ledger.sqlite")
    assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (160,)
    done = ledger.execute("SELECT key, count(*) FROM attempts WHERE ending = 'done' GROUP BY key").fetchall()
    assert [count for _, count in done] == [1] * 160
    assert ledger.execute("SELECT count(*) FROM attempts WHERE ending IS NULL").fetchone() == (0,)
    ledger.close()
    rows = read_lines(tmp_path / "k" / "judgements.jsonl")
    assert len(rows) == 160
    assert all(row["score"] is not None for row in rows)


def test_two_commands_at_once_share_one_run(home, tmp_path):
    answers = answers_file(tmp_path / "a.jsonl", 60)
    words = [sys.executable, "-m", "komt", "judge", "run", answers, "--concurrency", "4", "--judge"]
    with FailingServer(MILD, latency_s=0.02) as server:
        both = [
            subprocess.Popen([*words, server.address, "--out", out], cwd=tmp_path, stdout=subprocess.DEVNULL)
            for out in ("one", "two")
        ]
        assert [child.wait(300) for child in both] == [0, 0]
        assert set(server.served.values()) == {1}
        assert len(server.served) == 60
    first, second = (read_lines(tmp_path / out / "judgements.jsonl") for out in ("one", "two"))
    assert first == second


def test_published_files_are_read_again_and_compared(home, tmp_path, capsys):
    rows = [
        {"id": 1, "instruction": "질문", "answer": "답", "chatgpt": "4점입니다. 정확합니다.", "score": 4},
        {"id": 2, "instruction": "질문 2", "answer": "답", "chatgpt": "평가할 수 없습니다.", "score": 0},
        {"id": 3, "instruction": "질문 3", "answer": "답", "chatgpt": "점수: 3", "score": 5},
    ]
    path = tmp_path / "komt-7b.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert main(["judge", "import", str(path), "--out", "i", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    table = report["models"]["komt-7b"]
    assert table["recorded"] == {"scored": 3, "sum": 9, "average": 3, "percent": 60}
    assert table["read"] == {"scored": 2, "sum": 7, "average": 3.5, "percent": 70}
    assert [(one["question"], one["recorded"], one["read"]) for one in report["disagreements"]] == [
        ("2", 0, None),
        ("3", 5, 3),
    ]
    assert [row["score"] for row in read_lines(tmp_path / "i" / "judgements.jsonl")] == [4, None, 3]
    assert json.loads((tmp_path / "i" / "scores.json").read_text(encoding="utf-8"))[0]["unscored"] == 1
    assert main(["judge", "import", str(path)]) == 0
    assert "line 2: recorded 0, the reply says no score (the judge declines)" in capsys.readouterr().out


@pytest.mark.parametrize("score", ["NaN", "1e400", "9" * 400, "true", '"nan"', "[4]", '"4점"'])
def test_a_recorded_score_that_is_no_number_is_told_with_its_place(home, tmp_path, capsys, score):
    path = tmp_path / "m.jsonl"
    row = '{"id": 1, "instruction": "질문", "answer": "답", "chatgpt": "점수: 4", "score": %s}'
    path.write_text(row % score, encoding="utf-8")
    assert main(["judge", "import", str(path)]) == 1
    error = capsys.readouterr().err
    assert "is no number" in error
    assert "m.jsonl, line 1" in error


def test_published_rows_without_ids_are_told_apart_by_their_questions(home, tmp_path, capsys):
    path = tmp_path / "m.jsonl"
    row = {"id": None, "answer": "답", "chatgpt": "점수: 4", "score": 4, "model": "[/b]"}
    rows = [{**row, "instruction": f"질문 {n}"} for n in range(2)]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert main(["judge", "import", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["[/b]", "2", "2", "8"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("[" * 100_000, "JSON that cannot be read"),
        ("1" * 5_000, "JSON that cannot be read"),
        ('{"id": 1, "answer": "답"}', "no question to the id '1'"),
        ('{"id": 1, "instruction": "질문"}', "no answer in it"),
        ('{"id": 1, "instruction": "질문", "answer": 5}', "'answer' is no text"),
        ('{"id": 1, "instruction": "질문", "answer": "답"}\n' * 2, "twice"),
        ("[1]", "not an object"),
        ("{", "not JSON"),
    ],
)
def test_answers_that_are_none_are_told_with_their_place(home, tmp_path, capsys, rows, message):
    path = tmp_path / "a.jsonl"
    path.write_text(rows, encoding="utf-8")
    assert main(["judge", "run", str(path), "--judge", "http://127.0.0.1:9/v1#x"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "a.jsonl" in error


@pytest.mark.parametrize("rows", ["{", "[1]", '{"instruction": "질문", "answer": "답"}'])
def test_a_broken_line_of_an_import_names_the_form_of_imports(home, tmp_path, capsys, rows):
    path = tmp_path / "a.jsonl"
    path.write_text(rows, encoding="utf-8")
    assert main(["judge", "import", str(path)]) == 1
    error = capsys.readouterr().err
    assert "to mend it: rows are {id, instruction, answer, chatgpt, score}" in error
    assert "answers" not in error


def test_a_limit_takes_the_same_questions_of_every_model(home, tmp_path, capsys):
    (tmp_path / "report").mkdir()
    for model in ("base", "tuned"):
        answers_file(tmp_path / "report" / f"answers-{model}.jsonl", 6, extra=model)
    words = ["--judge", "http://127.0.0.1:9/v1#x", "--limit", "3", "--dry-run", "--json"]
    assert main(["judge", "run", "report", *words]) == 0
    assert json.loads(capsys.readouterr().out)["planned"] == 6


def test_answers_and_ledgers_that_are_not_there_or_folders_are_told(home, tmp_path, capsys):
    judge = ["--judge", "http://127.0.0.1:9/v1#x"]
    assert main(["judge", "run", "nowhere.jsonl", *judge]) == 1
    assert "no such file: nowhere.jsonl" in capsys.readouterr().err
    answers = answers_file(tmp_path / "a.jsonl", 2)
    assert main(["judge", "run", answers, *judge, "--ledger", str(tmp_path)]) == 1
    assert "the ledger is a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rubric", "singel"], "did you mean 'single'"),
        (["--rubric", "pair"], "--against"),
        (["--price-in", "1"], "give both"),
        (["--repeat", "0"], "at least 1"),
        (["--temperature", "nan"], "--temperature nan: a number of at least 0"),
        (["--timeout", "0"], "above 0"),
        (["--timeout", "inf"], "--timeout inf"),
        (["--price-in", "-1", "--price-out", "1"], "--price-in -1"),
        (["--price-in", "1", "--price-out", "nan"], "--price-out nan"),
        (["--budget-money", "nan", "--price-in", "1", "--price-out", "1"], "--budget-money nan"),
        (["--rubric", "two-turn"], "nothing to judge"),
    ],
)
def test_wrong_usage_is_told(home, tmp_path, capsys, words, message):
    answers = answers_file(tmp_path / "a.jsonl", 2)
    assert main(["judge", "run", answers, "--judge", "http://127.0.0.1:9/v1#x", *words]) == 2
    assert message in capsys.readouterr().err
