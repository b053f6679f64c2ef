"""Checkpoints that are whole or absent: staged, checksummed, fsynced, renamed."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from komt.errors import KomtError, ModelError, UsageError
from komt.files import fsync, remove_stale, sha256, staged_folder, write_json
from komt.process import reason_of
from komt.train.snapshot import Snapshot, mismatch

FORMAT = 2
INPUTS = "data, model and settings"
_WEIGHTS, _OPTIMISER, _STATE, _MANIFEST = (
    "trainable.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
)
# What is left out of a run's settings with this value.
_LEFT_OUT = {"train.optim": "adamw", "train.objective": "sft"}
_NAME = re.compile(r"step-\d+")


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a run beside its tensors.

    Attributes:
        settings: what the run that resumes must agree on, each by its key.
        numerics: what decides rounding alone (threads, dtype, versions): told where it differs.
        rates: learning rates of the next step, one for each group of parameters.
        losses: "evaluation" or "train" -> nats per target, by which the best checkpoint is found; empty for
            one that was saved out of turn.
        watch: what early stopping knows, see `watch.Watch.state`.
    """

    settings: Mapping[str, Any]
    numerics: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    losses: Mapping[str, float] = field(default_factory=dict)
    watch: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The newest checkpoint that can be used, and why newer ones cannot."""

    path: Path
    step: int
    state: State
    skipped: tuple[str, ...]


def save_checkpoint(
    folder: Path,
    snapshot: Snapshot,
    state: State,
    *,
    keep: int,
    keep_best: bool = False,
    spare: int | None = None,
) -> Path:
    """Write `folder/step-NNNNNN`, then remove all of this run but the newest `keep` (and best, and `spare`).

    Raises:
        KomtError: it cannot be written (a full disk); those before it stay as they were.
    """
    target = step_folder(folder, snapshot.step)
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale(folder)
    try:
        with staged_folder(target) as staged:
            _write(staged, snapshot, state)
    except (OSError, SafetensorError) as error:
        raise _unwritten(folder, snapshot.step, error) from error
    prune(folder, snapshot.step, state.settings, keep=keep, keep_best=keep_best, spare=spare)
    return target


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:06d}"


def _write(staged: Path, snapshot: Snapshot, state: State) -> None:
    save_file(snapshot.weights, str(staged / _WEIGHTS))
    save_file(snapshot.moments, str(staged / _OPTIMISER))
    named = {name: dict(getattr(state, name)) for name in ("settings", "numerics", "losses", "watch")}
    write_json(
        staged / _STATE, {"format": FORMAT, "step": snapshot.step, "rates": list(state.rates), **named}
    )
    files = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in staged.iterdir()}
    write_json(staged / _MANIFEST, {"format": FORMAT, "files": dict(sorted(files.items()))})


def _unwritten(folder: Path, step: int, error: Exception) -> KomtError:
    before = next(iter(checkpoints(folder)), None)
    kept = f"{before.name} is whole" if before else "there is none before it"
    return KomtError(
        f"the checkpoint of step {step} cannot be written ({reason_of(error)}); {kept}",
        where=str(folder),
        cure="make room there; then the same command with --resume goes on (komt run goes on by itself)",
    )


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    named = (path for path in folder.glob("step-*") if _NAME.fullmatch(path.name))
    return sorted(named, key=_step, reverse=True)


def prune(
    folder: Path,
    step: int,
    settings: Mapping[str, Any],
    *,
    keep: int,
    keep_best: bool,
    spare: int | None = None,
) -> None:
    """Remove this run's checkpoints up to `step`, but for the newest `keep`, `spare`, and the best."""
    own = [path for path in checkpoints(folder) if _step(path) <= step]
    own = [path for path in own if (state := _state(path)) and state.settings == dict(settings)]
    spared = {*own[:keep], best(folder, settings) if keep_best else None}
    spared |= {step_folder(folder, spare)} if spare is not None else set()
    for path in own:
        if path not in spared:
            shutil.rmtree(path, ignore_errors=True)
    fsync(folder)


def best(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    """This run's checkpoint of the lowest loss: on evaluation data where any was measured, else in training.

    Of equal ones the earlier. Those saved out of turn (by a signal) do not count, so that an interrupted run
    has the same best one as an uninterrupted run.
    """
    losses = {
        path: state.losses
        for path in reversed(checkpoints(folder))
        if (state := _state(path)) and state.settings == dict(settings)
    }
    for kind in ("evaluation", "train"):
        known = ((path, loss[kind]) for path, loss in losses.items() if kind in loss)
        measured = {path: value for path, value in known if not math.isnan(value)}
        if measured:
            return min(measured, key=lambda path: measured[path])
    return None


def find_newest(folder: Path, settings: Mapping[str, Any], model: Any = None) -> Found | None:
    """The newest valid checkpoint of this run; None when there is none at all.

    Broken ones are moved aside (`.step-NNNNNN.broken`), so that they do not count among those that are kept.

    Raises:
        UsageError: all valid ones belong to another recipe, data or model (the keys that differ are named).
        ModelError: there are checkpoints, but none is valid.
    """
    skipped: list[str] = []
    foreign = ""
    for path in checkpoints(folder):
        reason, broken = invalid(path), True
        if not reason and (reason := differences(path, settings)):
            foreign, broken = foreign or f"{path}\n{reason}", False
            reason = "of another run:\n" + reason
        if not reason and model is not None and (reason := mismatch(load_snapshot(path), model)):
            broken = False
        if not reason and (state := _state(path)):
            return Found(path, _step(path), state, tuple(skipped))
        if broken:
            aside = path.with_name(f".{path.name}.broken")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        skipped.append(f"{path.name}: {reason}")
    if foreign:
        where, _, keys = foreign.partition("\n")
        raise UsageError(
            f"the checkpoint is of another run:\n{keys}",
            where=where,
            cure="restore those settings, choose another --out, or remove the checkpoints",
        )
    if skipped:
        raise ModelError(
            "no checkpoint is valid: " + "; ".join(skipped),
            where=str(folder),
            cure="remove the checkpoints and train from the start",
        )
    return None


def load_snapshot(path: Path) -> Snapshot:
    """The tensors of a checkpoint that is valid."""
    return Snapshot(_step(path), load_file(str(path / _WEIGHTS)), load_file(str(path / _OPTIMISER)))


def invalid(path: Path) -> str:
    """Why a checkpoint cannot be used, or an empty string."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return f"it has the format {manifest['format']}, and this version of komt reads {FORMAT}"
        files = manifest["files"]
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
        load_snapshot(path)
    except (SafetensorError, OSError) as error:
        return f"its tensors cannot be read ({str(error).splitlines()[0]})"
    return "" if _state(path) else f"{_STATE} cannot be read"


def differences(path: Path, settings: Mapping[str, Any]) -> str:
    """The settings in which a checkpoint's run is another, one a line with both values; "" where none."""
    state = _state(path)
    then = state.settings if state else {}
    keys = [key for key in sorted({*settings, *then}) if then.get(key) != settings.get(key)]
    # The hash of everything says nothing where a setting that differs is named.
    named = [key for key in keys if key != INPUTS] or keys
    return "\n".join(f"  - {key}: {_told(then, key)} then, {_told(settings, key)} now" for key in named)


def _told(settings: Mapping[str, Any], key: str) -> str:
    """A setting's value; `identity.run_settings` leaves out one that changes nothing."""
    if key in settings:
        return _short(settings[key])
    return _short(_LEFT_OUT[key]) if key in _LEFT_OUT else "without effect"


def _state(path: Path) -> State | None:
    try:
        values = json.loads((path / _STATE).read_text(encoding="utf-8"))
        rates, watch = tuple(values["rates"]), values.get("watch", {})
        return State(values["settings"], values["numerics"], rates, values["losses"], watch)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
