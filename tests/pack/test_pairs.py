"""Preference pairs: encoded, planned and packed as two branches of one prompt."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from komt.errors import DataError
from komt.example import Example, Message
from komt.models.template import ensure_template
from komt.pack import encode, pack_sequences
from komt.pack.pairs import answered, encode_pairs, pair_bins, plan_pairs, sequences_of
from komt.recipe import PackPart, TrainPart
from komt.testing import tiny_tokenizer

ANSWERS = (
    ("서울입니다.", "부산"),
    ("서울이지요.", "서울이다"),
    ("1443년입니다.", "어제"),
    ("네.", "아니요, 아니요."),
)


@pytest.fixture
def tokenizer():
    made = tiny_tokenizer()
    ensure_template(made)
    return made


@pytest.fixture
def examples():
    """Sixteen pairs; the first two of each four ask the same."""
    made = []
    for number in range(16):
        chosen, rejected = ANSWERS[number % 4]
        asked = f"질문 {number // 4}{'' if number % 4 < 2 else number}: 어디인가요? 글을 읽고 답하세요."
        messages = (Message("user", asked), Message("assistant", chosen, True))
        head = (f"e{number}", *["x"] * 8)
        made.append(Example(*head, group="", messages=messages, chosen=chosen, rejected=rejected))
    return made


def test_a_pair_is_the_two_answers_as_they_would_be_trained_on(tokenizer, examples):
    pairs = encode_pairs(tokenizer, examples)
    for example, pair in zip(examples, pairs, strict=True):
        other = replace(example, messages=(example.messages[0], Message("assistant", example.rejected, True)))
        for found, expected in zip(
            (pair.chosen, pair.rejected), encode(tokenizer, [example, other]), strict=True
        ):
            assert np.array_equal(found.ids, expected.ids)
            assert np.array_equal(found.weights, expected.weights)
        assert pair.answer_tokens == (pair.chosen.weights.sum(), pair.rejected.weights.sum())
    groups = [pair.chosen.group for pair in pairs]
    assert groups[0] == groups[1]
    assert len(set(groups)) == 12


def test_earlier_turns_are_no_part_of_the_preference(tokenizer, examples):
    turns = (Message("user", "안녕"), Message("assistant", "안녕하세요.", True))
    example = replace(examples[0], messages=(*turns, *examples[0].messages))
    (pair,) = encode_pairs(tokenizer, [example])
    assert len(encode(tokenizer, [example])) == 2
    assert pair.answer_tokens == encode_pairs(tokenizer, examples[:1])[0].answer_tokens


def test_what_is_no_pair_is_refused_with_its_name(tokenizer, examples):
    plain = replace(examples[1], rejected="")
    with pytest.raises(DataError, match="no rejected answer") as caught:
        encode_pairs(tokenizer, [examples[0], plain])
    assert "task x, example e1" in str(caught.value)
    with pytest.raises(DataError, match="the same tokens"):
        encode_pairs(tokenizer, [replace(examples[0], rejected=examples[0].chosen + " ")])


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("tokens", [120, 4096])
def test_steps_hold_every_pair_once_an_epoch_and_never_part_it(tokenizer, examples, share, tokens):
    pairs = encode_pairs(tokenizer, examples)
    pack = PackPart(tokens=tokens, share=share)
    train = TrainPart(epochs=2, step_examples=4)
    steps = plan_pairs(pairs, pack, train, seed=3)
    sequences = sequences_of(pairs)
    assert [step.weight for step in steps] == [len(step.sequences) / 2 for step in steps]
    assert all(3 <= step.weight <= 5 for step in steps)
    assert Counter(place for step in steps for place in step.sequences) == dict.fromkeys(range(32), 2)
    for step in steps:
        for members in step.bins:
            assert [place // 2 for place in members[::2]] == [place // 2 for place in members[1::2]]
            assert all(place % 2 == at % 2 for at, place in enumerate(members))
        packed = [pack_sequences([sequences[i] for i in members], share=share) for members in step.bins]
        assert step.tokens == sum(batch.ids.numel() for batch in packed)
        assert step.flat_tokens == sum(len(sequences[i]) for i in step.sequences)
        assert step.tokens == step.flat_tokens if not share else step.tokens < 0.8 * step.flat_tokens
    assert steps != plan_pairs(pairs, pack, train, seed=4)
    assert steps == plan_pairs(pairs, pack, train, seed=3)


def test_the_prompt_of_a_pair_is_computed_once(tokenizer, examples):
    (pair,) = encode_pairs(tokenizer, examples[:1])
    batch = pack_sequences([pair.chosen, pair.rejected])
    assert batch.ids.numel() <= len(pair.chosen) + pair.answer_tokens[1]
    assert pair_bins(encode_pairs(tokenizer, examples), PackPart(tokens=4096)) != []
    places = [
        place
        for members in pair_bins(encode_pairs(tokenizer, examples), PackPart(tokens=120))
        for place in members
    ]
    assert sorted(places) == list(range(32))


def test_both_answers_count_for_the_length(tokenizer, examples):
    long = replace(examples[0], rejected="아니요, " * 40)
    assert [one.messages[-1].content for one in answered([long, replace(long, rejected="")])] == [
        long.chosen,
        long.rejected,
        long.chosen,
    ]
