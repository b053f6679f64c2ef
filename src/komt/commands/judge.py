"""Let a model score answers: every reply is kept in a ledger and never asked for twice.

`run` judges answers: a JSON Lines file, a model to ask the questions first, or an earlier run. A reply that
does not clearly say a score leaves the answer unscored. The same command goes on where an interrupted one
stopped. `import` reads judged files of the published form {id, instruction, answer, chatgpt, score} and
compares the recorded scores with what the judge wrote.

Example:
  komt judge run runs/sample --judge http://127.0.0.1:8000/v1
  komt judge run answers.jsonl --judge gemma-3-270m --rubric published --out judged
  komt judge run tuned.jsonl --against base.jsonl --judge http://127.0.0.1:8000/v1 --dry-run
  komt judge import chatgpt-*.jsonl --out judged
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from komt.commands import _judge_import, _judge_run

_MODULES: dict[str, Any] = {"run": _judge_run, "import": _judge_import}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt judge`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="run | import | rubrics")
    for action, module in _MODULES.items():
        module.add_arguments(actions.add_parser(action, help=module.HELP, description=module.HELP))
    text = "how judges are asked: every rubric, its scale and what it is for"
    rubrics = actions.add_parser("rubrics", help=text, description=text)
    rubrics.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Run `komt judge`: with the bundled rubrics, and what lies in ./rubrics."""
    from komt.judge.rubric import add_folder_beside

    add_folder_beside(Path.cwd())
    if args.action == "rubrics":
        return _rubrics(args.json)
    return int(_MODULES[args.action].main(args))


def _rubrics(as_json: bool) -> int:
    import json

    from komt.judge.rubric import RUBRICS

    rubrics = [RUBRICS.get(name) for name in RUBRICS.names()]
    if as_json:
        keys = {"name", "title", "kind", "turn", "scale", "needs_points"}
        print(json.dumps([one.model_dump(include=keys) for one in rubrics], ensure_ascii=False, indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table("rubric", "scale", "turn", "what it is for", box=None, pad_edge=False)
    for one in rubrics:
        scale = f"{one.low:g}–{one.high:g}" if one.scale else "the better of two"
        table.add_row(one.name, scale, str(one.turn), one.title)
    Console().print(table)
    return 0
