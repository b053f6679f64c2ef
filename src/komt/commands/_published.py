"""What the published script `finetune_with_lora.py` does: a JSON list of instructions in, an adapter out."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from komt.encodings import read_text
from komt.errors import DataError, UsageError, did_you_mean, need
from komt.files import write_json
from komt.process import guarded
from komt.recipe import Recipe, parse_recipe

EMBEDDED = "gemma-3-270m"
DATA = Path("datasets/komt_squad.json")
PUBLISHED = {
    "model_name_or_path": "davidkim205/komt-llama2-7b-v1",
    "num_train_epochs": "3",
    "per_device_train_batch_size": "1",
    "learning_rate": "1e-5",
    "bits": "4",
}
_HEADING = "### instruction:"
_BELOW = "what the published data's instructions begin with, and the chat template adds by itself"


def build_parser() -> argparse.ArgumentParser:
    """The arguments of `finetune_with_lora.py`; the other training arguments of transformers are refused."""
    parser = argparse.ArgumentParser(
        prog="finetune_with_lora.py",
        description="Fine-tune a model with LoRA on a JSON list of {instruction, output, input?}.",
        epilog="example:\n  python finetune_with_lora.py --data_path my.json --output_dir output",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model_name_or_path", default=EMBEDDED, metavar="M", help=f"default: {EMBEDDED}")
    add("--data_path", type=Path, default=DATA, metavar="FILE", help=f"default: {DATA}, made when missing")
    add("--num_train_epochs", type=float, default=1.0, metavar="N", help="default: 1")
    add("--per_device_train_batch_size", type=int, default=32, metavar="N", help="default: 32")
    add("--learning_rate", type=float, default=5e-4, metavar="X", help="default: 5e-4")
    add("--bits", type=int, choices=(4, 8, 16, 32), default=4, help="of the base's weights; default: 4")
    add("--output_dir", type=Path, default=Path("output"), metavar="DIR", help="default: output")
    add("--seed", type=int, default=0, metavar="N", help="default: 0")
    add("--resume", action="store_true", help="go on from the newest valid checkpoint")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns the exit status: 0, 1 (failed) or 2 (wrong usage)."""
    return guarded(lambda: _run(_parse(sys.argv[1:] if argv is None else argv)))


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = build_parser()
    args, unknown = parser.parse_known_args(words)
    known = [option for action in parser._actions for option in action.option_strings if option[:2] == "--"]
    flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
    if flags or unknown:
        lines = [f"unknown argument {flag}{did_you_mean(flag, known)}" for flag in flags or unknown[:1]]
        raise UsageError(
            "\n".join(lines),
            cure=f"this script takes {', '.join(known)}; a recipe has further settings (docs/recipes.md)",
        )
    _check(args)
    return args


def _check(args: argparse.Namespace) -> None:
    """Values out of range, all at once, under the names of this script's own arguments."""
    good = {
        "num_train_epochs": 0 < args.num_train_epochs < math.inf,
        "per_device_train_batch_size": args.per_device_train_batch_size > 0,
        "learning_rate": 0 < args.learning_rate < 1,
        "seed": args.seed >= 0,
    }
    wrong = [f"--{name} {getattr(args, name)} is out of range" for name, fine in good.items() if not fine]
    if args.output_dir.exists() and not args.output_dir.is_dir():
        wrong.append(f"--output_dir {args.output_dir} is a file")
    if wrong:
        raise UsageError("\n".join(wrong))


def _run(args: argparse.Namespace) -> int:
    if args.data_path == DATA and not DATA.exists():
        make_default_data(DATA)
    elif args.data_path == DATA:
        _say(f"data: {DATA}, which is already there (remove it to have it made anew)")
    rows = read_instructions(args.data_path)
    recipe = make_recipe(args, rows)
    _say(settings_table(args))
    # Mistakes in model and installation are found before anything is written.
    from komt.models.resolve import resolve

    resolve(recipe.model.name)
    if args.bits in {4, 8}:
        need("bitsandbytes", "quant")

    from komt.commands._stages import build_stage, train_stage

    build_stage(recipe, args.output_dir)
    train_stage(recipe, args.output_dir, resume=args.resume)
    print(f"adapter: {args.output_dir / 'train' / 'adapter'}")
    print(f"try it: python infer.py --model_name_or_path {args.output_dir} --bits {args.bits}")
    return 0


def make_recipe(args: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> Recipe:
    """The recipe that the arguments and the data's form describe; nothing is held out for evaluation."""
    instruction = "{{ instruction }}"
    if any(str(row["instruction"]).lstrip().startswith(_HEADING) for row in rows):
        _say(f"'{_HEADING}' is left out of the instructions: {_BELOW}")
        instruction = f'{{{{ (instruction | trim).removeprefix("{_HEADING}") | trim }}}}'
    has_input = any(row.get("input") for row in rows)
    file = {
        "path": str(args.data_path.resolve()),
        "name": "instructions",
        "prompt": instruction + ("{% if input %}\n\n{{ input }}{% endif %}" if has_input else ""),
        "answer": "{{ output }}",
        "evaluate": 0,
    }
    train = {
        "epochs": args.num_train_epochs,
        "lr": args.learning_rate,
        "step_examples": args.per_device_train_batch_size,
    }
    values = {
        "name": "finetune_with_lora",
        "seed": args.seed,
        "model": {"name": args.model_name_or_path, "bits": args.bits},
        "data": {"files": [file]},
        "train": train,
    }
    return parse_recipe(values, "the arguments of finetune_with_lora.py")


def settings_table(args: argparse.Namespace) -> str:
    """The settings beside those of the published script."""
    rows = [("", "here", "published")]
    for name, published in PUBLISHED.items():
        value = getattr(args, name)
        rows.append((name, f"{value:g}" if isinstance(value, float) else str(value), published))
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"  {name:<{wide[0]}}  {here:<{wide[1]}}  {there}" for name, here, there in rows)


def make_default_data(target: Path) -> None:
    """Write questions and answers without passages: of KorQuAD where its files are present, else the sample.

    Raises:
        DataError: a file of KorQuAD is another than the catalogue names.
    """
    from komt.sources import load_source, present, read_rows, redivided
    from komt.sources.readers import Rejected

    source = load_source("korquad")
    what = "KorQuAD 1.0, train"
    if not present(source):
        source, what = load_source("sample"), "the sample that comes with komt (no file of KorQuAD is here)"
    elif redivided(source):
        what = "KorQuAD 1.0, three quarters of the dev set by article (its train file is not here)"
    rows = [row for row in read_rows(source, "train", resplit=True) if not isinstance(row, Rejected)]
    write_json(target, [{"instruction": row["question"], "output": row["answer"]} for row in rows])
    _say(f"data: {target} made of {what}: {len(rows):,} questions without a passage")


def read_instructions(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON list of {instruction, output, input?}.

    Raises:
        DataError: no such file, broken JSON (with the line), no list, an empty one, a row without a text.
    """
    from komt.korean import nfc
    from komt.sources.readers.jsonl import load_json

    shape = 'write [{"instruction": "…", "input": "…", "output": "…"}, …]; "input" may be left out'
    if read_text(path).lstrip().startswith("{"):
        cure = f"{shape}\n    other files (JSON Lines, CSV): komt init {path}"
        raise DataError("not a JSON list of rows", where=str(path), cure=cure)
    try:
        rows = load_json(path)
    except DataError as error:
        raise DataError(error.what, where=error.where, cure=shape) from error
    if not isinstance(rows, list):
        raise DataError("not a JSON list of rows", where=str(path), cure=shape)
    if not rows:
        raise DataError("the list is empty", where=str(path), cure=shape)
    for number, row in enumerate(rows, start=1):
        if fault := _fault(row):
            raise DataError(fault, where=f"{path}, item {number}", cure=shape)
    if not any(str(row["instruction"]).strip() and str(row["output"]).strip() for row in rows):
        raise DataError("every row has an empty instruction or output", where=str(path), cure=shape)
    return list(nfc(rows))


def _fault(row: Any) -> str:
    """What is wrong with a row, or ""."""
    if not isinstance(row, dict):
        return "a row is not an object with named values"
    for name in ("instruction", "output"):
        if name not in row:
            near = did_you_mean(name, row)
            return f"a row has no '{name}'; it has: {', '.join(row) or 'nothing'}{near}"
    texts = [row["instruction"], row["output"], row.get("input") or ""]
    return "" if all(isinstance(text, str) for text in texts) else "a value is not a text"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
