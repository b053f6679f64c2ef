"""How likely a model holds given texts: continuations of many prompts, as one forest of token tries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from komt.pack.probe import device_of
from komt.pack.trie import Trie, build_trie
from komt.serve.forest import hidden_states
from komt.serve.head import causal_model, has_plain_head, logits_of, token_log_probabilities

Ints = npt.NDArray[np.int64]
# Rows that go through the head together: enough that its weights are worth reading.
_HEAD_ROWS = 1024
# Rows whose logits are held as a whole, where the head must be left to the model.
_LOGIT_ROWS = 128


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely one continuation is.

    Attributes:
        tokens: natural logarithm of each token's probability, given all before it.
        greedy: whether each token is the likeliest at its place.
    """

    tokens: tuple[float, ...]
    greedy: bool

    @property
    def total(self) -> float:
        """Log-probability of the whole continuation."""
        return float(sum(self.tokens))


# A prompt's ids, and the continuations that are asked for.
Asked = tuple[Sequence[int], Sequence[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class _Targets:
    """N tokens whose probability is wanted, in the order of continuations.

    Attributes:
        sequence: which sequence of the forest each belongs to, (N,).
        place: of the token before it in that sequence, (N,).
        token: the token, (N,).
    """

    sequence: Ints
    place: Ints
    token: Ints


@torch.no_grad()
def likelihoods(
    model: Any,
    asked: Sequence[Asked],
    *,
    confined: bool,
    on_done: Callable[[int], None] | None = None,
) -> list[list[Likelihood]]:
    """Log-probabilities of the continuations of each prompt.

    All sequences form one forest, in which what any of them begin with is computed once; the head is computed
    for the rows that are asked for, each once.

    Args:
        model: in eval mode.
        asked: prompts of at least one token with their continuations; an empty one is certain, and greedy.
        confined: whether masks can confine the model's family; if not, each sequence goes alone.
        on_done: told the place of each prompt that is finished.

    Returns:
        For each prompt, in its order, a Likelihood for each continuation.
    """
    sequences, targets = _sequences(asked)
    found = np.zeros(len(targets.token))
    greedy = np.zeros(len(targets.token), bool)
    counts = [sum(map(len, continuations)) for _, continuations in asked]
    owner = np.repeat(np.arange(len(asked)), counts)
    left = np.array(counts, np.int64)
    for place in np.flatnonzero(left == 0) if on_done else ():
        on_done(int(place))  # type: ignore[misc]
    for places, values, likeliest in _scored(model, sequences, targets, confined):
        found[places], greedy[places] = values.double().cpu().numpy(), likeliest.cpu().numpy()
        done, sizes = np.unique(owner[places], return_counts=True)
        left[done] -= sizes
        for place in done[left[done] == 0] if on_done else ():
            on_done(int(place))  # type: ignore[misc]
    ends = np.cumsum([len(one) for _, continuations in asked for one in continuations])
    spans = iter(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=False))
    return [
        [
            Likelihood(tuple(found[start:end].tolist()), bool(greedy[start:end].all()))
            for _, (start, end) in zip(continuations, spans, strict=False)
        ]
        for _, continuations in asked
    ]


def _sequences(asked: Sequence[Asked]) -> tuple[list[Ints], _Targets]:
    """Sequences to compute, without the last token of each, from which nothing is asked."""
    sequences: list[Ints] = []
    owners, places, tokens = [[np.empty(0, np.int64)] for _ in range(3)]
    for ids, continuations in asked:
        for one in continuations:
            if not len(one):
                continue
            owners.append(np.full(len(one), len(sequences)))
            places.append(np.arange(len(ids) - 1, len(ids) - 1 + len(one)))
            tokens.append(np.asarray(one, np.int64))
            sequences.append(np.asarray([*ids, *one[:-1]], np.int64))
    return sequences, _Targets(*(np.concatenate(part) for part in (owners, places, tokens)))


def _scored(
    model: Any, sequences: list[Ints], targets: _Targets, confined: bool
) -> Iterator[tuple[Ints, Tensor, Tensor]]:
    """Places of targets, their log-probabilities, and whether each is the likeliest of its row."""
    if not sequences:
        return
    trie = build_trie(sequences, share=confined)
    firsts = np.cumsum([0, *map(len, trie.paths)])[:-1]
    nodes = np.concatenate(trie.paths)[firsts[targets.sequence] + targets.place]
    rows, row_of = np.unique(nodes, return_inverse=True)
    order = np.argsort(row_of, kind="stable")
    row_of = row_of[order]
    causal = causal_model(model)
    plain = has_plain_head(model)
    runs = (hidden_states if confined else _one_by_one)(causal.get_decoder(), trie, rows)
    start = 0
    for states in _gathered(runs, _HEAD_ROWS if plain else _LOGIT_ROWS):
        first, last = np.searchsorted(row_of, [start, start + len(states)])
        here = order[first:last]
        at = torch.from_numpy(row_of[first:last] - start).to(states.device)
        tokens = torch.from_numpy(targets.token[here]).to(states.device)
        if plain:
            yield here, *token_log_probabilities(causal.get_output_embeddings(), states, at, tokens)
        else:
            logits = logits_of(causal, states).float()
            chosen = logits[at, tokens]
            yield here, chosen - logits.logsumexp(1)[at], chosen >= logits.amax(1)[at]
        start += len(states)


def _one_by_one(decoder: Any, trie: Trie, rows: Ints) -> Iterator[Tensor]:
    """As `hidden_states`, for a family that no mask can confine: each sequence of an unshared trie alone."""
    device = device_of(decoder)
    for path in trie.paths:
        ids = torch.from_numpy(trie.ids[path]).to(device)[None]
        states = decoder(input_ids=ids, use_cache=False).last_hidden_state[0]
        first, last = np.searchsorted(rows, [path[0], path[-1] + 1])
        yield states[torch.from_numpy(rows[first:last] - path[0]).to(device)]


def _gathered(runs: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """Rows of several runs together, `size` at a time."""
    held: list[Tensor] = []
    for states in runs:
        held.append(states)
        if sum(map(len, held)) >= size:
            joined = torch.cat(held)
            whole = len(joined) // size * size
            for start in range(0, whole, size):
                yield joined[start : start + size]
            held = [joined[whole:]]
    if sum(map(len, held)):
        yield torch.cat(held)
