"""`komt sources fetch`: the files of sources, downloaded with resume and checksum."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

HELP = "download the files of sources: resumed, checked, never half there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `komt sources fetch`."""
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="sources, as `komt sources list` prints them"
    )
    parser.add_argument(
        "--mirror", default="", metavar="URL", help="fetch URL/FOLDER/PATH instead of from the repository"
    )
    parser.add_argument(
        "--force", action="store_true", help="fetch also what is here; replaced once the new file is whole"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Fetch source after source; one that cannot be fetched does not keep the next from it."""
    from komt.errors import KomtError, UsageError
    from komt.sources import load_source
    from komt.sources.fetch import fetch

    sources = [load_source(name) for name in dict.fromkeys(args.names)]
    done: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for source in sources:
        try:
            with _shown() as onlooker:
                for file in fetch(source, mirror=args.mirror, force=args.force, onlooker=onlooker):
                    done.append({"source": source.name, **file.as_json()})
                    if not args.json:
                        print(_line(source.name, file), flush=True)
        except UsageError:
            raise
        except KomtError as error:
            failed[source.name] = str(error)
            print(f"komt: {error}", file=sys.stderr)
        except KeyboardInterrupt as error:
            kept = "what has arrived is kept as .part and counts for nothing"
            raise type(error)(f"{kept}; the same command goes on from there") from None
    if args.json:
        print(json.dumps({"files": done, "failed": failed}, ensure_ascii=False, indent=1))
    return 1 if failed else 0


def _line(name: str, file: Any) -> str:
    checked = "checked" if file.checked else f"not checked: no SHA-256 is known (this one: {file.sha256})"
    return f"{name}  {file.state:<8}  {size(file.bytes):>12}  {file.place}  {checked}"


def size(bytes_: int) -> str:
    """A number of bytes, for people."""
    return f"{bytes_ / 1e6:,.1f} MB" if bytes_ >= 1e5 else f"{bytes_ / 1e3:,.1f} kB"


@contextlib.contextmanager
def _shown() -> Iterator[Any]:
    """A bar on standard error for each file that is being fetched."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    from komt.sources.download import Watch
    from komt.sources.fetch import Onlooker

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        Speed(),
        TimeRemainingColumn(),
    )
    console = Console(file=sys.stderr)
    # Where nobody watches, bars would be blank lines.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def begin(path: str) -> Watch:
            bar = bars.add_task(path.rpartition("/")[2], total=None)
            return lambda done, total: bars.update(bar, completed=done, total=total or None)

        yield Onlooker(
            begin, lambda text: bars.console.print(text, highlight=False, markup=False, soft_wrap=True)
        )
