"""Decoding over regions: each answer, or group of answers that share most of a prompt, has one of its own.

A region holds the keys and values that its members see, and room for what they will write. Regions of about
one size lie side by side and attend in one call; nobody computes scores for the tokens of another region.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from komt.pack.masks import attention_masks
from komt.pack.trie import Ints, common_prefix
from komt.serve.row_attention import by_marker, new_markers

# Answers of one region: more would look past too many tokens of each other.
_MOST_MEMBERS = 16
Layers = list[tuple[Tensor, Tensor]]


@dataclass
class _Region:
    """Answers that share a region.

    Attributes:
        answers: their places.
        columns: of the source that it is filled from, ascending.
        paths: of each answer, the places of its tokens among `columns`.
    """

    answers: list[int]
    columns: Ints
    paths: list[Ints]


@dataclass
class _Block:
    """G regions of C cells, side by side, with S members each; a member is at a slot.

    Attributes:
        cell, slot: its first ones.
        visible: which cells of its region each member sees, (G, S, C).
        positions: of each cell's token, (G, C).
        starts: of each region, the first cell for new tokens, (G, 1).
        used: how many cells of the regions hold something.
        masks: (1, G, S, used) by marker, None where nothing is hidden.
    """

    cell: int
    slot: int
    visible: Tensor
    positions: Tensor
    starts: Tensor
    used: int = 0
    masks: dict[int, Tensor | None] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """G, S, C."""
        regions, members, cells = self.visible.shape
        return regions, members, cells

    def show(self, step: int, positions: Tensor) -> None:
        """Each member sees the token that it feeds in a step, at its position, (G, S)."""
        _, members, _ = self.shape
        own = self.starts + step * members + torch.arange(members, device=self.starts.device)
        self.visible.scatter_(2, own[:, :, None], True)
        self.positions.scatter_(1, own, positions)
        self.used = int(self.starts.max()) + (step + 1) * members

    def family_masks(self, config: Any, positions: Tensor) -> Any:
        """Masks of all members, as the model's family takes them, (1, 1, G * S, used)."""
        visible = self.visible[:, :, : self.used]
        keys = self.positions[:, None, : self.used].expand_as(visible)
        return attention_masks(config, visible.flatten(0, 1), positions.flatten(), keys.flatten(0, 1))


class Regions:
    """Keys and values of A answers in the making, and the attention over them.

    Attributes:
        slots: of each answer; what ended keeps its slot, which is then idle.
        cache: what the model is given as its cache.
        markers: what it is given as its attention mask.
        calls: how many layers have attended in this step.
    """

    def __init__(self, config: Any, layers: Layers, paths: Sequence[Ints], room: int) -> None:
        """Args:
        config: the model's.
        layers: of each layer the keys and values, (1, groups, columns, width), that regions are filled from;
            the list is emptied, so that both are not held at once.
        paths: of each answer, the columns of its tokens so far, in their order.
        room: how many tokens each may still feed.
        """
        self._config, self._step = config, -1
        self._device = layers[0][0].device
        self.calls, self.markers, self.columns = 0, None, torch.empty(0)
        self.slots = np.empty(len(paths), np.int64)
        self._blocks: list[_Block] = []
        self._paths: list[Ints] = []
        # Of each slot: where its first new token goes, and how much further each later one.
        first: list[int] = []
        stride: list[int] = []
        sources, cells, size = [], [], 0
        for run in _alike(_sharers(paths)):
            members = len(run[0].answers)
            capacity = max(len(one.columns) for one in run) + room * members
            block = self._new_block(run, size, len(self._paths), capacity)
            self._blocks.append(block)
            for region in run:
                sources.append(region.columns)
                cells.append(size + np.arange(len(region.columns)))
                for member, (answer, path) in enumerate(zip(region.answers, region.paths, strict=True)):
                    self.slots[answer] = len(self._paths)
                    self._paths.append(size + path)
                    first.append(size + len(region.columns) + member)
                    stride.append(members)
                size += capacity
        self._first, self._stride = np.array(first, np.int64), np.array(stride, np.int64)
        self._lengths = np.array([len(path) for path in self._paths], np.int64)
        self.layers = _filled(layers, np.concatenate(sources), np.concatenate(cells), size)
        self.cache = _cache_of(self)

    def _new_block(self, run: list[_Region], cell: int, slot: int, capacity: int) -> _Block:
        visible = np.zeros((len(run), len(run[0].answers), capacity), bool)
        positions = np.zeros((len(run), capacity), np.int64)
        for place, region in enumerate(run):
            for member, path in enumerate(region.paths):
                visible[place, member, path] = True
                positions[place, path] = np.arange(len(path))
        starts = np.array([[len(region.columns)] for region in run])
        return _Block(cell, slot, self._tensor(visible), self._tensor(positions), self._tensor(starts))

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def advance(self, slots: Ints) -> Tensor:
        """Begin a step that feeds one token to each of some slots; their positions, (A,)."""
        self._step += 1
        self.calls = 0
        self._running = self._tensor(slots)
        self.columns = self._tensor((self._first + self._step * self._stride)[slots])
        positions = self._tensor(self._lengths + self._step)
        for block in self._blocks:
            regions, members, _ = block.shape
            own = positions[block.slot : block.slot + regions * members].view(regions, members)
            block.show(self._step, own)
            masks = block.family_masks(self._config, own)
            self.markers = new_markers(masks) if self.markers is None else self.markers
            block.masks = {
                marker: None if mask is None else mask.view(1, regions, members, -1)
                for marker, mask in by_marker(self.markers, masks).items()
            }
        return positions[self._running]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, marker: int, scaling: float | None) -> Tensor:
        """One layer's attention, (1, A, heads, width): each member's queries over its region."""
        _, heads, count, width = query.shape
        groups = key.shape[1]
        repeats = heads // groups
        asked = query.new_zeros(groups, len(self._paths), repeats, width)
        asked[:, self._running] = query.view(groups, repeats, count, width).transpose(1, 2)
        found = []
        for block in self._blocks:
            regions, members, cells = block.shape
            part = asked[:, block.slot : block.slot + regions * members]
            held = slice(block.cell, block.cell + regions * cells)
            keys, values = (
                one[0, :, held].view(groups, regions, cells, -1)[:, :, : block.used] for one in (key, value)
            )
            mask = block.masks[marker]
            answered = torch.nn.functional.scaled_dot_product_attention(
                part.reshape(groups, regions, members * repeats, width),
                keys,
                values,
                attn_mask=None if mask is None else mask.repeat_interleave(repeats, 2),
                scale=scaling,
            )
            found.append(answered.reshape(groups, regions * members, repeats, -1))
        joined = torch.cat(found, 1)[:, self._running]
        return joined.transpose(0, 1).reshape(1, count, heads, -1)

    def paths_of(self, slots: Ints) -> list[Ints]:
        """The cells of all that some slots have been fed, in order: columns to make new regions of."""
        steps = np.arange(self._step + 1)
        return [
            np.concatenate([self._paths[slot], self._first[slot] + self._stride[slot] * steps])
            for slot in slots.tolist()
        ]


def _sharers(paths: Sequence[Ints]) -> Iterator[_Region]:
    """Neighbours that share at least half of what they see, together."""
    order = sorted(range(len(paths)), key=lambda place: paths[place].astype(">u4").tobytes())
    group: list[int] = []
    for place in order:
        if group:
            shared = common_prefix(paths[group[0]], paths[place])
            if 2 * shared < len(paths[place]) or len(group) == _MOST_MEMBERS:
                yield _region(paths, group)
                group = []
        group.append(place)
    yield _region(paths, group)


def _region(paths: Sequence[Ints], group: list[int]) -> _Region:
    columns = np.unique(np.concatenate([paths[place] for place in group]))
    return _Region(group, columns, [np.searchsorted(columns, paths[place]) for place in group])


def _alike(regions: Iterator[_Region]) -> Iterator[list[_Region]]:
    """Regions with as many members and about as many columns."""
    run: list[_Region] = []
    for region in sorted(regions, key=lambda one: (len(one.answers), len(one.columns))):
        if run and (
            len(run[0].answers) != len(region.answers)
            or len(region.columns) > 1.25 * len(run[0].columns) + 16
        ):
            yield run
            run = []
        run.append(region)
    yield run


def _filled(layers: Layers, sources: Ints, cells: Ints, size: int) -> Layers:
    """Keys and values in their cells; the others hold zeros, since what is hidden must still be a number."""
    device = layers[0][0].device
    taken, given = torch.from_numpy(sources).to(device), torch.from_numpy(cells).to(device)

    def moved(held: Tensor) -> Tensor:
        filled = held.new_zeros(1, held.shape[1], size, held.shape[3])
        return filled.index_copy_(2, given, held.index_select(2, taken))

    found: Layers = []
    while layers:
        keys, values = layers.pop(0)
        found.append((moved(keys), moved(values)))
    return found


def _cache_of(regions: Regions) -> Any:
    """A cache for the model whose new keys and values go into the cells of the step."""
    from transformers.cache_utils import Cache, DynamicLayer

    class CellLayer(DynamicLayer):  # type: ignore[misc]
        """One layer's keys and values in cells."""

        def __init__(self, keys: Tensor, values: Tensor) -> None:
            super().__init__()
            self.keys, self.values, self.is_initialized = keys, values, True
            self.dtype, self.device = keys.dtype, keys.device

        def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            self.keys.index_copy_(2, regions.columns, key_states)
            self.values.index_copy_(2, regions.columns, value_states)
            return self.keys, self.values

    return Cache(layers=[CellLayer(keys, values) for keys, values in regions.layers])
