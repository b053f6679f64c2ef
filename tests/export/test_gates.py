"""Gates: table, file, and the error of those that fail."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from komt.errors import ModelError
from komt.export.gates import Gate, check_gates, reported, show_gates, write_gates

GOOD = Gate("merged, fp32: largest logit difference", True, "2e-5", "at most 1e-3")
BAD = Gate("GGUF [Q4_0]: end token", False, "never", "ends every answer")


def test_a_failed_gate_is_an_error_that_names_it() -> None:
    check_gates([GOOD])
    with pytest.raises(ModelError) as caught:
        check_gates([GOOD, BAD])
    assert "GGUF [Q4_0]: end token: never; allowed: ends every answer" in str(caught.value)
    assert GOOD.name not in str(caught.value)


def test_the_table_tells_passed_failed_and_merely_reported_apart() -> None:
    console = Console(file=io.StringIO(), width=140)
    show_gates([GOOD, BAD, reported("perplexity", "31.2")], console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "passed" in next(line for line in lines if "largest logit" in line)
    assert "FAILED" in next(line for line in lines if "GGUF [Q4_0]" in line)
    assert "passed" not in next(line for line in lines if "perplexity" in line)


def test_the_file_holds_every_gate(tmp_path: Path) -> None:
    write_gates(tmp_path, [GOOD, BAD])
    held = json.loads((tmp_path / "gates.json").read_text(encoding="utf-8"))
    assert [gate["passed"] for gate in held] == [True, False]
    assert held[1] == {
        "name": BAD.name,
        "passed": False,
        "measured": "never",
        "allowed": "ends every answer",
    }
