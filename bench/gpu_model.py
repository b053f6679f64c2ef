"""What `gpu.py` trains: models of real shapes with random weights, and the device they stand on."""

from __future__ import annotations

import gc
import time
from typing import Any

import torch

from komt.models.load import attach_lora, keep_weights_unpacked
from komt.recipe import LoraPart


def limit(gib: float) -> None:
    """From now on torch may use so many GiB of the GPU."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, gib * 2**30 / total))


def release(device: str) -> None:
    """Give back what is no longer used."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def build_model(shape: dict[str, Any], bits: int, device: str, *, checkpointing: bool) -> Any:
    """A model of random weights with LoRA (B random too, so that its gradients are those of a training)."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(**shape)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    if bits == 4:
        _quantise(model, device)
        keep_weights_unpacked(model)
    model = attach_lora(model, LoraPart(dropout=0.0), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def _quantise(model: Any, device: str) -> None:
    """All linear layers but the head to NF4, one after another."""
    import bitsandbytes as bnb

    head = model.get_output_embeddings()
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    for name, module in layers:
        parent, _, own = name.rpartition(".")
        layer = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        layer.weight = bnb.nn.Params4bit(
            module.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
        ).to(device)
        layer.bias = module.bias
        setattr(model.get_submodule(parent), own, layer)


def multiplications(model: Any) -> tuple[int, int]:
    """Numbers in the linear layers' weights, and in the head's: multiplications by token and by row."""
    head = model.get_output_embeddings()
    linear = sum(
        module.in_features * module.out_features
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and "lora_" not in name
    )
    return linear, head.in_features * head.out_features


def gemm_peak(device: str, side: int) -> float:
    """FLOP/s of a large bf16 product, the best of ten."""
    one, other = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    seconds = []
    for _ in range(10):
        began = now(device)
        torch.mm(one, other)
        seconds.append(now(device) - began)
    return 2 * side**3 / min(seconds)


def now(device: str) -> float:
    """The time, once the device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
