"""What `komt check` prints: samples in colour, tables, figures, then what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from komt.commands._console import table_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from komt.commands._look import Look
    from komt.train.finding import Finding
    from komt.train.outlook import Outlook
    from komt.train.token_view import Sample

_STYLES = {"prompt": "cyan", "answer": "bold green", "ignored": "dim red"}
# Where there is no colour, brackets show what is trained on.
_MARKS = {"prompt": ("", ""), "answer": ("⟦", "⟧"), "ignored": ("⟨", "⟩")}
_GIB = 2**30
_OVER_LONG = {
    "shorten": "rows over pack.tokens are shortened around their evidence; where that cannot be, left out",
    "drop": "rows over pack.tokens are left out",
    "error": "a row over pack.tokens is an error",
}


def show(found: Look) -> None:
    """Print everything."""
    console = table_console()
    _show_samples(console, found.samples)
    _show_tasks(console, found)
    _show_tokens(console, found)
    if found.outlook:
        _show_outlook(console, found.outlook)
    for finding in found.findings:
        _show_finding(console, finding)
    errors = sum(finding.level == "error" for finding in found.findings)
    warnings = len(found.findings) - errors
    verdict = "the training would be spoiled" if errors else "ready to train"
    console.print(f"{verdict}: {_counted(errors, 'error')}, {_counted(warnings, 'warning')}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _show_samples(console: Console, samples: tuple[Sample, ...]) -> None:
    from rich.text import Text

    if not samples:
        return
    legend = Text("samples: ")
    for kind, meaning in (
        ("prompt", "read"),
        ("answer", "trained on"),
        ("ignored", "ignored: after the last answer"),
    ):
        legend.append(_marked(kind, meaning, coloured=console.is_terminal)).append("  ")
    console.print(legend)
    for sample in samples:
        console.print(Text(f"{sample.task}  {sample.example}", style="bold"))
        text = Text()
        for piece in sample.pieces:
            text.append(_marked(piece.kind, piece.text, coloured=console.is_terminal))
        console.print(text)
        console.print()


def _marked(kind: str, text: str, *, coloured: bool) -> Text:
    from rich.text import Text

    before, after = ("", "") if coloured else _MARKS[kind]
    return Text(f"{before}{text}{after}", style=_STYLES[kind])


def _show_tasks(console: Console, found: Look) -> None:
    from rich.table import Column, Table

    columns = ("rows", "tokens", "trained on", "longest", "shortened", "over-long, left out", "untrained")
    table = Table(Column("task", no_wrap=True), box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right")
    for task in found.facts.tasks:
        share = task.supervised / task.tokens if task.tokens else 0.0
        counts = (task.longest, task.shortened, task.over_long, task.unsupervised)
        table.add_row(
            task.task,
            f"{task.examples:,}",
            f"{task.tokens:,}",
            f"{share:.1%}",
            *(f"{count:,}" for count in counts),
        )
    console.print(table)
    console.print(f"{_OVER_LONG[found.over_long]}\n")


def _show_tokens(console: Console, found: Look) -> None:
    facts = found.facts
    bos = f"each row begins with one {facts.bos}" if facts.bos else "rows begin without BOS"
    print(f"tokens: {bos}; answers end in {facts.end}")
    print(f"prompts: {facts.compared} rows compared with what serving encodes")
    if found.korean_sample:
        print(f"Korean: {found.korean_sample} in the passages that come with komt")
    if found.korean_data:
        print(f"Korean: {found.korean_data} in these rows")
    if found.korean_sample:
        print(f"  {found.korean_sample.meaning} (this tells of the tokenizer, not of what the model knows)")


def _show_outlook(console: Console, outlook: Outlook) -> None:
    there = outlook.there / _GIB
    if outlook.parity:
        print(outlook.parity)
        print(
            f"plan: {outlook.steps:,} steps, {outlook.bins:,} bins (at least {outlook.least_bins:,} are "
            f"needed), {outlook.flat_tokens:,} tokens, {outlook.packed_tokens:,} after packing"
        )
    if outlook.fullness:
        print(outlook.fullness)
    if outlook.estimate and outlook.size:
        peak, size = outlook.estimate.total / _GIB, outlook.size
        where = "" if outlook.device == "cpu" else " (the sum has not been measured on a GPU)"
        print(
            f"memory: about {peak:.1f} GiB of {there:.1f} GiB, at the largest bin of {size.tokens:,} tokens "
            f"and {size.rows:,} target rows{where}"
        )
    if outlook.pace:
        pace = outlook.pace
        measured = f", {pace.peak / _GIB:.1f} GiB held meanwhile" if pace.peak else ""
        without = pace.reference_seconds
        beside = f" ({_duration(without)} of it for passes over pairs without gradients)" if without else ""
        print(
            f"time: about {_duration(pace.seconds)}{beside}, from two steps of "
            f"{pace.measured_tokens:,} tokens in {pace.measured_seconds:.1f} s{measured}"
        )
    if outlook.settings:
        print("settings that fit:")
        for setting in outlook.settings:
            print(f"  {' '.join(setting.overrides)}  (about {setting.bytes / _GIB:.1f} GiB)")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _show_finding(console: Console, finding: Finding) -> None:
    from rich.text import Text

    style = "bold red" if finding.level == "error" else "yellow"
    console.print(Text(f"{finding.level}: ", style=style).append(finding.what, style="default"))
    for name, text in (("where", finding.where), ("to mend it", finding.cure)):
        if text:
            console.print(Text(f"  {name}: {text}"))
