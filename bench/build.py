"""Building instruction data from NSMC reviews: komt against `datasets.map`, the same prompts, in one run.

    KOMT_DATA=... python bench/build.py [--rows 100000] [--runs 3] [--json FILE] [--quick]

The peers do what fine-tuning scripts do: one Jinja prompt and one answer a row, the chat template, and the
tokenizer; row by row and in batches, with one process and with two. komt does that and besides its filters,
exact and near duplicates, decontamination against a held-out hundredth, the manifest and the report; then the
tokens of every example. Ways alternate, each in a process of its own; figures are medians. Starting Python
and importing the libraries is not counted, starting worker processes is.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

PROMPT = "다음 영화평을 읽고 10점 만점에 몇 점인지 숫자로만 답하세요.\n\n{{ review }}"
ANSWER = "{{ rating }}"
WAYS = ("rows-1", "rows-2", "batches-1", "batches-2", "komt-1", "komt-2")
TITLES = {
    "rows-1": "datasets.map, row by row, one process",
    "rows-2": "datasets.map, row by row, two processes",
    "batches-1": "datasets.map, in batches, one process",
    "batches-2": "datasets.map, in batches, two processes",
    "komt-1": "komt, one process",
    "komt-2": "komt, two processes",
}


def write_rows(path: Path, count: int) -> int:
    """The first NSMC reviews as JSON Lines; returns how many there are."""
    from komt.files import data_root

    source = data_root() / "nsmc_raw" / "reviews.jsonl.gz"
    with gzip.open(source, "rt", encoding="utf-8") as lines, path.open("w", encoding="utf-8") as file:
        written = 0
        for line in islice(lines, count):
            file.write(line if line.endswith("\n") else f"{line}\n")
            written += 1
    return written


def run_peer(data: Path, batched: bool, processes: int) -> dict[str, Any]:
    """Templates, chat template and tokenizer by `datasets.map`; no cache is used."""
    import datasets
    import jinja2
    from datasets import load_dataset

    from komt.models.load import load_tokenizer
    from komt.models.resolve import resolve

    datasets.disable_caching()
    datasets.disable_progress_bars()
    tokenizer = load_tokenizer(resolve("gemma-3-270m"))
    compiled: list[Any] = []  # by each process for itself: a compiled template cannot be sent to another

    def text_of(review: str, rating: int) -> str:
        if not compiled:
            compiled.extend(map(jinja2.Template, (PROMPT, ANSWER)))
        messages = [
            {"role": "user", "content": compiled[0].render(review=review)},
            {"role": "assistant", "content": compiled[1].render(rating=rating)},
        ]
        return str(tokenizer.apply_chat_template(messages, tokenize=False))

    def one(row: dict[str, Any]) -> dict[str, Any]:
        text = text_of(row["review"], row["rating"])
        return {"input_ids": tokenizer(text, add_special_tokens=False)["input_ids"]}

    def many(rows: dict[str, Any]) -> dict[str, Any]:
        texts = [text_of(*pair) for pair in zip(rows["review"], rows["rating"], strict=True)]
        return {"input_ids": tokenizer(texts, add_special_tokens=False)["input_ids"]}

    began = time.perf_counter()
    table = load_dataset("json", data_files=str(data), split="train", cache_dir=str(data.parent / "cache"))
    made = table.map(many if batched else one, batched=batched, num_proc=processes if processes > 1 else None)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "rows": len(table), "tokens": sum(map(len, made["input_ids"]))}


def run_komt(data: Path, processes: int) -> dict[str, Any]:
    """The whole build, then the tokens of every example it keeps."""
    from komt.mix import build, engine_named
    from komt.pack.fit import BatchFit
    from komt.recipe import parse_recipe

    own = {"path": str(data), "prompt": PROMPT, "answer": ANSWER, "evaluate": 0.01}
    recipe = parse_recipe({"name": "bench", "data": {"files": [own]}}, "bench")
    out = data.parent / "built"
    fit = BatchFit(recipe.model.name, False, recipe.pack.tokens, recipe.data.over_long)
    engine = engine_named("local", processes, processes)
    began = time.perf_counter()
    manifest = build(recipe, out, fit, engine=engine)
    groups = [(out / "train.parquet", group) for group in range(_groups(out / "train.parquet"))]
    tokens = sum(engine.map(_encode, groups))
    seconds = time.perf_counter() - began
    engine.close()
    read = sum(
        task.read + (task.evaluation.read if task.evaluation else 0) for task in manifest.tasks.values()
    )
    rejected = {
        reason: n
        for task in manifest.tasks.values()
        for s in task.rejected.values()
        for reason, n in s.items()
    }
    return {
        "seconds": seconds,
        "rows": read,
        "tokens": tokens,
        "kept": manifest.examples,
        "rejected": rejected,
    }


def _groups(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_row_groups)


def _encode(job: tuple[Path, int]) -> int:
    """Tokens of the examples of a row group."""
    import pyarrow.parquet as pq

    from komt.example import Example
    from komt.pack import encode
    from komt.pack.fit import tokenizer_named

    path, group = job
    records = pq.ParquetFile(path).read_row_group(group).to_pylist()
    sequences = encode(
        tokenizer_named("gemma-3-270m", False), [Example.from_record(record) for record in records]
    )
    return sum(map(len, sequences))


def worker(way: str, data: Path) -> dict[str, Any]:
    """One way, in this process; `peak_gib` is that of this process and its children together."""
    kind, processes = way.split("-")
    peak = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            family = [psutil.Process(), *psutil.Process().children(recursive=True)]
            total = 0
            for process in family:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    if kind == "komt":
        found = run_komt(data, int(processes))
    else:
        found = run_peer(data, kind == "batches", int(processes))
    done.set()
    thread.join()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**found, "peak_gib": max(peak[0], own) / 2**30}


def measure(way: str, rows: int) -> dict[str, Any]:
    """One way in a new process, with a home of its own that holds nothing but the model."""
    from komt.files import home

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "reviews.jsonl"
        write_rows(data, rows)
        (Path(folder) / "home").mkdir()
        (Path(folder) / "home" / "models").symlink_to(home() / "models")
        environment = {
            **os.environ,
            "KOMT_HOME": str(Path(folder) / "home"),
            "TOKENIZERS_PARALLELISM": "false",
        }
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
    parser.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(worker(args.worker, args.data)))
        return
    if args.quick:
        args.rows, args.runs = 10_000, 1
    ways = args.ways.split(",")
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for turn in range(args.runs):
        for way in ways:
            runs[way].append(measure(way, args.rows))
            print(f"run {turn + 1}, {way}: {runs[way][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    show(ways, runs, args.json)


def show(ways: list[str], runs: dict[str, list[dict[str, Any]]], target: Path | None) -> None:
    """The table, then one `ratio NAME VALUE` line per comparison."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("datasets", "transformers", "pyarrow"))
    print(f"{date.today()}, {os.cpu_count()} cores, {packages}\n")
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
    for name, value in ratios.items():
        print(f"ratio {name} {value:.2f}")
    if target:
        target.write_text(json.dumps({"ratios": ratios, "runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
