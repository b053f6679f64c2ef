"""JSON Lines in, JSON Lines with answers out (greedy, batched).

A line is {"prompt": …}, {"instruction": …, "input"?: …} or {"messages": [{"role": …, "content": …}, …]};
it comes back with "answer" and "ended" (whether by the end token or by the length limit). One JSON array of
such objects is read, too.

Example:
  komt generate runs/sample questions.jsonl --out answers.jsonl
  komt generate gemma-3-270m - --max-new-tokens 64 < questions.jsonl
  komt generate sample-Q4_K_M.gguf questions.jsonl
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from komt.commands._model import add_model_options, engine_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt generate`."""
    add_model_options(parser)
    parser.add_argument("input", help="a JSON Lines file (or a JSON array), or - for standard input")
    parser.add_argument("--out", metavar="FILE", help="default: standard output")
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="default: 512")


def main(args: argparse.Namespace) -> int:
    """Run `komt generate`."""
    from komt.errors import UsageError
    from komt.files import write_atomic
    from komt.serve.json_lines import parse_rows, with_answers

    if args.max_new_tokens < 1:
        raise UsageError(f"--max-new-tokens {args.max_new_tokens}: at least 1")
    out = Path(args.out) if args.out else None
    if out and out.is_dir():
        raise UsageError(f"--out {out} is a folder", cure="name a file")
    if out and args.input != "-" and out.exists() and Path(args.input).exists() and out.samefile(args.input):
        raise UsageError(f"--out {out} is the file of the questions itself", cure="name another file")
    rows = parse_rows(_read(args.input), "standard input" if args.input == "-" else args.input)

    from komt.progress import progress

    engine = engine_of(args)
    try:
        with progress("answering", len(rows)) as advance:
            answers = engine.answer(
                [messages for _, messages in rows],
                max_new_tokens=args.max_new_tokens,
                on_done=lambda _: advance(),
            )
    finally:
        engine.close()
    text = with_answers([row for row, _ in rows], answers)
    if out:
        write_atomic(out, text)
        print(f"{len(rows):,} answers in {out}", file=sys.stderr)
    else:
        sys.stdout.write(text)
    return 0


def _read(name: str) -> str:
    from komt.encodings import read_text, sniff_encoding
    from komt.errors import DataError

    if name != "-":
        return read_text(Path(name))
    data = sys.stdin.buffer.read()
    try:
        return data.decode(sniff_encoding(data) or "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte 0x{data[error.start]:02x} is neither UTF-8 nor CP949",
            where=f"standard input, byte {error.start}",
        ) from error
