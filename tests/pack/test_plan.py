"""The plan: what a step holds depends on the data, the seed and the step's size, and on nothing else."""

from collections import Counter

import numpy as np
import pytest

from komt.pack import TokenSequence, pack_sequences
from komt.pack.plan import plan_steps
from komt.recipe import PackPart, TrainPart

GROUPS, EACH = 20, 10


@pytest.fixture(scope="module")
def sequences():
    """200 sequences: 20 passages of 30 tokens, 10 questions of 2 to 9 tokens each, answers weighted oddly."""
    random = np.random.default_rng(0)
    made = []
    for group in range(GROUPS):
        passage = random.integers(4, 600, 30)
        for number in range(EACH):
            ids = np.array([2, *passage, *random.integers(4, 600, random.integers(2, 10))], np.int32)
            weights = np.zeros(len(ids), np.float32)
            weights[-2:] = 1 + number % 3
            made.append(TokenSequence(ids, weights, f"{group}.{number}", "t", f"g{group}"))
    return made


def plan(sequences, *, seed=0, epochs=1.0, step_tokens=1000, step_examples=None, **pack):
    part = PackPart(**{"tokens": 256, "max_share": 4, **pack})
    train = TrainPart(epochs=epochs, step_tokens=step_tokens, step_examples=step_examples)
    return plan_steps(sequences, part, train, seed)


def steps_as_sets(steps):
    return [frozenset(step.sequences) for step in steps]


@pytest.mark.parametrize("settings", [{}, {"step_tokens": 100}, {"step_tokens": 10**6}, {"step_examples": 7}])
@pytest.mark.parametrize("share", [True, False])
def test_an_epoch_holds_every_sequence_once(sequences, settings, share):
    steps = plan(sequences, share=share, **settings)
    assert sorted(i for step in steps for i in step.sequences) == list(range(len(sequences)))


def test_epochs_hold_every_sequence_as_often_and_in_another_order(sequences):
    steps = plan(sequences, epochs=3)
    assert set(Counter(i for step in steps for i in step.sequences).values()) == {3}
    size = len(plan(sequences))
    assert len(steps) == 3 * size
    first, second = steps_as_sets(steps[:size]), steps_as_sets(steps[size : 2 * size])
    assert set(first) & set(second) == set()


def test_a_fraction_of_an_epoch_is_its_first_part(sequences):
    whole = plan(sequences, epochs=2)
    size = len(whole) // 2
    assert plan(sequences, epochs=1.5) == whole[: size + round(size / 2)]
    assert plan(sequences, epochs=0.5) == whole[: round(size / 2)]
    assert plan(sequences, epochs=0.001) == whole[:1]


def test_the_seed_decides_and_nothing_else(sequences):
    assert plan(sequences, seed=3) == plan(sequences, seed=3)
    assert plan(sequences, seed=3) != plan(sequences, seed=4)


@pytest.mark.parametrize("changed", [{"share": False}, {"tokens": 64}, {"tokens": 100000}])
def test_sharing_and_bin_size_leave_the_steps_as_they_are(sequences, changed):
    steps, other = plan(sequences, epochs=2), plan(sequences, epochs=2, **changed)
    assert steps_as_sets(steps) == steps_as_sets(other)
    assert [step.weight for step in steps] == [step.weight for step in other]
    assert [step.flat_tokens for step in steps] == [step.flat_tokens for step in other]


@pytest.mark.parametrize("max_share", [1, 3, 4, 10])
def test_a_step_holds_no_more_of_a_passage_than_max_share(sequences, max_share):
    steps = plan(sequences, max_share=max_share, step_tokens=600)
    assert len(steps) >= EACH
    most = max(max(Counter(i // EACH for i in step.sequences).values()) for step in steps)
    assert most <= max_share
    assert most >= min(max_share, 3)  # and it is used


def test_with_fewer_steps_than_parts_nothing_is_lost(sequences):
    (step,) = plan(sequences[:EACH], max_share=4, step_tokens=10**6)
    assert sorted(step.sequences) == list(range(EACH))


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("tokens", [64, 100, 256])
def test_a_bin_is_never_over_its_size(sequences, share, tokens):
    for step in plan(sequences, tokens=tokens, share=share):
        for members in step.bins:
            packed = pack_sequences([sequences[i] for i in members], share=share)
            assert packed.ids.shape[1] <= tokens


def test_a_sequence_longer_than_a_bin_stands_alone(sequences):
    long = TokenSequence(np.arange(4, 304, dtype=np.int32), np.ones(300, np.float32), "long", "t", "long")
    steps = plan([*sequences, long], tokens=256)
    assert [members for step in steps for members in step.bins if 200 in members] == [(200,)]


@pytest.mark.parametrize("share", [True, False])
def test_counts_are_those_of_the_packed_bins(sequences, share):
    for step in plan(sequences, share=share):
        batches = [pack_sequences([sequences[i] for i in members], share=share) for members in step.bins]
        assert step.weight == sum(batch.weights.sum().item() for batch in batches)
        assert step.tokens == sum(batch.ids.shape[1] for batch in batches)
        assert step.flat_tokens == sum(batch.flat_tokens for batch in batches)


def test_steps_are_of_about_the_size_asked_for(sequences):
    sizes = [step.flat_tokens for step in plan(sequences, step_tokens=1000)]
    assert len(sizes) == round(sum(sizes) / 1000)
    assert 700 <= min(sizes) <= max(sizes) <= 1300


def test_steps_of_so_many_examples(sequences):
    steps = plan(sequences, step_examples=8, max_share=2)
    assert {len(step.sequences) for step in steps} == {8}
    assert len(steps) == 25


def test_passages_are_shared(sequences):
    steps = plan(sequences, max_share=4, tokens=256)
    assert sum(step.tokens for step in steps) < 0.6 * sum(step.flat_tokens for step in steps)
