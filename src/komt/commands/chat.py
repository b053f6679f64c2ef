"""Talk with a model in the terminal; questions come from standard input when it is no terminal.

/reset forgets the conversation, /quit or Ctrl-D ends, Ctrl-C stops an answer (at the prompt: ends).

Example:
  komt chat runs/sample
  komt chat gemma-3-270m --prompt "한국의 수도는 어디인가요?" --temperature 0
  komt chat sample-Q4_K_M.gguf
  komt chat http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import argparse
import sys

from komt.commands._model import add_model_options, engine_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt chat`."""
    add_model_options(parser)
    parser.add_argument("--prompt", metavar="TEXT", help="answer this and exit")
    parser.add_argument("--system", default="", metavar="TEXT", help="an instruction that opens the talk")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0: the likeliest answer (default: 0.8)"
    )
    parser.add_argument("--top-p", type=float, default=0.8, help="default: 0.8")
    parser.add_argument("--top-k", type=int, default=100, help="0: all (default: 100)")
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="default: 512")
    parser.add_argument("--seed", type=int, help="makes answers repeatable")


def main(args: argparse.Namespace) -> int:
    """Run `komt chat`."""
    from komt.errors import UsageError
    from komt.korean import nfc
    from komt.process import spin_before_sleep
    from komt.serve.engine import Settings

    spin_before_sleep()

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

    engine = engine_of(args, slots=1)
    conversation = Conversation(engine, settings, nfc(args.system))
    try:
        if args.prompt is not None:
            conversation.ask(as_text(args.prompt), write_out)
            write_out("\n")
        elif sys.stdin.isatty():
            write_out(f"{args.model} ({HELP})\n")
            talk(conversation, read_line, write_out)
        else:
            accept_any_bytes()
            answer_lines(conversation, iter(sys.stdin), write_out)
    finally:
        engine.close()
    return 0
