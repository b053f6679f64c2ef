"""DeepSpeed ZeRO-3 in a training: processes hold weights, gradients and optimiser state in parts.

DeepSpeed keeps the parts of all parameters of a group in one flat tensor. Here single parameters are gathered
from it and put back, so that checkpoints hold what they hold without it.
https://deepspeed.readthedocs.io/en/latest/zero3.html
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from accelerate import Accelerator, DeepSpeedPlugin
from torch import Tensor

from komt.errors import ModelError, UsageError, need
from komt.recipe import Recipe
from komt.train.processes import process_state

CONFIGURATION = "src/komt/train/accelerate/deepspeed_zero3.yaml"


class ZeroAccelerator(Accelerator):  # type: ignore[misc]
    """Accelerate over DeepSpeed, with the optimiser's step where the loop has it: after the norm is known."""

    def __init__(self, recipe: Recipe | None = None, **options: Any) -> None:
        """Args:
        recipe: whose model, method and optimiser are checked; without it all is computed in 32 bits.
        options: of the Accelerator.

        Raises:
            MissingExtra: DeepSpeed is not installed.
            UsageError: something that cannot be trained so, or kept in a checkpoint.
        """
        need("deepspeed", "deepspeed")
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed.c10d_logger")
        plugin = DeepSpeedPlugin()
        check_settings(plugin.deepspeed_config, recipe)
        process_state()
        super().__init__(deepspeed_plugin=plugin, **options)
        # Else transformers would load models in parts, and packing is checked on a whole one.
        from transformers.integrations import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()
        self._autocast = recipe is not None and recipe.model.bits != 32
        self._last = True

    def prepare(self, model: Any, optimizer: Any) -> tuple[Any, Any]:
        """DeepSpeed's engine around the model, each process with its part, and the optimiser's step."""
        import deepspeed

        config = self.deepspeed_plugin.deepspeed_config
        _settle(config, model.config.get_text_config().hidden_size, self.num_processes, self._autocast)
        # One parameter after the other: whole the base need not fit on one GPU.
        deepspeed.zero.Init(module=model, config_dict_or_path=config)
        for buffer in model.buffers():
            buffer.data = buffer.data.to(self.device)
        engine, _ = super().prepare(model, optimizer)
        return engine, EngineOptimizer(engine)

    @contextlib.contextmanager
    def no_sync(self, model: Any) -> Iterator[None]:
        """Gradients are added to those of the step's next backward passes."""
        self._last = False
        try:
            yield
        finally:
            self._last = True

    def backward(self, loss: Tensor, **options: Any) -> None:
        """The backward pass alone; Accelerate's would also take the optimiser's step."""
        engine = self.deepspeed_engine_wrapped.engine
        engine.set_gradient_accumulation_boundary(self._last)
        engine.backward(loss)

    def clip_grad_norm_(self, parameters: Iterable[Any], max_norm: float, norm_type: float = 2) -> Tensor:
        """The norm of all gradients before clipping, (); the optimiser's step will clip them."""
        from deepspeed.utils import safe_get_local_grad

        parts = [safe_get_local_grad(one).norm() for one in parameters if one.requires_grad]
        squares = self.reduce(torch.stack(parts).square().sum())
        self.deepspeed_engine_wrapped.engine.optimizer.clip_grad = max_norm
        return cast(Tensor, squares.sqrt())


class EngineOptimizer:
    """The optimiser's step, which the engine takes: it clips, updates the parts, forgets the gradients."""

    def __init__(self, engine: Any) -> None:
        """Args:
        engine: DeepSpeed's, around the model.
        """
        self._engine = engine

    def step(self) -> None:
        """Update the weights.

        Raises:
            ModelError: DeepSpeed did not, without saying why.
        """
        self._engine.step()
        if not self._engine.was_step_applied():
            raise ModelError("DeepSpeed has left out an optimiser step", cure="lower train.lr")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Nothing: the step has done it."""


def check_settings(config: Mapping[str, Any], recipe: Recipe | None) -> None:
    """Do nothing where DeepSpeed's settings and a recipe go together with komt's checkpoints.

    Raises:
        UsageError: they do not.
    """
    zero = config["zero_optimization"]
    if zero.get("stage") != 3:
        raise UsageError(
            f"under DeepSpeed komt trains with ZeRO stage 3, not {zero.get('stage')}",
            cure=f"use {CONFIGURATION}, or DDP (docs/training.md)",
        )
    for name in ("offload_optimizer", "offload_param"):
        if (device := (zero.get(name) or {}).get("device") or "none") != "none":
            raise UsageError(
                f"DeepSpeed's {name} to {device} is refused: a resumed run would be another",
                cure=f"{name}_device: none in the configuration, and more processes",
            )
    if any(config.get(kind, {}).get("enabled") is True for kind in ("fp16", "bf16")):
        raise UsageError(
            "DeepSpeed's own fp16 or bf16 would round the trained weights",
            cure='mixed_precision: "no" in the configuration; model.bits says how komt computes',
        )
    if recipe and recipe.model.bits < 16:
        raise UsageError(
            f"a base in {recipe.model.bits} bits cannot be divided by DeepSpeed",
            cure="model.bits=16 (or 32), or DDP (docs/training.md)",
        )
    if recipe and recipe.train.optim != "adamw":
        raise UsageError(
            f"{recipe.train.optim} cannot be divided by DeepSpeed",
            cure="train.optim=adamw, or DDP (docs/training.md)",
        )


def _settle(config: dict[str, Any], hidden: int, processes: int, autocast: bool) -> None:
    """Fill in what Accelerate leaves open; of micro-batches, komt's business, DeepSpeed knows nothing."""
    config |= {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "train_batch_size": processes,
    }
    config["gradient_clipping"] = 0.0  # `clip_grad_norm_` sets it
    zero = config["zero_optimization"]
    # As in transformers: DeepSpeed's own sizes are meant for models that are trained whole on large GPUs.
    sizes = {
        "reduce_bucket_size": hidden * hidden,
        "stage3_prefetch_bucket_size": hidden * hidden * 9 // 10,
        "stage3_param_persistence_threshold": 10 * hidden,
    }
    for name, size in sizes.items():
        if zero.get(name, "auto") == "auto":
            zero[name] = size
    if autocast:  # the engine turns off the loop's own on GPUs; no list of modules: gradients meet in fp32
        config["torch_autocast"] = {
            "enabled": True,
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],
        }


def gathered(parameter: Any) -> Tensor:
    """A trained parameter, whole; all processes must ask."""
    from deepspeed.utils import safe_get_full_fp32_param

    return cast(Tensor, safe_get_full_fp32_param(parameter))


def gathered_moments(parameter: Any) -> dict[str, Any]:
    """A parameter's optimiser state, its tensors whole; all processes must ask."""
    from deepspeed.utils import safe_get_full_optimizer_state

    return {
        key: safe_get_full_optimizer_state(parameter, key) if _is_divided(value) else _own(value)
        for key, value in _flat_state(parameter).items()
    }


def place(parameter: Any, weight: Tensor, moments: Mapping[str, Any]) -> None:
    """Put a whole weight and optimiser state in place: each process takes its part; all must call it."""
    import deepspeed
    from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

    with deepspeed.zero.GatheredParameters(parameter, modifier_rank=0):
        parameter.data.copy_(weight)
    safe_set_local_fp32_param(parameter, _part(weight, parameter))
    state = _flat_state(parameter)
    for key in state.keys() - moments.keys():
        del state[key]
    for key, value in moments.items():
        if not _is_divided(value):
            state[key] = _own(value)
            continue
        state.setdefault(key, torch.zeros_like(_flat(parameter)))
        safe_set_local_optimizer_state(parameter, _part(value, parameter), key)


def _is_divided(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _own(value: Any) -> Any:
    """A count of steps, which parameters share here and each have their own of in a checkpoint."""
    return value.clone() if isinstance(value, Tensor) else value


def _part(value: Tensor, parameter: Any) -> Tensor:
    """This process's part of a whole tensor, which the last one's is filled up with noughts to."""
    size, rank = parameter.ds_tensor.numel(), torch.distributed.get_rank(parameter.ds_process_group)
    own = value.flatten()[rank * size : (rank + 1) * size]
    return torch.nn.functional.pad(own, (0, size - own.numel()))


def _flat(parameter: Any) -> Any:
    """The flat tensor that holds this process's parts of the parameter and its neighbours."""
    zero = parameter._z3_optimizer
    group, _, _ = zero.grad_position[zero.get_param_id(parameter)]
    return zero.fp32_partitioned_groups_flat[group]


def _flat_state(parameter: Any) -> Any:
    """The optimiser's state of that tensor."""
    return parameter._z3_optimizer.optimizer.state[_flat(parameter)]
