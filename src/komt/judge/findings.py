"""All that the rows of a judge's folder say of models and of the judges, in one call.

    # Rows of judgements.jsonl, of answers.jsonl, and of the votes of the page.
    found = findings(judgements, answers, votes)
    for one in found.judges:                         # one for each rubric and judge
        one.ranking, one.spread, one.position, one.length
    for pair in found.between: ...                   # two judges under one rubric
    found.alpha["single"], found.votes["gpt-x"]      # several judges; a judge and people

Each part is None or absent where the rows say nothing of it. All are frozen dataclasses, fit for
`dataclasses.asdict` and JSON. `statistics`, `ranks`, `bias` and `agreement` say what the figures mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from komt.judge.agreement import (
    Agreement,
    ScoreAgreement,
    VerdictAgreement,
    VoteAgreement,
    alpha,
    score_agreement,
    verdict_agreement,
    verdict_of_scores,
    vote_agreement,
)
from komt.judge.bias import (
    LengthBias,
    PositionBias,
    length_bias_of_scores,
    length_bias_of_verdicts,
    position_bias,
)
from komt.judge.bradley_terry import bradley_terry, settle_orders
from komt.judge.ranks import Ranking, rank_groups, rank_groups_of_pairs
from komt.judge.statistics import Mark, Spread, spread

Row = Mapping[str, Any]
# (question, turn, model): an answer. (question, turn, model, other, repeat): two, compared.
Place = tuple[str, int, str]
Pair = tuple[str, int, str, str, int]


@dataclass(frozen=True, slots=True)
class JudgeFindings:
    """What one judge said under one rubric, and what sways it.

    Attributes:
        ranking: the models by mean score, or by strength where pairs were judged; None for one model.
        spread: of repeated scores of the same answer.
        position: of pairs asked in both orders.
        length: points of score, or share of wins, for each doubling of the answer's length.
    """

    rubric: str
    judge: str
    ranking: Ranking | None
    spread: Spread | None
    position: PositionBias | None
    length: LengthBias | None


@dataclass(frozen=True, slots=True)
class BetweenJudges:
    """How far two judges agree under one rubric: in scores or in settled verdicts."""

    rubric: str
    first: str
    second: str
    scores: ScoreAgreement | None
    verdicts: VerdictAgreement | None


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings; `alpha` by rubric (two judges or more), `votes` by judge."""

    judges: tuple[JudgeFindings, ...]
    between: tuple[BetweenJudges, ...]
    alpha: dict[str, Agreement]
    votes: dict[str, VoteAgreement]


def findings(
    judgements: Sequence[Row], answers: Sequence[Row] = (), votes: Sequence[Row] = (), *, seed: int = 0
) -> Findings:
    """Everything that can be said of judgements.

    Args:
        judgements: lines of judgements.jsonl, of one folder or several.
        answers: lines of answers.jsonl: `id, model, turns, answers`. Length bias of pairs and votes need
            them.
        votes: people's votes of the page: `prompt, chosen, rejected`.
        seed: of the resamples.

    Raises:
        MissingExtra: two judges are to be compared and komt[eval] is not installed.
    """
    groups: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in judgements:
        groups[row["rubric"], row["judge"]].append(row)
    texts = {
        (row["id"], turn, row["model"]): text
        for row in answers
        for turn, text in enumerate(row["answers"], 1)
    }
    alone = [_of_judge(*names, rows, texts, seed) for names, rows in groups.items()]
    rubrics: defaultdict[str, dict[str, list[Row]]] = defaultdict(dict)
    for (rubric, judge), rows in groups.items():
        rubrics[rubric][judge] = rows
    between = [
        _between(rubric, (one, other), judges, seed)
        for rubric, judges in rubrics.items()
        for one, other in combinations(sorted(judges), 2)
    ]
    several = {rubric: _alpha(judges, seed) for rubric, judges in rubrics.items() if len(judges) > 1}
    return Findings(
        tuple(alone),
        tuple(between),
        {rubric: found for rubric, found in several.items() if found.n},
        _votes(votes, groups, answers, texts, seed),
    )


def settled(rows: Sequence[Row]) -> dict[Pair, str | None]:
    """One verdict of each compared pair, from both orders: see `settle_orders`."""
    return {pair: settle_orders(*verdicts) for pair, verdicts in _orders(rows).items()}


def _orders(rows: Sequence[Row]) -> dict[Pair, tuple[str | None, str | None]]:
    found: defaultdict[Pair, dict[str, str | None]] = defaultdict(dict)
    for row in rows:
        if row.get("other"):
            pair = (row["question"], row["turn"], row["model"], row["other"], row["repeat"])
            found[pair][row["order"]] = row["verdict"]
    return {pair: (verdicts.get("ab"), verdicts.get("ba")) for pair, verdicts in found.items()}


def _of_judge(
    rubric: str, judge: str, rows: Sequence[Row], texts: Mapping[Place, str], seed: int
) -> JudgeFindings:
    if any(row.get("other") for row in rows):
        orders, verdicts = _orders(rows), settled(rows)
        strengths = bradley_terry([(q, a, b, v) for (q, _, a, b, _), v in verdicts.items()], seed=seed)
        ranking = rank_groups_of_pairs(strengths) if strengths.rows else None
        position = position_bias([(pair[0], *two) for pair, two in orders.items()], seed=seed)
        lengths = [
            (q, a, b, len(texts[q, turn, a]), len(texts[q, turn, b]), verdict)
            for (q, turn, a, b, _), verdict in verdicts.items()
            if (q, turn, a) in texts and (q, turn, b) in texts
        ]
        return JudgeFindings(
            rubric, judge, ranking, None, position, length_bias_of_verdicts(lengths, seed=seed)
        )
    marks: defaultdict[str, list[Mark]] = defaultdict(list)
    for row in rows:
        marks[row["model"]].append((row["question"], row["turn"], row["score"]))
    ranking = rank_groups(marks, seed=seed) if len(marks) > 1 else None
    # Every model's turns are turns of their own: their repeats vary about their own means.
    places = {place: at for at, place in enumerate(sorted({(row["model"], row["turn"]) for row in rows}))}
    repeats = [(row["question"], places[row["model"], row["turn"]], row["score"]) for row in rows]
    scored = [
        (f"{row['question']}/{row['turn']}", row["model"], len(row.get("answer") or ""), row["score"])
        for row in rows
    ]
    length = length_bias_of_scores(scored, seed=seed)
    return JudgeFindings(rubric, judge, ranking, spread(repeats, seed=seed), None, length)


def _scores(rows: Sequence[Row]) -> dict[Place, float]:
    """The mean score of each answer over its repeats."""
    found: defaultdict[Place, list[float]] = defaultdict(list)
    for row in rows:
        if row["score"] is not None:
            found[row["question"], row["turn"], row["model"]].append(row["score"])
    return {place: float(np.mean(scores)) for place, scores in found.items()}


def _between(
    rubric: str, names: tuple[str, str], judges: Mapping[str, Sequence[Row]], seed: int
) -> BetweenJudges:
    one, other = (judges[name] for name in names)
    verdicts = settled(one), settled(other)
    pairs = sorted(verdicts[0].keys() & verdicts[1].keys())
    scores = _scores(one), _scores(other)
    places = sorted(scores[0].keys() & scores[1].keys())
    return BetweenJudges(
        rubric,
        *names,
        score_agreement([p[0] for p in places], *([s[p] for p in places] for s in scores), seed=seed)
        if places
        else None,
        verdict_agreement([p[0] for p in pairs], *([v[p] for p in pairs] for v in verdicts), seed=seed)
        if pairs
        else None,
    )


def _alpha(judges: Mapping[str, Sequence[Row]], seed: int) -> Agreement:
    scores = [_scores(rows) for rows in judges.values()]
    places = sorted({place for found in scores for place in found})
    return alpha([p[0] for p in places], [[found.get(p) for p in places] for found in scores], seed=seed)


def _votes(
    votes: Sequence[Row],
    groups: Mapping[tuple[str, str], Sequence[Row]],
    answers: Sequence[Row],
    texts: Mapping[Place, str],
    seed: int,
) -> dict[str, VoteAgreement]:
    """A judge's verdicts on pairs, and those that its scores of two answers amount to, against the votes."""
    asked = {(row["id"], turn): text for row in answers for turn, text in enumerate(row["turns"], 1)}
    judged: defaultdict[str, list[tuple[str, str, str, str | None]]] = defaultdict(list)
    for (_, judge), rows in groups.items():
        verdicts = [((q, turn), a, b, v) for (q, turn, a, b, _), v in settled(rows).items()]
        scores = _scores(rows)
        for one, other in combinations(scores, 2):
            if one[:2] == other[:2]:
                verdicts.append((one[:2], one[2], other[2], verdict_of_scores(scores[one], scores[other])))
        judged[judge] += [
            (asked[q, turn], texts[q, turn, a], texts[q, turn, b], verdict)
            for (q, turn), a, b, verdict in verdicts
            if (q, turn, a) in texts and (q, turn, b) in texts
        ]
    found = {judge: vote_agreement(votes, rows, seed=seed) for judge, rows in judged.items()}
    return {judge: agreement for judge, agreement in found.items() if agreement.n}
