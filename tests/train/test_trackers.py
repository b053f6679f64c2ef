"""Trackers are told what the log is told, through Accelerate."""

import json
import sys
from pathlib import Path

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker

from komt.errors import KomtError, MissingExtra, UsageError
from komt.train.run import train
from komt.train.trackers import check_trackers


class Written(GeneralTracker):
    """A tracker that writes lines, as any package may bring one."""

    name = "written"
    requires_logging_directory = True

    def __init__(self, run_name, logging_dir, **settings):
        super().__init__()
        self.run_name, self.path, self.lines = run_name, logging_dir, []

    @property
    def tracker(self):
        return self.lines

    def store_init_configuration(self, values):
        self.lines.append({"config": values})

    def log(self, values, step=None, **settings):
        self.lines.append({"step": step, **values})

    def finish(self):
        Path(self.path).mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        (Path(self.path) / f"{self.run_name}.jsonl").write_text(text)


@pytest.fixture
def written(monkeypatch):
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "written", Written)


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_tracker_is_told_settings_steps_and_held_out_figures(
    toy_recipe, model_folder, data_folder, tmp_path, written
):
    plain = toy_recipe(model_folder(), pack={"tokens": 512}, step_tokens=500)
    recipe = toy_recipe(
        model_folder(),
        pack={"tokens": 512},
        step_tokens=500,
        trackers=["written"],
        held_out={"every_steps": 2},
    )
    out = tmp_path / "train"
    steps = train(recipe, data_folder, out, quiet=True)["steps"]
    config, *told = lines_of(out / "trackers" / "komt.jsonl")
    assert config["config"]["train.lora.r"] == 4
    assert config["config"]["train.held_out.every_steps"] == 2
    trained = [line for line in told if "loss" in line]
    log = lines_of(out / "log.jsonl")
    assert [line["step"] for line in trained] == list(range(1, steps + 1))
    assert [line["loss"] for line in trained] == [line["loss"] for line in log]
    assert [line["task_loss/toy.0"] for line in trained] == [line["task_loss"]["toy.0"] for line in log]
    held_out = [line for line in told if "held_out/loss" in line]
    measured = [line for line in lines_of(out / "held_out.jsonl") if line["task"] == ""]
    assert [line["held_out/perplexity"] for line in held_out] == [line["perplexity"] for line in measured]
    assert {"held_out/toy.1/accuracy"} <= {key for line in told for key in line}
    train(plain, data_folder, tmp_path / "plain", quiet=True)
    weights = "adapter/adapter_model.safetensors"
    assert (out / weights).read_bytes() == (tmp_path / "plain" / weights).read_bytes()


def test_tensorboard_gets_the_loss(toy_recipe, model_folder, data_folder, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'track'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = toy_recipe(model_folder(), pack={"tokens": 512}, step_tokens=500, trackers=["tensorboard"])
    out = tmp_path / "train"
    train(recipe, data_folder, out, quiet=True)
    events = EventAccumulator(str(out / "trackers" / "komt")).Reload()
    log = lines_of(out / "log.jsonl")
    assert [event.step for event in events.Scalars("loss")] == [line["step"] for line in log]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([line["loss"] for line in log])


def test_wandb_writes_below_the_run_and_needs_no_network_offline(
    toy_recipe, model_folder, data_folder, tmp_path, monkeypatch
):
    pytest.importorskip("wandb", reason="the extra 'track'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    recipe = toy_recipe(model_folder(), pack={"tokens": 512}, step_tokens=500, trackers=["wandb"])
    out = tmp_path / "train"
    train(recipe, data_folder, out, quiet=True)
    (path,) = (out / "trackers" / "wandb").glob("offline-run-*/run-*.wandb")
    told = path.read_bytes()
    assert all(json.dumps(line["loss"]).encode() in told for line in lines_of(out / "log.jsonl"))
    assert not (tmp_path / "wandb").exists()


def test_a_tracker_that_cannot_start_is_told_in_one_sentence(
    toy_recipe, model_folder, data_folder, tmp_path, written, monkeypatch
):
    def start(tracker):
        raise ValueError("api_key not configured\nsecond line")

    monkeypatch.setattr(Written, "start", start)
    with pytest.raises(KomtError, match="a tracker cannot be started: api_key not configured") as caught:
        train(toy_recipe(model_folder(), trackers=["written"]), data_folder, tmp_path / "train", quiet=True)
    assert "WANDB_MODE=offline" in caught.value.cure
    assert not list((tmp_path / "train" / "trackers").iterdir())  # nothing that had not started was closed


def test_an_unknown_tracker_is_refused_before_anything_is_loaded(
    toy_recipe, data_folder, tmp_path, model_folder
):
    recipe = toy_recipe(model_folder(), trackers=["tensorbord"])
    with pytest.raises(UsageError, match="no tracker 'tensorbord'; did you mean 'tensorboard'"):
        train(recipe, data_folder, tmp_path / "train", quiet=True)
    assert not (tmp_path / "train").exists()


def test_a_tracker_that_is_not_installed_says_which_extra_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match="wandb") as caught:
        check_trackers(["wandb"])
    assert "komt[track]" in caught.value.cure
