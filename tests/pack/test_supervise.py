"""Ways of supervision: which tokens of a conversation are learned, and as how many sequences."""

from dataclasses import replace

import pytest
from test_encode import ANSWERS, example_of, tokenizer_of

from komt.example import Message
from komt.pack import encode, pack_sequences
from komt.pack.encode import trained_turns


def learned(tokenizer, sequence):
    return tokenizer.decode([int(i) for i, w in zip(sequence.ids, sequence.weights, strict=True) if w])


TALK = ("무엇?", ANSWERS[0], "언제?", ANSWERS[1], "어디?", ANSWERS[2])


@pytest.mark.parametrize("template", ["komt", "chatml", "llama3"])
def test_answers_are_the_marked_turns_and_last_is_one_of_them(template):
    tokenizer = tokenizer_of(template)
    example = example_of(*TALK)
    marked = encode(tokenizer, [example], "answers")
    assert [
        learned(tokenizer, one).startswith(text) for one, text in zip(marked, ANSWERS[:3], strict=True)
    ] == [True] * 3
    (last,) = encode(tokenizer, [example], "last")
    assert (last.ids.tolist(), last.weights.tolist()) == (marked[2].ids.tolist(), marked[2].weights.tolist())


@pytest.mark.parametrize("template", ["komt", "chatml", "llama3"])
def test_all_turns_are_those_of_the_assistant_marked_or_not(template):
    tokenizer = tokenizer_of(template)
    shown = example_of(*TALK, last_only=True)
    assert len(encode(tokenizer, [shown], "answers")) == 1
    every = encode(tokenizer, [shown], "all_turns")
    whole = encode(tokenizer, [example_of(*TALK)], "answers")
    assert [one.ids.tolist() for one in every] == [one.ids.tolist() for one in whole]
    assert [one.weights.tolist() for one in every] == [one.weights.tolist() for one in whole]


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
@pytest.mark.parametrize("template", ["komt", "chatml", "llama3"])
def test_text_is_every_token_after_the_first(template, kind):
    tokenizer = tokenizer_of(template, kind, adds_bos=template != "llama3")
    example = example_of(*TALK)
    (sequence,) = encode(tokenizer, [example], "text")
    assert sequence.ids[0] == tokenizer.bos_token_id
    assert sequence.weights.tolist() == [0.0] + [1.0] * (len(sequence) - 1)
    assert sequence.ids.tolist() == encode(tokenizer, [example], "last")[0].ids.tolist()
    assert len(pack_sequences([sequence]).targets) == len(sequence) - 1


def test_text_of_conversations_that_begin_alike_counts_for_each():
    """A shared prefix is computed once, and its tokens are targets of every conversation."""
    tokenizer = tokenizer_of("komt")
    some = encode(tokenizer, [example_of(TALK[0], text) for text in ANSWERS[:3]], "text")
    batch = pack_sequences(some)
    assert batch.ids.shape[1] < sum(map(len, some))
    assert len(batch.targets) == sum(len(one) - 1 for one in some)


def test_a_conversation_with_nothing_to_learn_gives_nothing():
    asked = example_of("무엇?")
    assert [trained_turns(asked, way) for way in ("answers", "last", "all_turns", "text")] == [[]] * 4
    unmarked = replace(asked, messages=(*asked.messages, Message("assistant", "글")))
    assert [trained_turns(unmarked, way) for way in ("answers", "last", "all_turns", "text")] == [
        [],
        [],
        [1],
        [1],
    ]
