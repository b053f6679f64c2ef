"""The Accelerate configurations that komt ships are what Accelerate reads, and say what the guide says."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from komt.models.load import _device

FOLDER = files("komt.train") / "accelerate"
GUIDE = Path(__file__).parents[2] / "docs" / "training.md"
NAMES = ["fsdp2.yaml", "deepspeed_zero3.yaml"]


def launched(name, *words):
    """What `accelerate launch` makes of a file: its command is that of the file's first line."""
    path = FOLDER / name
    line = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# accelerate launch ")
    arguments = [*line.replace(name, str(path)).split()[:-1], "recipe.yaml", *words]
    args, *_ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    return args


@pytest.mark.parametrize("name", NAMES)
def test_accelerate_reads_it_and_its_command(name):
    config = load_config_from_file(str(FOLDER / name))
    assert config.mixed_precision == "no"
    args = launched(name)
    assert args.module
    assert (args.training_script, args.training_script_args) == ("komt", ["train", "recipe.yaml"])
    assert args.num_processes == 8
    assert args.use_fsdp == (name == "fsdp2.yaml")
    assert args.use_deepspeed == (name == "deepspeed_zero3.yaml")


def test_fsdp2_divides_everything_by_layer(monkeypatch):
    args = launched("fsdp2.yaml")
    assert int(args.fsdp_version) == 2
    for key, value in load_config_from_file(str(FOLDER / "fsdp2.yaml")).fsdp_config.items():
        monkeypatch.setenv(key.upper(), str(value))
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.cpu_ram_efficient_loading is False


def test_zero3_leaves_accumulation_to_komt():
    args = launched("deepspeed_zero3.yaml")
    assert int(args.zero_stage) == 3
    assert int(args.gradient_accumulation_steps) == 1


def test_the_guide_names_both():
    text = GUIDE.read_text(encoding="utf-8")
    named = set(re.findall(r"--config_file src/komt/train/accelerate/([\w.]+)", text))
    assert named == set(NAMES) == {path.name for path in FOLDER.iterdir()}


def test_a_base_that_is_to_be_divided_is_loaded_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert _device() == "cuda:1"
    for way in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"):
        with monkeypatch.context() as told:
            told.setenv(way, "true")
            assert _device() == "cpu"
