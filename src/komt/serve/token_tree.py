"""The tree of token paths that a row holds: which tokens are computed, which are in use, which may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_ROOT = -1


@dataclass(eq=False)
class Path:
    """One stream's tokens as nodes of the tree.

    Attributes:
        nodes: from the root on, (L,).
        cached: how many of them were computed when the path was entered.
    """

    nodes: Ints
    cached: int = 0


class TokenTree:
    """Nodes are tokens after a certain beginning; equal beginnings are the same nodes.

    Attributes:
        column: of each node: its place in the cache, or -1 as long as it is not computed.
        token, depth: of each node; a node's depth is its position id.
    """

    def __init__(self) -> None:
        self.column, self.token, self.depth, self._parent, self._uses, self._used_at = (
            np.full(256, -1, np.int64) for _ in range(6)
        )
        self._free = list(range(255, -1, -1))
        self._child: dict[tuple[int, int], int] = {}
        self._clock = 0

    def enter(self, ids: Sequence[int]) -> Path:
        """The path of a prompt, for which its last token is always new: logits come with computing it."""
        nodes: list[int] = []
        parent = _ROOT
        for place, token in enumerate(ids):
            node = self._child.get((parent, token))
            if node is None or (place == len(ids) - 1 and self.column[node] >= 0):
                node = self._add(parent, token, place)
            nodes.append(node)
            parent = node
        path = Path(np.array(nodes, np.int64))
        computed = self.column[path.nodes] >= 0
        path.cached = int(computed.argmin()) if not computed.all() else len(nodes)
        self._uses[path.nodes] += 1
        return path

    def grow(self, path: Path, token: int) -> None:
        """Add a token that a stream has drawn; never shared, for its logits belong to this stream."""
        node = self._add(int(path.nodes[-1]), token, len(path.nodes))
        self._uses[node] = 1
        path.nodes = np.append(path.nodes, node)

    def leave(self, path: Path) -> None:
        """Give a path up; what is computed of it stays until room is needed."""
        self._clock += 1
        self._uses[path.nodes] -= 1
        self._used_at[path.nodes] = self._clock
        for node in reversed(path.nodes[(self.column[path.nodes] < 0) & (self._uses[path.nodes] == 0)]):
            self._drop(int(node))

    def shrink(self, most: int) -> Ints:
        """Drop what was used longest ago until `most` columns are left, as far as nothing is in use.

        Returns:
            The columns that stay, ascending; nodes are numbered anew by their place among them.
        """
        held = np.flatnonzero(self.column >= 0)
        idle = held[self._uses[held] == 0]
        # A node was last used no earlier than those below it: ties go deepest first, so no path is broken.
        order = np.lexsort((-self.depth[idle], self._used_at[idle]))
        for node in idle[order[: max(0, len(held) - most)]]:
            self._drop(int(node))
        held = np.flatnonzero(self.column >= 0)
        held = held[np.argsort(self.column[held])]
        kept = self.column[held]
        self.column[held] = np.arange(len(held))
        return kept

    def _add(self, parent: int, token: int, depth: int) -> int:
        if not self._free:
            size = len(self.column)
            for name in ("column", "token", "depth", "_parent", "_uses", "_used_at"):
                setattr(self, name, np.concatenate([getattr(self, name), np.full(size, -1, np.int64)]))
            self._free = list(range(2 * size - 1, size - 1, -1))
        node = self._free.pop()
        self.column[node], self.token[node], self.depth[node] = -1, token, depth
        self._parent[node], self._uses[node], self._used_at[node] = parent, 0, self._clock
        self._child[parent, token] = node  # a newer one is found instead of its twin from now on
        return node

    def _drop(self, node: int) -> None:
        key = (int(self._parent[node]), int(self.token[node]))
        if self._child.get(key) == node:
            del self._child[key]
        self.column[node] = -1
        self._uses[node] = -1
        self._free.append(node)
