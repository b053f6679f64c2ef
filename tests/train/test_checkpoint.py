"""Checkpoints are whole or not used, and say why."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from komt.errors import ModelError, UsageError
from komt.files import sha256
from komt.train import checkpoint
from komt.train.checkpoint import State, best, checkpoints, find_newest, invalid, load_snapshot
from komt.train.snapshot import restore, take_snapshot, trainable

STATE = {"seed": 0, "train.lr": 0.1, "model.name": "tiny"}
FILES = ("trainable.safetensors", "optimizer.safetensors", "state.json")


def save_checkpoint(folder, step, model, optimizer, settings, keep, losses=None, keep_best=False):
    """As the training stage does it."""
    snapshot = take_snapshot(step, model, optimizer)
    state = State(settings, {"threads": 1}, (0.1,), losses or {})
    return checkpoint.save_checkpoint(folder, snapshot, state, keep=keep, keep_best=keep_best)


def load_newest(folder, model, optimizer, settings):
    """What was found, after its tensors were put in place."""
    found = find_newest(folder, settings, model)
    if found:
        restore(load_snapshot(found.path), model, optimizer)
    return found


def training(seed=0, steps=3):
    """A model (one of its layers frozen) and its optimiser after some steps."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    model[0].requires_grad_(False)
    optimizer = torch.optim.AdamW(model[1].parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(3, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


@pytest.fixture
def saved(tmp_path):
    """A folder with checkpoints of steps 10 and 20, of differing weights."""
    for step in (10, 20):
        save_checkpoint(tmp_path, step, *training(seed=step), STATE, keep=5)
    return tmp_path


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in trainable(model).values()]).tolist()


def test_weights_and_optimiser_come_back_exactly(tmp_path):
    model, optimizer = training()
    save_checkpoint(tmp_path, 3, model, optimizer, STATE, keep=1)
    other, fresh = training(seed=9, steps=0)
    found = load_newest(tmp_path, other, fresh, STATE)
    assert (found.step, found.skipped) == (3, ())
    assert weights_of(other) == weights_of(model)
    for mine, theirs in zip(
        fresh.state_dict()["state"].values(), optimizer.state_dict()["state"].values(), strict=True
    ):
        assert all(torch.equal(mine[key], theirs[key]) for key in ("step", "exp_avg", "exp_avg_sq"))


def test_frozen_weights_are_not_kept(tmp_path):
    model, optimizer = training()
    assert set(trainable(model)) == {"1.weight", "1.bias"}
    other, fresh = training(seed=9, steps=0)
    before = other[0].weight.clone()
    save_checkpoint(tmp_path, 1, model, optimizer, STATE, keep=1)
    load_newest(tmp_path, other, fresh, STATE)
    assert torch.equal(other[0].weight, before)


def test_no_checkpoint_is_no_error(tmp_path):
    assert load_newest(tmp_path / "none", *training(), STATE) is None


def test_the_newest_is_taken(saved):
    model, optimizer = training(steps=0)
    assert load_newest(saved, model, optimizer, STATE).step == 20
    assert weights_of(model) == weights_of(training(seed=20)[0])


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept(tmp_path, keep):
    for step in (5, 10, 100, 1000):
        save_checkpoint(tmp_path, step, *training(), STATE, keep=keep)
    names = [path.name for path in checkpoints(tmp_path)]
    assert names == ["step-001000", "step-000100", "step-000010"][:keep]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)  # nothing staged is left


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "missing": (lambda path: path.unlink(), "{name} is missing"),
    "truncated": (truncate, "{name} is truncated"),
    "altered": (flip_a_byte, "{name} has another hash than its manifest says"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_skipped_with_the_reason(saved, name, damage):
    harm, reason = DAMAGES[damage]
    harm(saved / "step-000020" / name)
    model, optimizer = training(steps=0)
    found = load_newest(saved, model, optimizer, STATE)
    assert found.step == 10
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("step-000020: " + reason.format(name=name))
    assert weights_of(model) == weights_of(training(seed=10)[0])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2}', '{"files": {}}', '{"format": 2, "files": 3}']
)
def test_a_broken_manifest_is_a_reason_too(saved, text):
    (saved / "step-000020" / "manifest.json").write_text(text)
    assert "manifest" in invalid(saved / "step-000020")
    assert load_newest(saved, *training(steps=0), STATE).step == 10


def test_a_checkpoint_without_manifest_was_never_finished(saved):
    (saved / "step-000020" / "manifest.json").unlink()
    assert load_newest(saved, *training(steps=0), STATE).step == 10


def test_when_none_is_valid_nothing_is_trained_in_silence(saved):
    for path in checkpoints(saved):
        truncate(path / "optimizer.safetensors")
    with pytest.raises(ModelError, match="no checkpoint is valid") as caught:
        load_newest(saved, *training(), STATE)
    assert "step-000010: optimizer.safetensors is truncated" in str(caught.value)
    assert "step-000020: optimizer.safetensors is truncated" in str(caught.value)


def test_pickled_code_is_not_run(saved, tmp_path):
    ran = tmp_path / "ran"
    path = saved / "step-000020"

    class Bomb:
        def __reduce__(self):
            return ran.touch, ()

    file = path / "optimizer.safetensors"
    torch.save({"state": Bomb()}, file)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][file.name] = {"sha256": sha256(file), "bytes": file.stat().st_size}
    (path / "manifest.json").write_text(json.dumps(manifest))
    found = load_newest(saved, *training(steps=0), STATE)
    assert found.step == 10
    assert "its tensors cannot be read" in found.skipped[0]
    assert not ran.exists()


def test_another_run_is_refused_naming_what_differs(saved):
    other = {**STATE, "train.lr": 0.2, "model.name": "large", "train.new": 1}
    with pytest.raises(UsageError) as caught:
        load_newest(saved, *training(), other)
    text = str(caught.value)
    assert "train.lr: 0.1 then, 0.2 now" in text
    assert "model.name: 'tiny' then, 'large' now" in text
    assert "train.new: without effect then, 1 now" in text
    assert "seed" not in text
    assert "step-000020" in text


def test_what_a_killed_process_left_staged_is_no_checkpoint(saved):
    shutil.copytree(saved / "step-000020", saved / ".step-000030.staged-999999999")
    assert [path.name for path in checkpoints(saved)] == ["step-000020", "step-000010"]
    save_checkpoint(saved, 30, *training(), STATE, keep=5)
    assert [path.name for path in saved.iterdir() if path.name.startswith(".")] == []


def test_a_broken_one_does_not_count_among_those_that_are_kept(saved):
    truncate(saved / "step-000020" / "state.json")
    model, optimizer = training(steps=0)
    load_newest(saved, model, optimizer, STATE)
    save_checkpoint(saved, 30, model, optimizer, STATE, keep=2)
    assert [path.name for path in checkpoints(saved)] == ["step-000030", "step-000010"]
    assert (saved / ".step-000020.broken" / "state.json").is_file()


def test_one_of_another_run_is_skipped_and_named_and_left_alone(saved):
    other = {**STATE, "train.lr": 0.2}
    save_checkpoint(saved, 30, *training(), other, keep=5)
    found = load_newest(saved, *training(steps=0), STATE)
    assert found.step == 20
    assert found.skipped == ("step-000030: of another run:\n  - train.lr: 0.2 then, 0.1 now",)
    save_checkpoint(saved, 40, *training(), STATE, keep=1)
    assert [path.name for path in checkpoints(saved)] == ["step-000040", "step-000030"]


def test_another_model_is_refused_before_anything_is_changed(saved):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 3))
    before = weights_of(model)
    with pytest.raises(ModelError, match=r"step-000020: 0\.bias is trained in one of them only \(2 param"):
        load_newest(saved, model, torch.optim.AdamW(model.parameters()), STATE)
    model[0].requires_grad_(False)
    with pytest.raises(ModelError, match=r"1\.weight has the shape \(2, 4\), not \(3, 4\)"):
        load_newest(saved, model, torch.optim.AdamW(model.parameters()), STATE)
    assert weights_of(model) != before  # fewer are trained
    assert len(checkpoints(saved)) == 2


def test_an_older_format_is_named(saved):
    (saved / "step-000020" / "manifest.json").write_text('{"format": 1, "files": {}}')
    assert "format 1" in invalid(saved / "step-000020")


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([{"train": 3.0}, {"train": 1.0}, {"train": 2.0}], 20),
        ([{"train": 1.0}, {"train": 1.0}, {"train": 1.0}], 10),  # of equal ones the earlier
        ([{"train": 3.0}, {}, {"train": 2.0}], 30),  # saved out of turn
        ([{"train": 3.0, "evaluation": 1.5}, {"train": 2.0, "evaluation": 1.7}, {"train": 1.0}], 10),
        ([{"evaluation": float("nan")}, {"evaluation": 2.0}, {"evaluation": 3.0}], 20),
        ([{}, {}, {}], None),
    ],
)
def test_the_best_is_that_of_lowest_loss(tmp_path, losses, expected):
    for step, loss in zip((10, 20, 30), losses, strict=True):
        save_checkpoint(tmp_path, step, *training(), STATE, keep=1, losses=loss, keep_best=True)
    found = best(tmp_path, STATE)
    assert (found and found.name) == (expected and f"step-{expected:06d}")
    kept = {path.name for path in checkpoints(tmp_path)}
    assert kept == {"step-000030", *([f"step-{expected:06d}"] if expected else [])}


def test_the_best_is_one_of_this_run(tmp_path):
    """A checkpoint that another run left in the folder is neither the result, nor kept in its place."""
    save_checkpoint(tmp_path, 5, *training(), {**STATE, "seed": 7}, keep=1, losses={"train": 0.1})
    for step, loss in ((10, 1.0), (20, 3.0), (30, 2.0)):
        save_checkpoint(tmp_path, step, *training(), STATE, keep=1, losses={"train": loss}, keep_best=True)
    assert best(tmp_path, STATE).name == "step-000010"


def test_everything_is_on_the_disk_before_an_older_one_is_removed(tmp_path, monkeypatch):
    """The order that makes a power cut harmless, as the system sees it."""
    save_checkpoint(tmp_path, 10, *training(), STATE, keep=1)
    calls, names = [], {}
    fsync, rename, rmtree = os.fsync, Path.rename, shutil.rmtree

    def synced(handle):
        calls.append(("fsync", Path(f"/proc/self/fd/{handle}").readlink().name))
        fsync(handle)

    def renamed(path, target):
        names.update({"staged": path.name})
        calls.append(("rename", Path(target).name))
        return rename(path, target)

    def removed(path, **options):
        calls.append(("remove", Path(path).name))
        rmtree(path, **options)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(shutil, "rmtree", removed)
    save_checkpoint(tmp_path, 20, *training(), STATE, keep=1)
    moved = calls.index(("rename", "step-000020"))
    for name in (*FILES, "manifest.json", names["staged"]):
        assert ("fsync", name) in calls[:moved]
    assert ("fsync", tmp_path.name) in calls[moved : calls.index(("remove", "step-000010"))]
