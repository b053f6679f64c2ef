"""What the rows of a build's tasks came to: for the manifest, and for the error when none is left."""

from __future__ import annotations

from collections.abc import Sequence

from komt.errors import DataError
from komt.mix.manifest import Evaluation, TaskCounts
from komt.mix.named import Chosen
from komt.mix.select import TaskRows
from komt.mix.stages import Rendered
from komt.tasks import Task

Counts = dict[str, dict[str, int]]


def task_counts(
    task: Task, rendered: Rendered | None, selection: Counts, final: dict[str, dict[str, int]]
) -> TaskCounts:
    """The training rows of a task; `selection` is what was left out, `final` what the data files hold."""
    source = task.rows_from
    length = {"length": final["rejected"]} if final.get("rejected") else {}
    return TaskCounts(
        examples=sum(final.get("templates", {}).values()),
        read=rendered.read if rendered else 0,
        shortened=sum(final.get("shortened", {}).values()),
        source=source.name,
        family=task.family,
        licence=source.licence,
        origin=source.origin,
        templates=final.get("templates", {}),
        kinds=final.get("kinds", {}),
        rejected=_together(rendered.rejected if rendered else {}, selection, length),
        cleaned=rendered.cleaned if rendered else {},
    )


def evaluation_counts(rendered: Rendered, final: dict[str, dict[str, int]]) -> Evaluation:
    """The evaluation rows of a task; `final` is what the data files hold."""
    length = {"length": final["rejected"]} if final.get("rejected") else {}
    return Evaluation(
        split=rendered.work.split,
        read=rendered.read,
        examples=sum(final.get("templates", {}).values()),
        shortened=sum(final.get("shortened", {}).values()),
        rejected=_together(rendered.rejected, length),
    )


def _together(*parts: Counts) -> Counts:
    """Stage -> reason -> number, summed and sorted."""
    sums: Counts = {}
    for stage, reasons in (item for part in parts for item in part.items()):
        counts = sums.setdefault(stage, {})
        for reason, n in reasons.items():
            counts[reason] = counts.get(reason, 0) + n
    return {stage: dict(sorted(sums[stage].items())) for stage in sorted(sums)}


def nothing_left(
    rows: Sequence[TaskRows], final: dict[str, dict[str, dict[str, int]]], chosen: Chosen
) -> DataError:
    """The error for a recipe that leaves nothing to train on, with what became of every task."""
    lines = [f"  {name}: held out ({why})" for name, why in chosen.held_out.items()]
    lines += [f"  {name}: {why}" for name, why in chosen.absent.items()]
    for item in rows:
        length = final.get(item.name, {}).get("rejected", {})
        counts = _together(item.rendered.rejected, item.counts(), {"length": length})
        why = "".join(f", {n} {reason}" for reasons in counts.values() for reason, n in reasons.items())
        lines.append(f"  {item.name}: {item.rendered.read} read{why}")
    return DataError(
        "the recipe leaves no example to train on:\n"
        + ("\n".join(lines) or "  it names no tasks and no files"),
        cure="name tasks under data.tasks or files under data.files; for over_long raise pack.tokens",
    )
