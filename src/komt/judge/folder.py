"""A judge's folder: judgements.jsonl, a line a call; scores.json; answers.jsonl; judge.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from komt.files import write_atomic, write_json
from komt.judge.bradley_terry import WinShare, settle_orders, win_matrix
from komt.judge.budget import Prices
from komt.judge.call import Reply
from komt.judge.items import Answered, as_row
from komt.judge.plan import Planned
from komt.judge.read_reply import read_score
from komt.judge.read_verdict import Verdict, read_verdict
from komt.judge.statistics import MeanScore, mean_score

Row = dict[str, Any]
_FLIPPED: dict[Verdict | None, Verdict | None] = {"a": "b", "b": "a", "tie": "tie", None: None}


def judgement(planned: Planned, reply: Reply, judge: str, prices: Prices | None) -> Row:
    """A line of judgements.jsonl: what a reply says of what was planned."""
    rubric, item = planned.rubric, planned.item
    row: Row = {
        "question": item.question.id,
        "category": item.question.category,
        "turn": rubric.turn,
        "model": item.model,
        "other": planned.other.model if planned.other else None,
        "order": planned.order,
        "rubric": rubric.name,
        "judge": judge,
        "repeat": planned.repeat,
        "score": None,
        "verdict": None,
    }
    if rubric.kind == "pair":
        verdict = read_verdict(reply.text, cut=reply.cut)
        # The reply's A is the answer that was shown first.
        row["verdict"] = verdict.verdict if planned.order != "ba" else _FLIPPED[verdict.verdict]
        row["reason"] = verdict.reason
    else:
        reading = read_score(reply.text, rubric.low, rubric.high, cut=reply.cut)
        row["score"], row["reason"] = reading.score, reading.reason
    return row | {
        "reply": reply.text,
        "cut": reply.cut,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cost": prices.of_reply(planned.call, reply) if prices else None,
        "seconds": round(reply.seconds, 3),
        "answer": item.answers[rubric.turn - 1],
        "key": planned.call.key,
    }


def score_rows(judgements: Sequence[Row], scales: Mapping[str, tuple[float, float]], split: str) -> list[Row]:
    """Rows of scores.json: each model's mean under each rubric, its 95 % interval over questions.

    Args:
        judgements: lines of judgements.jsonl; those that could not be read are counted and left out.
        scales: the scale of each rubric that gives scores.
        split: what the questions are called.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for one in judgements:
        if one["rubric"] in scales:
            groups.setdefault((one["model"], one["rubric"], one["judge"]), []).append(one)
    rows = []
    for (model, rubric, judge), members in groups.items():
        mean = mean_score([(one["question"], one["turn"], one["score"]) for one in members])
        row = _row(model, rubric, judge, split, "judge_score", mean)
        rows.append({**row, "n": mean.n, "unscored": mean.unscored, "scale": list(scales[rubric])})
    return rows


def pair_rows(judgements: Sequence[Row], split: str) -> list[Row]:
    """Rows of scores.json for pairs: the share of wins, ties counted half, both orders settled first."""
    rows = []
    groups: dict[tuple[str, str], list[Row]] = {}
    for one in judgements:
        if one["other"] is not None:
            groups.setdefault((one["rubric"], one["judge"]), []).append(one)
    for (rubric, judge), members in groups.items():
        settled = [
            (q, a, b, settle_orders(ab, ba)) for (q, a, b, _), (ab, ba) in both_orders(members).items()
        ]
        shares: dict[tuple[str, str], WinShare | None] = {(a, b): None for _, a, b, _ in settled}
        shares |= {(share.model, share.other): share for share in win_matrix(settled)}
        for (model, other), share in shares.items():
            unread = sum(verdict is None and {a, b} == {model, other} for _, a, b, verdict in settled)
            row = _row(model, rubric, judge, split, "win_rate", share)
            counts = {name: getattr(share, name, 0) for name in ("n", "wins", "ties", "losses")}
            rows.append({**row, **counts, "unscored": unread, "other": other})
    return rows


def both_orders(judgements: Sequence[Row]) -> dict[tuple[str, str, str, int], tuple[str | None, str | None]]:
    """Of each (question, model, other, repeat) the verdicts with the model's answer first and second."""
    found: dict[tuple[str, str, str, int], dict[str, str | None]] = {}
    for one in judgements:
        if one["other"] is not None:
            key = (one["question"], one["model"], one["other"], one["repeat"])
            found.setdefault(key, {})[one["order"]] = one["verdict"]
    return {key: (verdicts.get("ab"), verdicts.get("ba")) for key, verdicts in found.items()}


def _row(
    model: str, rubric: str, judge: str, split: str, metric: str, found: MeanScore | WinShare | None
) -> Row:
    return {
        "model": model,
        "task": f"judge:{rubric}",
        "split": split,
        "shots": 0,
        "metric": metric,
        "value": found.value if found else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "n": 0,
        "unscored": 0,
        "judge": judge,
        "by": "judge",
    }


def write_folder(
    folder: Path,
    judgements: Sequence[Row],
    scores: Sequence[Row],
    answers: Sequence[Answered],
    about: Mapping[str, Any],
) -> None:
    """Write the folder's files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "answers.jsonl", lines([as_row(one) for one in answers]))
    write_atomic(folder / "judgements.jsonl", lines(judgements))
    write_json(folder / "scores.json", list(scores))
    write_json(folder / "judge.json", dict(about))


def lines(rows: Sequence[Row]) -> str:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
