"""What a checkpoint says of its run, and what a resumption makes of it."""

import json
import os
import signal

import pytest
import torch

from komt.errors import ModelError, UsageError
from komt.train import loop as loop_module
from komt.train.accelerator import make_accelerator
from komt.train.checkpoint import checkpoints, find_newest
from komt.train.identity import run_settings
from komt.train.log import TrainLog
from komt.train.loop import Interrupted
from komt.train.numerics import changed, numerics
from komt.train.run import train


@pytest.fixture
def stopped(toy_recipe, model_folder, data_folder, tmp_path, monkeypatch):
    """A run that was stopped after two of its nine steps; called, it goes on."""
    recipe = toy_recipe(model_folder("llama"), epochs=3, step_tokens=500, pack={"tokens": 512}, warmup=0.2)
    out, plain = tmp_path / "train", TrainLog.step

    def logged(log, number, *rest):
        plain(log, number, *rest)
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(TrainLog, "step", logged)
        with pytest.raises(Interrupted):
            train(recipe, data_folder, out, quiet=True)
    return lambda: train(recipe, data_folder, out, resume=True, quiet=True)


def test_a_checkpoint_says_what_decides_its_numbers(stopped, tmp_path):
    (path,) = checkpoints(tmp_path / "train" / "checkpoints")
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    assert state["step"] == 2
    assert state["settings"]["train.lr"] == 0.01
    assert state["settings"]["steps"] == 9
    assert state["rates"] == [0.01]  # two steps of warm-up are done
    assert state["losses"] == {}  # out of turn
    figures = state["numerics"]
    assert (figures["dtype"], figures["packing"], figures["compiled"]) == ("float32", "shared", False)
    assert (figures["threads"], figures["processes"]) == (torch.get_num_threads(), 1)
    assert figures["weights"] == "whole"
    assert figures["torch"] == torch.__version__
    assert torch.backends.cpu.get_cpu_capability() in figures["device"]
    assert find_newest(path.parent, state["settings"]).step == 2


def test_the_threads_of_the_first_run_are_used_again(stopped, capsys):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert stopped()["threads"] == threads
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(threads)
    assert "rounding" not in capsys.readouterr().err


def test_what_decides_rounding_is_told_where_it_differs(stopped, monkeypatch, capsys):
    monkeypatch.setattr(torch, "__version__", "9.9.0")
    stopped()
    said = capsys.readouterr().err
    assert "the same training but for rounding: torch: " in said
    assert "then, 9.9.0 now" in said


def test_another_schedule_is_an_error(stopped, monkeypatch):
    plain = loop_module.rate_share
    monkeypatch.setattr(loop_module, "rate_share", lambda *places: 0.5 * plain(*places))
    with pytest.raises(ModelError, match=r"rate after step 2 was \(0\.01,\), and is \(0\.005,\)"):
        stopped()


def test_compilation_and_dtype_are_seen(toy_recipe):
    layer, alone = torch.nn.Linear(2, 2), make_accelerator()
    then = numerics(toy_recipe(bits=16), layer, "shared", alone)
    assert (then["dtype"], then["compiled"]) == ("bfloat16", False)
    now = numerics(toy_recipe(bits=16), torch.compile(layer, backend="eager"), "shared", alone)
    assert changed(then, now) == ["compiled: False then, True now"]


def test_another_optimiser_is_named_with_both_values(stopped, toy_recipe, tmp_path):
    folder = tmp_path / "train" / "checkpoints"
    recipe = toy_recipe(optim="adamw_8bit", keep_best=True)
    with pytest.raises(UsageError) as told:
        find_newest(folder, run_settings(recipe, "other", []))
    said = told.value.what.splitlines()
    assert "  - train.optim: 'adamw' then, 'adamw_8bit' now" in said
    assert "  - train.save_steps: without effect then, 50 now" in said
