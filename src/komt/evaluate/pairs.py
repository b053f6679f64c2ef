"""Scores of held-out preference pairs: is the chosen answer likelier, and more so than before training?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from komt.evaluate.intervals import Estimate, Floats, bootstrap, mean_of, paired_bootstrap
from komt.evaluate.scores import Row
from komt.mix import Manifest
from komt.recipe import PreferencePart, TrainPart

Values = dict[str, Floats]
_CHOSEN, _REJECTED = 0, 1


def pair_values(
    tokens: Floats, log_probs: Floats, reference: Floats | None = None, train: TrainPart | None = None
) -> Values:
    """What each pair is worth by each metric; of a set of pairs the mean counts.

    `pair_accuracy`: 1 where the chosen answer is the likelier one; `chosen_log_prob`, `rejected_log_prob`:
    of the whole answers, in nats; the three with `_norm`: the same per token. Against the policy that
    training started from `reward_accuracy`: 1 where the chosen answer gained more than the rejected one,
    `reward_margin`: beta times by how much, in nats, and `pair_loss`: what training makes less, without
    its SFT term (only where `train` says what that is).

    Args:
        tokens: of both answers of each pair, end tokens included, the chosen one first, (P, 2).
        log_probs: of both answers, (P, 2).
        reference: the same by the policy that training started from.
        train: of the recipe that trained on pairs; without it beta is the recipes' default.
    """
    values: Values = {}
    for suffix, each in (("", log_probs), ("_norm", log_probs / tokens)):
        values[f"pair_accuracy{suffix}"] = (each[:, _CHOSEN] > each[:, _REJECTED]).astype(np.float64)
    if reference is not None:
        gained = log_probs - reference
        more = gained[:, _CHOSEN] - gained[:, _REJECTED]
        beta = (train.preference if train else PreferencePart()).beta
        values |= {"reward_accuracy": (more > 0).astype(np.float64), "reward_margin": beta * more}
        if train and train.objective != "sft":
            values["pair_loss"] = _losses(train, gained, tokens)
    for suffix, each in (("", log_probs), ("_norm", log_probs / tokens)):
        values[f"chosen_log_prob{suffix}"] = each[:, _CHOSEN]
        values[f"rejected_log_prob{suffix}"] = each[:, _REJECTED]
    return values


def _losses(train: TrainPart, gained: Floats, tokens: Floats) -> Floats:
    import torch

    from komt.train.preference import pair_losses

    ratios, lengths = (torch.from_numpy(each).unbind(1) for each in (gained, tokens))
    found: Floats = pair_losses(train.objective, train.preference, *ratios, *lengths).numpy()
    return found


def pair_scores(
    path: Path, manifest: Manifest, *, train: TrainPart | None = None, seed: int = 0
) -> list[Row]:
    """Rows of `scores.json` for what a training wrote of its held-out pairs, by task; [] where it wrote none.

    Of `base` (the policy that training started from) and `tuned` the metrics of `pair_values`, with the
    tuned model's gain; what compares with the start is of `tuned` alone.

    Args:
        path: of `pairs.json`.
        manifest: of the data, which tells splits and whether they are the official ones.
        train: of the recipe; without it there is no `pair_loss`.
        seed: of the bootstrap, in which pairs on one prompt are drawn together.
    """
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    tasks = dict.fromkeys(pair["task"] for pair in found["pairs"])
    train = train or TrainPart(preference=PreferencePart(beta=found["beta"]))
    return [row for task in tasks for row in _rows(task, found["pairs"], manifest, train, seed)]


def _rows(task: str, every: Sequence[Row], manifest: Manifest, train: TrainPart, seed: int) -> list[Row]:
    pairs = [pair for pair in every if pair["task"] == task]
    groups = [pair["group"] for pair in pairs]
    tokens, tuned, base = (
        np.array([pair[name] for pair in pairs], np.float64) for name in ("tokens", "log_probs", "reference")
    )
    by_model = {"base": pair_values(tokens, base), "tuned": pair_values(tokens, tuned, base, train)}
    about = manifest.tasks[task]
    rows = []
    for model, metrics in by_model.items():
        for metric, values in metrics.items():
            row = _row(model, task, metric, bootstrap(mean_of(values), len(pairs), seed=seed, groups=groups))
            row["split"] = about.evaluation.split if about.evaluation else ""
            row["comparable"] = about.source not in manifest.resplit
            row["flags"] = [] if row["comparable"] else ["resplit"]
            if model == "tuned" and metric in by_model["base"]:
                other = mean_of(by_model["base"][metric])
                gain = paired_bootstrap(mean_of(values), other, len(pairs), seed=seed, groups=groups)
                row["gain"] = {"base": _bounds(gain)}
            rows.append(row)
    return rows


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
