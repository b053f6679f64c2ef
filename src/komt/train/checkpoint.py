"""Checkpoints that are whole or absent: staged, checksummed, fsynced, renamed."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from komt.errors import ModelError, UsageError
from komt.files import sha256, staged_folder, write_json

FORMAT = 1
INPUTS = "data, model and settings"
_WEIGHTS, _OPTIMISER, _STATE, _MANIFEST = (
    "trainable.safetensors",
    "optimizer.pt",
    "state.json",
    "manifest.json",
)


@dataclass(frozen=True, slots=True)
class Resumed:
    """A checkpoint that was loaded, and the newer ones that were skipped with the reason."""

    step: int
    state: dict[str, Any]
    skipped: tuple[str, ...]


def save_checkpoint(
    folder: Path, step: int, model: Any, optimizer: Any, state: dict[str, Any], keep: int
) -> Path:
    """Write `folder/step-NNNNNN` and remove all but the newest `keep`.

    Args:
        folder: the run's checkpoints.
        step: optimiser steps done.
        model: its parameters that require gradients are kept.
        optimizer: whose state is kept.
        state: what the resumed run must agree on (see `check_same`).
        keep: number of checkpoints to leave.
    """
    target = folder / f"step-{step:06d}"
    with staged_folder(target) as staged:
        save_file(trainable(model), str(staged / _WEIGHTS))
        torch.save(optimizer.state_dict(), staged / _OPTIMISER)
        write_json(staged / _STATE, {"format": FORMAT, "step": step, **state})
        files = {
            path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in staged.iterdir()
        }
        write_json(staged / _MANIFEST, {"format": FORMAT, "files": dict(sorted(files.items()))})
    for old in checkpoints(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def trainable(model: Any) -> dict[str, torch.Tensor]:
    """Parameters that require gradients, by name, on the CPU."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    return sorted(folder.glob("step-[0-9]*"), reverse=True)


def load_newest(folder: Path, model: Any, optimizer: Any, state: dict[str, Any]) -> Resumed | None:
    """Load the newest valid checkpoint into model and optimiser; None when there is none at all.

    Raises:
        UsageError: it belongs to another recipe, data or model (the keys that differ are named).
        ModelError: there are checkpoints, but none is valid.
    """
    skipped: list[str] = []
    for path in checkpoints(folder):
        reason = invalid(path)
        if reason:
            skipped.append(f"{path.name}: {reason}")
            continue
        saved = json.loads((path / _STATE).read_text(encoding="utf-8"))
        check_same(saved, state, str(path))
        weights = load_file(str(path / _WEIGHTS))
        own = {name: p for name, p in model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(weights[name])
        optimizer.load_state_dict(torch.load(path / _OPTIMISER, map_location="cpu", weights_only=True))
        return Resumed(int(saved["step"]), saved, tuple(skipped))
    if skipped:
        raise ModelError(
            "no checkpoint is valid: " + "; ".join(skipped),
            where=str(folder),
            cure="remove the checkpoints and train from the start",
        )
    return None


def invalid(path: Path) -> str:
    """Why a checkpoint cannot be used, or an empty string."""
    try:
        files = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))["files"]
        if not {_WEIGHTS, _OPTIMISER, _STATE} <= set(files):
            return "its manifest does not name all its files"
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest is missing or broken"
    for name, entry in files.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != entry["bytes"]:
            return f"{name} is truncated ({file.stat().st_size} of {entry['bytes']} bytes)"
        if sha256(file) != entry["sha256"]:
            return f"{name} has another hash than its manifest says"
    try:
        torch.load(path / _OPTIMISER, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        return f"{_OPTIMISER} cannot be read ({str(error).splitlines()[0]})"
    return ""


def check_same(saved: dict[str, Any], now: dict[str, Any], where: str) -> None:
    """A resumed run must be the same run.

    Raises:
        UsageError: naming each key that differs, with both values.
    """
    keys = [key for key in sorted(now) if saved.get(key) != now[key]]
    # The hash of everything says nothing where a setting that differs is named.
    named = [key for key in keys if key != INPUTS] or keys
    differing = [f"{key}: {_short(saved.get(key))} then, {_short(now[key])} now" for key in named]
    if differing:
        raise UsageError(
            "the checkpoint is of another run:\n" + "\n".join(f"  - {line}" for line in differing),
            where=where,
            cure="restore those settings, choose another --out, or remove the checkpoints",
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
