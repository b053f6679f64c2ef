"""The tables of generalise.py: scores with intervals, what answers look like, and differences."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from komt.evaluate.intervals import Estimate, bootstrap, mean_of, paired_bootstrap
from komt.evaluate.metrics import METRICS, Score

REFERENCES = ("base", "base-5shot", "format-only")
_ROWS = ("base", "base-5shot", "format-only", "1", "2", "4", "all")
Record = dict[str, Any]


class Answers:
    """The answers of one condition to some tasks: one run, or several of different seeds.

    Attributes:
        runs: for each seed the records, by example id.
    """

    def __init__(self, runs: Sequence[Sequence[Record]]) -> None:
        self.runs = [{record["id"]: record for record in run} for run in runs]
        self.ids = sorted(set.intersection(*(set(run) for run in self.runs)))

    def values(self, ids: Sequence[str]) -> list[float]:
        """What each example's answer is worth, the mean over the seeds."""
        return [float(np.mean([_value(run[name]) for run in self.runs])) for name in ids]

    def groups(self, ids: Sequence[str]) -> list[str]:
        """The row that each example asks about."""
        return [self.runs[0][name]["group"] for name in ids]

    def records(self) -> list[Record]:
        """All of all seeds."""
        return [record for run in self.runs for record in run.values()]

    def estimate(self, order: str = "") -> Estimate | None:
        """The mean value of the examples of an order (all of them without one)."""
        ids = [name for name in self.ids if not order or self.runs[0][name]["order"] == order]
        return bootstrap(mean_of(self.values(ids)), len(ids), groups=self.groups(ids)) if ids else None

    def minus(self, other: Answers) -> Estimate:
        """The paired difference."""
        ids = [name for name in self.ids if name in set(other.ids)]
        here, there = mean_of(self.values(ids)), mean_of(other.values(ids))
        return paired_bootstrap(here, there, len(ids), groups=self.groups(ids))


def _metric(record: Record) -> str:
    return "accuracy" if "accuracy" in record["scores"] else "f1"


def _value(record: Record) -> float:
    return float(record["scores"][_metric(record)]["value"] or 0)


def show(
    results: Sequence[Record], settings: Record, began: float, md: Path | None, target: Path | None
) -> None:
    """Print the tables of what is finished, then a `ratio NAME VALUE` line per comparison; write both."""
    answers, trained = _collected(results)
    lines = [*_heading(settings, began), *_trainings(trained)]
    summary: dict[str, Any] = {
        "settings": settings,
        "trained": trained,
        "panels": {},
        "tasks": {},
        "ratios": {},
    }
    panels = list(dict.fromkeys(panel for panel, _ in answers))
    for panel in panels:
        by_task = {task: found for (name, task), found in answers.items() if name == panel and task}
        tables = {"": answers[panel, ""], **(by_task if len(by_task) > 1 else {})}
        for task, models in tables.items():
            title = f"{panel}: {', '.join(by_task)}" if not task else f"{panel}: {task} alone"
            rows = {name: _row(models, name) for name in _ROWS if name in models}
            lines += ["", f"## {title}", "", *_table(rows)]
            (summary["tasks"] if task else summary["panels"])[task or panel] = rows
        summary["ratios"] |= _ratios(panel, answers[panel, ""])
    lines += [
        "",
        "```text",
        *(f"ratio {name} {value:+.3f}" for name, value in summary["ratios"].items()),
        "```",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if md:
        md.write_text(text, encoding="utf-8")
    if target:
        target.write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _collected(results: Sequence[Record]) -> tuple[dict[tuple[str, str], dict[str, Answers]], list[Record]]:
    """(panel, task or "" for all) -> condition -> its answers; and what each training was."""
    runs: dict[tuple[str, str], dict[str, dict[int, list[Record]]]] = defaultdict(lambda: defaultdict(dict))
    trained = []
    for result in results:
        condition = result["condition"]
        if result["train"]:
            trained.append({**condition, **result["train"], "all_seconds": result["seconds"]})
        for record in result["scored"]:
            for key in ((record["panel"], ""), (record["panel"], record["task"])):
                runs[key][condition["name"]].setdefault(condition["seed"], []).append(record)
    found = {
        key: {name: Answers(list(seeds.values())) for name, seeds in conditions.items()}
        for key, conditions in runs.items()
    }
    return found, trained


def _heading(settings: Record, began: float) -> list[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    words = sys.argv[1:]
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    seeds = ", ".join(map(str, settings["seeds"]))
    return [
        "# Families of tasks that were never trained on",
        "",
        f"`KOMT_DATA=… python bench/generalise.py {' '.join(words)}`",
        "",
        f"{date.today()}, {machine()}, Python {platform.python_version()}, {packages}; {settings['model']}.",
        f"{settings['examples']:,} examples a training, seeds: {seeds}; {settings['rows']} rows of each set,",
        "each asked with the instruction first and last, answers generated and scored by komt's own metrics.",
        f"{(time.time() - began) / 60:.0f} minutes in this process; load average at the end {load:.1f}.",
        "",
        "value: accuracy (F1 for extraction) over all rows, with 95 % bootstrap intervals in which the two",
        "askings of a row are drawn together. − base and so on: paired differences. a choice: answers that",
        "are one of the choices at all. commonest: share of the label that a model answers most often, mean",
        "over tasks; majority: the same of the right answers. 1, 2, 4, all: families in training, never the",
        "panel's own; format-only: as all, with the answers shuffled within each task.",
    ]


def _trainings(trained: Sequence[Record]) -> list[str]:
    lines = [
        "",
        "| training | seed | examples | steps | tokens | s | families |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in trained:
        lines.append(
            f"| {one['name']} | {one['seed']} | {one['trained']:,} | {one['steps']} | {one['flat_tokens']:,} "
            f"| {one['seconds']:.0f} | {', '.join(one['families'])} |"
        )
    return lines if trained else []


def _row(models: dict[str, Answers], name: str) -> Record:
    own = models[name]
    records = own.records()
    estimate = own.estimate()
    row: Record = {
        "value": _plain(estimate),
        "first": _plain(own.estimate("first")),
        "last": _plain(own.estimate("last")),
        "minus": {
            other: _plain(own.minus(models[other]))
            for other in REFERENCES
            if other in models and other != name and name != "base"
        },
        "macro_f1": _macro_f1(own),
        "ended": float(np.mean([record["ended"] for record in records])),
    }
    if len(own.runs) > 1:
        row["seeds"] = [float(np.mean([_value(record) for record in run.values()])) for run in own.runs]
    chosen = [record["scores"]["accuracy"] for record in records if "accuracy" in record["scores"]]
    if chosen:
        row["a_choice"] = float(np.mean([score["chosen"] != "" for score in chosen]))
        row["commonest"] = _commonest(records, "chosen")
        row["majority"] = _commonest(records, "expected")
    return row


def _commonest(records: Sequence[Record], what: str) -> float:
    """The share of the commonest label, the mean over tasks; "" (none of the choices) is no label."""
    by_task: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if "accuracy" in record["scores"]:
            by_task[record["task"]].append(record["scores"]["accuracy"][what])
    shares = []
    for labels in by_task.values():
        counts = Counter(label for label in labels if label)
        shares.append(max(counts.values(), default=0) / len(labels))
    return float(np.mean(shares))


def _macro_f1(own: Answers) -> float | None:
    """Mean over tasks and seeds of macro F1, for tasks with choices."""
    values = []
    for run in own.runs:
        by_task: dict[str, list[Score]] = defaultdict(list)
        for record in run.values():
            if "macro_f1" in record["scores"]:
                by_task[record["task"]].append(Score(**record["scores"]["macro_f1"]))
        for scores in by_task.values():
            statistic = METRICS.get("macro_f1").statistic(scores)
            values.append(float(statistic(np.ones((1, len(scores))))[0]))
    return float(np.mean(values)) if values else None


def _plain(estimate: Estimate | None) -> Record | None:
    return asdict(estimate) if estimate else None


def _table(rows: dict[str, Record]) -> list[str]:
    lines = [
        "| model | value | − base | − base-5shot | − format-only | macro F1 | a choice | commonest "
        "| instruction first | last |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        value = row["value"]
        spread = f", seeds {min(row['seeds']):.3f} to {max(row['seeds']):.3f}" if "seeds" in row else ""
        cells = [f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]{spread}"]
        cells += [_difference(row["minus"].get(other)) for other in REFERENCES]
        cells += [_share(row[key]) if key in row else "–" for key in ("macro_f1", "a_choice", "commonest")]
        cells += [_share(row[order]["value"]) if row[order] else "–" for order in ("first", "last")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    first = next(iter(rows.values()))
    majority = f", majority {first['majority']:.3f}" if "majority" in first else ""
    return [*lines, "", f"n = {first['value']['n']}{majority}"]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _difference(row: Record | None) -> str:
    return f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]" if row else "–"


def _ratios(panel: str, models: dict[str, Answers]) -> dict[str, float]:
    if "all" not in models:
        return {}
    key = panel.replace(" ", "_")
    return {
        f"{key}_all_minus_{other}": models["all"].minus(models[other]).value
        for other in REFERENCES
        if other in models
    }


def machine() -> str:
    """The GPU, or the CPU and its number of cores."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} x {os.cpu_count()}"
