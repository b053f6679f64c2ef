"""How far judges agree with each other and with people, in words, Korean and English."""

from __future__ import annotations

from collections.abc import Iterator

from komt.judge.agreement import Agreement
from komt.judge.findings import BetweenJudges, Findings

Line = tuple[str, str]


def agreement_lines(found: Findings | None) -> list[Line]:
    """A line for each two judges, for several judges of one rubric, and for each judge and people's votes."""
    if found is None:
        return []
    lines = [line for pair in found.between for line in _between(pair)]
    for rubric, alpha in found.alpha.items():
        lines.append(_both(f"{rubric}: 심사 모델들", f"{rubric}: all judges", "Krippendorff α", alpha))
    for judge, votes in found.votes.items():
        if votes.value is None or votes.low is None or votes.high is None:
            continue
        figures = f"{votes.value:.1%} [{votes.low:.1%}, {votes.high:.1%}] (n = {votes.n:,})"
        lines.append(
            (
                f"{judge}: 사람의 투표와 일치 {figures}; 무승부 {votes.ties:,}, "
                f"심사 결과가 없는 투표 {votes.missing:,}",
                f"{judge}: agrees with people's votes {figures}; {votes.ties:,} ties, "
                f"{votes.missing:,} votes on answers that it has no verdict on",
            )
        )
    return lines


def _between(pair: BetweenJudges) -> Iterator[Line]:
    korean = f"{pair.rubric}: {pair.first}, {pair.second}"
    if scores := pair.scores:
        for name, value in (("Spearman ρ", scores.spearman), ("Kendall τ", scores.kendall)):
            yield _both(korean, korean, name, value)
        yield _both(korean, korean, "weighted κ", scores.kappa)
        yield _both(
            f"{korean}: 앞 모델의 점수 − 뒤 모델의 점수",
            f"{korean}: the first one's scores less the second's",
            "",
            scores.stricter,
        )
    if verdicts := pair.verdicts:
        yield _both(f"{korean}: 같은 판정의 비율", f"{korean}: share of equal verdicts", "", verdicts.equal)
        yield _both(korean, korean, "Cohen κ", verdicts.kappa)


def _both(korean: str, english: str, name: str, found: Agreement) -> Line:
    """A coefficient with its interval; one that is not defined says so."""
    if found.value is None:
        figures = (f"정해지지 않음 (n = {found.n:,})", f"not defined (n = {found.n:,})")
    else:
        bounds = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
        figures = (f"{found.value:.3f}{bounds} (n = {found.n:,})",) * 2
    named = f": {name}" if name else ""
    return f"{korean}{named} = {figures[0]}", f"{english}{named} = {figures[1]}"
