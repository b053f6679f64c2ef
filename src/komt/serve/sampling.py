"""From logits to a token: temperature, top-k, top-p, and a stream's own random numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from komt.serve.engine import GREEDY_BELOW, Settings

# Where top-k is off, top-p looks at this many tokens before it sorts the whole vocabulary.
_FIRST_LOOK = 1024


class Sampler:
    """Draws one stream's tokens: the same seed, the same from the same logits, whatever else runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._random = torch.Generator()
        if settings.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(settings.seed % (1 << 63))

    def draw(self, logits: Tensor) -> int:
        """The next token; one random number is used up by each.

        Args:
            logits: (vocabulary,), fp32.
        """
        if self._settings.temperature < GREEDY_BELOW:
            return int(logits.argmax())
        tokens, shares = likeliest(logits, self._settings)
        sums = shares.cumsum(0)
        drawn = torch.rand((), generator=self._random, dtype=torch.float64).item() * float(sums[-1])
        place = int(torch.searchsorted(sums, drawn, right=True))
        return int(tokens[min(place, len(tokens) - 1)])


def likeliest(logits: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """The tokens that are drawn from, likeliest first, and their probabilities before they are scaled to 1.

    As transformers' warpers in their order: temperature, then the `top_k` likeliest, then of these the fewest
    whose probabilities add up to `top_p`.

    Returns:
        Tokens (N,) and probabilities (N,), float64, on the CPU.
    """
    scaled = logits / settings.temperature
    size = len(scaled)
    count = min(settings.top_k or (_FIRST_LOOK if settings.top_p < 1 else size), size)
    values, tokens = scaled.topk(count)
    if settings.top_k:
        shares = values.double().softmax(0)
    else:
        shares = (values.double() - scaled.double().logsumexp(0)).exp()
        if count < size and float(shares.sum()) < settings.top_p:
            values, tokens = scaled.sort(descending=True)
            shares = values.double().softmax(0)
    if settings.top_p < 1:
        before = shares.cumsum(0) - shares
        shares = shares[before < settings.top_p]
        tokens = tokens[: len(shares)]
    return tokens.cpu(), shares.cpu()
