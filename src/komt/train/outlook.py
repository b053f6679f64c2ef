"""The part of a check that needs the model: parity, memory and time on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from komt.models.place import Place
from komt.pack.fullness import Fullness, fullness
from komt.pack.plan import Step
from komt.pack.probe import Parity, Way, device_of, probe
from komt.process import give_back_memory
from komt.recipe import Recipe
from komt.train.finding import Finding
from komt.train.held import bytes_now, bytes_there
from komt.train.memory import (
    GIB,
    BinSize,
    Estimate,
    Prediction,
    bin_sizes,
    estimate,
    shape_of,
)
from komt.train.pace import Pace, measure
from komt.train.prepare import TrainingRows
from komt.train.room import MARGIN, Setting, held_bytes, settings_that_fit
from komt.train.run import fill_tokens, trainable_model, used_way
from komt.train.trial import count_saved


@dataclass(frozen=True, slots=True)
class Plan:
    """A loaded model and what it would be trained on.

    Attributes:
        model: with LoRA on it, where that is trained.
        loaded: bytes that the process held of its own when it was loaded.
        parity: what the probe found; way: how the bins are packed.
        steps: the whole training; sizes: of their bins.
    """

    model: Any
    loaded: float
    parity: Parity
    way: Way
    steps: tuple[Step, ...]
    sizes: tuple[tuple[BinSize, ...], ...]


def load_and_plan(recipe: Recipe, place: Place, rows: TrainingRows) -> Plan:
    """Load the model as training does, probe it, and plan the steps."""
    model = trainable_model(recipe, place)
    give_back_memory()
    loaded, _ = bytes_now(device_of(model))
    parity = probe(model, max(map(len, rows.sequences), default=0))
    way = used_way(recipe, parity)
    steps = rows.plan(recipe, way, fill_tokens(device_of(model)))
    sizes = bin_sizes(rows.sequences, steps, way, together=2 if rows.pairs else 1)
    return Plan(model, loaded, parity, way, tuple(steps), tuple(map(tuple, sizes)))


def least_bins(plan: Plan, fill: int) -> int:
    """As few bins as could hold each step's tokens, were sequences divisible: what best fit is judged by.

    What is longer than a bin's fill stands alone in any case. Where nothing is packed: the bins there are.
    """
    if plan.way == "single":
        return sum(len(step.bins) for step in plan.steps)
    count = 0
    for some in plan.sizes:
        longer = [size.tokens for size in some if size.tokens > fill]
        rest = sum(size.tokens for size in some) - sum(longer)
        count += len(longer) + -(-rest // fill)
    return count


@dataclass(frozen=True, slots=True)
class Outlook:
    """What training will be like on this machine.

    Attributes:
        device: cpu or cuda.
        parity: of packing with single sequences, or None where the weights alone do not fit.
        steps, bins, packed_tokens, flat_tokens: of the whole plan.
        least_bins: as few as the steps' tokens can take, see `least_bins`.
        fullness: of the bins, where examples are packed.
        estimate, size: the predicted peak and the bin that it belongs to, or None.
        there: bytes that may be held.
        settings: what would fit, where this does not.
        pace: time, measured in two steps; None where they would not fit.
        findings: of memory and parity.
    """

    device: str
    parity: Parity | None
    steps: int
    bins: int
    least_bins: int
    fullness: Fullness | None
    packed_tokens: int
    flat_tokens: int
    estimate: Estimate | None
    size: BinSize | None
    there: float
    settings: tuple[Setting, ...]
    pace: Pace | None
    findings: tuple[Finding, ...]


def look_ahead(recipe: Recipe, place: Place, rows: TrainingRows, note: Callable[[str], None]) -> Outlook:
    """Load the model, predict its memory, and where that is there, time two steps.

    Args:
        recipe: the whole recipe.
        place: of the base model.
        rows: that would be trained on.
        note: told what is being done.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = bytes_there(device)
    if held_bytes(recipe, place.folder) > MARGIN * there:
        return _too_large(recipe, place, device, there)
    note("loading the model, comparing packed with single sequences")
    plan = load_and_plan(recipe, place, rows)
    note("counting memory")
    found = predict(recipe, plan)
    there, fill = bytes_there(device), fill_tokens(device) or recipe.pack.tokens
    fits = found.estimate.total <= MARGIN * there
    settings: list[Setting] = []
    findings = _parity_findings(plan.parity)
    pace = None
    if fits:
        note("timing two steps")
        pace = measure(recipe, rows, plan.steps, plan.sizes, plan.model, plan.way)
    else:
        settings = settings_that_fit(recipe, found, place.folder, there)
        findings.insert(0, _memory_finding(found.estimate.total, there))
    packed, flat = (sum(getattr(step, name) for step in plan.steps) for name in ("tokens", "flat_tokens"))
    return Outlook(
        device.type,
        plan.parity,
        len(plan.steps),
        sum(len(step.bins) for step in plan.steps),
        least_bins(plan, fill),
        None if plan.way == "single" else fullness(plan.steps, fill),
        packed,
        flat,
        found.estimate,
        found.size,
        there,
        tuple(settings),
        pace,
        tuple(findings),
    )


def _too_large(recipe: Recipe, place: Place, device: torch.device, there: float) -> Outlook:
    """The weights alone do not fit: nothing is loaded; fewer bits may."""
    settings = []
    for bits in (16, 8, 4):
        changed = recipe.model_copy(
            update={
                "model": recipe.model.model_copy(update={"bits": bits}),
                "train": recipe.train.model_copy(update={"method": "lora"}),
            }
        )
        held = held_bytes(changed, place.folder)
        if held <= MARGIN * there and held < held_bytes(recipe, place.folder):
            more = ("train.method=lora",) if recipe.train.method == "full" else ()
            settings.append(Setting((f"model.bits={bits}", *more), held))
    finding = _memory_finding(held_bytes(recipe, place.folder), there, "the weights alone take")
    return Outlook(
        device.type, None, 0, 0, 0, None, 0, 0, None, None, there, tuple(settings), None, (finding,)
    )


def _memory_finding(needed: float, there: float, what: str = "training takes about") -> Finding:
    return Finding(
        "error",
        f"{what} {needed / GIB:.1f} GiB of memory, and {there / GIB:.1f} GiB are there",
        cure="use one of the settings that fit, or a larger machine",
        about="model",
    )


def _parity_findings(parity: Parity) -> list[Finding]:
    if parity.way == "shared":
        return []
    what = "passages are not shared" if parity.way == "packed" else "examples are not packed"
    return [
        Finding(
            "warning",
            f"{what} with this model: training is exact, but slower",
            where=parity.reason,
            about="model",
        )
    ]


def predict(recipe: Recipe, plan: Plan) -> Prediction:
    """The peak of training, at the bin that keeps most. The model is to be thrown away afterwards."""
    shape = shape_of(plan.model, recipe)
    saved = count_saved(recipe, plan.model, plan.way)
    give_back_memory()
    size = max((size for some in plan.sizes for size in some), key=saved.of)
    several = any(len(some) > 1 for some in plan.sizes)
    checkpointing = recipe.train.gradient_checkpointing
    _, mapped = bytes_now(device_of(plan.model))  # counting has read all weights
    loaded = plan.loaded + mapped
    found = estimate(shape, saved, size, loaded, checkpointing=checkpointing, several_bins=several)
    return Prediction(found, size, shape, saved)
