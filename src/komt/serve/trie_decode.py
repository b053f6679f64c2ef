"""Batched greedy decoding without padding: prompts packed as a trie, what they share computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from komt.pack.probe import device_of
from komt.pack.trie import build_trie, common_prefix
from komt.serve.forest import hidden_states
from komt.serve.head import causal_model, likeliest_tokens
from komt.serve.regions import Regions
from komt.serve.row_attention import attending, new_cache

# A step reads all weights whatever the number of answers, until there are about so many.
MAX_PROMPTS = 128
# Tokens of a packed row that go through the model at a time.
_CHUNK_TOKENS = 1024


def plan_batches(
    prompts: Sequence[npt.ArrayLike], batch_tokens: int, *, most: int = MAX_PROMPTS
) -> Iterator[list[int]]:
    """Places of the prompts that go together: sorted so that sharers are neighbours, then cut.

    Args:
        prompts: token ids, each of at least one token.
        batch_tokens: the most trie nodes of a batch; a longer prompt gets a batch of its own.
        most: the most prompts of a batch.
    """
    arrays = [np.asarray(prompt, dtype=np.int64) for prompt in prompts]
    order = sorted(range(len(arrays)), key=lambda place: (arrays[place].astype(">u4").tobytes(), place))
    batch: list[int] = []
    size = 0
    for place in order:
        new = len(arrays[place]) - (common_prefix(arrays[batch[-1]], arrays[place]) if batch else 0)
        if batch and (size + new > batch_tokens or len(batch) == most):
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
    running, as one row: a query sees its prompt and the tokens of its own answer.

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
    answers: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    running = list(range(len(prompts)))
    decoding = _Decoding(model, prompts, max_new_tokens)
    tokens = decoding.first
    while True:
        staying: list[int] = []
        for at, (place, token) in enumerate(zip(running, tokens, strict=True)):
            ended[place] = token in stop
            if not ended[place]:
                answers[place].append(token)
            if not ended[place] and len(answers[place]) < max_new_tokens:
                staying.append(at)
            elif on_done:
                on_done(place)
        if not staying:
            return list(zip(answers, ended, strict=True))
        if len(staying) < len(running):
            decoding.keep(staying)
        running = [running[at] for at in staying]
        tokens = decoding.step([answers[place][-1] for place in running])


class _Decoding:
    """The prompts still running, in their order; `first`: the token after each."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], room: int) -> None:
        self._model, self._decoder = model, causal_model(model).get_decoder()
        self._device = device_of(model)
        trie, cache = build_trie(prompts), new_cache()
        lasts = np.array([path[-1] for path in trie.paths])
        rows, row_of = np.unique(lasts, return_inverse=True)
        states = hidden_states(self._decoder, trie, rows, run_tokens=_CHUNK_TOKENS, cache=cache)
        after = likeliest_tokens(model, torch.cat(list(states)))
        self.first: list[int] = after[torch.from_numpy(row_of).to(self._device)].tolist()
        layers = [(layer.keys, layer.values) for layer in cache.layers]
        del cache
        self._room = room
        self._regions = Regions(model.config, layers, trie.paths, room)
        self._slots, self._most = self._regions.slots, len(prompts)

    def step(self, tokens: list[int]) -> list[int]:
        """Feed the prompts' newest tokens, and return the likeliest next ones."""
        self._room -= 1
        positions = self._regions.advance(self._slots)
        with attending(self._decoder, self._regions):
            states = self._decoder(
                input_ids=torch.tensor([tokens], device=self._device),
                position_ids=positions[None],
                attention_mask=self._regions.markers,
                past_key_values=self._regions.cache,
                use_cache=True,
            ).last_hidden_state[0]
        return likeliest_tokens(self._model, states).tolist()

    def keep(self, places: list[int]) -> None:
        """Drop the finished prompts, and their regions once half of the prompts are finished."""
        self._slots = self._slots[places]
        if 2 * len(self._slots) <= self._most:
            regions = self._regions
            regions.cache = None
            paths = regions.paths_of(self._slots)
            self._regions = Regions(self._model.config, regions.layers, paths, self._room)
            self._slots, self._most = self._regions.slots, len(self._slots)
