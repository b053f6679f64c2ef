"""`komt train` with torch's own fully_shard in place of DDP: on CPUs Accelerate has no FSDP2."""

import contextlib

from accelerate import Accelerator
from torch.distributed.fsdp import fully_shard


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
    from komt.cli import main as komt
    from komt.train import run

    run.make_accelerator = lambda: Sharding(cpu=True)
    if status := komt(list(words)):
        raise SystemExit(status)
