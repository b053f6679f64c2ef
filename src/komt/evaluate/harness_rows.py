"""What lm-evaluation-harness found, as rows of `scores.json` with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from komt.evaluate.intervals import bootstrap, mean_of
from komt.evaluate.metrics import MACRO_F1, Score

Row = dict[str, Any]
_NORMAL_95 = 1.96


def rows_of(found: Mapping[str, Any], *, name: str, limit: int | None, seed: int = 0) -> list[Row]:
    """A row per task (or group) and metric, under the harness's own names.

    Values are the harness's. Where they are the mean, or the macro F1, of the examples' values, intervals are
    those of komt's bootstrap; elsewhere 1.96 standard errors as the harness tells them, or none.

    Args:
        found: what `simple_evaluate` returns, with samples.
        name: the model's name in score tables.
        limit: how many rows of each task at most.
        seed: of the bootstrap.
    """
    return [
        _row(found, task, metric, filtered, name, limit, seed)
        for task, values in found["results"].items()
        for metric, filtered in _metrics(values)
    ]


def _metrics(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of a task's metrics, with the filter of the answers that each was taken from."""
    for key, value in values.items():
        metric, comma, filtered = key.partition(",")
        if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
            yield metric, filtered


def _row(
    found: Mapping[str, Any],
    task: str,
    metric: str,
    filtered: str,
    name: str,
    limit: int | None,
    seed: int,
) -> Row:
    values, config = found["results"][task], found["configs"].get(task, {})
    samples = [one for one in found["samples"].get(task, ()) if one.get("filter", "none") == filtered]
    value = float(values[f"{metric},{filtered}"])
    given = [one[metric] for one in samples if metric in one]
    low, high = _interval(value, given, seed) or _by_error(value, values.get(f"{metric}_stderr,{filtered}"))
    return {
        "model": name,
        "task": task,
        "split": str(config.get("test_split") or config.get("validation_split") or ""),
        "shots": int(found["n-shot"].get(task) or 0),
        "metric": metric if filtered == "none" else f"{metric},{filtered}",
        "value": None if math.isnan(value) else value,
        "low": low,
        "high": high,
        "n": len(given) or int(values.get("sample_len") or 0),
        "unscored": 0,
        "by": "generation" if config.get("output_type") == "generate_until" else "loglikelihood",
        "order": "",
        "flags": ["limited"] if limit else [],
        "limit": limit,
        "comparable": True,
        "harness": f"lm_eval {version('lm_eval')}",
    }


def _interval(value: float, given: Sequence[Any], seed: int) -> tuple[float, float] | None:
    """By resampling the examples, where the value follows from theirs."""
    if given and all(isinstance(one, int | float) for one in given):
        statistic = mean_of([float(one) for one in given])
    elif given and all(isinstance(one, tuple | list) and len(one) == 2 for one in given):
        pairs = [Score(None, str(gold), str(predicted)) for gold, predicted in given]
        statistic = MACRO_F1.statistic(pairs)
    else:
        return None
    estimate = bootstrap(statistic, len(given), seed=seed)
    return (estimate.low, estimate.high) if math.isclose(estimate.value, value, abs_tol=1e-9) else None


def _by_error(value: float, error: Any) -> tuple[float | None, float | None]:
    if not isinstance(error, int | float) or math.isnan(error):
        return None, None
    return value - _NORMAL_95 * error, value + _NORMAL_95 * error
