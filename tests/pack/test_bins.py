"""Bins: sharers together, the fullest bin with room first, nothing over the size."""

import numpy as np
import pytest

from komt.pack.bins import fill_bins
from komt.pack.trie import trie_tokens
from komt.recipe import PackPart


def strangers(*lengths):
    """Sequences of these lengths that share nothing."""
    return [
        np.arange(9000 + number, 9000 + number + length, dtype=np.int32)
        for number, length in enumerate(lengths)
    ]


def sharers(count, shared, own, first=1000):
    """Sequences that begin with the same tokens."""
    return [
        np.r_[np.arange(shared), first + own * n : first + own * (n + 1)].astype(np.int32)
        for n in range(count)
    ]


def test_the_largest_goes_first_and_each_into_the_fullest_bin_with_room():
    assert fill_bins(strangers(3, 60, 50, 38, 12), PackPart(tokens=100), 100) == [[1, 3], [2, 4, 0]]
    assert fill_bins(strangers(30, 30, 30), PackPart(tokens=60)) == [[0, 1], [2]]


def test_with_room_for_fewer_tokens_bins_are_filled_less():
    assert fill_bins(strangers(30, 30, 30), PackPart(tokens=100), 60) == [[0, 1], [2]]
    assert fill_bins(strangers(30, 30, 30), PackPart(tokens=100), 1000) == [[0, 1, 2]]


def test_what_is_longer_than_a_bin_stands_alone():
    assert fill_bins(strangers(20, 200, 20), PackPart(tokens=100)) == [[1], [0, 2]]
    assert fill_bins([], PackPart()) == []


def test_sharers_are_counted_once_and_stay_together():
    sequences = [*strangers(55), *sharers(5, 20, 10)]
    assert fill_bins(sequences, PackPart(tokens=70)) == [[1, 2, 3, 4, 5], [0]]
    # Unshared each of them takes 30.
    assert fill_bins(sequences, PackPart(tokens=70, share=False)) == [[0], [1, 2], [3, 4], [5]]


def test_few_shared_tokens_are_not_worth_keeping_together():
    near, far = sharers(2, 16, 10), sharers(2, 15, 10)
    assert fill_bins(near, PackPart(tokens=40)) == [[0, 1]]
    assert fill_bins(far, PackPart(tokens=40)) == [[0], [1]]


@pytest.mark.parametrize("share", [True, False])
def test_every_sequence_is_in_one_bin_and_no_bin_is_over_its_size(share):
    random = np.random.default_rng(3)
    sequences = []
    for _ in range(60):
        trunk = random.integers(4, 600, random.integers(1, 90))
        sequences += [np.r_[trunk, random.integers(4, 600, random.integers(1, 30))] for _ in range(9)]
    bins = fill_bins(sequences, PackPart(tokens=128, share=share))
    assert sorted(index for members in bins for index in members) == list(range(len(sequences)))
    sizes = [
        trie_tokens(held) if share else sum(map(len, held))
        for held in ([sequences[index] for index in members] for members in bins)
    ]
    assert max(sizes) <= 128
    assert sum(sizes) > 0.8 * 128 * len(bins)


def test_where_no_size_is_given_bins_are_level():
    tens = strangers(*[10] * 24)
    assert [len(members) for members in fill_bins(tens, PackPart(tokens=100), 100)] == [10, 10, 4]
    assert [len(members) for members in fill_bins(tens, PackPart(tokens=100))] == [8, 8, 8]
    # What stands alone has no part in it.
    alone = fill_bins([*strangers(300), *strangers(*[10] * 24)], PackPart(tokens=100, share=False))
    assert [len(members) for members in alone] == [1, 8, 8, 8]


def test_level_bins_are_no_more_than_others_and_hold_the_same():
    random = np.random.default_rng(5)
    for _ in range(40):
        sequences = strangers(*random.integers(1, 120, random.integers(1, 60)))
        pack = PackPart(tokens=128, share=False)
        level, other = fill_bins(sequences, pack), fill_bins(sequences, pack, 128)
        largest = [
            max(sum(len(sequences[i]) for i in members) for members in bins) for bins in (level, other)
        ]
        assert len(level) <= len(other)
        assert largest[0] <= largest[1] <= 128
        assert sorted(index for members in level for index in members) == list(range(len(sequences)))
