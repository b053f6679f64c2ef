"""Everything that a judge's folder says, from its rows."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from komt.judge.findings import findings, settled

QUESTIONS = [f"q{n:02}" for n in range(30)]


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr("komt.evaluate.intervals.RESAMPLES", 200)


def scored(judge, model, level, random, repeats=1):
    return [
        {
            "question": question,
            "turn": 1,
            "model": model,
            "other": None,
            "order": "",
            "rubric": "single",
            "judge": judge,
            "repeat": repeat,
            "score": float(np.clip(np.rint(level + at % 4 + random.normal(0, 0.6)), 1, 10)),
            "verdict": None,
            "answer": "답" * int(random.integers(20, 400)),
        }
        for at, question in enumerate(QUESTIONS)
        for repeat in range(repeats)
    ]


def paired(judge, verdicts):
    return [
        {
            "question": question,
            "turn": 1,
            "model": "new",
            "other": "old",
            "order": order,
            "rubric": "pair",
            "judge": judge,
            "repeat": 0,
            "score": None,
            "verdict": verdict,
        }
        for question, both in zip(QUESTIONS, verdicts, strict=True)
        for order, verdict in zip(("ab", "ba"), both, strict=True)
    ]


def answers():
    return [
        {"id": q, "model": model, "turns": [f"질문 {q}"], "answers": [f"{model} {q} " + "답" * (at * size)]}
        for at, q in enumerate(QUESTIONS)
        for model, size in (("new", 9), ("old", 4))
    ]


def test_scores_of_two_judges():
    random = np.random.default_rng(0)
    rows = [*scored("first", "new", 5, random, repeats=2), *scored("first", "old", 3, random, repeats=2)]
    rows += [*scored("second", "new", 5.5, random), *scored("second", "old", 3.5, random)]
    rows.append({**rows[0], "score": None})
    found = findings(rows)
    assert [(one.rubric, one.judge) for one in found.judges] == [("single", "first"), ("single", "second")]
    first, second = found.judges
    assert [(row.model, row.first, row.last) for row in first.ranking.rows] == [("new", 1, 1), ("old", 2, 2)]
    # Both models' repeats count, each about the mean of its own.
    assert first.spread.n == 60
    assert 0.4 < first.spread.value < 0.9
    assert (second.spread, first.position) == (None, None)
    assert first.length.n == 120
    assert first.length.low < 0 < first.length.high
    (between,) = found.between
    assert (between.first, between.second, between.verdicts) == ("first", "second", None)
    assert between.scores.n == 60
    assert between.scores.spearman.value > 0.6
    assert between.scores.stricter.value == pytest.approx(-0.5, abs=0.2)
    assert found.alpha["single"].n == 60
    assert found.alpha["single"].value > 0.5
    assert found.votes == {}


def test_pairs_of_two_judges_and_votes():
    sure = [("a", "a")] * 20 + [("a", "b")] * 6 + [("b", "b")] * 3 + [("a", None)]
    rows = [*paired("sure", sure), *paired("other", [("a", "a")] * 15 + [("b", "b")] * 15)]
    votes = [
        {"prompt": row["turns"][0], "chosen": row["answers"][0], "rejected": old["answers"][0]}
        for row, old in zip(answers()[::2], answers()[1::2], strict=True)
    ]
    found = findings(rows, answers(), votes)
    first = found.judges[0]
    assert (first.position.value, first.position.n, first.position.unread) == (pytest.approx(6 / 29), 29, 1)
    assert [row.model for row in first.ranking.rows] == ["new", "old"]
    assert first.length.n == 29
    assert found.between[0].verdicts.equal.value == pytest.approx((15 + 3) / 29)
    assert found.between[0].scores is None
    assert found.alpha == {}
    assert found.votes["sure"].value == pytest.approx((20 + 3) / 29)
    assert (found.votes["sure"].ties, found.votes["sure"].missing) == (6, 1)
    assert found.votes["other"].value == 0.5
    counts = list(settled(rows[:60]).values())
    assert [counts.count(verdict) for verdict in ("a", "tie", "b", None)] == [20, 6, 3, 1]


def test_scores_are_verdicts_on_votes_too():
    rows = [
        {**row, "rubric": "single", "other": None, "score": 8.0 if row["model"] == "new" else 5.0}
        for model in ("new", "old")
        for row in scored("judge", model, 5, np.random.default_rng(1))
    ]
    votes = [
        {"prompt": "질문 q03", "chosen": answers()[7]["answers"][0], "rejected": answers()[6]["answers"][0]}
    ]
    found = findings(rows, answers(), votes)
    # The person chose the old model's answer, the judge gave the new one more points.
    assert (found.votes["judge"].value, found.votes["judge"].n) == (0, 1)


def test_findings_go_into_json_and_little_says_little():
    random = np.random.default_rng(2)
    rows = [*scored("one", "m", 5, random), *paired("one", [("a", "b")] * 30)]
    found = findings(rows, answers())
    text = json.dumps(asdict(found), ensure_ascii=False, allow_nan=False)
    assert '"spread": null' in text
    single, pair = found.judges
    assert (single.ranking, single.spread, single.length, found.between) == (None, None, None, ())
    # All verdicts turned with the order: no strength, no separation.
    assert pair.position.value == 1
    assert [row.value for row in pair.ranking.rows] == pytest.approx([0, 0])
    assert pair.ranking.separable_neighbours == 0
    assert findings([]).judges == ()
