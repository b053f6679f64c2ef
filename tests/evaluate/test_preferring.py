"""Preference pairs by log-likelihood: one forest gives what one pass a sequence gives; metrics; records."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from komt.evaluate.asked import Asked
from komt.evaluate.pairs import pair_values
from komt.evaluate.preferring import (
    PairLikelihood,
    pair_examples,
    pair_likelihoods,
    prefer_recorded,
    scored_pairs,
)
from komt.evaluate.record import Record
from komt.evaluate.recorded import RecordedEngine
from komt.example import Example, Message
from komt.pack.encode import encode
from komt.recipe import PreferencePart, TrainPart
from komt.tasks import load_task


def pair(asked, chosen, rejected, *before):
    messages = (*before, Message("user", asked), Message("assistant", chosen, True))
    head = (f"{asked}/{rejected}", "toy", *["x"] * 5, "test", "own")
    return Example(*head, group="", messages=messages, chosen=chosen, rejected=rejected)


SYSTEM = Message("system", "짧게 답하세요.")
TURN = (Message("user", "안녕하세요?"), Message("assistant", "네, 안녕하세요.", True))
PAIRS = [
    pair("고양이는 왜 물을 싫어하나요?", "털이 젖으면 무겁기 때문입니다.", "물"),
    pair("고양이는 왜 물을 싫어하나요?", "털이 젖으면 무거워집니다.", "털이 젖으면 가볍습니다. 가볍습니다."),
    pair("서울은 수도인가요?", "예", "예, 그렇습니다."),
    pair("서울은 수도인가요?", "예", "아니요", SYSTEM),
    pair("서울은 어디인가요?", "한국의 수도입니다.", "부산입니다.", *TURN),
]


def alone(engine, example, answer):
    """Log-probability of an answer by a forward pass of its own, and its tokens."""
    prompt = tuple(replace(message, supervised=False) for message in example.prompt)
    messages = (*prompt, Message("assistant", answer, True))
    [sequence] = encode(engine.tokenizer, [replace(example, messages=messages)])
    ids, start = sequence.ids.tolist(), int(np.argmax(sequence.weights > 0))
    with torch.no_grad():
        logits = engine._model(torch.tensor([ids])).logits[0].log_softmax(-1)
    values = [float(logits[at - 1, ids[at]]) for at in range(start, len(ids))]
    return sum(values), len(values)


def test_a_forest_of_pairs_gives_what_each_answer_alone_gives(engine):
    done = []
    found = pair_likelihoods(engine, PAIRS, on_done=done.append)
    assert sorted(done) == list(range(len(PAIRS)))
    for example, one in zip(PAIRS, found, strict=True):
        each = [alone(engine, example, answer) for answer in (example.chosen, example.rejected)]
        assert one.log_probs == pytest.approx([total for total, _ in each], abs=1e-4)
        assert one.tokens == tuple(count for _, count in each)
        assert not one.same


def test_what_was_computed_is_recorded_and_equal_pairs_are_asked_once(engine, tmp_path):
    def recorded(opened):
        return RecordedEngine(opened, Record(tmp_path / "answers.sqlite"), "model")

    first, done = recorded(lambda: engine), []
    found = prefer_recorded(first, [*PAIRS, PAIRS[0]], on_done=done.append)
    assert sorted(done) == list(range(len(PAIRS) + 1))
    assert first.asked == len(PAIRS)
    assert found[-1] == found[0]
    again = prefer_recorded(recorded(lambda: pytest.fail("the model was loaded")), PAIRS)
    assert again == found[:-1]


def test_solved_examples_stand_before_a_pair(engine):
    shot = pair("부산은 수도인가요?", "아니요", "예")
    one = Asked(load_task("sample.preference"), load_task("sample.preference"), "test", "", PAIRS, [], [shot])
    before = pair_examples(one)[2]
    assert [message.content for message in before.prompt] == [
        "부산은 수도인가요?",
        "아니요",
        "서울은 수도인가요?",
    ]
    assert pair_likelihoods(engine, [before]) != pair_likelihoods(engine, [PAIRS[2]])


def test_values_of_pairs_by_every_metric():
    tokens = np.array([[2.0, 4.0], [2.0, 1.0]])
    log_probs = np.array([[-4.0, -6.0], [-8.0, -3.0]])
    reference = np.array([[-5.0, -5.0], [-8.0, -4.0]])
    train = TrainPart(objective="ipo", preference=PreferencePart(beta=0.5))
    found = {
        name: values.tolist() for name, values in pair_values(tokens, log_probs, reference, train).items()
    }
    assert found == {
        "pair_accuracy": [1, 0],
        "pair_accuracy_norm": [0, 0],
        "reward_accuracy": [1, 0],
        "reward_margin": [1, -0.5],
        "pair_loss": [(1 / 2 + 1 / 4 - 1) ** 2, (0 - 1 - 1) ** 2],
        "chosen_log_prob": [-4, -8],
        "rejected_log_prob": [-6, -3],
        "chosen_log_prob_norm": [-2, -4],
        "rejected_log_prob_norm": [-1.5, -3],
    }
    assert "reward_margin" not in pair_values(tokens, log_probs)
    assert "pair_loss" not in pair_values(tokens, log_probs, reference, TrainPart())


def test_answers_of_the_same_tokens_are_unscored_and_the_likelier_one_is_shown():
    task = load_task("sample.preference")
    one = Asked(task, task, "test", "", PAIRS[:3], [])
    found = [
        PairLikelihood((-1.0, -2.0), (3, 2)),
        PairLikelihood((-3.0, -2.0), (3, 2)),
        PairLikelihood((-3.0, -3.0), (3, 3), same=True),
    ]
    answered = scored_pairs(one, found, name="m")
    assert [each.answer for each in answered[:2]] == [PAIRS[0].chosen, PAIRS[1].rejected]
    assert [each.scores["pair_accuracy"].value for each in answered] == [1, 0, None]
    # Two pairs on one prompt are drawn together.
    assert answered[0].example.group == answered[1].example.group != answered[2].example.group
