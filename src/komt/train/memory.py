"""How much memory a training takes: what is known is added up, what a bin keeps for its gradients is counted.

The peak is the sum of

- what the process holds once the model is loaded (measured);
- gradients (4 bytes) and AdamW's two averages (8 bytes) of each trained weight, all fp32;
- what autograd keeps of the largest bin: a·tokens + b·pairs + c·rows + d bytes. The four are solved from
  the tensors saved over four small bins of the same model: they hold for any family, adapter and kernel;
- the head in backward: the gradient of the bin's logits, and two fp32 chunks of them;
- copies in passing: the largest trained weight's gradient in bf16 and fp32, or one dequantised layer in bf16
  twice;
- on a CPU, what the C library's heap holds beside what is in use while bins come and go: a share of the
  bin's tensors that was measured (bench/memory.py), `HEAP_SHARE`.

With gradient checkpointing the input of each layer is kept, and one layer at a time is computed again: for
that three times what it keeps, as measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from komt.pack.attention import block_pairs
from komt.pack.encode import TokenSequence
from komt.pack.plan import Step
from komt.pack.probe import Way, device_of
from komt.pack.trie import build_trie
from komt.recipe import Recipe

GIB = 2**30
HEAP_SHARE = 0.45
# With checkpointing, tensors of the layer that is computed again: what it keeps, its gradients, what passes.
LAYER_WORK = 3.0
_LOGIT_CHUNK, _GPU_LOGIT_CHUNK = 1 << 22, 1 << 26  # pack/loss.py: 2**20 and 2**24 elements in fp32
# NF4 with doubly quantised scales: 4 bits, 8/64 for a block's scale, 32/(64·256) for the scales' scale.
NF4_BYTES, _INT8_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8, 1.0
# Names of two-dimensional weights that bitsandbytes leaves alone.
_WHOLE = ("embed", "lm_head", ".experts.", ".gate.weight", ".router.")
# Two averages in 8 bits, each with an fp32 scale for 256 numbers.
_AVERAGES_8BIT = 2 * (1 + 4 / 256)


@dataclass(frozen=True, slots=True)
class BinSize:
    """A bin's tokens as packed, rows whose logits are needed, and pairs that attend (`block_pairs`)."""

    tokens: int
    rows: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Saved:
    """What autograd keeps, in bytes, of a bin: by token, pair of tokens, row; and always."""

    token: float
    pair: float
    row: float
    fixed: float

    def of(self, size: BinSize) -> float:
        """Bytes for a bin."""
        return self.layers(size) + self.row * size.rows + self.fixed

    def layers(self, size: BinSize) -> float:
        """The part of all layers together."""
        return self.token * size.tokens + self.pair * size.pairs


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted peak, in bytes, and what it is made of."""

    loaded: float
    trained: float
    kept: float
    head: float
    copies: float
    heap: float = 0.0

    @property
    def total(self) -> float:
        """The peak."""
        return self.loaded + self.trained + self.kept + self.head + self.copies + self.heap


@dataclass(frozen=True, slots=True)
class Shape:
    """What the sum needs of a model.

    Attributes:
        layers, hidden, vocabulary: of its configuration.
        trained: numbers in trained weights; largest_trained: in the largest of them.
        largest_layer: numbers in the largest quantised weight, 0 where none is.
        linear_widths: widths in and out of all linear layers, added up: LoRA trains r times as many numbers.
        width: bytes of an activation, 2 or 4; on_cpu: where it is computed.
        averages: bytes of the optimiser's two averages of a trained number.
    """

    layers: int
    hidden: int
    vocabulary: int
    trained: int
    largest_trained: int
    largest_layer: int
    linear_widths: int
    width: int
    on_cpu: bool = True
    averages: float = 8.0


def shape_of(model: Any, recipe: Recipe) -> Shape:
    """The shape of a loaded model, LoRA attached or all weights trained."""
    config = model.config.get_text_config()
    trained = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
    frozen = [
        module.in_features * module.out_features
        for module in model.modules()
        if recipe.model.bits < 16 and type(module).__name__ in {"Linear4bit", "Linear8bitLt"}
    ]
    head = model.get_output_embeddings()
    linear = [
        module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head
    ]
    return Shape(
        config.num_hidden_layers,
        config.hidden_size,
        config.vocab_size,
        sum(trained),
        max(trained, default=0),
        max(frozen, default=0),
        sum(module.in_features + module.out_features for module in linear),
        4 if recipe.model.bits == 32 else 2,
        device_of(model).type == "cpu",
        _AVERAGES_8BIT if recipe.train.optim.endswith("8bit") else 8.0,
    )


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted peak and what it rests on: the bin that keeps most, and what was counted."""

    estimate: Estimate
    size: BinSize
    shape: Shape
    saved: Saved


def estimate(
    shape: Shape,
    saved: Saved,
    size: BinSize,
    loaded: float,
    *,
    checkpointing: bool,
    several_bins: bool = True,
) -> Estimate:
    """The peak of a training step on a bin.

    Args:
        shape: of the model.
        saved: from `count_saved`.
        size: of the bin that keeps most.
        loaded: bytes held with the model loaded and nothing computed yet.
        checkpointing: whether layers are computed again in backward.
        several_bins: whether a step holds several: the gradients of one stand beside the tensors of the next.
    """
    kept = saved.layers(size)
    if checkpointing:
        inputs = shape.layers * shape.hidden * shape.width * size.tokens
        kept = inputs + LAYER_WORK * kept / shape.layers
    kept += saved.row * size.rows
    logits = size.rows * shape.vocabulary
    chunk = _LOGIT_CHUNK if shape.on_cpu else _GPU_LOGIT_CHUNK
    head = logits * shape.width + 2 * min(chunk, 4 * logits)
    heap = HEAP_SHARE * (kept + head) if shape.on_cpu else 0.0
    averages, gradients = shape.averages * shape.trained, 4.0 * shape.trained
    # The head's gradient comes first, in bf16 and in fp32, while all tensors of the bin are still there.
    copies = max(6.0 * shape.largest_trained, 4.0 * shape.largest_layer)
    before = gradients if several_bins else 0.0
    if before + kept + head + heap + saved.fixed >= gradients:
        return Estimate(loaded, averages + before, kept + saved.fixed, head, copies, heap)
    return Estimate(loaded, averages + gradients, 0.0, 0.0, copies)


def bin_sizes(
    sequences: Sequence[TokenSequence], steps: Sequence[Step], way: Way, together: int = 1
) -> list[list[BinSize]]:
    """Tokens and rows of each bin of each step (rows counted before those at one place are merged).

    Args:
        sequences: encoded.
        steps: the whole plan.
        way: how bins are packed.
        together: neighbours whose tensors are kept together where each is computed alone (2 of a pair).
    """
    return [[_bin_size(sequences, members, way, together) for members in step.bins] for step in steps]


def _bin_size(sequences: Sequence[TokenSequence], members: Sequence[int], way: Way, together: int) -> BinSize:
    held = [sequences[index] for index in members]
    if way != "single":
        return size_of(held, share=way == "shared")
    alone = [size_of([one], share=False) for one in held]
    summed = [_sum_of(alone[place : place + together]) for place in range(0, len(alone), together)]
    return max(summed, key=lambda size: size.tokens)


def _sum_of(sizes: Sequence[BinSize]) -> BinSize:
    return BinSize(*(sum(getattr(size, name) for size in sizes) for name in ("tokens", "rows", "pairs")))


def size_of(held: Sequence[TokenSequence], *, share: bool) -> BinSize:
    """The size of sequences in one bin."""
    ends = build_trie([one.ids for one in held], share=share).ends
    rows = sum(int(np.count_nonzero(one.weights[1:])) for one in held)
    return BinSize(len(ends), rows, block_pairs(ends))


def weight_bytes(folder: Path, bits: int) -> float:
    """Bytes of a model's weights in so many bits, by its files' headers.

    Embeddings, head, experts and what routes to them are no linear layers, and stay in bf16.
    """
    total = 0.0
    for file in sorted(folder.glob("model*.safetensors")):
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        for name, entry in header.items():
            if name != "__metadata__":
                total += float(np.prod(entry["shape"], dtype=np.float64)) * _bytes_each(name, entry, bits)
    return total


def _bytes_each(name: str, entry: dict[str, Any], bits: int) -> float:
    if bits >= 16:
        return bits / 8
    is_linear = len(entry["shape"]) == 2 and not any(part in name for part in _WHOLE)
    return {4: NF4_BYTES, 8: _INT8_BYTES}[bits] if is_linear else 2.0
