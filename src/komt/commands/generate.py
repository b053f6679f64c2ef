"""JSON Lines in, JSON Lines with answers out (greedy, batched).

A line is {"prompt": …}, {"instruction": …, "input"?: …} or {"messages": [{"role": …, "content": …}, …]};
it comes back with "answer" and "ended" (whether by the end token or by the length limit). One JSON array of
such objects is read, too.

Example:
  komt generate runs/sample questions.jsonl --out answers.jsonl
  komt generate gemma-3-270m - --max-new-tokens 64 < questions.jsonl
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt generate`."""
    parser.add_argument("model", help="catalogue name, hub id, or folder (model, adapter, run)")
    parser.add_argument("input", help="a JSON Lines file (or a JSON array), or - for standard input")
    parser.add_argument("--out", metavar="FILE", help="default: standard output")
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="default: 512")
    parser.add_argument("--bits", type=int, choices=(4, 8, 16, 32), default=16, help="default: 16")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="let the model's own Python code run"
    )


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
    from komt.serve.loading import load_engine

    engine = load_engine(args.model, args.bits, remote_code=args.trust_remote_code)
    prompts = [engine.prompt_ids(messages) for _, messages in rows]
    with progress("answering", len(rows)) as advance:
        answers = engine.generate(prompts, max_new_tokens=args.max_new_tokens, on_done=lambda _: advance())
    text = with_answers([row for row, _ in rows], answers)
    if out:
        write_atomic(out, text)
        print(f"{len(rows):,} answers in {out}", file=sys.stderr)
    else:
        sys.stdout.write(text)
    return 0


def _read(name: str) -> str:
    from komt.errors import DataError
    from komt.files import read_text, sniff_encoding

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
