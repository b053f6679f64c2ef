"""report.html: one page that shows what a build is made of. No network, no script; the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from komt.example import Example
from komt.files import write_atomic
from komt.mix.manifest import Manifest, TaskCounts
from komt.mix.report_data import Lengths, Measure, Measured, Sharing, measure
from komt.mix.report_plots import Bar, bar, bars_of, class_names, histogram, used

_FOLDER = Path(__file__).parent
_UNITS = (
    ("characters", "글자 수", "characters"),
    ("eojeol", "어절 수", "eojeol"),
    ("tokens", "토큰 수", "tokens"),
)
_CLOSED_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Plot:
    """Lengths in one unit: of prompts and of answers, as plots, and in figures."""

    korean: str
    english: str
    prompts: Lengths
    answers: Lengths
    prompt_plot: str
    answer_plot: str
    rows: list[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Left:
    """Rows that were left out: how many for a reason at a stage, and of which tasks."""

    stage: str
    reason: str
    count: int
    tasks: list[Bar]


def write_report(folder: Path, manifest: Manifest, tokenizer: Measure | None = None) -> Path:
    """Write report.html into a build's folder.

    Args:
        folder: with train.parquet.
        manifest: of the build.
        tokenizer: what gives tokens; without it lengths are in characters and eojeol only, and shared
            beginnings in characters.
    """
    measured = measure(folder / "train.parquet", tokenizer)
    path = folder / "report.html"
    write_atomic(path, page(manifest, measured))
    return path


def page(manifest: Manifest, measured: Measured) -> str:
    """The text of the page."""
    trained = {name: task for name, task in manifest.tasks.items() if task.examples}
    left = _left(manifest)
    template = _environment().get_template("report.html.jinja")
    return (
        template.render(
            manifest=manifest,
            trained=trained,
            evaluated={name: task for name, task in manifest.tasks.items() if task.evaluation},
            read=sum(task.read for task in manifest.tasks.values()),
            shortened=sum(task.shortened for task in manifest.tasks.values()),
            held=sum(task.evaluation.examples for task in manifest.tasks.values() if task.evaluation),
            shares=_shares(trained),
            task_bars=bars_of({name: task.examples for name, task in trained.items()}),
            left=left,
            left_rows=sum(item.count for item in left),
            most_left={item.stage: max(o.count for o in left if o.stage == item.stage) for item in left},
            emptied=[name for name, task in manifest.tasks.items() if task.read and not task.examples],
            cleaned=_summed(task.cleaned for task in manifest.tasks.values()),
            conflicts={name: task.conflicts for name, task in manifest.tasks.items() if task.conflicts},
            measured=measured,
            plots=_plots(measured),
            gains=_gains(measured),
            licences=_licences(manifest),
        )
        + "\n"
    )


def _shares(trained: Mapping[str, TaskCounts]) -> list[tuple[str, str, list[Bar], str]]:
    """Titles, bars and kind of words of the ways to divide the examples."""

    def by(field: str) -> dict[str, int]:
        return _summed({getattr(task, field): task.examples} for task in trained.values())

    origins = {task.source: task.origin for task in trained.values()}
    return [
        ("작성 방식", "Origin", bars_of(by("origin")), "origins"),
        (
            "템플릿 종류",
            "Kind of template",
            bars_of(_summed(task.kinds for task in trained.values())),
            "kinds",
        ),
        ("유형", "Family", bars_of(by("family")), "families"),
        ("출처", "Source", bars_of(by("source"), origins), "origins"),
    ]


def _left(manifest: Manifest) -> list[Left]:
    """What was left out of training, by stage in their order, then by number."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for name, task in manifest.tasks.items():
        for stage, reasons in task.rejected.items():
            for reason, n in reasons.items():
                found.setdefault((stage, reason), {})[name] = n
    stages = list(words()["stages"])
    lefts = [
        Left(stage, reason, sum(tasks.values()), bars_of(tasks)) for (stage, reason), tasks in found.items()
    ]
    return sorted(lefts, key=lambda item: (_place(stages, item.stage), -item.count, item.reason))


def _place(names: list[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _plots(measured: Measured) -> list[Plot]:
    plots = []
    for unit, korean, english in _UNITS:
        if unit not in measured.prompts:
            continue
        prompts, answers = measured.prompts[unit], measured.answers[unit]
        shown = used([prompts, answers])
        rows = [(class_names()[place], prompts.counts[place], answers.counts[place]) for place in shown]
        first = histogram(prompts, f"prompts, {english}", "prompt", shown)
        second = histogram(answers, f"answers, {english}", "answer", shown)
        plots.append(Plot(korean, english, prompts, answers, first, second, rows))
    return plots


def _gains(measured: Measured) -> list[tuple[str, Sharing]]:
    """Tasks and their sharing, the greatest first."""
    return sorted(measured.sharing.items(), key=lambda item: (-item[1].gain, item[0]))


def _licences(manifest: Manifest) -> list[tuple[str, str, str, str, int]]:
    """Source, licence, origin, terms and training examples, the most first."""
    counts: dict[str, int] = {}
    about: dict[str, tuple[str, str]] = {}
    for task in manifest.tasks.values():
        counts[task.source] = counts.get(task.source, 0) + task.examples
        about[task.source] = (task.licence, task.origin)
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    return [(name, *about[name], manifest.terms.get(name, ""), counts[name]) for name in ordered]


def _summed(parts: Any) -> dict[str, int]:
    sums: dict[str, int] = {}
    for part in parts:
        for name, n in part.items():
            sums[name] = sums.get(name, 0) + n
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


@lru_cache(maxsize=1)
def words() -> dict[str, dict[str, str]]:
    """Korean names, by kind of thing and English name."""
    return dict(yaml.safe_load((_FOLDER / "report_words.yaml").read_text(encoding="utf-8")))


def _in_korean(name: str, kind: str) -> str:
    return str(words()[kind].get(name, ""))


def _percent(share: float) -> str:
    return "<0.1 %" if 0 < share < 0.0005 else f"{share * 100:.1f} %"


def _opening(example: Example) -> str:
    """What a closed sample shows: the beginning of its last question, on one line."""
    text = " ".join(example.messages[-2].content.split()) if len(example.messages) > 1 else ""
    return text if len(text) <= _CLOSED_CHARACTERS else f"{text[:_CLOSED_CHARACTERS].rstrip()} …"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "percent": _percent,
        "korean": _in_korean,
        "opening": _opening,
    }
    environment.globals["bar"] = bar
    return environment
