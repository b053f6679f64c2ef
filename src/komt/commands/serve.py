"""Serve a model by an OpenAI-style API: /v1/chat/completions, /v1/completions, /v1/models, /health, /metrics.

It listens on this machine only, unless --host names another address; then a key is needed (KOMT_API_KEY, or
--api-key). SIGTERM or Ctrl-C lets running answers finish; a second one does not.

Example:
  komt serve runs/sample
  komt serve gemma-3-270m korquad=runs/korquad reviews=runs/reviews
  KOMT_API_KEY=… komt serve sample-Q4_K_M.gguf --host 0.0.0.0 --slots 8
"""

from __future__ import annotations

import argparse
import os
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt serve`."""
    parser.add_argument(
        "model", help="catalogue name, hub id, folder (model, adapter, run), .gguf file, or http://…/v1"
    )
    parser.add_argument(
        "adapters",
        nargs="*",
        metavar="NAME=ADAPTER",
        help="adapters over the same base, by the model names to use",
    )
    parser.add_argument("--name", default="", help="what requests call the model (default: its own name)")
    _add_server_arguments(parser)
    _add_engine_arguments(parser)


def _add_server_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8000, help="0: a free one (default: 8000)")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1")
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        metavar="KEY",
        help="asked of every request; may be repeated (default: KOMT_API_KEY, which other users cannot see)",
    )
    parser.add_argument(
        "--cors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a web page's origin that may use the server, as https://example.org; may be repeated",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name the server is reached by, as behind a proxy; may be repeated",
    )


def _add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=("auto", "transformers", "llama.cpp", "vllm"),
        default="auto",
        help="default: auto",
    )
    parser.add_argument(
        "--slots",
        type=int,
        default=0,
        metavar="N",
        help="answers computed at the same time (default: by engine)",
    )
    parser.add_argument(
        "--context",
        type=int,
        default=0,
        metavar="TOKENS",
        help="of a prompt and its answer, for llama.cpp and vLLM (default: by model)",
    )
    parser.add_argument(
        "--cache",
        type=int,
        default=0,
        metavar="MIB",
        help="memory for prompts that are remembered (default: 512 by llama.cpp, 1024 by transformers)",
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=2048,
        metavar="N",
        help="of an answer whose request names no limit (default: 2048)",
    )
    parser.add_argument("--bits", type=int, choices=(4, 8, 16, 32), default=16, help="default: 16")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="let the model's own Python code run"
    )


def main(args: argparse.Namespace) -> int:
    """Run `komt serve`."""
    from komt.api.settings import ServerSettings
    from komt.errors import UsageError
    from komt.process import share_heaps, spin_before_sleep

    spin_before_sleep()
    share_heaps()

    keys = args.api_key or [key for key in [os.environ.get("KOMT_API_KEY", "")] if key]
    if not 0 <= args.port < 65536 or min(args.slots, args.context, args.cache) < 0 or args.max_tokens < 1:
        raise UsageError(
            "--port is 0 to 65535, --slots, --context and --cache not below 0, --max-tokens at least 1"
        )
    settings = ServerSettings(
        args.host,
        args.port,
        tuple(keys),
        cors=tuple(origin.lower() for origin in args.cors),  # as browsers write them
        hosts=tuple(map(_host, args.allow_host)),
    )
    adapters = _adapters(args.adapters)

    from komt.errors import need

    for package in ("starlette", "uvicorn", "prometheus_client"):
        need(package, "serve")

    from komt.api.app import create_app
    from komt.api.opening import Opening, open_backend
    from komt.api.server import bound, serve_until_signal

    opening = Opening(
        args.engine,
        args.name,
        args.slots,
        args.context,
        args.max_tokens,
        args.bits,
        args.trust_remote_code,
        args.cache,
    )
    with bound(settings) as listener:
        backend = open_backend(args.model, adapters, opening)

        def tell(address: str) -> None:
            key = "with the key" if keys else "no key needed on this machine"
            served = f"{', '.join(backend.names)}: {address}/v1 ({backend.engine}, {key})"
            print(served, file=sys.stderr, flush=True)

        serve_until_signal(create_app([backend], settings), listener, tell)
    return 0


def _host(word: str) -> str:
    """The name alone, of what may be written with a port or as an address."""
    from urllib.parse import urlsplit

    from komt.errors import UsageError

    try:
        found = urlsplit(word if "://" in word else f"//{word}").hostname
    except ValueError:
        found = None
    if not found:
        raise UsageError(f"--allow-host {word}: no name of a host", cure="as --allow-host komt.example.org")
    return found


def _adapters(words: list[str]) -> dict[str, str]:
    from komt.errors import UsageError

    found: dict[str, str] = {}
    for word in words:
        name, separator, path = word.partition("=")
        if not (name and separator and path):
            raise UsageError(f"'{word}' is not NAME=ADAPTER", cure="write, for example, korquad=runs/korquad")
        if name in found:
            raise UsageError(f"two adapters are called '{name}'", cure="give one of them another name")
        found[name] = path
    return found
