"""Building instruction data: komt against `datasets.map`, the same rows and prompts, in one run.

    KOMT_DATA=... python bench/build.py [--rows 100000] [--runs 3] [--json FILE] [--quick]
    KOMT_DATA=... python bench/build.py --mixture [--runs 1] [--json FILE]
    KOMT_DATA=... python bench/build.py --shards [--data FOLDER] [--examples 1543221] [--json FILE]

The rows are NSMC reviews, or with `--mixture` those of all tasks of the recipe `multitask` but NSMC's.
The peers do what fine-tuning scripts do: one Jinja prompt and one answer a row, the chat template, and the
tokenizer; row by row and in batches, with one process and with two. komt does that and besides its filters,
exact and near duplicates, decontamination (of NSMC against a held-out hundredth, else against every split
that is here), the manifest and the report; then the tokens of every example. Ways alternate, each in a
process of its own; figures are medians. Starting Python and importing the libraries is not counted; starting
worker processes is, with what they import, and loading the tokenizer, which komt does in each of them.

`--shards` packs a built folder (default: the recipe multitask without caps, built first) into shards of
training steps with two processes, once half of it and once the whole, and says what an example more costs in
memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from build_ways import MIXTURE, build_multitask, first_groups, worker, write_mixture, write_rows

WAYS = ("rows-1", "rows-2", "batches-1", "batches-2", "komt-1", "komt-2")
TITLES = {
    "rows-1": "datasets.map, row by row, one process",
    "rows-2": "datasets.map, row by row, two processes",
    "batches-1": "datasets.map, in batches, one process",
    "batches-2": "datasets.map, in batches, two processes",
    "komt-1": "komt, one process",
    "komt-2": "komt, two processes",
}


def measure_shards(args: argparse.Namespace) -> None:
    """Half of the examples, then all: the table, and what an example more costs."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        data = args.data
        if data is None:
            data = Path(folder) / "data"
            build_multitask(data, 20_000 if args.quick else args.examples)
        first_groups(data, Path(folder) / "half", 0.5)
        for part in (Path(folder) / "half", data):
            runs.append(in_new_process("shards-2", part, Path(folder) / f"home-{len(runs)}"))
    print(heading())
    names = ("examples", "s", "examples/s", "tokens", "packed", "bins full", "but the last", "level", "GiB")
    print(f"| {' | '.join(names)} | peak RSS GiB, all processes |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for run in runs:
        figures = f"{run['rows']:,} | {run['seconds']:.1f} | {run['rows'] / run['seconds']:,.0f}"
        figures += f" | {run['tokens']:,} | {run['packed']:,} | {run['packed'] / run['places']:.3f}"
        figures += f" | {run['but_last']:.3f} | {run['level']:.3f}"
        print(f"| {figures} | {run['gib']:.2f} | {run['peak_gib']:.2f} |")
    more = runs[1]["rows"] - runs[0]["rows"]
    growth = (runs[1]["peak_gib"] - runs[0]["peak_gib"]) * 2**30 / more if more else 0.0
    ratios = {
        "shards_flat_to_packed_tokens": runs[1]["tokens"] / runs[1]["packed"],
        "shards_growth_bytes_per_example": growth,
    }
    print()
    report(ratios, {"shards": runs}, args.json)


def measure(way: str, rows: int | None) -> dict[str, Any]:
    """One way in a new process, over the first so many reviews, or over the mixture."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / ("reviews.jsonl" if rows else MIXTURE)
        if rows:
            write_rows(data, rows)
        elif not way.startswith("komt"):
            write_mixture(data)
        return in_new_process(way, data, Path(folder) / "home")


def in_new_process(way: str, data: Path, own_home: Path) -> dict[str, Any]:
    """One way in a new process, with a home of its own that holds nothing but the model."""
    from komt.files import home

    own_home.mkdir()
    (own_home / "models").symlink_to((home() / "models").resolve())
    environment = {**os.environ, "KOMT_HOME": str(own_home), "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, __file__, "--worker", way, "--data", str(data)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure, print the table and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="10,000 rows, one run")
    parser.add_argument("--mixture", action="store_true", help="the rows of multitask without NSMC's")
    parser.add_argument("--shards", action="store_true", help="a built folder to packed shards")
    parser.add_argument("--data", type=Path, help="for --shards: a built folder")
    parser.add_argument("--examples", type=int, default=1_543_221, help="for --shards: of the folder built")
    parser.add_argument("--worker", choices=(*WAYS, "shards-2"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(worker(args.worker, args.data)))
        return
    if args.shards:
        measure_shards(args)
        return
    if args.quick:
        args.rows, args.runs = 10_000, 1
    ways = args.ways.split(",")
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for turn in range(args.runs):
        for way in ways:
            runs[way].append(measure(way, None if args.mixture else args.rows))
            print(f"run {turn + 1}, {way}: {runs[way][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    show(ways, runs, args.json)


def heading() -> str:
    """Date, machine and versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("datasets", "transformers", "pyarrow"))
    return f"{date.today()}, {os.cpu_count()} cores, {packages}\n"


def show(ways: list[str], runs: dict[str, list[dict[str, Any]]], target: Path | None) -> None:
    """The table, then one `ratio NAME VALUE` line per comparison."""
    print(heading())
    print("| way | rows | s | rows/s | peak RSS GiB, all processes | tokens |")
    print("|---|---|---|---|---|---|")
    speed = {}
    for way in ways:
        one, seconds = runs[way][0], statistics.median(run["seconds"] for run in runs[way])
        speed[way] = one["rows"] / seconds
        peak = statistics.median(run["peak_gib"] for run in runs[way])
        figures = f"{one['rows']:,} | {seconds:.1f} | {speed[way]:,.0f} | {peak:.1f} | {one['tokens']:,}"
        print(f"| {TITLES[way]} | {figures} |")
    print()
    ratios = {}
    for way in ("rows-1", "rows-2", "batches-2"):
        if way in speed and "komt-2" in speed:
            ratios[f"komt_{way.replace('-', '_')}"] = speed["komt-2"] / speed[way]
    report(ratios, runs, target)


def report(ratios: dict[str, float], runs: dict[str, Any], target: Path | None) -> None:
    """One `ratio NAME VALUE` line per comparison, and the JSON file."""
    for name, value in ratios.items():
        print(f"ratio {name} {value:.2f}")
    if target:
        target.write_text(json.dumps({"ratios": ratios, "runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
