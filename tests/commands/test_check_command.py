"""`komt check`: it looks at everything, changes no run, and fails where training would be spoiled."""

import json

import pytest
import yaml

from komt.cli import main
from komt.commands import _look, _stages
from komt.mix import read_examples
from komt.models.load import load_model, load_tokenizer
from komt.models.resolve import resolve
from komt.serve.transformers_engine import TransformersEngine
from komt.testing import tiny_model_folder
from komt.train import outlook


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe over 40 rows of an own file and a tiny model."""
    rows = [{"낱말": f"낱말{n}", "뜻": f"뜻{n % 4}"} for n in range(40)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "own.jsonl").write_text(lines, encoding="utf-8")
    part = {"path": "own.jsonl", "prompt": "{{ 낱말 }}의 뜻은?", "answer": "{{ 뜻 }}", "evaluate": 0.3}
    values = {
        "name": "own",
        "model": {"name": str(tiny_model_folder(tmp_path / "model")), "bits": 32},
        "data": {"files": [part]},
        "pack": {"tokens": 128},
        "train": {"step_tokens": 256, "lora": {"dropout": 0.0}},
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return path


def checked(recipe, capsys, *words):
    status = main(["check", str(recipe), *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return status, out


def test_a_sound_recipe_is_shown_whole_and_no_run_is_made(recipe, capsys):
    status, out = checked(recipe, capsys, "--samples", "1")
    assert status == 0
    assert "의 뜻은?\n\n### Response:\n⟦뜻" in out
    assert "<eos>⟧" in out
    assert "each row begins with one <bos>; answers end in <eos>" in out
    assert "prompts: 28 rows compared with what serving encodes" in out
    assert "packing: shared" in out
    assert "memory: about " in out
    assert "time: about " in out
    assert "ready to train: 0 errors, 0 warnings" in out
    assert not (recipe.parent / "runs").exists()


def test_json_holds_the_same(recipe, capsys):
    status, out = checked(recipe, capsys, "--json", "--samples", "3")
    found = json.loads(out)
    assert (status, found["ok"], found["findings"]) == (0, True, [])
    (task,) = found["facts"]["tasks"]
    assert (task["task"], task["examples"], task["unsupervised"]) == ("own", 28, 0)
    assert 0 < task["supervised"] < task["tokens"]
    assert [[piece["kind"] for piece in sample["pieces"]] for sample in found["samples"]] == [
        ["prompt", "answer"]
    ] * 3
    assert found["korean_sample"]["per_syllable"] > 2
    assert "choose another base" in found["korean_sample"]["meaning"]
    ahead = found["outlook"]
    assert ahead["parity"]["way"] == "shared"
    assert 0 < ahead["least_bins"] <= ahead["bins"]
    assert 0 < ahead["size"]["tokens"] <= 128
    assert sum(ahead["estimate"].values()) < ahead["there"]
    assert ahead["pace"]["seconds"] > 0


def test_quick_leaves_the_model_alone(recipe, capsys, monkeypatch):
    monkeypatch.setattr(outlook, "load_and_plan", None)
    status, out = checked(recipe, capsys, "--quick", "--json", "--samples", "0")
    found = json.loads(out)
    assert (status, found["outlook"], found["samples"]) == (0, None, [])


def test_memory_that_is_not_there_is_an_error_with_settings_that_fit(recipe, capsys, monkeypatch):
    needed = json.loads(checked(recipe, capsys, "--json")[1])["outlook"]["estimate"]
    there = sum(needed.values())
    monkeypatch.setattr(outlook, "bytes_there", lambda device: there)
    status, out = checked(recipe, capsys)
    assert status == 1
    assert "error: training takes about" in out
    assert "time: about" not in out
    assert "the training would be spoiled: 1 error" in out
    # A few megabytes of activations on a process of hundreds: no setting helps much, the weights are tiny.
    monkeypatch.setattr(outlook, "bytes_there", lambda device: 1000.0)
    status, out = checked(recipe, capsys)
    assert status == 1
    assert "the weights alone take" in out


def test_an_untrained_row_stops_check_and_train_with_one_message(recipe, capsys, monkeypatch):
    assert main(["build", str(recipe)]) == 0
    data = recipe.parent / "runs" / "own" / "data"
    _without_supervision(data / "train.parquet", 2)
    monkeypatch.setattr(_stages, "built_stage", lambda recipe, note, **more: data)
    monkeypatch.setattr("komt.commands.train.build_stage", lambda recipe, out: None)
    capsys.readouterr()
    status, out = checked(recipe, capsys)
    assert status == 1
    assert "error: 2 rows have no token to train on" in out
    assert main(["train", str(recipe)]) == 1
    assert "2 rows have no token to train on" in capsys.readouterr().err
    status, out = checked(recipe, capsys, "train.unsupervised=skip", "--quick")
    assert status == 0
    assert "ready to train: 0 errors, 1 warning" in out
    assert main(["train", str(recipe), "train.unsupervised=skip", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["sequences"], summary["trained"]) == (26, 26)


def _without_supervision(path, count):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from komt.example import SCHEMA

    records = [example.as_record() for example in read_examples(path)]
    for record in records[:count]:
        for message in record["messages"]:
            message["supervised"] = False
    pq.write_table(pa.Table.from_pylist(records, SCHEMA), path)


def test_the_ids_compared_are_those_of_the_engine(recipe, tmp_path):
    from komt.example import Message

    place = resolve(str(recipe.parent / "model"))
    served = _look.tokenizer_as_served(load_tokenizer(place), place, tmp_path / "tokenizer")
    engine = TransformersEngine(load_model(place, 32), load_tokenizer(place))
    turns = [
        Message("system", "짧게 답하세요."),
        Message("user", "수도는?"),
        Message("assistant", "서울"),
        Message("user", "가장 큰 항구는?"),
    ]
    for messages in (turns[1:2], turns[1:], turns):
        assert _look.served_ids(served, messages) == engine.prompt_ids(messages)


def test_a_template_that_other_programs_read_otherwise_is_an_error(recipe, capsys, monkeypatch):
    plain = _look.served_ids
    monkeypatch.setattr(_look, "served_ids", lambda tokenizer, messages: [2, *plain(tokenizer, messages)])
    status, out = checked(recipe, capsys, "--quick")
    assert status == 1
    assert "28 of 28 prompts have other token ids when served than in training" in out


def test_wrong_words_are_usage_errors(recipe, capsys):
    assert main(["check", str(recipe), "--samples", "-1"]) == 2
    assert "--samples -1: at least 0" in capsys.readouterr().err
    assert main(["check", str(recipe), "train.lerning=1"]) == 2


@pytest.mark.parametrize("way", ["shared", "single"])
def test_pairs_are_checked_with_both_answers_and_their_memory_and_time_are_predicted(
    tmp_path, recipe, capsys, monkeypatch, way
):
    rows = [{"prompt": f"물음 {n}", "chosen": f"좋은 답 {n}", "rejected": "몰라요"} for n in range(40)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "votes.jsonl").write_text(lines, encoding="utf-8")
    assert main(["init", "votes.jsonl", "--out", "votes.yaml"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(outlook, "used_way", lambda recipe, parity: way)
    words = (f"model.name={tmp_path / 'model'}", "model.bits=32", "--samples", "1")
    status, out = checked("votes.yaml", capsys, *words)
    assert status == 0
    assert "(chosen)" in out
    assert "⟦좋은 답" in out
    assert "(rejected)" in out
    assert "⟦몰라요<eos>⟧" in out
    assert "without gradients" in out
    found = json.loads(checked("votes.yaml", capsys, *words, "--json")[1])
    (task,) = found["facts"]["tasks"]
    assert task["sequences"] == 2 * task["examples"] == 72
    pace, size = found["outlook"]["pace"], found["outlook"]["size"]
    assert 0 < pace["reference_seconds"] < pace["seconds"]
    assert size["rows"] > 0
    assert sum(found["outlook"]["estimate"].values()) < found["outlook"]["there"]
