"""The language model's head on a few rows: log-probabilities of given tokens, the vocabulary in blocks."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

# A block of logits stays in a CPU's cache while its exponentials are summed.
_BLOCK_TOKENS, _GPU_BLOCK_TOKENS = 2048, 65_536
_PLAIN: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def causal_model(model: Any) -> Any:
    """The model with the head, taken out of PEFT's wrapping; its adapters stay in force."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def has_plain_head(model: Any) -> bool:
    """Whether logits are the head's matrix product with the last hidden states, with nothing done after it.

    Found out once for each model, on one token; soft caps and scales make it false.
    """
    causal = causal_model(model)
    if causal not in _PLAIN:
        _PLAIN[causal] = _is_plain(causal)
    return _PLAIN[causal]


@torch.no_grad()
def _is_plain(causal: Any) -> bool:
    head, decoder = causal.get_output_embeddings(), causal.get_decoder()
    # A layer of PEFT or of a quantised model is another class.
    if type(head) is not torch.nn.Linear or decoder is None or decoder is causal:
        return False
    ids = torch.tensor([[0]], device=head.weight.device)
    states = decoder(input_ids=ids, use_cache=False).last_hidden_state
    given: list[Tensor] = []
    # Logits far from zero, where a soft cap would bend them.
    probe = torch.linspace(-200, 200, head.weight.shape[0], device=ids.device, dtype=states.dtype)[None, None]

    def replace(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        given.append(inputs[0])
        return probe

    hook = head.register_forward_hook(replace)
    try:
        logits = causal(input_ids=ids, use_cache=False).logits
    finally:
        hook.remove()
    return len(given) == 1 and torch.equal(given[0], states) and torch.equal(logits.to(probe.dtype), probe)


def logits_of(causal: Any, states: Tensor) -> Tensor:
    """Logits of last hidden states, (R, vocabulary), by the model, which takes them for its decoder's."""

    def replace(module: Any, inputs: Any, output: Any) -> Any:
        output.last_hidden_state = states[None]
        return output

    hook = causal.get_decoder().register_forward_hook(replace)
    try:
        ids = torch.tensor([[0]], device=states.device)
        return causal(input_ids=ids, use_cache=False).logits[0]  # type: ignore[no-any-return]
    finally:
        hook.remove()


def token_log_probabilities(
    head: torch.nn.Linear, states: Tensor, rows: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of given tokens, by the head's matrix product in blocks of the vocabulary.

    Args:
        head: vocabulary by width.
        states: last hidden states, (R, width).
        rows: for each target its place in `states`, (N,).
        tokens: the target tokens, (N,).

    Returns:
        The targets' log-probabilities in fp32, and whether each is the likeliest token of its row, (N,).
    """
    block = _GPU_BLOCK_TOKENS if states.is_cuda else _BLOCK_TOKENS
    size = head.weight.shape[0]
    most = states.new_full((len(states),), -torch.inf, dtype=torch.float32)
    total = torch.zeros_like(most)
    chosen = states.new_zeros(len(tokens), dtype=torch.float32)
    by_token = torch.argsort(tokens)
    starts = range(0, size, block)
    bounds = torch.searchsorted(
        tokens[by_token], torch.tensor([*starts, size], device=tokens.device)
    ).tolist()
    for place, start in enumerate(starts):
        stop = min(start + block, size)
        bias = None if head.bias is None else head.bias[start:stop]
        logits = torch.nn.functional.linear(states, head.weight[start:stop], bias).float()
        here = by_token[bounds[place] : bounds[place + 1]]
        chosen[here] = logits[rows[here], tokens[here] - start]
        larger = torch.maximum(most, logits.amax(1))
        total = total * (most - larger).exp_() + logits.sub_(larger[:, None]).exp_().sum(1)
        most = larger
    return chosen - (most + total.log())[rows], chosen >= most[rows]


@torch.no_grad()
def likeliest_tokens(model: Any, states: Tensor) -> Tensor:
    """The likeliest next token after each of some last hidden states (R, width), the first of equals, (R,).

    The whole table of logits is never held where the head is plain: on a CPU writing and reading it takes
    as long as computing it.
    """
    causal = causal_model(model)
    if not has_plain_head(model):
        return logits_of(causal, states).argmax(-1)
    head = causal.get_output_embeddings()
    size, block = head.weight.shape[0], _GPU_BLOCK_TOKENS if states.is_cuda else 2 * _BLOCK_TOKENS
    most, tokens = [], []
    for start in range(0, size, block):
        bias = None if head.bias is None else head.bias[start : start + block]
        value, at = torch.nn.functional.linear(states, head.weight[start : start + block], bias).max(1)
        most.append(value)
        tokens.append(at + start)
    best = torch.stack(most).argmax(0)
    return torch.stack(tokens).gather(0, best[None])[0]
