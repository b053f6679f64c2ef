"""What the published scripts `infer.py` and `usage_komt_with_lora.py` do: one answer, then a prompt loop."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from komt.process import guarded
from komt.serve.chat import (
    Conversation,
    accept_any_bytes,
    answer_lines,
    as_text,
    read_line,
    talk,
    write_out,
)
from komt.serve.engine import Settings

QUESTION = "고양이는 왜 물을 싫어하나요?"
PUBLISHED = "davidkim205/komt-llama2-7b-v1-lora"
EMBEDDED = "gemma-3-270m"
_MARKS = ("adapter_config.json", "config.json", "train/adapter", "train/model")


def default_model(root: Path) -> str:
    """The newest model below `output/`, else `runs/sample`, else the packaged base model.

    Args:
        root: the folder that holds `output` and `runs`.
    """
    output = root / "output"
    folders = [output, *output.iterdir()] if output.is_dir() else []
    trained = [folder for folder in folders if any((folder / mark).exists() for mark in _MARKS)]
    if trained:
        newest = max(
            trained,
            key=lambda folder: max((folder / m).stat().st_mtime for m in _MARKS if (folder / m).exists()),
        )
        return str(newest)
    sample = root / "runs" / "sample"
    return str(sample) if any((sample / mark).exists() for mark in _MARKS) else EMBEDDED


def main(argv: Sequence[str] | None = None) -> int:
    """Answer a question, then those that are typed (each on its own) until Ctrl-D; the exit status."""
    parser = argparse.ArgumentParser(
        description="A model (base and adapter) answers a question, then those you type until Ctrl-D."
    )
    parser.add_argument(
        "--model_name_or_path",
        default="",
        help="catalogue name, hub id or folder (default: the newest below output/, else runs/sample, "
        f"else {EMBEDDED})",
    )
    parser.add_argument("--bits", type=int, choices=(4, 8, 16, 32), default=4, help="default: 4")
    parser.add_argument("--prompt", default=QUESTION, help=f"the first question (default: {QUESTION})")
    args = parser.parse_args(argv)
    return guarded(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    from komt.serve.loading import load_engine

    model = args.model_name_or_path
    if not model:
        model = default_model(Path())
        print(f"model: {model} (the published default was {PUBLISHED})", file=sys.stderr)
    conversation = Conversation(load_engine(model, args.bits), Settings(), remembers=False)
    question = as_text(args.prompt)
    write_out(f"> {question}\n")
    conversation.ask(question, write_out)
    write_out("\n\n")
    if sys.stdin.isatty():
        talk(conversation, read_line, write_out)
    else:
        accept_any_bytes()
        answer_lines(conversation, iter(sys.stdin), write_out)
    return 0
