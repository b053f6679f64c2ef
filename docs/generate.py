"""Writes docs/cli.md from --help; with --check compares instead (exit status 1 when it is out of date)."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

os.environ["COLUMNS"] = "100"

from komt.cli import VERBS, build_parser, overview

TARGET = Path(__file__).parent / "cli.md"


def reference() -> str:
    """The whole command-line reference as Markdown."""
    parts = [
        "# Command line",
        "",
        "Generated from `--help` by `make docs`.",
        "",
        "```text",
        overview(),
        "```",
    ]
    for verb in VERBS:
        text = build_parser(verb, importlib.import_module(f"komt.commands.{verb}")).format_help()
        parts += ["", f"## komt {verb}", "", "```text", text.rstrip(), "```"]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Write or compare."""
    text = reference()
    if "--check" in sys.argv[1:]:
        if not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text:
            print("docs/cli.md is out of date: run `make docs`", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
