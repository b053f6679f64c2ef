"""Building instruction data from NSMC reviews: komt against `datasets.map`, the same prompts, in one run.

    KOMT_DATA=... python bench/build.py [--rows 100000] [--runs 3] [--json FILE] [--quick]
    KOMT_DATA=... python bench/build.py --shards [--data FOLDER] [--examples 1543221] [--json FILE]

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

    from komt.pack import encode
    from komt.pack.fit import tokenizer_named
    from komt.pack.shards import conversations

    path, group = job
    table = pq.ParquetFile(path).read_row_group(group, columns=["id", "task", "group", "messages"])
    return sum(map(len, encode(tokenizer_named("gemma-3-270m", False), conversations(table))))


def build_multitask(out: Path, examples: int) -> None:
    """The multitask mixture without caps, in so many examples."""
    from komt.mix import build, engine_named
    from komt.pack.fit import BatchFit
    from komt.recipe import load_recipe

    recipe = load_recipe("multitask", ["data.mixing.maximum=null", f"data.mixing.examples={examples}"])
    fit = BatchFit(recipe.model.name, False, recipe.pack.tokens, recipe.data.over_long)
    engine = engine_named("local", 2, 2)
    build(recipe, out, fit, engine=engine)
    engine.close()


def first_groups(data: Path, out: Path, share: float) -> None:
    """A data folder with the first row groups of another one's train.parquet."""
    import pyarrow.parquet as pq

    out.mkdir()
    file = pq.ParquetFile(data / "train.parquet")
    with pq.ParquetWriter(out / "train.parquet", file.schema_arrow, compression="zstd") as writer:
        for group in range(max(1, round(share * file.metadata.num_row_groups))):
            writer.write_table(file.read_row_group(group))


def run_shards(data: Path, processes: int) -> dict[str, Any]:
    """A data folder to shards of packed steps."""
    import pyarrow.parquet as pq

    from komt.mix import engine_named
    from komt.pack.shards import write_shards
    from komt.recipe import load_recipe

    recipe, engine = load_recipe("multitask"), engine_named("local", processes, processes)
    began = time.perf_counter()
    shards = write_shards(recipe, data, engine)
    seconds = time.perf_counter() - began
    engine.close()
    return {
        "seconds": seconds,
        "rows": pq.read_metadata(data / "train.parquet").num_rows,
        "tokens": shards.flat_tokens,
        "packed": shards.tokens,
        "places": shards.bins * recipe.pack.tokens,
        "gib": sum(path.stat().st_size for path in shards.paths) / 2**30,
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
    print("| examples | s | examples/s | tokens | packed | bins full | GiB | peak RSS GiB, all processes |")
    print("|---|---|---|---|---|---|---|---|")
    for run in runs:
        figures = f"{run['rows']:,} | {run['seconds']:.1f} | {run['rows'] / run['seconds']:,.0f}"
        figures += f" | {run['tokens']:,} | {run['packed']:,} | {run['packed'] / run['places']:.3f}"
        print(f"| {figures} | {run['gib']:.2f} | {run['peak_gib']:.2f} |")
    more = runs[1]["rows"] - runs[0]["rows"]
    growth = (runs[1]["peak_gib"] - runs[0]["peak_gib"]) * 2**30 / more if more else 0.0
    ratios = {
        "shards_flat_to_packed_tokens": runs[1]["tokens"] / runs[1]["packed"],
        "shards_growth_bytes_per_example": growth,
    }
    print()
    report(ratios, {"shards": runs}, args.json)


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
    if kind == "shards":
        found = run_shards(data, int(processes))
    elif kind == "komt":
        found = run_komt(data, int(processes))
    else:
        found = run_peer(data, kind == "batches", int(processes))
    done.set()
    thread.join()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**found, "peak_gib": max(peak[0], own) / 2**30}


def measure(way: str, rows: int) -> dict[str, Any]:
    """One way in a new process, over the first so many reviews."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "reviews.jsonl"
        write_rows(data, rows)
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
            runs[way].append(measure(way, args.rows))
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
