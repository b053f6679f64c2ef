"""Gates: what an exported file must show before it is kept. One that fails, fails the export."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from komt.errors import ModelError
from komt.files import write_json

GATES = "gates.json"
_PIPE_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing that was measured on an exported file.

    Attributes:
        name: what was looked at, file and property.
        passed: whether it is as it must be.
        measured: what was found, with its unit.
        allowed: what must be found, or "reported" where a number is shown and nothing is required of it.
    """

    name: str
    passed: bool
    measured: str
    allowed: str


REPORTED = "reported"


def reported(name: str, measured: str) -> Gate:
    """A number that people should see, of which nothing is required."""
    return Gate(name, True, measured, REPORTED)


def show_gates(gates: Sequence[Gate], console: Console | None = None) -> None:
    """Print the gates as a table."""
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    grid = Table(title="gates", title_justify="left")
    for title in ("gate", "measured", "allowed", ""):
        grid.add_column(title, overflow="fold")
    for gate in gates:
        verdict = "–" if gate.allowed == REPORTED else ("passed" if gate.passed else "FAILED")
        grid.add_row(
            *(text.replace("[", r"\[") for text in (gate.name, gate.measured, gate.allowed)), verdict
        )
    console.print(grid)


def check_gates(gates: Sequence[Gate]) -> None:
    """Do nothing where all gates are passed.

    Raises:
        ModelError: which ones are not.
    """
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        lines = "\n".join(f"  - {gate.name}: {gate.measured}; allowed: {gate.allowed}" for gate in failed)
        raise ModelError(
            f"the exported files are not what was trained; nothing of them is kept\n{lines}",
            cure="export in another form (--dtype fp32, another --quant); if that fails too, report it with "
            "the table above",
        )


def write_gates(folder: Path, gates: Sequence[Gate]) -> None:
    """Write `gates.json`: a list of `{name, passed, measured, allowed}`."""
    write_json(folder / GATES, [asdict(gate) for gate in gates])
