"""Open a page to chat with a model, compare two blindly, and look at data, training and scores.

The page is served on this machine only. It talks to an OpenAI-style API: that of a MODEL named here, which is
started with it, or one that runs already (--api; its key is read from KOMT_API_KEY). Without either, the page
shows run folders only.

Of a .gguf file llama.cpp's own page is there too, at an address of its own; this page has a link to it.

Example:
  komt web runs/sample
  komt web sample-files/gguf/sample-Q4_K_M.gguf
  komt web --api http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from komt.web.client import Api
    from komt.web.runs import Runs

_SLOTS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt web`."""
    parser.add_argument(
        "model", nargs="?", help="catalogue name, hub id, folder (model, adapter, run), .gguf"
    )
    parser.add_argument("--api", metavar="URL", help="an OpenAI-style API that runs already: http://…/v1")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--votes", type=Path, metavar="FILE", help="default: votes.jsonl in the runs' folder")
    parser.add_argument(
        "--engine",
        choices=("auto", "transformers", "llama.cpp", "vllm"),
        default="auto",
        help="default: auto",
    )
    parser.add_argument("--bits", type=int, choices=(4, 8, 16, 32), default=16, help="default: 16")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="let the model's own Python code run"
    )
    parser.add_argument("--port", type=int, default=7860, help="0: any free one (default: 7860)")


def main(args: argparse.Namespace) -> int:
    """Run `komt web`."""
    import threading

    from komt.errors import UsageError
    from komt.process import spin_before_sleep
    from komt.web.app import running

    spin_before_sleep()

    if not 0 <= args.port < 65536:
        raise UsageError(f"--port {args.port}: 0 to 65535")
    if args.model and args.api:
        raise UsageError("a model and --api were both given", cure="name one of them")
    votes = args.votes or args.runs / "votes.jsonl"
    with (
        _api(args) as (api, llama_page),
        running(api, _runs(args), votes, args.port, llama_page=llama_page) as address,
    ):
        print(f"the page: {address}\n(on this machine only; Ctrl-C ends it)", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


@contextmanager
def _api(args: argparse.Namespace) -> Iterator[tuple[Api | None, str]]:
    """The API that was named, or that of the model that was named, or none; and where llama.cpp's page is."""
    import os

    from komt.web.client import Api

    if args.api:
        yield Api(args.api, os.environ.get("KOMT_API_KEY", "")), ""
    elif args.model:
        with _served(args) as (address, llama_page):
            yield Api(address), llama_page
    else:
        yield None, ""


@contextmanager
def _served(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The model's API, as `komt serve` has it; of a GGUF file llama.cpp's own page beside it."""
    from komt.errors import need

    need("starlette", "web")
    from komt.api.app import create_app, running
    from komt.api.opening import Opening, over_llama_cpp, short_name
    from komt.api.server import bound, serving
    from komt.api.settings import ServerSettings

    opening = Opening(args.engine, bits=args.bits, remote_code=args.trust_remote_code)
    if not args.model.endswith(".gguf") or args.engine not in {"auto", "llama.cpp"}:
        with running(args.model, opening=opening) as address:
            yield address, ""
        return
    from komt.models.llama_cpp import start
    from komt.serve.llama_cpp_engine import LlamaCppEngine

    settings = ServerSettings(port=0)
    server = start(Path(args.model).expanduser(), slots=_SLOTS, page=True)
    backend = over_llama_cpp(LlamaCppEngine(server), {short_name(args.model): None}, _SLOTS, opening)
    with bound(settings) as listener, serving(create_app([backend], settings), listener) as address:
        print(f"llama.cpp's own page: {server.address}/ (it asks for this key: {server.key})", flush=True)
        yield address, f"{server.address}/"


def _runs(args: argparse.Namespace) -> Runs:
    """The runs below --runs, and the one that was named as the model."""
    from komt.web.runs import Runs

    folder = Path(args.model) if args.model else None
    inside = folder and folder.parent.resolve() == args.runs.resolve()
    others = {folder.name or str(folder): folder} if folder and folder.is_dir() and not inside else {}
    return Runs(args.runs, others)
