"""Batched greedy decoding without padding: prompts packed as a trie, what they share computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from komt.pack.masks import attention_masks
from komt.pack.probe import device_of
from komt.pack.trie import Trie, build_trie, common_prefix

MAX_PROMPTS = 64
# Tokens of a packed row that go through the model at a time, so that its masks stay small.
_CHUNK_TOKENS = 1024


def plan_batches(prompts: Sequence[npt.ArrayLike], batch_tokens: int) -> Iterator[list[int]]:
    """Places of the prompts that go together: sorted so that sharers are neighbours, then cut.

    Args:
        prompts: token ids, each of at least one token.
        batch_tokens: the most trie nodes of a batch; a longer prompt gets a batch of its own.
    """
    arrays = [np.asarray(prompt, dtype=np.int64) for prompt in prompts]
    order = sorted(range(len(arrays)), key=lambda place: (arrays[place].astype(">u4").tobytes(), place))
    batch: list[int] = []
    size = 0
    for place in order:
        new = len(arrays[place]) - (common_prefix(arrays[batch[-1]], arrays[place]) if batch else 0)
        if batch and (size + new > batch_tokens or len(batch) == MAX_PROMPTS):
            yield batch
            batch, size, new = [], 0, len(arrays[place])
        batch.append(place)
        size += new
    if batch:
        yield batch


@torch.no_grad()
def decode_together(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    stop: frozenset[int],
    max_new_tokens: int,
    on_done: Callable[[int], None] | None = None,
) -> list[tuple[list[int], bool]]:
    """Greedy answers to the prompts of one batch: each exactly as if it had been alone.

    Prompts form one packed row that fills the cache. Then each step feeds one token per prompt still
    running, as one row: a query sees the nodes on its prompt's path and the tokens of its own answer.

    Args:
        model: a family that `attention_masks` can confine.
        prompts: token ids, each of at least one token.
        stop: tokens that end an answer.
        max_new_tokens: the longest answer.
        on_done: told the place of each prompt that is finished.

    Returns:
        For each prompt its new tokens, without the end token, and whether it ended by one.

    Raises:
        ModelError: the family's masks cannot be confined.
    """
    trie = build_trie(prompts)
    answers: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    tokens, row = _prefill(model, trie)
    while True:
        staying: list[int] = []
        for slot, (place, token) in enumerate(zip(row.places, tokens, strict=True)):
            ended[place] = token in stop
            if not ended[place]:
                answers[place].append(token)
            if not ended[place] and len(answers[place]) < max_new_tokens:
                staying.append(slot)
            elif on_done:
                on_done(place)
        if not staying:
            return list(zip(answers, ended, strict=True))
        if len(staying) < len(row.places):
            row.keep(staying)
        tokens = row.step(model, [answers[place][-1] for place in row.places])


@dataclass
class _Row:
    """The prompts still running: A of them, over K cached tokens.

    Attributes:
        cache: keys and values of the trie's nodes and of the tokens generated since.
        places: each running prompt's place in the batch.
        positions: position of each one's next token, (A,).
        visible: which cached token each one sees, (A, K).
        key_positions: position of each cached token, (K,).
    """

    cache: Any
    places: list[int]
    positions: Tensor
    visible: Tensor
    key_positions: Tensor

    def step(self, model: Any, tokens: list[int]) -> list[int]:
        """Feed the prompts' newest tokens, and return the likeliest next ones."""
        device = self.positions.device
        own = torch.eye(len(self.places), dtype=torch.bool, device=device)
        self.visible = torch.cat([self.visible, own], 1)
        self.key_positions = torch.cat([self.key_positions, self.positions])
        output = model(
            input_ids=torch.tensor([tokens], device=device),
            position_ids=self.positions[None],
            attention_mask=attention_masks(model.config, self.visible, self.positions, self.key_positions),
            past_key_values=self.cache,
            use_cache=True,
        )
        self.positions = self.positions + 1
        return [int(token) for token in output.logits[0].argmax(-1)]

    def keep(self, slots: list[int]) -> None:
        """Drop the finished prompts, and what only they could see once that is half of the cache."""
        index = torch.tensor(slots, device=self.positions.device)
        self.places = [self.places[slot] for slot in slots]
        self.positions, self.visible = self.positions[index], self.visible[index]
        seen = torch.nonzero(self.visible.any(0))[:, 0]
        if 2 * len(seen) <= self.visible.shape[1]:
            self.visible, self.key_positions = self.visible[:, seen], self.key_positions[seen]
            for layer in self.cache.layers:
                layer.keys, layer.values = layer.keys[:, :, seen], layer.values[:, :, seen]


def _prefill(model: Any, trie: Trie) -> tuple[list[int], _Row]:
    """Fill the cache with the trie, and return the token after each prompt."""
    from transformers import DynamicCache

    device = device_of(model)
    # Without a configuration no layer of the cache drops what lies outside its window by place in the row.
    cache = DynamicCache()
    ids, positions, ends = (torch.from_numpy(a).to(device) for a in (trie.ids, trie.positions, trie.ends))
    lasts = torch.tensor([path[-1] for path in trie.paths], device=device)
    after = torch.zeros(len(trie), dtype=torch.long, device=device)
    for start in range(0, len(trie), _CHUNK_TOKENS):
        stop = min(start + _CHUNK_TOKENS, len(trie))
        queries = torch.arange(start, stop, device=device)[:, None]
        keys = torch.arange(stop, device=device)[None]
        visible = (keys <= queries) & (queries < ends[None, :stop])
        rows = torch.unique(lasts[(lasts >= start) & (lasts < stop)])
        output = model(
            input_ids=ids[None, start:stop],
            position_ids=positions[None, start:stop],
            attention_mask=attention_masks(model.config, visible, positions[start:stop], positions[:stop]),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=rows - start,
        )
        after[rows] = output.logits[0].argmax(-1)
    seen = torch.zeros(len(trie.paths), len(trie), dtype=torch.bool)
    for place, path in enumerate(trie.paths):
        seen[place, torch.from_numpy(path)] = True
    row = _Row(cache, list(range(len(trie.paths))), positions[lasts] + 1, seen.to(device), positions)
    return [int(token) for token in after[lasts]], row
