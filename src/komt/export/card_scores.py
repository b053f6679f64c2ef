"""Scores and their flags as a model card shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from komt.mix import Manifest
from komt.recipe import Recipe

if TYPE_CHECKING:
    from huggingface_hub import EvalResult


# What a score is not, in the words that stand beside it where cards are read by machines.
_FLAGS = {
    "resplit": "not comparable with published results (official set redivided)",
    "contaminated": "some rows were in the training data",
    "limited": "not all rows were asked",
}
_TUNED = "tuned"


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One task and metric: a cell for each model, "" where it has no such score.

    Attributes:
        order: passage_first, instruction_first, or "": in which order the prompts gave them.
        by: "loglikelihood" where choices were not written but weighed, else "".
    """

    task: str
    split: str
    metric: str
    cells: tuple[str, ...]
    order: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Flags:
    """What the numbers alone would hide.

    Attributes:
        ended: task -> (answers of the tuned model that ended by the end token, answers).
        unscored: (task, model, metric, answers that could not be scored).
        off_label: (task, model, answers that name none of the choices).
        contaminated: (task, evaluation rows that the training data holds, rows).
        limited: (task, how many of its rows were asked at most).
        redivided: tasks or sources whose official evaluation set was redivided.
        contamination: drop, keep, or "" where unknown; overlapping: training rows left out for holding
            an evaluation row; ngram: words in a row that count as holding it.
    """

    ended: dict[str, tuple[int, int]]
    unscored: list[tuple[str, str, str, int]]
    off_label: list[tuple[str, str, int]]
    contaminated: list[tuple[str, int, int]]
    limited: list[tuple[str, int]]
    redivided: list[str]
    contamination: str = ""
    overlapping: int = 0
    ngram: int = 0


def score_rows(scores: Sequence[dict[str, Any]]) -> tuple[list[str], list[ScoreRow]]:
    """The models, in the file's order, and their scores side by side."""
    models = list(dict.fromkeys(str(row["model"]) for row in scores))
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for row in scores:
        key = (row["task"], row["split"], row["metric"], row.get("order", ""), _weighed(row))
        cells.setdefault(key, {})[row["model"]] = _cell(row)
    rows = [
        ScoreRow(task, split, metric, tuple(found.get(model, "") for model in models), order, by)
        for (task, split, metric, order, by), found in cells.items()
    ]
    return models, rows


def _weighed(row: dict[str, Any]) -> str:
    return "loglikelihood" if row.get("by") == "loglikelihood" else ""


def model_index(scores: Sequence[dict[str, Any]], *, quantised: bool) -> list[EvalResult]:
    """The tuned model's scores as the hub's cards hold them (`model-index`), each with its flags.

    Format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md?plain=1

    Args:
        scores: rows of scores.json.
        quantised: whether the card is for files whose weights were rounded after they were scored.
    """
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            task_name=str(row["task"]),
            dataset_type=str(row["task"]).partition(".")[0],
            dataset_name=str(row["task"]),
            dataset_config=" ".join(filter(None, (str(row["task"]), row.get("order", ""), _weighed(row)))),
            dataset_split=str(row["split"]),
            metric_type=str(row["metric"]),
            metric_value=round(float(row["value"]), 4),
            metric_name=_metric_name(row, quantised),
            metric_args={key: row[key] for key in ("low", "high", "n", "unscored", "shots") if key in row},
        )
        for row in scores
        if row["model"] == _TUNED and row["value"] is not None
    ]


def _metric_name(row: dict[str, Any], quantised: bool) -> str:
    names = row.get("flags") or ([] if row.get("comparable", True) else ["resplit"])
    notes = [_FLAGS.get(name, name) for name in names]
    notes += [f"{row['unscored']} answers unscored"] if row.get("unscored") else []
    notes += ["before quantisation"] if quantised else []
    return f"{row['metric']} ({'; '.join(notes)})" if notes else str(row["metric"])


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
            if row["model"] == _TUNED and row["n"] and "ended" in row
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
        contaminated=list(
            dict.fromkeys(
                (row["task"], row["contaminated"], row["n"]) for row in scores if row.get("contaminated")
            )
        ),
        limited=list(dict.fromkeys((row["task"], row["limit"]) for row in scores if row.get("limit"))),
        redivided=list(dict.fromkeys(redivided or (manifest.resplit if manifest else []))),
        contamination=quality.contamination if quality else "",
        overlapping=sum(
            task.rejected.get("filter", {}).get("in_evaluation", 0)
            for task in (manifest.tasks.values() if manifest else ())
        ),
        ngram=quality.ngram if quality else 0,
    )
