"""The training stage on preference pairs: held-out pairs scored, resumed exactly, from an adapter too."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from komt.errors import DataError, UsageError
from komt.example import SCHEMA, Example, Message
from komt.train import preference
from komt.train.identity import stage_key
from komt.train.log import TrainLog
from komt.train.run import train

ADAPTER = "adapter/adapter_model.safetensors"
CITIES = ("서울", "부산", "대구", "인천", "광주", "대전", "울산", "세종")


class Killed(BaseException):
    """Stands for kill -9."""


def pair(number, city, split):
    asked, chosen, rejected = f"{city}은 어디인가요? {number}", f"{city}입니다.", "모름"
    messages = (Message("user", asked), Message("assistant", chosen, True))
    head = (f"{split}.{city}.{number}", "toy", *["x"] * 5, split, "own")
    return Example(*head, group="", messages=messages, chosen=chosen, rejected=rejected)


def write(path, examples):
    pq.write_table(pa.Table.from_pylist([one.as_record() for one in examples], SCHEMA), path)


@pytest.fixture
def pairs_folder(tmp_path):
    """16 training pairs and 4 held-out ones, which are preferred alike."""
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "train.parquet", [pair(n, city, "train") for city in CITIES for n in range(2)])
    write(folder / "evaluate.parquet", [pair(9, city, "test") for city in CITIES[:4]])
    return folder


@pytest.fixture
def recipe(toy_recipe, model_folder):
    """Eight steps on a tiny Llama with dropout."""

    def make(model=None, **settings):
        settings = {
            "objective": "dpo",
            "step_examples": 4,
            "save_steps": 2,
            "lora": {"dropout": 0.1},
            **settings,
        }
        return toy_recipe(model or model_folder("llama"), pack={"tokens": 256}, **settings)

    return make


def log_of(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in {"time", "examples_s"}} for line in lines]


def held_out_of(out):
    found = json.loads((out / "pairs.json").read_text())["pairs"]
    return {name: np.array([one[name] for one in found]) for name in ("log_probs", "reference", "tokens")}


@pytest.mark.parametrize("objective", ["dpo", "ipo"])
def test_training_logs_rewards_and_scores_the_held_out_pairs(recipe, pairs_folder, tmp_path, objective):
    out = tmp_path / "train"
    summary = train(recipe(objective=objective, epochs=6), pairs_folder, out, quiet=True)
    assert (summary["pairs"], summary["held_out_pairs"], summary["trained"]) == (16, 4, 96)
    log = log_of(out)
    added = {"reward_margin", "reward_accuracy", "chosen_log_prob", "rejected_log_prob"}
    assert set(log[0]) == {"step", "loss", "lr", "task_loss", *added}
    assert log[-1]["loss"] < log[0]["loss"]
    assert log[-1]["reward_accuracy"] == 1
    found = held_out_of(out)
    gained = found["log_probs"] - found["reference"]
    assert (gained[:, 0] > gained[:, 1]).all()
    assert (found["reference"] < 0).all()


def test_killed_and_resumed_is_uninterrupted_and_the_reference_is_not_computed_again(
    recipe, pairs_folder, tmp_path, monkeypatch
):
    train(recipe(), pairs_folder, tmp_path / "whole", quiet=True)
    out, plain = tmp_path / "broken", TrainLog.step

    def killed(self, number, *rest):
        plain(self, number, *rest)
        if number == 6:
            raise Killed

    monkeypatch.setattr(TrainLog, "step", killed)
    with pytest.raises(Killed):
        train(recipe(), pairs_folder, out, quiet=True)
    monkeypatch.setattr(TrainLog, "step", plain)
    reference = (out / "reference.safetensors").read_bytes()
    counted, compute = [], preference.log_probs_of
    monkeypatch.setattr(preference, "log_probs_of", lambda *rest: counted.append(1) or compute(*rest))
    train(recipe(), pairs_folder, out, resume=True, quiet=True)
    assert counted == []
    assert (out / "reference.safetensors").read_bytes() == reference
    assert (out / ADAPTER).read_bytes() == (tmp_path / "whole" / ADAPTER).read_bytes()
    assert (out / "pairs.json").read_bytes() == (tmp_path / "whole" / "pairs.json").read_bytes()
    assert log_of(out) == log_of(tmp_path / "whole")


def test_an_adapter_is_gone_on_with_and_is_its_own_reference(recipe, pairs_folder, tmp_path):
    first, second = tmp_path / "first" / "train", tmp_path / "second"
    train(recipe(epochs=4), pairs_folder, first, quiet=True)
    train(recipe(model=first / "adapter", lr=1e-3), pairs_folder, second, quiet=True)
    tuned, start = held_out_of(first)["log_probs"], held_out_of(second)["reference"]
    assert start == pytest.approx(tuned, rel=1e-4)
    weights, former = (load_file(folder / ADAPTER) for folder in (second, first))
    assert set(weights) == set(former)
    moved = [np.abs(weights[name] - former[name]).max() for name in weights]
    assert 0 < max(moved) < 0.05  # a fresh adapter would differ by far more
    with pytest.raises(UsageError, match="cannot be fine-tuned in full"):
        train(recipe(model=first / "adapter", method="full"), pairs_folder, tmp_path / "full", quiet=True)


def test_full_fine_tuning_prefers_too(recipe, pairs_folder, tmp_path):
    train(recipe(method="full", epochs=4, lr=1e-3), pairs_folder, tmp_path / "train", quiet=True)
    found = held_out_of(tmp_path / "train")
    gained = found["log_probs"] - found["reference"]
    assert (gained[:, 0] > gained[:, 1]).all()


def test_examples_that_are_no_pairs_are_refused(recipe, data_folder, tmp_path):
    with pytest.raises(DataError, match="no rejected answer"):
        train(recipe(), data_folder, tmp_path / "train", quiet=True)


def test_the_key_knows_the_objective_but_not_what_sft_does_not_use(recipe, pairs_folder):
    def key(**settings):
        return stage_key(recipe(**settings), pairs_folder, "model")

    assert key(preference={"beta": 0.2}) != key() != key(objective="ipo")
    sft = key(objective="sft")
    assert sft == key(objective="sft", preference={"beta": 0.2})
    write(pairs_folder / "evaluate.parquet", [pair(8, "서울", "test")])
    assert key(objective="sft") == sft


def test_held_out_pairs_are_measured_on_the_way(recipe, pairs_folder, tmp_path):
    settings = {"epochs": 6, "lora": {"dropout": 0.0}, "preference": {"sft": 0.5}}
    out, plain = tmp_path / "train", tmp_path / "plain"
    summary = train(recipe(held_out={"every_steps": 12}, **settings), pairs_folder, out, quiet=True)
    lines = [json.loads(line) for line in (out / "held_out.jsonl").read_text().splitlines()]
    assert [(line["step"], line["task"]) for line in lines] == [
        (step, task) for step in (0, 12, 24) for task in ("", "toy")
    ]
    keys = {"step", "task", "loss", "accuracy", "perplexity", "margin", "pairs"}
    assert all(set(line) == keys and line["pairs"] == 4 for line in lines)
    # At the start nothing has been gained: log 2, and half the loss of the chosen answers' tokens.
    assert lines[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert lines[0]["loss"] == pytest.approx(np.log(2) + 0.5 * np.log(lines[0]["perplexity"]), rel=1e-5)
    found = held_out_of(out)
    gained = found["log_probs"] - found["reference"]
    margins = 0.1 * (gained[:, 0] - gained[:, 1])
    nats = -found["log_probs"][:, 0].sum() / found["tokens"][:, 0].sum()
    assert lines[-1]["margin"] == pytest.approx(margins.mean(), rel=1e-4)
    assert lines[-1]["accuracy"] == (margins > 0).mean() == 1
    assert lines[-1]["loss"] == pytest.approx(np.log1p(np.exp(-margins)).mean() + 0.5 * nats, rel=1e-4)
    assert summary["held_out"] == lines[-2:]
    train(recipe(**settings), pairs_folder, plain, quiet=True)
    assert (out / ADAPTER).read_bytes() == (plain / ADAPTER).read_bytes()


def test_training_stops_by_the_loss_of_held_out_pairs(recipe, pairs_folder, tmp_path):
    held = {"held_out": {"every_steps": 2}, "stop": {"patience": 1}}
    summary = train(recipe(epochs=20, lr=0.5, **held), pairs_folder, tmp_path / "train", quiet=True)
    assert summary["stopped_early"]
    assert summary["best_step"] < summary["steps"] < 80


def test_the_held_out_must_hold_a_pair(recipe, pairs_folder, tmp_path):
    (single,) = [replace(pair(9, "서울", "test"), chosen="", rejected="")]
    write(pairs_folder / "evaluate.parquet", [single])
    with pytest.raises(DataError, match="no held-out pair"):
        train(recipe(held_out={}), pairs_folder, tmp_path / "train", quiet=True)


def test_pairs_are_looked_at_before_training(recipe, pairs_folder, tmp_path, capsys):
    train(recipe(epochs=1), pairs_folder, tmp_path / "train", quiet=True)
    said = capsys.readouterr().err
    assert "checked: 16 rows" in said
    assert "16 prompts as served" in said
