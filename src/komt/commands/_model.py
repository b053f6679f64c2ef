"""The options of every command that loads a model to answer with."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.serve.engine import LoadedEngine

MODEL_HELP = (
    "catalogue name, hub id, folder (model, adapter, run), X.gguf, or http://…/v1 (#NAME: one of several)"
)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """MODEL and how it is computed."""
    parser.add_argument("model", help=MODEL_HELP)
    add_engine_options(parser)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """How a model is computed."""
    parser.add_argument("--bits", type=int, choices=(4, 8, 16, 32), default=16, help="default: 16")
    parser.add_argument(
        "--engine",
        choices=("auto", "transformers", "llama.cpp", "vllm"),
        default="auto",
        help="auto: llama.cpp for a .gguf, transformers for the rest; llama.cpp takes folders too, made "
        "GGUF once (default: auto)",
    )
    parser.add_argument(
        "--context",
        type=int,
        default=0,
        metavar="N",
        help="llama.cpp and vLLM: tokens that a talk may hold (default: what fits)",
    )
    parser.add_argument("--api-key", default="", metavar="KEY", help="for an address (default: KOMT_API_KEY)")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="let the model's own Python code run"
    )


def engine_of(args: argparse.Namespace, slots: int = 0) -> LoadedEngine:
    """The engine that the options ask for.

    Args:
        args: parsed with `add_model_options`.
        slots: answers that are computed at a time, 0: the engine's own choice.
    """
    from komt.errors import UsageError
    from komt.serve.loading import load_engine

    if args.context < 0:
        raise UsageError(f"--context {args.context}: at least 0")
    return load_engine(
        args.model,
        args.bits,
        remote_code=args.trust_remote_code,
        engine=args.engine,
        slots=slots,
        context=args.context,
        api_key=args.api_key,
    )
