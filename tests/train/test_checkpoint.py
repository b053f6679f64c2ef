"""Checkpoints are whole or not used, and say why."""

import json
import shutil

import pytest
import torch

from komt.errors import ModelError, UsageError
from komt.train.checkpoint import checkpoints, invalid, load_newest, save_checkpoint, trainable

STATE = {"seed": 0, "train.lr": 0.1, "model.name": "tiny"}
FILES = ("trainable.safetensors", "optimizer.pt", "state.json")


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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"files": {}}', '{"files": 3}'])
def test_a_broken_manifest_is_a_reason_too(saved, text):
    (saved / "step-000020" / "manifest.json").write_text(text)
    assert "manifest" in invalid(saved / "step-000020")
    assert load_newest(saved, *training(steps=0), STATE).step == 10


def test_a_checkpoint_without_manifest_was_never_finished(saved):
    (saved / "step-000020" / "manifest.json").unlink()
    assert load_newest(saved, *training(steps=0), STATE).step == 10


def test_when_none_is_valid_nothing_is_trained_in_silence(saved):
    for path in checkpoints(saved):
        truncate(path / "optimizer.pt")
    with pytest.raises(ModelError, match="no checkpoint is valid") as caught:
        load_newest(saved, *training(), STATE)
    assert "step-000010: optimizer.pt is truncated" in str(caught.value)
    assert "step-000020: optimizer.pt is truncated" in str(caught.value)


def test_pickled_code_is_not_run(saved, tmp_path):
    ran = tmp_path / "ran"
    path = saved / "step-000020"

    class Bomb:
        def __reduce__(self):
            return ran.touch, ()

    torch.save({"state": Bomb()}, path / "optimizer.pt")
    manifest = json.loads((path / "manifest.json").read_text())
    from komt.files import sha256

    file = path / "optimizer.pt"
    manifest["files"]["optimizer.pt"] = {"sha256": sha256(file), "bytes": file.stat().st_size}
    (path / "manifest.json").write_text(json.dumps(manifest))
    found = load_newest(saved, *training(steps=0), STATE)
    assert found.step == 10
    assert "optimizer.pt cannot be read" in found.skipped[0]
    assert not ran.exists()


def test_another_run_is_refused_naming_what_differs(saved):
    other = {**STATE, "train.lr": 0.2, "model.name": "large", "train.new": 1}
    with pytest.raises(UsageError) as caught:
        load_newest(saved, *training(), other)
    text = str(caught.value)
    assert "train.lr: 0.1 then, 0.2 now" in text
    assert "model.name: 'tiny' then, 'large' now" in text
    assert "train.new: None then, 1 now" in text
    assert "seed" not in text
    assert "step-000020" in text


def test_what_a_killed_process_left_staged_is_no_checkpoint(saved):
    shutil.copytree(saved / "step-000020", saved / ".step-000030.staged-999999999")
    assert [path.name for path in checkpoints(saved)] == ["step-000020", "step-000010"]
    save_checkpoint(saved, 30, *training(), STATE, keep=5)
    assert [path.name for path in saved.iterdir() if path.name.startswith(".")] == []
