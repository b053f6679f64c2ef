"""Early stopping gives the best weights, resumed or not; live samples are what the engine answers."""

import json
import math
import os
import signal

import pytest

from komt.commands._samples import answers_of
from komt.errors import DataError, ModelError, UsageError
from komt.models.load import load_model, load_tokenizer
from komt.models.resolve import resolve
from komt.recipe import StopPart, parse_recipe
from komt.serve.transformers_engine import TransformersEngine
from komt.train import watch as watch_module
from komt.train.checkpoint import checkpoints
from komt.train.held_out import Figures, held_out_examples
from komt.train.log import TrainLog
from komt.train.loop import Interrupted
from komt.train.run import train
from komt.train.samples import in_turn
from komt.train.stop import EarlyStop

ADAPTER = "adapter/adapter_model.safetensors"


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def judged(values, **part):
    """Which measurements were the best so far, and after which one training stops."""
    stop = EarlyStop(StopPart(**part))
    best = [stop.note(step, value) for step, value in enumerate(values, 1) if not stop.over]
    return best, stop.best_step, stop.over


@pytest.mark.parametrize(
    ("values", "part", "best", "step", "over"),
    [
        ([3, 2, 1], {"patience": 1}, [True, True, True], 3, False),
        ([3, 2, 2.5, 2.4, 1], {"patience": 2}, [True, True, False, False], 2, True),
        ([3, 2, 2.5, 1.9, 2, 2], {"patience": 2}, [True, True, False, True, False, False], 4, True),
        ([3, 2.95, 2.92, 2.8], {"patience": 2, "min_gain": 0.1}, [True, False, False], 1, True),
        ([3, 2.95, 2.8], {"patience": 2, "min_gain": 0.1}, [True, False, True], 3, False),
        ([math.nan, 3], {"patience": 2}, [False, True], 2, False),
    ],
)
def test_patience_is_counted_from_the_last_gain(values, part, best, step, over):
    assert judged(values, **part) == (best, step, over)


def test_by_accuracy_more_is_better():
    stop = EarlyStop(StopPart(metric="accuracy"))
    assert stop.value_of(Figures("", 9.0, 0.75, 4)) == -0.75
    assert EarlyStop(StopPart()).value_of(Figures("", 9.0, 0.75, 4)) == 9.0


def test_the_state_comes_back_as_it_was():
    stop = EarlyStop(StopPart(patience=3))
    other = EarlyStop(StopPart(patience=3))
    other.restore(json.loads(json.dumps(stop.state())))
    assert other == stop
    for step, value in enumerate([0.1 + 0.2, 1.0, 1 / 3], 1):
        stop.note(step, value)
    other.restore(json.loads(json.dumps(stop.state())))
    assert other == stop
    assert other.waited == 2


def test_stopping_without_measuring_is_refused():
    values = {"name": "r", "data": {}, "train": {"stop": {"patience": 2}}}
    with pytest.raises(UsageError, match="give held_out too"):
        parse_recipe(values, "test")


# Held-out losses of the steps 1, 2, …: the third is the best, and two more gain nothing.
LOSSES = {0: 9.0, 1: 3.0, 2: 2.0, 3: 1.0, 4: 1.5, 5: 1.25, 6: 0.5}


@pytest.fixture
def told_losses(monkeypatch):
    """Measurements that say LOSSES, so that the place to stop is known."""
    steps = []

    def measure(self, loop):
        step = loop.scheduler.last_epoch
        steps.append(step)
        return [Figures("", LOSSES.get(step, 9.0), 0.5, 3), Figures("toy.0", LOSSES.get(step, 9.0), 0.5, 3)]

    monkeypatch.setattr(watch_module.HeldOut, "measure", measure)
    return steps


def stopping(settings, **train):
    return settings(held_out={"every_steps": 1}, stop={"patience": 2}, keep=1, **train)


def test_training_that_is_stopped_without_a_best_step_says_so(
    settings, data_folder, tmp_path, told_losses, monkeypatch, capsys
):
    monkeypatch.setattr(f"{__name__}.LOSSES", dict.fromkeys(range(9), math.nan))
    summary = train(stopping(settings), data_folder, tmp_path / "train")
    assert (summary.get("best_step"), summary["stopped_early"], summary["steps"]) == (None, True, 2)
    assert "gave no number to choose by" in " ".join(capsys.readouterr().err.split())


def test_the_best_weights_are_the_result(settings, data_folder, tmp_path, told_losses, capsys):
    from safetensors.torch import load_file

    out = tmp_path / "train"
    summary = train(stopping(settings), data_folder, out, quiet=True)
    assert (summary["best_step"], summary["stopped_early"], summary["steps"]) == (3, True, 5)
    assert told_losses == [0, 1, 2, 3, 4, 5]
    assert len(lines_of(out / "log.jsonl")) == 5
    # The best is kept beside the newest.
    assert [path.name for path in checkpoints(out / "checkpoints")] == ["step-000005", "step-000003"]
    best = load_file(out / "checkpoints" / "step-000003" / "trainable.safetensors")
    adapter = load_file(out / ADAPTER)
    assert len(best) == len(adapter)
    for name, tensor in best.items():
        assert adapter[name.replace(".default", "")].equal(tensor)
    newest = load_file(out / "checkpoints" / "step-000005" / "trainable.safetensors")
    assert not all(tensor.equal(newest[name]) for name, tensor in best.items())


@pytest.mark.parametrize("at", [2, 3, 4, 5])
def test_interrupted_and_resumed_it_stops_at_the_same_step(
    settings, data_folder, tmp_path, told_losses, monkeypatch, at
):
    train(stopping(settings), data_folder, tmp_path / "whole", quiet=True)
    out, plain = tmp_path / "broken", TrainLog.step

    def logged(self, number, *rest):
        plain(self, number, *rest)
        if number == at - 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainLog, "step", logged)
    try:
        train(stopping(settings), data_folder, out, quiet=True)
    except Interrupted:
        assert at < 5  # asked to stop while it stopped by itself, it is simply done
    monkeypatch.setattr(TrainLog, "step", plain)
    train(stopping(settings), data_folder, out, resume=True, quiet=True)
    assert (out / ADAPTER).read_bytes() == (tmp_path / "whole" / ADAPTER).read_bytes()
    assert lines_of(out / "held_out.jsonl") == lines_of(tmp_path / "whole" / "held_out.jsonl")


def test_killed_after_the_last_checkpoint_no_step_is_added(
    settings, data_folder, tmp_path, told_losses, monkeypatch
):
    train(stopping(settings), data_folder, tmp_path / "whole", quiet=True)
    out, finish = tmp_path / "broken", watch_module.Watch.finish

    def killed(self, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch_module.Watch, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        train(stopping(settings), data_folder, out, quiet=True)
    monkeypatch.setattr(watch_module.Watch, "finish", finish)
    summary = train(stopping(settings), data_folder, out, resume=True, quiet=True)
    assert (summary["steps"], summary["best_step"]) == (5, 3)
    assert (out / ADAPTER).read_bytes() == (tmp_path / "whole" / ADAPTER).read_bytes()


def test_a_damaged_best_checkpoint_is_told(settings, data_folder, tmp_path, told_losses, monkeypatch):
    finish = watch_module.Watch.finish

    def damaged(self, folder):
        (folder / "step-000003" / "trainable.safetensors").write_bytes(b"")
        return finish(self, folder)

    monkeypatch.setattr(watch_module.Watch, "finish", damaged)
    with pytest.raises(ModelError, match=r"step-000003 cannot be used: trainable\.safetensors is truncated"):
        train(stopping(settings), data_folder, tmp_path / "train", quiet=True)


def test_other_held_out_examples_may_stop_elsewhere_and_so_train_anew(
    settings, data_folder, tmp_path, told_losses
):
    first = train(stopping(settings), data_folder, tmp_path / "train", quiet=True)
    recipe = settings(held_out={"every_steps": 1, "examples": 2}, stop={"patience": 2}, keep=1)
    assert train(recipe, data_folder, tmp_path / "train", quiet=True)["key"] != first["key"]


@pytest.mark.parametrize("bits", [32, 16])
def test_samples_are_what_the_engine_answers_and_training_does_not_notice(
    settings, data_folder, tmp_path, bits
):
    part = {"every_steps": 4, "examples": 3, "max_new_tokens": 6}
    train(settings(bits=bits), data_folder, tmp_path / "plain", quiet=True)
    out = tmp_path / "seen"
    steps = train(settings(bits=bits, generate=part), data_folder, out, quiet=True, answer=answers_of)[
        "steps"
    ]
    assert (out / ADAPTER).read_bytes() == (tmp_path / "plain" / ADAPTER).read_bytes()
    lines = lines_of(out / "samples.jsonl")
    assert [line["step"] for line in lines] == [step for step in (0, 4, 8, steps) for _ in range(3)]
    assert [line["task"] for line in lines[:3]] == ["toy.0", "toy.1", "toy.0"]
    place = resolve(str(out / "adapter"))
    engine = TransformersEngine(load_model(place, bits), load_tokenizer(place))
    chosen = in_turn(held_out_examples(data_folder, 3), ())[:3]
    answers = engine.answer([example.prompt for example in chosen], max_new_tokens=6)
    assert [line["answer"] for line in lines[-3:]] == [one.text for one in answers]
    assert [line["reference"] for line in lines[-3:]] == [example.references[0] for example in chosen]
    assert lines[0]["prompt"] == chosen[0].messages[0].content
    assert [line["answer"] for line in lines[:3]] != [line["answer"] for line in lines[-3:]]


def test_what_is_looked_at_may_change_on_the_way(settings, data_folder, tmp_path, monkeypatch):
    train(settings(), data_folder, tmp_path / "whole", quiet=True)
    out, plain = tmp_path / "train", TrainLog.step

    def logged(self, number, *rest):
        plain(self, number, *rest)
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainLog, "step", logged)
    with pytest.raises(Interrupted):
        train(settings(), data_folder, out, quiet=True)
    monkeypatch.setattr(TrainLog, "step", plain)
    recipe = settings(held_out={"every_steps": 4}, generate={"examples": 1, "max_new_tokens": 2})
    train(recipe, data_folder, out, resume=True, quiet=True, answer=answers_of)
    assert {line["step"] for line in lines_of(out / "held_out.jsonl")} >= {4, 8}
    assert (out / ADAPTER).read_bytes() == (tmp_path / "whole" / ADAPTER).read_bytes()


def test_tasks_that_are_scored_are_sampled_first(data_folder):
    examples = held_out_examples(data_folder, 2)
    assert [one.task for one in in_turn(examples, ("toy.1",))] == ["toy.1", "toy.0", "toy.1", "toy.0"]


def test_samples_need_an_engine(settings, data_folder, tmp_path):
    with pytest.raises(UsageError, match=r"train\.generate needs something that answers"):
        train(settings(generate={}), data_folder, tmp_path / "train", quiet=True)


def test_without_held_out_data_training_does_not_start(settings, data_folder, tmp_path):
    (data_folder / "evaluate.parquet").unlink()
    with pytest.raises(DataError, match=r"evaluate\.parquet"):
        train(settings(held_out={}), data_folder, tmp_path / "train", quiet=True)
    assert not (tmp_path / "train" / "log.jsonl").exists()
