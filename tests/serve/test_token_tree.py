"""The tree of paths: what is shared, what stays, what goes; nothing in use is ever lost."""

import numpy as np

from komt.serve.token_tree import TokenTree


def computed(tree: TokenTree, path, size: int) -> int:
    """Give the path's pending nodes the next columns, as a row does; returns the row's new size."""
    new = path.nodes[tree.column[path.nodes] < 0]
    tree.column[new] = np.arange(size, size + len(new))
    return size + len(new)


def test_beginnings_are_shared_and_the_last_token_is_always_new():
    tree = TokenTree()
    first = tree.enter([1, 2, 3])
    twin = tree.enter([1, 2, 3])
    assert first.cached == 0
    assert (first.nodes == twin.nodes).all()  # not computed yet: both wait for the same nodes
    size = computed(tree, first, 0)
    assert size == 3
    again, longer = tree.enter([1, 2, 3]), tree.enter([1, 2, 3, 4])
    assert (again.cached, longer.cached) == (2, 2)  # the newer node of token 3 is found from now on
    assert again.nodes[2] == longer.nodes[2] != first.nodes[2]
    size = computed(tree, again, size)
    assert tree.enter([1, 2, 3, 4, 5]).cached == 3


def test_what_a_stream_drew_serves_the_next_turn():
    tree = TokenTree()
    path = tree.enter([1, 2])
    size = computed(tree, path, 0)
    for token in (7, 8):
        tree.grow(path, token)
        size = computed(tree, path, size)
    tree.grow(path, 9)  # drawn, never computed
    tree.leave(path)
    assert tree.enter([1, 2, 7, 8, 9, 10]).cached == 4


def test_shrinking_drops_what_was_used_longest_ago_and_nothing_in_use():
    tree = TokenTree()
    old, new, busy = tree.enter([1, 2, 3]), tree.enter([1, 5, 6, 7]), tree.enter([9, 9])
    size = 0
    for path in (old, new, busy):
        size = computed(tree, path, size)
    tree.leave(old)
    tree.leave(new)
    kept = tree.shrink(7)
    assert kept.tolist() == [0, 1, 3, 4, 5, 6, 7]  # the end of the older path
    assert tree.enter([1, 2, 3, 0]).cached == 2
    assert len(tree.shrink(0)) == 2 + 2  # 9 9, and 1 2 of the path that has just been entered
    assert (tree.column[busy.nodes] >= 0).all()


def test_random_streams_keep_every_path_whole():
    random = np.random.default_rng(0)
    tree, size, held, open_paths = TokenTree(), 0, {}, []
    for _ in range(1500):
        action = random.random()
        if action < 0.4 or not open_paths:
            ids = random.integers(0, 3, random.integers(1, 12)).tolist()
            path = tree.enter(ids)
            open_paths.append((path, ids))
        elif action < 0.7:
            path, ids = open_paths[random.integers(len(open_paths))]
            if (tree.column[path.nodes] >= 0).all():
                ids.append(int(random.integers(0, 3)))
                tree.grow(path, ids[-1])
        elif action < 0.9:
            path, _ = open_paths.pop(random.integers(len(open_paths)))
            tree.leave(path)
        else:
            kept = tree.shrink(int(random.integers(0, 60)))
            held = {place: held[column] for place, column in enumerate(kept.tolist())}
            size = len(kept)
        if open_paths and random.random() < 0.7:
            path, ids = open_paths[random.integers(len(open_paths))]
            for place in range(len(ids)):
                if tree.column[path.nodes[place]] < 0:
                    tree.column[path.nodes[place]] = size
                    held[size] = tuple(ids[: place + 1])
                    size += 1
        for path, ids in open_paths:
            assert tree.token[path.nodes].tolist() == ids
            assert tree.depth[path.nodes].tolist() == list(range(len(ids)))
            columns = tree.column[path.nodes]
            done = int((columns >= 0).sum())
            assert (columns[:done] >= 0).all()
            assert [held[int(column)] for column in columns[:done]] == [
                tuple(ids[: place + 1]) for place in range(done)
            ]
    assert sorted(tree.column[tree.column >= 0].tolist()) == list(range(size))
