"""Plots as SVG, in plain code: nothing to load, readable without colours, text that stays text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from komt.mix.report_data import CLASSES, Lengths

_WIDTH, _HEIGHT = 420, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 8, 12, 34


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a table with a bar: its name, its number, its share of the whole, and a note."""

    name: str
    count: int
    share: float
    note: str = ""


def bars_of(counts: dict[str, int], notes: dict[str, str] | None = None) -> list[Bar]:
    """Bars, the longest first; equal ones by name."""
    whole = sum(counts.values()) or 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Bar(name, n, n / whole, (notes or {}).get(name, "")) for name, n in ordered if n]


def bar(share: float, colour: str = "") -> Markup:
    """A bar that fills a share of its cell; the number stands in a cell of its own."""
    width = max(0.0, min(1.0, share)) * 100
    if 0 < width < 0.6:
        width = 0.6  # something is there
    kind = f' class="{escape(colour)}"' if colour else ""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="10"/><rect{kind} width="{width:.2f}" height="10"/></svg>'
    )


def class_names() -> list[str]:
    """The classes of lengths in words: 1, 2, 3, 4–5, …, over 8,000."""
    names, before = [], 0
    for bound in CLASSES:
        names.append(f"{bound:,}" if bound == before + 1 else f"{before + 1:,}–{bound:,}")
        before = bound
    return [*names, f"{before:,}<"]


def used(columns: Sequence[Lengths]) -> range:
    """The classes from the first to the last that holds anything in one of the columns."""
    filled = [place for lengths in columns for place, n in enumerate(lengths.counts) if n]
    return range(min(filled), max(filled) + 1) if filled else range(0)


def histogram(lengths: Lengths, title: str, colour: str, shown: range) -> Markup:
    """The shares of the classes of lengths as columns; the axis names the upper bound of each class.

    Args:
        lengths: what is shown.
        title: read out where the plot cannot be seen.
        colour: CSS class of the columns.
        shown: the classes on the axis.
    """
    whole = sum(lengths.counts) or 1
    shares = [lengths.counts[place] / whole for place in shown]
    top = _round_up(max(shares, default=0.0))
    high, wide = _HEIGHT - _TOP - _BOTTOM, _WIDTH - _LEFT - _RIGHT
    step = wide / max(1, len(shares))
    parts = [_gridline(top * part / 4, top, high) for part in range(5)]
    names = class_names()
    every = 1 if len(shares) <= 12 else 2
    for at, (place, share) in enumerate(zip(shown, shares, strict=True)):
        x, height = _LEFT + at * step, share / top * high if top else 0.0
        parts.append(
            f'<rect class="{escape(colour)}" x="{x + step * 0.1:.1f}" y="{_TOP + high - height:.1f}" '
            f'width="{step * 0.8:.1f}" height="{height:.1f}">'
            f"<title>{names[place]}: {share:.1%} ({lengths.counts[place]:,})</title></rect>"
        )
        if at % every == 0:
            label = f"{CLASSES[place]:,}" if place < len(CLASSES) else names[place]
            parts.append(
                f'<text x="{x + step / 2:.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{label}</text>'
            )
    label = f"{title}: median {lengths.median:,}, 95 % up to {lengths.above:,}, longest {lengths.most:,}"
    return Markup(
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )


def _gridline(value: float, top: float, high: int) -> str:
    y = _TOP + high - (value / top * high if top else 0.0)
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{value * 100:g}%</text>'
    )


def _round_up(share: float) -> float:
    """The next of 4, 8, 12, 20, 40, 60, 80, 100 %, so that quarters are plain numbers."""
    return next((top for top in (0.04, 0.08, 0.12, 0.2, 0.4, 0.6, 0.8) if share <= top), 1.0)
