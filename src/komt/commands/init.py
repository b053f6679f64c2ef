"""Write a recipe for your own data: CSV, TSV, JSON, JSON Lines, Excel or Parquet, with a column of answers.

Encoding (UTF-8 or CP949), format and delimiter are read off the file. The answer is the column with a name
such as 답변, 분류, answer, output or label, else one with few different values, else the last. Columns
`chosen` and `rejected` beside a prompt are preference pairs: the recipe then trains with DPO. Edit what it
writes.

Example:
  komt init my.csv --out my.yaml
  komt run my.yaml
"""

from __future__ import annotations

import argparse
import json
import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.tasks.propose import Proposal

_SMALL_ROWS = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt init`."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="the data: CSV, TSV, JSON, JSON Lines, xlsx or Parquet"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("recipe.yaml"),
        metavar="RECIPE",
        help="file to write (default: recipe.yaml)",
    )
    parser.add_argument("--encoding", default="", help="the file's encoding, where it is not recognised")
    parser.add_argument("--force", action="store_true", help="overwrite the recipe if it is there")


def main(args: argparse.Namespace) -> int:
    """Run `komt init`."""
    from komt.errors import UsageError
    from komt.files import write_atomic
    from komt.tasks.propose import propose

    if args.out.exists() and not args.force:
        raise UsageError(
            f"{args.out} is already there", cure="name another with --out, or overwrite it with --force"
        )
    proposal = propose(args.file, args.encoding)
    text = recipe_text(proposal, args.file, args.out, args.encoding)
    _check_that_it_builds(text, args.file)
    write_atomic(args.out, text)
    print(f"{args.file}: {proposal.seen}; {proposal.rows:,} rows")
    for reason, count in proposal.rejected.items():
        print(f"  rows that cannot be used: {count:,} {reason}; komt build --show-rejects prints them")
    print(f"  columns: {', '.join(proposal.columns)}")
    if proposal.left_out:
        print(
            f"  left out: {', '.join(proposal.left_out)} (nested; a template can print a part: {{{{ a.b }}}})"
        )
    print(f"  asked about: {', '.join(proposal.asks)}")
    kind = f"one of {len(proposal.labels)} labels" if proposal.labels else "free text"
    print(f"  answer: {proposal.answers} ({'better than the rejected one' if proposal.worse else kind})")
    print(f"wrote {args.out}; next: komt run {args.out}")
    return 0


def recipe_text(proposal: Proposal, file: Path, out: Path, encoding: str = "") -> str:
    """The recipe as YAML with comments; the data file is named relative to it."""
    name = recipe_name(file)
    path = Path(os.path.relpath(file.resolve(), out.resolve().parent)).as_posix()
    lines = [
        f"# komt run {out.name}",
        "#",
        f"# {file.name}: {proposal.seen}; {proposal.rows:,} rows.",
        f"# Columns: {' '.join(', '.join(proposal.columns).split())}.",
        "# A template fills in a column as {{ name }},",
        '# or {{ row["a name"] }} where the name is not one word.',
        f"name: {_quoted(name)}",
        "data:",
        "  files:",
        f"    - path: {_quoted(path)}",
        f"      name: {_quoted(name)}",
        *([f"      encoding: {encoding}"] if encoding else []),
        "      prompt: |-",
        *(f"        {line}".rstrip() for line in proposal.prompt.split("\n")),
        f"      answer: {_quoted(proposal.answer)}",
        *([f"      rejected: {_quoted(proposal.worse)}"] if proposal.worse else []),
        "      evaluate: 0.1        # share of the rows kept for evaluation, never trained on",
        *(_preference_lines() if proposal.worse else _supervised_lines(proposal, name)),
    ]
    return "\n".join(lines) + "\n"


def _supervised_lines(proposal: Proposal, name: str) -> list[str]:
    metrics = "[accuracy, macro_f1]" if proposal.labels else "[exact_match, f1]"
    return [
        f"      metrics: {metrics}",
        *_train_lines(proposal.rows),
        f"evaluate: {{tasks: [{_quoted(name)}], max_new_tokens: {_answer_tokens(proposal.longest_answer)}}}",
    ]


def _preference_lines() -> list[str]:
    """Held-out pairs are scored by likelihood, without `evaluate.tasks`."""
    return [
        "train:",
        "  objective: dpo                       # of two answers the chosen one becomes likelier; or ipo",
        "  preference: {beta: 0.1, sft: 0.2}    # sft holds the chosen answers as likely as they were",
        "  lr: 1.0e-4",
        "  step_examples: 16                    # pairs a step",
    ]


def recipe_name(file: Path) -> str:
    """The file's stem as a recipe's name: letters, digits, Hangul, dot, dash."""
    stem = unicodedata.normalize("NFC", file.stem)
    return re.sub(r"[^A-Za-z0-9가-힣._-]+", "-", stem).strip("._-") or "own"


def _train_lines(rows: int) -> list[str]:
    if rows >= _SMALL_ROWS:
        return []
    return ["train: {epochs: 3, step_tokens: 2048}   # few rows: read them three times, in small steps"]


def _answer_tokens(longest: int) -> int:
    # A Korean character takes about one token or less; a scored answer seldom needs more than 256.
    return min(256, max(32, longest + 8))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _check_that_it_builds(text: str, file: Path) -> None:
    """Load the recipe as `komt run` will, and render a row of the file.

    Raises:
        DataError: no row can be rendered.
    """
    from collections import Counter

    import yaml

    from komt.errors import DataError
    from komt.recipe import parse_recipe
    from komt.sources import Rejected, read_rows
    from komt.tasks import UnusableRow, own_tasks, render

    values = yaml.safe_load(text)
    values["data"]["files"][0]["path"] = str(file.resolve())
    task = next(iter(own_tasks(parse_recipe(values, "the proposed recipe")).values()))
    reasons: Counter[str] = Counter()
    for row in read_rows(task.rows_from, "train"):
        if not isinstance(row, Rejected):
            try:
                render(task, row, 0)
                return
            except UnusableRow as error:
                reasons[error.reason] += 1
    if reasons:
        why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        raise DataError(
            f"no row makes an example: {why}", where=str(file), cure="mend the rows, or name other columns"
        )
