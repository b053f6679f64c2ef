"""Rows of `scores.json`: what answers are worth, with intervals, gains and flags; written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from komt.evaluate.choose import group_of
from komt.evaluate.intervals import Estimate, Statistic, bootstrap, mean_of, paired_bootstrap
from komt.evaluate.metrics import METRICS, Score
from komt.evaluate.run import Answered
from komt.files import write_atomic, write_json

Row = dict[str, Any]


def scores_of(
    answered: Sequence[Answered],
    *,
    against: Sequence[Sequence[Answered]] = (),
    comparable: bool | Mapping[str, bool] = True,
    limits: Mapping[str, int] | None = None,
    seed: int = 0,
) -> list[Row]:
    """Rows of `scores.json` for one model's answers: one per task, order and metric, with 95 % intervals.

    Args:
        answered: of one model, any number of tasks.
        against: other models' answers; under `gain` and the other's name a row gets the difference, with its
            paired interval, over the examples that both have answered.
        comparable: whether the split is the official one, so that published results compare; or by task.
        limits: of the tasks that have more rows than were scored, how many were asked for.
        seed: of the bootstrap.
    """
    rows = []
    for task, order in dict.fromkeys((one.example.task, one.order) for one in answered):
        own = [one for one in answered if (one.example.task, one.order) == (task, order)]
        for metric in own[0].scores:
            row = _score_row(own, metric, seed)
            row["comparable"] = comparable if isinstance(comparable, bool) else comparable.get(task, True)
            row["limit"] = (limits or {}).get(task)
            row["flags"] = [
                flag
                for flag, raised in (
                    ("resplit", not row["comparable"]),
                    ("contaminated", row["contaminated"]),
                    ("limited", row["limit"]),
                )
                if raised
            ]
            gains = {
                other[0].model: gain
                for other in against
                if other and (gain := gain_of(own, other, metric, seed=seed))
            }
            rows.append({**row, "gain": gains} if gains else row)
    return rows


def statistic_of(metric: str, scores: Sequence[Score]) -> Statistic:
    """What a set of scored answers is worth; the mean by what scores no text (pairs), or is not known."""
    if metric in METRICS:
        return METRICS.get(metric).statistic(scores)
    return mean_of([float(score.value or 0) for score in scores])


def gain_of(
    answered: Sequence[Answered], other: Sequence[Answered], metric: str, *, seed: int = 0
) -> Row | None:
    """The difference of two models on the examples that both have scored; None where there are none."""
    theirs = {(one.example.id, one.order): one.scores[metric] for one in other if metric in one.scores}
    pairs = [
        (one, theirs[one.example.id, one.order])
        for one in answered
        if (one.example.id, one.order) in theirs
        and one.scores[metric].value is not None
        and theirs[one.example.id, one.order].value is not None
    ]
    if not pairs:
        return None
    here = statistic_of(metric, [one.scores[metric] for one, _ in pairs])
    there = statistic_of(metric, [score for _, score in pairs])
    groups = [group_of(one.example) for one, _ in pairs]
    return _as_row(paired_bootstrap(here, there, len(pairs), seed=seed, groups=groups))


def _score_row(answered: Sequence[Answered], metric: str, seed: int) -> Row:
    first = answered[0]
    usable = [one for one in answered if one.scores[metric].value is not None]
    scored = [one.scores[metric] for one in usable]
    row: Row = {
        "model": first.model,
        "task": first.example.task,
        "split": first.example.split,
        "shots": first.shots,
        "metric": metric,
        "by": first.by,
        "order": first.order,
        **{"value": None, "low": None, "high": None, "n": 0},
        "unscored": len(answered) - len(scored),
    }
    row |= _estimate(usable, metric, seed)
    if any(one.chosen is not None for one in scored):
        row["off_label"] = sum(one.chosen == "" for one in scored)
    row["ended"] = sum(one.ended for one in answered)
    row["contaminated"] = sum(one.contaminated for one in answered)
    clean = [one for one in usable if not one.contaminated]
    if clean and row["contaminated"]:
        row["clean"] = _estimate(clean, metric, seed)
    return row


def _estimate(usable: Sequence[Answered], metric: str, seed: int) -> Row:
    if not usable:
        return {}
    statistic = statistic_of(metric, [one.scores[metric] for one in usable])
    groups = [group_of(one.example) for one in usable]
    return _as_row(bootstrap(statistic, len(usable), seed=seed, groups=groups))


def _as_row(estimate: Estimate) -> Row:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def write_scores(path: Path, rows: Sequence[Row]) -> None:
    """Write `scores.json`, whole or not at all."""
    write_json(path, list(rows))


def write_answers(folder: Path, answered: Sequence[Answered]) -> Path:
    """Write `answers-MODEL.jsonl`, one answer a line, for a person to read."""
    path = folder / f"answers-{answered[0].model.replace('/', '-')}.jsonl"
    lines = [json.dumps(answer_record(one), ensure_ascii=False) for one in answered]
    write_atomic(path, "\n".join(lines) + "\n")
    return path


def answer_record(one: Answered) -> Row:
    """An answer as a line of `answers-MODEL.jsonl`."""
    prompt = one.example.prompt
    text = prompt[0].content if len(prompt) == 1 else "\n".join(f"{m.role}: {m.content}" for m in prompt)
    details = {metric: found for metric, score in one.scores.items() if (found := _details(score))}
    return {
        "id": one.example.id,
        "task": one.example.task,
        "template": one.example.template,
        "kind": one.example.kind,
        "order": one.order,
        "shots": one.shots,
        "by": one.by,
        "group": group_of(one.example),
        "prompt": text,
        "answer": one.answer,
        "references": list(one.example.references),
        **({"rejected": one.example.rejected} if one.example.rejected else {}),
        "ended": one.ended,
        "contaminated": one.contaminated,
        "scores": {metric: found.value for metric, found in one.scores.items()},
        **({"details": details} if details else {}),
    }


def _details(score: Score) -> Row:
    """What a score holds beside its value: with it the statistic of a set can be computed again."""
    rest = {name: value for name, value in asdict(score).items() if name != "value"}
    return {name: value for name, value in rest.items() if value is not None}
