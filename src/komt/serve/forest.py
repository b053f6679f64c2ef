"""Final hidden states of a forest of token tries: each node computed once, in runs of depth-first order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from komt.pack.masks import attention_masks
from komt.pack.probe import device_of
from komt.pack.trie import Trie
from komt.serve.row_attention import Part, Plan, attending, by_marker, new_cache, new_markers

Ints = npt.NDArray[np.int64]
# Nodes that go through the model at a time, and those whose queries attend together.
RUN_TOKENS, PART_TOKENS = 1024, 64


@torch.no_grad()
def hidden_states(
    decoder: Any, trie: Trie, rows: Ints, *, run_tokens: int = 0, cache: Any = None
) -> Iterator[Tensor]:
    """The decoder's last hidden states of some nodes, run by run.

    A run attends to itself and to the path that leads to its first node, whose keys and values are all that
    is kept of the runs before; what many sequences begin with is computed once, however many runs they fill.

    Args:
        decoder: a model without its head, of a family that `attention_masks` can confine.
        trie: the forest.
        rows: nodes whose states are wanted, ascending.
        run_tokens: nodes that are computed at a time, default RUN_TOKENS.
        cache: from `new_cache`; then it holds the keys and values of all nodes, in their order, at the end.

    Yields:
        For each run the states of its rows, (rows, width); together they are as many as `rows`.

    Raises:
        ModelError: the model does not attend by the function it is given.
    """
    device = device_of(decoder)
    whole, held = cache is not None, np.empty(0, np.int64)
    cache = cache if whole else new_cache()
    for start, stop in cuts(trie.positions, 0, len(trie), run_tokens or RUN_TOKENS):
        nodes = np.concatenate([held, np.arange(start, stop)])
        plan = _plan(decoder.config, trie, nodes, start, stop, device)
        with attending(decoder, plan):
            states = decoder(
                input_ids=torch.from_numpy(trie.ids[start:stop]).to(device)[None],
                position_ids=torch.from_numpy(trie.positions[start:stop]).to(device)[None],
                attention_mask=plan.markers,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[0]
        wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)] - start
        yield states[torch.from_numpy(wanted).to(device)]
        if whole:
            held = nodes
            continue
        on_path = np.flatnonzero(trie.ends[nodes] > stop)
        held = nodes[on_path]
        for layer in cache.layers:
            layer.keep(torch.from_numpy(on_path).to(device))


def cuts(positions: Ints, start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Spans of about `size` nodes, cut where the path that leads to the next node is shortest."""
    while stop - start > size:
        earliest = start + max(1, size // 2)
        end = earliest + int(np.argmin(positions[earliest : start + size + 1]))
        yield start, end
        start = end
    yield start, stop


def _plan(config: Any, trie: Trie, nodes: Ints, start: int, stop: int, device: torch.device) -> Plan:
    """What each part of a run sees: the path to its first node, and itself.

    `nodes` are those of the cache's columns, ascending; the run's are the last ones.
    """
    parts: list[Part] = []
    markers = None
    for first, end in cuts(trie.positions, start, stop, PART_TOKENS):
        before = int(np.searchsorted(nodes, first))
        columns = np.concatenate(
            [np.flatnonzero(trie.ends[nodes[:before]] > first), np.arange(before, before + end - first)]
        )
        keys, queries = nodes[columns], np.arange(first, end)
        visible = (keys[None] <= queries[:, None]) & (queries[:, None] < trie.ends[keys][None])
        tensors = [
            torch.from_numpy(array).to(device)
            for array in (visible, trie.positions[queries], trie.positions[keys])
        ]
        masks = attention_masks(config, *tensors)
        markers = new_markers(masks) if markers is None else markers
        parts.append(
            Part(slice(first - start, end - start), _span(columns, device), by_marker(markers, masks))
        )
    return Plan(parts, markers)


def _span(columns: Ints, device: torch.device) -> Tensor | slice:
    first, last = int(columns[0]), int(columns[-1])
    contiguous = last - first + 1 == len(columns)
    return slice(first, last + 1) if contiguous else torch.from_numpy(columns).to(device)
