"""`komt train` in processes that `accelerate launch` has told to use DeepSpeed, by the shipped settings."""

import math
import os
from pathlib import Path

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env

import komt.train
from komt import cli
from komt.train.zero3 import ZeroAccelerator

FILE = Path(komt.train.__file__).parent / "accelerate" / "deepspeed_zero3.yaml"
ZERO3 = "zeroed:main"


def needs_deepspeed():
    """Skip where it is not installed."""
    pytest.importorskip("deepspeed", reason="DeepSpeed comes with the extra 'deepspeed'")


def main(*words):
    """The command line under ZeRO-3."""
    os.environ.update(environment())
    if status := cli.main(list(words)):
        raise SystemExit(status)


def poisoned(*words):
    """The same, where gradients are no numbers."""
    backward = ZeroAccelerator.backward
    ZeroAccelerator.backward = lambda self, loss: backward(self, loss * math.nan)
    main(*words)


def environment():
    """What `accelerate launch` puts into the environment for the shipped file."""
    given = ["--config_file", str(FILE), "-m", "komt", "train", "recipe.yaml"]
    args, *_ = _validate_launch_command(launch_command_parser().parse_args(given))
    args.deepspeed_fields_from_accelerate_config = ""  # of interest beside a file of DeepSpeed's own only
    _, variables = prepare_deepspeed_cmd_env(args)
    return {name: value for name, value in variables.items() if name.startswith("ACCELERATE_")}
