"""Memory of a training on a GPU of a given size, from the model's configuration alone.

Neither weights nor data nor a GPU are needed: the model is built without storage (torch's meta device), its
weights are counted by the bits they would be held in, and what autograd keeps is counted over small bins
whose attention keeps what FlexAttention keeps: queries, keys, values, output and one sum a query. The bin
is a full one. Linear attention is counted as transformers computes it without kernels of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from komt.errors import KomtError, ModelError, one_line
from komt.models.configuration import read_configuration
from komt.models.load import attach_lora
from komt.models.quiet import quiet
from komt.pack.masks import attention_masks, unconfined_layers
from komt.recipe import Recipe
from komt.train.memory import LAYER_WORK, NF4_BYTES, BinSize, Prediction, Saved, estimate, shape_of

# Of a full bin's tokens so many are trained on: short answers after long passages are far fewer.
TARGET_SHARE = 0.25
NAME = "komt_counted"
_COUNTED = ((256, 8), (512, 8), (512, 64))


class _Kept(torch.autograd.Function):
    """Keeps what FlexAttention keeps for its backward pass; computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_zeros(*query.shape[:3], value.shape[3])
        sums = torch.zeros(query.shape[:3], dtype=torch.float32, device=query.device)
        ctx.save_for_backward(query, key, value, output, sums)
        return output


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    output: Tensor = _Kept.apply(query, key, value)  # type: ignore[no-untyped-call]
    return output.transpose(1, 2).contiguous(), None


def forecast(recipe: Recipe, folder: Path) -> Prediction:
    """The predicted peak on a GPU, at a full bin of `pack.tokens`.

    Args:
        recipe: of a training with LoRA, or in full.
        folder: with the model's config.json.

    Raises:
        ModelError: the configuration cannot be read, or such layers cannot be counted without data.
    """
    model = meta_model(recipe, folder)
    shape = replace(shape_of(model, recipe), width=2, on_cpu=False)
    linear = [module for _, module in _quantised(model)]
    if recipe.model.bits < 16:
        largest = max(module.in_features * module.out_features for module in linear)
        shape = replace(shape, largest_layer=largest)
    held = held_bytes(model, recipe)
    try:
        with without_values(model) as empty:
            saved = count_saved(empty)
    except Exception as error:
        raise ModelError(
            f"what training keeps in memory cannot be counted without the weights: {one_line(error)}",
            where=str(folder),
            cure="komt check with the model itself",
        ) from error
    checkpointing = recipe.train.gradient_checkpointing
    if checkpointing and recipe.train.method == "lora":
        # LoRA on experts makes whole weights; layer by layer, with their gradients, where all is redone.
        saved = replace(saved, fixed=min(1.0, LAYER_WORK / shape.layers) * saved.fixed)
    tokens = recipe.pack.tokens
    size = BinSize(tokens, max(1, round(TARGET_SHARE * tokens)), 0)
    return Prediction(estimate(shape, saved, size, held, checkpointing=checkpointing), size, shape, saved)


def meta_model(recipe: Recipe, folder: Path) -> Any:
    """The model without storage, LoRA on it where that is trained.

    Raises:
        ModelError: as `read_configuration`, or no language model is made of it.
    """
    from transformers import AttentionInterface, AutoModelForCausalLM
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    remote_code = recipe.model.remote_code
    config = read_configuration(folder, remote_code=remote_code)
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    try:
        with quiet(), torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                config, dtype=torch.bfloat16, attn_implementation=NAME, trust_remote_code=remote_code
            )
        if recipe.train.method == "full":
            return model.train()
        # Under autocast LoRA computes in bf16, whatever its weights are held in.
        return attach_lora(model, recipe.train.lora, recipe.seed).to(torch.bfloat16).train()
    except KomtError:
        raise
    except Exception as error:
        raise ModelError(
            f"no language model that can be trained is made of this configuration: {one_line(error)}",
            where=str(folder),
            cure="give model.name a causal language model, and look whether its config.json is whole",
        ) from error


def held_bytes(model: Any, recipe: Recipe) -> float:
    """Bytes of the weights: trained ones in fp32, the base's layers in `model.bits`, the rest in bf16."""
    layers = {id(module.weight) for _, module in _quantised(model)}
    each = {4: NF4_BYTES, 8: 1.0, 16: 2.0, 32: 4.0}[recipe.model.bits]
    total: float = sum(
        parameter.numel()
        * (4.0 if parameter.requires_grad else each if id(parameter) in layers else max(2.0, each))
        for parameter in model.parameters()
    )
    return total


def _quantised(model: Any) -> Iterator[tuple[str, Any]]:
    """Linear layers of the base that bitsandbytes would hold in fewer bits: all but the LM head and LoRA."""
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not head and "lora_" not in name:
            yield name, module


@contextmanager
def without_values(model: Any) -> Iterator[Any]:
    """The model with tensors that have a shape and a device but no values: more runs on them than on meta."""
    with quiet(), FakeTensorMode(allow_non_fake_inputs=True):
        yield model.to_empty(device="cpu")


def count_saved(model: Any) -> Saved:
    """Solve what autograd keeps by token, by row, and always, from three small bins."""
    counted = [kept_bytes(model, tokens, rows) for tokens, rows in _COUNTED]
    terms = np.array([[tokens, rows, 1.0] for tokens, rows in _COUNTED])
    token, row, fixed = (max(0.0, float(value)) for value in np.linalg.solve(terms, np.array(counted)))
    return Saved(token, 0.0, row, fixed)


def kept_bytes(model: Any, tokens: int, rows: int) -> float:
    """Bytes that autograd keeps of a forward pass and the loss on so many rows, the weights apart."""
    device = next(model.parameters()).device
    ids = torch.zeros(1, tokens, dtype=torch.long, device=device)
    keep = torch.arange(rows, device=device)
    none = torch.zeros(0, dtype=torch.long)
    masks = None  # such layers get a sequence alone
    if not unconfined_layers(model.config):
        masks = attention_masks(model.config, torch.ones(0, 0, dtype=torch.bool), none, none)  # not looked at
    with _counting(model) as sizes:
        logits = model(
            input_ids=ids,
            position_ids=torch.arange(tokens, device=device)[None],
            attention_mask=masks,
            use_cache=False,
            logits_to_keep=keep,
        ).logits
        logits.pow(2)  # keeps the logits, as the loss does
    return float(sum(sizes.values()))


@contextmanager
def _counting(model: Any) -> Iterator[dict[int, int]]:
    """Bytes of each storage that autograd saves in the block, the model's own weights apart."""
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}
    kept = []  # an address may be given out again as soon as a tensor is gone

    def saved(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            sizes[storage._cdata] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        yield sizes
