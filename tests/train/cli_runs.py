"""Trainings through the command line: own rows, a recipe file, a tiny model."""

import json

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

CITIES = ("서울", "부산", "대구", "인천", "광주", "대전", "울산", "세종")
ADAPTER, MODEL = "train/adapter/adapter_model.safetensors", "train/model/model.safetensors"


def write_recipe(folder, model, **train):
    """A recipe of 24 training rows in fp32 without dropout; six steps an epoch, saved after every second."""
    rows = [
        {"글": f"{city}은 큰 도시이다. {city}에는 사람이 많이 산다. 물음 {number}", "답": f"{city} {number}"}
        for city in CITIES
        for number in range(3)
    ]
    (folder / "rows.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    lora = {"r": 4, "alpha": 8, "dropout": 0.0, **train.pop("lora", {})}
    settings = {"lr": 1e-2, "step_examples": 4, "save_steps": 2, "warmup": 0.1, "lora": lora, **train}
    own = {"path": "rows.jsonl", "prompt": "{{ 글 }}", "answer": "{{ 답 }}", "evaluate": 0.0}
    values = {
        "name": "tiny",
        "model": {"name": str(model), "bits": 32},
        "data": {"files": [own], "quality": {"duplicates": "keep", "contamination": "keep"}},
        "pack": {"tokens": 512},
        "train": settings,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return path


def log_of(out):
    """The log's lines without what depends on the clock."""
    lines = [json.loads(line) for line in (out / "train" / "log.jsonl").read_text("utf-8").splitlines()]
    return [{k: v for k, v in line.items() if k not in {"time", "examples_s"}} for line in lines]


def losses_of(out):
    """The loss curve."""
    return np.array([line["loss"] for line in log_of(out)])


def summary_of(out):
    """What train.json says."""
    return json.loads((out / "train" / "train.json").read_text("utf-8"))


def difference(out, other, result=ADAPTER):
    """Relative distance of two runs' results, whose tensors have the same names and shapes."""
    a, b = (sorted(load_file(run / result).items()) for run in (out, other))
    assert [(name, one.shape) for name, one in a] == [(name, one.shape) for name, one in b]
    a, b = (np.concatenate([tensor.ravel() for _, tensor in run]) for run in (a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def same_training(out, one, result=ADAPTER):
    """The curve, the rates, the losses by task, and the result of one process, but for rounding."""
    np.testing.assert_allclose(losses_of(out), losses_of(one), rtol=1e-5)
    for ours, theirs in zip(log_of(out), log_of(one), strict=True):
        assert (ours["step"], ours["lr"]) == (theirs["step"], theirs["lr"])
        assert ours["task_loss"] == pytest.approx(theirs["task_loss"], rel=1e-5)
    assert difference(out, one, result) <= 1e-5


def left_over(out):
    """Names of half-made things."""
    return [str(path) for path in out.rglob("*") if ".staged-" in path.name or ".old-" in path.name]
