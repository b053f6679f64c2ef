"""report.html: one page of scores, comparisons, curves and answers. No network, no script."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from komt.evaluate.table import gain_text, remarks, title_of
from komt.mix import report as mix_report
from komt.mix.report_plots import Bar, bar, bars_of
from komt.report.agreements import agreement_lines
from komt.report.compare import Comparison
from komt.report.curves import Curve, plot, smoothed
from komt.report.panels import Panel, examples_of, judge_panels, lengths, matrix, panels
from komt.report.read import Folder, Report, Row
from komt.report.tables import published, published_cells, signed
from komt.report.words import METRICS, VERDICTS, chance_in_words, flag_lines

_FOLDER = Path(__file__).parent
_MOST_CHANGED = 12
_CLOSED_CHARACTERS = 150


def page(report: Report, comparison: Comparison | None = None) -> str:
    """The text of the page."""
    models, found = report.models, report.findings
    template = _environment().get_template("report.html.jinja")
    return (
        template.render(
            report=report,
            models=models,
            series={model: place for place, model in enumerate(models)},
            tasks=list(dict.fromkeys(row["task"] for row in report.scores)),
            answers=len(report.answers),
            flags=flag_lines(report.scores),
            others=[line for line in remarks(report.scores) if not _is_flag(line)],
            panels=panels(report.scores, models),
            gains=_gains(report.scores),
            judged=[(key, list(map(published_cells, rows))) for key, rows in published(report).items()],
            judge_panels=judge_panels(report.judgements, models),
            findings=found,
            agreements=agreement_lines(found),
            matrix=matrix(report, models),
            lengths=lengths(report, models),
            curves=[(folder, _curves(folder)) for folder in report.folders if folder.log],
            mixtures=[(folder, _mixture(folder)) for folder in report.folders if folder.manifest],
            examples=examples_of(report.answers, models),
            comparison=comparison,
            most_changed=_MOST_CHANGED,
        )
        + "\n"
    )


def _is_flag(line: str) -> bool:
    return line.startswith(("resplit:", "contaminated:", "limited:"))


def _gains(scores: list[Row]) -> list[tuple[str, str, str, str, str]]:
    """Task, metric, model, other and difference of the paired differences that an evaluation wrote."""
    return [
        (title_of(row), row["metric"], row["model"], other, gain_text(gain))
        for row in scores
        for other, gain in row.get("gain", {}).items()
    ]


def _curves(folder: Folder) -> list[tuple[str, str, Any]]:
    """Loss, learning rate and speed of a training, and its held-out figures."""
    found = []
    for key, korean, english in (
        ("loss", "손실", "loss"),
        ("lr", "학습률", "learning rate"),
        ("examples_s", "초당 예제", "examples per second"),
    ):
        rows = [row for row in folder.log if isinstance(row.get(key), int | float)]
        if not rows:
            continue
        steps, values = [float(row["step"]) for row in rows], [float(row[key]) for row in rows]
        lines = [Curve(steps, values, "raw")]
        if key == "loss":
            lines.append(Curve(steps, smoothed(values, max(2.0, len(values) / 40)), "smooth"))
        found.append((korean, english, plot(lines, f"{folder.label}: {english}", "step")))
    return found + _held_out_curves(folder)


def _held_out_curves(folder: Folder) -> list[tuple[str, str, Any]]:
    """Loss and accuracy on held-out examples: each task faint, all together strong."""
    by_task: dict[str, list[Row]] = {}
    for row in folder.held_out:
        by_task.setdefault(str(row["task"]), []).append(row)
    found = []
    for key, korean, english in (
        ("loss", "검증 손실", "held-out loss"),
        ("accuracy", "검증 정확도(토큰 단위)", "held-out token accuracy"),
    ):
        curves = [
            Curve([float(row["step"]) for row in rows], [float(row[key]) for row in rows], kind)
            for task, rows in sorted(by_task.items(), reverse=True)
            for kind in ["raw" if task else "smooth"]
        ]
        if curves:
            found.append((korean, english, plot(curves, f"{folder.label}: {english}", "step")))
    return found


def _mixture(folder: Folder) -> list[tuple[str, str, list[Bar], str]]:
    """Examples of the training data by task, family and origin."""
    assert folder.manifest
    tasks = {name: task for name, task in folder.manifest["tasks"].items() if task.get("examples")}

    def by(field: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for task in tasks.values():
            name = str(task.get(field, ""))
            counts[name] = counts.get(name, 0) + int(task["examples"])
        return counts

    return [
        ("과제", "task", bars_of({name: int(task["examples"]) for name, task in tasks.items()}), ""),
        ("유형", "family", bars_of(by("family")), "families"),
        ("작성 방식", "origin", bars_of(by("origin")), "origins"),
    ]


def _opening(prompt: str) -> str:
    """How a prompt begins and ends, on one line: prompts over one passage differ at either end."""
    text = " ".join(prompt.split())
    if len(text) <= _CLOSED_CHARACTERS:
        return text
    half = _CLOSED_CHARACTERS // 2
    return f"{text[:half].rstrip()} … {text[-half:].lstrip()}"


def _in_korean(name: str, kind: str) -> str:
    return str(mix_report.words().get(kind, {}).get(name, "")) if kind else ""


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    folders = [_FOLDER, Path(mix_report.__file__).parent]  # the style is that of the data's report
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "opening": _opening,
        "number": lambda value: f"{value:,}",
        "percent": lambda share: f"{share * 100:.1f} %",
        "korean": _in_korean,
        "metric": lambda name: METRICS.get(name, ""),
        "signed": signed,
        "verdict": lambda change: VERDICTS[change.verdict],
        "title_row": title_of,
        "title": lambda change: title_of(asdict(change)),
        "figure": lambda value: "–" if value is None else f"{value:.3f}",
    }
    environment.globals |= {"bar": bar, "chance": chance_in_words, "Panel": Panel}
    return environment
