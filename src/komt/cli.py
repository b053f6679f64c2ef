"""`komt VERB …`: a verb is a module of `komt.commands`, imported on use."""

from __future__ import annotations

import argparse
import importlib
import sys

from komt import __version__
from komt.errors import UsageError, did_you_mean
from komt.process import guarded

VERBS = {
    "run": "build, train, evaluate, report: the main job",
    "init": "a recipe for one's own data",
    "sources": "where rows come from: list, show, fetch, import, check",
    "tasks": "what is asked: list, show, check",
    "build": "instruction data from a recipe, with manifest and rejects",
    "check": "before training: what is trained on, memory, time, parity",
    "train": "the training stage alone; --resume goes on where it stopped",
    "chat": "talk with a model in the terminal",
    "generate": "JSON Lines in, JSON Lines with answers out",
    "export": "files for other programs: merged, adapter, GGUF",
    "serve": "OpenAI-style API over a model",
    "web": "page to chat, compare, look at data and runs",
    "eval": "score a model on tasks, with intervals",
    "judge": "let a model score answers: run, import, rubrics",
    "report": "tables, comparisons and a page of what was scored",
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0, 1 (failed) or 2 (wrong usage)."""
    words = sys.argv[1:] if argv is None else argv
    return guarded(lambda: _dispatch(words))


def _dispatch(words: list[str]) -> int:
    if words and words[0] in {"-V", "--version"}:
        print(f"komt {__version__}")
        return 0
    if not words or words[0] in {"-h", "--help", "help"}:
        print(overview())
        return 0 if words else 2
    verb = words[0]
    if verb not in VERBS:
        raise UsageError(
            f"unknown verb '{verb}'{did_you_mean(verb, VERBS)}", cure="komt --help lists the verbs"
        )
    module = importlib.import_module(f"komt.commands.{verb}")
    parser = build_parser(verb, module)
    # key=value may stand before and after options; verbs with verbs of their own take no such words.
    nested = any(action.nargs == argparse.PARSER for action in parser._actions)
    args = parser.parse_args(words[1:]) if nested else parser.parse_intermixed_args(words[1:])
    return int(module.main(args))


def build_parser(verb: str, module: object) -> argparse.ArgumentParser:
    """The parser of one verb; its epilog is the example in the module's docstring after `Example:`."""
    text, _, example = (module.__doc__ or "").partition("Example:")
    parser = argparse.ArgumentParser(
        prog=f"komt {verb}",
        description=text.strip(),
        epilog=f"example:\n{example.rstrip()}" if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)  # type: ignore[attr-defined]
    return parser


def overview() -> str:
    """What `komt --help` prints."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {line}" for verb, line in VERBS.items()]
    head = "usage: komt VERB …   (komt VERB --help explains one)\n\n"
    return head + "\n".join(lines) + "\n\nfirst steps:\n  komt run sample\n  komt chat runs/sample"
