"""`komt run` and `komt train` on a tiny model: stages are used again, changed ones never pass for the old."""

import json

import pytest
import yaml

from komt.cli import main
from komt.testing import tiny_model_folder


@pytest.fixture
def recipe(tmp_path):
    """A recipe over 40 rows of an own file, a tiny model, and its run folder's place."""
    rows = [{"낱말": f"낱말{n}", "뜻": f"뜻{n % 4}"} for n in range(40)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "own.jsonl").write_text(lines, encoding="utf-8")
    values = {
        "name": "own",
        "model": {"name": str(tiny_model_folder(tmp_path / "model")), "bits": 32},
        "data": {
            "files": [
                {"path": "own.jsonl", "prompt": "{{ 낱말 }}의 뜻은?", "answer": "{{ 뜻 }}", "evaluate": 0.3}
            ]
        },
        "pack": {"tokens": 128},
        "train": {"step_tokens": 256, "lora": {"dropout": 0.0}},
        "evaluate": {"tasks": ["own"], "compare": ["base", "base-5shot"], "max_new_tokens": 4},
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return path


def run(recipe, *words, verb="run"):
    return main([verb, str(recipe), "--out", str(recipe.parent / "run"), *words])


def test_a_run_scores_base_shots_and_tuned_and_is_used_again(recipe, capsys):
    assert run(recipe) == 0
    out = recipe.parent / "run"
    scores = json.loads((out / "report" / "scores.json").read_text(encoding="utf-8"))
    assert {row["model"] for row in scores} == {"base", "base-5shot", "tuned"}
    keys = {"model", "task", "split", "shots", "metric", "value", "low", "high", "n", "unscored"}
    assert all(keys <= set(row) for row in scores)
    assert {row["shots"] for row in scores if row["model"] == "base-5shot"} == {5}
    manifest = json.loads((out / "data" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["examples"] == 28
    adapter = (out / "train" / "adapter" / "adapter_model.safetensors").read_bytes()
    trained = (out / "train" / "train.json").read_bytes()
    capsys.readouterr()
    assert run(recipe) == 0
    assert "own" in capsys.readouterr().out
    assert (out / "train" / "train.json").read_bytes() == trained
    assert (out / "train" / "adapter" / "adapter_model.safetensors").read_bytes() == adapter


def test_changed_settings_move_the_former_result_aside(recipe, capsys):
    assert run(recipe) == 0
    out = recipe.parent / "run"
    former = (out / "train" / "train.json").read_bytes()
    assert run(recipe, "train.lr=1e-3", verb="train") == 0
    assert "the former result is kept in" in capsys.readouterr().err
    assert (out / "train.previous" / "train.json").read_bytes() == former
    assert (out / "train" / "train.json").read_bytes() != former
    assert not (out / "report").exists()
    assert (out / "report.previous" / "scores.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.epochs=.inf"], "train.epochs: input should be a finite number"),
        (["train.lerning=1"], "unknown key"),
        (["train"], "not of the form key=value"),
        (["evaluate.tasks=[own, korquad.qq]"], "did you mean 'korquad.qa'?"),
    ],
)
def test_wrong_settings_stop_before_anything_is_written(recipe, capsys, words, message):
    assert run(recipe, *words) == 2
    assert message in capsys.readouterr().err
    assert not (recipe.parent / "run").exists()


def test_an_unknown_metric_stops_before_anything_is_written(recipe, capsys):
    text = recipe.read_text(encoding="utf-8").replace("evaluate: 0.3", "evaluate: 0.3\n    metrics: [rouge]")
    recipe.write_text(text, encoding="utf-8")
    assert run(recipe) == 2
    assert "unknown metric 'rouge'" in capsys.readouterr().err
    assert not (recipe.parent / "run").exists()


def test_a_key_given_twice_is_an_error_with_its_line(recipe, capsys):
    recipe.write_text(recipe.read_text(encoding="utf-8") + "seed: 1\nseed: 7\n", encoding="utf-8")
    assert run(recipe) == 2
    error = capsys.readouterr().err
    assert "the key 'seed' is given twice" in error
    assert "line" in error


def test_a_full_disk_is_named_whatever_library_met_it(recipe, capsys, monkeypatch):
    from safetensors import SafetensorError

    def full(*words, **more):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("komt.train.checkpoint.save_file", full)
    assert run(recipe) == 1
    assert "no space left on the disk" in capsys.readouterr().err
    assert not list((recipe.parent / "run" / "train" / "checkpoints").iterdir())


def test_a_run_on_preference_pairs_scores_the_held_out_ones(tmp_path, capsys):
    rows = [
        {
            "prompt": f"{n}번 질문입니다.",
            "chosen": f"답 {n}번입니다.",
            "rejected": f"모름 {n}",
            "chosen_model": "a",
        }
        for n in range(24)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "votes.jsonl").write_text(lines, encoding="utf-8")
    templates = {"prompt": "{{ prompt }}", "answer": "{{ chosen }}", "rejected": "{{ rejected }}"}
    values = {
        "name": "votes",
        "model": {"name": str(tiny_model_folder(tmp_path / "model")), "bits": 32},
        "data": {
            "files": [{"path": "votes.jsonl", **templates, "evaluate": 0.25}],
            "quality": {"duplicates": "exact"},
        },
        "pack": {"tokens": 256},
        "train": {"objective": "dpo", "step_examples": 6, "lora": {"dropout": 0.0}},
    }
    path = tmp_path / "votes.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    assert run(path) == 0
    scores = json.loads((tmp_path / "run" / "report" / "scores.json").read_text(encoding="utf-8"))
    found = {(row["model"], row["metric"]) for row in scores}
    likely = [
        f"{name}{end}"
        for name in ("pair_accuracy", "chosen_log_prob", "rejected_log_prob")
        for end in ("", "_norm")
    ]
    both = {(model, metric) for model in ("base", "tuned") for metric in likely}
    assert found == {*both, *(("tuned", name) for name in ("reward_accuracy", "reward_margin", "pair_loss"))}
    manifest = json.loads((tmp_path / "run" / "data" / "manifest.json").read_text(encoding="utf-8"))
    held = manifest["tasks"]["votes"]["evaluation"]["examples"]
    assert {row["n"] for row in scores} == {held}
    assert manifest["examples"] + held == 24
    assert "reward_margin" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "run")]) == 0
