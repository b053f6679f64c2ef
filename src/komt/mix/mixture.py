"""The mixture: how many examples each task gives, and which: whole groups, in an order fixed by the seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from komt.recipe import DataPart, MixingPart, TaskPart

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Size:
    """How many examples a task gives, and which setting says so (the reason of what is left out)."""

    examples: int
    reason: str


def task_sizes(
    available: Mapping[str, int],
    sources: Mapping[str, str],
    tasks: Mapping[str, TaskPart],
    data: DataPart,
    mixtures: Mapping[str, str] | None = None,
) -> dict[str, Size]:
    """Sizes of the tasks.

    Each task's own rate, cap and count come first, then the caps of the sources and of the mixtures, whose
    tasks share them in proportion, then `data.mixing`. No task gives more than it has.

    Args:
        available: usable examples by task.
        sources: source by task.
        tasks: settings by task; a task without any gives all it has.
        data: caps of sources and mixtures, and mixing.
        mixtures: mixture by task, of those that the recipe names.
    """
    sizes = {name: _own_size(count, tasks.get(name, TaskPart())) for name, count in available.items()}
    for source in dict.fromkeys(sources[name] for name in sizes):
        part = data.sources.get(source)
        members = [name for name in sizes if sources[name] == source]
        sizes |= _shared_cap(sizes, members, part.cap if part else data.source_cap, "source_cap")
    for mixture, mixture_part in data.mixtures.items():
        members = [name for name in sizes if mixtures and mixtures.get(name) == mixture]
        sizes |= _shared_cap(sizes, members, mixture_part.cap, "mixture_cap")
    return _mixed(sizes, tasks, data.mixing) if data.mixing else sizes


def _shared_cap(
    sizes: Mapping[str, Size], members: list[str], cap: int | None, reason: str
) -> dict[str, Size]:
    """The sizes of some tasks that together exceed a cap, in proportion."""
    total = sum(sizes[name].examples for name in members)
    if cap is None or total <= cap:
        return {}
    shares = _whole([cap * sizes[name].examples / total for name in members], cap)
    return {name: Size(share, reason) for name, share in zip(members, shares, strict=True)}


def _own_size(available: int, part: TaskPart) -> Size:
    by_rate = max(1, round(available * part.rate)) if available else 0
    limits = [(part.cap, "cap"), (part.count, "count")]
    limit, reason = min(((n, why) for n, why in limits if n), default=(by_rate, "rate"))
    return Size(limit, reason) if limit < by_rate else Size(by_rate, "rate")


def _mixed(sizes: dict[str, Size], tasks: Mapping[str, TaskPart], mixing: MixingPart) -> dict[str, Size]:
    """Sizes in proportion to weight * min(size, maximum) ** (1 / temperature), none above what there is.

    What a small task cannot give goes to the others, in their proportions. Tasks of a fixed count keep it.
    Source: seqio's rate_num_examples; FLAN's examples-proportional mixing with a maximum rate.
    """
    fixed = {name for name in sizes if tasks.get(name, TaskPart()).count}
    free = [name for name in sizes if name not in fixed and sizes[name].examples]
    most = np.array([sizes[name].examples for name in free], np.float64)
    capped = np.minimum(most, mixing.maximum) if mixing.maximum else most
    weights = np.array([tasks.get(name, TaskPart()).weight for name in free])
    rates = weights * capped ** (1.0 / mixing.temperature)
    wanted = (
        mixing.examples - sum(sizes[name].examples for name in fixed) if mixing.examples else capped.sum()
    )
    filled = _filled(rates, most, max(float(wanted), 0.0))
    shares = _whole(filled.tolist(), round(float(filled.sum())))
    return {**sizes, **{name: Size(n, "mixing") for name, n in zip(free, shares, strict=True)}}


def _filled(rates: Floats, most: Floats, total: float) -> Floats:
    """Divide a total in proportion to the rates, where no part may exceed its most."""
    parts = np.zeros_like(rates)
    open_ = np.ones(len(rates), bool)
    while open_.any() and (rest := min(total, float(most.sum())) - parts[~open_].sum()) > 0:
        parts[open_] = rest * rates[open_] / rates[open_].sum()
        full = open_ & (parts >= most)
        if not full.any():
            break
        parts[full], open_[full] = most[full], False
    return parts


def _whole(parts: list[float], total: int) -> list[int]:
    """Whole numbers near the parts with their sum: the largest remainders are rounded up."""
    floors = [int(part) for part in parts]
    order = sorted(range(len(parts)), key=lambda place: (floors[place] - parts[place], place))
    for place in order[: max(0, total - sum(floors))]:
        floors[place] += 1
    return floors


def choose(order: npt.NDArray[np.uint64], limit: int) -> Places:
    """Places of the examples that a limit lets in, ascending.

    Groups are taken in the order of their hash: tasks of one source take the same passages first, so that
    their examples share prefixes. A group that would exceed the limit is passed over for a smaller one;
    where none fits, the first is taken whole.

    Args:
        order: hash of each example's group; examples of a group have the same.
        limit: how many examples.
    """
    groups, members, counts = np.unique(order, return_inverse=True, return_counts=True)
    if limit >= len(order) or not len(groups):
        return np.arange(len(order))
    whole = np.cumsum(counts) <= limit
    # Groups of one size are taken from the front; of mixed sizes, smaller ones later may still fit.
    taken, room = whole.copy(), limit - int(counts[whole].sum())
    for group in np.flatnonzero(~whole):
        if room <= 0:
            break
        if counts[group] <= room:
            taken[group], room = True, room - int(counts[group])
    if not taken.any() and limit:
        taken[0] = True
    return np.flatnonzero(taken[members])


def mixed_hash(order: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A second hash of each hash, independent of the first: what was chosen by one is sorted by the other.

    Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    """
    mixed = order + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)
