"""Many streams in one forward pass: a row of token paths whose common beginnings are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from komt.pack.masks import attention_masks
from komt.pack.probe import device_of
from komt.pack.trie import common_prefix
from komt.serve.row_attention import Part, Plan, attending, by_marker, new_cache, new_markers
from komt.serve.token_tree import Ints, Path, TokenTree


@dataclass
class _Segment:
    """Nodes of a path that are computed in this step: those from `start` to `stop`."""

    path: Path
    start: int
    stop: int


class PrefixRow:
    """Streams over one set of weights, and what is remembered of earlier ones.

    Not for several threads. A model's family must be one that `attention_masks` can confine.
    """

    def __init__(self, model: Any, most_tokens: int) -> None:
        """Args:
        model: in eval mode.
        most_tokens: how many cached tokens are held; more only while streams in use need them.
        """
        self._model, self._most = model, most_tokens
        self._tree, self._cache = TokenTree(), new_cache()
        self._size = 0

    def enter(self, ids: Sequence[int]) -> Path:
        """A new stream's path; `compute` then gives the logits after it."""
        return self._tree.enter(ids)

    def grow(self, path: Path, token: int) -> None:
        """Add a drawn token to a stream."""
        self._tree.grow(path, token)

    def leave(self, path: Path) -> None:
        """End a stream; its beginning may serve later ones."""
        self._tree.leave(path)

    @torch.no_grad()
    def compute(self, paths: Sequence[Path], budget: int) -> dict[Path, Tensor]:
        """One forward pass over what is not computed yet, shortest rest first.

        Args:
            paths: of all streams in use.
            budget: the most tokens that are computed; of each path the next ones in its order.

        Returns:
            For each path that is wholly computed now, the logits after it, (vocabulary,), fp32.

        Raises:
            ModelError: the model does not attend by the function it is given.
        """
        segments = self._segments(paths, budget)
        groups = _sharers(segments)
        ordered = [segment for group in groups for segment in group]
        new = np.concatenate([one.path.nodes[one.start : one.stop] for one in ordered])
        self._make_room(len(new))
        self._tree.column[new] = np.arange(self._size, self._size + len(new))
        try:
            logits = self._forward(groups, new, paths)
        except BaseException:
            self._tree.column[new] = -1
            for layer in self._cache.layers:
                layer.cut(self._size)
            raise
        self._size += len(new)
        return logits

    def _segments(self, paths: Sequence[Path], budget: int) -> list[_Segment]:
        """What each path computes now; a node that several wait for is computed by the first."""
        waiting = []
        for path in paths:
            start = int(np.searchsorted(self._tree.column[path.nodes] < 0, True))
            waiting.append((len(path.nodes) - start, start, path))
        waiting.sort(key=lambda one: one[0])
        taken: set[int] = set()
        segments = []
        for rest, start, path in waiting:
            nodes = path.nodes[start:].tolist()
            shared = next((i for i, node in enumerate(nodes) if node not in taken), rest)
            stop = min(rest, shared + budget)
            if stop > shared:
                segments.append(_Segment(path, start + shared, start + stop))
                taken.update(nodes[shared:stop])
                budget -= stop - shared
        return segments

    def _make_room(self, new: int) -> None:
        if self._size + new > self._most:
            # A quarter is freed at a time, so that it need not be done at every step.
            kept = self._tree.shrink(max(0, self._most * 3 // 4 - new))
            if len(kept) < self._size:
                columns = torch.from_numpy(kept).to(device_of(self._model))
                for layer in self._cache.layers:
                    layer.keep(columns)
                self._size = len(kept)

    def _forward(self, groups: list[list[_Segment]], new: Ints, paths: Sequence[Path]) -> dict[Path, Tensor]:
        device = device_of(self._model)
        markers, parts, first = None, [], 0
        for group in groups:
            columns, masks = self._masks(group, device)
            markers = new_markers(masks) if markers is None else markers
            count = sum(one.stop - one.start for one in group)
            parts.append(Part(slice(first, first + count), columns, by_marker(markers, masks)))
            first += count
        row_of = {int(node): place for place, node in enumerate(new)}
        done = [path for path in paths if int(path.nodes[-1]) in row_of]
        rows = sorted({row_of[int(path.nodes[-1])] for path in done})
        with attending(self._model, Plan(parts, markers)):
            output = self._model(
                input_ids=torch.from_numpy(self._tree.token[new]).to(device)[None],
                position_ids=torch.from_numpy(self._tree.depth[new]).to(device)[None],
                attention_mask=markers,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=torch.tensor(rows or [0], device=device),
            )
        logits = output.logits[0].float()
        return {path: logits[rows.index(row_of[int(path.nodes[-1])])] for path in done}

    def _masks(self, group: list[_Segment], device: torch.device) -> tuple[Tensor | slice, Any]:
        """The columns that a group sees, and who of it sees which, as the model's family takes masks."""
        tree = self._tree
        paths = [tree.column[one.path.nodes[: one.stop]] for one in group]
        columns = np.unique(np.concatenate(paths))
        visible = np.zeros((sum(one.stop - one.start for one in group), len(columns)), bool)
        positions = np.empty(len(columns), np.int64)
        row = 0
        for one, path in zip(group, paths, strict=True):
            places = np.searchsorted(columns, path)
            positions[places] = np.arange(one.stop)
            count = one.stop - one.start
            visible[row : row + count, places[: one.start]] = True
            visible[row : row + count, places[one.start :]] = np.tri(count, dtype=bool)
            row += count
        queries = np.concatenate([np.arange(one.start, one.stop) for one in group])
        tensors = [torch.from_numpy(array).to(device) for array in (visible, queries, positions, columns)]
        masks = attention_masks(self._model.config, *tensors[:3])
        if int(columns[-1]) - int(columns[0]) + 1 == len(columns):
            return slice(int(columns[0]), int(columns[-1]) + 1), masks
        return tensors[3], masks


def _sharers(segments: list[_Segment]) -> list[list[_Segment]]:
    """Segments by what they see: those that share at least half of it see one set of columns."""
    ordered = sorted(segments, key=lambda one: one.path.nodes[: one.stop].astype(">u4").tobytes())
    groups: list[list[_Segment]] = []
    for one in ordered:
        first = groups[-1][0] if groups else None
        if first is not None:
            shared = common_prefix(first.path.nodes[: first.stop], one.path.nodes[: one.stop])
            if 2 * shared >= one.stop:
                groups[-1].append(one)
                continue
        groups.append([one])
    return groups
