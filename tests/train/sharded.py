"""`komt train` with torch's own fully_shard in place of DDP: on CPUs Accelerate has no FSDP2."""

import contextlib
import os
from pathlib import Path

from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from torch.distributed.fsdp import fully_shard

import komt.train
from komt import cli
from komt.train import trackers
from komt.train.snapshot import is_divided


class Sharding(Accelerator):
    """What Accelerate does with `fsdp_version: 2` on GPUs, over gloo."""

    def prepare(self, model, optimizer):
        """Divide each layer, then the rest; the optimiser gets the divided parameters."""
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for layer in model.get_base_model().model.layers:
            fully_shard(layer)
        fully_shard(model)
        divided = dict(model.named_parameters())
        for group in optimizer.param_groups:
            group["params"] = [divided[names[id(parameter)]] for parameter in group["params"]]
        held = sum(parameter.to_local().numel() for parameter in divided.values())
        assert held < 0.6 * sum(parameter.numel() for parameter in divided.values())
        return model, optimizer

    @contextlib.contextmanager
    def no_sync(self, model):
        """Gradients stay whole until the step's last backward pass."""
        model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)


def main(*words):
    """The command line, in processes that divide their weights."""
    run_with(lambda: Sharding(cpu=True), words)


def run_with(make, words):
    """The command line over another accelerator."""
    trackers.make_accelerator = lambda *given: make()
    if status := cli.main(list(words)):
        raise SystemExit(status)


class Accelerated(Accelerator):
    """Accelerate's own FSDP2, by the shipped settings; it is told so, since on CPUs it silently runs DDP."""

    def __init__(self):
        super().__init__(cpu=True)
        for name, value in shipped().items():
            os.environ[name.upper()] = str(value)
        self.state.fsdp_plugin = FullyShardedDataParallelPlugin()
        self.state._shared_state["distributed_type"] = self.state.distributed_type = DistributedType.FSDP

    def prepare(self, model, optimizer):
        """As it is, and divided."""
        model, optimizer = super().prepare(model, optimizer)
        assert is_divided(model)
        return model, optimizer


def shipped():
    """The `fsdp_config` that komt ships, as `accelerate launch` puts it into the environment."""
    path = Path(komt.train.__file__).parent / "accelerate" / "fsdp2.yaml"
    return load_config_from_file(str(path)).fsdp_config


def accelerated(*words):
    """The command line over Accelerate's own FSDP2."""
    run_with(Accelerated, words)
