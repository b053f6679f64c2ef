"""Scores of held-out preference pairs: is the chosen answer likelier, and more so than before training?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from komt.evaluate.intervals import Estimate, bootstrap, mean_of, paired_bootstrap
from komt.evaluate.scores import Row
from komt.mix import Manifest

# Shares of pairs: the whole chosen answer is likelier than the rejected one; it is so per token.
_LIKELIER = ("pair_accuracy", "pair_accuracy_norm")


def pair_scores(path: Path, manifest: Manifest, *, seed: int = 0) -> list[Row]:
    """Rows of `scores.json` for what a training wrote of its held-out pairs, by task; [] where it wrote none.

    Of `base` (the policy that training started from) and `tuned`: `pair_accuracy` and `pair_accuracy_norm`,
    with the tuned model's gain; of `tuned` besides `reward_accuracy`, the share of pairs whose chosen answer
    gained more than the rejected one, and `reward_margin`, beta times by how much (nats).

    Args:
        path: of `pairs.json`.
        manifest: of the data, which tells splits and whether they are the official ones.
        seed: of the bootstrap, in which pairs on one prompt are drawn together.
    """
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    tasks = dict.fromkeys(pair["task"] for pair in found["pairs"])
    return [row for task in tasks for row in _rows(task, found, manifest, seed)]


def _rows(task: str, found: Mapping[str, Any], manifest: Manifest, seed: int) -> list[Row]:
    pairs = [pair for pair in found["pairs"] if pair["task"] == task]
    groups = [pair["group"] for pair in pairs]
    tokens, tuned, base = (
        np.array([pair[name] for pair in pairs], np.float64) for name in ("tokens", "log_probs", "reference")
    )
    by_model = {
        model: dict(zip(_LIKELIER, (_prefers(values), _prefers(values / tokens)), strict=True))
        for model, values in (("base", base), ("tuned", tuned))
    }
    gained = (tuned - base)[:, 0] - (tuned - base)[:, 1]
    by_model["tuned"] |= {
        "reward_accuracy": (gained > 0).astype(np.float64),
        "reward_margin": found["beta"] * gained,
    }
    about = manifest.tasks[task]
    rows = []
    for model, metrics in by_model.items():
        for metric, values in metrics.items():
            row = _row(model, task, metric, bootstrap(mean_of(values), len(pairs), seed=seed, groups=groups))
            row["split"] = about.evaluation.split if about.evaluation else ""
            row["comparable"] = about.source not in manifest.resplit
            row["flags"] = [] if row["comparable"] else ["resplit"]
            if model == "tuned" and metric in _LIKELIER:
                other = mean_of(by_model["base"][metric])
                gain = paired_bootstrap(mean_of(values), other, len(pairs), seed=seed, groups=groups)
                row["gain"] = {"base": _bounds(gain)}
            rows.append(row)
    return rows


def _prefers(values: Any) -> Any:
    return (values[:, 0] > values[:, 1]).astype(np.float64)


def _bounds(estimate: Estimate) -> Row:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def _row(model: str, task: str, metric: str, estimate: Estimate) -> Row:
    return {
        "model": model,
        "task": task,
        "split": "",
        "shots": 0,
        "metric": metric,
        "by": "loglikelihood",
        "order": "",
        **_bounds(estimate),
        "unscored": 0,
        "ended": estimate.n,
        "contaminated": 0,
        "limit": None,
    }
