"""Files for other programs: a merged model, an adapter alone, or GGUF; each measured before it appears.

Without --out, a run's files go to RUN/export/FORMAT. --push sends one format to the hub: --dry-run shows
what it would send.

Example:
  komt export runs/sample --format merged
  komt export runs/sample --format gguf --quant q8_0,q4_k_m --out sample-gguf
  komt export runs/sample --format adapter --push my-team/my-lora --dry-run
"""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("merged", "adapter", "gguf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt export`."""
    parser.add_argument("model", help="catalogue name, hub id, or folder (model, adapter, run)")
    parser.add_argument(
        "--format",
        required=True,
        metavar="NAME,…",
        help=f"{', '.join(FORMATS)}; several, in subfolders of --out",
    )
    parser.add_argument(
        "--quant", metavar="NAME,…", help="of GGUF: f16, q8_0, q4_0, q4_k_m (default: q4_k_m)"
    )
    parser.add_argument(
        "--dtype",
        choices=("bf16", "fp16", "fp32"),
        help="of merged weights (default: bf16, or fp32 where bf16 fails its gates)",
    )
    parser.add_argument("--shard-size", default="4GB", metavar="SIZE", help="largest file of weights")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--push", metavar="ORG/NAME", help="send the files to a repository of the hub")
    parser.add_argument("--dry-run", action="store_true", help="with --push: show the files, send nothing")
    parser.add_argument(
        "--acknowledge-terms", action="store_true", help="with --push: the data's terms allow publishing"
    )
    parser.add_argument("--json", action="store_true", help="print files and gates as JSON")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="let the model's own Python code run"
    )


def main(args: argparse.Namespace) -> int:
    """Run `komt export`."""
    from komt.commands import _export

    return _export.run(_export.wishes(args))
