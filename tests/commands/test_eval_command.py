"""komt eval through the command line, on a tiny model: tasks, choices, orders, records, answers to read."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from komt.cli import main
from komt.mix import examples_of, fingerprint
from komt.mix.fitting import FINGERPRINTS
from komt.tasks import load_task
from komt.testing import tiny_model_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_folder(tmp_path_factory.mktemp("model"), "gemma3"))


def test_eval_scores_the_sample_and_leaves_scores_and_answers(model, tmp_path, capsys):
    words = ["eval", model, "--tasks", "sample.sentiment,sample.qa", "--limit", "3", "--bits", "32"]
    assert main([*words, "--max-new-tokens", "4", "--out", str(tmp_path), "--json", "--name", "tiny"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert [(row["task"], row["metric"], row["by"]) for row in rows] == [
        ("sample.sentiment", "accuracy", "loglikelihood"),
        ("sample.sentiment", "macro_f1", "loglikelihood"),
        ("sample.qa", "exact_match", "generation"),
        ("sample.qa", "f1", "generation"),
    ]
    for row in rows:
        assert {row["model"], row["split"]} == {"tiny", "test"}
        assert (row["n"], row["unscored"], row["shots"]) == (3, 0, 0)
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
        assert (row["limit"], row["flags"]) == (3, ["limited"])
    assert rows[0]["off_label"] == 0
    assert len((tmp_path / "answers-tiny.jsonl").read_text(encoding="utf-8").splitlines()) == 6


def test_choices_may_be_written_instead(model, capsys):
    words = ["eval", model, "--tasks", "sample.sentiment", "--limit", "3", "--bits", "32", "--json"]
    assert main([*words, "--choices", "generate"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["by"], row["off_label"]) for row in rows] == [("generation", 3)] * 2
    assert main([*words, "--normalise", "byte"]) == 0
    assert {row["by"] for row in json.loads(capsys.readouterr().out)} == {"loglikelihood"}


def test_eval_shows_solved_examples_and_prints_a_table(model, capsys):
    words = ["eval", model, "--tasks", "sample.sentiment", "--limit", "2", "--shots", "2", "--bits", "32"]
    assert main([*words, "--max-new-tokens", "2", "--name", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "tiny-2shot" in out
    assert "n = 2" in out
    assert "by likelihood" in out
    assert "limited: 2 rows each, not all there are: sample.sentiment" in out


def test_a_second_evaluation_asks_nothing_and_does_not_load_the_model(model, capsys, monkeypatch):
    words = [
        "eval",
        model,
        "--tasks",
        "sample.sentiment,sample.title",
        "--limit",
        "4",
        "--bits",
        "32",
        "--json",
    ]
    assert main(words) == 0
    first = capsys.readouterr()
    assert "8 answers in" in first.err
    assert "8 of them newly asked" in first.err
    monkeypatch.setattr("komt.commands._model.engine_of", lambda args: pytest.fail("the model was loaded"))
    assert main(words) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert "0 of them newly asked" in second.err


def test_both_orders_give_scores_of_their_own(model, capsys):
    words = [
        "eval",
        model,
        "--tasks",
        "sample.qa",
        "--limit",
        "2",
        "--order",
        "both",
        "--bits",
        "32",
        "--json",
    ]
    assert main([*words, "--max-new-tokens", "2"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["order"], row["metric"]) for row in rows] == [
        ("passage_first", "exact_match"),
        ("passage_first", "f1"),
        ("instruction_first", "exact_match"),
        ("instruction_first", "f1"),
    ]


def test_families_and_all_skip_what_is_not_here_and_say_so(model, capsys):
    words = ["eval", model, "--limit", "1", "--max-new-tokens", "1", "--bits", "32", "--json"]
    assert main([*words, "--tasks", "family:sentiment,sample.title"]) == 0
    found = capsys.readouterr()
    assert {row["task"] for row in json.loads(found.out)} == {"sample.sentiment", "sample.title"}
    assert "skipped, for their evaluation rows are not here" in found.err
    assert "nsmc" in found.err
    assert main([*words, "--tasks", "all"]) == 0
    tasks = {row["task"] for row in json.loads(capsys.readouterr().out)}
    assert len(tasks) > 15
    assert all(task.startswith("sample.") for task in tasks)


def test_answers_are_shown_and_shown_again_from_the_folder(model, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["eval", model, "--tasks", "sample.qa", "--limit", "3", "--max-new-tokens", "4", "--bits", "32"]
    assert main([*words, "--name", "tiny", "--out", str(out), "--show", "wrong", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("sample.qa:") == 2
    assert "cut at the length limit" in shown
    assert main(["eval", str(out), "--show", "all"]) == 0
    assert capsys.readouterr().out.count("sample.qa:") == 3
    assert main(["eval", str(out), "--show", "right"]) == 0
    assert capsys.readouterr().out == "nothing to show\n"


def test_examples_of_the_training_data_are_flagged(model, tmp_path, capsys):
    place = tmp_path / "run"
    folder = str(tiny_model_folder(place / "train" / "model"))
    rows = examples_of(load_task("sample.sentiment"), "train", 0)[3:]
    (place / "data").mkdir()
    columns = [[fingerprint(one) for one in rows], [one.task for one in rows], [one.id for one in rows]]
    prints = pa.Table.from_arrays(list(map(pa.array, columns)), schema=FINGERPRINTS)
    pq.write_table(prints, place / "data" / "fingerprints.parquet")
    words = ["eval", folder, "--tasks", "sample.sentiment", "--split", "train", "--bits", "32"]
    assert main([*words, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["contaminated"], row["n"]) == (len(rows), len(rows) + 3)
    assert row["flags"] == ["contaminated"]
    assert row["clean"]["n"] == 3
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"text": "무관한 글"}\n', encoding="utf-8")
    assert main(["eval", model, *words[2:], "--json", "--against", str(mine)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["contaminated"] == 0
    assert main(["eval", model, *words[2:], "--against", str(place)]) == 0
    assert (
        f"{len(rows)} examples stand in its training data; without them accuracy is"
        in capsys.readouterr().out
    )


def test_eval_mistakes_are_found_before_the_model_is_loaded(capsys):
    assert main(["eval", "no-such-model", "--tasks", "sample.sentimant"]) == 2
    assert "did you mean 'sample.sentiment'" in capsys.readouterr().err
    assert main(["eval", "no-such-model", "--tasks", "family:sentimant"]) == 2
    assert "did you mean 'sentiment'" in capsys.readouterr().err
    assert main(["eval", "no-such-model", "--tasks", ","]) == 2
    assert main(["eval", "no-such-model"]) == 2
    assert main(["eval", "no-such-model", "--tasks", "sample.qa", "--limit", "0"]) == 2
    assert main(["eval", "no-such-model", "--tasks", "sample.qa", "--shots", "-1"]) == 2
    assert main(["eval", "no-such-model", "--tasks", "sample.qa", "--show", "wong"]) == 2
    assert main(["eval", "no-such-model", "--tasks", "sample.qa", "--against", "/none"]) == 1
    assert main(["eval", "no-such-model", "--tasks", "sample.qa", "--split", "dev"]) == 1
    assert "has no split 'dev'" in capsys.readouterr().err
