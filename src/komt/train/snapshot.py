"""What a training run holds in memory that its next step depends on: trained weights and optimiser state.

Both by the parameter's name and whole, however processes divide them (DDP, FSDP2, ZeRO-3), so that a run goes
on with another number of processes. Random numbers are no part of it: bins are seeded by (seed, step, bin).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from komt.errors import ModelError
from komt.train.zero3 import gathered, gathered_moments, place


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Whole tensors on the CPU.

    Attributes:
        step: optimiser steps done.
        weights: parameters that require gradients, by name.
        moments: the optimiser's tensors, by `KEY NAME` (`exp_avg model.layers.0…`).
    """

    step: int
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]


def take_snapshot(step: int, model: Any, optimizer: Any, *, keep: bool = True) -> Snapshot:
    """Weights and optimiser state of a run. Where they are divided between processes all must call it.

    Only where `keep` is set are whole tensors held; other processes give their parts and get none.
    """
    weights: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}
    for name, parameter in _named(model):
        weights[name] = whole(parameter, keep=keep)
        for key, value in sorted(_moments(optimizer, parameter).items()):
            if isinstance(value, int):  # bitsandbytes counts its steps so
                value = torch.tensor(value)
            if not isinstance(value, Tensor):
                raise ModelError(
                    f"the optimiser's state '{key}' is no tensor: it cannot be kept in a checkpoint"
                )
            moments[f"{key} {name}"] = whole(value, keep=keep)
    return Snapshot(step, weights, moments)


def restore(snapshot: Snapshot, model: Any, optimizer: Any) -> None:
    """Put a snapshot's tensors in place; each process takes its part.

    Raises:
        ModelError: it holds other parameters than the model trains; nothing was changed.
    """
    named = dict(_named(model))
    if reason := mismatch(snapshot, model):
        raise ModelError(f"the checkpoint does not fit the model: {reason}")
    moments: dict[str, dict[str, Any]] = {name: {} for name in named}
    for entry, value in snapshot.moments.items():
        key, _, name = entry.partition(" ")
        moments[name][key] = value if value.ndim else _count(value)
    with torch.no_grad():
        for name, parameter in named.items():
            if hasattr(parameter, "ds_id"):
                place(parameter, snapshot.weights[name], moments[name])
            else:
                _place(parameter, snapshot.weights[name], moments[name], _state_of(optimizer))


def mismatch(snapshot: Snapshot, model: Any) -> str:
    """Why a snapshot is not one of this model, or an empty string."""
    named = dict(_named(model))
    if odd := sorted(named.keys() ^ snapshot.weights.keys()):
        return f"{odd[0]} is trained in one of them only ({len(odd)} parameters differ)"
    for name, parameter in named.items():
        shape = getattr(parameter, "ds_shape", parameter.shape)
        if shape != snapshot.weights[name].shape:
            return f"{name} has the shape {tuple(snapshot.weights[name].shape)}, not {tuple(shape)}"
    unknown = sorted({entry.partition(" ")[2] for entry in snapshot.moments} - named.keys())
    return f"there is optimiser state of {unknown[0]}" if unknown else ""


def trainable(model: Any) -> dict[str, Tensor]:
    """Parameters that require gradients, by name, whole and on the CPU."""
    return {name: whole(parameter) for name, parameter in _named(model)}


def is_divided(model: Any) -> bool:
    """Whether processes hold parts of its parameters (FSDP2, ZeRO-3)."""
    return any(hasattr(one, "full_tensor") or hasattr(one, "ds_id") for one in model.parameters())


def whole(tensor: Tensor, *, keep: bool = True) -> Tensor:
    """A tensor whole and on the CPU; of one that is divided all processes must ask.

    Without `keep` an empty tensor: the process has only given its part.
    """
    if hasattr(tensor, "ds_id"):
        tensor = gathered(tensor)
    tensor = tensor.detach()
    if hasattr(tensor, "full_tensor"):
        tensor = cast(Tensor, tensor.full_tensor())
    return tensor.cpu().contiguous() if keep else torch.empty(0)


def _moments(optimizer: Any, parameter: Any) -> Any:
    """The optimiser's state of a parameter; under ZeRO-3 already whole."""
    if hasattr(parameter, "ds_id"):
        return gathered_moments(parameter)
    return _state_of(optimizer).get(parameter, {})


def _place(parameter: Any, weight: Tensor, moments: dict[str, Any], state: Any) -> None:
    parameter.copy_(_placed(weight, parameter))
    state[parameter].clear()
    for key, value in moments.items():
        divided = isinstance(value, Tensor) and value.ndim
        state[parameter][key] = _placed(value, parameter) if divided else value


def _placed(value: Tensor, like: Tensor) -> Tensor:
    value = value.to(like.device)
    if not hasattr(like, "full_tensor"):
        return value.clone()
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(value, like.device_mesh, like.placements)


def _count(value: Tensor) -> Tensor | int:
    """A count of steps is no part of the parameter: a number, or on the CPU, as the optimiser made it."""
    return value.clone() if value.is_floating_point() else int(value)


def _named(model: Any) -> Iterator[tuple[str, Any]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def _state_of(optimizer: Any) -> Any:
    """The optimiser's own state, also where Accelerate has wrapped it."""
    return getattr(optimizer, "optimizer", optimizer).state
