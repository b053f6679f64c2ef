"""`komt judge import`: judged files of the published form, read again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komt.judge.published import Disagreement

HELP = "read judged JSON Lines {id, instruction, answer, chatgpt, score} again, and compare"
_SHOWN_CHARACTERS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt judge import`."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="JSON Lines; its name is the model's"
    )
    parser.add_argument(
        "--judge", default="chatgpt", metavar="NAME", help="what the judge is called (default: chatgpt)"
    )
    parser.add_argument(
        "--rubric",
        default="published",
        metavar="NAME",
        help="whose scale the scores are on (default: published)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a judge's folder for komt report")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Run `komt judge import`."""
    from dataclasses import asdict

    from komt.errors import UsageError
    from komt.judge.folder import score_rows, write_folder
    from komt.judge.published import read_published, sums
    from komt.judge.rubric import load_rubrics

    [rubric] = load_rubrics([args.rubric])
    if rubric.scale is None:
        raise UsageError(f"the rubric '{rubric.name}' has no scale", cure="name one that gives scores")
    files = [read_published(path, rubric, args.judge) for path in args.files]
    rows = [row for judged, _, _ in files for row in judged]
    answers = [answer for _, answered, _ in files for answer in answered]
    found = [one for _, _, disagreements in files for one in disagreements]
    _check_models(args.files, rows)
    scores = score_rows(rows, {rubric.name: rubric.scale}, "imported")
    table = sums(rows, rubric.high)
    if args.out:
        about = {
            "judge": args.judge,
            "imported": [str(path) for path in args.files],
            "rubrics": {rubric.name: ""},
            "disagreements": [asdict(one) for one in found],
        }
        write_folder(args.out, rows, scores, answers, about)
    if args.json:
        report = {"models": table, "disagreements": [asdict(one) for one in found], "scores": scores}
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return 0
    _print(table, found)
    if args.out:
        print(f"written: {args.out}")
    return 0


def _check_models(files: list[Path], rows: list[dict[str, Any]]) -> None:
    from komt.errors import UsageError

    keys = [(row["model"], row["question"]) for row in rows]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UsageError(
            f"two files judge '{twice[0]}' for the question '{twice[1]}'",
            where=", ".join(map(str, files)),
            cure="give the files different names, or their rows different models",
        )


def _print(table: dict[str, dict[str, Any]], found: list[Disagreement]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(
        "model",
        "questions",
        "scored",
        "sum",
        "average",
        "%",
        "recorded sum",
        "recorded %",
        box=None,
        pad_edge=False,
    )
    for model, about in table.items():
        read, recorded = about["read"], about["recorded"]
        cells = [about["questions"], read["scored"], *_figures(read), *_figures(recorded, average=False)]
        shown.add_row(escape(model), *map(str, cells))
    console = Console(highlight=False)
    console.print(shown)
    for one in found:
        said = " ".join(one.reply.split())
        said = said if len(said) <= _SHOWN_CHARACTERS else said[:_SHOWN_CHARACTERS] + "…"
        said_before, says = (
            "no score" if value is None else f"{value:g}" for value in (one.recorded, one.read)
        )
        reason = f" ({one.reason})" if one.reason else ""
        console.print(
            f"{one.place}: recorded {said_before}, the reply says {says}{reason}: {said!r}",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"{len(found)} recorded scores that the reply does not bear out")


def _figures(one: dict[str, Any], average: bool = True) -> list[str]:
    cells = [f"{one['sum']:g}"]
    if average:
        cells.append("–" if one["average"] is None else f"{one['average']:.2f}")
    return [*cells, "–" if one["percent"] is None else f"{one['percent']:.2f}"]
