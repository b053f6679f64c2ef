"""What judges' findings say, a line each: rank groups, what sways a judge, how much it varies."""

from __future__ import annotations

from collections.abc import Iterator

from komt.judge.findings import Findings, JudgeFindings


def judge_lines(found: Findings | None) -> list[str]:
    """Of every judge and rubric the rank groups and what sways it; several judges are named."""
    judges = found.judges if found else ()
    several = len({one.judge for one in judges}) > 1
    return [
        line
        for one in judges
        for line in (*rank_lines(one, named=several), *finding_lines(one, named=several))
    ]


def rank_lines(found: JudgeFindings, *, named: bool = False) -> Iterator[str]:
    """The models by group, the best first."""
    if found.ranking is None or not found.ranking.rows:
        return
    groups: dict[int, list[str]] = {}
    for row in found.ranking.rows:
        rank = f"{row.first}" if row.first == row.last else f"{row.first}–{row.last}"
        groups.setdefault(row.group, []).append(f"{row.model} (rank {rank})")
    shown = "; ".join(f"{group}. {', '.join(models)}" for group, models in groups.items())
    yield f"{_title(found, named)}: rank groups {shown}; within a group no difference is shown"


def finding_lines(found: JudgeFindings, *, named: bool = False) -> Iterator[str]:
    """What the order and the length of answers do to the judge, and how much its repeats vary."""
    title = _title(found, named)
    if found.position:
        p = found.position
        yield (
            f"{title}: the order of the answers changed {p.value:.0%} of the verdicts "
            f"({p.low:.0%} – {p.high:.0%}, {p.n} pairs)"
        )
    if found.spread:
        s = found.spread
        yield (
            f"{title}: repeats of one judgement vary by {s.value:.2f} points (standard deviation, "
            f"{s.low:.2f} – {s.high:.2f}); {s.agreeing:.0%} are all alike"
        )
    if found.length:
        b = found.length
        yield (
            f"{title}: an answer twice as long gets {b.value:+.2f} ({b.low:+.2f} – {b.high:+.2f}) "
            f"{'of the wins' if found.position else 'points'}"
        )


def _title(found: JudgeFindings, named: bool) -> str:
    return f"{found.rubric} by {found.judge}" if named else found.rubric
