"""What `komt judge run` says: what lies ahead, what was found, and how far to trust it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komt.judge.budget import Prices
    from komt.judge.plan import Preview
    from komt.judge.run import Judged


def preview_text(ahead: Preview, prices: Prices | None) -> str:
    """What is still to be asked, and what that will take."""
    record = ahead.as_record(prices)
    lines = [f"{ahead.planned:,} calls, {ahead.known:,} in the ledger, {ahead.to_ask:,} to ask"]
    basis = f"by {ahead.measured:,} earlier calls" if ahead.measured else "by guess: this judge is new here"
    if ahead.to_ask:
        lines.append(
            f"about {ahead.prompt_tokens:,} tokens in and {ahead.completion_tokens:,} out ({basis}); "
            f"at most {ahead.most_prompt_tokens:,} and {ahead.most_completion_tokens:,}"
        )
        if "cost" in record:
            lines.append(f"about {record['cost']:.4f} in money; at most {record['most_cost']:.4f}")
    return "\n".join(lines)


def print_judged(judged: Judged, out: Path) -> None:
    """Scores, what sways the judge, cost and time, and what could not be read."""
    from komt.judge.findings import findings
    from komt.judge.items import rows_of
    from komt.report.judges import finding_lines

    about = judged.about
    _print_scores(judged.scores)
    answers = [row for _, row in rows_of(out / "answers.jsonl")] if judged.judgements else []
    for one in findings(judged.judgements, answers).judges:
        for line in finding_lines(one):
            print(line)
    cost = "" if about["cost"] is None else f", {about['cost']:.4f} in money"
    print(
        f"{about['calls']:,} calls, {about['new']:,} of them new; in all {about['requests']:,} requests, "
        f"{about['prompt_tokens']:,} tokens in, {about['completion_tokens']:,} out{cost}, "
        f"{about['seconds']:,.0f} s of waiting for replies"
    )
    for reason, count in sorted(about["unscored"].items(), key=lambda item: -item[1]):
        print(f"unscored: {count:,} × {reason}")
    print(f"written: {out}")


def _print_scores(scores: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    heads = ("model", "rubric", "score", "95 % interval", "questions", "unscored")
    table = Table(*heads, box=None, pad_edge=False)
    for row in scores:
        scale = f" of {row['scale'][1]:g}" if "scale" in row else f" of wins against {row['other']}"
        interval = "–" if row["low"] is None else f"{row['low']:.2f} – {row['high']:.2f}"
        value = "–" if row["value"] is None else f"{row['value']:.2f}{scale}"
        rubric = row["task"].removeprefix("judge:")
        cells = (row["model"], rubric, value, interval, str(row["n"]), str(row["unscored"]))
        table.add_row(*map(escape, cells))
    Console(highlight=False).print(table)
