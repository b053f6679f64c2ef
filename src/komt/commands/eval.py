"""Score a model on tasks, with 95 % intervals; answers are recorded, and never asked for twice.

Rows come from the evaluation split, passage by passage in a fixed order. For a run folder, its recipe says
how they are phrased, whether an official set was redivided, and which own files there are; examples that
stand in its training data are flagged. A killed evaluation goes on where it was. Of preference pairs it is
scored how likely the chosen answer is beside the rejected one, and against the policy that training started
from; a run that was trained on pairs needs no --tasks.

Example:
  komt eval gemma-3-270m --tasks sample.qa --limit 20
  komt eval runs/sample --tasks all --limit 50 --out report
  komt eval http://127.0.0.1:8000/v1 --tasks family:sentiment,kobest-boolq.answer --order both
  komt eval runs/sample_dpo
  komt eval runs/sample --pairs my-pairs.jsonl
  komt eval report --show wrong 5
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from komt.commands._model import MODEL_HELP, add_engine_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt eval`."""
    parser.add_argument(
        "model", help=f"{MODEL_HELP}; with --show and no --tasks: the folder of a finished evaluation"
    )
    _add_task_options(parser)
    _add_way_options(parser)
    _add_result_options(parser)
    add_engine_options(parser)


def _add_task_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tasks",
        default="",
        metavar="NAME,…",
        help="names as `komt tasks list` prints them, family:NAME, or all; what is not here is skipped",
    )
    parser.add_argument(
        "--pairs",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="preference pairs: a table or JSON Lines with prompt, chosen and rejected",
    )
    parser.add_argument(
        "--reference",
        default="",
        metavar="MODEL",
        help="what pairs are compared with (default: the model that training started from)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many rows of each task")
    parser.add_argument("--shots", type=int, default=0, metavar="K", help="solved examples shown before")
    parser.add_argument("--split", default="", help="default: the task's own evaluation split")
    parser.add_argument("--seed", type=int, help="of phrasings and shots (default: the recipe's, or 0)")
    parser.add_argument(
        "--order",
        choices=("passage_first", "instruction_first", "both"),
        default="",
        help="what stands first, where a task has a passage (default: as the phrasings mix it)",
    )
    parser.add_argument(
        "--harness",
        default="",
        metavar="NAME,…",
        help="tasks of lm-evaluation-harness, instead of or beside --tasks",
    )
    parser.add_argument("--include-path", type=Path, metavar="DIR", help="further task files of the harness")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        type=Path,
        metavar="DATA",
        help="training data: a run, a build, its train.parquet, or JSON Lines; what stands in it is flagged",
    )


def _add_way_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--choices",
        choices=("auto", "loglikelihood", "generate"),
        default="auto",
        help="how a choice is made; auto: the likeliest one where the engine tells, else the one written",
    )
    parser.add_argument(
        "--normalise",
        choices=("raw", "token", "byte", "unconditional"),
        default="raw",
        help="how log-likelihoods compare: as they are, by length, or less the choice's own (default: raw)",
    )
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        metavar="N",
        help="longest answer (default: by task, what its right answers need)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="in how many processes transformers computes (default: of a small model on a CPU one a core)",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="ask everything again, whatever was answered before"
    )


def _add_result_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="", help="the model's name in the table (default: as given)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="leave scores.json and the answers there")
    parser.add_argument(
        "--show",
        nargs="+",
        default=[],
        metavar=("wrong|right|all|unscored", "N"),
        help="print answers to read, at most N of each task",
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def main(args: argparse.Namespace) -> int:
    """Run `komt eval`."""
    which, count = _shown(args.show)
    from komt.evaluate.show import chosen, has_answers, read_answers, show

    if (
        which
        and not args.tasks
        and not args.pairs
        and not args.harness
        and has_answers(Path(args.model).expanduser())
    ):
        show(chosen(read_answers(Path(args.model).expanduser()), which, count))
        return 0
    from komt.commands._eval import evaluate
    from komt.evaluate import table, write_answers, write_scores
    from komt.evaluate.scores import answer_record

    scores, answered = evaluate(args)
    if args.out:
        for model in dict.fromkeys(one.model for one in answered):
            write_answers(args.out, [one for one in answered if one.model == model])
        write_scores(args.out / "scores.json", scores)
    if args.json:
        print(json.dumps(scores, ensure_ascii=False, indent=1))
        return 0
    if which:
        show(chosen([{"model": one.model, **answer_record(one)} for one in answered], which, count))
    table(scores)
    return 0


def _shown(words: list[str]) -> tuple[Any, int | None]:
    """What --show asks for: which answers, and at most how many of each task."""
    from komt.errors import UsageError
    from komt.evaluate.show import WHICH

    if not words:
        return "", None
    which, *rest = words
    if which not in WHICH or len(rest) > 1 or any(not word.isdigit() or int(word) < 1 for word in rest):
        raise UsageError(
            f"--show {' '.join(words)}: one of {', '.join(WHICH)}, and how many of each task",
            cure="for example --show wrong 5",
        )
    return which, int(rest[0]) if rest else None
