"""Held-out pairs of a training as answers and rows of scores.json, in the form that reports read."""

import json

import pytest

from komt.evaluate import scores_of
from komt.evaluate.preferring import trained_pairs
from komt.evaluate.scores import answer_record
from komt.example import Example, Message
from komt.recipe import PreferencePart, TrainPart


def example(number):
    messages = (Message("user", f"{number}번 물음"), Message("assistant", "좋은 답", True))
    head = (f"e{number}", "toy", *["x"] * 5, "test", "own")
    return Example(*head, group=f"g{number}", messages=messages, chosen="좋은 답", rejected="나쁜 답")


@pytest.fixture
def answers(tmp_path):
    """Answers of four pairs: tuned and base log-probabilities, tokens of the answers."""
    values = [
        ([-4.0, -9.0], [-5.0, -6.0], [4, 4]),  # likelier before and after, gained 1 + 3
        ([-8.0, -9.0], [-9.0, -7.0], [8, 3]),  # likelier after only; per token likelier before and after
        ([-8.0, -4.0], [-7.0, -5.0], [4, 2]),  # less likely before and after, lost 2; per token a draw after
        ([-6.0, -5.0], [-8.0, -5.0], [3, 1]),  # less likely, yet gained 2
    ]
    pairs = [
        {
            "id": f"e{n}",
            "task": "toy",
            "group": f"g{n}",
            "tokens": tokens,
            "log_probs": own,
            "reference": base,
        }
        for n, (own, base, tokens) in enumerate(values)
    ]
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps({"beta": 0.5, "pairs": pairs}))
    train = TrainPart(objective="dpo", preference=PreferencePart(beta=0.5))
    return trained_pairs(path, [example(n) for n in (3, 1, 0, 2, 4)], train)


@pytest.fixture
def scored(answers):
    return [*scores_of(answers["base"]), *scores_of(answers["tuned"], against=[answers["base"]])]


def test_values_and_gains(scored):
    values = {(row["model"], row["metric"]): row["value"] for row in scored}
    assert 0 < values.pop(("tuned", "pair_loss")) < 1
    assert values == {
        ("base", "pair_accuracy"): 0.25,
        ("base", "pair_accuracy_norm"): 1.0,
        ("tuned", "pair_accuracy"): 0.5,
        ("tuned", "pair_accuracy_norm"): 0.75,
        ("tuned", "reward_accuracy"): 0.75,
        ("tuned", "reward_margin"): pytest.approx(0.5 * (4 + 3 - 2 + 2) / 4),
        ("base", "chosen_log_prob"): -7.25,
        ("base", "rejected_log_prob"): -5.75,
        ("base", "chosen_log_prob_norm"): pytest.approx(-(5 / 4 + 9 / 8 + 7 / 4 + 8 / 3) / 4),
        ("base", "rejected_log_prob_norm"): pytest.approx(-(6 / 4 + 7 / 3 + 5 / 2 + 5) / 4),
        ("tuned", "chosen_log_prob"): -6.5,
        ("tuned", "rejected_log_prob"): -6.75,
        ("tuned", "chosen_log_prob_norm"): pytest.approx(-(1 + 1 + 2 + 2) / 4),
        ("tuned", "rejected_log_prob_norm"): pytest.approx(-(9 / 4 + 3 + 2 + 5) / 4),
    }
    gains = {row["metric"]: row["gain"]["base"] for row in scored if "gain" in row}
    assert gains["pair_accuracy"]["value"] == 0.25
    assert gains["pair_accuracy_norm"]["value"] == -0.25
    assert all(row["low"] <= row["value"] <= row["high"] for row in scored)
    assert {(row["n"], row["split"], row["shots"], row["unscored"]) for row in scored} == {(4, "test", 0, 0)}


def test_each_pair_is_an_answer_that_reports_can_pair(answers):
    lines = {name: [answer_record(one) for one in own] for name, own in answers.items()}
    assert [line["id"] for line in lines["tuned"]] == [line["id"] for line in lines["base"]]
    assert [line["answer"] for line in lines["base"]] == ["좋은 답", "나쁜 답", "나쁜 답", "나쁜 답"]
    assert {line["by"] for line in lines["tuned"]} == {"loglikelihood"}


def test_without_held_out_pairs_there_are_no_answers(tmp_path):
    assert trained_pairs(tmp_path / "pairs.json", [], TrainPart()) == {}
    (tmp_path / "pairs.json").write_text('{"beta": 0.1, "pairs": []}')
    assert trained_pairs(tmp_path / "pairs.json", [], TrainPart()) == {}
