"""Talk with a model in the terminal; questions come from standard input when it is no terminal.

/reset forgets the conversation, /quit or Ctrl-D ends, Ctrl-C stops an answer (at the prompt: ends).

Example:
  komt chat runs/sample
  komt chat gemma-3-270m --prompt "한국의 수도는 어디인가요?" --temperature 0
"""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt chat`."""
    parser.add_argument("model", help="catalogue name, hub id, or folder (model, adapter, run)")
    parser.add_argument("--prompt", metavar="TEXT", help="answer this and exit")
    parser.add_argument("--system", default="", metavar="TEXT", help="an instruction that opens the talk")
    parser.add_argument("--bits", type=int, choices=(4, 8, 16, 32), default=16, help="default: 16")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0: the likeliest answer (default: 0.8)"
    )
    parser.add_argument("--top-p", type=float, default=0.8, help="default: 0.8")
    parser.add_argument("--top-k", type=int, default=100, help="0: all (default: 100)")
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="default: 512")
    parser.add_argument("--seed", type=int, help="makes answers repeatable")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="let the model's own Python code run"
    )


def main(args: argparse.Namespace) -> int:
    """Run `komt chat`."""
    from komt.errors import UsageError
    from komt.korean import nfc
    from komt.serve.engine import Settings

    settings = Settings(args.temperature, args.top_p, args.top_k, args.max_new_tokens, args.seed)
    if args.prompt is not None and not args.prompt.strip():
        raise UsageError("--prompt is empty")

    from komt.serve.chat import (
        HELP,
        Conversation,
        accept_any_bytes,
        answer_lines,
        as_text,
        read_line,
        talk,
        write_out,
    )
    from komt.serve.loading import load_engine

    engine = load_engine(args.model, args.bits, remote_code=args.trust_remote_code)
    conversation = Conversation(engine, settings, nfc(args.system))
    if args.prompt is not None:
        conversation.ask(as_text(args.prompt), write_out)
        write_out("\n")
    elif sys.stdin.isatty():
        write_out(f"{args.model} ({HELP})\n")
        talk(conversation, read_line, write_out)
    else:
        accept_any_bytes()
        answer_lines(conversation, iter(sys.stdin), write_out)
    return 0
