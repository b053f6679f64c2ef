"""Tries against a brute-force definition."""

import numpy as np
import pytest

from komt.pack import build_trie
from komt.pack.trie import common_prefix, trie_tokens

CASES = {
    "ragged": [[1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 6, 7], [1, 8], [9, 9]],
    "duplicates": [[1, 2, 3], [1, 2, 3], [4], [4], [1, 2, 3]],
    "prefix of another": [[1, 2, 3, 4], [1, 2], [1], [1, 2, 3]],
    "nothing shared": [[1, 2], [3, 4, 5], [6]],
    "equal tokens under different parents": [[1, 5, 6], [2, 5, 6], [1, 6, 5]],
    "ids of one, two and four bytes": [[255, 256, 1], [255, 65536, 1], [256, 255], [255, 256, 262143]],
    "one": [[7, 7, 7]],
    "none": [],
}
cases = pytest.mark.parametrize("sequences", CASES.values(), ids=CASES.keys())


def random_sequences(seed):
    random = np.random.default_rng(seed)
    return [random.integers(0, 3, random.integers(1, 8)).tolist() for _ in range(12)]


def prefixes(sequences):
    return {tuple(sequence[:size]) for sequence in sequences for size in range(1, len(sequence) + 1)}


@cases
def test_every_distinct_prefix_is_one_node(sequences):
    trie = build_trie(sequences)
    assert len(trie) == len(prefixes(sequences)) == trie_tokens(sequences)


@cases
@pytest.mark.parametrize("share", [True, False])
def test_a_path_spells_its_sequence_with_positions_from_nought(sequences, share):
    trie = build_trie(sequences, share=share)
    assert len(trie.paths) == len(sequences)
    for path, sequence in zip(trie.paths, sequences, strict=True):
        assert trie.ids[path].tolist() == sequence
        assert trie.positions[path].tolist() == list(range(len(sequence)))
        assert np.all(np.diff(path) > 0)


@cases
def test_end_is_where_the_subtree_ends(sequences):
    trie = build_trie(sequences)
    prefix_of = {
        int(node): tuple(sequence[: depth + 1])
        for path, sequence in zip(trie.paths, sequences, strict=True)
        for depth, node in enumerate(path)
    }
    for node in range(len(trie)):
        subtree = [n for n, p in prefix_of.items() if p[: len(prefix_of[node])] == prefix_of[node]]
        assert (min(subtree), max(subtree) + 1) == (node, trie.ends[node])
        assert len(subtree) == trie.ends[node] - node


@pytest.mark.parametrize("sequences", [*CASES.values(), *map(random_sequences, range(20))])
@pytest.mark.parametrize("share", [True, False])
def test_a_node_sees_exactly_what_stands_before_it_on_its_path(sequences, share):
    trie = build_trie(sequences, share=share)
    seen = {(q, k) for q in range(len(trie)) for k in range(len(trie)) if k <= q < trie.ends[k]}
    paths = [path.tolist() for path in trie.paths]
    assert seen == {(q, k) for path in paths for i, q in enumerate(path) for k in path[: i + 1]}


def test_unshared_sequences_stand_in_their_own_order():
    trie = build_trie([[3, 1], [1], [3, 1]], share=False)
    assert trie.ids.tolist() == [3, 1, 1, 3, 1]
    assert trie.positions.tolist() == [0, 1, 0, 0, 1]
    assert trie.ends.tolist() == [2, 2, 3, 5, 5]
    assert [path.tolist() for path in trie.paths] == [[0, 1], [2], [3, 4]]


def test_duplicates_have_one_path():
    first, second = build_trie([[1, 2], [1, 2]]).paths
    assert first.tolist() == second.tolist() == [0, 1]


def test_the_order_given_changes_nothing_but_the_order_of_paths():
    sequences = CASES["ragged"]
    there, back = build_trie(sequences), build_trie(sequences[::-1])
    assert there.ids.tolist() == back.ids.tolist()
    assert there.ends.tolist() == back.ends.tolist()
    assert [p.tolist() for p in there.paths] == [p.tolist() for p in back.paths[::-1]]


def test_an_empty_sequence_is_refused():
    with pytest.raises(ValueError, match="empty"):
        build_trie([[1], []])


def test_common_prefix_counts_leading_tokens():
    pairs = (([1, 2, 3], [1, 2, 4]), ([1], [1, 2]), ([2], [1]), ([], [1]))
    assert [common_prefix(np.array(a), np.array(b)) for a, b in pairs] == [2, 1, 0, 0]
