"""The probe at load: is this model, on this device, the same packed as one by one?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from komt.pack.batch import pack_sequences
from komt.pack.encode import TokenSequence
from komt.pack.flex import BLOCK_TOKENS, leave_flex, suits, use_flex, uses_flex
from komt.pack.loss import target_losses
from komt.pack.rope import goes_by_length
from komt.process import give_back_memory

Way = Literal["shared", "packed", "single"]

FP32_TOLERANCE, LOW_PRECISION_FACTOR = 1e-5, 3.0
# The probe must stay cheap: of a wider window than it could reach in so many tokens it tries a narrow one.
_LONGEST, _NARROW = 1100, 24


@dataclass(frozen=True, slots=True)
class Parity:
    """What the probe found.

    Attributes:
        way: the most that is exact: "shared" (tries), "packed" (separate roots), "single" (no packing).
        error: largest relative difference of a sequence's loss, packed in that way against alone.
        allowed: the most that counts as equal.
        reason: why not more, or "".
    """

    way: Way
    error: float
    allowed: float
    reason: str = ""

    def __str__(self) -> str:
        text = f"packing: {self.way} (loss differs by {self.error:.1e}, allowed {self.allowed:.1e})"
        return f"{text}; {self.reason}" if self.reason else text


def probe(model: Any, longest: int = 0) -> Parity:
    """Compare packed with separate losses on a ragged trie of random tokens.

    In fp32 they must agree to 1e-5; in lower precision to three times what padding, or another attention
    kernel, changes without packing (both are mere rounding).

    On CUDA the model attends by FlexAttention from then on, where that is exact and trains; else by SDPA.

    A model that cannot compute even one sequence raises whatever it raises.

    Args:
        model: the model.
        longest: tokens of the longest sequence that it will see: with some models packing is exact up to a
            length only, which the probe's own sequences do not reach.
    """
    found = _probe_kernels(model)
    give_back_memory()  # the padded pass is the largest before training
    if why := goes_by_length(model.config, longest):
        return replace(found, way="single", error=0.0, reason="; ".join(filter(None, [why, found.reason])))
    return found


def _probe_kernels(model: Any) -> Parity:
    if not suits(model):
        return _probe(model)
    use_flex(model)
    found = _probe(model)
    trains = _backward_failure(model) if found.way == "shared" else found.reason
    if not trains:
        return found
    leave_flex(model)
    other = _probe(model)
    return replace(other, reason="; ".join(filter(None, [f"not by FlexAttention: {trains}", other.reason])))


def _backward_failure(model: Any) -> str:
    """Why a backward pass through packed sequences fails on this GPU, or ""."""
    try:
        with _within_reach(model), torch.enable_grad():
            batch = pack_sequences(_ragged_sequences(model)).to(device_of(model))
            losses = target_losses(model, batch)
            if losses.requires_grad:
                torch.autograd.backward(losses.sum())
    except Exception as failure:  # kernels fail in any way they like
        return (str(failure) or repr(failure)).splitlines()[0]
    finally:
        model.zero_grad(set_to_none=True)
    return ""


def _probe(model: Any) -> Parity:
    with _evaluating(model), _within_reach(model), torch.no_grad():
        sequences = _ragged_sequences(model)
        alone = _losses_alone(model, sequences)
        allowed = FP32_TOLERANCE
        if _precision(model) != torch.float32:
            allowed = LOW_PRECISION_FACTOR * max(_rounding(model, sequences, alone), 1e-4)
        reasons, error = [], 0.0
        for way in ("shared", "packed"):
            try:
                error = _difference(_losses_packed(model, sequences, share=way == "shared"), alone)
            except Exception as failure:  # a model may refuse such masks in any way it likes
                reasons.append(f"not {way}: {(str(failure) or repr(failure)).splitlines()[0]}")
                continue
            if error <= allowed:
                return Parity(way, error, allowed, "; ".join(reasons))
            reasons.append(f"not {way}: losses differ by {error:.1e}")
    return Parity("single", 0.0, allowed, "; ".join(reasons))


def device_of(model: Any) -> torch.device:
    """Device of a model's parameters."""
    device = next(model.parameters()).device
    assert isinstance(device, torch.device)
    return device


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    for module in model.modules():
        if type(module).__name__ == "Linear8bitLt":
            module.train()  # on a CPU bitsandbytes computes otherwise in evaluation, in much more memory
    try:
        yield
    finally:
        model.train(training)


@contextlib.contextmanager
def _within_reach(model: Any) -> Iterator[None]:
    """In the block a sliding window is one that the probe's sequences go beyond."""
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if not window or window + 24 <= _LONGEST:
        yield
        return
    config.sliding_window = _NARROW
    try:
        yield
    finally:
        config.sliding_window = window


def _precision(model: Any) -> torch.dtype:
    """fp32 only if every weight of the base is: a quantised base computes in lower precision."""
    kinds = {p.dtype for name, p in model.named_parameters() if "lora_" not in name}
    return torch.float32 if kinds == {torch.float32} else torch.bfloat16


def _ragged_sequences(model: Any) -> list[TokenSequence]:
    """Sequences that part at several depths, one of them twice, the longest past the sliding window."""
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) or 0
    length = window + 24 if window else 48
    if uses_flex(model):  # over several of its blocks
        length = max(length, 2 * BLOCK_TOKENS + 48)
    random = np.random.default_rng(0)
    trunk = random.integers(0, config.vocab_size, length)
    tails = [random.integers(0, config.vocab_size, size) for size in (9, 3, 6, 5)]
    paths = [
        np.concatenate([trunk, tails[0]]),
        np.concatenate([trunk, tails[1]]),
        np.concatenate([trunk[: length - 11], tails[2]]),
        np.concatenate([trunk, tails[0][:5], tails[3]]),
        np.concatenate([trunk, tails[1]]),
    ]
    sequences = []
    for number, (ids, tail) in enumerate(zip(paths, (9, 3, 6, 10, 3), strict=True)):
        weights = np.zeros(len(ids), np.float32)
        weights[-tail:] = 1.0
        sequences.append(TokenSequence(ids.astype(np.int32), weights, f"probe:{number}"))
    return sequences


def _losses_alone(model: Any, sequences: list[TokenSequence]) -> Tensor:
    return torch.stack([_plain_loss(model, [sequence])[0] for sequence in sequences])


def _rounding(model: Any, sequences: list[TokenSequence], alone: Tensor) -> float:
    """How much the losses differ when the same is computed otherwise: padded, and by eager attention."""
    config = model.config.get_text_config()
    padded = _difference(_plain_loss(model, sequences), alone)
    before = getattr(config, "_attn_implementation", None)
    config._attn_implementation = "eager"
    try:
        return max(padded, _difference(_losses_alone(model, sequences), alone))
    finally:
        config._attn_implementation = before


def _plain_loss(model: Any, sequences: list[TokenSequence]) -> Tensor:
    """Mean loss of each sequence, right-padded into one batch with an ordinary attention mask, (B,)."""
    longest = max(map(len, sequences))
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    weights = torch.zeros(len(sequences), longest)
    mask = torch.zeros(len(sequences), longest, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.from_numpy(sequence.ids.astype(np.int64))
        weights[row, : len(sequence)] = torch.from_numpy(sequence.weights)
        mask[row, : len(sequence)] = 1
    device = device_of(model)
    needed = torch.nonzero(weights[:, 1:].sum(0))[:, 0]
    output = model(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        use_cache=False,
        logits_to_keep=needed.to(device),
    )
    targets, kept = ids[:, needed + 1].to(device), weights[:, needed + 1].to(device)
    # Row by row: over a large vocabulary torch's sums across rows are off by more than the tolerance.
    logits = output.logits.float().flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(logits, targets.flatten(), reduction="none").view_as(targets)
    return (losses * kept).sum(1) / kept.sum(1)


def _losses_packed(model: Any, sequences: list[TokenSequence], *, share: bool) -> Tensor:
    batch = pack_sequences(sequences, share=share).to(device_of(model))
    losses = target_losses(model, batch)
    sums = torch.zeros(len(sequences), device=losses.device).index_add_(0, batch.sequence, losses)
    counts = torch.bincount(batch.sequence, minlength=len(sequences))
    return sums / counts


def _difference(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs() / b.abs().clamp_min(1e-6)).max())
