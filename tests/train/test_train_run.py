"""The training stage from a data folder to an adapter: interrupted, resumed, refused, repeated."""

import json
import os
import signal

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from komt.errors import DataError, ModelError, UsageError
from komt.train import loop as loop_module
from komt.train import run as run_module
from komt.train.log import TrainLog
from komt.train.loop import Interrupted
from komt.train.run import train

ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture
def recipe(toy_recipe, model_folder):
    """Nine steps on the tiny Gemma, with dropout, so that a resumed run must repeat it too."""

    def make(family="gemma3", **settings):
        lora = {"dropout": 0.1, **settings.pop("lora", {})}
        settings = {"epochs": 3, "step_tokens": 500, "save_steps": 2, "lora": lora, **settings}
        pack = {"tokens": 512, **settings.pop("pack", {})}
        return toy_recipe(model_folder(family), pack=pack, **settings)

    return make


@pytest.fixture
def at_step(monkeypatch):
    """Have something done right after a step was logged, before its checkpoint."""

    def arrange(step, do):
        plain = TrainLog.step

        def logged(self, number, *rest):
            plain(self, number, *rest)
            if number == step:
                do()

        monkeypatch.setattr(TrainLog, "step", logged)
        return lambda: monkeypatch.setattr(TrainLog, "step", plain)

    return arrange


class Killed(BaseException):
    """Stands for kill -9: nothing of the run's own may catch it."""


def kill():
    raise Killed


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def log_of(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in {"time", "examples_s"}} for line in lines]


def checkpoints_of(out):
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def test_training_leaves_an_adapter_a_log_and_a_summary(recipe, data_folder, tmp_path, capsys):
    out = tmp_path / "train"
    summary = train(recipe(), data_folder, out, quiet=True)
    assert summary == json.loads((out / "train.json").read_text())
    assert (summary["sequences"], summary["trained"], summary["way"]) == (24, 72, "shared")
    assert summary["packed_tokens"] < summary["flat_tokens"] / 2
    assert summary["parity"]["error"] <= summary["parity"]["allowed"] == 1e-5
    log = log_of(out)
    assert [line["step"] for line in log] == list(range(1, summary["steps"] + 1))
    assert set(log[0]["task_loss"]) == {"toy.0", "toy.1"}
    assert log[-1]["loss"] < log[0]["loss"]
    assert (out / "adapter" / "tokenizer.json").is_file()
    said = capsys.readouterr().err
    assert "packing: shared" in said
    assert "checked: 24 rows, " in said
    assert "<eos> trained on; 24 prompts as served" in said


def test_log_lines_have_the_keys_that_programs_read(recipe, data_folder, tmp_path):
    train(recipe(epochs=0.2), data_folder, tmp_path / "train", quiet=True)
    line = json.loads((tmp_path / "train" / "log.jsonl").read_text().splitlines()[0])
    assert set(line) == {"step", "time", "loss", "lr", "task_loss", "examples_s"}


@pytest.mark.parametrize("bits", [32, 16])
@pytest.mark.parametrize(("stop", "step"), [(interrupt, 3), (kill, 6)], ids=["interrupted", "killed"])
def test_stopped_and_resumed_is_uninterrupted_byte_for_byte(
    recipe, data_folder, tmp_path, at_step, bits, stop, step
):
    train(recipe(bits=bits), data_folder, tmp_path / "whole", quiet=True)
    out = tmp_path / "broken"
    undo = at_step(step, stop)
    with pytest.raises((Interrupted, Killed)):
        train(recipe(bits=bits), data_folder, out, quiet=True)
    undo()
    assert not (out / "adapter").exists()
    assert checkpoints_of(out)[-1] == "step-000004"  # killed at 6, before that was saved; or stopped after 4
    torch.manual_seed(99)
    train(recipe(bits=bits), data_folder, out, resume=True, quiet=True)
    assert (out / ADAPTER).read_bytes() == (tmp_path / "whole" / ADAPTER).read_bytes()
    assert log_of(out) == log_of(tmp_path / "whole")


def test_a_run_that_lost_its_newest_checkpoint_goes_on_from_the_one_before(
    recipe, data_folder, tmp_path, at_step, capsys
):
    train(recipe(), data_folder, tmp_path / "whole", quiet=True)
    out = tmp_path / "broken"
    undo = at_step(5, interrupt)
    with pytest.raises(Interrupted):
        train(recipe(), data_folder, out, quiet=True)
    undo()
    assert checkpoints_of(out) == ["step-000004", "step-000006"]
    weights = out / "checkpoints" / "step-000006" / "trainable.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    capsys.readouterr()
    train(recipe(), data_folder, out, resume=True, quiet=True)
    said = capsys.readouterr().err
    assert "checked: " not in said
    assert "skipped checkpoint step-000006: trainable.safetensors is truncated" in said
    assert "going on after step 4 of" in said
    assert (out / ADAPTER).read_bytes() == (tmp_path / "whole" / ADAPTER).read_bytes()


def interrupted(recipe, data, out, at_step):
    undo = at_step(1, interrupt)
    with pytest.raises(Interrupted) as caught:
        train(recipe, data, out, quiet=True)
    undo()
    return caught.value


def test_an_unfinished_run_is_not_thrown_away_unasked(recipe, data_folder, tmp_path, at_step):
    out = tmp_path / "train"
    stop = interrupted(recipe(), data_folder, out, at_step)
    assert "stopped after step 2 of" in str(stop)
    assert "--resume" in stop.cure
    with pytest.raises(UsageError, match="unfinished"):
        train(recipe(), data_folder, out, quiet=True)
    assert checkpoints_of(out) == ["step-000002"]


def test_resuming_with_other_settings_is_refused_and_names_them(recipe, data_folder, tmp_path, at_step):
    out = tmp_path / "train"
    interrupted(recipe(), data_folder, out, at_step)
    with pytest.raises(UsageError) as caught:
        train(recipe(lr=2e-3, pack={"max_share": 3}), data_folder, out, resume=True, quiet=True)
    text = str(caught.value)
    assert "train.lr: 0.01 then, 0.002 now" in text
    assert "pack.max_share: 12 then, 3 now" in text
    assert "train.epochs" not in text


def test_resuming_with_other_data_is_refused(recipe, data_folder, tmp_path, at_step):
    out = tmp_path / "train"
    interrupted(recipe(), data_folder, out, at_step)
    table = pq.read_table(data_folder / "train.parquet")
    pq.write_table(table.slice(0, 20), data_folder / "train.parquet")
    with pytest.raises(UsageError, match="data"):
        train(recipe(), data_folder, out, resume=True, quiet=True)


def test_how_often_is_saved_may_change_on_the_way(recipe, data_folder, tmp_path, at_step):
    out = tmp_path / "train"
    interrupted(recipe(), data_folder, out, at_step)
    summary = train(recipe(save_steps=3, keep=1), data_folder, out, resume=True, quiet=True)
    assert checkpoints_of(out) == [f"step-{summary['steps']:06d}"]


def test_only_the_newest_checkpoints_are_kept(recipe, data_folder, tmp_path):
    summary = train(recipe(save_steps=1, keep=3), data_folder, tmp_path / "train", quiet=True)
    last = summary["steps"]
    assert checkpoints_of(tmp_path / "train") == [f"step-{n:06d}" for n in range(last - 2, last + 1)]


def test_a_loss_that_is_not_finite_keeps_the_checkpoint_before(recipe, data_folder, tmp_path, monkeypatch):
    out, plain = tmp_path / "train", loop_module.target_losses

    def broken(model, batch):
        done = (out / "checkpoints" / "step-000004").exists()
        return plain(model, batch) * (float("inf") if done else 1.0)

    monkeypatch.setattr(loop_module, "target_losses", broken)
    with pytest.raises(ModelError, match="of step 5 is not finite") as caught:
        train(recipe(), data_folder, out, quiet=True)
    assert str(out / "non-finite-step-000005.json") in str(caught.value)
    assert checkpoints_of(out) == ["step-000002", "step-000004"]
    assert [line["step"] for line in log_of(out)] == [1, 2, 3, 4]
    assert not (out / "adapter").exists()
    weights = load_file(out / "checkpoints" / "step-000004" / "trainable.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_the_same_training_is_not_done_twice(recipe, data_folder, tmp_path, monkeypatch):
    out = tmp_path / "train"
    first = train(recipe(), data_folder, out, quiet=True)
    monkeypatch.setattr(run_module, "load_model", None)  # would be needed to train
    assert train(recipe(save_steps=7), data_folder, out, quiet=True) == first


def test_a_changed_recipe_trains_afresh(recipe, data_folder, tmp_path):
    out = tmp_path / "train"
    first = train(recipe(), data_folder, out, quiet=True)
    before = (out / ADAPTER).read_bytes()
    second = train(recipe(lr=1e-3), data_folder, out, quiet=True)
    assert second["key"] != first["key"]
    assert (out / ADAPTER).read_bytes() != before
    assert [line["step"] for line in log_of(out)] == list(range(1, second["steps"] + 1))


def test_without_sharing_the_adapter_is_the_same(recipe, data_folder, tmp_path):
    settings = {"lr": 1e-3, "lora": {"dropout": 0.0}}
    train(recipe(**settings), data_folder, tmp_path / "shared", quiet=True)
    summary = train(recipe(pack={"share": False}, **settings), data_folder, tmp_path / "plain", quiet=True)
    assert summary["way"] == "packed"
    assert summary["packed_tokens"] == summary["flat_tokens"]
    ours, theirs = (load_file(tmp_path / name / ADAPTER) for name in ("shared", "plain"))
    assert ours.keys() == theirs.keys()
    a, b = (torch.cat([tensor.flatten() for tensor in some.values()]) for some in (ours, theirs))
    assert ((a - b).norm() / b.norm()).item() <= 1e-5
    for one, other in zip(log_of(tmp_path / "shared"), log_of(tmp_path / "plain"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


def test_gradient_checkpointing_trains_the_same_adapter(recipe, data_folder, tmp_path):
    train(recipe(), data_folder, tmp_path / "plain", quiet=True)
    train(recipe(gradient_checkpointing=True), data_folder, tmp_path / "saving", quiet=True)
    ours, theirs = (load_file(tmp_path / name / ADAPTER) for name in ("saving", "plain"))
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-6)


def test_full_fine_tuning_leaves_a_model(recipe, data_folder, tmp_path):
    from transformers import AutoModelForCausalLM

    out = tmp_path / "train"
    train(recipe("llama", method="full", lr=1e-3, bits=16), data_folder, out, quiet=True)
    log = log_of(out)
    assert log[-1]["loss"] < log[0]["loss"]
    assert not (out / "adapter").exists()
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    saved = load_file(out / "checkpoints" / f"step-{len(log):06d}" / "trainable.safetensors")
    assert all(torch.equal(p, saved[name]) for name, p in model.named_parameters())


def test_full_fine_tuning_of_a_quantised_base_is_refused(recipe, data_folder, tmp_path):
    with pytest.raises(UsageError, match="4 bits cannot be fine-tuned in full"):
        train(recipe(method="full", bits=4), data_folder, tmp_path / "train", quiet=True)


def test_an_example_longer_than_a_bin_is_an_error_that_names_it(recipe, data_folder, tmp_path):
    with pytest.raises(DataError) as caught:
        train(recipe(pack={"tokens": 32}), data_folder, tmp_path / "train", quiet=True)
    assert "longer than pack.tokens (32)" in str(caught.value)
    assert "task toy." in str(caught.value)


def test_missing_data_says_which_command_makes_it(recipe, tmp_path):
    with pytest.raises(DataError, match=r"train\.parquet is missing") as caught:
        train(recipe(), tmp_path / "none", tmp_path / "train", quiet=True)
    assert "komt build" in caught.value.cure


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_trains(toy_recipe, wide_folder, data_folder, tmp_path, bits):
    pytest.importorskip("bitsandbytes", reason="4 and 8 bits need the extra 'quant'")
    settings = {"epochs": 3, "step_tokens": 1200, "pack": {"tokens": 512}}
    summary = train(
        toy_recipe(wide_folder, bits=bits, **settings), data_folder, tmp_path / "train", quiet=True
    )
    assert summary["way"] == "shared"
    log = log_of(tmp_path / "train")
    assert log[-1]["loss"] < log[0]["loss"]
    # After the probe's evaluation pass the gradient must still reach the first layer's adapter.
    weights = load_file(tmp_path / "train" / ADAPTER)
    learned = [name for name, tensor in weights.items() if "lora_B" in name and tensor.abs().sum() > 0]
    assert len(learned) == sum("lora_B" in name for name in weights) == 2 * 7
