"""Where one model is better or worse than another, by task, and the examples that changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from komt.errors import UsageError, did_you_mean
from komt.evaluate.intervals import differs, paired_bootstrap
from komt.evaluate.metrics import Score
from komt.evaluate.scores import statistic_of
from komt.evaluate.show import worth
from komt.judge.findings import settled
from komt.judge.statistics import Mark, paired_difference
from komt.report.read import Report, Row

Verdict = Literal["better", "worse", "unclear", "incomparable"]
# Metrics of which less is better; all others: more.
LESS_IS_BETTER = frozenset({"perplexity", "pair_loss", "rejected_log_prob", "rejected_log_prob_norm"})
_MEANS = frozenset({"exact_match", "f1", "accuracy"})
_BY_JUDGES = frozenset({"judge_score", "win_rate"})
_CHANGED = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """A task, order and metric: B against A on the examples that both have answered.

    Attributes:
        first, second: values of A and B as their scores say; None where one has none.
        value, low, high: B less A, paired, with its 95 % interval; None where they share no example.
        n: examples that both have.
        verdict: of B: better or worse where a difference shows; incomparable where nothing is shared.
        alike: whether both were asked in the same way (by generation or by log-likelihood).
        about: the opponent and the judge, where several make it necessary to say (`told_apart`).
    """

    task: str
    order: str
    metric: str
    first: float | None
    second: float | None
    value: float | None
    low: float | None
    high: float | None
    n: int
    verdict: Verdict
    alike: bool = True
    about: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A.

    Attributes:
        changes: by task, order and metric.
        gained, lost: pairs of answers (A's, B's) that went from wrong to right, and from right to wrong.
    """

    first: str
    second: str
    changes: tuple[Change, ...]
    gained: tuple[tuple[Row, Row], ...]
    lost: tuple[tuple[Row, Row], ...]

    def count(self, verdict: Verdict) -> int:
        """How many of the changes have a verdict."""
        return sum(change.verdict == verdict for change in self.changes)


def compare(report: Report, first: str, second: str, *, seed: int = 0) -> Comparison:
    """Compare two models of a report on the examples that both have answered (paired bootstrap).

    Args:
        report: with the answers of both.
        first: A's name as the tables show it, or a folder with one model.
        second: B's.
        seed: of the resamples.

    Raises:
        UsageError: a name that is no model, or both the same one.
    """
    one, other = model_named(report, first), model_named(report, second)
    if one == other:
        raise UsageError(f"--compare: both are '{one}'", cure=f"two of: {', '.join(report.models)}")
    mine, theirs = _answers_of(report, one), _answers_of(report, other)
    scores = {
        (r["model"], r["task"], r.get("order", ""), r["metric"], r.get("about", "")): r for r in report.scores
    }
    keys = [key[1:] for key in scores if key[0] == one and (other, *key[1:]) in scores]
    changes = []
    for task, order, metric, about in dict.fromkeys(keys):
        rows = scores[one, task, order, metric, about], scores[other, task, order, metric, about]
        if metric in _BY_JUDGES:
            change = _judged(report, (one, other), (task, order, metric), rows, seed)
            changes.append(replace(change, about=about))
            continue
        pairs = [
            (mine[key], theirs[key])
            for key in mine
            if key[:2] == (task, order) and key in theirs and _paired(mine[key], theirs[key], metric)
        ]
        changes.append(replace(_change((task, order, metric), rows, pairs, seed), about=about))
    changed = [(mine[key], theirs[key]) for key in mine if key in theirs]
    gained = [pair for pair in changed if _step(pair) >= _CHANGED]
    lost = [pair for pair in changed if _step(pair) <= -_CHANGED]
    return Comparison(one, other, tuple(changes), tuple(gained), tuple(lost))


def model_named(report: Report, name: str) -> str:
    """The model that a person means: by its name, or by a folder that holds one.

    Raises:
        UsageError: none, or several.
    """
    models = report.models
    if name in models:
        return name
    wanted = name.rstrip("/")
    for folder in report.folders:
        if wanted in {folder.label, str(folder.path)}:
            own = list(dict.fromkeys(row["model"] for row in report.scores if row["folder"] == folder.label))
            if "tuned" in {row["model"] for row in folder.scores}:
                own = [model for model in own if model in {"tuned", f"{folder.label}: tuned"}]
            if len(own) == 1:
                return str(own[0])
    ends = [model for model in models if model.rpartition(": ")[2] == name]
    if len(ends) == 1:
        return ends[0]
    many = "several models are" if ends else "no model is"
    raise UsageError(
        f"--compare: {many} called '{name}'{did_you_mean(name, models)}", cure=f"one of: {', '.join(models)}"
    )


def _score(row: Row, metric: str) -> Score:
    details = dict(row.get("details", {}).get(metric, {}))
    if "parts" in details:
        details["parts"] = tuple(details["parts"])
    known = {name: details[name] for name in ("expected", "chosen", "parts") if name in details}
    return Score(row["scores"][metric], **known)


def _answers_of(report: Report, model: str) -> dict[tuple[str, str, str], Row]:
    return {
        (row["task"], row.get("order", ""), row["id"]): row for row in report.answers if row["model"] == model
    }


def _paired(one: Row, other: Row, metric: str) -> bool:
    """Whether both are scored, and hold all that the metric's statistic needs."""
    if any(row["scores"].get(metric) is None for row in (one, other)):
        return False
    # Answers of before `by` was written lack what other metrics' statistics need.
    return all("by" in row for row in (one, other)) or metric in _MEANS


def _judged(
    report: Report, models: tuple[str, str], key: tuple[str, str, str], rows: tuple[Row, Row], seed: int
) -> Change:
    """Two models' scores, or wins, by a judge, on the questions that both were judged on."""
    rubric, marks_of = key[0].partition(":")[2], _wins if key[2] == "win_rate" else _marks
    marks = [marks_of(report, model, rubric, of) for model, of in zip(models, rows, strict=True)]
    found = paired_difference(*marks, seed=seed)
    values = rows[0]["value"], rows[1]["value"]
    # An opponent that stands in both folders is called by folder and name.
    others = [str(of.get("other", "")).removeprefix(f"{of.get('folder')}: ") for of in rows]
    same = others[0] == others[1] or [of.get("other") for of in rows] == [models[1], models[0]]
    alike = same and rows[0].get("judge") == rows[1].get("judge")
    if found.value is None or found.low is None or found.high is None:
        return Change(*key, *values, None, None, None, 0, "incomparable", alike)
    verdict = verdict_of(key[2], found.low, found.high, found.n)
    return Change(*key, *values, found.value, found.low, found.high, found.n, verdict, alike)


def _marks(report: Report, model: str, rubric: str, of: Row) -> list[Mark]:
    """The scores that a model's answers got from one judge."""
    return [
        (row["question"], row.get("turn", 1), row["score"])
        for row in report.judgements
        if (row["model"], row["rubric"], row["judge"]) == (model, rubric, of.get("judge"))
    ]


def _wins(report: Report, model: str, rubric: str, of: Row) -> list[Mark]:
    """How far a model won each question against one opponent: 1, a half for a tie, 0; None unread."""
    rows = [
        row
        for row in report.judgements
        if (row["rubric"], row["judge"]) == (rubric, of.get("judge"))
        and {row["model"], row.get("other")} == {model, of.get("other")}
    ]
    worths: dict[str | None, float | None] = {"a": 1.0, "b": 0.0, "tie": 0.5, None: None}
    found: list[Mark] = []
    for (question, turn, first, _, _), verdict in settled(rows).items():
        won = worths[verdict]
        found.append((question, turn, won if won is None or first == model else 1.0 - won))
    return found


def _change(
    key: tuple[str, str, str], rows: tuple[Row, Row], pairs: Sequence[tuple[Row, Row]], seed: int
) -> Change:
    values = rows[0]["value"], rows[1]["value"]
    alike = rows[0].get("by") == rows[1].get("by")
    if not pairs:
        return Change(*key, *values, None, None, None, 0, "incomparable", alike)
    here = statistic_of(key[2], [_score(second, key[2]) for _, second in pairs])
    there = statistic_of(key[2], [_score(first, key[2]) for first, _ in pairs])
    groups = [str(first.get("group") or first["id"]) for first, _ in pairs]
    found = paired_bootstrap(here, there, len(pairs), seed=seed, groups=groups)
    return Change(
        *key,
        *values,
        found.value,
        found.low,
        found.high,
        found.n,
        verdict_of(key[2], found.low, found.high, found.n),
        alike,
    )


def verdict_of(metric: str, low: float, high: float, n: int) -> Verdict:
    """What an interval of differences of n examples says."""
    if not differs(low, high, n):
        return "unclear"
    return "better" if (low > 0) != (metric in LESS_IS_BETTER) else "worse"


def _step(pair: tuple[Row, Row]) -> float:
    """How much better the second answer is than the first, by the first metric."""
    first, second = (worth(row) for row in pair)
    return 0.0 if first is None or second is None else second - first
