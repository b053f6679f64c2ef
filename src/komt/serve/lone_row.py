"""One stream at a time, for model families whose layers no mask can confine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from komt.pack.probe import device_of
from komt.serve.token_tree import Path


class LoneRow:
    """What `PrefixRow` is for many streams; the newest conversation's cache is kept for its next turn.

    A path's nodes are its tokens themselves.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: list[int] = []
        self._cache: Any = None

    def enter(self, ids: Sequence[int]) -> Path:
        """A new stream's path; the one before must have left."""
        from transformers import DynamicCache

        ids = list(ids)
        if not (0 < len(self._known) < len(ids) and ids[: len(self._known)] == self._known):
            self._known, self._cache = [], DynamicCache(config=self._model.config)
        return Path(np.array(ids, np.int64), len(self._known))

    def grow(self, path: Path, token: int) -> None:
        """Add a drawn token to the stream."""
        path.nodes = np.append(path.nodes, token)

    def leave(self, path: Path) -> None:
        """End the stream."""

    @torch.no_grad()
    def compute(self, paths: Sequence[Path], budget: int) -> dict[Path, Tensor]:
        """Logits after the only path; as `PrefixRow.compute`, but for the budget, which is not heeded."""
        [path] = paths
        known, self._known = self._known, []  # nothing is known of a cache that a failure left half done
        output = self._model(
            input_ids=torch.from_numpy(path.nodes[None, len(known) :]).to(device_of(self._model)),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._known = path.nodes.tolist()
        return {path: output.logits[0, -1].float()}
