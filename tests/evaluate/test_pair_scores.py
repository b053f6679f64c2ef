"""Held-out pairs as rows of scores.json, in the form that reports read."""

import json

import pytest

from komt.evaluate.pairs import pair_scores
from komt.mix import Manifest, TaskCounts
from komt.mix.manifest import Evaluation


@pytest.fixture
def scored(tmp_path):
    """Rows of four pairs: tuned and base log-probabilities, tokens of the answers."""
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
    held = Evaluation(split="test", read=4, examples=4)
    counts = TaskCounts(source="own", licence="own", origin="native", evaluation=held)
    manifest = Manifest(
        examples=4,
        tasks={"toy": counts},
        seed=0,
        resplit=[],
        comparable=True,
        licences=[],
        inputs={},
        version=3,
    )
    return pair_scores(path, manifest)


def test_values_and_gains(scored):
    values = {(row["model"], row["metric"]): row["value"] for row in scored}
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


def test_without_held_out_pairs_there_are_no_rows(tmp_path):
    manifest = Manifest(
        examples=0, tasks={}, seed=0, resplit=[], comparable=True, licences=[], inputs={}, version=3
    )
    assert pair_scores(tmp_path / "pairs.json", manifest) == []
