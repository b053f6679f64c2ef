"""Plots as SVG, in plain code: nothing to load, named for screen readers, colours by classes of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from komt.report.curves import nice_ticks

SERIES = 6
_WIDTH = 480
_ROW, _TOP, _AXIS = 24, 6, 26
_NAMES = 136
_VALUES = 52
_SQUARE_HEIGHT = 230
_LEFT, _RIGHT, _BOTTOM = 46, 12, 38

_MOST_MARKS = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """A value with its interval, None where there is none; `series` chooses its colour."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    series: int = 0


def intervals(marks: Sequence[Mark], title: str, *, bounds: tuple[float, float] | None = None) -> Markup:
    """Values as dots with their intervals as lines, one below the other, over one axis.

    Args:
        marks: from top to bottom.
        title: read out, with all values.
        bounds: of the axis; default: what holds all of them, 0 to 1 where they are fractions.
    """
    ticks = _ticks(marks, bounds)
    low, high = ticks[0], ticks[-1]
    height = _TOP + _ROW * len(marks) + _AXIS
    wide = _WIDTH - _NAMES - _VALUES

    def across(value: float) -> float:
        share = (value - low) / (high - low)
        return _NAMES + min(1.0, max(0.0, share)) * wide

    bottom = _TOP + _ROW * len(marks)
    parts = [
        f'<line class="{"zero" if tick == 0 and low < 0 else "grid"}" x1="{across(tick):.1f}" '
        f'x2="{across(tick):.1f}" y1="{_TOP}" y2="{bottom}"/>'
        f'<text x="{across(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{_short(tick)}</text>'
        for tick in ticks
    ]
    for place, mark in enumerate(marks):
        y = _TOP + _ROW * (place + 0.5)
        parts.append(
            f'<text class="name" x="{_NAMES - 10}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(_shortened(mark.name, 18))}<title>{escape(mark.name)}</title></text>"
        )
        parts.append(_dot(mark, y, across))
    said = "; ".join(f"{mark.name} {_said(mark)}" for mark in marks)
    return Markup(
        f'<svg class="intervals" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(f"{title}: {said}")}">{"".join(parts)}</svg>'
    )


def _dot(mark: Mark, y: float, across: object) -> str:
    assert callable(across)
    end = f'<text x="{_WIDTH - _VALUES + 8}" y="{y + 4:.1f}">{_said(mark).partition(" ")[0]}</text>'
    if mark.value is None:
        return end
    kind = f"s{mark.series % SERIES}"
    line = ""
    if mark.low is not None and mark.high is not None:
        line = (
            f'<line class="whisker {kind}" x1="{across(mark.low):.1f}" x2="{across(mark.high):.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    return (
        f'{line}<circle class="{kind}" cx="{across(mark.value):.1f}" cy="{y:.1f}" r="4.5">'
        f"<title>{escape(mark.name)} {escape(_said(mark))}</title></circle>{end}"
    )


def _said(mark: Mark) -> str:
    if mark.value is None:
        return "–"
    if mark.low is None or mark.high is None:
        return f"{mark.value:.3f}"
    return f"{mark.value:.3f} [{mark.low:.3f}, {mark.high:.3f}]"


def _ticks(marks: Sequence[Mark], bounds: tuple[float, float] | None) -> list[float]:
    numbers = [n for mark in marks for n in (mark.value, mark.low, mark.high) if n is not None]
    if bounds is None and (not numbers or (min(numbers) >= 0 and max(numbers) <= 1)):
        return [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    if bounds and all(end.is_integer() for end in bounds) and 1 <= bounds[1] - bounds[0] <= _MOST_MARKS:
        # A judge's scale, mark by mark: an axis to 6 would make 5 of 5 look short of full marks.
        return [float(mark) for mark in range(int(bounds[0]), int(bounds[1]) + 1)]
    low, high = bounds or (min(0.0, *numbers), max(0.0, *numbers))
    return nice_ticks(low, high)


@dataclass(frozen=True, slots=True)
class Line:
    """Points of a plot, joined by a line where `joined`; `series` chooses the colour."""

    name: str
    points: Sequence[tuple[float, float]]
    series: int = 0
    joined: bool = True


def scatter(lines: Sequence[Line], title: str, x_name: str) -> Markup:
    """Points over two linear axes.

    Args:
        lines: without points: left out.
        title: read out.
        x_name: under its axis.
    """
    points = [point for line in lines for point in line.points if all(map(math.isfinite, point))]
    if not points:
        return Markup("")
    x_ticks = nice_ticks(min(0.0, *(x for x, _ in points)), max(x for x, _ in points))
    y_ticks = nice_ticks(min(0.0, *(y for _, y in points)), max(y for _, y in points))
    wide, high = _WIDTH - _LEFT - _RIGHT, _SQUARE_HEIGHT - _TOP - _BOTTOM
    top = _TOP

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _LEFT + across * wide, top + (1 - up) * high

    parts = []
    for tick in y_ticks:
        y = at(x_ticks[0], tick)[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    for tick in x_ticks:
        x = at(tick, y_ticks[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{top + high + 16}" text-anchor="middle">{_short(tick)}</text>')
    bottom = _SQUARE_HEIGHT - 6
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{bottom}" text-anchor="middle">{escape(x_name)}</text>')
    for line in lines:
        placed = [at(*point) for point in line.points]
        kind = f"s{line.series % SERIES}"
        if line.joined and len(placed) > 1:
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(f'<polyline class="{kind}" points="{joined}"/>')
        parts += [
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(line.name)}: '
            f"{_short(own[0])}, {own[1]:.3g}</title></circle>"
            for (x, y), own in zip(placed, line.points, strict=True)
        ]
    return Markup(
        f'<svg class="scatter" viewBox="0 0 {_WIDTH} {_SQUARE_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _short(value: float) -> str:
    if value == round(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _shortened(text: str, most: int) -> str:
    """A name's end says more than its beginning where it is a path or an address."""
    return text if len(text) <= most else f"…{text[-(most - 1) :]}"
