"""Batch: one packed forest of tries with its targets, as tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from komt.example import Example
from komt.pack.encode import TokenSequence, encode
from komt.pack.trie import build_trie


@dataclass(frozen=True, slots=True)
class Batch:
    """One bin: T tokens, R rows whose logits are needed, N targets (one per supervised token).

    Attributes:
        ids: tokens in depth-first order, (1, T).
        positions: position ids, (1, T).
        ends: subtree ends, (T,).
        rows: nodes whose next-token logits are needed, each once, ascending, (R,).
        target_rows: for each target, its place in `rows`, (N,).
        targets: the token to predict, (N,).
        weights: its weight in the loss, (N,), float32.
        sequence: which sequence (in the order given) the target belongs to, (N,).
        flat_tokens: what the sequences would hold unshared.
    """

    ids: Tensor
    positions: Tensor
    ends: Tensor
    rows: Tensor
    target_rows: Tensor
    targets: Tensor
    weights: Tensor
    sequence: Tensor
    flat_tokens: int

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "flat_tokens"}
        return replace(self, **moved)


def pack_sequences(sequences: Sequence[TokenSequence], *, share: bool = True) -> Batch:
    """Pack encoded sequences into one batch; shared prefixes are merged unless `share` is False.

    Raises:
        ValueError: no sequence, or none with a supervised token after its first.
    """
    arrays = packed_arrays(sequences, share=share)
    return batch_of(arrays, flat_tokens=sum(len(sequence.ids) for sequence in sequences))


def packed_arrays(sequences: Sequence[TokenSequence], *, share: bool = True) -> dict[str, npt.NDArray[Any]]:
    """A batch's parts, by name, in NumPy: see `Batch`; `weights` are float32.

    Raises:
        ValueError: as `pack_sequences`.
    """
    trie = build_trie([sequence.ids for sequence in sequences], share=share)
    before, tokens, weights, owners = [], [], [], []
    for index, (sequence, path) in enumerate(zip(sequences, trie.paths, strict=True)):
        supervised = np.flatnonzero(sequence.weights[1:]) + 1
        before.append(path[supervised - 1])
        tokens.append(np.asarray(sequence.ids, np.int64)[supervised])
        weights.append(sequence.weights[supervised])
        owners.append(np.full(len(supervised), index))
    if not sum(map(len, tokens)):
        raise ValueError("no supervised token in these sequences")
    rows, target_rows = np.unique(np.concatenate(before), return_inverse=True)
    return {
        "ids": trie.ids,
        "positions": trie.positions,
        "ends": trie.ends,
        "rows": rows,
        "target_rows": target_rows,
        "targets": np.concatenate(tokens),
        "weights": np.concatenate(weights).astype(np.float32),
        "sequence": np.concatenate(owners),
    }


def batch_of(arrays: Mapping[str, npt.NDArray[Any]], flat_tokens: int) -> Batch:
    """A batch of what `packed_arrays` gives."""
    tensors = {
        name: torch.from_numpy(array.astype(np.float32 if name == "weights" else np.int64))
        for name, array in arrays.items()
    }
    tensors["ids"], tensors["positions"] = tensors["ids"][None], tensors["positions"][None]
    return Batch(**tensors, flat_tokens=flat_tokens)


def build(examples: Iterable[Example], tokenizer: Any, *, share: bool = True) -> Batch:
    """Encode examples and pack them into one batch: the public entry.

    Args:
        examples: with at least one supervised turn each.
        tokenizer: with a chat template.
        share: whether common prefixes are computed once.
    """
    return pack_sequences(encode(tokenizer, list(examples)), share=share)
