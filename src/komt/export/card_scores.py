"""Scores and their flags as a model card shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from komt.mix import Manifest
from komt.recipe import Recipe


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One task and metric: a cell for each model, "" where it has no such score."""

    task: str
    split: str
    metric: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flags:
    """What the numbers alone would hide.

    Attributes:
        ended: task -> (answers of the tuned model that ended by the end token, answers).
        unscored: (task, model, metric, answers that could not be scored).
        off_label: (task, model, answers that name none of the choices).
        redivided: tasks or sources whose official evaluation set was redivided.
        contamination: drop, keep, or "" where unknown; overlapping: training rows left out for holding
            an evaluation row; ngram: words in a row that count as holding it.
    """

    ended: dict[str, tuple[int, int]]
    unscored: list[tuple[str, str, str, int]]
    off_label: list[tuple[str, str, int]]
    redivided: list[str]
    contamination: str = ""
    overlapping: int = 0
    ngram: int = 0


def score_rows(scores: Sequence[dict[str, Any]]) -> tuple[list[str], list[ScoreRow]]:
    """The models, in the file's order, and their scores side by side."""
    models = list(dict.fromkeys(str(row["model"]) for row in scores))
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in scores:
        cells.setdefault((row["task"], row["split"], row["metric"]), {})[row["model"]] = _cell(row)
    rows = [ScoreRow(*key, tuple(found.get(model, "") for model in models)) for key, found in cells.items()]
    return models, rows


def _cell(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return f"– (n={row['n']:,})"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}] (n={row['n']:,})"


def flags_of(scores: Sequence[dict[str, Any]], manifest: Manifest | None, recipe: Recipe | None) -> Flags:
    """The flags of a run's scores."""
    redivided = [str(row["task"]) for row in scores if not row.get("comparable", True)]
    quality = recipe.data.quality if recipe and manifest else None
    return Flags(
        ended={
            str(row["task"]): (int(row["ended"]), int(row["n"]))
            for row in scores
            if row["model"] == "tuned" and row["n"] and "ended" in row
        },
        unscored=[
            (row["task"], row["model"], row["metric"], row["unscored"])
            for row in scores
            if row.get("unscored")
        ],
        off_label=list(
            dict.fromkeys(
                (row["task"], row["model"], row["off_label"]) for row in scores if row.get("off_label")
            )
        ),
        redivided=list(dict.fromkeys(redivided or (manifest.resplit if manifest else []))),
        contamination=quality.contamination if quality else "",
        overlapping=sum(
            task.rejected.get("filter", {}).get("in_evaluation", 0)
            for task in (manifest.tasks.values() if manifest else ())
        ),
        ngram=quality.ngram if quality else 0,
    )
