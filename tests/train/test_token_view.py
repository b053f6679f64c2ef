"""Samples to look at: every token in its place, and coloured by what training does with it."""

import numpy as np

from komt.example import Example, Message
from komt.models.template import ensure_template
from komt.pack import TokenSequence
from komt.pack.encode import encode
from komt.testing import tiny_tokenizer
from komt.train.token_view import choose, sample


def test_an_example_is_a_prompt_and_an_answer_with_its_end():
    tokenizer = tiny_tokenizer()
    ensure_template(tokenizer)
    messages = (Message("user", "수도는?"), Message("assistant", "서울", True))
    (sequence,) = encode(tokenizer, [Example("toy.0", "toy", *["x"] * 7, group="", messages=messages)])
    shown = sample(tokenizer, sequence)
    assert [(piece.kind, piece.text) for piece in shown.pieces] == [
        ("prompt", "<bos>### instruction: 수도는?\n\n### Response:\n"),
        ("answer", "서울<eos>"),
    ]
    assert [i for piece in shown.pieces for i in piece.ids] == sequence.ids.tolist()


def test_what_follows_the_last_answer_is_ignored_and_what_stands_between_is_read():
    ids, weights = np.arange(10, 17, dtype=np.int32), np.array([1, 0, 1, 0, 1, 0, 0], np.float32)
    shown = sample(tiny_tokenizer(), TokenSequence(ids, weights, "a", "t"))
    assert [(piece.kind, piece.ids) for piece in shown.pieces] == [
        ("prompt", (10, 11)),  # nothing predicts the first token, whatever its weight
        ("answer", (12,)),
        ("prompt", (13,)),
        ("answer", (14,)),
        ("ignored", (15, 16)),
    ]
    nothing = sample(tiny_tokenizer(), TokenSequence(ids, np.zeros(7, np.float32), "a", "t"))
    assert [piece.kind for piece in nothing.pieces] == ["ignored"]


def test_samples_are_of_all_tasks_in_turn_and_the_same_for_the_same_seed():
    ids, weights = np.arange(3, dtype=np.int32), np.ones(3, np.float32)
    rows = [TokenSequence(ids, weights, f"{n}", "many" if n < 8 else f"rare{n}") for n in range(10)]
    chosen = choose(rows, 4, seed=3)
    assert sorted(row.task for row in chosen) == ["many", "many", "rare8", "rare9"]
    assert [row.example for row in choose(rows, 4, seed=3)] == [row.example for row in chosen]
    assert len(choose(rows, 99, seed=0)) == 10
