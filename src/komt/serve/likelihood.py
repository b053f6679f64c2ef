"""How likely a model holds given texts: continuations of one prompt, in one packed row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from komt.pack.masks import attention_masks
from komt.pack.probe import device_of
from komt.pack.trie import Trie, build_trie

# Tokens at a time; of those that are scored fewer, for each takes a row as long as the vocabulary.
_CHUNK_TOKENS = 256


@torch.no_grad()
def likelihoods(
    model: Any, ids: Sequence[int], continuations: Sequence[Sequence[int]], *, confined: bool
) -> list[list[float]]:
    """Log-probability of each token of each continuation, given the ids and the tokens before it.

    Args:
        model: in eval mode.
        ids: at least one token.
        continuations: token ids; an empty one gives an empty list.
        confined: whether masks can confine the model's family, so that continuations go together.
    """
    if not confined and len(continuations) > 1:
        return [likelihoods(model, ids, [one], confined=False)[0] for one in continuations]
    asked = [one for one in continuations if len(one)]
    if not asked:
        return [[] for _ in continuations]
    trie = build_trie([[*ids, *one] for one in asked])
    targets = [
        (int(path[place - 1]), int(one[place - len(ids)]))
        for one, path in zip(asked, trie.paths, strict=True)
        for place in range(len(ids), len(path))
    ]
    scored = iter(_log_probabilities(model, trie, targets, confined))
    return [[next(scored) for _ in one] for one in continuations]


def _log_probabilities(model: Any, trie: Trie, targets: list[tuple[int, int]], confined: bool) -> list[float]:
    """For each (node, next token) its log-probability."""
    from transformers import DynamicCache

    device = device_of(model)
    cache = DynamicCache() if confined else DynamicCache(config=model.config)
    ids, positions, ends = (torch.from_numpy(a).to(device) for a in (trie.ids, trie.positions, trie.ends))
    nodes = torch.tensor([node for node, _ in targets], device=device)
    tokens = torch.tensor([token for _, token in targets], device=device)
    found = torch.zeros(len(targets), dtype=torch.float64)
    for start in range(0, len(trie), _CHUNK_TOKENS):
        stop = min(start + _CHUNK_TOKENS, len(trie))
        here = torch.nonzero((nodes >= start) & (nodes < stop))[:, 0]
        rows, at = torch.unique(nodes[here], return_inverse=True)
        options: dict[str, Any] = {}
        if confined:
            visible = _visible(start, stop, ends)
            masks = attention_masks(model.config, visible, positions[start:stop], positions[:stop])
            options = {"position_ids": positions[None, start:stop], "attention_mask": masks}
        output = model(
            input_ids=ids[None, start:stop],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=rows - start if len(rows) else 1,
            **options,
        )
        if len(here):
            logits = output.logits[0].float()
            chosen = logits[at, tokens[here]] - logits.logsumexp(-1)[at]
            found[here.cpu()] = chosen.double().cpu()
    return [float(value) for value in found]


def _visible(start: int, stop: int, ends: Tensor) -> Tensor:
    queries = torch.arange(start, stop, device=ends.device)[:, None]
    keys = torch.arange(stop, device=ends.device)[None]
    return (keys <= queries) & (queries < ends[None, :stop])
