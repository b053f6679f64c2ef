"""Two processes train what one does."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from komt.train.run import train

PROGRAM = """
import sys
from pathlib import Path
import torch, yaml
from komt.recipe import parse_recipe
from komt.train.run import train
torch.set_num_threads(1)
recipe, data, out = map(Path, sys.argv[1:])
train(parse_recipe(yaml.safe_load(recipe.read_text()), "test"), data, out, quiet=True)
"""


@pytest.mark.slow
def test_two_processes_train_the_adapter_of_one(toy_recipe, model_folder, data_folder, tmp_path):
    # Bins small enough that steps have an odd number of them: one rank must wait with nothing of its own.
    recipe = toy_recipe(model_folder("gemma3"), pack={"tokens": 160}, lr=1e-3, step_tokens=500, save_steps=2)
    train(recipe, data_folder, tmp_path / "one", quiet=True)
    (tmp_path / "recipe.yaml").write_text(recipe.as_yaml(), encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    places = [str(tmp_path / name) for name in ("program.py", "recipe.yaml", "data", "two")]
    subprocess.run([*launch, *places], check=True, timeout=300, capture_output=True)
    ours, theirs = (load_file(tmp_path / n / "adapter" / "adapter_model.safetensors") for n in ("two", "one"))
    assert ours.keys() == theirs.keys()
    a, b = (torch.cat([tensor.flatten() for tensor in some.values()]) for some in (ours, theirs))
    assert ((a - b).norm() / b.norm()).item() <= 1e-5
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for one, two in zip(*logs, strict=True):
        assert (two["step"], two["lr"]) == (one["step"], one["lr"])
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert two["task_loss"] == pytest.approx(one["task_loss"], rel=1e-5)
    names = [sorted(path.name for path in (tmp_path / n / "checkpoints").iterdir()) for n in ("one", "two")]
    assert names[0] == names[1] == ["step-000004", "step-000006"]
