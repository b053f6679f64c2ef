"""What the data tab shows of a built data folder, as HTML: its make-up, its examples, what was left out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from komt.example import Example
from komt.mix.manifest import Manifest
from komt.mix.report_data import Measured, measure
from komt.mix.report_plots import bars_of, histogram, used
from komt.web import tables
from komt.web.html import render
from komt.web.runs import Stamp, Unreadable, stamp
from komt.web.text import Words

PAGE_ROWS = 8


@dataclass(frozen=True)
class Shown:
    """A page of rows: its HTML, where it stands among all, whether there are rows before and after it."""

    html: str
    position: str
    before: bool
    after: bool


@lru_cache(maxsize=8)
def manifest(file: Stamp) -> Manifest:
    """The manifest of a data folder.

    Raises:
        Unreadable: it is none.
    """
    try:
        return Manifest.model_validate_json(file.path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unreadable("runs.broken", path=file.path.name) from error


def overview(words: Words, file: Stamp) -> str:
    """Figures, warnings, bars and lengths.

    Raises:
        Unreadable: a file of the folder is missing or broken.
    """
    about = manifest(file)
    trained = {name: task for name, task in about.tasks.items() if task.examples}
    left = sum(sum(reasons.values()) for task in about.tasks.values() for reasons in task.rejected.values())
    figures = {
        "examples": about.examples,
        "tasks": len(trained),
        "sources": len({task.source for task in trained.values()}),
        "read": sum(task.read for task in about.tasks.values()),
        "left": left,
        "held": sum(task.evaluation.examples for task in about.tasks.values() if task.evaluation),
    }
    warnings = []
    if not about.comparable:
        warnings.append(words("data.not_comparable", names=", ".join(about.resplit)))
    if about.terms:
        warnings.append(words("data.terms", names=", ".join(about.terms)))
    return render(
        "overview",
        words,
        figures=figures,
        warnings=warnings,
        task_bars=bars_of({name: task.examples for name, task in trained.items()}),
        plots=_plots(words, stamp(file.path.with_name("train.parquet"))),
        shares=_shares(about),
    )


def _shares(about: Manifest) -> list[tuple[str, Any, str]]:
    """Key of the title, bars and kind of names of the ways to divide the examples into more than one part."""
    sums: dict[str, dict[str, int]] = {"origin": {}, "kind": {}, "family": {}, "source": {}}
    for task in about.tasks.values():
        parts = {"origin": {task.origin: task.examples}, "kind": task.kinds}
        parts |= {"family": {task.family: task.examples}, "source": {task.source: task.examples}}
        for way, counts in parts.items():
            for name, n in counts.items():
                sums[way][name] = sums[way].get(name, 0) + n
    origins = {task.source: task.origin for task in about.tasks.values()}
    kinds = {"origin": "origins", "kind": "kinds", "family": "families", "source": ""}
    bars = {way: bars_of(counts, origins if way == "source" else None) for way, counts in sums.items()}
    return [(way, items, kinds[way]) for way, items in bars.items() if len(items) > 1]


@lru_cache(maxsize=4)
def _measured(file: Stamp) -> Measured:
    try:
        return measure(file.path, None)
    except (OSError, ValueError, KeyError) as error:
        raise Unreadable("runs.broken", path=file.path.name) from error


def _plots(words: Words, file: Stamp) -> list[tuple[str, Any, str]]:
    measured = _measured(file)
    prompts, answers = measured.prompts["characters"], measured.answers["characters"]
    shown = used([prompts, answers])
    plots = []
    for key, lengths, colour in (("prompts", prompts, "prompt"), ("answers", answers, "answer")):
        title = words(f"data.lengths.{key}")
        note = words("data.lengths.note", median=lengths.median, above=lengths.above, most=lengths.most)
        plots.append((key, histogram(lengths, title, colour, shown), note))
    return plots


def examples(words: Words, file: Stamp, task: str, text: str, start: int) -> Shown:
    """A page of examples.

    Args:
        words: of the page.
        file: train.parquet or evaluate.parquet.
        task: only this one, or "" for all.
        text: only examples that hold it.
        start: the first row of the page, from 0.

    Raises:
        Unreadable: the file is broken.
    """
    wanted = (("task", task),) if task else ()
    places = tables.find(file, wanted, text)
    records = tables.rows(file, [int(place) for place in places[start : start + PAGE_ROWS]])
    try:
        cards = [_card(Example.from_record(record)) for record in records]
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable("runs.broken", path=file.path.name) from error
    return _page(words, render("examples", words, cards=cards), start, len(places))


def rejects(words: Words, file: Stamp, reason: str, text: str, start: int) -> Shown:
    """A page of rows that were left out; `reason` is STAGE/REASON, or "" for all.

    Raises:
        Unreadable: the file is broken.
    """
    stage, _, name = reason.partition("/")
    wanted = (("stage", stage), ("reason", name)) if reason else ()
    places = tables.find(file, wanted, text)
    rows = tables.rows(file, [int(place) for place in places[start : start + PAGE_ROWS]])
    shown = [{**row, "fields": _fields(row["row"])} for row in rows]
    return _page(words, render("rejected", words, rows=shown), start, len(places))


def reject_totals(words: Words, file: Stamp) -> tuple[str, list[tuple[str, str, int]]]:
    """The table of reasons, and stage, reason and number of each.

    Raises:
        Unreadable: the file is broken.
    """
    totals = [(stage, reason, n) for (stage, reason), n in tables.counts(file, ("stage", "reason")).items()]
    return render("rejects", words, totals=totals), totals


def _page(words: Words, html: str, start: int, total: int) -> Shown:
    last = min(start + PAGE_ROWS, total)
    position = words("data.position", total=total, first=start + 1, last=last) if total else ""
    return Shown(html, position, start > 0, last < total)


def _card(example: Example) -> dict[str, Any]:
    evidence = example.evidence
    turns = []
    for place, message in enumerate(example.messages):
        parts = [(message.content, False)]
        if evidence and evidence.message == place:
            text, start, end = message.content, evidence.start, evidence.end
            parts = [(text[:start], False), (text[start:end], True), (text[end:], False)]
        turns.append({"role": message.role, "parts": parts})
    names = ("task", "kind", "template", "origin", "source", "choices", "answer_index", "references")
    return {"turns": turns, **{name: getattr(example, name) for name in names}}


def _fields(text: str) -> dict[str, str]:
    """The fields of a row that was kept as JSON."""
    if not text:
        return {}
    try:
        row = json.loads(text)
    except ValueError:
        return {"": text}
    if not isinstance(row, dict):
        return {"": str(row)}
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in row.items()
    }
