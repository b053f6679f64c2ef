"""What decides how sums are rounded: a resumed run that shares it is bit-exact, another is told why not."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from komt.recipe import Recipe
from komt.train.accelerator import spread_by

_DTYPES = {32: "float32"}


def numerics(recipe: Recipe, model: Any, way: str, accelerator: Accelerator) -> dict[str, Any]:
    """Device, dtype, threads, compilation, packing, processes, what spreads the weights, and versions."""
    device = next(model.parameters()).device
    return {
        "device": _device_name(device),
        "dtype": _DTYPES.get(recipe.model.bits, "bfloat16"),
        "threads": torch.get_num_threads(),
        "compiled": any(_is_compiled(module) for module in model.modules()),
        "packing": way,
        "processes": accelerator.num_processes,
        "weights": f"spread by {kind}" if (kind := spread_by(accelerator)) else "whole",
        "torch": torch.__version__,
    }


def reuse_threads(then: Mapping[str, Any], now: dict[str, Any]) -> None:
    """Set the number of threads that the checkpoint's run had: sums over more or fewer parts differ."""
    threads = then.get("threads")
    if isinstance(threads, int) and threads > 0 and now["device"] == then.get("device"):
        torch.set_num_threads(threads)
        now["threads"] = threads


def changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, as `torch: 2.12.0 then, 2.13.0 now`."""
    return [f"{key}: {then.get(key)} then, {now[key]} now" for key in now if then.get(key) != now[key]]


def _is_compiled(module: Any) -> bool:
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    # torch chooses its kernels by what the processor can do, not by its name alone.
    return f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
