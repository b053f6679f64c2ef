"""Curves as SVG, in plain code: nothing to load, readable without colours, named for screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 460, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 30
MOST_POINTS = 400


@dataclass(frozen=True)
class Curve:
    """Values over steps, with a CSS class for how the line looks."""

    steps: Sequence[float]
    values: Sequence[float]
    kind: str = ""


def plot(curves: Sequence[Curve], title: str, x_name: str) -> Markup:
    """Curves over one axis of steps; values that are no numbers are left out.

    Args:
        curves: at most 400 points of each are drawn.
        title: read out, with the first and the last value of the last curve.
        x_name: what stands under the axis.
    """
    lines = [(curve, _finite(curve)) for curve in curves]
    points = [point for _, line in lines for point in line]
    if not points:
        return Markup("")
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    ticks = nice_ticks(min(y for _, y in points), max(y for _, y in points))
    y_low, y_high = ticks[0], ticks[-1]
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        return _LEFT + across * wide, _TOP + (1 - (y - y_low) / (y_high - y_low)) * high

    parts = [_gridline(tick, place(x_low, tick)[1]) for tick in ticks]
    for at, anchor in ((x_low, "start"), (x_high, "end")) if x_high > x_low else ((x_low, "middle"),):
        x = place(at, y_low)[0]
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 12}" text-anchor="{anchor}">{at:,.0f}</text>')
    parts.append(
        f'<text x="{_LEFT + wide / 2:.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(x_name)}</text>'
    )
    for curve, line in lines:
        parts.append(_line([place(*point) for point in line], curve.kind))
    last = lines[-1][1]
    said = f"{title}: {last[0][1]:.4g} → {last[-1][1]:.4g}" if last else title
    return Markup(
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said)}">'
        + "".join(parts)
        + "</svg>"
    )


def spark(values: Sequence[float]) -> Markup:
    """A small curve without axes, for a row of a table."""
    line = _finite(Curve(range(len(values)), values))
    if len(line) < 2:
        return Markup("")
    low, high = min(y for _, y in line), max(y for _, y in line)
    spread = high - low or 1.0
    points = [(x / (len(values) - 1) * 100, 19 - (y - low) / spread * 18) for x, y in line]
    return Markup(
        '<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">'
        f"{_line(points, '')}</svg>"
    )


def smoothed(values: Sequence[float], half_life: float) -> list[float]:
    """A running mean whose weights halve every `half_life` values, without a bias towards its beginning."""
    keep = 0.5 ** (1 / max(half_life, 1e-9))
    total = weight = 0.0
    means = []
    for value in values:
        if math.isfinite(value):
            total, weight = total * keep + value, weight * keep + 1
        means.append(total / weight if weight else math.nan)
    return means


def nice_ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers around a range, equally far apart (1, 2 or 5 times a power of ten)."""
    if high <= low:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread / 2, high + spread / 2
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _finite(curve: Curve) -> list[tuple[float, float]]:
    line = [(x, y) for x, y in zip(curve.steps, curve.values, strict=True) if math.isfinite(y)]
    every = math.ceil(len(line) / MOST_POINTS)
    return line if every <= 1 else [*line[::every], line[-1]]


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    if len(points) == 1:
        (x, y), *_ = points
        return f'<circle class="{escape(kind)}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{escape(kind)}" points="{joined}"/>'


def _gridline(value: float, y: float) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_short(value)}</text>'
    )


def _short(value: float) -> str:
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.10g}" if abs(value) >= 1 or not value else f"{value:.3g}"
