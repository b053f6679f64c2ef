"""`komt judge run`: a model scores answers."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from komt.commands._model import MODEL_HELP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from komt.judge.items import Answered
    from komt.judge.judges import Opening
    from komt.judge.plan import Planned, Preview
    from komt.judge.questions import Question
    from komt.judge.rubric import Rubric
    from komt.judge.run import Asking, Judged

HELP = "judge answers: a JSON Lines file, a model to ask first, or an earlier run's folder"
# What an answer that is not there yet is taken to be, for a preview.
_UNKNOWN_ANSWER = "가" * 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt judge run`."""
    parser.add_argument(
        "answers",
        help=f"JSON Lines {{id, instruction, answer}}, an earlier run's folder, or a model: {MODEL_HELP}",
    )
    parser.add_argument("--judge", required=True, metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--against", metavar="ANSWERS2", help="compare with these answers, in both orders")
    parser.add_argument(
        "--rubric",
        default="",
        metavar="NAME,…",
        help="see `komt judge rubrics`, or your own YAML file (default: single,two-turn; with --against "
        "pair,pair-two-turn)",
    )
    parser.add_argument(
        "--questions",
        default="",
        metavar="FILE",
        help="YAML or JSON Lines (default: the bundled ones, for a model)",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most so many questions, of all categories alike"
    )
    parser.add_argument(
        "--name", default="", help="what the model of ANSWERS is called (default: its own name)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/judge/ANSWERS-by-JUDGE")
    parser.add_argument("--dry-run", action="store_true", help="say what would be asked and what it costs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_sampling(parser)
    _add_asking(parser)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="ask the same N times (default: 1)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="of the judge; repeats need one above 0 (default: 0)",
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=0, metavar="N", help="of a reply (default: the rubric's)"
    )
    parser.add_argument(
        "--answer-tokens",
        type=int,
        default=1024,
        metavar="N",
        help="of an answer, where a model is asked (default: 1024)",
    )


def _add_asking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--budget-calls", type=int, metavar="N", help="requests to the judge, over all starts of this run"
    )
    parser.add_argument("--budget-money", type=float, metavar="X", help="what they may cost; never more")
    parser.add_argument("--price-in", type=float, metavar="X", help="of a million tokens of prompts")
    parser.add_argument("--price-out", type=float, metavar="X", help="of a million tokens of replies")
    parser.add_argument(
        "--concurrency", type=int, default=0, metavar="N", help="requests at a time, at most (default: 32)"
    )
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="for one reply (default: 600)"
    )
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="default: KOMT_HOME/judge/ledger.sqlite")
    parser.add_argument(
        "--engine",
        choices=("auto", "transformers", "llama.cpp", "vllm"),
        default="auto",
        help="for models that are not addresses",
    )
    parser.add_argument("--bits", type=int, choices=(4, 8, 16, 32), default=16, help="default: 16")
    parser.add_argument(
        "--context", type=int, default=0, metavar="N", help="llama.cpp and vLLM: tokens of prompt and reply"
    )
    parser.add_argument("--api-key", default="", metavar="KEY", help="for an address (default: KOMT_API_KEY)")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="let the model's own Python code run"
    )


def main(args: argparse.Namespace) -> int:
    """Run `komt judge run`."""
    from komt.commands._judge_text import preview_text
    from komt.judge.judges import identity
    from komt.judge.ledger import Ledger
    from komt.judge.plan import Sampling, plan, preview
    from komt.judge.run import Asking, default_ledger, judge_plan

    _check(args)
    rubrics, opening = _rubrics(args), _opening(args, args.judge)
    with Ledger(args.ledger or default_ledger()) as ledger:
        asking = Asking(ledger, _budget(args), args.concurrency)
        judge = identity(opening)
        questions = _questions(args)
        sampling = Sampling(args.temperature, args.max_new_tokens)
        sides = [
            _answers(side, args, questions, asking) for side in filter(None, (args.answers, args.against))
        ]
        planned = plan(
            judge, rubrics, sides[0], sides[1] if args.against else (), repeat=args.repeat, sampling=sampling
        )
        ahead = preview(planned, ledger)
        if args.dry_run:
            return _tell(ahead, args)
        if not args.json:
            print(preview_text(ahead, asking.budget.prices), file=sys.stderr)
        out = args.out or _default_out(planned, opening, judge)
        limited = args.limit is not None
        judged = judge_plan(planned, opening, judge, asking, out=out, split=_split(args), limited=limited)
    return _report(judged, out, args)


def _check(args: argparse.Namespace) -> None:
    from komt.errors import UsageError

    for name, least in (
        ("repeat", 1),
        ("answer_tokens", 1),
        ("max_new_tokens", 0),
        ("concurrency", 0),
        ("limit", 1),
    ):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} {value}: at least {least}")
    for name in ("temperature", "timeout", "price_in", "price_out", "budget_money"):
        value = getattr(args, name)
        if value is not None and not 0 <= value < math.inf:  # NaN is neither
            raise UsageError(f"--{name.replace('_', '-')} {value:g}: a number of at least 0")
    if args.timeout == 0:
        raise UsageError("--timeout 0: above 0")
    if (args.price_in is None) != (args.price_out is None):
        raise UsageError("give both --price-in and --price-out")
    if args.repeat > 1 and args.temperature == 0:
        print(
            "komt: at temperature 0 a local judge repeats itself word for word; --temperature 0.7 varies",
            file=sys.stderr,
        )


def _rubrics(args: argparse.Namespace) -> list[Rubric]:
    from komt.judge.rubric import load_rubrics

    usual = "pair,pair-two-turn" if args.against else "single,two-turn"
    return load_rubrics([name.strip() for name in (args.rubric or usual).split(",") if name.strip()])


def _budget(args: argparse.Namespace) -> Any:
    from komt.judge.budget import Budget, Prices

    prices = None if args.price_in is None else Prices(args.price_in, args.price_out)
    return Budget(args.budget_calls, args.budget_money, prices)


def _opening(args: argparse.Namespace, model: str) -> Opening:
    from komt.judge.judges import Opening

    return Opening(
        model,
        engine="auto"
        if model.startswith(("http://", "https://")) or model.endswith(".gguf")
        else args.engine,
        bits=args.bits,
        context=args.context,
        at_once=args.concurrency,
        api_key=args.api_key,
        timeout_s=args.timeout,
        remote_code=args.trust_remote_code,
    )


def _questions(args: argparse.Namespace) -> list[Question]:
    from komt.judge.items import of_all_categories, questions_of

    found = questions_of(args.questions or "bundled")
    return of_all_categories(found, args.limit) if args.limit else found


def _answers(
    name: str, args: argparse.Namespace, questions: Sequence[Question], asking: Asking
) -> list[Answered]:
    """The answers that a word of the command line stands for."""
    from dataclasses import replace

    from komt.encodings import missing_file
    from komt.judge.items import Answered, of_all_categories, read_answers
    from komt.judge.plan import Sampling
    from komt.judge.run import answers_of

    path = Path(name).expanduser()
    own = args.name if name == args.answers else ""
    if path.suffix in {".jsonl", ".json"}:  # the name of a file, never of a model
        missing_file(path)
    if path.is_file() and path.suffix != ".gguf":
        found = read_answers(path, own, questions)
    elif (path / "answers.jsonl").is_file():
        found = read_answers(path / "answers.jsonl", own, questions)
    elif of_models := sorted(path.glob("answers-*.jsonl")):  # of komt eval: a file a model
        names = [one.stem.removeprefix("answers-") for one in of_models]
        files = zip(of_models, names, strict=True)
        found = [one for file, model in files for one in read_answers(file, own or model, questions)]
    elif args.dry_run:
        print(f"komt: '{name}' would first answer {len(questions)} questions", file=sys.stderr)
        return [Answered(one, own or name, tuple(_UNKNOWN_ANSWER for _ in one.turns)) for one in questions]
    else:
        opening, unlimited = (
            _opening(args, name),
            replace(asking, budget=replace(asking.budget, calls=None, money=None)),
        )
        return answers_of(questions, opening, unlimited, Sampling(0.0, args.answer_tokens), name=own)
    if args.questions or args.limit:
        own_questions = list({one.question.id: one.question for one in found}.values())
        kept = questions if args.questions else of_all_categories(own_questions, args.limit)
        asked = {question.id for question in kept}
        return [one for one in found if one.question.id in asked]  # of every model the same ones
    return found


def _split(args: argparse.Namespace) -> str:
    if args.questions:
        return Path(args.questions).stem
    path = Path(args.answers).expanduser()
    return path.stem if path.is_file() and path.suffix != ".gguf" else "bundled"


def _default_out(planned: Sequence[Planned], opening: Opening, judge: str) -> Path:
    from komt.judge.judges import shown_name

    models = list(dict.fromkeys(one.model for row in planned for one in (row.item, row.other) if one))
    name = f"{'-'.join(models[:3])}-by-{shown_name(opening, judge)}"
    return Path("runs") / "judge" / re.sub(r"[^\w.가-힣-]+", "_", name)


def _tell(ahead: Preview, args: argparse.Namespace) -> int:
    from komt.commands._judge_text import preview_text

    prices = _budget(args).prices
    if args.json:
        print(json.dumps(ahead.as_record(prices), indent=1))
    else:
        print(preview_text(ahead, prices))
    return 0


def _report(judged: Judged, out: Path, args: argparse.Namespace) -> int:
    from komt.commands._judge_text import print_judged

    if args.json:
        report = {"out": str(out), "scores": judged.scores, **judged.about}
        print(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        print_judged(judged, out)
    if judged.missing:
        total = sum(judged.missing.values())
        print(f"komt: {total:,} calls have no reply yet; the same command goes on with them", file=sys.stderr)
        for reason, count in sorted(judged.missing.items(), key=lambda item: -item[1])[:5]:
            print(f"  {count:,} × {reason}", file=sys.stderr)
        return 1
    return 0
