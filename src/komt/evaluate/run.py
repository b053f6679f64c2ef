"""Scoring: examples are answered, answers scored, scores written and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.evaluate.choose import group_of
from komt.evaluate.intervals import Estimate, bootstrap, paired_bootstrap
from komt.evaluate.metrics import METRICS, Score
from komt.example import Example, Message
from komt.files import write_atomic, write_json
from komt.serve.engine import Engine

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """One example, answered and scored.

    Attributes:
        model: the model's name in score tables.
        example: what was asked.
        answer: the model's text up to its end token or the length limit, stripped (see `score`).
        ended: by the end token.
        scores: by metric.
        shots: number of solved examples that were shown before.
    """

    model: str
    example: Example
    answer: str
    ended: bool
    scores: Mapping[str, Score]
    shots: int = 0


def score(
    engine: Engine,
    examples: Sequence[Example],
    *,
    name: str,
    metrics: Sequence[str] | Mapping[str, Sequence[str]],
    shots: Sequence[Example] = (),
    max_new_tokens: int = 32,
    batch_tokens: int = 4096,
    on_done: Callable[[int], None] | None = None,
) -> list[Answered]:
    """Answer examples greedily and score the answers.

    What counts is everything up to the end token or the limit: a model that rambles on is not helped by
    cutting its answer somewhere. Only after shots whose answers are one line each, the first line counts:
    a base model learns that format from them, but no end token.

    Args:
        engine: the model.
        examples: what is asked; their last supervised turn is hidden.
        name: the model's name in score tables.
        metrics: names for all examples, or by task.
        shots: solved examples shown first, as earlier turns, the same before every example.
        max_new_tokens: the longest answer.
        batch_tokens: the most tokens of prompts held at a time, shared ones counted once.
        on_done: told the place of each example that is answered.

    Raises:
        UsageError: unknown metric. DataError: a metric that does not fit the task.
    """
    by_task = {
        example.task: list(metrics[example.task] if isinstance(metrics, Mapping) else metrics)
        for example in examples
    }
    judges = {task: {metric: METRICS.get(metric) for metric in names} for task, names in by_task.items()}
    # Found now, not after an hour of decoding.
    for example in examples:
        for judge in judges[example.task].values():
            judge.score("", example)
    prompts = [engine.prompt_ids(with_shots(example, shots)) for example in examples]
    found = engine.generate(
        prompts, max_new_tokens=max_new_tokens, batch_tokens=batch_tokens, on_done=on_done
    )
    one_line = bool(shots) and all("\n" not in shot.messages[-1].content for shot in shots)
    answered = []
    for example, completion in zip(examples, found, strict=True):
        answer = completion.text.strip()
        if one_line:
            answer = answer.partition("\n")[0].strip()
        scores = {metric: judge.score(answer, example) for metric, judge in judges[example.task].items()}
        answered.append(Answered(name, example, answer, completion.ended, scores, len(shots)))
    return answered


def with_shots(example: Example, shots: Sequence[Example]) -> tuple[Message, ...]:
    """An example's prompt, with solved examples as earlier turns (after its own system message)."""
    prompt = example.prompt
    head = [message for message in prompt[:1] if message.role == "system"]
    earlier = [
        Message(message.role, message.content)
        for shot in shots
        for message in shot.messages
        if message.role != "system"
    ]
    return (*head, *earlier, *prompt[len(head) :])


def scores_of(
    answered: Sequence[Answered],
    *,
    against: Sequence[Sequence[Answered]] = (),
    comparable: bool | Mapping[str, bool] = True,
    seed: int = 0,
) -> list[Row]:
    """Rows of `scores.json` for one model's answers: one per task and metric, with 95 % intervals.

    Args:
        answered: of one model, any number of tasks.
        against: other models' answers; under `gain` and the other's name a row gets the difference, with its
            paired interval, over the examples that both have answered.
        comparable: whether the split is the official one, so that published results compare; or by task.
        seed: of the bootstrap.
    """
    rows = []
    for task in dict.fromkeys(one.example.task for one in answered):
        own = [one for one in answered if one.example.task == task]
        for metric in own[0].scores:
            row = _score_row(own, metric, seed)
            row["comparable"] = comparable if isinstance(comparable, bool) else comparable.get(task, True)
            gains = {
                other[0].model: gain
                for other in against
                if other and (gain := gain_of(own, other, metric, seed=seed))
            }
            rows.append({**row, "gain": gains} if gains else row)
    return rows


def gain_of(
    answered: Sequence[Answered], other: Sequence[Answered], metric: str, *, seed: int = 0
) -> Row | None:
    """The difference of two models on the examples that both have scored; None where there are none."""
    theirs = {one.example.id: one.scores[metric] for one in other if metric in one.scores}
    pairs = [
        (one, theirs[one.example.id])
        for one in answered
        if one.example.id in theirs
        and one.scores[metric].value is not None
        and theirs[one.example.id].value is not None
    ]
    if not pairs:
        return None
    judge = METRICS.get(metric)
    here = judge.statistic([one.scores[metric] for one, _ in pairs])
    there = judge.statistic([score for _, score in pairs])
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
        **{"value": None, "low": None, "high": None, "n": 0},
        "unscored": len(answered) - len(scored),
    }
    if scored:
        statistic = METRICS.get(metric).statistic(scored)
        groups = [group_of(one.example) for one in usable]
        row.update(_as_row(bootstrap(statistic, len(scored), seed=seed, groups=groups)))
    if any(one.chosen is not None for one in scored):
        row["off_label"] = sum(one.chosen == "" for one in scored)
    row["ended"] = sum(one.ended for one in answered)
    return row


def _as_row(estimate: Estimate) -> Row:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def write_scores(path: Path, rows: Sequence[Row]) -> None:
    """Write `scores.json`, whole or not at all."""
    write_json(path, list(rows))


def write_answers(folder: Path, answered: Sequence[Answered]) -> Path:
    """Write `answers-MODEL.jsonl`, one answer a line, for a person to read."""
    path = folder / f"answers-{answered[0].model.replace('/', '-')}.jsonl"
    lines = [json.dumps(_answer_record(one), ensure_ascii=False) for one in answered]
    write_atomic(path, "\n".join(lines) + "\n")
    return path


def _answer_record(one: Answered) -> Row:
    prompt = one.example.prompt
    text = prompt[0].content if len(prompt) == 1 else "\n".join(f"{m.role}: {m.content}" for m in prompt)
    return {
        "id": one.example.id,
        "task": one.example.task,
        "template": one.example.template,
        "kind": one.example.kind,
        "shots": one.shots,
        "prompt": text,
        "answer": one.answer,
        "references": list(one.example.references),
        "ended": one.ended,
        "scores": {metric: found.value for metric, found in one.scores.items()},
    }
